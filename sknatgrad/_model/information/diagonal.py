"""The diagonal alone, ``(q, d)``."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import member_of, record

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import Scores
    from sknatgrad._rows.design import Design

# a smaller number is subnormal: it has lost digits, and the inverse of most overflows
MIN_INVERTIBLE = np.finfo(np.float64).tiny


@member_of("sknatgrad")
@record
class DiagonalInformation:
    """diag(F): Σ s_i E[r_ik²] x_ij², off-diagonal entries dropped."""

    entries: Array  # (q, d)

    @classmethod
    def of_block(cls, design: Design, scores: Scores, weight: Array) -> DiagonalInformation:
        """Return the information of one block of rows."""
        return cls(design.squared_transposed_product(weight[:, None] * scores.diagonal()))

    def merge(self, other: DiagonalInformation) -> DiagonalInformation:
        """Pool with the information of other rows."""
        return DiagonalInformation(self.entries + other.entries)

    def scaled(self, share: float) -> DiagonalInformation:
        """Return the information of the same rows with their weights multiplied by `share`."""
        return DiagonalInformation(share * self.entries)

    def recentred(self, shift: Array) -> DiagonalInformation:
        """Return the information of the same rows less `shift`, ``(p,)``, as if their mean were 0.

        Σ s v (x − δ)² is Σ s v x² + δ² Σ s v − 2 δ Σ s v x; the last sum is not stored.
        """
        entries = self.entries.copy()
        entries[:, :-1] += shift**2 * entries[:, -1:]
        return DiagonalInformation(entries)

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
        """Return diag(F) + I ⊗ diag(shift), to divide by."""
        return DiagonalPrecision(self.entries + shift)


@record
class DiagonalPrecision:
    """A diagonal metric; the solution is zero where the metric is."""

    entries: Array  # (q, d)

    @cached_property
    def _inverse(self) -> Array:
        return np.divide(1.0, self.entries, out=np.zeros_like(self.entries), where=self.entries > MIN_INVERTIBLE)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``."""
        return self._inverse * gradient

    def norm_outside_range(self, gradient: Array) -> float:
        """Return 0, or infinity for a gradient where the metric is zero."""
        return np.inf if gradient[self.entries <= MIN_INVERTIBLE].any() else 0.0
