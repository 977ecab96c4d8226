"""Preconditioned conjugate gradients, Hestenes and Stiefel (1952), with an estimate of the error that remains."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.protocols import Precision
    from sknatgrad._solver.krylov import KrylovBasis
    from sknatgrad._typing import Array

# Largest number of products of one solve. What remains is left to the next step, as every iterate descends.
MAX_PRODUCTS = 1000
# Largest contraction that the estimate of the remaining decrease assumes, which is then 100 times the next one. With
# 0.98 no count changes; with 0.995 digits at C = 100 takes 215 products for 204.
MAX_CONTRACTION = 0.99


class Status(Enum):
    """How a solve ended."""

    running = auto()
    converged = auto()  # the remaining decrease is small enough
    too_slow = auto()  # a better preconditioner costs less than the products that are still needed
    exhausted = auto()  # the largest number of products was reached
    breakdown = auto()  # a direction of no positive curvature: the rest of the residual is rounding
    unverified = auto()  # a product in float64 does not confirm what products in float32 found


class Solution(NamedTuple):
    """An approximate solution x of A x = b, and how far it got."""

    move: Array  # (q, d), x
    residual: Array  # (q, d), b − A x
    decrease: float = 0.0  # bᵀx − ½ xᵀA x, of the quadratic model
    remaining: float = math.inf  # estimate of ‖x − A⁻¹b‖² in the norm of A: twice the decrease that remains
    contraction: float = 0.0  # mean factor from the decrease of one product to that of the next
    status: Status = Status.running
    products: int = 0  # spent on it, and on the solution that it started from


def _never(products: int, first: float, remaining: float) -> bool:  # noqa: ARG001 - the signature of `too_slow`
    return False


def conjugate_gradients(  # noqa: PLR0913 - the system, and when to stop
    product: Callable[[Array], Array],
    right: Array,
    preconditioner: Precision,
    *,
    converged: Callable[[Solution], bool],
    basis: KrylovBasis,
    start: Solution | None = None,
    max_products: int = MAX_PRODUCTS,
    too_slow: Callable[[int, float, float], bool] = _never,
) -> Solution:
    """Solve A x = b for a symmetric positive semidefinite A known by its products.

    Stops when ``converged(solution so far)`` or ``too_slow(products, remaining before them, remaining after)``. The
    decrease of the next product is estimated by rᵀM⁻¹r, r the residual and M the preconditioner, times the length of
    the last step: that is near 1 where M is near A, and elsewhere measures the difference. The decrease of all later
    products follows from the mean contraction so far. Started from zero, every iterate x has bᵀx > 0, so −x is a
    direction of descent however early the solve stops.
    """
    now = Solution(np.zeros_like(right), right.copy()) if start is None else start
    products, decrease = now.products, now.decrease
    move, residual = now.move.copy(), now.residual.copy()
    preconditioned = preconditioner.solve(residual)
    direction = preconditioned.copy()
    first = remaining = float(np.vdot(residual, preconditioned))
    basis.clear()
    count, contraction = 0, 0.0
    while True:
        now = Solution(move, residual, decrease, remaining, contraction, products=products + count)
        if converged(now):
            return now._replace(status=Status.converged)
        if too_slow(count - 1, first, remaining):
            return now._replace(status=Status.too_slow)
        if count == max_products:
            return now._replace(status=Status.exhausted)
        image = product(direction)
        curvature = float(np.vdot(direction, image))
        if not curvature > 0.0:
            # rounding has used up the range of A, or float32 cannot represent the numbers
            return now._replace(status=Status.breakdown, products=now.products + 1)
        slope = float(np.vdot(residual, direction))
        length = slope / curvature
        decrease += 0.5 * length * slope
        _add(move, length, direction)
        _add(residual, -length, image)
        preconditioned = preconditioner.solve(residual)
        following = length * float(np.vdot(residual, preconditioned))
        first = following if count == 0 else first
        contraction = _contraction(following, first, count)
        remaining = following / (1.0 - contraction)
        stored = basis.add(direction, image, curvature)
        conjugate = basis.conjugate(preconditioned)
        if not stored:
            _add(conjugate, -float(np.vdot(preconditioned, image)) / curvature, direction)
        direction = conjugate
        count += 1


def _add(to: Array, factor: float, vector: Array) -> None:
    """Add a multiple in place, without a temporary: vectors can be longer than what the products read."""
    linalg.blas.daxpy(vector.ravel(), to.reshape(-1), a=factor)


def _contraction(following: float, first: float, count: int) -> float:
    """Return the mean factor from each product's decrease to the next one's since the `first`, `count` products ago."""
    mean = (following / first) ** (1.0 / max(count, 1)) if 0.0 < following < first else float(following > 0.0)
    return min(mean, MAX_CONTRACTION)
