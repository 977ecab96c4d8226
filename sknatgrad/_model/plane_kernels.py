"""Kernels of a search in the plane of two steps: with the logits of all rows along both, no rows are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.categorical import predict
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._model.protocols import RowScores, Scores
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array

# the logits of all rows, (m, 1) of each block
Logits = tuple["Array", ...]


@dataclass(frozen=True)
class LogitsKernel:
    """The logits of all rows at θ."""

    theta: Array  # (q, d)

    def __call__(self, block: RowBlock) -> Logits:
        """Return those of one block."""
        return (Design.of_block(block, self.theta.shape[1]).logits(self.theta),)

    def merge(self, left: Logits, right: Logits) -> Logits:
        """Append those of later rows."""
        return left + right


@dataclass(frozen=True)
class MomentsKernel:
    """Σ s x xᵀ, ``(d, d)``, in the precision of the blocks."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block."""
        return Design.of_block(block, self.n_columns).gram(block.weight)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


class StepLogits(NamedTuple):
    """The logits of all rows along a step, and the products of it and other steps with F."""

    logits: Logits
    curvature: Array  # (j, j), vᵀF v of every two steps, the new one first


@dataclass(frozen=True)
class StepLogitsKernel:
    """The `StepLogits` of a step of one logit, beside others whose logits are known; reads the rows once."""

    move: Array  # (1, d)
    scores: RowScores  # at the point where the step begins
    others: tuple[Logits, ...] = ()

    def __call__(self, block: RowBlock) -> StepLogits:
        """Return those of one block."""
        logits = Design.of_block(block, self.move.shape[1]).logits(self.move)
        along = [logits, *(other[block.number] for other in self.others)]
        return StepLogits((logits,), _curvature(along, self.scores.of_block(block, self.move.shape[1]), block))

    def merge(self, left: StepLogits, right: StepLogits) -> StepLogits:
        """Pool two runs of rows."""
        return StepLogits(left.logits + right.logits, left.curvature + right.curvature)


class PlaneSums(NamedTuple):
    """Loss of the rows at a point of the plane, with its derivatives along the steps, without prior."""

    loss: float
    slope: Array  # (j,)
    curvature: Array  # (j, j)


@dataclass(frozen=True)
class PlaneKernel:
    """The `PlaneSums` at base + Σ c v, from logits alone."""

    base: Logits
    steps: tuple[Logits, ...]
    coefficients: Array  # (j,), c

    def __call__(self, block: RowBlock) -> PlaneSums:
        """Return the sums of one block."""
        along = [step[block.number] for step in self.steps]
        prediction = predict(_combined([self.base[block.number], *along], [1.0, *self.coefficients.tolist()]))
        residual = prediction.residual(block.codes)[:, 0] * block.weight
        loss = float((block.weight * prediction.loss(block.codes)).sum())
        slope = np.array([residual @ step[:, 0] for step in along])
        return PlaneSums(loss, slope, _curvature(along, prediction.scores(), block))

    def merge(self, left: PlaneSums, right: PlaneSums) -> PlaneSums:
        """Pool two runs of rows."""
        return PlaneSums(left.loss + right.loss, left.slope + right.slope, left.curvature + right.curvature)


def _curvature(along: list[Array], scores: Scores, block: RowBlock) -> Array:
    """Return vᵀF v of every two steps, from their logits; rows of many numbers are faster than columns of few."""
    steps = [step[:, 0] for step in along]
    weighted = [block.weight * scores.diagonal()[:, 0] * step for step in steps]
    return np.array([[float(left @ right) for right in steps] for left in weighted])


def combined(logits: tuple[Logits, ...], coefficients: Array) -> Logits:
    """Return the logits of a combination of steps."""
    return tuple(_combined(parts, coefficients.tolist()) for parts in zip(*logits, strict=True))


def _combined(parts: Sequence[Array], coefficients: list[float]) -> Array:
    total = coefficients[0] * parts[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total += coefficient * part
    return total
