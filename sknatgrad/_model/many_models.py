"""Kernels that evaluate several models, or a model of several groups of rows, in one reading of a block.

M models have their coefficients in one array, ``(q, M, d)``. The logits of all of them for the m rows of a block are
one product, and are then taken as those of M m rows of one model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple

import numpy as np

from sknatgrad._definitions import Result, record
from sknatgrad._model.categorical import predict
from sknatgrad._model.information.blocks import BlockInformation
from sknatgrad._model.information.dense import DenseInformation
from sknatgrad._model.kernels import Sums
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import pick_rows
from sknatgrad._rows.training_sets import indices_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.categorical import Prediction
    from sknatgrad._rows.source import Kernel, RowBlock
    from sknatgrad._rows.training_sets import RowGroups, RowNumbers, SetWeights


class ManySums(NamedTuple):
    """Sums over the rows of each model's training set, without prior."""

    loss: Array  # (M,)
    gradient: Array  # (q, M, d)

    def merge(self, other: ManySums) -> ManySums:
        """Pool two runs of rows."""
        return ManySums(self.loss + other.loss, self.gradient + other.gradient)


@record
class ManyMeasureKernel:
    """Loss and gradient of several models, each of its own training set."""

    theta: Array  # (q, M, d)
    sets: SetWeights
    numbers: Codes  # (M,), the training set of each model

    def __call__(self, block: RowBlock) -> ManySums:
        """Measure one block."""
        weights = self.sets.weights(block)
        counted = np.logical_or.reduce(weights, axis=1)
        # a block may consist of rows that some training sets omit: one fold is a run of rows unless they are shuffled
        models = np.flatnonzero(counted[self.numbers])
        by_model = None if (weights[counted] == 1.0).all() else weights[self.numbers[models]]
        if models.size == self.numbers.size:
            return _measured(block, self.theta, by_model)
        sums = ManySums(np.zeros(self.numbers.size), np.zeros_like(self.theta))
        if models.size:
            sums.loss[models], sums.gradient[:, models] = _measured(block, self.theta[:, models], by_model)
        return sums

    def merge(self, left: ManySums, right: ManySums) -> ManySums:
        """Pool two runs of rows."""
        return left.merge(right)


def _measured(block: RowBlock, theta: Array, weights: Array | None) -> ManySums:
    """Return loss and gradient of M models for a block, whose rows have weights ``(M, m)``; None for 1."""
    design, prediction = predictions(block, theta)
    losses, residuals = _losses_and_residuals(block, prediction, theta)
    if weights is not None:
        residuals *= weights
    sums = np.add.reduce(losses, axis=1) if weights is None else np.einsum("ij,ij->i", weights, losses)
    return ManySums(sums, _gradients(design, residuals))


def _losses_and_residuals(block: RowBlock, prediction: Prediction, theta: Array) -> tuple[Array, Array]:
    """Return the loss of each row by each of M models, ``(M, m)``, and its residuals, ``(q, M, m)``."""
    n_logits, n_models = theta.shape[:2]
    row_loss, residual = prediction.loss_and_residual(np.tile(block.codes, n_models))
    return row_loss.reshape(n_models, -1), residual.T.reshape(n_logits, n_models, -1)


def _gradients(design: Design, residuals: Array) -> Array:
    """Return Σ r x of the weighted residuals of M models, ``(q, M, d)``."""
    n_logits, n_models, n_rows = residuals.shape
    gradients = design.transposed_product(residuals.reshape(n_logits * n_models, n_rows).T)
    return gradients.reshape(n_logits, n_models, design.n_columns)


@record
class ManyInformationKernel:
    """The true Fisher information of several models as matrices, each of its own training set."""

    theta: Array  # (q, M, d)
    sets: SetWeights
    numbers: Codes  # (M,), the training set of each model

    def __call__(self, block: RowBlock) -> list[DenseInformation]:
        """Return those of one block."""
        design, weights = Design.of_block(block, self.theta.shape[2]), self.sets.weights(block)
        models = zip(self.theta.transpose(1, 0, 2), self.numbers, strict=True)
        return [_information(design, theta, weights[number]) for theta, number in models]

    def merge(self, left: list[DenseInformation], right: list[DenseInformation]) -> list[DenseInformation]:
        """Pool two runs of rows."""
        return [mine.merge(other) for mine, other in zip(left, right, strict=True)]


