"""Fewer columns for a sparse X: empty ones are omitted, and those with entries in the same single row become one.

Words that one text alone has are half of a vocabulary. If the columns j of a set have entries in row i only, their θ_j
appear in the term Σ x_ij θ_j of that row's logit alone. Of all θ_j that give the term one value, those
proportional to x_ij have the least norm, and so are the optimum if the prior penalises the columns equally. The set is
therefore replaced by one column, whose value in row i is (Σ x_ij²)^½. This rotates the coefficients, θ = R θ′ with
orthonormal columns of R, so the prior of θ′ has the same precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._rows.matrices import csr, is_sparse

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask, Matrix

# Entries per column up to which the columns of a sparse matrix are counted. With more, few columns are empty or have a
# single entry: of columns with 4 entries on average, at random, exp(-4) = 2 % and 7 %.
MAX_ENTRIES_PER_COLUMN = 4
# Columns are grouped if at most this share of them is left: vectors then are at least 30 % shorter.
MAX_SHARE_OF_COLUMNS = 0.7


class ColumnGroups(NamedTuple):
    """The matrix R of θ = R θ′, ``(p, p′)``: it has at most one entry in each row."""

    group: Codes  # (p,), the column of θ′ to which each column of X belongs; 0 for an empty one
    factor: Array  # (p,), its entry of R: 1 for a column of its own, 0 for an empty one
    size: int  # p′

    def restrict(self, values: Array) -> Array:
        """Return Rᵀ v for each row of values ``(..., p)``."""
        rows = (self.factor * values).reshape(-1, self.group.size)
        sums = np.array([np.bincount(self.group, weights=row, minlength=self.size) for row in rows])
        return sums.reshape(*values.shape[:-1], self.size)

    def first_columns(self) -> Codes:
        """Return the first column of X in each group, ``(p′,)``."""
        # an empty column is in no group
        present = np.flatnonzero(self.factor)
        _, first = np.unique(self.group[present], return_index=True)
        return present[first]

    def expand(self, values: Array) -> Array:
        """Return R v for each row of values ``(..., p′)``."""
        expanded: Array = values.take(self.group, axis=-1)
        expanded *= self.factor
        return expanded


def grouped_columns(X: Matrix, *, equal_penalty: bool) -> tuple[Matrix, ColumnGroups | None]:
    """Return X with its columns in groups, and these; X itself and None if X is dense or hardly any would be saved.

    Without an `equal_penalty` on all columns, only empty ones are omitted.
    """
    if not is_sparse(X) or X.nnz > MAX_ENTRIES_PER_COLUMN * X.shape[1]:
        return X, None
    # numpy would convert them in each of the following operations
    indices = X.indices.astype(np.intp)
    counts = np.bincount(indices, minlength=X.shape[1])
    single = counts == 1 if equal_penalty else np.zeros(X.shape[1], dtype=bool)
    own = (counts > 0) & ~single
    # a table has at least one column
    own[0] |= not counts.any()
    n_own, n_single = (int(np.count_nonzero(each)) for each in (own, single))
    # each row with single entries adds a column
    if n_own + min(n_single, X.shape[0]) > MAX_SHARE_OF_COLUMNS * X.shape[1]:
        return X, None
    group = np.zeros(X.shape[1], dtype=X.indices.dtype)
    group[own] = np.arange(n_own)
    groups, data = ColumnGroups(group, own.astype(np.float64), n_own), X.data
    if n_single:
        groups, data = _with_single_entries(X, indices, single, groups)
    return csr(data, group[indices], X.indptr, groups.size), groups


def _with_single_entries(X: Matrix, indices: Codes, single: Mask, groups: ColumnGroups) -> tuple[ColumnGroups, Array]:
    """Return the groups with a further column for the single entries of each row, and the values of X in groups.

    The first of these entries has their norm for its value, the others have 0.
    """
    entries = np.flatnonzero(single[indices])
    columns, values = indices[entries], X.data[entries].astype(np.float64)
    before = np.searchsorted(entries, X.indptr)  # single entries before each row
    starts = before[np.flatnonzero(np.diff(before))]
    row = np.repeat(np.arange(starts.size), np.diff(starts, append=entries.size))
    groups.group[columns] = groups.size + row
    data = X.data.astype(X.dtype if X.dtype.kind == "f" else np.float64)
    # values that are not finite, or whose squares are not, make the first gradient so, which is reported
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.add.reduceat(values**2, starts))
        data[entries] = 0.0
        data[entries[starts]] = norms
        # zeros may be stored: any unit vector is as good as another
        values[starts[norms == 0.0]] = 1.0
        groups.factor[columns] = values / np.where(norms == 0.0, 1.0, norms)[row]
    return groups._replace(size=groups.size + starts.size), data
