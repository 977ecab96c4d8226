"""The quadratic model of the loss along a step: its best length, its decrease, and the damping that would halve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._solver.damping import SMALLEST

if TYPE_CHECKING:
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

# Share of the second move, squared, that is not along the first, below which it is dropped as parallel: rounding is
# about eps over that share of its coefficient. Halved and doubled: no change.
PARALLEL = 1e-12
# Slope at the end of a step, as a share of that at its beginning, up to which the step was long enough. Halved and
# doubled: breast cancer 7 and 8 iterations for 7, wine 7 and 8 for 7, digits 10 and 11 for 11.
LONG_ENOUGH = 0.1
# Largest factor by which the next step is lengthened. At 1, without extrapolation, breast cancer and wine take 9
# iterations for 7; at 4 breast cancer takes 8.
MAX_EXTRAPOLATION = 2.0


class Proposal(NamedTuple):
    """A step to try, with what the undamped quadratic model predicts of it. Sums in nats."""

    move: Array  # (q, d), v
    image: Array  # (q, d), F v of the true Fisher information
    predicted: float  # decrease of the loss
    kl: float  # ½ vᵀF v
    best_decrease: float  # decrease at the best length of this direction
    metric_step: float = 1.0  # best length of the metric's own step; 1 if the metric is exact
    is_newton: bool = False  # whether it is the step of the true Fisher information
    how: str = ""  # how it was solved for, for `verbose`


def zero_step(point: Measured) -> Proposal:
    """Return the step that stays at a point."""
    return Proposal(np.zeros_like(point.theta), np.zeros_like(point.theta), 0.0, 0.0, 0.0)


def predict(point: Measured, move: Array, image: Array, prior: Array) -> Proposal:
    """Return what the quadratic model −gᵀv − ½ vᵀ(F+Λ)v predicts of a move v with image F v."""
    slope = -float(np.vdot(point.gradient, move))
    fisher = float(np.vdot(move, image))
    curvature = fisher + float((prior * move**2).sum())
    best_decrease = 0.5 * slope * (slope / curvature) if curvature > 0 else 0.0
    return Proposal(move, image, slope - 0.5 * curvature, 0.5 * max(fisher, 0.0), best_decrease)


def best_coefficients(moves: Array, images: Array, gradient: Array) -> tuple[Array, float]:
    """Minimise the damped quadratic model over the span of one or two moves; also over the first alone.

    Re-scaling and momentum of Martens and Grosse (2015), sections 6.4 and 7. `images` are the products of the damped
    matrix with the `moves`, ``(j, q, d)``.
    """
    if len(moves) == 1:
        curvature, slope = float(np.vdot(moves, images)), -float(np.vdot(moves, gradient))
        alone = slope / curvature if curvature > 0.0 and np.isfinite(slope) else 0.0
        return np.array([alone]), alone
    flat = moves.reshape(len(moves), -1)
    curvatures = flat @ images.reshape(len(moves), -1).T
    slopes = -flat @ gradient.ravel()
    if not (np.isfinite(curvatures).all() and np.isfinite(slopes).all()):
        return np.zeros(len(moves)), 0.0
    size = np.sqrt(np.maximum(curvatures.diagonal(), 0.0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    alone = float(slopes[0] * scale[0] ** 2)
    slopes = scale * slopes
    cosine = float(scale[0] * curvatures[0, 1] * scale[1])
    if 1.0 - cosine**2 < PARALLEL or not scale.all():
        return np.array([alone, 0.0]), alone
    coefficients = (slopes - cosine * slopes[::-1]) / (1.0 - cosine**2)
    return scale * coefficients, alone


def clip_to_kl(proposal: Proposal, point: Measured, prior: Array, max_kl: float | None) -> Proposal:
    """Shorten a step to a KL divergence of `max_kl` nats per unit of weight."""
    if max_kl is None or proposal.kl <= max_kl * point.weight:
        return proposal
    factor = np.sqrt(max_kl * point.weight / proposal.kl)
    return predict(point, factor * proposal.move, factor * proposal.image, prior)


def critical_damping(proposal: Proposal, scale: Array | float, prior: Array) -> float:
    """Return the damping that doubles the curvature along a step, and so about halves it."""
    damped = float((scale * proposal.move**2).sum())
    curvature = float(np.vdot(proposal.move, proposal.image)) + float((prior * proposal.move**2).sum())
    return curvature / damped if damped > 0.0 and np.isfinite(curvature) else SMALLEST


def next_extrapolation(before: Measured, after: Measured, move: Array, extrapolation: float) -> float:
    """Return by what factor to lengthen the next step, by the slopes at the ends of this one, lengthened by as much.

    Far from the optimum all steps are too short by about the same factor, as probabilities saturate beyond the reach
    of a quadratic model. The secant through both slopes gives it; it is 1 where the step was nearly long enough.
    """
    at_start, at_end = (float(np.vdot(point.gradient, move)) for point in (before, after))
    ratio = at_end / at_start if at_start != 0.0 else 0.0
    return min(max(extrapolation / (1.0 - ratio), 1.0), MAX_EXTRAPOLATION) if LONG_ENOUGH < ratio < 1.0 else 1.0


def extrapolated(proposal: Proposal, factor: float) -> Proposal:
    """Return a step so many times as long. It is still judged by what the model predicted of its own length."""
    move, image = factor * proposal.move, factor * proposal.image
    return proposal._replace(move=move, image=image, kl=factor**2 * proposal.kl)