def _information(design: Design, theta: Array, weight: Array) -> DenseInformation:
    """Return F of one model ``(q, d)`` for a block, whose rows its training set may omit."""
    if not weight.any():
        return DenseInformation(np.zeros((*theta.shape, *theta.shape)))
    return DenseInformation.of_block(design, predict(design.logits(theta)).scores(), weight)


@record
class ManyDiagonalKernel:
    """The diagonal of the true Fisher information of several models, each of its own training set."""

    theta: Array  # (q, M, d)
    sets: SetWeights
    numbers: Codes  # (M,), the training set of each model

    def __call__(self, block: RowBlock) -> Array:
        """Return those of one block, ``(q, M, d)``."""
        n_logits, n_models, n_columns = self.theta.shape
        design, prediction = predictions(block, self.theta)
        variances = prediction.scores().diagonal().T.reshape(n_logits, n_models, -1)
        weighted = variances * self.sets.weights(block)[self.numbers]
        diagonal = design.squared_transposed_product(weighted.reshape(n_logits * n_models, -1).T)
        return diagonal.reshape(n_logits, n_models, n_columns)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


def predictions(block: RowBlock, theta: Array) -> tuple[Design, Prediction]:
    """Return the design of a block, and the distributions of its rows by each model, as of M m rows."""
    n_logits, n_models, n_columns = theta.shape
    design = Design.of_block(block, n_columns)
    logits = design.logits(theta.reshape(n_logits * n_models, n_columns))
    # of dense rows they are stored logit by logit already
    stacked = np.ascontiguousarray(logits.T).reshape(n_logits, -1).T
    return design, predict(stacked)


@record
class GroupKernel(Generic[Result]):
    """Another kernel, applied to the rows of each group; None for a group without rows."""

    kernel: Kernel[Result]
    groups: RowGroups

    def __call__(self, block: RowBlock) -> list[Result | None]:
        """Return the results of each group of one block."""
        if self.groups.size == 1:
            return [self.kernel(block)]
        numbers = self.groups.numbers.of(indices_of(block))
        parts = [_part_of(block, np.flatnonzero(numbers == group)) for group in range(self.groups.size)]
        return [None if part is None else self.kernel(part) for part in parts]

    def merge(self, left: list[Result | None], right: list[Result | None]) -> list[Result | None]:
        """Pool two runs of rows."""
        return [self._merged(*pair) for pair in zip(left, right, strict=True)]

    def _merged(self, left: Result | None, right: Result | None) -> Result | None:
        if left is None or right is None:
            return right if left is None else left
        return self.kernel.merge(left, right)


def _part_of(block: RowBlock, rows: Codes) -> RowBlock | None:
    """Return some of the rows of a block; None if there are none."""
    if not rows.size:
        return None
    if rows.size == block.codes.size:
        return block
    return block._replace(X=pick_rows(block.X, rows), codes=block.codes[rows], weight=block.weight[rows])


@record
class SeveralKernels(Generic[Result]):
    """Other kernels, each applied to every block, in one pass."""

    kernels: Sequence[Kernel[Result]]

    def __call__(self, block: RowBlock) -> list[Result]:
        """Return the result of each kernel for one block."""
        return [kernel(block) for kernel in self.kernels]

    def merge(self, left: list[Result], right: list[Result]) -> list[Result]:
        """Pool two runs of rows."""
        return [kernel.merge(*pair) for kernel, *pair in zip(self.kernels, left, right, strict=True)]


class PointSums(NamedTuple):
    """Sums over rows of two classes at each of M points, without prior."""

    loss: Array  # (M,)
    gradient: Array  # (1, M, d)
    information: BlockInformation  # F at each point
    weight: float
    max_loss: Array  # (M,), a maximum, not a sum

    def merge(self, other: PointSums) -> PointSums:
        """Pool two runs of rows."""
        return PointSums(
            self.loss + other.loss,
            self.gradient + other.gradient,
            self.information.merge(other.information),
            self.weight + other.weight,
            np.maximum(self.max_loss, other.max_loss),
        )

    def of_each(self) -> list[Sums[DenseInformation]]:
        """Return the sums at each point, as `MeasureKernel` has them."""
        matrices = self.information.blocks()
        return [
            Sums(float(loss), gradient, DenseInformation(matrix[None, :, None]), self.weight, float(max_loss))
            for loss, gradient, matrix, max_loss in zip(
                self.loss, self.gradient.swapaxes(0, 1), matrices, self.max_loss, strict=True
            )
        ]


