"""Whether some direction of the coefficients separates rows by class, so that the likelihood has no maximum.

A direction V does if (V_y − V_k)ᵀ x ≥ 0 for every row x, of class y, and every other class k, and not always 0: along
it no row is ever fitted worse. Albert and Anderson (1984), "On the existence of maximum likelihood estimates in
logistic regression models"; by a linear program: Konis (2007), "Linear programming algorithms for detecting separated
data".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import optimize

from sknatgrad._model.information.symmetric import equilibrate, noise_floor

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes
    from sknatgrad.inference._fitted import Fitted
    from sknatgrad.inference._sums import Rows

# The probability, at an optimum, of any other class in a row that is moved along V. There the slope along V is
# Σ p_k (V_y − V_k)ᵀx over rows, all its terms of one sign, and at most the root of the decrement times that of the
# curvature, Σ p_k ((V_y − V_k)ᵀx)² at most: so p is at most twice the decrement in nats, 0.01 at 0.1 standard errors.
UNSURE = 0.01
# a program with more numbers than this is left alone
PROGRAM_SIZE = 2**22
# relative to the largest of the rows; the solver's own tolerance is 1e-7
TOLERANCE = 1e-6
# coefficients of a direction that are named
SHOWN = 5


class Separation(NamedTuple):
    """A direction, and how many rows it separates."""

    direction: Array  # (K - 1, d), contrasts against class 0
    sizes: Array  # (K - 1, d), the same in units of the columns
    n_separated: int  # rows that it moves
    complete: bool  # whether it moves all, away from every other class

    def describe(self, fitted: Fitted) -> str:
        """Say what it is, by the names of columns and classes."""
        labels = fitted.classes.tolist()
        sizes = self.sizes
        largest = np.argsort(-sizes, axis=None)[:SHOWN]
        floor = TOLERANCE * sizes.max()
        places = [np.unravel_index(place, sizes.shape) for place in largest if sizes.flat[place] > floor]
        parts = [f"{self.direction[k, j]:+.3g} {fitted.names[j]} for {labels[k + 1]!r}" for k, j in places]
        more = int((sizes > floor).sum()) - len(parts)
        how = "completely" if self.complete else "in part"
        return (
            f"the classes are separated {how}, {self.n_separated:,} rows along the direction {', '.join(parts)}"
            + (f" and {more} more" if more > 0 else "")
            + f", against {labels[0]!r}, so that the likelihood has no maximum: fit with a penalty, or drop columns"
        )


def may_be_separable(fisher: Array, gram: Array, n_classes: int) -> bool:
    """Say whether the curvature leaves room for it, at an optimum.

    Along V, VᵀFV is the variance of the logits of V, and at most `UNSURE` times their squares. So there has to be a
    direction where the ratio of the two is as small.

    Parameters
    ----------
    fisher : ndarray of shape ((K - 1) d, (K - 1) d)
        Fisher information of the contrasts.

    gram : ndarray of shape (d, d)
        Sum of s x xᵀ over rows.

    n_classes : int
        K.
    """
    scale = equilibrate(gram)
    values, vectors = np.linalg.eigh(scale[:, None] * gram * scale)
    kept = values > noise_floor(len(gram)) * max(values[-1], 1.0)
    columns = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    n_contrasts = n_classes - 1
    # of contrasts, in logits that sum to zero over classes
    squares = np.eye(n_contrasts) - (1.0 / n_classes if n_contrasts > 1 else 0.0)
    basis = np.kron(np.linalg.inv(np.linalg.cholesky(squares)).T, columns)
    least = np.linalg.eigvalsh(basis.T @ fisher @ basis)[0]
    return bool(least <= UNSURE * (2 * (n_classes + 1) if n_contrasts > 1 else 1))


def is_program_small(n_rows: int, n_columns: int, n_classes: int) -> bool:
    """Say whether `separation` takes seconds, not hours."""
    return n_rows * (n_classes - 1) ** 2 * n_columns <= PROGRAM_SIZE


def separation(rows: Rows, n_columns: int, n_classes: int) -> Separation | None:
    """Return a direction that separates some rows, or None, by a linear program."""
    weighty = np.flatnonzero(rows.weight > 0)
    pairs, scale, means = _pairs(rows, weighty, n_columns, n_classes)
    largest = np.abs(pairs).sum(axis=1)
    # the least margin, if it can be positive: all rows; else the sum of all margins, none of them negative
    for least in (True, False):
        found = _furthest(pairs, least=least)
        margins = pairs @ found
        moved = (margins > TOLERANCE * largest).reshape(weighty.size, n_classes - 1)
        feasible = not (margins < -TOLERANCE * largest).any()
        if feasible and (moved.all() if least else moved.any()):
            found = found.reshape(n_classes - 1, n_columns)
            direction = found * scale
            if n_columns > rows.X.shape[1]:
                direction[:, -1] -= direction[:, :-1] @ means
            return Separation(direction, np.abs(found), int(moved.any(axis=1).sum()), complete=bool(moved.all()))
    return None


def _furthest(pairs: Array, *, least: bool) -> Array:
    """Return the direction, in the unit cube, of the largest least margin, or of the largest sum of margins >= 0."""
    n_pairs, n_params = pairs.shape
    if least:
        solved = optimize.linprog(
            np.append(np.zeros(n_params), -1.0),
            A_ub=np.column_stack([-pairs, np.ones(n_pairs)]),
            b_ub=np.zeros(n_pairs),
            bounds=[(-1.0, 1.0)] * n_params + [(0.0, 1.0)],
            method="highs",
        )
    else:
        solved = optimize.linprog(
            -pairs.sum(axis=0), A_ub=-pairs, b_ub=np.zeros(n_pairs), bounds=(-1.0, 1.0), method="highs"
        )
    return np.asarray(solved.x)[:n_params]


def _pairs(rows: Rows, weighty: Codes, n_columns: int, n_classes: int) -> tuple[Array, Array, Array]:
    """Return (V_y − V_k)ᵀ x as a matrix, ``(n (K - 1), (K - 1) d)``, units, ``(d,)``, and means, ``(p,)``, of columns.

    Columns are centred where there is an intercept, which makes up for it: what they differ by may be small.
    """
    design = rows.design(weighty, n_columns).dense()
    n_features = rows.X.shape[1]
    means = design[:, :n_features].mean(axis=0) if n_columns > n_features else np.zeros(n_features)
    design[:, :n_features] -= means
    sizes = np.sqrt((design**2).mean(axis=0))
    scale = np.divide(1.0, sizes, out=np.zeros(n_columns), where=sizes > 0)
    design = design * scale
    n_contrasts = n_classes - 1
    codes = rows.codes[weighty]
    pairs = np.zeros((weighty.size, n_contrasts, n_contrasts, n_columns))
    for index in range(n_contrasts):
        # the index-th class that is not the row's own
        others = index + (codes <= index)
        for classes, sign in ((codes, 1.0), (others, -1.0)):
            point = np.flatnonzero(classes > 0)
            pairs[point, index, classes[point] - 1] += sign * design[point]
    return pairs.reshape(weighty.size * n_contrasts, -1), scale, means
