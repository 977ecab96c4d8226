"""The diagonal alone, ``(q, d)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._design import Design
    from sknatgrad._typing import Array, Scores


@dataclass(frozen=True)
class DiagonalInformation:
    """diag(F): Σ s_i E[r_ik²] x_ij², off-diagonal entries dropped."""

    entries: Array  # (q, d)

    @classmethod
    def of_block(cls, design: Design, scores: Scores, weight: Array) -> DiagonalInformation:
        """Return the information of one block of rows."""
        return cls(design.squared_pull(weight[:, None] * scores.diagonal()))

    def merge(self, other: DiagonalInformation) -> DiagonalInformation:
        """Pool with the information of other rows."""
        return DiagonalInformation(self.entries + other.entries)

    def dense(self) -> Array:
        """Return the matrix this stands for, ``(qd, qd)``."""
        return np.diag(self.entries.ravel())

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        return self.entries

    def matvec(self, move: Array) -> Array:
        """Return diag(F) v, ``(q, d)``."""
        return self.entries * move

    def precision(self, shift: Array) -> DiagonalPrecision:
        """Return diag(F) + I ⊗ diag(shift), ready to divide by."""
        return DiagonalPrecision(self.entries + shift)


@dataclass(frozen=True)
class DiagonalPrecision:
    """A diagonal metric; where it is zero, so is the solution."""

    entries: Array  # (q, d)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``."""
        return np.divide(gradient, self.entries, out=np.zeros_like(gradient), where=self.entries > 0)

    def outside(self, gradient: Array) -> float:
        """Return the size of what `solve` leaves out: infinite for any gradient where the metric is zero."""
        return np.inf if gradient[self.entries <= 0].any() else 0.0
