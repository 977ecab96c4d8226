"""The changes of the coefficients without each row, by one step of Newton's method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.influence import RowInfluence
    from sknatgrad._rows.source import RowBlock
    from sknatgrad.inference._covariance.dense import DenseCovariance


@record
class ChangesKernel:
    """The changes H⁻¹ (x ⊗ s G) of the coefficients without each row of a block, in parts of ``(m, k, d)``."""

    inverse: Array  # (k, d, k, d), H⁻¹ in the contrasts
    change: Array  # (n, k), s G of all rows
    row_bytes: int

    def __call__(self, block: RowBlock) -> tuple[Array, ...]:
        """Return those of one block."""
        n_contrasts, n_columns = self.inverse.shape[:2]
        design, matrix = Design.of_block(block, n_columns), self.inverse.reshape(n_contrasts * n_columns, -1)
        size = max(self.row_bytes // (16 * len(matrix)), 1)
        parts = [slice(start, start + size) for start in range(0, len(block.codes), size)]
        changes = self.change[block.start : block.start + len(block.codes)]
        return tuple(
            (design.rows(part).scaled_rows(changes[part]) @ matrix).reshape(-1, n_contrasts, n_columns)
            for part in parts
        )

    def merge(self, left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[Array, ...]:
        """Append those of later rows."""
        return left + right


def coefficient_changes(covariance: DenseCovariance, rows: RowInfluence) -> Array:
    """Return the changes of the contrasts' coefficients without each row, ``(n, k, d)``; NaN for aliased columns."""
    row_sums, inverse = covariance.in_coordinates
    kernel = ChangesKernel(inverse, rows.change, row_sums.limits.row_bytes)
    changes = np.concatenate(row_sums.total(kernel))
    if covariance.basis is not None:
        of_columns = covariance.basis.of_columns(np.moveaxis(changes, 0, -1))
        changes = np.full((len(changes), *rows.logits.shape[1:], covariance.fitted.theta.shape[1]), np.nan)
        changes[:, :, covariance.row_sums.kept] = np.moveaxis(of_columns, -1, 0)
    centres, kept = covariance.fitted.centres, covariance.row_sums.kept
    if centres is not None:
        changes[:, :, -1] -= changes[:, :, :-1] @ np.where(kept[:-1], centres, 0.0)
    changes[:, :, ~kept] = np.nan
    return changes
