"""What a cross-validation is made of, checked: the values of C, and the training and test rows of each split."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.model_selection import check_cv

from sknatgrad._inputs.labels import MIN_CLASSES, NUMBER, WORD, label_kind
from sknatgrad._model.class_labels import label_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array, Codes, Labels, Matrix

# orders of magnitude of C, from 1e-4 to 1e4, that a number of values covers: those of scikit-learn's `Cs`
DEFAULT_RANGE = (-4.0, 4.0)
# the inverse of a smaller C overflows float64
MIN_C = 1.0 / float(np.finfo(np.float64).max)
# most values of C that an integer asks for; more are a mistake
MAX_NUMBER = 10**6


class Split(NamedTuple):
    """The rows of one split, as indices; a row may be in the training rows more than once."""

    train: Codes
    test: Codes

    @classmethod
    def all_rows(cls, n_rows: int) -> Split:
        """Return the split that trains on all rows, and tests on them."""
        return cls(np.arange(n_rows), np.arange(n_rows))


def check_Cs(Cs: Any) -> Array:  # noqa: N802 - the name of the parameter
    """Return the values of C, in the order in which they are given."""
    if isinstance(Cs, Integral) and not isinstance(Cs, bool) and 1 <= int(Cs) <= MAX_NUMBER:
        return np.logspace(*DEFAULT_RANGE, int(Cs))
    values = _numbers(Cs)
    if values.ndim != 1 or not values.size or not (values > 0.0).all() or (values < MIN_C).any():
        message = (
            f"Cs={Cs!r:.60} must be an integer of 1 or more, or a list of one or more values of C, each a number in "
            "(0, inf] whose inverse is finite."
        )
        raise ValueError(message)
    return values


def _numbers(Cs: Any) -> Array:
    """Return given values as floats; a single NaN where they are none."""
    try:
        given = Cs if isinstance(Cs, np.ma.MaskedArray) else np.asarray(Cs)
        if given.dtype.kind in "iufO" and not np.ma.is_masked(given):
            with np.errstate(divide="ignore", over="ignore"):
                return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    return np.array([np.nan])


def make_splits(cv: Any, X: Matrix, labels: Labels, codes: Codes, params: dict[str, Any]) -> list[Split]:
    """Return the training and test rows of each split of `cv`."""
    # scikit-learn stratifies by words and numbers only
    y = labels if label_kind(labels) in {NUMBER, WORD} else codes
    if isinstance(cv, type):
        message = f"cv={cv.__name__} is a class; pass a splitter, {cv.__name__}()."
        raise ValueError(message)  # noqa: TRY004 - a ValueError, as for all arguments of users
    given = cv
    if isinstance(cv, Iterable):
        # scikit-learn's error would be about unpacking
        given = list(cv)
        if not given or not all(_is_pair(each) for each in given):
            message = f"cv={cv!r:.60} must give one or more pairs of training and test rows."
            raise ValueError(message)
    pairs = check_cv(given, codes, classifier=True).split(X, y, **params)
    splits = [Split(*(np.asarray(rows) for rows in pair)) for pair in pairs]
    return [_checked(split, number, codes.size) for number, split in enumerate(splits)]


def _is_pair(each: object) -> bool:
    return isinstance(each, (tuple, list)) and len(each) == len(Split._fields)


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
        check_present(present, classes, f"split {number}", "use a stratified cv with fewer splits, or shuffle the rows")


def check_present(present: Codes, classes: Labels, where: str, remedy: str) -> None:
    """Refuse training rows, of the split or fold named by `where`, with less than two classes that have weight."""
    if present.size < MIN_CLASSES:
        found = f"only one class: {label_name(classes[present[0]])}" if present.size else "no row with a weight"
        message = (
            f"This solver needs samples of at least 2 classes in the data, but the training rows of {where} contain "
            f"{found}; {remedy}."
        )
        raise ValueError(message)


def check_classes_without(classes: Labels, codes: Codes, weight: Array) -> None:
    """Refuse rows of which one alone has a class of two."""
    n_rows = np.bincount(codes[weight > 0.0], minlength=classes.size)
    if np.count_nonzero(n_rows) == MIN_CLASSES and n_rows[n_rows > 0].min() == 1:
        alone = int(np.argmax(n_rows == 1))
        left = int(np.argmax((n_rows > 0) & (np.arange(n_rows.size) != alone)))
        row = int(np.flatnonzero((codes == alone) & (weight > 0.0))[0])
        message = (
            "This solver needs samples of at least 2 classes in the data, but without row "
            f"{row} the rows contain only one class: {label_name(classes[left])}; pass another cv than 'loo', or more "
            "rows."
        )
        raise ValueError(message)


def counts_of(splits: Sequence[Split], n_rows: int) -> Codes:
    """Return how often each row is in the training rows of each split, ``(T, n)``, in the smallest type."""
    counts = np.array([np.bincount(split.train, minlength=n_rows) for split in splits])
    return counts.astype(np.min_scalar_type(int(counts.max())))


def refuse_splits(cv: Any) -> None:
    """Refuse splits for a score that needs none."""
    if cv is not None:
        message = f"cv={cv!r} has no use with scoring='evidence', which needs no splits; pass cv=None."
        raise ValueError(message)
