"""A direction that separates a few rows exactly: of a linear program in floating point, made rational.

Where columns depend on each other, many directions have the same margins, and those of a vertex are large and cancel,
so that rounding hides whether they are exact. So the program only has columns that are independent.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from sknatgrad._model.exact_arithmetic import exact_direction
from sknatgrad._model.layout import BINARY
from sknatgrad._model.separating_pairs import (
    SEPARATED_MARGIN,
    UndecidedError,
    any_direction,
    equilibrated,
    margin_matrix,
    scaled,
    sparse_direction,
)

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes

    # (q, d), a direction of θ
    ExactDirection = tuple[tuple[Fraction, ...], ...]

# Programs on the same rows, each in units of the columns that the direction of the one before has. Of 900 hostile
# tables 1 decided all but 7 as rational arithmetic does, 2 and 3 all but 5.
MAX_RESCALINGS = 3
# Part of a column outside the span of others, relative to the column, up to which it counts as rounding: a sum of
# columns whose mean is 1e6 times their spread has 1e-10.
REDUNDANT = 1e-8


def direction_of(design: Array, codes: Codes, n_classes: int, *, intercept: bool) -> ExactDirection | None:
    """Return a direction that separates some rows ``(m, d)`` exactly; None if there is none.

    Raises
    ------
    UndecidedError
        If a program is not solved, or its direction separates rows only to within rounding.
    """
    design, shift, exponent = scaled(design, intercept=intercept)
    pairs = margin_matrix(design, codes, n_classes)
    entries = _entries(pairs, _of_classes(independent_columns(design), len(shift), n_classes))
    return None if entries is None else _in_columns(entries, shift, exponent)


def independent_columns(design: Array) -> Codes:
    """Return the columns of a design of which no others are combinations, in ascending order."""
    units = equilibrated(design[design.any(axis=1)])[0]
    if not units.size:
        # LAPACK of scipy 1.10 refuses it
        return np.empty(0, dtype=np.intp)
    sizes = np.linalg.norm(units, axis=0)
    triangle, order = linalg.qr(units / np.where(sizes > 0, sizes, 1.0), mode="r", pivoting=True)
    independent: Codes = np.sort(order[: int((abs(triangle.diagonal()) > REDUNDANT).sum())])
    return independent


def _of_classes(columns: Codes, n_columns: int, n_classes: int) -> Codes:
    """Return the places of some columns in directions with a vector for each class.

    The first class has the zero vector: a vector that is added for all classes changes no margin.
    """
    starts = n_columns * (np.arange(1, n_classes) if n_classes > BINARY else np.zeros(1, dtype=np.intp))
    places: Codes = (starts[:, None] + columns).ravel()
    return places


def _entries(pairs: Array, used: Codes) -> list[Fraction] | None:
    """Return a direction that separates some pairs exactly and has only the `used` entries; None if there is none."""
    for _ in range(MAX_RESCALINGS):
        if not used.size:
            return None
        balanced, exponents = equilibrated(pairs[:, used])
        found = any_direction(balanced)
        separated = balanced @ found > SEPARATED_MARGIN
        if not separated.any():
            return None
        exact = exact_direction(balanced, found)
        if exact is not None:
            whole, of_entries = equilibrated(pairs)
            sparse = sparse_direction(whole, separated)
            simple = None if sparse is None else exact_direction(whole, sparse)
            if simple is not None:
                return _unscaled(simple, of_entries, np.arange(len(simple)), len(simple))
            return _unscaled(exact, exponents, used, pairs.shape[1])
        # rows with a large number in another column are in better units without it
        used = used[found != 0]
    raise UndecidedError


def _unscaled(entries: list[Fraction], exponents: Codes, used: Codes, size: int) -> list[Fraction]:
    """Return a vector from its entries in columns that were multiplied by powers of two; 0 elsewhere."""
    vector = [Fraction(0)] * size
    for entry, power, j in zip(entries, exponents.tolist(), used.tolist(), strict=True):
        vector[j] = entry * Fraction(2) ** power
    return vector


def _in_columns(entries: list[Fraction], shift: Array, exponent: Codes) -> ExactDirection:
    """Return a direction of scaled columns, class after class, in the units of the columns."""
    n_columns = len(shift)
    direction = []
    for start in range(0, len(entries), n_columns):
        of_class = [
            entry * Fraction(2) ** int(power)
            for entry, power in zip(entries[start : start + n_columns], exponent, strict=True)
        ]
        direction.append(tuple(of_class))
    # shifts are zero without an intercept
    return shifted(tuple(direction), shift[:-1])


def shifted(direction: ExactDirection, shift: Array) -> ExactDirection:
    """Return the direction for the rows themselves, from that for rows less a shift of features, ``(p,)``.

    The intercept is the last column if a shift is not zero.
    """
    moved = [(j, Fraction(float(shift[j]))) for j in np.flatnonzero(shift).tolist()]
    if not moved:
        return direction
    return tuple(
        (*of_class[:-1], of_class[-1] - sum((value * of_class[j] for j, value in moved), Fraction(0)))
        for of_class in direction
    )
