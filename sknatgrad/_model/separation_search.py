"""The search for a separating direction: linear programs on a few rows, checked exactly on all rows.

A program on some rows has a direction, or proves that none separates these rows. The rows that contradict the first,
or that the second does not determine, are added, until there are no more of them: the method of cutting planes (J. E.
Kelley, "The cutting-plane method for solving convex programs", Journal of the SIAM 8(4), 1960). So a table of any
length takes programs of a few hundred rows, and passes over its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

from sknatgrad._model.exact_arithmetic import exact_direction, exact_signs
from sknatgrad._model.layout import BINARY
from sknatgrad._model.separating_pairs import (
    SEPARATED_MARGIN,
    UnsolvedProgramError,
    any_direction,
    equilibrated,
    margin_matrix,
    scaled,
    sparse_direction,
)
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._rows.source import RowBlock, RowSource
    from sknatgrad._typing import Array, Codes

    # (q, d), a direction of θ
    ExactDirection = tuple[tuple[Fraction, ...], ...]

# Rows of the first program for each column, and rows that each pass may add to it for each column.
FIRST_ROWS_PER_COLUMN = 8
ADDED_ROWS_PER_COLUMN = 4
# rows of the first program at least: 500 take 9 ms with 10 columns
MIN_FIRST_ROWS = 250
# Programs at most. Tables of 10,000 rows and 5 to 50 columns took 1 to 3.
MAX_PROGRAMS = 30
# spread of a constant column, relative to the largest, so that it comes last in messages
TINY_SPREAD = 1e-12
# Programs on the same rows, each in units of the columns that the direction of the one before has. Of 900 hostile
# tables 1 decided all but 7 as rational arithmetic does, 2 and 3 all but 5.
MAX_RESCALINGS = 3
# Part of a row outside the span of others, relative to the row, that is not rounding; and the same of singular values.
OUTSIDE_SPAN = 1e-8


class SeparatingDirection(NamedTuple):
    """A direction of the coefficients along which no margin is negative and some are positive, exactly."""

    direction: Array  # (q, d), of θ
    sizes: Array  # (q, d), sizes of its entries in units of the columns
    n_rows: int  # rows that have a positive margin
    complete: bool  # whether all margins of all rows are positive

    def columns(self, n_columns: int, *, intercept: bool) -> tuple[list[int], int]:
        """Return the columns with the largest entries, and how many others it has; never the intercept."""
        order = _by_size(self.sizes.max(axis=0)[: self.sizes.shape[1] - intercept])
        return order[:n_columns].tolist(), max(order.size - n_columns, 0)

    def entries(self, n_entries: int) -> tuple[list[tuple[int, int]], int]:
        """Return (logit, column) of the largest entries, and how many others there are."""
        order = _by_size(self.sizes.ravel())
        largest = [divmod(int(place), self.sizes.shape[1]) for place in order[:n_entries]]
        return largest, max(order.size - n_entries, 0)


def _by_size(sizes: Array) -> Codes:
    """Return the places of the numbers that are not zero: powers of two in descending order, equal ones in theirs."""
    nonzero = np.flatnonzero(sizes)
    order: Codes = nonzero[np.argsort(-np.rint(np.log2(sizes[nonzero])), kind="stable")]
    return order


def has_free_features(precision: Array, max_precision: float = 0.0, *, intercept: bool) -> bool:
    """Say whether the prior precision ``(d,)`` of any feature is at most `max_precision`."""
    return bool((precision[: len(precision) - intercept] <= max_precision).any())


class ProgramColumns(NamedTuple):
    """The columns that a direction may have, the intercept last if there is one."""

    n_columns: int  # d, of the design
    chosen: tuple[int, ...]

    @classmethod
    def without_penalty(cls, precision: Array, max_precision: float) -> ProgramColumns:
        """Return the columns whose prior precision, of ``(d,)``, is at most `max_precision`."""
        return cls(len(precision), tuple(np.flatnonzero(precision <= max_precision).tolist()))

    @property
    def has_last(self) -> bool:
        """Whether the last column is among them."""
        return self.chosen[-1] == self.n_columns - 1

    def of_rows(self, block: RowBlock, rows: Codes) -> Array:
        """Return these columns of some rows of a block, dense."""
        return Design.of_block(block, self.n_columns).rows(rows).columns(self.chosen)

    def expanded(self, values: Array) -> Array:
        """Return values ``(q, len(chosen))`` of the columns as values of all, 0 for others."""
        expanded = np.zeros((len(values), self.n_columns))
        expanded[:, self.chosen] = values
        return expanded


class Rows(NamedTuple):
    """Some rows, dense, with a column of ones if there is an intercept."""

    design: Array  # (m, d)
    codes: Codes  # (m,)

    def picked(self, indices: Codes) -> Rows:
        """Return the rows of these indices."""
        return Rows(self.design[indices], self.codes[indices])

    def distinct(self) -> Rows:
        """Return each row once."""
        table: Array = np.unique(np.column_stack([self.design, self.codes.astype(np.float64)]), axis=0)
        return Rows(table[:, :-1], table[:, -1].astype(np.intp))

    def merge(self, other: Rows) -> Rows:
        """Return the distinct rows of both."""
        return Rows(np.vstack([self.design, other.design]), np.append(self.codes, other.codes)).distinct()


@dataclass(frozen=True)
class SeparationSearch:
    """The search for a direction that separates rows of positive weight by class; it runs once, when it is needed."""

    source: RowSource
    precision: Array  # (d,), of the prior
    n_classes: int
    has_intercept: bool  # as the last column of the design
    program_size: int  # numbers that the constraints of a program may have
    centres: Array | None = None  # (p,), that the rows are less; the direction is that of the rows themselves
    max_precision: float = 0.0  # of the prior, for the columns that a direction may have

    @cached_property
    def columns(self) -> ProgramColumns:
        """The columns that a direction may have: those that are not penalised, or hardly."""
        return ProgramColumns.without_penalty(self.precision, self.max_precision)

    @property
    def intercept(self) -> bool:
        """Whether a direction may have an intercept."""
        return self.has_intercept and self.columns.has_last

    @property
    def direction(self) -> SeparatingDirection | None:
        """The direction; None if there is none, or if the search was given up."""
        return self._found[0]

    def found(self) -> bool:
        """Say whether there is a direction, as far as the search went."""
        return self.direction is not None

    @property
    def decided(self) -> bool:
        """Whether the absence of a direction is proved; False if the programs became too large."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[SeparatingDirection | None, bool]:
        try:
            return self._searched()
        except UnsolvedProgramError:
            return None, False

    def _searched(self) -> tuple[SeparatingDirection | None, bool]:
        """Return the direction, and whether its absence is proved."""
        n_columns = len(self.columns.chosen)
        n_first = max(FIRST_ROWS_PER_COLUMN * n_columns, MIN_FIRST_ROWS)
        if not self._is_small(n_first):
            return None, False
        rows = self.source.sample(n_first).total(AllRowsKernel(self.columns))
        n_added = max(ADDED_ROWS_PER_COLUMN * n_columns, MIN_FIRST_ROWS)
        for _ in range(MAX_PROGRAMS):
            if not self._is_small(len(rows.codes)):
                return None, False
            direction = direction_of(rows, self.n_classes, intercept=self.intercept)
            if direction is not None:
                check = self.source.total(CheckKernel(direction, self.n_classes, self.columns, n_added))
                if not len(check.violated.codes):
                    return self._described(direction, rows, check), True
                rows = rows.merge(check.violated)
                continue
            basis = span_complement(rows.design, intercept=self.intercept)
            outside = self.source.total(OutsideKernel(basis, self.columns, n_added)) if basis.vectors.size else None
            if outside is None or not len(outside.codes):
                return None, True
            rows = rows.merge(outside)
        return None, False

    def _is_small(self, n_rows: int) -> bool:
        return n_rows * (self.n_classes - 1) ** 2 * len(self.columns.chosen) <= self.program_size

    def _described(self, direction: ExactDirection, rows: Rows, check: Check) -> SeparatingDirection:
        if self.centres is not None and self.intercept:
            direction = _shifted(direction, self.centres[list(self.columns.chosen[:-1])])
        of_features = [entry for of_class in direction for entry in of_class[: len(of_class) - self.intercept]]
        largest = max(abs(entry) for entry in of_features)
        entries = np.array([[float(entry / largest) for entry in of_class] for of_class in direction])
        spread = rows.design.std(axis=0)
        # a constant column comes last
        sizes = abs(entries) * np.where(spread > 0, spread, TINY_SPREAD * spread.max())
        expanded = self.columns.expanded
        return SeparatingDirection(expanded(entries), expanded(sizes), check.n_rows, check.complete)


