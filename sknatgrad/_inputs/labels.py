"""Class labels: converted to arrays of the labels that were given, checked, and encoded as indices into the classes."""

from __future__ import annotations

from contextlib import suppress
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from sknatgrad._inputs.missing import is_missing, missing_mask, types_of
from sknatgrad._inputs.tables import MATRIX, column_of, is_table
from sknatgrad._model.class_labels import is_time_type, label_keys, label_list, label_name

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
        _check_targets(labels)
    classes, codes = sorted_labels(labels)
    if part:
        # scikit-learn warns where nearly all labels are different: it sees each of these three times
        _check_targets(np.repeat(classes, 3))
    return classes, codes.astype(_smallest_type(len(classes)), copy=False)


def _check_targets(labels: Labels) -> None:
    # scikit-learn accepts no objects but words
    if not (labels.dtype.kind == "O" and labels.size and is_time_type(type(labels[0]))):
        check_classification_targets(labels)


def sorted_labels(labels: Labels) -> tuple[Labels, Codes]:
    """Return the sorted classes, and the index of each label among them; refuse labels that do not sort."""
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError):
        # such as times with a zone beside others, or periods of days beside months
        other = next((label for label in labels.tolist() if not _compare(label, labels[0])), labels[-1])
        raise ValueError(different_kinds(labels[0], other)) from None
    return classes, codes


def _compare(label: Any, other: Any) -> bool:
    try:
        _ = label < other
    except (TypeError, ValueError):
        return False
    return True


def different_kinds(label: object, other: object) -> str:
    """Return the sentence about two labels of different kinds."""
    pair = f"{label_name(label)} and {label_name(other)}"
    return f"y holds labels of different kinds, such as {pair}; they must be of one kind."


def only_one_class(label: object) -> str:
    """Return the sentence about rows that have one label only."""
    return f"y holds only one class, {label_name(label)}; a classifier needs rows of two classes or more."


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


def label_array(y: Any, argument: str = "y") -> Labels:
    """Return labels, or other values of rows, as an array of the values that were given, in numpy's type for them.

    Booleans are of type bool, integers of an integer type, dates and durations of numpy's types or, with a time zone or
    of Python, objects; words are strings or objects. A table of one column gives an array of one column.

    Raises
    ------
    ValueError
        If y is ragged, or a value is missing, infinite or masked; the message has its row.
    """
    table = is_table(y) and len(y.shape) == MATRIX and y.shape[1] == 1
    values = column_of(y, 0) if table else y
    try:
        array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except ValueError:
        message = f"{argument} is ragged, with rows of different lengths; it must hold one label per row of X."
        raise ValueError(message) from None
    if array.dtype.kind == "T":
        # the strings of numpy 2, which scikit-learn does not know
        array = array.astype(object)
    elif array.dtype.kind in "US" and isinstance(values, (list, tuple)):
        # numpy makes strings of numbers beside strings, so that NaN would be a class
        objects = np.asarray(values, dtype=object)
        array = array if _are_words(objects) else objects
    if array.ndim:
        _refuse_missing(array, argument)
    array = _plain(np.ma.getdata(array))
    return array.reshape(-1, 1) if table else array


def _are_words(objects: Labels) -> bool:
    return all(issubclass(kind, str) for kind in types_of(objects))


def _plain(array: Labels) -> Labels:
    """Return numbers that are stored as objects in a type of numbers."""
    if array.dtype.kind != "O" or not array.size:
        return array
    if any(_family(kind) != "number" for kind in types_of(array)):
        return array
    numbers: Labels = np.array(array.tolist())
    # integers of any size, and fractions
    return numbers.astype(np.float64) if numbers.dtype.kind == "O" else numbers


