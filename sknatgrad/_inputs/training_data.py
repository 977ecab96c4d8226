"""The data of a fit: rows, labels and weights, checked, from arrays, batches or collections."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sknatgrad._definitions import record
from sknatgrad._inputs.configuration import layout_of
from sknatgrad._inputs.prior import absorbs_centres
from sknatgrad._inputs.rows import check_training_rows, max_abs_value, overflow_advice, refuse_infinite
from sknatgrad._inputs.weights import check_row_weights
from sknatgrad._model.separation import MAX_WEAK_PRECISION
from sknatgrad._rows.column_groups import grouped_columns
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.source import LabelledRows
from sknatgrad._solver.cost_model import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, DType, Labels, Matrix
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._inputs.row_statistics import RowStatistics
    from sknatgrad._model.layout import Layout
    from sknatgrad._rows.source import RowSource
    from sknatgrad._rows.threads import Workers


# Values and weights of at most this size cannot overflow: a weight times a squared value is at most 1e300, and a sum of
# 1e8 of them stays below the largest float64, 1.8e308.
OVERFLOW_SAFE = 1e100


@record
class TrainingData:
    """Rows with their labels and weights, and their properties before the descent."""

    layout: Layout
    source: RowSource  # of the columns that the layout has
    all_columns: RowSource
    totals: Array  # (K,), sums of the sample weights alone
    cost_shape: Shape  # sizes of the source on which costs depend
    dtype: DType  # of X
    explain_overflow: Callable[[], str]  # which input makes the first sums overflow; raises if X is not finite
    n_passes: Callable[[], int] | None = None  # over all rows so far, where they are read in passes


class Passes(NamedTuple):
    """Rows that each pass reads again, after a first pass over them."""

    statistics: RowStatistics
    factors: Array  # (K,), weight of each class
    verify: Callable[[], None]  # a pass that raises an error if a value is not finite
    n_passes: Callable[[], int]

    def explain_overflow(self, C: float) -> str:
        """Say which input makes the first sums overflow."""
        self.verify()
        max_abs = self.statistics.max_abs
        max_weight = self.statistics.max_weight * float(self.factors.max())
        if max(max_abs, max_weight) < OVERFLOW_SAFE:
            return (
                f"X gave sums that are not finite, although its values are at most {max_abs:.1e} in size: one pass "
                "had NaN, infinity or other values; each pass must give the same rows."
            )
        return overflow_advice(max_abs, max_weight, C)


def check_arrays(
    estimator: Configuration, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None, workers: Workers
) -> TrainingData:
    """Check arrays and data that convert to arrays; sets the feature attributes of the estimator."""
    X, classes, codes = check_training_rows(estimator, X, y)
    weight, totals = check_row_weights(sample_weight, estimator.class_weight, classes, codes)
    return memory_data(estimator, LabelledRows(X, codes, weight), classes, totals, workers)


def memory_data(
    estimator: Configuration, rows: LabelledRows, classes: Labels, totals: Array, workers: Workers
) -> TrainingData:
    """Return the training data of rows in memory or in a memory map."""
    # without `prior`, the coefficients of a column without entries are 0, and C penalises all columns equally; where it
    # hardly does, separation is looked for, in the columns as they are
    equal_penalty = 1.0 / estimator.C > MAX_WEAK_PRECISION
    X, groups = grouped_columns(rows.X, equal_penalty=equal_penalty) if estimator.prior is None else (rows.X, None)
    layout = layout_of(estimator, classes, groups)
    workers.limit_blas_for(X.shape[0], layout.n_logits * layout.n_columns)
    limits = estimator._limits  # noqa: SLF001 - a parameter
    source = all_columns = MemorySource(*rows, layout.n_logits, workers, limits=limits)
    if absorbs_centres(estimator, layout):
        source = all_columns = source.centred()
        layout = layout._replace(centres=source.centres)
    if groups is not None:
        source = MemorySource(X, rows.codes, rows.weight, layout.n_logits, workers, limits=limits)
    return TrainingData(
        layout,
        source,
        all_columns,
        totals,
        cost_shape=Shape.of(X, layout.n_logits, layout.n_columns)._replace(
            out_of_core=source.out_of_core, centred=source.centres is not None
        ),
        dtype=X.dtype,
        explain_overflow=partial(explain_overflow, estimator, rows),
    )


def streamed_data(
    estimator: Configuration, layout: Layout, source: RowSource, passes: Passes, sample_bytes: float
) -> TrainingData:
    """Return the training data of rows that each pass reads again; a sample of them may take `sample_bytes`."""
    statistics = passes.statistics
    n_stored = statistics.stored / statistics.n_rows + layout.intercept
    return TrainingData(
        layout,
        source,
        source,
        statistics.totals,
        cost_shape=Shape(statistics.n_rows, *layout.shape, n_stored, out_of_core=True, sample_bytes=sample_bytes),
        dtype=statistics.dtype,
        explain_overflow=partial(passes.explain_overflow, estimator.C),
        n_passes=passes.n_passes,
    )


def explain_overflow(estimator: Configuration, rows: LabelledRows) -> str:
    """Say which input makes the first sums overflow; raise an error if X is not finite."""
    refuse_infinite(estimator, rows.X)
    return overflow_advice(max_abs_value(rows.X), float(rows.weight.max()), estimator.C)