def direction_of(rows: Rows, n_classes: int, *, intercept: bool) -> ExactDirection | None:
    """Return a direction that separates some of these rows exactly, or None."""
    design, shift, exponent = scaled(rows.design, intercept=intercept)
    pairs = margin_matrix(design, rows.codes, n_classes)
    # the zero vector in place of the first class: a vector that is added for all classes changes no margin
    used = np.arange(design.shape[1] if n_classes > BINARY else 0, pairs.shape[1])
    for _ in range(MAX_RESCALINGS):
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
            entries = _unscaled(exact, exponents, used, pairs.shape[1])
            if simple is not None:
                entries = _unscaled(simple, of_entries, np.arange(len(simple)), len(simple))
            return _in_columns(entries, shift, exponent)
        # rows with a large number in another column are in better units without it
        used = used[found != 0]
    return None


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
    return _shifted(tuple(direction), shift[:-1])


def _shifted(direction: ExactDirection, shift: Array) -> ExactDirection:
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


@dataclass(frozen=True)
class AllRowsKernel:
    """The rows of positive weight, dense."""

    columns: ProgramColumns

    def __call__(self, block: RowBlock) -> Rows:
        """Return those of one block."""
        kept = np.flatnonzero(block.weight > 0)
        return Rows(self.columns.of_rows(block, kept), block.codes[kept])

    def merge(self, left: Rows, right: Rows) -> Rows:
        """Return the distinct rows of two runs."""
        return left.merge(right)


