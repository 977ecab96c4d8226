"""Signs of margins in rational arithmetic, and the exact direction near one of floating point.

Numbers of type float64 are rational. A product is evaluated in floating point first, with a bound on its rounding
error, and as a sum of fractions only where the bound does not decide its sign.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sknatgrad._definitions import Array, Codes

# relative error of one operation in float64
UNIT_ROUNDOFF = 2.0**-53
# Entries of a direction below this share of the largest are rounding of the linear program. 1e-11 and 1e-7 decided
# 1,000 tables alike.
MIN_ENTRY = 1e-9
# Margins below this share of the sum of the sizes of their terms are taken to be zero; the exact check follows. 1e-10
# and 1e-6 decided 1,000 tables alike.
TIED = 1e-8
# Largest denominator of the ratio of two entries that is tried first: columns of integers have directions such as
# x − 2010.5.
MAX_DENOMINATOR = 1000
# Singular values below this share of the largest are taken to be zero; the exact check follows.
RANK_TOLERANCE = 1e-10
# Equations that are solved exactly, at most: 40 take 0.14 s, and the time grows with the fourth power.
MAX_EQUATIONS = 40


def exact_signs(rows: Array, direction: Sequence[Fraction]) -> Codes:
    """Return the sign of each row's product with a direction, ``(m,)``, exactly."""
    used = [j for j, entry in enumerate(direction) if entry]
    rows, entries = rows[:, used], [direction[j] for j in used]
    if not used:
        return np.zeros(len(rows), dtype=np.intp)
    nearest = np.array([_nearest(entry) for entry in entries])
    # out of range is not decided by the bound
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        products = rows * nearest
        sums = products.sum(axis=1)
        # of each factor, each product and each addition; subnormal products have an absolute error
        bound = (len(used) + 3) * UNIT_ROUNDOFF * abs(products).sum(axis=1) + len(used) * np.finfo(np.float64).tiny
        signs = np.sign(sums)
        undecided = np.flatnonzero(~(abs(sums) > 1.01 * bound) & rows.any(axis=1))
    signs[~rows.any(axis=1)] = 0.0
    if undecided.size:
        distinct, inverse = np.unique(rows[undecided], axis=0, return_inverse=True)
        signs[undecided] = np.array([_sign(row, entries) for row in distinct.tolist()])[inverse.ravel()]
    result: Codes = signs.astype(np.intp)
    return result


def _nearest(entry: Fraction) -> float:
    """Return the nearest float64, infinite out of its range."""
    try:
        return float(entry)
    except OverflowError:
        return np.inf if entry > 0 else -np.inf


def _sign(row: list[float], entries: list[Fraction]) -> float:
    total = sum((Fraction(x) * entry for x, entry in zip(row, entries, strict=True) if x), Fraction(0))
    return float((total > 0) - (total < 0))


def exact_direction(pairs: Array, direction: Array) -> list[Fraction] | None:
    """Return a direction near a given one along which no margin is negative and some are positive, exactly.

    None if there is none: then the given direction separates pairs only to within rounding.

    Parameters
    ----------
    pairs : ndarray of shape (m, k)
        The matrix whose products with a direction are the margins.

    direction : ndarray of shape (k,)
        A direction along which no margin is negative, to within rounding.
    """
    used = np.flatnonzero(abs(direction) > MIN_ENTRY * abs(direction).max())
    rows = pairs[:, used]
    products = rows * direction[used]
    is_tied = abs(products.sum(axis=1)) <= TIED * abs(products).sum(axis=1)
    tied = np.unique(rows[is_tied & rows.any(axis=1)], axis=0)
    for entries in _candidates(tied, direction[used]):
        signs = exact_signs(rows, entries)
        if signs.min() >= 0 and signs.max() > 0:
            exact = [Fraction(0)] * len(direction)
            for j, entry in zip(used.tolist(), entries, strict=True):
                exact[j] = entry
            return exact
    return None


def _candidates(tied: Array, entries: Array) -> Iterator[list[Fraction]]:
    """Yield directions near `entries`: themselves, those of simple ratios, and those of which `tied` products are 0."""
    yield [Fraction(entry) for entry in entries.tolist()]
    if not len(tied):
        return
    unit = entries[np.argmax(abs(entries))]
    yield [Fraction(ratio).limit_denominator(MAX_DENOMINATOR) for ratio in (entries / unit * np.sign(unit)).tolist()]
    solved = _null_vector(tied, entries)
    if solved is not None:
        yield solved


def _null_vector(rows: Array, entries: Array) -> list[Fraction] | None:
    """Return the vector near `entries` whose products with all rows are 0, if their numerical rank is exact."""
    _, triangle, order = linalg.qr(rows.T, mode="economic", pivoting=True)
    sizes = abs(triangle.diagonal())
    chosen = rows[order[: int((sizes > RANK_TOLERANCE * sizes[0]).sum())]]
    n_equations, n_entries = chosen.shape
    if n_equations > MAX_EQUATIONS or n_equations == n_entries:
        return None
    pivots = linalg.qr(chosen, mode="r", pivoting=True)[1]
    solved, free = pivots[:n_equations], pivots[n_equations:]
    vector = [Fraction(entry) for entry in entries.tolist()]
    right = [-sum((Fraction(row[j]) * vector[j] for j in free.tolist()), Fraction(0)) for row in chosen.tolist()]
    values = _solved([[Fraction(row[j]) for j in solved.tolist()] for row in chosen.tolist()], right)
    exact = dict(zip(solved.tolist(), values or [], strict=False))
    return None if values is None else [exact.get(j, vector[j]) for j in range(n_entries)]


def _solved(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    """Return the solution of linear equations by elimination in integers (Bareiss 1968); None if they are singular."""
    size = len(matrix)
    rows = [_as_integers([*row, value]) for row, value in zip(matrix, right, strict=True)]
    divisor = 1
    for k in range(size):
        pivot = next((i for i in range(k, size) if rows[i][k]), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        head = rows[k]
        for i in range(k + 1, size):
            row, factor = rows[i], rows[i][k]
            rows[i] = [0] * (k + 1) + [(head[k] * row[j] - factor * head[j]) // divisor for j in range(k + 1, size + 1)]
        divisor = head[k]
    solution = [Fraction(0)] * size
    for k in reversed(range(size)):
        known = sum((rows[k][j] * solution[j] for j in range(k + 1, size)), Fraction(0))
        solution[k] = (rows[k][size] - known) / rows[k][k]
    return solution


def _as_integers(row: list[Fraction]) -> list[int]:
    """Return a row times the common denominator of its fractions."""
    common = 1
    for value in row:
        common = math.lcm(common, value.denominator)
    return [int(value * common) for value in row]
