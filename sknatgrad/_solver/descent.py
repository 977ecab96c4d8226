"""The loop: natural gradient direction, step length, acceptance, damping, stop. Sees callables, never data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._solver.convergence import check_convergence, final_outcome, is_within, share_of_loss, unless_separated
from sknatgrad._solver.damping import GOOD_GAIN, Damping
from sknatgrad._solver.problem import LastStep, State
from sknatgrad._solver.records import Outcome, Step
from sknatgrad._solver.step import (
    best_coefficients,
    clip_to_kl,
    critical_damping,
    extrapolated,
    next_extrapolation,
    predict,
    zero_step,
)
from sknatgrad._solver.stopping import MAX_REJECTIONS, is_accepted, is_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._solver.problem import DescentOptions, DescentProblem
    from sknatgrad._solver.records import Measured, NewtonDecrement
    from sknatgrad._solver.step import Proposal
    from sknatgrad._typing import Array


class Trial(NamedTuple):
    """A step that was tried, and what came of it."""

    proposal: Proposal
    end: Measured  # the point it leads to
    accepted: bool
    gain: float  # actual over predicted decrease


def descend(problem: DescentProblem, point: Measured, options: DescentOptions) -> Iterator[tuple[State, Step]]:
    """Yield the state and the step after each iteration, and once before the first; the last step has the outcome."""
    state = State(point, Damping(options.damping, options.scale), test_below=options.tol)
    loss = state.point.loss / state.point.weight
    # an overflow gives a point that is not finite, which is rejected
    with np.errstate(over="ignore", invalid="ignore"):
        outcome = Outcome.running if is_finite(point) else Outcome.overflow
    yield state, Step(loss, np.nan, np.nan, 0.0, options.damping, accepted=True, outcome=outcome)
    n_accepted = 0
    while outcome is Outcome.running:
        with np.errstate(over="ignore", invalid="ignore"):
            state, step = advance(state, problem, options)
            n_accepted += step.accepted
            exhausted = step.outcome is Outcome.running and n_accepted == options.max_iter
            if exhausted or step.outcome is Outcome.stalled:
                step = final_outcome(state.point, problem, options, step, rose=step.loss > loss)
        outcome = step.outcome
        yield state, step


def advance(state: State, problem: DescentProblem, options: DescentOptions) -> tuple[State, Step]:
    """Run one iteration: propose a step, test convergence, and take the step as the final one or as an ordinary one."""
    damping = state.damping.at(state.point, problem.prior_precision, largest=options.adaptive)
    state = state._replace(damping=damping)
    proposal = _propose(state, problem, options)
    state, newton = check_convergence(state, problem, options, proposal)
    if newton is not None and options.adaptive:
        return _newton_step(state, problem, options, newton)
    if newton is not None:
        return _final_step(state, problem, options, proposal)
    if not proposal.move.any():
        trial = Trial(proposal, state.point, accepted=False, gain=1.0)
        return state, _step(state, trial, Outcome.stalled)
    return _ordinary_step(state, problem, options, proposal)


def _propose(state: State, problem: DescentProblem, options: DescentOptions) -> Proposal:
    """Return the natural gradient step, with its length.

    The length minimises the damped quadratic model with the true Fisher information. If the metric is another, it does
    so over the span of the step and the last one. A learning rate is taken as it is.
    """
    point, prior = state.point, problem.prior_precision
    shift = state.damping.shift(prior)
    direction, image, how = problem.direction(point, shift)
    is_newton = image is not None
    momentum = state.last.move if options.adaptive and not is_newton else None
    moves = direction[None] if momentum is None else np.stack([direction, momentum])
    # scaled to size one, so that columns of 1e100 can be multiplied twice
    sizes = abs(moves).max(axis=(1, 2))
    units = np.where(sizes > 0, sizes, 1.0)[:, None, None]
    moves /= units
    images = image / units if image is not None else problem.products(point, moves)
    if options.learning_rate is None:
        coefficients, alone = best_coefficients(moves, images + shift * moves, point.gradient)
        metric_step = alone / sizes[0] if sizes[0] > 0 else 1.0
    else:
        coefficients, metric_step = options.learning_rate * sizes, 1.0
    move = (coefficients @ moves.reshape(len(moves), -1)).reshape(direction.shape)
    image = (coefficients @ images.reshape(len(moves), -1)).reshape(direction.shape)
    proposal = clip_to_kl(predict(point, move, image, prior), point, prior, options.max_kl)
    return proposal._replace(metric_step=metric_step, is_newton=is_newton, how=how)


def _ordinary_step(
    state: State, problem: DescentProblem, options: DescentOptions, proposal: Proposal
) -> tuple[State, Step]:
    """Try a step, and accept or reject it; a fixed learning rate accepts every step that is finite."""
    if options.max_kl is None:
        proposal = extrapolated(proposal, state.last.extrapolation)
    trial = _try(state, problem, proposal, judged=options.adaptive)
    step = _step(state, trial, Outcome.running)
    well = trial.accepted and trial.gain > GOOD_GAIN
    critical = 0.0 if well else critical_damping(proposal, state.damping.scale, problem.prior_precision)
    if not trial.accepted:
        return _reject(state, step, options, critical)
    return _accept(state, trial, options, critical), unless_separated(step, trial.end, options)


def _newton_step(
    state: State, problem: DescentProblem, options: DescentOptions, newton: NewtonDecrement
) -> tuple[State, Step]:
    """Take the Newton step as the final one; if the point is accurate enough already, stay."""
    point = state.point
    if is_within(state, problem.accuracy):
        step = _step(state, _stay(point), Outcome.converged)
        return state, unless_separated(step, point, options)
    proposal = predict(point, newton.move, newton.image, problem.prior_precision)
    return _final_step(state, problem, options, proposal, newton.resolve)


def _final_step(
    state: State,
    problem: DescentProblem,
    options: DescentOptions,
    proposal: Proposal,
    resolve: Callable[[Array], Array] | None = None,
) -> tuple[State, Step]:
    """Take the last step of the descent if it helps; else stay, as the convergence test holds at the point itself.

    With a factorised matrix one more Newton step follows. It is too short for the loss to show it, so it is a
    correction of θ, not another point.
    """
    trial, corrected = _try(state, problem, proposal, judged=True, last=True), None
    if not trial.accepted:
        trial = _stay(state.point)
    elif resolve is not None:
        corrected = _corrected(trial.end, resolve, state.decrement * state.point.weight)
    step = unless_separated(_step(state, trial, Outcome.converged), trial.end, options)
    return state._replace(point=trial.end, corrected=corrected), step


def _corrected(point: Measured, resolve: Callable[[Array], Array], before: float) -> Array | None:
    """Return θ after one more step by the last matrix, if that gains less than the `before` nats of the last step."""
    move = resolve(point.gradient)
    remaining = -0.5 * float(np.vdot(point.gradient, move))
    return point.theta + move if 0.0 <= remaining < before else None


def _try(state: State, problem: DescentProblem, proposal: Proposal, *, judged: bool, last: bool = False) -> Trial:
    """Measure the end of a step; `judged` by its decrease, or accepted if it is finite."""
    point = state.point
    end = problem.measure(point.theta + proposal.move, last=last)
    if not judged:
        return Trial(proposal, end, is_finite(end), _gain(point, end, proposal))
    accepted = is_accepted(point, end, proposal.predicted, state.damping.scale)
    if accepted:
        # an increase that was accepted is rounding, and no change
        end = end._replace(loss=min(end.loss, point.loss))
    return Trial(proposal, end, accepted, _gain(point, end, proposal))


def _stay(point: Measured) -> Trial:
    return Trial(zero_step(point), point, accepted=True, gain=1.0)


def _gain(before: Measured, after: Measured, proposal: Proposal) -> float:
    """Return the actual over the predicted decrease; 1 where none was predicted."""
    return (before.loss - after.loss) / proposal.predicted if proposal.predicted > 0 else 1.0


def _accept(state: State, trial: Trial, options: DescentOptions, critical: float) -> State:
    proposal, damping, extrapolation = trial.proposal, state.damping, 1.0
    if options.adaptive:
        damping = damping.after_accepted(trial.gain, proposal.metric_step, critical)
        if proposal.is_newton:
            extrapolation = next_extrapolation(state.point, trial.end, proposal.move, state.last.extrapolation)
    last = LastStep(proposal.move, share_of_loss(proposal.best_decrease, state.point), extrapolation)
    return state._replace(point=trial.end, damping=damping, last=last, rejections=0)


def _reject(state: State, step: Step, options: DescentOptions, critical: float) -> tuple[State, Step]:
    if not options.adaptive:
        return state, step._replace(outcome=Outcome.diverged)
    if state.rejections == MAX_REJECTIONS:
        return state, step._replace(outcome=Outcome.stalled)
    last = state.last._replace(move=None, extrapolation=1.0)
    damping = state.damping.after_rejected(critical)
    return state._replace(damping=damping, last=last, rejections=state.rejections + 1), step


def _step(state: State, trial: Trial, outcome: Outcome) -> Step:
    weight = state.point.weight
    return Step(
        loss=(trial.end if trial.accepted else state.point).loss / weight,
        gain=trial.gain,
        decrement=state.decrement,
        kl=trial.proposal.kl / weight,
        damping=state.damping.factor,
        accepted=trial.accepted,
        outcome=outcome,
        how=trial.proposal.how,
    )
