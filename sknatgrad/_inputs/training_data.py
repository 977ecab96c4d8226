"""What a fit is made to: rows and labels as users give them, checked, from wherever they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._inputs.checks import (
    check_class_weights,
    check_row_weights,
    check_training_rows,
    largest_value,
    overflow_advice,
    refuse_infinite,
)
from sknatgrad._model.parameters import logits_for
from sknatgrad._rows.matrices import without_empty_columns
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.cost_model import Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._inputs.row_statistics import RowStatistics
    from sknatgrad._rows.source import RowSource
    from sknatgrad._rows.threads import Workers
    from sknatgrad._typing import Array, Codes, Matrix


# sums over values and weights of this size do not overflow
HARMLESS = 1e100


@dataclass(frozen=True)
class TrainingData:
    """Rows with their labels and weights. Read through once, if that was needed to know as much."""

    source: RowSource  # of the columns that are kept
    whole: RowSource  # of all
    shape: Shape  # of what is kept
    classes: Any  # (K,)
    totals: Array  # (K,), sums of the sample weights alone
    dtype: Any  # of X
    max_abs: float = np.inf  # value of X by size; infinite if not known
    max_weight: float = np.inf  # weight of a row
    kept: Codes | None = None  # the columns, where they are not all
    verify: Callable[[], None] | None = None  # looks for values that were not there at first

    def refuse_overflow(self, estimator: Any) -> None:
        """Raise an error that says which input made the sums at the start overflow."""
        max_abs, max_weight = self.max_abs, self.max_weight
        if isinstance(self.whole, MemorySource):
            refuse_infinite(estimator, self.whole.X)
            max_abs, max_weight = largest_value(self.whole.X), float(self.whole.weight.max())
        elif self.verify is not None:
            self.verify()
            if max(max_abs, max_weight) < HARMLESS:
                message = (
                    f"X gave sums that are not finite, though its values are at most {max_abs:.1e} by size: one pass "
                    "held NaN, infinity or others; each pass must give the same rows."
                )
                raise ValueError(message)
        raise ValueError(overflow_advice(max_abs, max_weight, estimator.C))


def in_memory(estimator: Any, X: Matrix, y: Any, sample_weight: Any, workers: Workers) -> TrainingData:
    """Check arrays, or what becomes arrays; sets the estimator's feature attributes."""
    return of_rows(estimator, *check_training_rows(estimator, X, y), sample_weight, workers)


def of_rows(  # noqa: PLR0913, PLR0917 - all that a fit is made to
    estimator: Any, given: Matrix, classes: Any, codes: Codes, sample_weight: Any, workers: Workers
) -> TrainingData:
    """Return the problem of checked rows in memory, or in a file behind a memory map."""
    # a column without entries has the coefficient that its prior has
    X, kept = without_empty_columns(given) if estimator.prior is None else (given, None)
    weight, totals = check_row_weights(sample_weight, estimator.class_weight, classes, codes)
    n_logits = logits_for(len(classes))
    source = MemorySource(X, codes, weight, n_logits, workers)
    whole = source if kept is None else MemorySource(given, codes, weight, n_logits, workers)
    shape = Shape.of(X, n_logits, X.shape[1] + estimator.fit_intercept)._replace(out_of_core=source.out_of_core)
    return TrainingData(source, whole, shape, classes, totals, X.dtype, kept=kept)


def streamed_rows(
    estimator: Any,
    statistics: RowStatistics,
    source_of: Callable[[Array, int], RowSource],
    verify: Callable[[], None],
    room: float,
) -> TrainingData:
    """Return the problem of rows that each pass fetches anew; a source has factors ``(K,)`` for classes, and q.

    There is `room`, bytes, for a sample of them.
    """
    factors = check_class_weights(estimator.class_weight, statistics.labels, statistics.totals)
    n_logits = logits_for(len(statistics.labels))
    n_columns = estimator.n_features_in_ + estimator.fit_intercept
    stored = statistics.stored / statistics.n_rows + estimator.fit_intercept
    source = source_of(factors, n_logits)
    return TrainingData(
        source,
        source,
        Shape(statistics.n_rows, n_logits, n_columns, stored, out_of_core=True, sample_bytes=room),
        statistics.labels,
        statistics.totals,
        statistics.dtype,
        statistics.max_abs,
        statistics.max_weight * float(factors.max()),
        verify=verify,
    )
