"""Kernels of inference: Gram matrix, its triangular factor, projected scores, other kernels with powers of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

import numpy as np

from sknatgrad._definitions import Result, record
from sknatgrad._model.categorical import predict
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._rows.source import Kernel, RowBlock


@record
class GramKernel:
    """Σ s x xᵀ."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block, ``(d, d)``."""
        return Design.of_block(block, self.n_columns).gram(block.weight)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


@record
class TriangularFactorKernel:
    """R of √s X = Q R for the columns in some order: its products are the Gram matrix, but it is not squared.

    The factors of two runs of rows, one above the other, have the factor of all rows. Each column has a rounding error
    relative to its own size.
    """

    n_columns: int
    order: Codes  # (d,)
    row_bytes: int  # of dense rows that are decomposed at a time
    ones: bool = False  # whether a column of ones follows the others

    def __call__(self, block: RowBlock) -> Array:
        """Return the factor of one block, ``(at most d, d)``."""
        design = Design.of_block(block, self.n_columns)
        factor = np.empty((0, self.order.size + self.ones))
        # with fewer rows than columns, each decomposition would cost as much as with as many
        size = max(self.row_bytes // (8 * self.n_columns), self.n_columns)
        for start in range(0, len(block.codes), size):
            part = slice(start, start + size)
            roots = np.sqrt(block.weight[part])[:, None]
            rows = design.rows(part).scaled_rows(roots)[:, self.order]
            factor = self.merge(factor, np.hstack([rows, roots]) if self.ones else rows)
        return factor

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return np.asarray(np.linalg.qr(np.vstack([left, right]), mode="r"))


@record
class WeightPowerKernel(Generic[Result]):
    """Another kernel, of rows with their weights to a power."""

    kernel: Kernel[Result]
    power: int

    def __call__(self, block: RowBlock) -> Result:
        """Return the other kernel's result of one block."""
        return self.kernel(block._replace(weight=block.weight**self.power))

    def merge(self, left: Result, right: Result) -> Result:
        """Pool two runs of rows."""
        return self.kernel.merge(left, right)


@record
class ProjectedScoresKernel:
    """Σ s_i a_i a_iᵀ, a_i the products of a row's score with some directions of θ."""

    theta: Array  # (q, d)
    directions: Array  # (j, q, d)
    row_bytes: int  # of products held at a time

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block, ``(j, j)``."""
        design = Design.of_block(block, self.theta.shape[1])
        n_directions, n_logits, _ = self.directions.shape
        total = np.zeros((n_directions, n_directions))
        size = max(self.row_bytes // (8 * n_directions * n_logits), 1)
        for start in range(0, len(block.codes), size):
            part = slice(start, start + size)
            rows = design.rows(part)
            _, residual = predict(rows.logits(self.theta)).loss_and_residual(block.codes[part])
            scores = projected(rows, np.sqrt(block.weight[part])[:, None] * residual, self.directions)
            total += scores.T @ scores
        return total

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


def projected(design: Design, residual: Array, directions: Array) -> Array:
    """Return the products of the rows' scores with directions of θ, ``(m, j)``.

    Parameters
    ----------
    residual : ndarray of shape (m, q)
        Gradients of the rows' losses with respect to their logits.

    directions : ndarray of shape (j, q, d)
        The directions.
    """
    n_directions, n_logits, n_columns = directions.shape
    logits = design.logits(directions.reshape(-1, n_columns)).reshape(len(residual), n_directions, n_logits)
    return np.asarray(np.einsum("mjq,mq->mj", logits, residual))
