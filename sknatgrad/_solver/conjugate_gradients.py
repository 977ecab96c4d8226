"""Preconditioned conjugate gradients, Hestenes and Stiefel (1952), with an estimate of the error that remains."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import Precision
    from sknatgrad._solver.krylov import KrylovBasis

# Largest number of products of one solve. An inexact step is a direction of descent, so the next step does the rest.
# Halved and doubled: no change of digits at C of 1 and 1e6, whose longest solve takes 66.
MAX_PRODUCTS = 1000
# Largest `Solution.contraction` that the estimate of the error assumes: the error is then 1 / (1 − 0.99) = 100 times
# what the next product removes. With 0.98 no count changes; with 0.995 digits at C = 100 takes 215 products for 204.
MAX_CONTRACTION = 0.99


class Status(Enum):
    """Whether a solve goes on, or why it ended."""

    running = auto()
    converged = auto()  # the error is small enough for the caller
    too_slow = auto()  # a better preconditioner costs less than the products that are still needed
    exhausted = auto()  # the largest number of products was reached
    breakdown = auto()  # the curvature along a direction is not positive: the rest of the residual is rounding
    # Set by `newton_cg`: products in float32 did not converge, or one in float64 shows a larger error.
    unverified = auto()


class Solution(NamedTuple):
    """An approximate solution x of A x = b, and an estimate of its error. For b = g, the step is −x."""

    x: Array  # (q, d)
    residual: Array  # (q, d), b − A x
    decrease: float = 0.0  # bᵀx − ½ xᵀA x; only since the first guess, if that has none
    remaining: float = math.inf  # estimated error ‖x − A⁻¹b‖² in the norm of A: twice the decrease that remains
    contraction: float = 0.0  # mean ratio of what two consecutive products remove from the error
    status: Status = Status.running
    products: int = 0  # products with A, including those of the solution that it started from


def _never(products: int, first: float, remaining: float) -> bool:  # noqa: ARG001 - the signature of `too_slow`
    return False


def conjugate_gradients(  # noqa: PLR0913 - the system, and when to stop
    product: Callable[[Array], Array],
    right_side: Array,
    preconditioner: Precision,
    *,
    converged: Callable[[Solution], bool],
    basis: KrylovBasis,
    start: Solution | None = None,
    max_products: int = MAX_PRODUCTS,
    too_slow: Callable[[int, float, float], bool] = _never,
) -> Solution:
    """Solve A x = b for a symmetric positive semidefinite A known by its products.

    A product removes α rᵀP⁻¹r of the error ‖x − A⁻¹b‖², twice what it decreases the model by: r is the residual, P the
    preconditioner and α the length of the step. So the error is the sum of these terms over all later products. For the
    next one, α is taken from the product before: it is near 1 where P is near A, and corrects the scale of P elsewhere.
    The terms after it are taken to contract at the mean rate so far.

    Started from zero, every iterate x has bᵀx > 0, so −x is a direction of descent however early the solve stops.

    Parameters
    ----------
    product : callable
        Return A v.
    right_side : ndarray of shape (q, d)
        b.
    preconditioner : Precision
        Solves with P.
    converged : callable
        Say whether a solution is accurate enough.
    basis : KrylovBasis
        Memory for the directions, which are kept conjugate to each other.
    start : Solution or None
        First guess, with its residual.
    max_products : int
        Largest number of products.
    too_slow : callable
        Say whether to give up, from the number of products since the first term was estimated, that term, and the
        error now.
    """
    now = Solution(np.zeros_like(right_side), right_side.copy()) if start is None else start
    products, decrease = now.products, now.decrease
    x, residual = now.x.copy(), now.residual.copy()
    preconditioned = preconditioner.solve(residual)
    direction = preconditioned.copy()
    first = remaining = float(np.vdot(residual, preconditioned))
    basis.clear()
    count, contraction = 0, 0.0
    while True:
        now = Solution(x, residual, decrease, remaining, contraction, products=products + count)
        if converged(now):
            return now._replace(status=Status.converged)
        # the first term is estimated after the first product, which gives a length α
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
        _add(x, length, direction)
        _add(residual, -length, image)
        preconditioned = preconditioner.solve(residual)
        next_term = length * float(np.vdot(residual, preconditioned))
        first = next_term if count == 0 else first
        contraction = _contraction(next_term, first, count)
        # the sum of a geometric series
        remaining = next_term / (1.0 - contraction)
        stored = basis.add(direction, image, curvature)
        conjugate = basis.conjugate(preconditioned)
        if not stored:
            # as in textbook conjugate gradients, conjugate to the last direction only
            _add(conjugate, -float(np.vdot(preconditioned, image)) / curvature, direction)
        direction = conjugate
        count += 1


def _add(to: Array, factor: float, vector: Array) -> None:
    """Add a multiple in place, without a temporary: θ can have more entries than X."""
    linalg.blas.daxpy(vector.ravel(), to.reshape(-1), a=factor)


def _contraction(next_term: float, first: float, count: int) -> float:
    """Return the mean ratio of consecutive terms of the error since the `first`, `count` products ago."""
    falls = 0.0 < next_term < first
    mean = (next_term / first) ** (1.0 / max(count, 1)) if falls else float(next_term > 0.0)
    return min(mean, MAX_CONTRACTION)
