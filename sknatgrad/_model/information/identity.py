"""The Euclidean metric: plain gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import member_of, record
from sknatgrad._model.information.diagonal import DiagonalPrecision

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import Scores
    from sknatgrad._rows.design import Design


@member_of("sknatgrad")
@record
class IdentityInformation:
    """S·I: each row counts with its weight, so the undamped step is the gradient of the mean loss."""

    weight: float
    shape: tuple[int, int]  # (q, d)

    @classmethod
    def of_block(cls, design: Design, scores: Scores, weight: Array) -> IdentityInformation:
        """Return the sum of the row weights."""
        return cls(float(weight.sum()), (scores.diagonal().shape[1], design.n_columns))

    def merge(self, other: IdentityInformation) -> IdentityInformation:
        """Pool with other rows."""
        return IdentityInformation(self.weight + other.weight, self.shape)

    def scaled(self, share: float) -> IdentityInformation:
        """Return that of the same rows with their weights multiplied by `share`."""
        return IdentityInformation(share * self.weight, self.shape)

    def recentred(self, shift: Array) -> IdentityInformation:  # noqa: ARG002 - the protocol
        """Return the same: it does not depend on the values of the rows."""
        return self

    def dense(self) -> Array:
        """Return S·I, ``(qd, qd)``."""
        return np.diag(self.diagonal().ravel())

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        return np.full(self.shape, self.weight)

    def matvec(self, move: Array) -> Array:
        """Return S v, ``(q, d)``."""
        return self.weight * move

    def precision(self, shift: Array) -> DiagonalPrecision:
        """Return S·I + I ⊗ diag(shift), to divide by."""
        return DiagonalPrecision(self.diagonal() + shift)
