"""Everything that inference sums over rows, at the fitted coefficients."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._inputs.weights import totals_of_all
from sknatgrad._limits import Limits
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import EmpiricalExpectation, TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import pick_rows, take_rows
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.threads import Workers
from sknatgrad._solver.cost_model import Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import Kernel, RowBlock, RowSource
    from sknatgrad._typing import Array, Codes, Matrix, Result

# how much of the scores of single rows, (m, (K - 1) d), is held at a time
SCORE_BYTES = 2**23


class Counts(NamedTuple):
    """How many rows there are, and what they weigh."""

    n_rows: int
    n_weighted: int  # with weight
    weight: float
    least: float  # weight of a row that has any
    of_classes: Array  # (K,), sums of weights

    @classmethod
    def of(cls, codes: Codes, weight: Array, n_classes: int) -> Counts:
        """Return those of some rows."""
        weighted = int(np.count_nonzero(weight))
        least = float(weight.min(initial=np.inf, where=weight > 0))
        return cls(codes.size, weighted, float(weight.sum()), least, totals_of_all(codes, weight, n_classes))


@dataclass(frozen=True)
class CountsKernel:
    """The counts of rows that are far."""

    n_classes: int

    def __call__(self, block: RowBlock) -> Counts:
        """Return those of a block."""
        return Counts.of(block.codes, block.weight, self.n_classes)

    def merge(self, left: Counts, right: Counts) -> Counts:
        """Pool two runs of rows."""
        return Counts(
            left.n_rows + right.n_rows,
            left.n_weighted + right.n_weighted,
            left.weight + right.weight,
            min(left.least, right.least),
            left.of_classes + right.of_classes,
        )


class Rows(NamedTuple):
    """The data of the fit."""

    X: Matrix  # (n, p)
    codes: Codes  # (n,)
    weight: Array  # (n,)
    limits: Limits = Limits()

    def counts(self, n_classes: int) -> Counts:
        """Return how many rows there are, and what they weigh."""
        return Counts.of(self.codes, self.weight, n_classes)

    def source(self, n_logits: int, workers: Workers) -> RowSource:
        """Return the rows as a source."""
        return MemorySource(self.X, self.codes, self.weight, n_logits, workers, limits=self.limits)

    def shape(self, n_logits: int, n_columns: int) -> Shape:
        """Return what costs depend on."""
        return Shape.of(self.X, n_logits, n_columns)

    def same_outcome(self, other: Any) -> bool:
        """Say whether the labels and the weights are the same."""
        return (
            isinstance(other, Rows)
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.weight, other.weight)
        )

    def design(self, chosen: Codes, n_columns: int) -> Design:
        """Return the design of some of the rows, in float64."""
        return Design.of(take_rows(pick_rows(self.X, chosen), 0, len(chosen)), n_columns)


@dataclass(frozen=True)
class GramKernel:
    """Σ s x xᵀ."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block, ``(d, d)``."""
        return Design.of_block(block, self.n_columns).gram(block.weight)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


@dataclass(frozen=True)
class OutOfCoreRows:
    """The data of the fit where they live: what sums tell, and nothing of single rows."""

    rows: RowSource
    known: Counts
    costs: Shape

    def counts(self, n_classes: int) -> Counts:  # noqa: ARG002 - as of rows in memory
        """Return how many rows there are, and what they weigh."""
        return self.known

    def source(self, n_logits: int, workers: Workers) -> RowSource:  # noqa: ARG002 - as of rows in memory
        """Return the rows as a source."""
        return self.rows

    def shape(self, n_logits: int, n_columns: int) -> Shape:  # noqa: ARG002 - as of rows in memory
        """Return what costs depend on."""
        return self.costs

    def same_outcome(self, other: Any) -> bool:
        """Say whether the labels and the weights are the same, as far as their sums tell."""
        if not isinstance(other, OutOfCoreRows):
            return False
        mine, others = self.known, other.known
        return mine[:-1] == others[:-1] and np.array_equal(mine.of_classes, others.of_classes)


@dataclass(frozen=True)
class PoweredKernel:
    """Another kernel of the same rows with their weights to some power."""

    kernel: Any
    power: int

    def __call__(self, block: RowBlock) -> Any:
        """Return the sum over one block."""
        return self.kernel(block._replace(weight=block.weight**self.power))

    def merge(self, left: Any, right: Any) -> Any:
        """Pool two runs of rows."""
        return self.kernel.merge(left, right)


class Sums(NamedTuple):
    """Loss, gradient and true Fisher information at θ."""

    loss: float
    gradient: Array  # ((K - 1) d,), of the loss alone
    fisher: Array  # ((K - 1) d, (K - 1) d)
    worst: float  # the largest loss of a row with weight


