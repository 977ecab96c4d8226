"""Conjugate gradients: the algorithm, and what it remembers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.protocols import Precision
    from sknatgrad._typing import Array

MAX_PRODUCTS = 1000
# gains are not taken to shrink more slowly than this
SLOWEST = 0.99


class Solution(NamedTuple):
    """What conjugate gradients found."""

    move: Array  # (q, d)
    residual: Array  # (q, d), b - A x
    gained: float = 0.0  # bᵀx - ½ xᵀA x
    left: float = math.inf  # what there seems to be left to gain, doubled: the error squared, in A
    shrinks: float = 0.0  # the factor from each product's gain to the next one's, so far
    solved: bool = False
    interrupted: bool = False  # whether it was too slow
    products: int = 0  # spent on it, and on what it started from


def conjugate_gradients(  # noqa: PLR0913 - the system, and when to stop
    product: Callable[[Array], Array],
    right: Array,
    metric: Precision,
    *,
    enough: Callable[[Solution], bool],
    basis: Basis,
    start: Solution | None = None,
    max_products: int = MAX_PRODUCTS,
    too_slow: Callable[[int, float, float], bool] = lambda *_: False,
) -> Solution:
    """Solve A x = b for a symmetric positive semidefinite A known by its products.

    Stops when ``enough(solution so far)``, or when ``too_slow(products, left before them, left after)``. What the
    next product will gain is estimated by rᵀM⁻¹r, r the residual and M the metric, times the last step's length, which
    is near 1 where M is near A and says by how much it is not elsewhere; what all of them will, by the rate so far.
    Starting from zero, every iterate x has bᵀx > 0, so −x descends however early it stops. Hestenes and Stiefel (1952).
    """
    now = Solution(np.zeros_like(right), right.copy()) if start is None else start
    move, residual, gained = now.move.copy(), now.residual.copy(), now.gained
    preconditioned = metric.solve(residual)
    direction, size = preconditioned.copy(), float(np.vdot(residual, preconditioned))
    first = left = size
    basis.begin()
    count, shrinks = 0, 0.0
    while True:
        products = (0 if start is None else start.products) + count
        now = Solution(move, residual, gained, left, shrinks, products=products)
        if enough(now):
            return now._replace(solved=True)
        if too_slow(count - 1, first, left):
            return now._replace(interrupted=True)
        if count == max_products:
            return now
        image = product(direction)
        curvature = float(np.vdot(direction, image))
        if not curvature > 0.0:
            # rounding has used up the range of A, or there are numbers that float32 cannot hold
            return now._replace(products=now.products + 1)
        slope = float(np.vdot(residual, direction))
        length = slope / curvature
        gained += 0.5 * length * slope
        _add(move, length, direction)
        _add(residual, -length, image)
        preconditioned = metric.solve(residual)
        kept = basis.add(direction, image, curvature)
        size = float(np.vdot(residual, preconditioned))
        first = length * size if count == 0 else first
        shrinks = _shrinks(length * size, first, count)
        left = length * size / (1.0 - shrinks)
        conjugated = basis.conjugated(preconditioned)
        if not kept:
            _add(conjugated, -float(np.vdot(preconditioned, image)) / curvature, direction)
        direction = conjugated
        count += 1


def _add(to: Array, factor: float, vector: Array) -> None:
    """Add a multiple in place, without a temporary: vectors can be longer than what the products read."""
    linalg.blas.daxpy(vector.ravel(), to.reshape(-1), a=factor)


def _shrinks(next_gain: float, first: float, count: int) -> float:
    """Return the factor by which gains have shrunk a product since the `first`, `count` products ago."""
    shrinks = (next_gain / first) ** (1.0 / max(count, 1)) if 0.0 < next_gain < first else float(next_gain > 0.0)
    return min(shrinks, SLOWEST)


class Basis:
    """The first directions of a solve, to which later ones are made conjugate, one memory for one solve after another.

    In exact arithmetic they are. Rounding brings back what has long been solved, and each order in which it adds up
    takes a way of its own; a metric in single precision is no symmetric one. With this, neither shows. Notay (2000),
    "Flexible conjugate gradients".
    """

    def __init__(self, rows: int, size: int) -> None:
        # what is not used of it takes no memory
        self._directions, self._images = np.empty((2, rows, size))
        self._used = 0

    def begin(self) -> None:
        """Forget all directions."""
        self._used = 0

    def add(self, direction: Array, image: Array, curvature: float) -> bool:
        """Take in one more, if there is room; say whether there was."""
        room = self._used < len(self._directions)
        if room:
            scale = 1.0 / math.sqrt(curvature)
            np.multiply(direction.ravel(), scale, out=self._directions[self._used])
            np.multiply(image.ravel(), scale, out=self._images[self._used])
            self._used += 1
        return room

    def conjugated(self, vector: Array) -> Array:
        """Return what is left of a vector beside the directions."""
        shares = self._images[: self._used] @ vector.ravel()
        along = (shares @ self._directions[: self._used]).reshape(vector.shape)
        left: Array = np.subtract(vector, along, out=along)
        return left

    def solve(self, gradient: Array, metric: Precision, shrunk: float) -> Array:
        """Return M⁻¹ g along the directions, of a matrix that has `shrunk` since, and that of the metric beside them.

        That is what BFGS updates with conjugate pairs make of a metric: the preconditioner of Morales and Nocedal
        (2000).
        """
        directions, images = self._directions[: self._used], self._images[: self._used]
        shares = directions @ gradient.ravel()
        hstack = metric.solve((gradient.ravel() - shares @ images).reshape(gradient.shape)).ravel()
        along = shares / shrunk - images @ hstack
        return (hstack + along @ directions).reshape(gradient.shape)


@dataclass(frozen=True)
class Remembering:
    """A metric, corrected by what an earlier solve has found out about the matrix."""

    metric: Precision
    basis: Basis
    shrunk: float  # how much smaller the matrix is now

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``."""
        return self.basis.solve(gradient, self.metric, self.shrunk)
