"""The quadratic model of the loss along a step: its decrease, its best length, and changes of that length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._solver.damping import MIN_RAISED

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._solver.records import Direction, Measured

# sin² of the angle between two moves, in the norm of the damped matrix, below which the second is dropped as parallel.
# The relative rounding error of its coefficient is about eps / sin². Halved and doubled: no change.
PARALLEL = 1e-12
# Slope gᵀv at the end of a step, as a share of that at its start, up to which the step was long enough. Halved and
# doubled: wine 6 and 7 iterations for 6, digits 10 and 11 for 11.
LONG_ENOUGH = 0.1
# Largest factor by which the next step is lengthened. At 1, without extrapolation, breast cancer takes 9
# iterations for 7, wine 8 for 6, digits 12 for 11; at 4 as many as now.
MAX_EXTRAPOLATION = 2.0
# c of `first_extrapolation`. Up to t of 1.9, at σ of 1.3, t is within 2 % of that by quadrature with the logistic
# function; with π/8, from the slopes of both functions at zero, it is up to 8 % too small.
SATURATION = 0.43


class Proposal(NamedTuple):
    """A step to try, with what the undamped quadratic model predicts of it. Numbers are sums over rows, in nats."""

    move: Array  # (q, d), v
    image: Array  # (q, d), F v of the true Fisher information
    predicted: float  # decrease of the loss along v, before it is extrapolated
    kl: float  # ½ vᵀF v
    best_decrease: float  # largest decrease over all lengths of this direction
    metric_length: float = 1.0  # length that minimises the damped model along −M⁻¹g alone; 1 if M = F
    is_newton: bool = False  # whether the metric is the true Fisher information
    solve_summary: str = ""  # how the linear system was solved, for `verbose`
    extrapolation: float = 1.0  # factor by which it was lengthened


def zero_step(point: Measured) -> Proposal:
    """Return the step that stays at a point."""
    return Proposal(np.zeros_like(point.theta), np.zeros_like(point.theta), 0.0, 0.0, 0.0)


def make_proposal(point: Measured, move: Array, image: Array, prior: Array, *, is_newton: bool = False) -> Proposal:
    """Return what the quadratic model −gᵀv − ½ vᵀ(F+Λ)v predicts of a move v with image F v."""
    slope = -float(np.vdot(point.gradient, move))
    fisher = float(np.vdot(move, image))
    curvature = fisher + float(np.vdot(prior * move, move))
    best_decrease = 0.5 * slope * (slope / curvature) if curvature > 0 else 0.0
    predicted, kl = slope - 0.5 * curvature, 0.5 * max(fisher, 0.0)
    return Proposal(move, image, predicted, kl, best_decrease, is_newton=is_newton)


def exact_proposal(point: Measured, direction: Direction, prior: Array) -> Proposal:
    """Return the step of an exact solve with F, whose best length is 1; zero if the model has no finite minimum."""
    image: Array = direction.image  # type: ignore[assignment]  # an exact direction has one
    proposal = make_proposal(point, direction.move, image, prior, is_newton=True)
    return proposal if 0.0 < proposal.best_decrease < np.inf else zero_step(point)


def best_coefficients(moves: Array, images: Array, gradient: Array) -> tuple[Array, float]:
    """Return the coefficients of one or two moves that minimise the damped model, and that of the first move alone.

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
    # both moves at unit length in the norm of the damped matrix, whose 2 x 2 matrix is then ((1, cosine), (cosine, 1))
    norms = np.sqrt(np.maximum(curvatures.diagonal(), 0.0))
    inverse_norms = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    alone = float(slopes[0] * inverse_norms[0] ** 2)
    slopes = inverse_norms * slopes
    cosine = float(inverse_norms[0] * curvatures[0, 1] * inverse_norms[1])
    if 1.0 - cosine**2 < PARALLEL or not inverse_norms.all():
        return np.array([alone, 0.0]), alone
    coefficients = (slopes - cosine * slopes[::-1]) / (1.0 - cosine**2)
    return inverse_norms * coefficients, alone


def clip_to_kl(proposal: Proposal, point: Measured, prior: Array, max_kl: float | None) -> Proposal:
    """Shorten a step to a KL divergence of `max_kl` nats per unit of weight."""
    if max_kl is None or proposal.kl <= max_kl * point.weight:
        return proposal
    factor = np.sqrt(max_kl * point.weight / proposal.kl)
    clipped = make_proposal(point, factor * proposal.move, factor * proposal.image, prior, is_newton=proposal.is_newton)
    return clipped._replace(metric_length=proposal.metric_length, solve_summary=proposal.solve_summary)


def critical_damping(proposal: Proposal, scale: Array | float, prior: Array) -> float:
    """Return the damping that adds to the curvature along a step as much as there is, and so about halves the step."""
    damped = float((scale * proposal.move**2).sum())
    curvature = float(np.vdot(proposal.move, proposal.image)) + float((prior * proposal.move**2).sum())
    return curvature / damped if damped > 0.0 and np.isfinite(curvature) else MIN_RAISED


def next_extrapolation(before: Measured, after: Measured, move: Array, extrapolation: float) -> float:
    """Return the factor by which to lengthen the next step, from the slopes gᵀv at both ends of this one.

    Far from the optimum all steps are too short by about the same factor, because probabilities saturate, which no
    quadratic model represents. This step was lengthened by `extrapolation` already. The secant through its slopes has
    its zero at 1 / (1 − ratio) times its length, ratio being the end's slope over that at the start. Where the step was
    nearly long enough, the factor is 1.
    """
    at_start, at_end = float(np.vdot(before.gradient, move)), float(np.vdot(after.gradient, move))
    ratio = at_end / at_start if at_start != 0.0 else 0.0
    return min(max(extrapolation / (1.0 - ratio), 1.0), MAX_EXTRAPOLATION) if LONG_ENOUGH < ratio < 1.0 else 1.0


def first_extrapolation(kl: float, share: float = 1.0) -> float:
    """Return the factor by which to lengthen a Newton step of one logit from zero, of `kl` nats per unit of weight.

    At zero p (1 − p) is largest, so the step is too short. If the logits along it are normal with variance σ², which is
    8 `kl`, the mean of p (1 − p) at t times the step is that at zero over √(1 + c t²σ²), as it would be exactly if p
    were a normal distribution function. So the slope vanishes at t = √(1 + c t²σ²). A prior does not saturate: the
    excess over 1 is multiplied by the `share` of F in the curvature along the step.
    """
    excess = 1.0 - 8.0 * SATURATION * kl
    factor = min(excess**-0.5, MAX_EXTRAPOLATION) if excess > 0.0 else MAX_EXTRAPOLATION
    return 1.0 + share * (factor - 1.0)


def extrapolated(proposal: Proposal, factor: float) -> Proposal:
    """Return a step `factor` times as long, whose predicted decrease remains that of the original length."""
    # `_replace` makes three more calls
    return Proposal(
        factor * proposal.move,
        factor * proposal.image,
        proposal.predicted,
        factor**2 * proposal.kl,
        proposal.best_decrease,
        proposal.metric_length,
        proposal.is_newton,
        proposal.solve_summary,
        factor,
    )
