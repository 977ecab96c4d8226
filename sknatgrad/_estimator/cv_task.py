"""What a cross-validation fits, and the coefficients as they become known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._estimator.cv_splits import counts_of
from sknatgrad._inputs.rows import check_training_rows, refuse_infinite
from sknatgrad._inputs.training_data import memory_data
from sknatgrad._inputs.weights import check_row_weights, check_sample_weight, class_factors, totals_of_all, weighted
from sknatgrad._model.separation import MAX_WEAK_PRECISION
from sknatgrad._rows.matrices import pick_rows
from sknatgrad._rows.source import LabelledRows
from sknatgrad._rows.training_sets import CountedSets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Labels, Mask, Matrix
    from sknatgrad._estimator.cv_splits import Split
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._rows.threads import Workers
    from sknatgrad._rows.training_sets import TrainingSets


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


class FoldTask(Protocol):
    """What is fitted: training sets, wherever their rows are, and the values of C."""

    @property
    def model(self) -> Any:
        """A plain estimator, whose C is set for each fit."""
        ...

    @property
    def Cs(self) -> Array:  # noqa: N802 - the name of the parameter
        """The values of C, ``(C,)``."""
        ...

    @property
    def data(self) -> TrainingData:
        """All rows."""
        ...

    @property
    def totals(self) -> Array:
        """The sum of the weights of each class in each training set, ``(T, K)``."""
        ...

    @property
    def factors(self) -> Array:
        """The weight of each class in each training set, ``(T, K)``."""
        ...

    def sets(self, chosen: Codes, factors: Array) -> TrainingSets:
        """Return some of the training sets, with factors of the weights of classes relative to those of all rows."""
        ...

    def training_data(self, split: int) -> TrainingData:
        """Return the training data of a split."""
        ...

    def with_Cs(self, Cs: Array) -> FoldTask:  # noqa: N802 - the name of the parameter
        """Return the fits of other values of C."""
        ...


def ascending(task: FoldTask) -> Codes:
    """Return indices of the values of C, the largest penalty first, whose optimum is nearest to zero."""
    return np.argsort(task.Cs, kind="stable")


def relative_factors(task: FoldTask, chosen: Codes) -> Array:
    """Return the weight of each class in some training sets, relative to that in all rows, ``(T, K)``."""
    of_all = class_factors(task.model.class_weight, task.data.layout.classes, task.data.totals)
    return np.divide(task.factors[chosen], of_all, out=np.zeros((chosen.size, of_all.size)), where=of_all > 0)


def factors_of_sets(model: Any, classes: Labels, totals: Array) -> Array:
    """Return the weight of each class in training sets with these sums of weights, ``(T, K)``."""
    return np.array([class_factors(model.class_weight, classes, of_set) for of_set in totals])


@record
class CrossValidation:
    """What is fitted: rows, their splits and the values of C."""

    model: Any  # a plain estimator, whose C is set for each fit
    rows: LabelledRows  # of all columns, with the weights that the user gave
    splits: Sequence[Split]
    counts: Codes  # (T, n), how often each row is in the training rows of each split
    Cs: Array  # (C,)
    data: TrainingData  # of all rows
    workers: Workers

    def with_Cs(self, Cs: Array) -> CrossValidation:  # noqa: N802 - the name of the parameter
        """Return the fits of other values of C."""
        return replace(self, Cs=Cs)

    @cached_property
    def totals(self) -> Array:
        """The sum of the weights of each class in each training set, ``(T, K)``."""
        rows, n_classes = self.rows, len(self.data.layout.classes)
        return np.array([totals_of_all(rows.codes, rows.weight * count, n_classes) for count in self.counts])

    @cached_property
    def factors(self) -> Array:
        """The weight of each class in each training set, ``(T, K)``."""
        return factors_of_sets(self.model, self.data.layout.classes, self.totals)

    def sets(self, chosen: Codes, factors: Array) -> TrainingSets:
        """Return some of the training sets, with factors of the weights of classes relative to those of all rows."""
        return CountedSets(self.counts[chosen], factors)

    def training_data(self, split: int) -> TrainingData:
        """Return the training data of a split."""
        rows, count = self.rows, self.counts[split]
        if self.data.source.out_of_core:
            # a copy of the rows might not fit into memory
            picked = rows._replace(weight=rows.weight * count)
        else:
            train = np.flatnonzero(count)
            picked = LabelledRows(pick_rows(rows.X, train), rows.codes[train], rows.weight[train] * count[train])
        picked = picked._replace(weight=weighted(picked.weight, self.factors[split], picked.codes))
        return memory_data(self.model, picked, self.data.layout.classes, self.totals[split], self.workers)


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
    def none_yet(cls, task: FoldTask) -> FoldFits:
        """Return the state before the first fit."""
        layout = task.data.layout._replace(groups=None)
        shape = len(task.totals), task.Cs.size
        theta, known = np.zeros((*shape, *layout.shape)), np.zeros(shape, dtype=bool)
        start, has_start = np.zeros((task.Cs.size, *layout.shape)), np.zeros(task.Cs.size, dtype=bool)
        return cls(theta, np.zeros(shape, dtype=np.int32), known, start, has_start)