class Check(NamedTuple):
    """The margins of all rows along a direction."""

    n_rows: int  # rows that have a positive margin
    complete: bool  # whether all margins of all rows are positive
    violated: Rows  # distinct rows that have a negative margin, not all of them


@dataclass(frozen=True)
class CheckKernel:
    """The signs of all margins along a direction, exactly."""

    direction: ExactDirection
    n_classes: int
    columns: ProgramColumns
    n_added: int  # rows with a negative margin to return, at most

    def __call__(self, block: RowBlock) -> Check:
        """Check the rows of positive weight of one block."""
        kept = np.flatnonzero(block.weight > 0)
        codes, chosen = block.codes[kept], self.columns.chosen
        used = [j for j in range(len(chosen)) if any(of_class[j] for of_class in self.direction)]
        of_direction = self.columns._replace(chosen=tuple(chosen[j] for j in used))
        signs = self._signs(of_direction.of_rows(block, kept), codes, used)
        negative = np.flatnonzero((signs < 0).any(axis=1))
        violated = Rows(self.columns.of_rows(block, kept[negative]), codes[negative])
        return Check(int((signs > 0).any(axis=1).sum()), bool((signs > 0).all()), self._most_violated(violated))

    def _signs(self, rows: Array, codes: Codes, used: list[int]) -> Codes:
        """Return the sign of the margin of each pair, ``(m, K - 1)``."""
        # one logit is that of class 1, against 0 for class 0
        zero = (Fraction(0),) * len(self.columns.chosen)
        of_classes = (zero, *self.direction) if self.n_classes == BINARY else self.direction
        signs = np.zeros((len(codes), self.n_classes - 1), dtype=np.intp)
        for k, own in enumerate(of_classes):
            of_class = np.flatnonzero(codes == k)
            for index, other in enumerate(of_classes[:k] + of_classes[k + 1 :]):
                signs[of_class, index] = exact_signs(rows[of_class], [own[j] - other[j] for j in used])
        return signs

    def _most_violated(self, rows: Rows) -> Rows:
        """Return the distinct rows with the most negative margins, relative to the sizes of their terms."""
        rows = rows.distinct()
        largest = max(abs(entry) for of_class in self.direction for entry in of_class)
        direction = np.array([[float(entry / largest) for entry in of_class] for of_class in self.direction])
        pairs = margin_matrix(rows.design, rows.codes, self.n_classes)
        margins, sizes = pairs @ direction.ravel(), abs(pairs) @ abs(direction).ravel()
        least = np.divide(margins, sizes, out=np.zeros_like(margins), where=sizes > 0)
        order = np.argsort(least.reshape(len(rows.codes), self.n_classes - 1).min(axis=1, initial=0.0), kind="stable")
        return rows.picked(order[: self.n_added])

    def merge(self, left: Check, right: Check) -> Check:
        """Pool two runs of rows."""
        return Check(
            left.n_rows + right.n_rows,
            left.complete and right.complete,
            self._most_violated(left.violated.merge(right.violated)),
        )


