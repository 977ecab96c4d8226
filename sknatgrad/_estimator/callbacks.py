"""The monitor of a fit: notifies callbacks of each iteration, and chooses where a fit ends that is stopped early."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from sklearn.exceptions import ConvergenceWarning

from sknatgrad._estimator.history import History
from sknatgrad._rows.floating_point import as_caller, ignoring_underflow
from sknatgrad._solver.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Matrix
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.problem import State
    from sknatgrad._solver.records import Measured, Step

    # the attributes of an estimator that is fitted to a state of the descent
    FittedAttributes: TypeAlias = Callable[[State], dict[str, object]]

# attribute of a callback context of scikit-learn that holds the iteration
ITERATION = "natural_gradient_iteration"
# outcomes without an optimum: the fit then ends at an earlier iterate if a callback has chosen one
WITHOUT_OPTIMUM = {Outcome.exhausted, Outcome.stalled, Outcome.diverged, Outcome.separable, Outcome.unbounded}


@dataclass
class Iteration:
    """One iteration, as the callbacks of this package see it; they may set `keep`."""

    number: int
    objective: Objective | None  # None once the iteration has ended, so that contexts do not keep the rows
    point: Measured | None  # where the step begins; None likewise
    step: Step | None = None  # None before it is taken
    seconds: float = 0.0  # since the fit began, at its end
    keep: bool = False  # whether a fit that is stopped later ends at this iterate


class Iterate(NamedTuple):
    """A point of the descent at which the fit may end."""

    state: State
    step: Step
    n_iter: int


class FitMonitor:
    """Follows a descent and notifies callbacks of each iteration; they may stop it.

    The protocol is that of scikit-learn 1.9, which prescribes `_init_callback_context` for estimators; earlier versions
    have no callbacks. The monitor is created before anything can fail, so that callbacks are torn down on failure.
    """

    def __init__(
        self,
        estimator: Configuration,
        X: Matrix = None,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self.started_at = perf_counter()
        self._estimator = estimator
        # a score needs no weights if all rows have the same
        same = sample_weight is None or isinstance(sample_weight, Real)
        metadata = None if same else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._root: Any = None  # the context of the fit; None without callbacks
        self._task: Any = None
        begin = getattr(estimator, "_init_callback_context", None)
        if begin is not None and getattr(estimator, "_skl_callbacks", None):
            with as_caller():
                self._root = begin(max_subtasks=estimator.max_iter)

    @property
    def _keeps(self) -> bool:
        """Whether a fit that is interrupted keeps its best iterate."""
        return self._estimator.on_interrupt == "keep"

    @contextmanager
    def unless_interrupted(self, notices: list[Warning]) -> Iterator[None]:
        """Run the passes after the descent; with ``on_interrupt='keep'`` Ctrl-C ends them and adds a warning."""
        try:
            yield
        except KeyboardInterrupt:
            if not self._keeps:
                raise
            message = (
                "Interrupted after the last step: the coefficients are complete, but covariance_, if it is stored, and "
                "the check for separation may be missing; fit again to obtain them."
            )
            notices.append(ConvergenceWarning(message))

    def begin(self, plan: Plan) -> History:
        """Notify callbacks that the fit begins; return its history, which prints the method if `verbose` is 2."""
        if self._root is not None:
            with as_caller():
                self._root.call_on_fit_task_begin(**self._arguments)
        return History(int(self._estimator.verbose), plan, self.started_at)

    def __enter__(self) -> Self:
        """Return the monitor."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Notify callbacks that the estimator is fitted, unless it failed."""
        if self._root is not None and kind is None:
            with as_caller():
                self._root.call_on_fit_task_end(**self._arguments, reconstruction_attributes={})

    def follow(
        self,
        iterates: Iterator[tuple[State, Step]],
        history: History,
        objective: Objective,
        fitted: FittedAttributes,
    ) -> tuple[State, Step]:
        """Return where the fit ends: at the last iterate, or at an earlier one after a callback or an interruption.

        `history` is truncated there.
        """
        keeps = self._keeps
        chosen: Iterate | None = None  # by a callback
        best: Iterate | None = None  # has the lowest loss
        try:
            for state, step in iterates:
                history.record(step)
                if not step.accepted:
                    continue
                iterate = Iterate(state, step, history.n_iter)
                if keeps and (best is None or step.loss <= best.step.loss):
                    best = _without_data(iterate)
                if self._root is None:
                    continue
                stop, keep = self._end_iteration(iterate, fitted)
                chosen = _without_data(iterate) if keep else chosen
                if step.outcome is Outcome.running:
                    if stop:
                        return _end_at(chosen or iterate, history, Outcome.stopped)
                    self._begin_iteration(iterate, objective, fitted)
        except KeyboardInterrupt:
            if best is None:
                raise
            return _end_at(chosen or best, history, Outcome.interrupted)
        self._end_iteration(Iterate(state, step, history.n_iter), fitted)
        if chosen is not None and chosen.n_iter < history.n_iter and step.outcome in WITHOUT_OPTIMUM:
            return _end_at(chosen, history, Outcome.stopped)
        return state, step

    def _begin_iteration(self, iterate: Iterate, objective: Objective, fitted: FittedAttributes) -> None:
        self._task = self._root.subcontext(task_name="iteration")
        setattr(self._task, ITERATION, Iteration(iterate.n_iter + 1, objective, iterate.state.point))
        attributes = ignoring_underflow(lambda: fitted(iterate.state))
        with as_caller():
            self._task.call_on_fit_task_begin(**self._arguments, reconstruction_attributes=attributes)

    def _end_iteration(self, iterate: Iterate, fitted: FittedAttributes) -> tuple[bool, bool]:
        """Notify callbacks that an iteration has ended, if one has begun; return whether to stop, and to keep it."""
        if self._task is None:
            return False, False
        task, self._task = self._task, None
        iteration = getattr(task, ITERATION)
        iteration.step, iteration.seconds = iterate.step, perf_counter() - self.started_at
        iteration.point = iteration.objective = None
        attributes = ignoring_underflow(lambda: fitted(iterate.state))
        with as_caller():
            stop = task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=attributes)
        return stop, iteration.keep


def _without_data(iterate: Iterate) -> Iterate:
    """Return an iterate without the measurements of its rows, to be kept while others follow."""
    return iterate._replace(state=iterate.state.without_rows())


def _end_at(iterate: Iterate, history: History, outcome: Outcome) -> tuple[State, Step]:
    """Return an iterate as the end of a fit, with this outcome unless it has one of its own."""
    history.truncate(iterate.n_iter)
    step = iterate.step
    return iterate.state, step._replace(outcome=outcome) if step.outcome is Outcome.running else step
