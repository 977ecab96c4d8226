"""The fits and scores of values of C, and the search for the maximum of the mean score over log C."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from sknatgrad._estimator.cv_fits import fit_folds
from sknatgrad._estimator.cv_loo import LeaveOneOut
from sknatgrad._estimator.cv_scores import FoldScores, Scores
from sknatgrad._estimator.cv_splits import check_Cs
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation, DiagonalInformation
from sknatgrad._model.information.symmetric import noise_floor
from sknatgrad._model.prior import Prior
from sknatgrad._model.separation import MAX_WEAK_PRECISION
from sknatgrad._solver.penalised_loss import PenalisedLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array, Labels
    from sknatgrad._estimator.cv_task import CrossValidation, FoldFits, FoldTask

# the value of `Cs` with which C is searched for
AUTO = "auto"
# The values of C that are tried first are decades, as a score may have several maxima. They are from 1e-4 to 1e4,
# extended to where the penalty is a hundred times the information along any direction, so that coefficients are near
# zero, and cut to where it is 1e-7 of that along any.
DECADES, MUCH_PENALTY, LITTLE_PENALTY = (-4, 4), 100.0, 1e-7
# Parameters up to which F is a matrix whose eigenvalues are computed: 0.1 s.
MAX_EIGENVALUES = 500
# End of the search. With a larger C there is hardly a penalty.
MAX_C = 0.99 / MAX_WEAK_PRECISION
# Distance of ln C from the maximum up to which the search goes on: 1 % of C.
TOLERANCE = 0.01
# Rise of the mean score up to the last C, relative to it, from which another one is tried beyond it; and how often at
# most towards zero, where coefficients are near zero already.
MIN_RISE, MAX_EXTENSIONS = 1e-6, 4
# maxima of the values tried first between whose neighbours is searched, of those within one standard error of the best
MAX_MAXIMA = 2
# Difference of ln C up to which two values are one: that of rounding.
SAME = 1e-9


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


def checked_or_largest(Cs: Any) -> Array:
    """Return given values of C, checked; of a search, the largest that it may try."""
    return np.array([MAX_C]) if isinstance(Cs, str) else check_Cs(Cs)


def first_decades(task: FoldTask) -> Array:
    """Return the values of C that are tried first."""
    smallest, largest = DECADES
    of_directions = _information_along_directions(task)
    if of_directions.size and np.isfinite(of_directions).all():
        # no logarithm of a product, which may underflow
        smallest = min(smallest, math.floor(-math.log10(MUCH_PENALTY) - math.log10(of_directions.max())))
        largest = min(largest, math.ceil(-math.log10(LITTLE_PENALTY) - math.log10(of_directions.min())))
    return np.asarray(10.0 ** np.arange(smallest, max(largest, smallest + 1) + 1))


def _information_along_directions(task: FoldTask) -> Array:
    """Return the positive eigenvalues of F at zero without the intercept; of many parameters, its diagonal."""
    layout = task.data.layout._replace(groups=None)
    small = layout.n_logits * layout.n_features <= MAX_EIGENVALUES
    loss = PenalisedLoss(task.data.all_columns, Prior(np.zeros(layout.n_columns)))
    structure = DenseInformation if small else DiagonalInformation
    with np.errstate(over="ignore", invalid="ignore"):
        point = loss.measure(np.zeros(layout.shape), structure, TrueExpectation(), keep_scores=False)
    information = point.information
    found: Array = information.diagonal()[:, : layout.n_features]
    if isinstance(information, DenseInformation) and np.isfinite(found).all():
        found = np.asarray(np.linalg.eigvalsh(information.blocks[0, : layout.n_features, 0, : layout.n_features]))
        # those of collinear columns are rounding
        found = found[found > noise_floor(found.size) * found.max(initial=0.0)]
    positive: Array = found[found > 0.0]
    return positive


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
    known: Evaluated = field(init=False)  # all that was tried, in the order of C

    def run(self, *, one_standard_error: bool) -> Evaluated:
        """Return all that was tried: the best C, and if it is asked for the smallest within one standard error."""
        self.known = self.evaluate(first_decades(self.evaluate.task))
        for factor in (10.0, 0.1):
            self._extend(factor)
        self._refine()
        if one_standard_error:
            self._find_one_standard_error()
        return self.known

    @property
    def _means(self) -> Array:
        """The mean scores of all that was tried; NaN is the lowest."""
        means: Array = self.known.scores.means
        return np.where(np.isnan(means), -np.inf, means)

    def _try(self, Cs: Array) -> None:
        near = self.known.fits.ordered(np.array([abs(np.log(self.known.Cs / Cs[0])).argmin()]))
        self.known = Evaluated.joined([self.known, self.evaluate(Cs, near)])

    def _score(self, log_C: float) -> float:
        """Return the mean score at a value of ln C; NaN is the lowest."""
        distances = abs(np.log(self.known.Cs) - log_C)
        if distances.min() > SAME:
            self._try(np.exp([log_C]))
            distances = abs(np.log(self.known.Cs) - log_C)
        return float(self._means[distances.argmin()])

    def _extend(self, factor: float) -> None:
        """Try values beyond the last one as long as the score rises there."""
        last, before = (-1, -2) if factor > 1.0 else (0, 1)
        for number in count():
            Cs, means = self.known.Cs, self._means
            rises = np.isfinite(means[last]) and _is_higher(means[last], means[before])
            is_end = Cs[last] == MAX_C if factor > 1.0 else number == MAX_EXTENSIONS
            if is_end or not rises or self.known.scores.best != last % Cs.size:
                return
            self._try(np.minimum([factor * Cs[last]], MAX_C))

    def _refine(self) -> None:
        """Search between the neighbours of each maximum that may be the best (Brent 1973, chapter 5)."""
        known, means = self.known, self._means
        least = means.max() - float(np.nan_to_num(known.scores.standard_error[known.scores.best]))
        maxima = [
            place
            for place in range(known.Cs.size)
            if np.isfinite(means[place])
            and means[place] == means[max(place - 1, 0) : place + 2].max() >= least
            and _is_higher(means[place], means[max(place - 1, 0) : place + 2].min())
        ]
        for place in sorted(maxima, key=lambda place: -means[place])[:MAX_MAXIMA]:
            minimize_scalar(
                lambda log_C: -self._score(log_C),
                bounds=tuple(np.log(known.Cs[[max(place - 1, 0), min(place + 1, known.Cs.size - 1)]])),
                method="bounded",
                options={"xatol": 0.5 * TOLERANCE},
            )

    def _find_one_standard_error(self) -> None:
        """Search for the C at which the mean score is one standard error below the best (Brent 1973, chapter 4)."""
        known = self.known
        scores, place = known.scores, known.scores.one_standard_error(known.Cs)
        bound = scores.means[scores.best] - scores.standard_error[scores.best]
        if place == 0 or not np.isfinite([bound, *scores.means[place - 1 : place + 1]]).all():
            return
        if scores.means[place] > bound:
            log_ends = np.log(known.Cs[place - 1 : place + 1])
            brentq(lambda log_C: self._score(log_C) - bound, *log_ends, xtol=TOLERANCE)


def _is_higher(mean: float, other: float) -> bool:
    """Say whether a finite mean score is higher than another one by more than rounding."""
    return bool(other < mean - MIN_RISE * abs(mean))
