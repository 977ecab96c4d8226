"""Class labels: checked, and encoded as indices into the sorted classes."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from sknatgrad._typing import Codes, Labels

MIN_CLASSES = 2
# Integer labels from a range of at most this many values are encoded by a table, which stays in the cache of a core,
# instead of being sorted.
TABLE_SIZE = 2**12
# labels that are encoded at a time, so that their 64-bit differences take 512 KiB, and not a copy of all labels
RUN_LENGTH = 2**16


def encode(labels: Labels, *, part: bool = False) -> tuple[Labels, Codes]:
    """Return the sorted classes and the index of each label among them, in the smallest type that holds it.

    With `part` the labels are those of some of the rows, and may be nearly all different.
    """
    if labels.dtype.kind in "iuf" and labels.ndim == 1 and labels.size and _are_integers_in_table(labels):
        return _encode_integers(labels)
    if not part:
        check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    if part:
        # scikit-learn warns where nearly all labels are different: it sees each of these three times
        check_classification_targets(np.repeat(classes, 3))
    return classes, codes.astype(_smallest_type(len(classes)), copy=False)


def _runs(labels: Labels) -> Iterator[slice]:
    return (slice(start, start + RUN_LENGTH) for start in range(0, labels.size, RUN_LENGTH))


def _are_integers_in_table(labels: Labels) -> bool:
    lowest, highest = labels.min(), labels.max()
    if labels.dtype.kind != "f":
        return int(highest) - int(lowest) < TABLE_SIZE
    # sorting floats would take several times their memory
    integers = ((labels[run] == np.rint(labels[run])).all() for run in _runs(labels))
    return bool(highest - lowest < TABLE_SIZE) and all(integers)


def _encode_integers(labels: Labels) -> tuple[Labels, Codes]:
    """Encode integers of a small range, floats or not, by a table, without sorting or copying them."""
    lowest = labels.min()
    seen = np.zeros(TABLE_SIZE, dtype=bool)
    for run in _runs(labels):
        seen[_differences(lowest, labels[run])] = True
    present = np.flatnonzero(seen)
    table = np.zeros(TABLE_SIZE, dtype=_smallest_type(present.size))
    table[present] = np.arange(present.size)
    codes = np.empty(labels.shape, dtype=table.dtype)
    for run in _runs(labels):
        np.take(table, _differences(lowest, labels[run]), out=codes[run])
    # in the type of the labels, where a sum that overflows wraps around to the right value
    classes: Labels = present.astype(labels.dtype) + lowest
    return classes, codes


def _differences(lowest: Any, labels: Labels) -> Codes:
    """Return the labels minus the lowest one.

    A small signed type may not hold the difference, and a large one may not hold an intermediate result.
    """
    differences = labels.astype(np.int64) - lowest if labels.dtype.kind == "i" else labels - lowest
    codes: Codes = differences.astype(np.intp, copy=False)
    return codes


def _smallest_type(n_classes: int) -> np.dtype[np.intp]:
    return np.min_scalar_type(n_classes)


def codes_of(estimator: Any, y: ArrayLike | None, n_rows: int) -> Codes:
    """Return the index of each label among the classes of a fitted estimator."""
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        message = f"y has shape {labels.shape}; it must hold one label per row of X, ({n_rows},)."
        raise ValueError(message)
    return codes_among(estimator.classes_, labels)


def codes_among(classes: Labels, labels: Labels) -> Codes:
    """Return the index of each label among known classes, in the smallest type that holds it."""
    found, codes = encode(labels, part=True)
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in found.tolist() if label not in code_of]
    if unknown:
        message = f"y holds {unknown[0]!r}, which is not among the estimator's classes {list(code_of)}."
        raise ValueError(message)
    return np.array([code_of[label] for label in found.tolist()], dtype=_smallest_type(len(classes)))[codes]


def check_known_classes(classes: ArrayLike) -> Labels:
    """Return the classes that a caller names, sorted."""
    given, known = np.asarray(classes), None
    if given.ndim == 1:
        with suppress(TypeError, ValueError):
            refuse_missing(given)
            known = np.unique(given)
    if known is None:
        message = f"classes={classes!r} must be a 1-dimensional list of labels that sort, none of them missing."
        raise ValueError(message)
    if known.size < MIN_CLASSES:
        message = f"classes={known.tolist()!r} must hold two classes or more."
        raise ValueError(message)
    return known


def refuse_missing(y: ArrayLike) -> None:
    """Refuse labels that are missing or not finite, and y whose rows have different lengths."""
    try:
        labels = np.asarray(y).ravel()
    except ValueError:
        message = "y is ragged, with rows of different lengths; it must hold one label per row of X."
        raise ValueError(message) from None
    if labels.dtype.kind == "f":
        bad = ~np.isfinite(labels)
    elif labels.dtype.kind == "O":
        bad = np.array([_is_missing(label) for label in labels], dtype=bool)
    else:
        return
    if bad.any():
        row = int(bad.argmax())
        missing = labels[row] if labels.dtype.kind == "f" and np.isinf(labels[row]) else f"NaN ({labels[row]!r})"
        message = f"y contains {missing} at row {row}; every label must be present and finite: drop the other rows."
        raise ValueError(message)


def _is_missing(label: object) -> bool:
    # pandas' NA and NaT answer comparisons neither with True nor with False; NaN is the float that differs from itself
    return (
        label is None
        or type(label).__name__ in {"NAType", "NaTType"}
        or (isinstance(label, float) and math.isnan(label))
    )
