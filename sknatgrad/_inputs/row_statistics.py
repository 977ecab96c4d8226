"""Rows in parts, where they are not in memory: each part checked, and what has to be known of all before a fit."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._inputs.checks import (
    MIN_CLASSES,
    check_batch_rows,
    check_weights,
    codes_among,
    encode,
    largest_value,
    totals_of_all,
)
from sknatgrad._rows.matrices import canonical, stored_bytes_per_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._typing import Array, Codes, Matrix


@contextmanager
def error_label(part: str, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Say which part of the data an error is about."""
    try:
        yield
    except ValueError as error:
        message = f"{part}: {error}"
        raise kind(message) from None


def check_part(estimator: Any, X: Matrix, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Matrix, Any, Array]:
    """Return some of the rows with labels and weights; sets the estimator's feature attributes, or holds X to them."""
    checked, labels = check_batch_rows(estimator, X, y, reset=reset)
    return canonical(checked), labels, check_weights(sample_weight, len(labels), some=False)


def is_empty(X: Any, y: Any) -> bool:
    """Say whether a part has no rows, as one of a file that was filtered while it was read."""
    n_rows = X.shape[0] if getattr(X, "shape", ()) else len(X) if hasattr(X, "__len__") else 1
    return n_rows == 0 and np.size(y) == 0


@dataclass(frozen=True)
class RowStatistics:
    """Rows, labels and weights of some batches."""

    labels: Any  # (L,), sorted
    totals: Array  # (L,), sums of the sample weights
    n_rows: int
    stored: float  # values of X
    max_abs: float  # by size
    max_weight: float
    dtype: Any  # of X

    @classmethod
    def of(cls, X: Matrix, labels: Any, weight: Array) -> tuple[RowStatistics, Codes]:
        """Return that of a batch, and the index of each label."""
        found, codes = encode(labels, part=True)
        with np.errstate(over="ignore"):
            totals = totals_of_all(codes, weight, len(found))
        stored = stored_bytes_per_row(X) / 8.0 * len(codes)
        max_weight = float(weight.max(initial=0.0))
        return cls(found, totals, len(codes), stored, largest_value(X), max_weight, X.dtype), codes

    def merge(self, other: RowStatistics) -> RowStatistics:
        """Pool with that of other rows."""
        if _kind(self.labels) != _kind(other.labels):
            mine, others = self.labels[:1].tolist()[0], other.labels[:1].tolist()[0]
            message = f"y holds labels of different kinds, such as {mine!r} and {others!r}; they must be of one kind."
            raise ValueError(message)
        if len(self.labels) == len(other.labels) and (self.labels == other.labels).all():
            labels = self.labels
            with np.errstate(over="ignore"):
                totals = self.totals + other.totals
        else:
            labels, place = np.unique(np.concatenate([self.labels, other.labels]), return_inverse=True)
            totals = np.bincount(place, weights=np.concatenate([self.totals, other.totals])).astype(np.float64)
        return RowStatistics(
            labels,
            totals,
            self.n_rows + other.n_rows,
            self.stored + other.stored,
            max(self.max_abs, other.max_abs),
            max(self.max_weight, other.max_weight),
            np.result_type(self.dtype, other.dtype),
        )

    def check_classes(self, classes: Any = None) -> None:
        """Refuse fewer than two, rows without any weight, or others than those that the caller knows of."""
        if not self.totals.any():
            message = "sample_weight is zero for every row; at least one weight must be positive."
            raise ValueError(message)
        if classes is not None:
            codes_among(classes, self.labels)
            absent = sorted(set(classes.tolist()) - set(self.labels.tolist()))
            if absent:
                message = f"classes holds {absent[0]!r}, which no row has; leave it out: nothing can be learnt of it."
                raise ValueError(message)
        if len(self.labels) < MIN_CLASSES:
            message = (
                f"y holds only one class, {self.labels.tolist()[0]!r}; a classifier needs rows of two classes or more."
            )
            raise ValueError(message)


def _kind(labels: Any) -> str:
    if labels.dtype.kind in "biuf":
        return "number"
    # pandas has its words in arrays of objects
    return "word" if all(isinstance(label, str) for label in labels.tolist()) else str(labels.dtype.kind)
