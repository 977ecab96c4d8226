"""The fits and scores of values of C, and the search for the maximum of the mean score over log C."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from sknatgrad._estimator.cv_fits import fit_folds
from sknatgrad._estimator.cv_loo import LeaveOneOut
from sknatgrad._estimator.cv_scores import FoldScores, Scores
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DiagonalInformation
from sknatgrad._model.prior import Prior
from sknatgrad._model.separation import MAX_WEAK_PRECISION
from sknatgrad._solver.penalised_loss import PenalisedLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._estimator.cv_task import CrossValidation, FoldFits, FoldTask
    from sknatgrad._typing import Array, Labels

# the value of `Cs` with which C is searched for
AUTO = "auto"
# The values of C that are tried first are decades, as a score may have several maxima: from 1e-4 to 1e4, extended to
# where the penalty is ten times the information of any column, so that coefficients are near zero, and cut to where it
# is 1e-7 of that of any. Beyond that larger values are tried while the score rises.
DECADES, MUCH_PENALTY, LITTLE_PENALTY = (-4, 4), 10.0, 1e-7
# End of the search. With a larger C there is hardly a penalty.
MAX_C = 0.99 / MAX_WEAK_PRECISION
# Distance of ln C from the maximum up to which the search goes on: 1 % of C.
TOLERANCE = 0.01
# Rise of the mean score up to the largest C, relative to it, from which a larger one is tried.
MIN_RISE = 1e-6


class Evaluated(NamedTuple):
    """The fits and scores of some values of C."""

    Cs: Array  # (C,)
    fits: FoldFits
    scores: Scores

    @classmethod
    def joined(cls, parts: Sequence[Evaluated]) -> Evaluated:
        """Return those of all parts, in the order of C."""
        Cs = np.concatenate([part.Cs for part in parts])
        order = np.argsort(Cs, kind="stable")
        fits = parts[0].fits.joined([part.fits for part in parts[1:]]).ordered(order)
        of_splits = np.concatenate([part.scores.of_splits for part in parts], axis=1)[:, order]
        given = [part.scores.error for part in parts if part.scores.error is not None]
        return cls(Cs[order], fits, Scores(of_splits, np.concatenate(given)[order] if given else None))


def first_decades(task: FoldTask) -> Array:
    """Return the values of C that are tried first."""
    layout = task.data.layout._replace(groups=None)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = PenalisedLoss(task.data.all_columns, Prior(np.zeros(layout.n_columns)))
        point = loss.measure(np.zeros(layout.shape), DiagonalInformation, TrueExpectation(), keep_scores=False)
        of_columns = point.information.diagonal()[:, : layout.n_features]
    smallest, largest = DECADES
    informative = of_columns[of_columns > 0.0]
    if informative.size and np.isfinite(informative).all():
        smallest = min(smallest, math.floor(-math.log10(MUCH_PENALTY * informative.max())))
        largest = min(largest, math.ceil(-math.log10(LITTLE_PENALTY * informative.min())))
    return np.asarray(10.0 ** np.arange(smallest, max(largest, smallest + 1) + 1))


class Evaluate(Protocol):
    """How values of C are fitted and scored."""

    @property
    def task(self) -> FoldTask:
        """What is fitted."""
        ...

    def __call__(self, Cs: Array, near: FoldFits | None = None) -> Evaluated:
        """Return the fits and scores of values of C; `near` are the fits to a value near them."""
        ...


class Evaluation(NamedTuple):
    """How values of C are fitted and scored, of rows in memory or in a memory map."""

    task: CrossValidation
    labels: Labels  # (n,)
    scoring: Any
    params: dict[str, Any]  # of the scorer
    leave_one_out: bool  # whether rows are scored by fits without them

    def __call__(self, Cs: Array, near: FoldFits | None = None) -> Evaluated:
        """Return the fits and scores of values of C; `near` are the fits to a value near them."""
        task = self.task.with_Cs(Cs)
        fits = fit_folds(task, near)
        if not self.leave_one_out:
            return Evaluated(Cs, fits, FoldScores(task, self.labels, self.params).of(fits, self.scoring))
        weight = task.rows.weight if "sample_weight" in self.params else np.ones(self.labels.size)
        return Evaluated(Cs, fits, LeaveOneOut(task, self.scoring, weight).of(fits))


def search(evaluate: Evaluate, *, auto: bool, one_standard_error: bool) -> Evaluated:
    """Return the fits and scores of the given values of C, or of those that a search tries."""
    if auto:
        return Search(evaluate).run(one_standard_error=one_standard_error)
    return evaluate(evaluate.task.Cs)


@dataclass
class Search:
    """Searches for the best C, and remembers what it has tried."""

    evaluate: Evaluate
    tried: list[Evaluated] = field(default_factory=list)

    def run(self, *, one_standard_error: bool) -> Evaluated:
        """Return all that was tried: the best C, and if it is asked for the smallest within one standard error."""
        self._try(first_decades(self.evaluate.task))
        self._extend()
        self._refine()
        if one_standard_error:
            self._find_one_standard_error()
        return Evaluated.joined(self.tried)

    def _try(self, Cs: Array) -> Evaluated:
        known = Evaluated.joined(self.tried) if self.tried else None
        near = None
        if known is not None:
            place = abs(np.log(known.Cs / Cs[0])).argmin()
            near = known.fits.ordered(np.array([place]))
        self.tried.append(self.evaluate(Cs, near))
        return self.tried[-1]

    def _extend(self) -> None:
        """Try values above the last one as long as the score rises there."""
        while True:
            known = Evaluated.joined(self.tried)
            last, means = known.Cs[-1], known.scores.means
            rises = means[-1] - means[-2] > MIN_RISE * abs(means[-1])
            if last == MAX_C or not rises or known.scores.best < known.Cs.size - 1:
                return
            self._try(np.array([min(10.0 * last, MAX_C)]))

    def _score(self, log_C: float) -> float:
        """Return the mean score at a value of ln C."""
        return float(self._try(np.exp([log_C])).scores.means[0])

    def _refine(self) -> None:
        """Search between the neighbours of the best value (Brent 1973, chapter 5)."""
        known = Evaluated.joined(self.tried)
        best = known.scores.best
        ends = np.log(known.Cs[[max(best - 1, 0), min(best + 1, known.Cs.size - 1)]])
        minimize_scalar(
            lambda log_C: -np.nan_to_num(self._score(log_C), nan=-np.inf),
            bounds=tuple(ends),
            method="bounded",
            options={"xatol": 0.5 * TOLERANCE},
        )

    def _find_one_standard_error(self) -> None:
        """Search for the C at which the mean score is one standard error below the best (Brent 1973, chapter 4)."""
        known = Evaluated.joined(self.tried)
        scores, place = known.scores, known.scores.one_standard_error(known.Cs)
        bound = scores.means[scores.best] - scores.standard_error[scores.best]
        if place == 0 or not np.isfinite([bound, *scores.means[place - 1 : place + 1]]).all():
            return
        if scores.means[place] > bound:
            log_ends = np.log(known.Cs[place - 1 : place + 1])
            brentq(lambda log_C: self._score(log_C) - bound, *log_ends, xtol=TOLERANCE)
