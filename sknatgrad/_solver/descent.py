"""The loop: propose a step, test convergence, try the step, adapt the damping. Sees a `DescentProblem`, never rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._solver.convergence import (
    LONG_DESCENT,
    check_convergence,
    correction_suffices,
    decrement_is_within,
    final_decrement,
    final_outcome,
    final_step_suffices,
    is_slow,
    is_unbounded,
    measures_corrections,
    share_of_loss,
    with_separation,
)
from sknatgrad._solver.corrections import MAX_SHIFT, contraction_of, correct
from sknatgrad._solver.damping import GOOD_GAIN, Damping
from sknatgrad._solver.problem import PreviousStep, State
from sknatgrad._solver.records import Outcome, Step
from sknatgrad._solver.step import (
    best_coefficients,
    clip_to_kl,
    critical_damping,
    exact_proposal,
    extrapolated,
    first_extrapolation,
    make_proposal,
    next_extrapolation,
    zero_step,
)
from sknatgrad._solver.stopping import LOSS_ROUNDING, MAX_REJECTIONS, is_accepted, is_finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._solver.problem import DescentOptions, DescentProblem
    from sknatgrad._solver.records import Direction, Measured, NewtonDecrement
    from sknatgrad._solver.step import Proposal


class Trial(NamedTuple):
    """A step whose end was measured, and whether it was accepted."""

    proposal: Proposal
    end: Measured
    accepted: bool
    gain: float  # actual over predicted decrease


def descend(problem: DescentProblem, point: Measured, options: DescentOptions) -> Iterator[tuple[State, Step]]:
    """Yield the state and the step after each iteration, and once before the first.

    Every step but the last one yielded has the outcome `running`; the last one says why the descent ended.
    """
    state = State(point, Damping(options.damping, options.damping_scale), test_below=final_decrement(problem, options))
    start_loss = point.loss / point.weight
    # sums that overflow make a point that is not finite: `is_finite` and `is_accepted` find it, not a warning of numpy
    with np.errstate(over="ignore", invalid="ignore"):
        outcome = Outcome.running if is_finite(point) else Outcome.overflow
        step = Step(start_loss, np.nan, np.nan, kl=0.0, damping=options.damping, accepted=True, outcome=outcome)
        if outcome is Outcome.running and options.max_iter == 0:
            step = final_outcome(point, problem, options, step, rose=False)
    outcome = step.outcome
    yield state, step
    # `max_iter` bounds the accepted steps; `MAX_REJECTIONS` bounds the rejected ones in between
    n_accepted = 0
    while outcome is Outcome.running:
        with np.errstate(over="ignore", invalid="ignore"):
            state, step = advance(state, problem, options)
            n_accepted += step.accepted
            if n_accepted >= LONG_DESCENT and step.outcome is Outcome.running and is_slow(state, options):
                step = step._replace(outcome=Outcome.unbounded)
            if step.loss > start_loss:
                # a fixed learning rate has overshot, and F vanishes there whether or not rows are separated
                options = options._replace(rows_are_separated=None)
            at_limit = step.outcome is Outcome.running and n_accepted == options.max_iter
            if at_limit or step.outcome is Outcome.stalled:
                step = final_outcome(state.point, problem, options, step, rose=step.loss > start_loss)
        outcome = step.outcome
        yield state, step


def advance(state: State, problem: DescentProblem, options: DescentOptions) -> tuple[State, Step]:
    """Run one iteration: propose a step, test convergence, then take a final step or try an ordinary one.

    The final step is the Newton step of the convergence test; with a fixed learning rate, the proposed step.
    """
    # a property or a function that decides nothing is a call in each iteration
    damping = state.damping.at(state.point, problem.prior_precision, keep_largest=options.learning_rate is None)
    state = state._replace(damping=damping)
    proposal = _propose(state, problem, options)
    separated = options.rows_are_separated
    if separated is not None and is_unbounded(state, proposal, problem, separated):
        return state, _step(state, Trial(proposal, state.point, accepted=False, gain=1.0), Outcome.unbounded)
    # the Newton step is None unless the test is passed
    state, newton = check_convergence(state, problem, options, proposal)
    if newton is not None:
        end = _final_step(state, problem, options, newton if options.adaptive else None, proposal)
        if end is not None:
            return end
        # the decrement has to be within `tol` at a point before the next attempt
        state = state._replace(test_below=options.tol)
    if not proposal.best_decrease > 0.0 and not proposal.move.any():
        # no finite step of positive curvature was found
        trial = Trial(proposal, state.point, accepted=False, gain=1.0)
        return state, _step(state, trial, Outcome.stalled)
    return _ordinary_step(state, problem, options, proposal)


def _propose(state: State, problem: DescentProblem, options: DescentOptions) -> Proposal:
    """Return the natural gradient step, with its length.

    The length minimises the damped quadratic model with the true Fisher information. The step of another metric is
    combined with the previous accepted step, and the model is minimised over both. A fixed learning rate is the length.
    """
    point, prior = state.point, problem.prior_precision
    shift = state.damping.shift(prior)
    direction = problem.direction(point, shift)
    if direction.exact_solve and options.learning_rate is None:
        proposal = exact_proposal(point, direction, prior)
    else:
        proposal = _rescaled(state, problem, options, direction)
    return clip_to_kl(proposal, point, prior, options.max_kl)


def _rescaled(state: State, problem: DescentProblem, options: DescentOptions, direction: Direction) -> Proposal:
    """Return a direction at the length that minimises the damped model, combined with the previous step."""
    point, prior = state.point, problem.prior_precision
    shift = state.damping.shift(prior)
    # the solve gives F v only if the metric is F, or approximates it
    momentum = state.previous.move if options.adaptive and direction.image is None else None
    moves = direction.move[None] if momentum is None else np.stack([direction.move, momentum])
    # Each move is divided by its largest entry, so that vᵀF v does not overflow: of a column of values of 1e100, F has
    # an entry of 1e200, and a step along the gradient a size of 1e100.
    sizes = abs(moves).max(axis=(1, 2))
    units = np.where(sizes > 0, sizes, 1.0)[:, None, None]
    moves /= units
    images = direction.image / units if direction.image is not None else problem.fisher_products(point, moves)
    if options.learning_rate is None:
        coefficients, alone = best_coefficients(moves, images + shift * moves, point.gradient)
        # in units of the direction before it was divided
        metric_length = alone / sizes[0] if sizes[0] > 0 else 1.0
    else:
        coefficients, metric_length = options.learning_rate * sizes, 1.0
    move = (coefficients @ moves.reshape(len(moves), -1)).reshape(direction.move.shape)
    image = (coefficients @ images.reshape(len(moves), -1)).reshape(direction.move.shape)
    proposal = make_proposal(point, move, image, prior)
    is_newton = direction.image is not None and direction.exact
    return proposal._replace(metric_length=metric_length, is_newton=is_newton, solve_summary=direction.solve_summary)


def _ordinary_step(
    state: State, problem: DescentProblem, options: DescentOptions, proposal: Proposal
) -> tuple[State, Step]:
    """Try a step, and accept or reject it; a fixed learning rate accepts every step that is finite."""
    is_first = state.previous.move is None and state.rejections == 0
    factor = _first_extrapolation(state, options, proposal) if is_first else state.previous.extrapolation
    if options.max_kl is None and factor != 1.0:
        proposal = extrapolated(proposal, factor)
    trial = _try(state, problem, proposal, judged=options.learning_rate is None)
    step = _step(state, trial, Outcome.running)
    # the damping after a good step does not depend on the critical damping
    is_good = trial.accepted and trial.gain > GOOD_GAIN
    critical = 0.0 if is_good else critical_damping(proposal, state.damping.scale, problem.prior_precision)
    if not trial.accepted:
        return _reject(state, step, options, critical)
    step = step if options.penalised else with_separation(step, trial.end, options)
    return _accept(state, trial, options, critical), step


def _first_extrapolation(state: State, options: DescentOptions, proposal: Proposal) -> float:
    """Return the factor by which to lengthen the first step: 1 but for a Newton step of one logit from zero."""
    theta = state.point.theta
    # with several logits, p (1 − p) rises from its value at zero up to 1/4 before it falls
    if options.learning_rate is not None or not proposal.is_newton or len(theta) > 1 or np.vdot(theta, theta) > 0.0:
        return 1.0
    # an exact step has no larger share; that of an inexact one may be
    share = min(proposal.kl / proposal.predicted, 1.0) if proposal.predicted > 0.0 else 1.0
    return first_extrapolation(proposal.kl / state.point.weight, share)


def _final_step(
    state: State, problem: DescentProblem, options: DescentOptions, newton: NewtonDecrement | None, proposal: Proposal
) -> tuple[State, Step] | None:
    """Take the Newton step of the convergence test as the final one; with a fixed learning rate, the proposed step.

    Stay if the error of the point itself is negligible, or the step is not accepted. None if the decrement is then not
    within `tol`.
    """
    point, within, contraction = state.point, decrement_is_within(state, options.tol), None
    if newton is not None and measures_corrections(problem, options):
        shift = problem.shift(newton.move)
        if shift <= MAX_SHIFT:
            contraction = contraction_of(shift)
        elif not (within and final_step_suffices(state, proposal, problem, options, corrections=1)):
            return None
    if newton is None:
        trial = _try(state, problem, proposal, judged=True, final=True)
    elif within and correction_suffices(state, proposal, problem, options):
        state, trial = _correct_only(state, problem, newton)
    elif within and decrement_is_within(state, problem.negligible_error):
        trial = _stay(point)
    else:
        state, trial = _step_and_correct(state, problem, newton, contraction, within=within)
        within = within or decrement_is_within(state, options.tol)
    if not within:
        return None
    trial = trial if trial.accepted else _stay(point)
    step = with_separation(_step(state, trial, Outcome.converged), trial.end, options)
    return state._replace(point=trial.end), step


def _correct_only(state: State, problem: DescentProblem, newton: NewtonDecrement) -> tuple[State, Trial]:
    """Take a final step whose end is not measured: only its loss is known, by the quadratic model."""
    point = state.point
    proposal = make_proposal(point, newton.move, newton.image, problem.prior_precision)
    end = point._replace(loss=point.loss - newton.decrement)
    return state._replace(corrected=point.theta + newton.move), Trial(proposal, end, accepted=True, gain=1.0)


def _step_and_correct(
    state: State, problem: DescentProblem, newton: NewtonDecrement, contraction: float | None, *, within: bool
) -> tuple[State, Trial]:
    """Take a final step, and correct its end.

    If the decrement was not `within` `tol`, that of the last correction takes its place.
    """
    point = state.point
    proposal = make_proposal(point, newton.move, newton.image, problem.prior_precision)
    trial = _try(state, problem, proposal, judged=True, final=True)
    if not trial.accepted or newton.resolve is None:
        return state, trial
    corrected = correct(problem, trial.end, newton, contraction)
    if not within:
        last = corrected.last
        state = state._replace(decrement=last.decrement / point.weight, to_optimum=last)
    if corrected.theta is not None or corrected.point is not trial.end:
        proposal = make_proposal(point, *corrected.whole_step(), problem.prior_precision)
        trial = Trial(proposal, corrected.point, accepted=True, gain=_gain(point, corrected.point, proposal))
    return state._replace(corrected=corrected.theta), trial


def _try(state: State, problem: DescentProblem, proposal: Proposal, *, judged: bool, final: bool = False) -> Trial:
    """Measure the end of a step, and accept it: if the loss falls enough, when `judged`; else if it is finite."""
    point = state.point
    end = problem.measure(point.theta + proposal.move, final=final)
    if not judged:
        return Trial(proposal, end, is_finite(end), _gain(point, end, proposal))
    accepted = is_accepted(point, end, proposal.predicted, state.damping.scale)
    if accepted and end.loss > point.loss:
        # an accepted increase is rounding: the loss curve does not rise
        end = end._replace(loss=point.loss)
    return Trial(proposal, end, accepted, _gain(point, end, proposal))


def _stay(point: Measured) -> Trial:
    """Return the step that stays at a point, as accepted."""
    return Trial(zero_step(point), point, accepted=True, gain=1.0)


def _gain(before: Measured, after: Measured, proposal: Proposal) -> float:
    """Return the actual over the predicted decrease; 1 where no more than rounding was predicted."""
    if proposal.predicted <= max(LOSS_ROUNDING * before.loss, 0.0):
        return 1.0
    return (before.loss - after.loss) / proposal.predicted


def _accept(state: State, trial: Trial, options: DescentOptions, critical: float) -> State:
    """Return the state at the end of an accepted step, with damping and extrapolation for the next one."""
    proposal, damping, extrapolation = trial.proposal, state.damping, 1.0
    if options.learning_rate is None:
        damping = damping.after_accepted(trial.gain, proposal.metric_length, critical)
        if proposal.is_newton:
            extrapolation = next_extrapolation(state.point, trial.end, proposal.move, proposal.extrapolation)
    previous = PreviousStep(proposal.move, share_of_loss(proposal.best_decrease, state.point), extrapolation)
    return state._replace(point=trial.end, damping=damping, previous=previous, rejections=0)


def _reject(state: State, step: Step, options: DescentOptions, critical: float) -> tuple[State, Step]:
    """Return the state at the same point with more damping; end the descent if that cannot help."""
    if not options.adaptive:
        # only a step that is not finite was rejected
        return state, step._replace(outcome=Outcome.diverged)
    if state.rejections == MAX_REJECTIONS:
        return state, step._replace(outcome=Outcome.stalled)
    # no momentum, and no extrapolation, until a step is accepted
    previous = state.previous._replace(move=None, extrapolation=1.0)
    damping = state.damping.after_rejected(critical)
    return state._replace(damping=damping, previous=previous, rejections=state.rejections + 1), step


def _step(state: State, trial: Trial, outcome: Outcome) -> Step:
    """Return the record of an iteration, per unit of weight."""
    weight = state.point.weight
    return Step(
        loss=(trial.end if trial.accepted else state.point).loss / weight,
        gain=trial.gain,
        decrement=state.decrement,
        kl=trial.proposal.kl / weight,
        damping=state.damping.factor,
        accepted=trial.accepted,
        outcome=outcome,
        solve_summary=trial.proposal.solve_summary,
    )