def _refuse_missing(values: Labels, argument: str) -> None:
    mask = missing_mask(values)
    array = np.ma.getdata(values)
    if array.dtype.kind == "f":
        mask |= np.isinf(array)
    if not mask.any():
        return
    row = int(mask.ravel().argmax())
    value = array.ravel()[row]
    infinite = array.dtype.kind == "f" and np.isinf(value)
    # of a masked array, the value below the mask says nothing
    found = value if infinite else f"NaN ({label_name(value) if is_missing(value) else 'masked'})"
    if argument == "y":
        message = f"y contains {found} at row {row}; every label must be present and finite: drop the other rows."
    else:
        message = f"groups contains {found} at row {row}; every row needs a group: drop the other rows."
    raise ValueError(message)


def check_labels(y: Any) -> Labels:
    """Return the labels of rows as an array; refuse missing ones, bytes, and labels of different kinds."""
    labels = label_array(y)
    if labels.ndim == 0 or labels.size != len(labels) or not labels.size:
        # scikit-learn names what is wrong with its shape
        return labels
    column = labels.ravel()
    kind = column.dtype.kind
    if kind == "S" or (kind == "O" and any(issubclass(each, bytes) for each in types_of(column))):
        message = f"y holds bytes, such as {column[0]!r}; labels must be strings, numbers or dates: decode them."
        raise ValueError(message)
    if kind == "O" and not _are_words(column):
        first = type(column[0])
        other = next((label for label in column.tolist() if _family(type(label)) != _family(first)), None)
        if other is not None:
            raise ValueError(different_kinds(column[0], other))
    return labels


def _family(kind: type) -> str:
    """Return the name of the types that sort together with this one."""
    if is_time_type(kind):
        # before numbers: a duration of numpy is one of its integers
        return "time"
    return (
        "number"
        if issubclass(kind, (Number, np.number, np.bool_))
        else "word"
        if issubclass(kind, str)
        else kind.__name__
    )


def label_kind(labels: Labels) -> str:
    """Return the kind of labels: only those of one kind can be classes of one model."""
    kind = labels.dtype.kind
    if kind == "O" and labels.size:
        return _family(type(labels[0]))
    return "number" if kind in "biuf" else "word" if kind == "U" else kind


def codes_of(estimator: Any, y: ArrayLike | None, n_rows: int) -> Codes:
    """Return the index of each label among the classes of a fitted estimator."""
    return codes_among(estimator.classes_, labels_of_rows(y, n_rows))


def labels_of_rows(y: ArrayLike | None, n_rows: int) -> Labels:
    """Return one label for each row, ``(n,)``; they may be a table of one column."""
    labels = check_labels(y)
    if labels.shape not in {(n_rows,), (n_rows, 1)}:
        message = f"y has shape {labels.shape}; it must hold one label per row of X, ({n_rows},)."
        raise ValueError(message)
    return labels.ravel()


def codes_among(classes: Labels, labels: Labels) -> Codes:
    """Return the index of each label among known classes, in the smallest type that holds it."""
    codes, unknown = codes_and_unknown(classes, labels)
    if unknown:
        message = f"y holds {unknown[0]!r}, which is not among the estimator's classes {label_list(classes)}."
        raise ValueError(message)
    return codes


def codes_and_unknown(classes: Labels, labels: Labels) -> tuple[Codes, list[Any]]:
    """Return the index of each label among known classes, K for other labels; and those other labels."""
    found, codes = encode(labels, part=True)
    code_of = {each: code for code, each in enumerate(label_keys(classes))}
    found_codes = [code_of.get(each, len(classes)) for each in label_keys(found)]
    unknown = [label for label, code in zip(label_list(found), found_codes, strict=True) if code == len(classes)]
    return np.array(found_codes, dtype=_smallest_type(len(classes)))[codes], unknown


def check_known_classes(classes: ArrayLike) -> Labels:
    """Return the classes that a caller names, sorted."""
    known = None
    with suppress(TypeError, ValueError):
        given = check_labels(classes)
        known = sorted_labels(given)[0] if given.ndim == 1 else None
    if known is None:
        message = f"classes={classes!r} must be a 1-dimensional list of labels that sort, none of them missing."
        raise ValueError(message)
    if known.size < MIN_CLASSES:
        message = f"classes={label_list(known)!r} must hold two classes or more."
        raise ValueError(message)
    return known
