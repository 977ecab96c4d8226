"""Kernels of a search in planes, for one logit: products of X, and sums over rows whose logits are known.

The latter read no values of X, so they take rows without columns, in blocks of many rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict
from sknatgrad._rows.design import Design
from sknatgrad._rows.sampling import is_constant, largest_with_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array
    from sknatgrad._rows.source import RowBlock

# numbers of all rows: an array of each block
Parts = tuple["Array", ...]


def _rows(block: RowBlock) -> slice:
    """Return the place of a block in numbers of all rows."""
    return slice(block.start, block.start + block.codes.size)


@record
class LogitsKernel:
    """The logits of all rows at θ; reads X once."""

    theta: Array  # (1, d)

    def __call__(self, block: RowBlock) -> Parts:
        """Return those of one block."""
        return (Design.of_block(block, self.theta.shape[1]).logits(self.theta)[:, 0],)

    def merge(self, left: Parts, right: Parts) -> Parts:
        """Append those of later rows."""
        return left + right


@record
class TransposedProductKernel:
    """Σ r_i x_i of numbers r of all rows, ``(1, d)``: of residuals, the gradient; reads X once."""

    numbers: Array  # (n,)
    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block."""
        return Design.of_block(block, self.n_columns).transposed_product(self.numbers[_rows(block), None])

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


@record
class MomentsKernel:
    """Σ s x xᵀ, ``(d, d)``, in the precision of the blocks."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block."""
        return Design.of_block(block, self.n_columns).gram(block.weight)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


class LikelihoodSums(NamedTuple):
    """The loss of all rows, and its derivatives by the logit of each."""

    loss: float
    weight: float
    max_loss: float  # the largest of a row with positive weight
    residuals: Parts  # s (p − y) of each row
    variances: Parts  # s p (1 − p)


@record
class LikelihoodKernel:
    """The `LikelihoodSums` at known logits."""

    logits: Array  # (n,)

    def __call__(self, block: RowBlock) -> LikelihoodSums:
        """Return those of one block."""
        weight = block.weight
        row_loss, residual, variance = _weighted_derivatives(self.logits[_rows(block)], block)
        constant = is_constant(weight)
        return LikelihoodSums(
            loss=float(np.add.reduce(weight * row_loss)),
            weight=weight.size * float(weight[0]) if constant else float(weight.sum()),
            max_loss=largest_with_weight(row_loss, weight),
            residuals=(residual,),
            variances=(variance,),
        )

    def merge(self, left: LikelihoodSums, right: LikelihoodSums) -> LikelihoodSums:
        """Pool two runs of rows."""
        return LikelihoodSums(
            loss=left.loss + right.loss,
            weight=left.weight + right.weight,
            max_loss=max(left.max_loss, right.max_loss),
            residuals=left.residuals + right.residuals,
            variances=left.variances + right.variances,
        )


@record
class CurvatureKernel:
    """vᵀF v of every two steps v, ``(j, j)``, from the logits of all rows along them."""

    steps: tuple[Array, ...]  # (n,) each
    variance: Array  # (n,), s p (1 − p) where F is that of

    def __call__(self, block: RowBlock) -> Array:
        """Return the sums over one block."""
        rows = _rows(block)
        return _curvature([step[rows] for step in self.steps], self.variance[rows])

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


class PlaneSums(NamedTuple):
    """Loss of the rows at a point of the plane, with its derivatives along the steps, without prior."""

    loss: float
    slope: Array  # (j,)
    curvature: Array  # (j, j)


@record
class PlaneKernel:
    """The `PlaneSums` at base + Σ c v, from logits alone."""

    base: Array  # (n,)
    steps: tuple[Array, ...]  # (n,) each
    coefficients: Array  # (j,), c

    def __call__(self, block: RowBlock) -> PlaneSums:
        """Return the sums of one block."""
        rows = _rows(block)
        along = [step[rows] for step in self.steps]
        logits = combined([self.base[rows], *along], [1.0, *self.coefficients.tolist()])
        row_loss, residual, variance = _weighted_derivatives(logits, block)
        loss = float(np.add.reduce(block.weight * row_loss))
        slope = np.array([residual @ step for step in along])
        return PlaneSums(loss, slope, _curvature(along, variance))

    def merge(self, left: PlaneSums, right: PlaneSums) -> PlaneSums:
        """Pool two runs of rows."""
        return PlaneSums(left.loss + right.loss, left.slope + right.slope, left.curvature + right.curvature)


def _weighted_derivatives(logits: Array, block: RowBlock) -> tuple[Array, Array, Array]:
    """Return the loss of each row, and its derivatives by the logit, s (p − y) and s p (1 − p), ``(m,)`` each."""
    prediction = predict(logits[:, None])
    row_loss, residual = prediction.loss_and_residual(block.codes)
    return row_loss, block.weight * residual[:, 0], block.weight * prediction.scores().diagonal()[:, 0]


def _curvature(steps: list[Array], variance: Array) -> Array:
    """Return Σ variance u v of every two steps u and v."""
    curvature = np.empty((len(steps), len(steps)))
    for j, left in enumerate(steps):
        weighted = variance * left
        for k, right in enumerate(steps[: j + 1]):
            curvature[j, k] = curvature[k, j] = weighted @ right
    return curvature


def combined(parts: Sequence[Array], coefficients: Sequence[float]) -> Array:
    """Return a combination of numbers of the same rows."""
    total = coefficients[0] * parts[0]
    for part, coefficient in zip(parts[1:], coefficients[1:], strict=True):
        total += coefficient * part
    return total
