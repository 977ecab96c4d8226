"""The rows of a fit, in memory or out of core, and their numbers and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._inputs.weights import totals_of_all
from sknatgrad._rows.centring import take_centred
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import pick_rows
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.cost_model import Shape

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Matrix
    from sknatgrad._limits import Limits
    from sknatgrad._rows.source import RowBlock, RowSource
    from sknatgrad._rows.threads import Workers


class RowCounts(NamedTuple):
    """The number of rows, and sums of their weights."""

    n_rows: int
    n_weighted: int  # rows of positive weight
    total_weight: float
    min_weight: float  # the smallest positive weight of a row
    class_weights: Array  # (K,), sums of weights

    @classmethod
    def of(cls, codes: Codes, weight: Array, n_classes: int) -> RowCounts:
        """Count some rows."""
        n_weighted = int(np.count_nonzero(weight))
        min_weight = float(weight.min(initial=np.inf, where=weight > 0))
        class_weights = totals_of_all(codes, weight, n_classes)
        return cls(codes.size, n_weighted, float(weight.sum()), min_weight, class_weights)


@record
class RowCountsKernel:
    """The counts of rows that are not in memory."""

    n_classes: int

    def __call__(self, block: RowBlock) -> RowCounts:
        """Count the rows of one block."""
        return RowCounts.of(block.codes, block.weight, self.n_classes)

    def merge(self, left: RowCounts, right: RowCounts) -> RowCounts:
        """Pool two runs of rows."""
        return RowCounts(
            left.n_rows + right.n_rows,
            left.n_weighted + right.n_weighted,
            left.total_weight + right.total_weight,
            min(left.min_weight, right.min_weight),
            left.class_weights + right.class_weights,
        )


@record
class LabelsKernel:
    """The classes and the weights of rows, in parts."""

    def __call__(self, block: RowBlock) -> list[tuple[Codes, Array]]:
        """Return those of one block."""
        return [(block.codes, block.weight)]

    def merge(self, left: list[tuple[Codes, Array]], right: list[tuple[Codes, Array]]) -> list[tuple[Codes, Array]]:
        """Append those of later rows."""
        return left + right


class InMemoryRows(NamedTuple):
    """The rows of a fit, in memory."""

    X: Matrix  # (n, p)
    codes: Codes  # (n,)
    weight: Array  # (n,)
    centres: Array | None = None  # (p,), subtracted from the rows for sums over them

    def counts(self, n_classes: int) -> RowCounts:
        """Return the number of rows and the sums of their weights."""
        return RowCounts.of(self.codes, self.weight, n_classes)

    def labels(self) -> tuple[Codes, Array]:
        """Return the class and the weight of each row."""
        return self.codes, self.weight

    def source(self, n_logits: int, workers: Workers, limits: Limits) -> MemorySource:
        """Return the rows as a source."""
        return MemorySource(self.X, self.codes, self.weight, n_logits, workers, limits=limits, centres=self.centres)

    def shape(self, n_logits: int, n_columns: int) -> Shape:
        """Return the shape that costs depend on."""
        return Shape.of(self.X, n_logits, n_columns)

    def has_labels_and_weights_of(self, other: AnyRows) -> bool:
        """Say whether the labels and the weights are the same."""
        return (
            isinstance(other, InMemoryRows)
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.weight, other.weight)
        )

    def design(self, chosen: Codes, n_columns: int) -> Design:
        """Return the design of some of the rows, in float64."""
        return Design.of(take_centred(pick_rows(self.X, chosen), 0, len(chosen), self.centres), n_columns)


@record
class OutOfCoreRows:
    """The rows of a fit that are not in memory: sums over them, but no single rows."""

    row_source: RowSource
    row_counts: RowCounts
    cost_shape: Shape

    def counts(self, n_classes: int) -> RowCounts:  # noqa: ARG002 - the signature of rows in memory
        """Return the number of rows and the sums of their weights."""
        return self.row_counts

    def labels(self) -> tuple[Codes, Array]:
        """Return the class and the weight of each row, by a pass."""
        codes, weights = zip(*self.row_source.total(LabelsKernel()), strict=True)
        return np.concatenate(codes), np.concatenate(weights)

    def source(self, n_logits: int, workers: Workers, limits: Limits) -> RowSource:  # noqa: ARG002 - the signature of rows in memory
        """Return the rows as a source."""
        return self.row_source

    def shape(self, n_logits: int, n_columns: int) -> Shape:  # noqa: ARG002 - the signature of rows in memory
        """Return the shape that costs depend on."""
        return self.cost_shape

    def has_labels_and_weights_of(self, other: AnyRows) -> bool:
        """Say whether the counts are the same: the rows themselves are not compared."""
        if not isinstance(other, OutOfCoreRows):
            return False
        mine, others = self.row_counts, other.row_counts
        return mine[:-1] == others[:-1] and np.array_equal(mine.class_weights, others.class_weights)


AnyRows: TypeAlias = InMemoryRows | OutOfCoreRows
