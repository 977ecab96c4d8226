"""The search for a separating direction: linear programs on a few rows, checked exactly on all rows.

A program on some rows has a direction, or proves that none separates these rows. The rows that contradict the first,
or that the second does not determine, are added, until there are no more of them: the method of cutting planes (J. E.
Kelley, "The cutting-plane method for solving convex programs", Journal of the SIAM 8(4), 1960). So a table of any
length takes programs of a few hundred rows, and passes over its rows.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

from sknatgrad._definitions import record
from sknatgrad._model.exact_arithmetic import exact_signs
from sknatgrad._model.layout import BINARY
from sknatgrad._model.rational_direction import direction_of, shifted
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._model.separating_pairs import UndecidedError, margin_matrix, scaled
from sknatgrad._model.separation import MAX_WEAK_PRECISION, is_hardly_penalised
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.rational_direction import ExactDirection
    from sknatgrad._rows.source import RowBlock, RowSource

# Rows of the first program for each column, and rows that each pass may add to it for each column.
FIRST_ROWS_PER_COLUMN = 8
ADDED_ROWS_PER_COLUMN = 4
# rows of the first program at least: 500 take 9 ms with 10 columns
MIN_FIRST_ROWS = 250
# Programs at most. Tables of 10,000 rows and 5 to 50 columns took 1 to 3.
MAX_PROGRAMS = 30
# spread of a constant column, relative to the largest, so that it comes last in messages
TINY_SPREAD = 1e-12
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


def has_free_features(precision: Array, *, intercept: bool) -> bool:
    """Say whether the prior precision ``(d,)`` of any feature is 0."""
    return bool((precision[: len(precision) - intercept] == 0.0).any())


def has_weak_features(precision: Array, *, intercept: bool) -> bool:
    """Say whether the prior precision ``(d,)`` of any feature is positive, and so small that none may be meant."""
    features = precision[: len(precision) - intercept]
    return bool(((features > 0.0) & (features <= MAX_WEAK_PRECISION)).any())


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


@record
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

    def with_weak_features(self) -> SeparationSearch:
        """Return the search among the features, too, whose penalty is so weak that none may be meant."""
        return replace(self, max_precision=MAX_WEAK_PRECISION)

    def is_hardly_penalised(self, theta: Array) -> bool:
        """Say whether there is a direction whose rows have almost no probability of the wrong classes at θ."""
        if self.direction is None:
            return False
        of_rows = recentred_theta(self.direction.direction, None, self.centres)
        return is_hardly_penalised(self.source, theta, of_rows)

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
        except UndecidedError:
            return None, False

    def _searched(self) -> tuple[SeparatingDirection | None, bool]:
        """Return the direction, and whether its absence is proved."""
        n_columns = len(self.columns.chosen)
        n_first = max(FIRST_ROWS_PER_COLUMN * n_columns, MIN_FIRST_ROWS)
        if not self._is_small(n_first):
            return None, False
        rows = self.source.sample(n_first).total(AllRowsKernel(self.columns))
        present = self._present(rows)
        if len(present) < BINARY:
            return None, True
        rows = rows._replace(codes=np.searchsorted(present, rows.codes))
        n_added = max(ADDED_ROWS_PER_COLUMN * n_columns, MIN_FIRST_ROWS)
        for _ in range(MAX_PROGRAMS):
            if not self._is_small(len(rows.codes)):
                return None, False
            direction = direction_of(*rows, len(present), intercept=self.intercept)
            if direction is not None:
                check = self.source.total(CheckKernel(direction, present, self.columns, n_added))
                if not len(check.violated.codes):
                    return self._described(direction, rows, present, check), True
                rows = rows.merge(check.violated)
                continue
            basis = span_complement(rows.design, intercept=self.intercept)
            outside = (
                self.source.total(OutsideKernel(basis, present, self.columns, n_added)) if basis.vectors.size else None
            )
            if outside is None or not len(outside.codes):
                return None, True
            rows = rows.merge(outside)
        return None, False

    def _present(self, rows: Rows) -> Codes:
        """Return the classes that have rows of positive weight; a direction is of no others."""
        present: Codes = np.unique(rows.codes)
        return present if len(present) == self.n_classes else self.source.total(PresentKernel())

    def _is_small(self, n_rows: int) -> bool:
        return n_rows * (self.n_classes - 1) ** 2 * len(self.columns.chosen) <= self.program_size

    def _described(self, direction: ExactDirection, rows: Rows, present: Codes, check: Check) -> SeparatingDirection:
        if self.centres is not None and self.intercept:
            direction = shifted(direction, self.centres[list(self.columns.chosen[:-1])])
        of_features = [entry for of_class in direction for entry in of_class[: len(of_class) - self.intercept]]
        largest = max(abs(entry) for entry in of_features)
        entries = np.array([[float(entry / largest) for entry in of_class] for of_class in direction])
        spread = rows.design.std(axis=0)
        # a constant column comes last
        sizes = abs(entries) * np.where(spread > 0, spread, TINY_SPREAD * spread.max())
        expanded = partial(self._expanded, present=present)
        return SeparatingDirection(expanded(entries), expanded(sizes), check.n_rows, check.complete)

    def _expanded(self, values: Array, present: Codes) -> Array:
        """Return values for the columns and classes of a program as values for all, 0 for others."""
        values = self.columns.expanded(values)
        if self.n_classes == BINARY:
            return values
        expanded = np.zeros((self.n_classes, values.shape[1]))
        # one logit is that of the second class
        expanded[present[-len(values) :]] = values
        return expanded


@record
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


class PresentKernel:
    """The classes that have rows of positive weight, in ascending order."""

    def __call__(self, block: RowBlock) -> Codes:
        """Return those of one block."""
        return np.unique(block.codes[block.weight > 0])

    def merge(self, left: Codes, right: Codes) -> Codes:
        """Return those of two runs of rows."""
        return np.union1d(left, right)


class Check(NamedTuple):
    """The margins of all rows along a direction."""

    n_rows: int  # rows that have a positive margin
    complete: bool  # whether all margins of all rows are positive
    violated: Rows  # distinct rows that have a negative margin, not all of them


@record
class CheckKernel:
    """The signs of all margins along a direction, exactly."""

    direction: ExactDirection
    present: Codes  # the classes of the program
    columns: ProgramColumns
    n_added: int  # rows with a negative margin to return, at most

    def __call__(self, block: RowBlock) -> Check:
        """Check the rows of positive weight of one block."""
        kept = np.flatnonzero(block.weight > 0)
        codes, chosen = np.searchsorted(self.present, block.codes[kept]), self.columns.chosen
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
        of_classes = (zero, *self.direction) if len(self.present) == BINARY else self.direction
        signs = np.zeros((len(codes), len(self.present) - 1), dtype=np.intp)
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
        pairs = margin_matrix(rows.design, rows.codes, len(self.present))
        margins, sizes = pairs @ direction.ravel(), abs(pairs) @ abs(direction).ravel()
        least = np.divide(margins, sizes, out=np.zeros_like(margins), where=sizes > 0)
        order = np.argsort(
            least.reshape(len(rows.codes), len(self.present) - 1).min(axis=1, initial=0.0), kind="stable"
        )
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


@record
class OutsideKernel:
    """Rows of positive weight outside the span of others: those that have a part in a basis."""

    basis: Basis
    present: Codes  # the classes of the program
    columns: ProgramColumns
    n_added: int  # rows to return, at most

    def __call__(self, block: RowBlock) -> Rows:
        """Return such rows of one block."""
        kept = np.flatnonzero(block.weight > 0)
        codes = np.searchsorted(self.present, block.codes[kept])
        return self._first(Rows(self.columns.of_rows(block, kept), codes))

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