@record
class PointsKernel:
    """Loss, gradient and true Fisher information of two classes at each of M points, by products of matrices."""

    thetas: Array  # (1, M, d)

    def __call__(self, block: RowBlock) -> PointSums:
        """Measure one block."""
        n_points, weight = self.thetas.shape[1], block.weight
        design, prediction = predictions(block, self.thetas)
        losses, residuals = _losses_and_residuals(block, prediction, self.thetas)
        variances = prediction.scores().diagonal().reshape(n_points, -1) * weight
        residuals *= weight
        return PointSums(
            losses @ weight,
            _gradients(design, residuals),
            BlockInformation(design.grams(variances.T), design.n_columns),
            float(weight.sum()),
            losses.max(axis=1, initial=0.0, where=weight > 0.0),
        )

    def merge(self, left: PointSums, right: PointSums) -> PointSums:
        """Pool two runs of rows."""
        return left.merge(right)


class ScoreSums(NamedTuple):
    """Sums over test rows of what scores of predictions need, for M models."""

    loss: Array  # (M,), weighted; the loss of a row lies within given bounds
    correct: Array  # (M,), weight of the rows whose class is the most probable one
    weight: float

    @classmethod
    def none(cls, n_models: int) -> ScoreSums:
        """Return the sums over no rows."""
        return cls(np.zeros(n_models), np.zeros(n_models), 0.0)

    def merge(self, other: ScoreSums) -> ScoreSums:
        """Pool two runs of rows."""
        return ScoreSums(self.loss + other.loss, self.correct + other.correct, self.weight + other.weight)


@record
class ScoreKernel:
    """Log loss and accuracy of several models."""

    theta: Array  # (q, M, d)
    bounds: tuple[float, float]  # of the loss of a row, nats

    def __call__(self, block: RowBlock) -> ScoreSums:
        """Score the rows of one block."""
        n_models = self.theta.shape[1]
        _, prediction = predictions(block, self.theta)
        codes = np.tile(block.codes, n_models)
        row_loss = np.clip(prediction.loss_and_residual(codes)[0], *self.bounds)
        proba = prediction.proba
        best = proba[:, 0] > 0.5 if len(self.theta) == 1 else proba.argmax(axis=1)  # noqa: PLR2004 - of two classes
        losses = row_loss.reshape(n_models, -1) @ block.weight
        correct = (best == codes).reshape(n_models, -1) @ block.weight
        return ScoreSums(losses, correct, float(block.weight.sum()))

    def merge(self, left: ScoreSums, right: ScoreSums) -> ScoreSums:
        """Pool two runs of rows."""
        return left.merge(right)


@record
class FoldScoreKernel:
    """Log loss and accuracy of the models of each fold on its rows."""

    kernels: Sequence[ScoreKernel]  # of each fold
    numbers: RowNumbers  # of the fold of each row; rows of other numbers are no test rows
    weighted: bool  # whether rows count by their weights, or all alike

    def __call__(self, block: RowBlock) -> list[ScoreSums]:
        """Score the rows of one block."""
        numbers = self.numbers.of(indices_of(block))
        block = block if self.weighted else block._replace(weight=np.ones(block.codes.size))
        parts = [_part_of(block, np.flatnonzero(numbers == fold)) for fold in range(len(self.kernels))]
        return [
            ScoreSums.none(kernel.theta.shape[1]) if part is None else kernel(part)
            for kernel, part in zip(self.kernels, parts, strict=True)
        ]

    def merge(self, left: list[ScoreSums], right: list[ScoreSums]) -> list[ScoreSums]:
        """Pool two runs of rows."""
        return [mine.merge(other) for mine, other in zip(left, right, strict=True)]
