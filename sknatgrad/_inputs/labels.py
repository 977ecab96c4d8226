"""Class labels: converted to arrays of the labels that were given, checked, and encoded as indices into the classes."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from sknatgrad._inputs.missing import infinite_mask, is_missing, missing_mask, types_of
from sknatgrad._inputs.tables import MATRIX, column_of, is_table
from sknatgrad._model.class_labels import is_time_type, label_keys, label_list, label_name, label_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Codes, Labels

MIN_CLASSES = 2
# Integer labels from a range of at most this many values are encoded by a table, which stays in the cache of a core,
# instead of being sorted.
TABLE_SIZE = 2**12
# labels that are encoded at a time, so that their 64-bit differences take 512 KiB, and not a copy of all labels
RUN_LENGTH = 2**16
# Whole numbers of at least this size may be rounded in float64.
EXACT_LIMIT = 2.0**53
# Floats of at least this size are no integers of numpy's type int64.
INT64_LIMIT = 2.0**63
# characters of the representation of an object in a message
EXAMPLE_LENGTH = 60
# kinds of labels: those of one kind are compared with each other
NUMBER, WORD, TIME = "number", "word", "time"
WITHOUT_MISSING = "biuU"  # kinds of numpy's types whose values are neither missing nor infinite
KINDS = {**dict.fromkeys("biuf", NUMBER), "U": WORD}


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
    """Refuse fractions; of objects, scikit-learn accepts only words."""
    kind = label_kind(labels) if labels.dtype.kind == "O" else None
    if kind == NUMBER:
        fraction = next((label for label in set(labels.tolist()) if label != int(label)), None)
        if fraction is not None:
            message = (
                f"Unknown label type: continuous: y holds {label_name(fraction)}, and labels that are numbers must be "
                "whole; use a regressor, or make classes of the numbers."
            )
            raise ValueError(message)
    elif kind != TIME:
        # scikit-learn converts floats to int64, and larger ones are whole
        large = labels.dtype.kind == "f" and _max_abs(labels) >= INT64_LIMIT
        check_classification_targets(np.fmod(labels, 1.0) if large else labels)


def _max_abs(labels: Labels) -> float:
    return float(max(labels.max(initial=0), -labels.min(initial=0)))


def sorted_labels(labels: Labels) -> tuple[Labels, Codes]:
    """Return the sorted classes, and the index of each label among them; refuse labels that do not sort."""
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError):
        # such as times with a zone beside others, or periods of days beside months
        other = next((label for label in labels.tolist() if not _compare(label, labels[0])), labels[-1])
        raise ValueError(different_kinds(labels[0], other)) from None
    return classes, codes


def joined_labels(one: Labels, other: Labels) -> Labels:
    """Return the labels of two parts as one array, in a type that holds all of them exactly; refuse other dates."""
    if one.dtype != other.dtype and one.dtype.kind in "mM":
        _check_units([*label_list(one), *label_list(other)])
    joined = np.concatenate([one, other])
    if joined.dtype.kind == "f" and {one.dtype.kind, other.dtype.kind} != {"f"}:
        joined = _plain(_objects([*label_list(one), *label_list(other)]))
    return joined


def _check_units(labels: Sequence[Any]) -> None:
    """Refuse dates and durations of numpy that their common unit does not hold.

    numpy converts and compares them without an error, and gives others: years beyond the range, or months in weeks.
    """
    types = [getattr(label, "dtype", None) for label in labels]
    if len(set(types)) == 1:
        return
    joined = np.array(labels)
    keys, given = label_keys(joined), label_keys(_objects(labels))
    if joined.dtype.kind in "mM" and keys == given:
        return
    changed = next((place for place, key in enumerate(keys) if key != given[place]), 0)
    other = next(label for label, each in zip(labels, types, strict=True) if each != types[changed])
    message = (
        f"y holds {label_name(labels[changed])} beside {label_name(other)}, and numpy's common unit does not hold "
        "both: convert all labels to one unit, such as seconds."
    )
    raise ValueError(message)


def _objects(values: Sequence[Any]) -> Labels:
    """Return values as an array of objects, as they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


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
    # as numbers of Python, whose difference overflows without a warning
    return float(highest) - float(lowest) < TABLE_SIZE and all(integers)


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
    # in the type of integers, where a sum that overflows wraps around to the right value
    classes: Labels = present.astype(_wide(labels.dtype)) + lowest
    return classes.astype(labels.dtype, copy=False), codes


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a type in which differences of labels are exact; half precision has no odd integers above 2048."""
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else dtype


def _differences(lowest: Any, labels: Labels) -> Codes:
    """Return the labels minus the lowest one.

    A small signed type may not hold the difference, and a large one may not hold an intermediate result.
    """
    wide = np.dtype(np.int64) if labels.dtype.kind == "i" else _wide(labels.dtype)
    differences = labels.astype(wide, copy=False) - lowest
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
    elif isinstance(values, (list, tuple)):
        array = _of_list(values, array)
    if array.ndim:
        _refuse_missing(array, argument)
    array = _plain(np.ma.getdata(array))
    return array.reshape(-1, 1) if table else array


def _of_list(values: Sequence[Any], array: Labels) -> Labels:
    """Return numpy's array of a list, or one of objects where numpy changes the values."""
    kind = array.dtype.kind
    if kind in "US":
        # numpy makes strings of numbers beside strings, so that NaN would be a class
        objects = np.asarray(values, dtype=object)
        return array if _are_words(objects) else objects
    if kind in "mM" and array.ndim == 1 and not np.isnat(array).any():
        _check_units(values)
    # numpy rounds integers beside floats, and those that need more than 64 bits and a sign
    rounded = kind == "f" and _max_abs(array) >= EXACT_LIMIT
    return np.asarray(values, dtype=object) if rounded else array


