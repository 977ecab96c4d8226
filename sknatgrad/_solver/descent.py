"""The loop: natural gradient direction, step length, acceptance, damping, stop. Sees callables, never data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sknatgrad._solver.damping import FADED, FADED_AFTER_FAILURE, GOOD_GAIN, WAKE, follow, scale_of, tighten
from sknatgrad._solver.records import Direction, Outcome, Step
from sknatgrad._solver.stopping import MAX_REJECTIONS, is_accepted, is_finite, is_separated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._solver.records import Certificate, Measured
    from sknatgrad._typing import Array

# how far, at most and at least, the promise must fall before a certificate that was refused is asked for again
LATER = (1e-3, 0.1)
# what is left of a second move, squared, beside the first, for it to be of use
PARALLEL = 1e-12
# Slope left at the end of a step, as a share of that at its beginning, below which it was long enough; and how many
# times as long the next one is made at most
SHORT = 0.1
LONGEST = 2.0
# a promise of this share of `tol` is small enough, even where Newton's method does not square it yet
SMALL = 1e-2


class DescentProblem(Protocol):
    """What the loop may ask about the objective; `Objective` is one."""

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        ...

    def measure(self, theta: Array, *, last: bool = False) -> Measured:
        """Return loss, gradient and metric at θ; the last point needs no metric."""
        ...

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the metric plus I ⊗ diag(shift)."""
        ...

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher times each of `moves`, ``(j, q, d)``."""
        ...

    @property
    def direct(self) -> bool:
        """Whether a certificate comes with a factorised matrix, so that solving again costs next to nothing."""
        ...

    @property
    def accuracy(self) -> float:
        """Error of a last step that is as good as none, relative to the loss."""
        ...

    def certificate(self, measured: Measured, near: Direction | None = None) -> Certificate:
        """Return the undamped step of the true Fisher, and what is still to be gained; `near` is a first guess."""
        ...


class DescentOptions(NamedTuple):
    """What the user asked for."""

    damping: float = 1e-3
    learning_rate: float | None = None  # None: chosen at each step
    max_kl: float | None = None
    max_iter: int = 100
    tol: float = 1e-8
    penalised: bool = True  # without a penalty, separable data have no optimum
    scale: Array | float = 0.0  # (d,), of the damping, if there is an earlier descent to know it from

    @property
    def adaptive(self) -> bool:
        """Whether step length and damping adapt."""
        return self.learning_rate is None


class State(NamedTuple):
    """What one turn hands to the next."""

    point: Measured
    damping: float
    scale: Array | float = 0.0  # what damping is relative to, (d,)
    momentum: Array | None = None  # the last accepted move
    rejections: int = 0  # in a row
    faded: float = FADED  # damping below this is dropped
    # a certificate is asked for once the model promises less than this share of the loss
    certify_below: float = np.inf
    decrement: float = np.nan  # certified last, per unit of weight
    promise: float = np.inf  # of the last accepted step, relative to the loss
    to_optimum: Array | None = None  # the step that was certified to lead there
    stretch: float = 1.0  # how many times as long as the quadratic model says the last step should have been


class Move(NamedTuple):
    """A step to try, with the quadratic model's word on it. Sums in nats."""

    move: Array  # (q, d)
    image: Array  # (q, d), F v
    predicted: float  # decrease of the undamped model
    kl: float  # ½ vᵀF v
    promise: float  # decrease of the undamped model at the best length of this direction
    trust: float = 1.0  # best length of the metric's own step: 1 for an exact metric
    how: str = ""
    exact: bool = False  # whether it is the metric's own step, and the metric the true Fisher information
    again: Callable[[Array], Array] | None = None  # the step that the same metric takes for another gradient


