"""What a cross-validation is made of, checked: the values of C, and the training and test rows of each split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.model_selection import check_cv

from sknatgrad._inputs.labels import MIN_CLASSES, NUMBER, WORD, label_kind
from sknatgrad._model.class_labels import label_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._typing import Array, Codes, Labels, Matrix

# orders of magnitude of C, from 1e-4 to 1e4, that a number of values covers: those of scikit-learn's `Cs`
DEFAULT_RANGE = (-4.0, 4.0)


class Split(NamedTuple):
    """The rows of one split, as indices; a row may be in the training rows more than once."""

    train: Codes
    test: Codes


def check_Cs(Cs: Any) -> Array:  # noqa: N802 - the name of the parameter
    """Return the values of C, in the order in which they are given."""
    if np.ndim(Cs) == 0:
        return np.logspace(*DEFAULT_RANGE, int(Cs))
    try:
        values = np.asarray(Cs, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim != 1 or not values.size or not (values > 0.0).all():
        message = (
            f"Cs={Cs!r} must be an integer of 1 or more, or a list of one or more values of C, each a number in "
            "(0, inf]."
        )
        raise ValueError(message)
    return values


def make_splits(cv: Any, X: Matrix, labels: Labels, codes: Codes, params: dict[str, Any]) -> list[Split]:
    """Return the training and test rows of each split of `cv`."""
    # scikit-learn stratifies by words and numbers only
    y = labels if label_kind(labels) in {NUMBER, WORD} else codes
    pairs = check_cv(cv, codes, classifier=True).split(X, y, **params)
    splits = [Split(*(np.asarray(rows) for rows in pair)) for pair in pairs]
    if not splits:
        message = f"cv={cv!r} gives no splits; it must give one or more pairs of training and test rows."
        raise ValueError(message)
    return [_checked(split, number, codes.size) for number, split in enumerate(splits)]


def _checked(split: Split, number: int, n_rows: int) -> Split:
    """Return a split whose parts are indices in range."""
    parts = []
    for name, rows in zip(("training", "test"), split, strict=True):
        indices = np.flatnonzero(rows) if rows.dtype == bool and rows.shape == (n_rows,) else rows
        if not indices.size:
            message = f"split {number} of cv has no {name} rows; each split must have some of both."
            raise ValueError(message)
        if indices.ndim != 1 or indices.dtype.kind not in "iu" or indices.min() < -n_rows or indices.max() >= n_rows:
            message = (
                f"split {number} of cv has {name} rows that are not indices of the {n_rows} rows of X; pass integers "
                f"from 0 to {n_rows - 1}, or a mask of {n_rows} booleans."
            )
            raise ValueError(message)
        parts.append(indices.astype(np.intp, copy=False) % n_rows)
    return Split(*parts)


def check_classes(splits: Sequence[Split], classes: Labels, codes: Codes, weight: Array) -> None:
    """Refuse a split whose training rows have one class only, by weight."""
    for number, split in enumerate(splits):
        present = np.unique(codes[split.train[weight[split.train] > 0.0]])
        if present.size < MIN_CLASSES:
            found = f"only one class: {label_name(classes[present[0]])}" if present.size else "no row with a weight"
            message = (
                "This solver needs samples of at least 2 classes in the data, but the training rows of split "
                f"{number} contain {found}; use a stratified cv with fewer splits, or shuffle the rows."
            )
            raise ValueError(message)


def counts_of(splits: Sequence[Split], n_rows: int) -> Codes:
    """Return how often each row is in the training rows of each split, ``(T, n)``, in the smallest type."""
    counts = np.array([np.bincount(split.train, minlength=n_rows) for split in splits])
    return counts.astype(np.min_scalar_type(int(counts.max())))
