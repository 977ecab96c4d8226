"""Conjugate gradients on exact Fisher products, preconditioned by a metric; and the metric that stores nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._typing import Array, Information, Precision

MAX_PRODUCTS = 1000


class Solution(NamedTuple):
    """What conjugate gradients found."""

    move: Array  # (q, d)
    solved: bool  # whether the tolerance was reached
    products: int


def conjugate_gradients(
    product: Callable[[Array], Array],
    right: Array,
    metric: Precision,
    *,
    tolerance: float,
    max_products: int = MAX_PRODUCTS,
) -> Solution:
    """Solve A x = b for a symmetric positive semidefinite A known by its products.

    Stops when the residual, measured in the metric's inverse, has fallen by `tolerance`. Starting from zero, every
    iterate x has bᵀx > 0, so −x descends however early it stops. Hestenes and Stiefel (1952).
    """
    move, residual = np.zeros_like(right), right.copy()
    preconditioned = metric.solve(residual)
    direction, size = preconditioned, float(np.vdot(residual, preconditioned))
    target = tolerance**2 * size
    for count in range(max_products):
        if size <= target:
            return Solution(move, solved=True, products=count)
        image = product(direction)
        curvature = float(np.vdot(direction, image))
        if curvature <= 0.0:
            # rounding has used up the range of A
            return Solution(move, solved=False, products=count + 1)
        length = size / curvature
        move = move + length * direction
        residual = residual - length * image
        preconditioned = metric.solve(residual)
        size, previous = float(np.vdot(residual, preconditioned)), size
        direction = preconditioned + (size / previous) * direction
    return Solution(move, solved=size <= target, products=max_products)


@dataclass(frozen=True)
class MatrixFreeInformation:
    """Fisher information that is only ever multiplied with; keeps its diagonal, ``(q, d)``."""

    diagonal_part: Information
    product: Callable[[Array], Array]
    tolerance: float

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        return self.diagonal_part.diagonal()

    def matvec(self, move: Array) -> Array:
        """Return F v, ``(q, d)``, by a pass over the data."""
        return self.product(move)

    def precision(self, shift: Array) -> MatrixFreePrecision:
        """Return a solver for F + I ⊗ diag(shift)."""
        return MatrixFreePrecision(self, shift)


@dataclass(frozen=True)
class MatrixFreePrecision:
    """Solves by conjugate gradients, preconditioned by the diagonal."""

    information: MatrixFreeInformation
    shift: Array  # (d,)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``, to the information's tolerance."""
        return conjugate_gradients(
            lambda move: self.information.matvec(move) + self.shift * move,
            gradient,
            self.information.diagonal_part.precision(self.shift),
            tolerance=self.information.tolerance,
        ).move
