"""Cross-validation of rows that each pass reads again: batches, and the chunks of Dask collections."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._estimator.cv_fits import fit_folds
from sknatgrad._estimator.cv_folds import Folds
from sknatgrad._estimator.cv_scores import EVIDENCE, FROM_SUMS, LOSS_BOUNDS, Scores, known_scoring
from sknatgrad._estimator.cv_search import Evaluated, Evaluation, checked_or_largest
from sknatgrad._estimator.cv_splits import Split, refuse_splits
from sknatgrad._estimator.cv_task import CheckedRows, factors_of_sets, relative_factors
from sknatgrad._estimator.fit_batches import BatchReader, batch_data, first_pass
from sknatgrad._estimator.path_end import log_evidences
from sknatgrad._inputs.weights import check_class_weights, check_row_weights
from sknatgrad._model.many_models import FoldScoreKernel, ScoreKernel
from sknatgrad._rows.training_sets import GroupedSets, RowGroups, TrainingSetSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Labels
    from sknatgrad._estimator.cv_search import Evaluate
    from sknatgrad._estimator.cv_task import FoldFits
    from sknatgrad._estimator.fit_batches import FirstPass
    from sknatgrad._inputs.configuration import Batches
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._model.many_models import ScoreSums
    from sknatgrad._rows.batches import BatchSource
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.source import RowSource
    from sknatgrad._rows.threads import Workers


def check_scoring(scoring: Any) -> str:
    """Return the name of a score; refuse one that is not a sum over rows."""
    name = known_scoring(scoring)
    if isinstance(name, str) and name in {*FROM_SUMS, EVIDENCE}:
        return name
    names = ", ".join(repr(name) for name in sorted([*FROM_SUMS, EVIDENCE]))
    message = (
        f"scoring={scoring!r:.60} needs all test rows at once; with batches and Dask collections pass one of {names}, "
        "or rows in memory or in a memory map."
    )
    raise ValueError(message)


class Settings(NamedTuple):
    """The parameters of a cross-validation of rows that are read again, checked before any work."""

    Cs: Array
    folds: Folds | None  # None where the score needs none
    scoring: str

    @classmethod
    def of(cls, estimator: Any) -> Settings:
        """Check the parameters of an estimator."""
        scoring = check_scoring(estimator.scoring)
        Cs = checked_or_largest(estimator.Cs)
        if scoring == EVIDENCE:
            refuse_splits(estimator.cv)
            return cls(Cs, None, scoring)
        return cls(Cs, Folds.of(estimator.cv), scoring)

    def check_rows(self, estimator: Any, model: Any, n_rows: int, classes: Labels) -> None:
        """Refuse what does not suit the rows."""
        if self.folds is None:
            estimator._check_one_split(model, classes)  # noqa: SLF001 - of the class that calls this
        else:
            self.folds.check_length(n_rows)


@record
class StreamedCrossValidation:
    """What is fitted: rows that each pass reads again, their folds and the values of C."""

    model: Any  # a plain estimator, whose C is set for each fit
    Cs: Array  # (C,)
    data: TrainingData  # of all rows
    without_class_weights: RowSource  # the same rows, with the weights that the user gave
    folds: Folds | None  # None for one training set, of all rows

    @cached_property
    def totals(self) -> Array:
        """The sum of the weights of each class in each training set, ``(T, K)``, by a pass."""
        if self.folds is None:
            return self.data.totals[None]
        classes = self.data.layout.classes
        totals = self.without_class_weights.total(self.folds.totals_kernel(len(classes)))
        factors = check_class_weights(self.model.class_weight, classes, self.data.totals)
        return self.folds.training_totals(totals, factors, classes)

    @cached_property
    def factors(self) -> Array:
        """The weight of each class in each training set, ``(T, K)``."""
        return factors_of_sets(self.model, self.data.layout.classes, self.totals)

    def sets(self, chosen: Codes, factors: Array) -> GroupedSets:
        """Return some of the training sets, with factors of the weights of classes relative to those of all rows."""
        groups = RowGroups.single() if self.folds is None else self.folds.groups
        return GroupedSets(groups._replace(counts=groups.counts[chosen]), factors)

    def training_data(self, split: int) -> TrainingData:
        """Return the training data of a split."""
        chosen = np.array([split])
        totals = self.totals[split]
        sets = self.sets(chosen, relative_factors(self, chosen))
        source = TrainingSetSource(self.data.source, sets, totals * self.factors[split])
        # the passes are counted at the end of the last fit
        return replace(self.data, source=source, all_columns=source, totals=totals, n_passes=None)

    def with_Cs(self, Cs: Array) -> StreamedCrossValidation:  # noqa: N802 - the name of the parameter
        """Return the fits of other values of C."""
        other = replace(self, Cs=Cs)
        # which took a pass
        vars(other).update(totals=self.totals, factors=self.factors)
        return other


class StreamedEvaluation(NamedTuple):
    """How values of C are fitted and scored, of rows that each pass reads again."""

    task: StreamedCrossValidation
    scoring: str
    weighted: bool  # whether test rows count by their weights

    def __call__(self, Cs: Array, near: FoldFits | None = None) -> Evaluated:
        """Return the fits and scores of values of C; `near` are the fits to a value near them."""
        task = self.task.with_Cs(Cs)
        fits = fit_folds(task, near)
        known = fits.theta.mean(axis=0)
        # The mean of the optima without each fold is nearer to that of all rows than the point where they began: the
        # differences cancel to first order.
        fits.start, fits.has_start = known, np.ones(Cs.size, dtype=bool)
        return Evaluated(Cs, fits, Scores(self._scores(task, fits)))

    def _scores(self, task: StreamedCrossValidation, fits: FoldFits) -> Array:
        """Return the score of each model on the rows of its fold, ``(T, C)``, by a pass."""
        if task.folds is None:
            return log_evidences(task, fits)
        kernels = [ScoreKernel(theta.transpose(1, 0, 2), LOSS_BOUNDS) for theta in fits.theta]
        n_logits = fits.theta.shape[2] * task.Cs.size
        source = replace(cast("MemorySource", task.without_class_weights), n_logits=n_logits)
        sums: list[ScoreSums] = source.total(FoldScoreKernel(kernels, task.folds.numbers, self.weighted))
        return np.array([FROM_SUMS[self.scoring](of_fold) for of_fold in sums])


def evaluation_of_batches(
    estimator: Any, plain: Callable[[float], Any], batches: Batches, classes: ArrayLike | None, workers: Workers
) -> Evaluate:
    """Return how values of C are fitted and scored, of batches; `plain` returns an estimator with a given C."""
    settings = Settings.of(estimator)
    reader = BatchReader(estimator, batches)
    read = first_pass(reader, classes)
    model = plain(float(settings.Cs.max()))
    settings.check_rows(estimator, model, read.statistics.n_rows, read.statistics.labels)
    if read.complete:
        return _evaluation_in_memory(settings, model, reader, read, workers)
    data = batch_data(model, reader, read, workers)
    ones = np.ones(len(read.statistics.labels))
    given = replace(cast("BatchSource", data.source), read=lambda: reader.read_again(read.statistics, ones))
    task = StreamedCrossValidation(model, settings.Cs, data, given, settings.folds)
    return StreamedEvaluation(task, settings.scoring, weighted=True)


def _evaluation_in_memory(
    settings: Settings, model: Any, reader: BatchReader, read: FirstPass, workers: Workers
) -> Evaluation:
    """Return the same of batches that fit into memory, in the same folds."""
    rows, labels = read.rows, read.statistics.labels
    weight, totals = check_row_weights(rows.weight, model.class_weight, labels, rows.codes)
    splits = [Split.all_rows(rows.codes.size)]
    if settings.folds is not None:
        kernel = settings.folds.totals_kernel(len(labels))
        of_folds = kernel.of_rows(read.indices, rows.codes, rows.weight)
        settings.folds.training_totals(of_folds, check_class_weights(model.class_weight, labels, totals), labels)
        splits = settings.folds.splits(rows.codes.size)
    task = CheckedRows(rows, weight, labels, totals).split(model, splits, settings.Cs, workers)
    task = replace(task, data=replace(task.data, n_passes=lambda: reader.n_passes))
    params = {"sample_weight": rows.weight}
    return Evaluation(task, labels[rows.codes], settings.scoring, params, leave_one_out=False)
