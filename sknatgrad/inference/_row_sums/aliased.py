"""Columns that are linear combinations of earlier ones, by R's rule.

R's `glm` decomposes the weighted design into Q R, column by column from left to right, with the intercept first. A
column of which the projection on the accepted columns leaves less than a share of 1e-11 is aliased: it is set aside,
and its coefficient is NA. The share is ``min(1e-7, epsilon / 1000)`` for the default ``epsilon = 1e-8`` of
`glm.control` (the argument of `Cdqrls` in `glm.fit`, R 4.2.2). R's weights are s p (1 − p), here they are those of the
rows, s: a linear combination holds for any positive weights.

R of the whole design follows from the factors of its blocks, so that this is one pass over rows of any source. The
factor is not squared, unlike a Gram matrix, whose rounding hides differences below 1e-7 of a column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import lapack

from sknatgrad.inference._row_sums.basis import ColumnBasis, independent_shares

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask

# Share of a column that must be independent of the accepted ones: that of R's glm by default.
MIN_INDEPENDENT_SHARE = 1e-11
# Share of a column that must be independent of all others for the Fisher information to determine its coefficient: half
# of the digits of float64, with a margin. Of 10 tables each, with a share of 1e-6 all had a regular matrix, with 1e-7
# eight, with 1e-8 none.
MIN_RESOLVED_SHARE = 1e-6
# Relative to the aliased column: larger terms of its linear combination are no rounding. Terms that should be 0 were up
# to 3e-15 in tables of indicators.
MIN_TERM = 1e-8
# Relative to a centre: the rounding of a sum of a few columns as far from zero. 4 ε.
COLUMN_ROUNDING = 4 * np.finfo(np.float64).eps
# Relative to the centres in its sum: a smaller coefficient of the intercept is the rounding of that sum.
MIN_CENTRE_TERM = 1e-13


class TriangularFactor(NamedTuple):
    """R of √s X = Q R, of the columns in an order: those without a penalty first, and of these the intercept first."""

    matrix: Array  # (rows, d)
    order: Codes  # (d,)
    precision: Array  # (d,), of the prior, by column
    centres: Array | None = None  # (p,), that the columns are less; the intercept follows them
    ones: Array | None = None  # (rows,), of a column of ones

    def constant(self) -> Mask:
        """Return which columns have one value in all rows, ``(d,)``; without the column of ones, none."""
        constant = np.zeros(self.order.size, dtype=bool)
        if self.ones is not None and self.ones.any():
            unit = self.ones / np.linalg.norm(self.ones)
            along = unit @ self.matrix
            rests = np.linalg.norm(self.matrix - np.outer(unit, along), axis=0)
            constant[self.order] = rests <= MIN_INDEPENDENT_SHARE * abs(along)
            constant[self.order] &= along != 0.0
        return constant

    def roundings(self) -> Array:
        """Return the norm of what rounding may have added to each column, ``(d,)``, in the order; 0 without centres.

        A sum of columns far from zero is rounded before the centre is subtracted.
        """
        if self.centres is None:
            return np.zeros(self.order.size)
        of_intercept = np.linalg.norm(self.matrix[:, self.order == self.centres.size])
        return np.asarray(COLUMN_ROUNDING * of_intercept * np.append(abs(self.centres), 0.0)[self.order])

    def basis(self, kept: Mask) -> ColumnBasis:
        """Return the basis of the columns that are kept, ``(d,)``."""
        of_order = kept[self.order]
        return ColumnBasis.of(self.matrix[:, of_order], self.order[of_order], self.precision)


class LinearDependence(NamedTuple):
    """The columns that are set aside, and the linear combinations of kept columns that they are."""

    kept: Mask  # (d,)
    coefficients: Array  # (d - kept, d), of each aliased column on the kept ones
    terms: Mask  # (d - kept, d), which coefficients are not rounding
    constant: Mask  # (d,), whether each column has one value in all rows, as the intercept

    @property
    def aliased(self) -> Codes:
        """The indices of the columns that are set aside."""
        return np.flatnonzero(~self.kept)

    @property
    def members(self) -> Mask:
        """Which columns are aliased, or are in the combination of one that is, ``(d,)``.

        The data do not determine their coefficients unless columns are set aside; they determine those of the others.
        """
        members: Mask = ~self.kept | self.terms.any(axis=0)
        return members

    def uncentred(self, centres: Array | None) -> LinearDependence:
        """Return the linear combinations of the rows themselves, from those of rows less the centres, ``(p,)``.

        Only the coefficient of the intercept, the last column, differs.
        """
        if centres is None:
            return self
        shifts = np.append(centres, 0.0)
        coefficients = np.where(self.terms, self.coefficients, 0.0)
        parts = np.column_stack([shifts[self.aliased], -coefficients * shifts])
        coefficients[:, -1] += parts.sum(axis=1)
        coefficients[abs(coefficients[:, -1]) <= MIN_CENTRE_TERM * abs(parts).max(axis=1), -1] = 0.0
        return self._replace(coefficients=coefficients, terms=coefficients != 0.0)

    def fold(self, theta: Array) -> Array:
        """Return θ of the same logits, ``(q, d)``, with 0 for the aliased columns."""
        folded: Array = np.where(self.kept, theta, 0.0) + theta[:, self.aliased] @ self.coefficients
        return folded

    def widened(self, place: int, number: int) -> LinearDependence:
        """Return the dependence with a number of further columns, which are kept, at a place."""
        places = [place] * number
        return LinearDependence(
            kept=np.insert(self.kept, places, values=True),
            coefficients=np.insert(self.coefficients, places, 0.0, axis=1),
            terms=np.insert(self.terms, places, values=False, axis=1),
            constant=np.insert(self.constant, places, values=False),
        )

    @classmethod
    def of(cls, triangular: TriangularFactor) -> LinearDependence:
        """Return the dependence of the columns without a penalty: a penalty determines the coefficients of others."""
        order, precision = triangular.order, triangular.precision
        unpenalised = order[precision[order] == 0]
        free = slice(unpenalised.size)
        independent, combinations, terms = _independent_columns(
            triangular.matrix[:, free], triangular.roundings()[free]
        )
        kept = np.ones(order.size, dtype=bool)
        kept[unpenalised] = independent
        places = np.ix_(unpenalised[~independent], unpenalised[independent])
        coefficients = np.zeros((order.size, order.size))
        coefficients[places] = combinations.T
        are_terms = np.zeros(coefficients.shape, dtype=bool)
        are_terms[places] = terms.T
        return cls(kept, coefficients[~kept], are_terms[~kept], triangular.constant())


def _independent_columns(factor: Array, roundings: Array) -> tuple[Mask, Array, Mask]:
    """Return which columns of R, ``(rows, j)``, are independent of earlier ones, and the combinations of the others.

    The combinations are coefficients on the independent columns, ``(rank, j - rank)``, and whether each is more than
    rounding. A column that others explain but for a rest no larger than its rounding, ``(j,)``, is not independent.
    """
    reduced = factor.copy()
    sizes = np.linalg.norm(factor, axis=0)
    independent = np.zeros(sizes.size, dtype=bool)
    rank = 0
    for j, size in enumerate(sizes):
        # entries below the diagonal of R are 0, and reflections of earlier columns keep them so
        rest = reduced[rank : j + 1, j]
        norm = np.linalg.norm(rest)
        is_rounding = norm <= min(roundings[j], MIN_RESOLVED_SHARE * size)
        independent[j] = norm > MIN_INDEPENDENT_SHARE * size and not is_rounding
        if not independent[j]:
            rest[:] = 0.0
            continue
        if rest.size > 1:
            _reflect(reduced[rank : j + 1, j:])
        rank += 1
    if rank in (0, sizes.size):
        # LAPACK refuses it
        empty = np.empty((rank, sizes.size - rank))
        return independent, empty, empty > 0.0
    of_independent = reduced[:rank, independent] / sizes[independent]
    parts, _ = lapack.dtrtrs(of_independent, reduced[:rank, ~independent])
    others = sizes[~independent]
    # without a term of which more is independent of the other columns, the rest would exceed what the rule allows
    allowed = np.maximum(MIN_INDEPENDENT_SHARE * others, np.minimum(roundings[~independent], MIN_TERM * others))
    terms = abs(parts) > MIN_TERM * others
    terms |= abs(parts) * independent_shares(of_independent)[:, None] > allowed
    return independent, parts / sizes[independent, None], terms


def _reflect(panel: Array) -> None:
    """Apply the Householder reflection that makes the first column a multiple of the first unit vector, in place."""
    vector = panel[:, 0].copy()
    vector[0] += np.copysign(np.linalg.norm(vector), vector[0])
    vector /= np.linalg.norm(vector)
    panel -= np.outer(2.0 * vector, vector @ panel)
