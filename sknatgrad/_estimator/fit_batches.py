"""The first step of `fit_batches`: a pass over batches that checks them, and the source that reads them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._inputs.configuration import layout_of
from sknatgrad._inputs.labels import check_known_classes, codes_among
from sknatgrad._inputs.prior import absorbs_centres
from sknatgrad._inputs.row_statistics import RowStatistics, check_part, error_label, is_empty
from sknatgrad._inputs.rows import refuse_infinite
from sknatgrad._inputs.training_data import Passes, memory_data, streamed_data
from sknatgrad._inputs.weights import check_class_weights, check_row_weights, weighted
from sknatgrad._model.class_labels import label_keys
from sknatgrad._rows.batches import BatchSource
from sknatgrad._rows.floating_point import as_caller, each_as_caller
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.reservoir import StratifiedReservoir
from sknatgrad._rows.sampling import reweighted
from sknatgrad._rows.source import LabelledRows

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Labels, Matrix
    from sknatgrad._inputs.configuration import Batches, Configuration
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._rows.threads import Workers


def check_batches(
    estimator: Configuration, batches: Batches, classes: ArrayLike | None, workers: Workers
) -> TrainingData:
    """Read through all batches once, and return the training data: in memory if the sample contains all rows."""
    reader = BatchReader(estimator, batches)
    read = first_pass(reader, classes)
    if not read.complete:
        return batch_data(estimator, reader, read, workers)
    rows, labels = read.rows, read.statistics.labels
    weight, totals = check_row_weights(rows.weight, estimator.class_weight, labels, rows.codes)
    data = memory_data(estimator, rows._replace(weight=weight), labels, totals, workers)
    return replace(data, n_passes=lambda: reader.n_passes)


def batch_data(estimator: Configuration, reader: BatchReader, read: FirstPass, workers: Workers) -> TrainingData:
    """Return the training data of batches that are read again in each pass."""
    limits = estimator._limits  # noqa: SLF001 - a parameter
    statistics, rows = read.statistics, read.rows
    labels = statistics.labels
    factors = check_class_weights(estimator.class_weight, labels, statistics.totals)
    layout = layout_of(estimator, labels)
    if absorbs_centres(estimator, layout):
        layout = layout._replace(centres=statistics.centres(limits.far_ratio))
    weight = reweighted(rows.codes, rows.weight, factors * statistics.totals)
    sample = MemorySource(
        rows.X,
        rows.codes,
        weight,
        layout.n_logits,
        workers,
        limits=limits,
        centres=layout.centres,
        indices=read.indices,
    )
    source = BatchSource(
        lambda: reader.read_again(statistics, factors), sample, layout.n_logits, workers, limits, layout.centres
    )
    passes = Passes(statistics, factors, reader.verify, lambda: reader.n_passes)
    return streamed_data(estimator, layout, source, passes, limits.sample_bytes)


class BatchReader:
    """Begins passes over batches, and checks each batch of them."""

    def __init__(self, estimator: Configuration, batches: Batches) -> None:
        if not callable(batches) and (not hasattr(batches, "__iter__") or hasattr(batches, "__next__")):
            message = (
                f"batches is a {type(batches).__name__}, which cannot be read more than once; pass a list of batches, "
                "or a function that begins a new pass, such as lambda: reader(path)."
            )
            raise ValueError(message)
        self.estimator, self.batches = estimator, batches
        self.n_passes = 0

    def read(self) -> Iterator[tuple[str, tuple[Matrix, Labels, Array]]]:
        """Yield a label for errors, and the rows, labels and sample weights, of each batch of a pass that has rows."""
        with as_caller():
            batches = self.batches() if callable(self.batches) else self.batches
        if not hasattr(batches, "__iter__"):
            message = (
                f"batches() gave a {type(batches).__name__}; it must return the batches of one pass, as a generator "
                "function does."
            )
            raise ValueError(message)
        first = self.n_passes == 0
        self.n_passes += 1
        for number, batch in enumerate(each_as_caller(batches)):
            if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
                message = (
                    f"batches gave a {type(batch).__name__} as batch {number}; each must be (X, y) or "
                    "(X, y, sample_weight)."
                )
                raise ValueError(message)
            X, y, *sample_weight = batch
            if is_empty(X, y):
                continue
            label = f"batch {number}"
            with error_label(label):
                part = check_part(self.estimator, X, y, sample_weight[0] if sample_weight else None, reset=first)
            first = False
            yield label, part

    def read_again(self, statistics: RowStatistics, factors: Array) -> Iterator[LabelledRows]:
        """Yield the batches of one more pass, each class weighted by its factor; refuse other rows than before."""
        n_rows = 0
        for label, (X, labels, weight) in self.read():
            with error_label(label):
                codes = codes_among(statistics.labels, labels)
            n_rows += len(codes)
            yield LabelledRows(X, codes, weighted(weight, factors, codes))
        if n_rows != statistics.n_rows:
            message = (
                f"batches gave {n_rows:,} rows in pass {self.n_passes} and {statistics.n_rows:,} in the first; each "
                "pass must give the same rows: the data must not change before the fit has ended."
            )
            raise ValueError(message)

    def verify(self) -> None:
        """Read through all batches, and refuse a value that is not finite."""
        for label, (X, _, _) in self.read():
            with error_label(label):
                refuse_infinite(self.estimator, X)


class FirstPass(NamedTuple):
    """What the first pass over batches returns."""

    statistics: RowStatistics  # of all rows
    rows: LabelledRows  # a sample of them, with its sample weights
    indices: Codes  # of the rows of the sample among all
    complete: bool  # whether the sample is all rows


def first_pass(reader: BatchReader, classes: ArrayLike | None) -> FirstPass:
    """Read through all batches, and check them. `classes` are the only labels allowed, if they are given."""
    statistics: RowStatistics | None = None
    known = None if classes is None else check_known_classes(classes)
    reservoir = StratifiedReservoir(reader.estimator._limits.sample_bytes)  # noqa: SLF001 - a parameter
    appeared: dict[Hashable, int] = {}
    for label, (X, labels, weight) in reader.read():
        with error_label(label):
            refuse_infinite(reader.estimator, X)
            if known is not None:
                codes_among(known, labels)
            new, codes = RowStatistics.of(X, labels, weight)
            statistics = new if statistics is None else statistics.merge(new)
        # codes in the order of appearance, because later labels are not known yet
        numbers = [appeared.setdefault(each, len(appeared)) for each in label_keys(new.labels)]
        reservoir.add(X, np.array(numbers, dtype=np.min_scalar_type(len(appeared)))[codes], weight)
    if statistics is None:
        message = "batches gave no rows; a fit needs rows of two classes or more."
        raise ValueError(message)
    statistics.check_classes(known)
    rows, indices = reservoir.rows()
    codes = np.argsort([appeared[each] for each in label_keys(statistics.labels)])[rows.codes]
    return FirstPass(statistics, rows._replace(codes=codes), indices, reservoir.complete)
