"""What a cross-validation fits, and the coefficients as they become known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._inputs.weights import class_factors, totals_of_all
from sknatgrad._model.separation import MAX_WEAK_PRECISION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._estimator.cv_splits import Split
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._rows.source import LabelledRows
    from sknatgrad._rows.threads import Workers
    from sknatgrad._typing import Array, Codes, Mask


def hardly_penalises(C: float) -> bool:
    """Say whether a C means hardly a penalty, or none.

    The last step of a descent is evidence of separation then. So there has to be a descent, from zero.
    """
    return bool(1.0 / C <= MAX_WEAK_PRECISION)


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

    def factors(self) -> Array:
        """Return the weight of each class in each training set, ``(T, K)``."""
        return np.array([self._factors(count) for count in self.counts])

    def totals(self, count: Codes) -> Array:
        """Return the sum of the weights of each class in a training set, ``(K,)``."""
        return totals_of_all(self.rows.codes, self.rows.weight * count, len(self.data.layout.classes))

    def _factors(self, count: Codes) -> Array:
        return class_factors(self.model.class_weight, self.data.layout.classes, self.totals(count))


@dataclass
class FoldFits:
    """The coefficients of each training set and value of C, as they become known."""

    theta: Array  # (T, C, q, d), of all columns, for rows less the centres of all rows
    n_iter: Codes  # (T, C)
    known: Mask  # (T, C), whether a fit has ended
    start: Array  # (C, q, d), near the optimum of all rows
    has_start: Mask  # (C,), whether that is known
    notices: list[Warning] = field(default_factory=list)

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
