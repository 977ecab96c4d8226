"""The convergence test, by the Newton decrement, and the outcome of a descent that cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._solver.records import Outcome
from sknatgrad._solver.step import critical_damping
from sknatgrad._solver.stopping import is_separated

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._solver.problem import DescentOptions, DescentProblem, State
    from sknatgrad._solver.records import Measured, NewtonDecrement, Step
    from sknatgrad._solver.step import Proposal

# Least and greatest factor to which the best decrease must fall before a failed convergence test is retried. Halved and
# doubled: no change.
RETRY_FACTORS = (1e-3, 0.1)
# Share of `tol` below which a best decrease is always tested: it may become 0 while the decrement is not.
LEAST_RETRY = 1e-3
# Share of `tol` at which a best decrease is small enough for the test, though Newton's method does not square the gap
# yet. Halved and doubled: 159 and 154 iterations for 156 of `'empirical'` on digits, 453 and 465 for 426 of
# `'diagonal'` on wine, at most one more or less elsewhere.
SMALL_SHARE = 1e-2
# Newton decrement, as a share of the loss, up to which a step may be the final one if its end is measured. A smaller
# one matters to fits at a large `tol`; the error that is expected to remain decides otherwise.
EARLY_SHARE = 1e-3
# Curvature along a step, relative to the largest diagonal so far, below which F has vanished along it: rounding of F.
VANISHED = 1e-14
# accepted steps after which a descent without a penalty looks for a separating direction, and the best decrease, as a
# share of the loss, below which it then ends
LONG_DESCENT = 25
SLOW_DECREASE = 1e-6


def check_convergence(
    state: State, problem: DescentProblem, options: DescentOptions, proposal: Proposal
) -> tuple[State, NewtonDecrement | None]:
    """Return the Newton step if its decrement is that of a final step, and its length within `max_kl`; else None.

    The decrement is the largest decrease over all directions, and costs a solve. The largest decrease along the
    proposed direction is a lower bound of it, and is known. So the decrement is evaluated only once this bound is
    small.
    """
    point = state.point
    best_decrease = share_of_loss(proposal.best_decrease, point)
    if best_decrease > state.test_below:
        return state, None
    corrections = problem.corrections if measures_corrections(problem, options) else min(problem.corrections, 1)
    if not final_step_suffices(state, proposal, problem, options, corrections):
        return state, None
    newton, allowed = problem.newton_decrement(point, proposal), final_decrement(problem, options)
    state = state._replace(decrement=newton.decrement / point.weight)
    if not decrement_is_within(state, allowed):
        # 0 if the decrement is infinite
        ratio = allowed * point.loss / newton.decrement
        test_below = max(best_decrease * np.clip(ratio, *RETRY_FACTORS), LEAST_RETRY * options.tol)
        return state._replace(test_below=test_below), None
    too_long = options.max_kl is not None and newton.kl > options.max_kl * point.weight
    return state._replace(to_optimum=newton), None if too_long else newton


def final_step_suffices(
    state: State, proposal: Proposal, problem: DescentProblem, options: DescentOptions, corrections: int
) -> bool:
    """Say whether the gap after a final step is expected to be negligible, or the best decrease is small already.

    Newton's method squares the gap times a constant: a gap of b is followed by c b². From `previous` to `best_decrease`
    the constant was c = b / previous², so the next step multiplies the gap by c b = (b / previous)²; with c at least 1,
    by b or more. A quasi-Newton step multiplies it by about the same share as the step before, b / previous. Each of
    the `corrections` by the same matrix is taken to do so again.
    """
    best_decrease, previous = share_of_loss(proposal.best_decrease, state.point), state.previous.best_decrease
    ratio, squares = best_decrease / previous if previous > 0 else np.inf, problem.contraction == 0.0
    reduction = max(best_decrease, ratio**2 if squares else ratio, problem.contraction)
    remaining = best_decrease * reduction ** (1 + corrections)
    return remaining <= problem.negligible_error or (squares and best_decrease <= SMALL_SHARE * options.tol)


def correction_suffices(state: State, proposal: Proposal, problem: DescentProblem, options: DescentOptions) -> bool:
    """Say whether a quasi-Newton step at an accepted point is expected to leave a negligible error.

    It then is the correction of the step before, by nearly the same matrix, and is not measured as any other.
    """
    return problem.contraction > 0.0 and final_step_suffices(state, proposal, problem, options, corrections=0)


def final_decrement(problem: DescentProblem, options: DescentOptions) -> float:
    """Return the Newton decrement, as a share of the loss, at which a step may be the final one.

    If corrections are measured, the decrement after the first of them is tested.
    """
    return max(options.tol, EARLY_SHARE) if measures_corrections(problem, options) else options.tol


def measures_corrections(problem: DescentProblem, options: DescentOptions) -> bool:
    """Say whether the corrections of a final step are measured.

    Without a penalty on some features, the final step is evidence of separation, and has to be small.
    """
    return problem.corrections > 1 and options.learning_rate is None and options.rows_are_separated is None


def is_unbounded(
    state: State, proposal: Proposal, problem: DescentProblem, rows_are_separated: Callable[[], bool]
) -> bool:
    """Say whether F has vanished along a step, or the convergence test cannot verify it, because rows are separated.

    The descent would go on without an optimum, by steps that grow as F vanishes.
    """
    vanished = critical_damping(proposal, state.damping.scale, problem.prior_precision) < VANISHED
    return (vanished or bool(np.isinf(state.decrement))) and rows_are_separated()


def is_slow(state: State, options: DescentOptions) -> bool:
    """Say whether little decrease remains at the last step, and some rows are separated."""
    separated = options.rows_are_separated
    return separated is not None and state.previous.best_decrease < SLOW_DECREASE and separated()


def with_separation(step: Step, point: Measured, options: DescentOptions) -> Step:
    """Return the step, with the outcome that separated classes have if no penalty makes an optimum exist.

    The outcome is `separable` if the convergence test was passed or the loss is small, 1e-5 nats per unit of weight at
    the default `tol`; until then the descent is `running`. At a still smaller loss, rows differ in information by more
    than float64 resolves.
    """
    if options.penalised or not is_separated(point):
        return step
    is_end = step.outcome is Outcome.converged or point.loss <= np.sqrt(SMALL_SHARE * options.tol) * point.weight
    return step._replace(outcome=Outcome.separable if is_end else Outcome.running)


def final_outcome(point: Measured, problem: DescentProblem, options: DescentOptions, step: Step, *, rose: bool) -> Step:
    """Return the step with the outcome of a descent that stalled or reached `max_iter`.

    Where the classes are not separated, it is diverged if the loss `rose` since the start, and converged if the Newton
    decrement, evaluated now, is within `tol`: the descent may end at an optimum before it tested convergence there.
    """
    if not options.penalised and is_separated(point):
        return step._replace(outcome=Outcome.separable)
    if rose:
        return step._replace(outcome=Outcome.diverged)
    decrement = problem.newton_decrement(point).decrement
    if decrement <= options.tol * point.loss:
        outcome = Outcome.converged
    else:
        outcome = Outcome.exhausted if step.outcome is Outcome.running else step.outcome
    return step._replace(outcome=outcome, decrement=decrement / point.weight)


def decrement_is_within(state: State, share: float) -> bool:
    """Say whether the Newton decrement, by its last evaluation, is at most this share of the loss."""
    return state.decrement <= max(share * state.point.loss, 0.0) / state.point.weight


def share_of_loss(nats: float, point: Measured) -> float:
    """Return a decrease as a share of the loss; 0 where the loss is 0."""
    return nats / point.loss if point.loss > 0 else 0.0
