"""The margins of rows as a matrix, and the linear programs that look for a direction along which none is negative.

A pair is a row and a class other than its own. Its margin along V is (V_y − V_k)ᵀ x, linear in V. Numbers are only
multiplied by powers of two and shifted where that is exact, so the signs of margins are those of the rows as they were
passed, and `exact_arithmetic` can check them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import optimize

from sknatgrad._rows.matrices import beside_identity

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask, Matrix

# Bounds on the entries of a direction, and the largest violation of a constraint that HiGHS allows: tried in this order
# until it solves the program. Of 1,000 programs the first solved all and the second too; with an infinite bound and
# 1e-9, or a bound of 1e9, HiGHS gave up 2 to 65.
ATTEMPTS = ((np.inf, 1e-7), (1e4, 1e-9), (1e6, 1e-9))
# Iterations of HiGHS for each variable, at most: 150 tables took up to 1.3. One that it did not solve went on for 22 s,
# with 780 variables.
MAX_ITERATIONS = 10
# Margin that separates: `any_direction` gives pairs a margin of 1 where it can.
SEPARATED_MARGIN = 0.5
# passes of scaling over columns and rows; 2 to 8 decided the same 1,000 tables alike
SCALING_PASSES = 4


class ScaledDesign(NamedTuple):
    """A design whose columns are multiplied by powers of two, after a shift that is exact."""

    design: Array  # (m, d), (x − shift) 2^exponent
    shift: Array  # (d,), 0 but for columns far from zero beside an intercept
    exponent: Codes  # (d,)


def scaled(design: Array, *, intercept: bool) -> ScaledDesign:
    """Scale a design ``(m, d)`` exactly, so that the logarithms of the numbers of a column have mean 0.

    The difference of two numbers within a factor of two is exact (Sterbenz 1974). Columns with a wider range are not
    much farther from zero than they are wide, and need no shift.
    """
    shift = np.zeros(design.shape[1])
    if intercept and len(design):
        for sign in (1.0, -1.0):
            least, greatest = (sign * design[:, :-1]).min(axis=0), (sign * design[:, :-1]).max(axis=0)
            far = (least > 0) & (greatest <= 2.0 * least)
            shift[:-1][far] = sign * least[far]
    shifted = design - shift
    exponent = -_mean_exponent(shifted)
    return ScaledDesign(np.ldexp(shifted, exponent), shift, exponent)


def _mean_exponent(values: Array) -> Codes:
    """Return the rounded mean of log₂|x| over the numbers of each column that are not zero."""
    _, exponents = np.frexp(values)
    nonzero = values != 0
    count = np.maximum(nonzero.sum(axis=0), 1)
    means: Codes = np.rint(np.where(nonzero, exponents, 0).sum(axis=0) / count).astype(int)
    return means


def margin_matrix(design: Array, codes: Codes, n_classes: int) -> Array:
    """Return the matrix whose product with V ``(q, d)`` is the margins of the pairs, in the order of the rows.

    Its shape is ``(m (K − 1), q d)``. For two classes V is the direction of the logit of class 1.
    """
    n_rows, n_columns = design.shape
    if n_classes == 2:  # noqa: PLR2004 - two classes have one logit
        return design * np.where(codes == 1, 1.0, -1.0)[:, None]
    rows = np.arange(n_rows)
    pairs = np.zeros((n_rows, n_classes - 1, n_classes, n_columns))
    for index in range(n_classes - 1):
        pairs[rows, index, codes] = design
        pairs[rows, index, other_class(codes, index)] = -design
    return pairs.reshape(n_rows * (n_classes - 1), n_classes * n_columns)


def other_class(codes: Codes, index: int) -> Codes:
    """Return the class number `index` of those that are not the row's own."""
    others: Codes = index + (codes <= index)
    return others


def equilibrated(pairs: Array) -> tuple[Array, Codes]:
    """Multiply the rows and columns of a matrix by powers of two; return it and the exponents of its columns."""
    exponents = np.zeros(pairs.shape[1], dtype=int)
    for _ in range(SCALING_PASSES):
        of_columns = -_mean_exponent(pairs)
        pairs = np.ldexp(pairs, of_columns)
        exponents += of_columns
        largest = np.frexp(abs(pairs).max(axis=1))[1]
        pairs = np.ldexp(pairs, -largest[:, None])
    return pairs, exponents


class UndecidedError(RuntimeError):
    """HiGHS does not solve a program, with any bound and tolerance, or its direction is not exact."""


def any_direction(pairs: Array) -> Array:
    """Return a direction without a negative margin along which as many margins as possible are positive.

    It maximises Σ min(margin, 1). Along the best direction every margin that can be positive is 1 or more, whatever the
    scale of the rows, so the optimum is the number of such pairs.
    """
    n_pairs, n_params = pairs.shape
    costs = np.append(np.zeros(n_params), -np.ones(n_pairs))
    for bound, tolerance in ATTEMPTS:
        bounds = [(-bound, bound)] * n_params + [(0.0, 1.0)] * n_pairs
        solved = _solved(costs, beside_identity(-pairs), np.zeros(n_pairs), bounds, tolerance)
        if solved is not None:
            return solved[:n_params]
    raise UndecidedError


def sparse_direction(pairs: Array, separated: Mask) -> Array | None:
    """Return the direction of least Σ |v| along which the `separated` pairs have a margin of 1 or more; None if none.

    A vertex of such a program has few entries, and none that cancel because of collinear columns.
    """
    n_params = pairs.shape[1]
    solved = _solved(
        np.ones(2 * n_params),
        np.hstack([-pairs, pairs]),
        np.where(separated, -1.0, 0.0),
        [(0.0, np.inf)] * (2 * n_params),
    )
    return None if solved is None else solved[:n_params] - solved[n_params:]


def _solved(
    costs: Array, rows: Matrix, limits: Array, bounds: list[tuple[float, float]], tolerance: float = 1e-7
) -> Array | None:
    """Return the minimum of a linear program, by the dual simplex method; None if HiGHS does not find it."""
    options = {
        "primal_feasibility_tolerance": tolerance,
        "dual_feasibility_tolerance": tolerance,
        "maxiter": MAX_ITERATIONS * len(costs),
    }
    solved = optimize.linprog(costs, A_ub=rows, b_ub=limits, bounds=bounds, method="highs-ds", options=options)
    return np.asarray(solved.x) if solved.status == 0 else None