class Basis(NamedTuple):
    """Vectors of scaled columns."""

    vectors: Array  # (d, k)
    shift: Array  # (d,)
    exponent: Codes  # (d,)

    def parts(self, design: Array) -> Array:
        """Return the products of the rows with the vectors, ``(m, k)``, relative to the sizes of the rows."""
        rows = np.ldexp(design - self.shift, self.exponent)
        sizes = np.linalg.norm(rows, axis=1)
        parts: Array = (rows @ self.vectors) / np.where(sizes > 0, sizes, 1.0)[:, None]
        return parts


def span_complement(design: Array, *, intercept: bool) -> Basis:
    """Return the directions of the columns that no row of a design ``(m, d)`` has a part in."""
    design, shift, exponent = scaled(design, intercept=intercept)
    sizes = np.linalg.norm(design, axis=1)
    units = design[sizes > 0] / sizes[sizes > 0, None]
    _, values, vectors = np.linalg.svd(np.vstack([units, np.zeros(design.shape[1])]))
    rank = int((values > OUTSIDE_SPAN * values[0]).sum())
    return Basis(vectors[rank:].T, shift, exponent)


@dataclass(frozen=True)
class OutsideKernel:
    """Rows of positive weight outside the span of others: those that have a part in a basis."""

    basis: Basis
    columns: ProgramColumns
    n_added: int  # rows to return, at most

    def __call__(self, block: RowBlock) -> Rows:
        """Return such rows of one block."""
        kept = np.flatnonzero(block.weight > 0)
        return self._first(Rows(self.columns.of_rows(block, kept), block.codes[kept]))

    def _first(self, rows: Rows) -> Rows:
        """Return distinct rows that span the parts of all, and some others."""
        parts = self.basis.parts(rows.design)
        outside = np.flatnonzero(abs(parts).max(axis=1, initial=0.0) > OUTSIDE_SPAN)
        if not outside.size:
            return rows.picked(outside)
        rows = rows.picked(outside).distinct()
        order = linalg.qr(self.basis.parts(rows.design).T, mode="r", pivoting=True)[1]
        return rows.picked(order[: self.n_added])

    def merge(self, left: Rows, right: Rows) -> Rows:
        """Pool two runs of rows."""
        return self._first(left.merge(right))