def descend(problem: DescentProblem, point: Measured, options: DescentOptions) -> Iterator[tuple[State, Step]]:
    """Yield after every turn, the first time before any; the last step says how it ended."""
    state = State(point, options.damping, options.scale, certify_below=options.tol)
    loss = state.point.loss / state.point.weight
    # an overflow leaves a point that is not finite, which is refused
    with np.errstate(over="ignore", invalid="ignore"):
        outcome = Outcome.running if is_finite(point) else Outcome.overflow
    yield state, Step(loss, np.nan, np.nan, np.nan, 0.0, options.damping, accepted=True, outcome=outcome)
    taken = 0
    while outcome is Outcome.running:
        with np.errstate(over="ignore", invalid="ignore"):
            state, step = advance(state, problem, options)
            taken += step.accepted
            used_up = step.outcome is Outcome.running and taken == options.max_iter
            if used_up or step.outcome is Outcome.stalled:
                step = _ending(state.point, problem, options, step, rose=step.loss > loss)
        outcome = step.outcome
        yield state, step


def advance(state: State, problem: DescentProblem, options: DescentOptions) -> tuple[State, Step]:
    """Take one turn: propose, certify if it seems the end, try, then accept or tighten."""
    point = state.point
    scale = scale_of(point, problem.prior_precision, state.scale)
    state = state._replace(scale=scale) if options.adaptive else state
    proposal = _propose(state, problem, options, problem.prior_precision + state.damping * scale)
    state, last = _certify(state, problem, options, proposal)
    if last is None and not proposal.move.any():
        return state, _step(state, point, proposal, accepted=False, outcome=Outcome.stalled)
    if last is not None and options.adaptive:
        proposal = last
        if _within(state, problem.accuracy):
            step = _step(state, point, _nowhere(point), accepted=True, outcome=Outcome.converged)
            return state, _unless_separated(step, point, options)
    elif options.max_kl is None:
        proposal = _stretched(proposal, state.stretch)
    trial = problem.measure(point.theta + proposal.move, last=last is not None)
    judged = options.adaptive or last is not None
    accepted = is_accepted(point, trial, proposal.predicted, scale) if judged else is_finite(trial)
    if last is not None and not accepted:
        # the certificate holds where we stand, and the step, or rounding, has nothing better to offer
        trial, accepted, proposal = point, True, _nowhere(point)
    if accepted and judged:
        # an increase that was accepted is rounding, and no change
        trial = trial._replace(loss=min(trial.loss, point.loss))
    outcome = Outcome.running if last is None else Outcome.converged
    trial = _polished(trial, proposal.again, state.decrement * point.weight)
    step = _step(state, trial, proposal, accepted=accepted, outcome=outcome)
    bite = 0.0 if accepted and step.gain > GOOD_GAIN else _bite(proposal, scale, problem.prior_precision)
    return _accept(state, step, trial, proposal, options, bite) if accepted else _reject(state, step, options, bite)


def _polished(trial: Measured, again: Callable[[Array], Array] | None, before: float) -> Measured:
    """Take one more step with the metric of the last, too short for the loss to show it; `before` it, nats to gain."""
    if again is None:
        return trial
    move = again(trial.gradient)
    left = -0.5 * float(np.vdot(trial.gradient, move))
    return trial._replace(theta=trial.theta + move) if 0.0 <= left < before else trial


def _step(state: State, trial: Measured, proposal: Move, *, accepted: bool, outcome: Outcome) -> Step:
    point, weight = state.point, state.point.weight
    return Step(
        loss=(trial if accepted else point).loss / weight,
        gain=(point.loss - trial.loss) / proposal.predicted if proposal.predicted > 0 else 1.0,
        predicted=proposal.predicted / weight,
        decrement=state.decrement,
        kl=proposal.kl / weight,
        damping=state.damping,
        accepted=accepted,
        outcome=outcome,
        how=proposal.how,
    )


def _propose(state: State, problem: DescentProblem, options: DescentOptions, shift: Array) -> Move:
    point = state.point
    direction, image, how = problem.direction(point, shift)
    momentum = state.momentum if options.adaptive and image is None else None
    moves = direction[None] if momentum is None else np.stack([direction, momentum])
    # brought to size one, so that columns of 1e100 can be multiplied twice
    sizes = abs(moves).max(axis=(1, 2))
    units = np.where(sizes > 0, sizes, 1.0)[:, None, None]
    moves /= units
    exact = image is not None
    images = image / units if image is not None else problem.products(point, moves)
    if options.learning_rate is None:
        lengths, alone = _best_lengths(moves, images + shift * moves, point.gradient)
        trust = alone / sizes[0] if sizes[0] > 0 else 1.0
    else:
        lengths, trust = options.learning_rate * sizes, 1.0
    move = (lengths @ moves.reshape(len(moves), -1)).reshape(direction.shape)
    image = (lengths @ images.reshape(len(moves), -1)).reshape(direction.shape)
    modelled = _modelled(point, move, image, problem.prior_precision)
    return _shorten(modelled, point, image, problem.prior_precision, options.max_kl)._replace(
        trust=trust, how=how, exact=exact
    )


