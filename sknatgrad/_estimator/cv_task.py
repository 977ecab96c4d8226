"""What a cross-validation fits, and the coefficients as they become known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._estimator.cv_splits import counts_of
from sknatgrad._inputs.rows import check_training_rows, refuse_infinite
from sknatgrad._inputs.training_data import memory_data
from sknatgrad._inputs.weights import check_row_weights, check_sample_weight, class_factors, totals_of_all
from sknatgrad._model.separation import MAX_WEAK_PRECISION
from sknatgrad._rows.source import LabelledRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from sknatgrad._estimator.cv_splits import Split
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._rows.threads import Workers
    from sknatgrad._typing import Array, Codes, Labels, Mask, Matrix


def hardly_penalises(C: float) -> bool:
    """Say whether a C means hardly a penalty, or none.

    The last step of a descent is evidence of separation then. So there has to be a descent, from zero.
    """
    return bool(1.0 / C <= MAX_WEAK_PRECISION)


class CheckedRows(NamedTuple):
    """The rows that are split, checked before any fit."""

    rows: LabelledRows  # with the weights that the user gave
    weight: Array  # (n,), these times the class weights of all rows
    classes: Labels
    totals: Array  # (K,), sums of the sample weights alone

    @classmethod
    def of(cls, estimator: Any, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None) -> CheckedRows:
        """Check arrays; sets the feature attributes of the estimator."""
        checked, classes, codes = check_training_rows(estimator, X, y)
        # errors of fits to some of the rows would count these
        refuse_infinite(estimator, checked)
        given = check_sample_weight(sample_weight, codes.size)
        weight, totals = check_row_weights(given, estimator.class_weight, classes, codes)
        return cls(LabelledRows(checked, codes, given), weight, classes, totals)

    def split(self, model: Any, splits: Sequence[Split], Cs: Array, workers: Workers) -> CrossValidation:
        """Return the fits of a model to the training rows of each split with each C; the model has the largest C."""
        data = memory_data(model, self.rows._replace(weight=self.weight), self.classes, self.totals, workers)
        return CrossValidation(model, self.rows, splits, counts_of(splits, self.weight.size), Cs, data, workers)


@dataclass(frozen=True)
class CrossValidation:
    """What is fitted: rows, their splits and the values of C."""

    model: Any  # a plain estimator, whose C is set for each fit
    rows: LabelledRows  # of all columns, with the weights that the user gave
    splits: Sequence[Split]
    counts: Codes  # (T, n), how often each row is in the training rows of each split
    Cs: Array  # (C,)
    data: TrainingData  # of all rows
    workers: Workers

    @property
    def ascending(self) -> Codes:
        """Indices of the values of C, the largest penalty first, whose optimum is nearest to zero."""
        return np.argsort(self.Cs, kind="stable")

    @cached_property
    def totals(self) -> Array:
        """The sum of the weights of each class in each training set, ``(T, K)``."""
        rows, n_classes = self.rows, len(self.data.layout.classes)
        return np.array([totals_of_all(rows.codes, rows.weight * count, n_classes) for count in self.counts])

    @cached_property
    def factors(self) -> Array:
        """The weight of each class in each training set, ``(T, K)``."""
        class_weight, classes = self.model.class_weight, self.data.layout.classes
        return np.array([class_factors(class_weight, classes, totals) for totals in self.totals])


@dataclass
class FoldFits:
    """The coefficients of each training set and value of C, as they become known."""

    theta: Array  # (T, C, q, d), of all columns, for rows less the centres of all rows
    n_iter: Codes  # (T, C)
    known: Mask  # (T, C), whether a fit has ended
    start: Array  # (C, q, d), near the optimum of all rows
    has_start: Mask  # (C,), whether that is known
    notices: list[Warning] = field(default_factory=list)

    def joined(self, others: Sequence[FoldFits]) -> FoldFits:
        """Return these fits and others of the same training sets, to further values of C."""
        parts = (self, *others)
        return FoldFits(
            np.concatenate([part.theta for part in parts], axis=1),
            np.concatenate([part.n_iter for part in parts], axis=1),
            np.concatenate([part.known for part in parts], axis=1),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.has_start for part in parts]),
            [notice for part in parts for notice in part.notices],
        )

    def ordered(self, places: Codes) -> FoldFits:
        """Return the fits to some of the values of C, in this order."""
        return FoldFits(
            self.theta[:, places],
            self.n_iter[:, places],
            self.known[:, places],
            self.start[places],
            self.has_start[places],
            self.notices,
        )

    def refit_start(self, place: int) -> Array:
        """Return coefficients near the optimum of all rows, ``(q, d)``."""
        start: Array = self.start[place] if self.has_start[place] else self.theta[:, place].mean(axis=0)
        return start

    @classmethod
    def none_yet(cls, task: CrossValidation) -> FoldFits:
        """Return the state before the first fit."""
        layout = task.data.layout._replace(groups=None)
        shape = len(task.splits), task.Cs.size
        theta, known = np.zeros((*shape, *layout.shape)), np.zeros(shape, dtype=bool)
        start, has_start = np.zeros((task.Cs.size, *layout.shape)), np.zeros(task.Cs.size, dtype=bool)
        return cls(theta, np.zeros(shape, dtype=np.int32), known, start, has_start)