@dataclass(frozen=True)
class Totals:
    """Sums over the rows at θ, in the K − 1 contrasts."""

    rows: Rows | OutOfCoreRows
    theta: Array  # (q, d)
    contrasts: Contrasts

    @property
    def counts(self) -> Counts:
        """How many rows there are, and what they weigh."""
        return self.rows.counts(self.contrasts.n_classes)

    @property
    def n_params(self) -> int:
        """Number of coefficients, (K - 1) d."""
        return (self.contrasts.n_classes - 1) * int(self.theta.shape[1])

    @contextmanager
    def opened(self) -> Iterator[RowSource]:
        """Provide the rows as a source, with threads."""
        with Workers() as workers:
            yield self.rows.source(self.theta.shape[0], workers)

    @property
    def in_memory(self) -> Rows:
        """The rows one by one; refused where they are far."""
        if isinstance(self.rows, Rows):
            return self.rows
        message = "score_test needs the rows of the fit one by one, but they are those of a Dask collection."
        raise ValueError(message)

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply a kernel to all rows."""
        with self.opened() as source:
            return source.total(kernel)

    def plain(self) -> Sums:
        """Return loss, gradient and true Fisher information."""
        sums = self.total(MeasureKernel(self.theta, TrueExpectation(), DenseInformation))
        gradient = self.contrasts.scores(sums.gradient.T).T.ravel()
        return Sums(sums.loss, gradient, self.contrasts.matrix(sums.information.blocks), sums.max_loss)

    def gram(self) -> Array:
        """Return Σ s x xᵀ, ``(d, d)``."""
        gram: Array = self.total(GramKernel(self.theta.shape[1]))
        return gram

    def squared_scores(self, power: int) -> Array:
        """Return Σ s_iᵖ u_i u_iᵀ, u_i the score of a row at its label: empirical Fisher information, not centred."""
        sums = self.total(PoweredKernel(MeasureKernel(self.theta, EmpiricalExpectation(), DenseInformation), power))
        return self.contrasts.matrix(sums.information.blocks)

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g u_g u_gᵀ, u_g the sum of the weighted scores of a group's rows."""
        return _squared_sums(groups, self._scores, self.n_params)

    def residual(self, rows: Codes) -> tuple[Design, Array]:
        """Return the design of some rows, and the weighted derivative of their losses by the logits, ``(m, q)``."""
        mine = self.in_memory
        design = mine.design(rows, self.theta.shape[1])
        residual = predict(design.logits(self.theta)).residual(mine.codes[rows])
        return design, residual * mine.weight[rows, None]

    def _scores(self, rows: Codes) -> Array:
        """Return the weighted scores of some rows, ``(m, (K - 1) d)``."""
        design, residual = self.residual(rows)
        return design.scaled_rows(self.contrasts.scores(residual))

    def null_loss(self, *, intercept: bool) -> float:
        """Return the loss of the model that knows no features."""
        totals = self.counts.of_classes
        if not intercept:
            return float(totals.sum() * np.log(self.contrasts.n_classes))
        seen = totals[totals > 0]
        return float(-(seen * np.log(seen / seen.sum())).sum())


@dataclass(frozen=True)
class ScoresAlong:
    """Sums of the scores of rows along some vectors of θ, which need no room for a matrix of all coefficients."""

    totals: Totals
    along: Array  # (j, q, d)

    @property
    def counts(self) -> Counts:
        """How many rows there are, and what they weigh."""
        return self.totals.counts

    def squared_scores(self, power: int) -> Array:
        """Return Σ s_iᵖ a_i a_iᵀ, ``(j, j)``, a_i the score of a row along each of the vectors."""
        squared: Array = self.totals.total(PoweredKernel(AlongKernel(self.totals.theta, self.along), power))
        return squared

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g a_g a_gᵀ, ``(j, j)``, a_g the sum of the weighted scores of a group's rows."""
        return _squared_sums(groups, self.scores, len(self.along))

    def scores(self, rows: Codes) -> Array:
        """Return the weighted scores of some rows, ``(m, j)``."""
        return _along(*self.totals.residual(rows), self.along)


@dataclass(frozen=True)
class AlongKernel:
    """Σ s_i a_i a_iᵀ, a_i the score of a row along some vectors of θ."""

    theta: Array  # (q, d)
    along: Array  # (j, q, d)

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block, ``(j, j)``."""
        design = Design.of_block(block, self.theta.shape[1])
        total = np.zeros((len(self.along), len(self.along)))
        size = max(SCORE_BYTES // (8 * self.along.shape[0] * self.along.shape[1]), 1)
        for start in range(0, len(block.codes), size):
            part = slice(start, start + size)
            rows = design.rows(part)
            residual = predict(rows.logits(self.theta)).residual(block.codes[part])
            scores = _along(rows, np.sqrt(block.weight[part])[:, None] * residual, self.along)
            total += scores.T @ scores
        return total

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


def _along(design: Design, residual: Array, along: Array) -> Array:
    """Return the scores of rows along vectors of θ, ``(m, j)``, from the derivatives of their losses by the logits."""
    n_along, n_logits, n_columns = along.shape
    logits = design.logits(along.reshape(-1, n_columns)).reshape(len(residual), n_along, n_logits)
    return np.asarray(np.einsum("mjq,mq->mj", logits, residual))


def _squared_sums(groups: Codes, scores: Callable[[Codes], Array], n_scores: int) -> Array:
    """Return Σ_g u_g u_gᵀ, u_g the sum of the scores, ``(n_scores,)``, of a group's rows."""
    order = np.argsort(groups, kind="stable")
    size = max(SCORE_BYTES // (8 * n_scores), 1)
    total = np.zeros((n_scores, n_scores))
    open_group, carried = -1, np.zeros(n_scores)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        of_rows = groups[rows]
        firsts = np.flatnonzero(np.append(True, of_rows[1:] != of_rows[:-1]))
        sums = np.add.reduceat(scores(rows), firsts, axis=0)
        if of_rows[0] == open_group:
            sums[0] += carried
        else:
            total += np.outer(carried, carried)
        # the last group may go on in the next run of rows
        open_group, carried = int(of_rows[-1]), sums[-1]
        total += sums[:-1].T @ sums[:-1]
    total += np.outer(carried, carried)
    return total
