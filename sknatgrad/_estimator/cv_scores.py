"""The scores of the fits of a cross-validation on their test rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from sklearn.base import clone
from sklearn.metrics import get_scorer

from sknatgrad._estimator.path_end import log_evidences
from sknatgrad._model.many_models import ScoreKernel
from sknatgrad._rows.matrices import pick_rows
from sknatgrad._sklearn import name_of_scorer, scorer_of_classes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array, Codes, Labels, Mask
    from sknatgrad._estimator.cv_task import CrossValidation, FoldFits
    from sknatgrad._model.many_models import ScoreSums
    from sknatgrad._rows.memory import MemorySource

DEFAULT_SCORING = "neg_log_loss"
# the score of all rows that needs no test rows
EVIDENCE = "evidence"
# Probabilities are taken to lie between ε and 1 - ε of float64, as `sklearn.metrics.log_loss` takes them.
EPSILON = float(np.finfo(np.float64).eps)
LOSS_BOUNDS = -float(np.log1p(-EPSILON)), -float(np.log(EPSILON))
# Difference of two scores, relative to them, up to which they are equal: blocks of other sizes round otherwise.
TIE = 1e-12
# scores that follow from sums over rows, without calls for each model
FROM_SUMS: dict[str, Callable[[ScoreSums], Array]] = {
    "neg_log_loss": lambda sums: -_mean(sums.loss, sums.weight),
    "accuracy": lambda sums: _mean(sums.correct, sums.weight),
}


def known_scoring(scoring: Any) -> Any:
    """Return the name of a score that follows from sums over rows, or that is the default; any other as it is."""
    return DEFAULT_SCORING if scoring is None else name_of_scorer(scoring, FROM_SUMS) or scoring


class FoldScores(NamedTuple):
    """How models are scored on the test rows of each split."""

    task: CrossValidation
    labels: Labels  # (n,)
    params: dict[str, Any]  # of the scorer

    def of(self, fits: FoldFits, scoring: Any) -> Scores:
        """Return the scores of each model on its test rows."""
        n_splits = len(self.task.splits)
        if scoring == EVIDENCE:
            return Scores(log_evidences(self.task, fits))
        if isinstance(scoring, str) and scoring in FROM_SUMS and set(self.params) <= {"sample_weight"}:
            return Scores(np.array([FROM_SUMS[scoring](self._sums(fits, split)) for split in range(n_splits)]))
        scorer = scorer_of_classes(get_scorer(scoring), self.task.data.layout.classes)
        return Scores(np.array([self._scores(fits, split, scorer) for split in range(n_splits)]))

    def _sums(self, fits: FoldFits, split: int) -> ScoreSums:
        """Return the sums over the test rows of a split, of the models of all values of C."""
        test = np.sort(self.task.splits[split].test)
        weight = self.task.rows.weight[test] if "sample_weight" in self.params else np.ones(test.size)
        theta = fits.theta[split].transpose(1, 0, 2)
        source = cast("MemorySource", self.task.data.all_columns).picked(test)
        source = replace(source, weight=weight, n_logits=theta.shape[0] * theta.shape[1])
        sums: ScoreSums = source.total(ScoreKernel(theta, LOSS_BOUNDS))
        return sums

    def _scores(self, fits: FoldFits, split: int, scorer: Any) -> list[float]:
        """Return the scores of the models of a split by a scorer of scikit-learn."""
        task, test = self.task, self.task.splits[split].test
        X, y = pick_rows(task.rows.X, test), self.labels[test]
        params = {name: _of_rows(value, test, self.labels.size) for name, value in self.params.items()}
        model, layout, scores = clone(task.model), task.data.layout._replace(groups=None), []
        model.n_features_in_ = layout.n_features
        for place, C in enumerate(task.Cs):
            model.C = float(C)
            vars(model).update(layout.attributes(fits.theta[split, place], np.float64))
            vars(model).update(n_iter_=fits.n_iter[split, place : place + 1], converged_=True)
            scores.append(_number(scorer(model, X, y, **params)))
        return scores


def _mean(total: Array, weight: float) -> Array:
    """Return a mean over test rows; NaN if none of them has weight."""
    return total / weight if weight > 0.0 else np.full_like(total, np.nan)


def _number(score: Any) -> float:
    """Return a score as a number; refuse anything else."""
    try:
        return float(score)
    except (TypeError, ValueError):
        message = f"scoring returned {score!r:.60}, which is not a number; it must return one number for each model."
        raise ValueError(message) from None


def _of_rows(value: Any, rows: Codes, n_rows: int) -> Any:
    """Return the values of some rows of a parameter that has one for each row; any other parameter as it is."""
    if np.ndim(value) == 0 or len(value) != n_rows:
        return value
    return np.asarray(value)[rows]


def _first_highest(scores: Array) -> Any:
    """Return the index of the first score, along the last axis, that is the highest but for rounding."""
    known = np.where(np.isnan(scores), -np.inf, scores)
    highest = known.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        # infinite scores have no difference
        tied = (known == highest) | (known >= highest - TIE * abs(highest))
    return tied.argmax(axis=-1)


class Scores(NamedTuple):
    """The scores of each split and value of C; NaN where a score is undefined."""

    of_splits: Array  # (T, C)
    error: Array | None = None  # (C,), standard error of the mean; None is that over the splits

    @property
    def has_score(self) -> Mask:
        """Which splits have a score, ``(T,)``; refuse scores that are all NaN.

        A split whose test rows have no weight, or lack a class that the score needs, counts as if it did not exist.
        """
        has_score: Mask = np.asarray(~np.isnan(self.of_splits).all(axis=1))
        if not has_score.any():
            message = (
                "every value of C has a score that is NaN: scoring is not defined for the test rows of any split, or "
                "the evidence has no penalty; pass another scoring, other splits, or other values of C."
            )
            raise ValueError(message)
        return has_score

    @property
    def means(self) -> Array:
        """The mean of the splits that have a score, ``(C,)``; NaN where one of these is undefined."""
        means: Array = self.of_splits[self.has_score].mean(axis=0)
        return means

    @property
    def best(self) -> int:
        """The index of the C of the highest mean score; of several, the first. NaN is the lowest."""
        return int(_first_highest(self.means))

    @property
    def best_of_each(self) -> Codes:
        """The index of the C of the highest score of each split that has one."""
        best: Codes = _first_highest(self.of_splits[self.has_score])
        return best

    @property
    def standard_error(self) -> Array:
        """The standard error of the mean, ``(C,)``; 0 of a single split, unless it is given."""
        if self.error is not None:
            return self.error
        of_splits = self.of_splits[self.has_score]
        n_splits = len(of_splits)
        with np.errstate(invalid="ignore"):
            # infinite scores have no standard error
            error: Array = of_splits.std(axis=0, ddof=int(n_splits > 1)) / np.sqrt(n_splits)
        return error

    def one_standard_error(self, Cs: Array) -> int:
        """Return the index of the smallest C whose mean score is within one standard error of the highest one."""
        means, best = self.means, self.best
        within = np.flatnonzero(means >= means[best] - np.nan_to_num(self.standard_error[best]))
        return int(within[Cs[within].argmin()])