def _best_lengths(moves: Array, images: Array, gradient: Array) -> tuple[Array, float]:
    """Minimise the damped quadratic model with the exact Fisher over the span of the moves, and over the first alone.

    Re-scaling and momentum of Martens and Grosse (2015), sections 6.4 and 7.
    """
    if len(moves) == 1:
        bend, fall = float(np.vdot(moves, images)), -float(np.vdot(moves, gradient))
        alone = fall / bend if bend > 0.0 and np.isfinite(fall) else 0.0
        return np.array([alone]), alone
    flat = moves.reshape(len(moves), -1)
    curvature = flat @ images.reshape(len(moves), -1).T
    slope = -flat @ gradient.ravel()
    if not (np.isfinite(curvature).all() and np.isfinite(slope).all()):
        return np.zeros(len(moves)), 0.0
    size = np.sqrt(np.maximum(curvature.diagonal(), 0.0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    alone = float(slope[0] * scale[0] ** 2)
    slope = scale * slope
    cosine = float(scale[0] * curvature[0, 1] * scale[1])
    if 1.0 - cosine**2 < PARALLEL or not scale.all():
        return np.array([alone, 0.0]), alone
    lengths = (slope - cosine * slope[::-1]) / (1.0 - cosine**2)
    return scale * lengths, alone


def _modelled(point: Measured, move: Array, image: Array, prior: Array) -> Move:
    slope = -float(np.vdot(point.gradient, move))
    bend = float(np.vdot(move, image))
    curvature = bend + float((prior * move**2).sum())
    promise = 0.5 * slope * (slope / curvature) if curvature > 0 else 0.0
    return Move(move, image, slope - 0.5 * curvature, 0.5 * max(bend, 0.0), promise)


def _bite(move: Move, scale: Array, prior: Array) -> float:
    """Return the damping that would double the curvature along a move."""
    damped = float((scale * move.move**2).sum())
    curvature = float(np.vdot(move.move, move.image)) + float((prior * move.move**2).sum())
    return curvature / damped if damped > 0.0 and np.isfinite(curvature) else WAKE


def _nowhere(point: Measured) -> Move:
    return Move(np.zeros_like(point.theta), np.zeros_like(point.theta), 0.0, 0.0, 0.0)


def _shorten(proposal: Move, point: Measured, image: Array, prior: Array, max_kl: float | None) -> Move:
    """Bring the step's KL divergence under `max_kl` nats per unit of weight."""
    if max_kl is None or proposal.kl <= max_kl * point.weight:
        return proposal
    factor = np.sqrt(max_kl * point.weight / proposal.kl)
    return _modelled(point, factor * proposal.move, factor * image, prior)


def _certify(
    state: State, problem: DescentProblem, options: DescentOptions, proposal: Move
) -> tuple[State, Move | None]:
    """Return the step to the optimum if what is left to gain is within `tol`, else None.

    What the model promises along one direction is never more than what it promises over all, which is the natural
    decrement ½ gᵀ(F+Λ)⁻¹g. So the dear question is asked only when the cheap promise has become small enough.
    """
    point = state.point
    promise = _share(proposal.promise, point)
    if promise > state.certify_below or not _settled(promise, state.promise, problem, options):
        return state, None
    move, image, decrement, again = problem.certificate(point, Direction(proposal.move, proposal.image))
    state = state._replace(decrement=decrement / point.weight)
    if not _within(state, options.tol):
        ratio = options.tol * point.loss / decrement
        return state._replace(certify_below=promise * np.clip(ratio, *LATER)), None
    last = _modelled(point, move, image, problem.prior_precision)._replace(again=again)
    too_long = options.max_kl is not None and last.kl > options.max_kl * point.weight
    return state._replace(to_optimum=move), None if too_long else last


def _share(nats: float, point: Measured) -> float:
    return nats / point.loss if point.loss > 0 else 0.0


def _settled(promise: float, before: float, problem: DescentProblem, options: DescentOptions) -> bool:
    """Say whether a last step would leave rounding, or what is left is small enough for it not to matter.

    Newton's method squares the gap, times a factor that the last step has shown; and to step again with the same metric
    does it once more.
    """
    square = max(promise, (promise / before) ** 2 if before > 0 else np.inf)
    left = promise * square * (square if problem.direct else 1.0)
    return left <= problem.accuracy or promise <= SMALL * options.tol


def _within(state: State, share: float) -> bool:
    """Say whether what was certified is at most this share of the loss."""
    return state.decrement <= max(share * state.point.loss, 0.0) / state.point.weight


def _unless_separated(step: Step, trial: Measured, options: DescentOptions) -> Step:
    """Say that there is no optimum where the classes are separated and nothing penalises that."""
    if options.penalised or not is_separated(trial):
        return step
    # No optimum, so none was reached. Further on, rows differ in information by more than float64 can tell.
    near = step.outcome is Outcome.converged or trial.loss <= np.sqrt(SMALL * options.tol) * trial.weight
    return step._replace(outcome=Outcome.separable if near else Outcome.running)


def _accept(  # noqa: PLR0913, PLR0917 - everything that a turn has found out
    state: State, step: Step, trial: Measured, taken: Move, options: DescentOptions, bite: float
) -> tuple[State, Step]:
    step = _unless_separated(step, trial, options)
    damping = follow(state.damping, step.gain, taken.trust, state.faded, bite) if options.adaptive else state.damping
    promise = _share(taken.promise, state.point)
    stretch = _stretch(state, trial, taken) if taken.exact and options.adaptive else 1.0
    return (
        state._replace(
            point=trial, damping=damping, momentum=taken.move, rejections=0, promise=promise, stretch=stretch
        ),
        step,
    )


def _stretch(state: State, trial: Measured, taken: Move) -> float:
    """Return how many times as long the step should have been, by the slope at its ends: 1 where that is nearly so.

    Far from the optimum all steps are too short by about the same factor, as probabilities saturate beyond what a
    quadratic model knows of. So the next one will be, too.
    """
    before, after = (float(np.vdot(point.gradient, taken.move)) for point in (state.point, trial))
    left = after / before if before != 0.0 else 0.0
    return min(max(state.stretch / (1.0 - left), 1.0), LONGEST) if SHORT < left < 1.0 else 1.0


def _stretched(proposal: Move, stretch: float) -> Move:
    """Return a step so many times as long; what the model promised is left, to be judged by."""
    move, image = stretch * proposal.move, stretch * proposal.image
    return proposal._replace(move=move, image=image, kl=stretch**2 * proposal.kl)


def _reject(state: State, step: Step, options: DescentOptions, bite: float) -> tuple[State, Step]:
    if not options.adaptive:
        return state, step._replace(outcome=Outcome.diverged)
    if state.rejections == MAX_REJECTIONS:
        return state, step._replace(outcome=Outcome.stalled)
    damping = tighten(state.damping, bite)
    faded = state.faded if state.damping > 0 else FADED_AFTER_FAILURE
    return state._replace(
        damping=damping, momentum=None, rejections=state.rejections + 1, faded=faded, stretch=1.0
    ), step


def _ending(point: Measured, problem: DescentProblem, options: DescentOptions, step: Step, *, rose: bool) -> Step:
    """Say what a descent that can or may not go on has come to: perhaps the optimum, unnoticed so far."""
    if not options.penalised and is_separated(point):
        return step._replace(outcome=Outcome.separable)
    if rose:
        return step._replace(outcome=Outcome.diverged)
    decrement = problem.certificate(point).decrement
    if decrement <= options.tol * point.loss:
        outcome = Outcome.converged
    else:
        outcome = Outcome.exhausted if step.outcome is Outcome.running else step.outcome
    return step._replace(outcome=outcome, decrement=decrement / point.weight)
