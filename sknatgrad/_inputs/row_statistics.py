"""Statistics of all rows from a first pass over their parts, each of which is checked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._inputs.labels import (
    MIN_CLASSES,
    codes_among,
    different_kinds,
    encode,
    joined_labels,
    label_kind,
    only_one_class,
    sorted_labels,
)
from sknatgrad._inputs.rows import check_rows_and_labels, max_abs_value
from sknatgrad._inputs.weights import check_sample_weight, totals_of_all
from sknatgrad._model.class_labels import label_keys, label_name
from sknatgrad._rows.centring import centres_of_sample, merged_samples, sample_of
from sknatgrad._rows.matrices import stored_bytes_per_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, DType, Labels, Matrix


@contextmanager
def error_label(part: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Prefix errors with the part of the data that causes them."""
    try:
        yield
    except ValueError as error:
        message = f"{part}: {error}"
        raise kind(message) from None


def check_part(
    estimator: object, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool
) -> tuple[Matrix, Labels, Array]:
    """Return some of the rows, their labels and weights.

    With `reset` the feature attributes of the estimator are set, otherwise X is compared with them.
    """
    checked, labels = check_rows_and_labels(estimator, X, y, reset=reset)
    return checked, labels, check_sample_weight(sample_weight, len(labels), positive=False)


def is_empty(X: Matrix, y: ArrayLike) -> bool:
    """Say whether a part has no rows, such as a part of a file that was filtered while it was read."""
    n_rows = X.shape[0] if getattr(X, "shape", ()) else len(X) if hasattr(X, "__len__") else 1
    return n_rows == 0 and np.size(y) == 0


@record
class RowStatistics:
    """Statistics of some of the rows, which merge with those of others."""

    labels: Labels  # (L,), those that occur, sorted
    totals: Array  # (L,), sums of the sample weights
    n_rows: int
    stored: float  # values of X
    max_abs: float  # largest absolute value of X
    max_weight: float  # largest sample weight
    dtype: DType  # of X
    sample: Array | None  # (m, p), a few rows of a dense X

    @classmethod
    def of(cls, X: Matrix, labels: Labels, weight: Array) -> tuple[RowStatistics, Codes]:
        """Return the statistics of a part, and the index of each label."""
        found, codes = encode(labels, part=True)
        with np.errstate(over="ignore"):
            totals = totals_of_all(codes, weight, len(found))
        stored = stored_bytes_per_row(X) / 8.0 * len(codes)
        max_weight = float(weight.max(initial=0.0))
        statistics = cls(found, totals, len(codes), stored, max_abs_value(X), max_weight, X.dtype, sample_of(X))
        return statistics, codes

    def merge(self, other: RowStatistics) -> RowStatistics:
        """Pool with the statistics of other rows."""
        if label_kind(self.labels) != label_kind(other.labels):
            raise ValueError(different_kinds(self.labels[0], other.labels[0]))
        same_type = self.labels.dtype == other.labels.dtype
        if same_type and len(self.labels) == len(other.labels) and (self.labels == other.labels).all():
            labels = self.labels
            with np.errstate(over="ignore"):
                totals = self.totals + other.totals
        else:
            labels, place = sorted_labels(joined_labels(self.labels, other.labels))
            totals = np.bincount(place, weights=np.concatenate([self.totals, other.totals])).astype(np.float64)
        return RowStatistics(
            labels,
            totals,
            self.n_rows + other.n_rows,
            self.stored + other.stored,
            max(self.max_abs, other.max_abs),
            max(self.max_weight, other.max_weight),
            np.result_type(self.dtype, other.dtype),
            merged_samples((self.sample, self.n_rows), (other.sample, other.n_rows)),
        )

    def centres(self, far_ratio: float) -> Array | None:
        """Return the centres of the columns, ``(p,)``; None if none is far from zero."""
        return None if self.sample is None else centres_of_sample(self.sample, far_ratio)

    def check_classes(self, classes: Labels | None = None) -> None:
        """Refuse fewer than two classes, rows without any weight, and classes other than those of the caller."""
        if not self.totals.any():
            message = "sample_weight is zero for every row; at least one weight must be positive."
            raise ValueError(message)
        if classes is not None:
            codes_among(classes, self.labels)
            present = set(label_keys(self.labels))
            pairs = zip(classes, label_keys(classes), strict=True)
            absent = [label_name(label) for label, each in pairs if each not in present]
            if absent:
                message = f"classes holds {absent[0]}, which no row has; omit it: its coefficients cannot be estimated."
                raise ValueError(message)
        if len(self.labels) < MIN_CLASSES:
            raise ValueError(only_one_class(self.labels[0]))
