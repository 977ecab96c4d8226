"""The course of a fit: whom it tells of its iterations, and what may end it before its time."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sklearn.exceptions import ConvergenceWarning

from sknatgrad._solver.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._estimator.history import History
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.problem import State
    from sknatgrad._solver.records import Measured, Step

# the attribute by which a context of scikit-learn's carries the iteration that it stands for
ITERATION = "natural_gradient_iteration"
# ends at which the last iterate is no optimum, so that one which a callback has kept is as good a place
GIVEN_UP = {Outcome.exhausted, Outcome.stalled, Outcome.diverged, Outcome.separable}


@dataclass
class Iteration:
    """What this package's own callbacks may ask, and say, of the iteration that a context stands for."""

    number: int
    objective: Objective | None  # None once the iteration has ended, so that contexts do not keep the rows
    point: Measured | None  # where the step begins; None likewise
    step: Step | None = None  # None until it was taken
    seconds: float = 0.0  # since the fit began, at its end
    keep: bool = False  # whether a fit that is stopped later is to end here


class Iterate(NamedTuple):
    """A turn of a descent that a fit may end with."""

    state: State
    step: Step
    n_iter: int


class FitMonitor:
    """Follows a descent; callbacks are told of each iteration, and may stop it.

    scikit-learn 1.9 has the protocol: `_init_callback_context` is its public contract with estimators. Before that
    version there are no callbacks. To be made before an estimator can fail, so that they are torn down if it does.
    """

    def __init__(self, estimator: Any, X: Any = None, y: Any = None, sample_weight: Any = None) -> None:
        self.begun = perf_counter()
        self._estimator = estimator
        # one weight for all rows is none to a score
        none = sample_weight is None or isinstance(sample_weight, Real)
        metadata = None if none else {"sample_weight": sample_weight}
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        begin = getattr(estimator, "_init_callback_context", None)
        self._root: Any = None if begin is None else begin(max_subtasks=estimator.max_iter)
        self._task: Any = None

    @property
    def _listened_to(self) -> bool:
        return self._root is not None and bool(getattr(self._estimator, "_skl_callbacks", None))

    @property
    def _keeps(self) -> bool:
        return bool(self._estimator.on_interrupt == "keep")

    @contextmanager
    def unless_interrupted(self) -> Iterator[None]:
        """Do what comes after the descent; an interruption that is to keep the iterate leaves it out."""
        try:
            yield
        except KeyboardInterrupt:
            if not self._keeps:
                raise
            message = (
                "Interrupted after the last step: the coefficients are there, but what follows the steps may not be, "
                "covariance_ where it is stored and the look for separation; fit again for those."
            )
            # of the user's line: fit, its wrapper, this and the standard library's lie between
            warnings.warn(message, ConvergenceWarning, stacklevel=6)

    def begin(self) -> None:
        """Say that the fit begins."""
        if self._root is not None:
            self._root.call_on_fit_task_begin(**self._given)

    def end(self) -> None:
        """Say that the estimator is fitted."""
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._given, reconstruction_attributes={})

    def follow(
        self,
        turns: Iterator[tuple[State, Step]],
        history: History,
        objective: Objective,
        fitted: Callable[[State], dict[str, Any]],
    ) -> tuple[State, Step]:
        """Return the turn that the fit ends with: the last, or that before a callback or an interruption ended it.

        `fitted` gives the attributes of an estimator that is fitted to a state; `history` is cut where the fit ends.
        """
        asked = self._keeps
        chosen: Iterate | None = None
        least: Iterate | None = None
        try:
            for state, step in turns:
                history.note(step)
                if not step.accepted:
                    continue
                turn = Iterate(state, step, history.n_iter)
                if asked and (least is None or step.loss <= least.step.loss):
                    least = _bare(turn)
                if not self._listened_to:
                    continue
                stop, keep = self._ended(turn, fitted)
                chosen = _bare(turn) if keep else chosen
                if step.outcome is Outcome.running:
                    if stop:
                        return _ending(chosen or turn, history, Outcome.stopped)
                    self._started(turn, objective, fitted)
        except KeyboardInterrupt:
            if least is None:
                raise
            return _ending(chosen or least, history, Outcome.interrupted)
        self._ended(Iterate(state, step, history.n_iter), fitted)
        if chosen is not None and chosen.n_iter < history.n_iter and step.outcome in GIVEN_UP:
            return _ending(chosen, history, Outcome.stopped)
        return state, step

    def _started(self, turn: Iterate, objective: Objective, fitted: Callable[[State], dict[str, Any]]) -> None:
        self._task = self._root.subcontext(task_name="iteration")
        setattr(self._task, ITERATION, Iteration(turn.n_iter + 1, objective, turn.state.point))
        self._task.call_on_fit_task_begin(**self._given, reconstruction_attributes=lambda: fitted(turn.state))

    def _ended(self, turn: Iterate, fitted: Callable[[State], dict[str, Any]]) -> tuple[bool, bool]:
        """Say that an iteration has ended, if one had started; return whether to stop, and whether to keep it."""
        if self._task is None:
            return False, False
        task, self._task = self._task, None
        iteration = getattr(task, ITERATION)
        iteration.step, iteration.seconds = turn.step, perf_counter() - self.begun
        iteration.point = iteration.objective = None
        stop = task.call_on_fit_task_end(**self._given, reconstruction_attributes=lambda: fitted(turn.state))
        return stop, iteration.keep


def _bare(turn: Iterate) -> Iterate:
    """Return a turn without what was measured of its rows, to be kept while others follow."""
    return turn._replace(state=turn.state.without_rows())


def _ending(turn: Iterate, history: History, outcome: Outcome) -> tuple[State, Step]:
    """Return a turn that a fit ends with for another reason than its own, if it has none."""
    history.cut(turn.n_iter)
    step = turn.step
    return turn.state, step._replace(outcome=outcome) if step.outcome is Outcome.running else step