def _are_words(objects: Labels) -> bool:
    return all(issubclass(kind, str) for kind in types_of(objects))


def _plain(array: Labels) -> Labels:
    """Return numbers that are stored as objects in a type of numbers, unless it would round them."""
    kinds = types_of(array) if array.dtype.kind == "O" else set()
    if not kinds or any(_family(kind) != NUMBER for kind in kinds):
        return array
    try:
        numbers: Labels = np.array(array.tolist())
        # integers of any size, and fractions
        numbers = numbers.astype(np.float64) if numbers.dtype.kind == "O" else numbers
    except OverflowError:
        return array
    floats = all(issubclass(kind, (float, np.floating)) for kind in kinds)
    exact = numbers.dtype.kind != "f" or floats or all(value == float(value) for value in set(array.ravel().tolist()))
    return numbers if exact else array


def _refuse_missing(values: Labels, argument: str) -> None:
    if type(values) is np.ndarray and values.dtype.kind in WITHOUT_MISSING:
        return
    array = np.ma.getdata(values)
    missing, infinite = missing_mask(values), infinite_mask(array)
    mask = missing | infinite
    if not mask.any():
        return
    row = int(mask.ravel().argmax())
    value = array.ravel()[row]
    # of a masked array, the value below the mask says nothing
    absent = f"NaN ({label_name(value) if is_missing(value) else 'masked'})"
    found = absent if missing.ravel()[row] else float(value)
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
    if labels.dtype.kind in "OSV":
        _check_objects(labels.ravel())
    return labels


def _check_objects(column: Labels) -> None:
    """Refuse objects that are no labels, and labels of different kinds."""
    families = {kind: _family(kind) for kind in types_of(column)}
    bad = [kind for kind, family in families.items() if family is None]
    if bad:
        example = next(label for label in column.tolist() if type(label) in bad)
        remedy = "decode them" if isinstance(example, bytes) else "convert them, such as by [str(label) for label in y]"
        shown = textwrap.shorten(repr(example), EXAMPLE_LENGTH, placeholder=" ...")
        message = (
            f"y holds {type(example).__name__} objects, such as {shown}; labels must be strings, numbers, booleans, "
            f"dates or durations: {remedy}."
        )
        raise ValueError(message)
    if len(set(families.values())) > 1:
        first = families[type(column[0])]
        other = next(label for label in column.tolist() if families[type(label)] != first)
        raise ValueError(different_kinds(column[0], other))
    if set(families) in ({np.datetime64}, {np.timedelta64}):
        _check_units(column.tolist())


def _family(kind: type) -> str | None:
    """Return the kind of labels that a type belongs to; None for a type of other values."""
    if is_time_type(kind):
        # before numbers: a duration of numpy is one of its integers
        return TIME
    if issubclass(kind, (Real, Decimal, np.bool_)):
        return NUMBER
    return WORD if issubclass(kind, str) else None


def label_kind(labels: Labels) -> str:
    """Return the kind of labels: only those of one kind can be classes of one model."""
    kind = labels.dtype.kind
    family = _family(type(labels[0])) if kind == "O" and labels.size else None
    return family or KINDS.get(kind, kind)


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
        message = (
            f"y holds {label_name(unknown[0])}, which is not among the estimator's classes {label_names(classes)}."
        )
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
        message = f"classes={label_names(known)} must hold two classes or more."
        raise ValueError(message)
    return known
