"""Class labels as values: how they are listed, compared, found and printed.

`ndarray.tolist` turns dates and durations into integers in the unit ``'ns'``, and into Python objects that do not equal
those of another unit in others. They are therefore listed as numpy's scalars, and compared by the instant.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from numbers import Number
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from sknatgrad._definitions import Labels

# attoseconds, the smallest unit of numpy, in each unit that has a fixed length
ATTOSECONDS = {
    "W": 7 * 86_400 * 10**18,
    "D": 86_400 * 10**18,
    "h": 3_600 * 10**18,
    "m": 60 * 10**18,
    "s": 10**18,
    "ms": 10**15,
    "us": 10**12,
    "ns": 10**9,
    "ps": 10**6,
    "fs": 10**3,
    "as": 1,
}
MONTHS = {"Y": 12, "M": 1}
# how a duration is written, as counts of these units; weeks are written as days
UNIT_NAMES = {
    "D": "day",
    "h": "hour",
    "m": "minute",
    "s": "second",
    "ms": "millisecond",
    "us": "microsecond",
    "ns": "nanosecond",
    "ps": "picosecond",
    "fs": "femtosecond",
    "as": "attosecond",
}
MONTH_NAMES = {"Y": "year", "M": "month"}
# pandas' own types are recognised by name, as pandas may not be installed
PERIOD = "Period"


def is_time_type(kind: type) -> bool:
    """Say whether values of a type are dates, times, durations or periods."""
    # NaT of pandas is a datetime, but a missing value
    known = issubclass(kind, (date, time, timedelta, np.datetime64, np.timedelta64)) and kind.__name__ != "NaTType"
    return known or kind.__name__ == PERIOD


def label_list(labels: Any) -> list[Any]:
    """Return the labels as Python objects, and dates and durations of numpy as its scalars."""
    array = np.asarray(labels)
    return list(array) if array.dtype.kind in "mM" else array.tolist()


def label_key(label: Any) -> Hashable:
    """Return a value that is equal for equal labels, of any unit and library; times with a zone are compared in UTC."""
    # of pandas, whose nanoseconds the conversions of numpy lose
    convert = getattr(label, "to_datetime64", None) or getattr(label, "to_timedelta64", None)
    if convert is not None:
        label = convert()
    elif isinstance(label, datetime):
        label = np.datetime64(label if label.tzinfo is None else label.astimezone(UTC).replace(tzinfo=None))
    elif isinstance(label, date):
        label = np.datetime64(label)
    elif isinstance(label, timedelta):
        label = np.timedelta64(label)
    if isinstance(label, (np.datetime64, np.timedelta64)):
        return _instant(label)
    value: Hashable = label.item() if isinstance(label, np.generic) else label
    return value


def _instant(label: np.datetime64 | np.timedelta64) -> Hashable:
    """Return a date or a duration as an exact integer, with its kind and its unit."""
    if np.isnat(label):
        return "missing", None
    kind = label.dtype.kind
    if kind == "M" and np.datetime_data(label.dtype)[0] in MONTHS:
        label = label.astype("M8[D]")
    unit, step = np.datetime_data(label.dtype)
    number = int(label.astype(np.int64)) * step
    if unit in ATTOSECONDS:
        return kind, "as", number * ATTOSECONDS[unit]
    # months have no fixed length, and numpy's generic unit none at all
    return (kind, "M", number * MONTHS[unit]) if unit in MONTHS else (kind, unit, number)


def label_keys(labels: Any) -> list[Hashable]:
    """Return the key of each label."""
    array = np.asarray(labels)
    return [label_key(label) for label in label_list(array)] if array.dtype.kind in "mMO" else array.tolist()


def label_index(label: Any, classes: Sequence[Hashable] | Labels) -> int | None:
    """Return the index of a label among the classes; None if it is not one of them."""
    if np.ndim(label) > 0:
        return None
    try:
        return {each: k for k, each in reversed(list(enumerate(label_keys(classes))))}.get(label_key(label))
    except TypeError:
        # the label is of a type that has no hash
        return None


def label_string(label: object) -> str:
    """Return a label as text: a date as ISO 8601 has it, a duration in counts of units, such as 1 day 12 hours."""
    if isinstance(label, np.datetime64):
        return str(np.datetime_as_string(label, unit="auto"))
    if isinstance(label, (timedelta, np.timedelta64)) and not np.isnat(np.timedelta64(label)):
        return _duration_string(*cast("tuple[str, str, int]", label_key(label)))
    return str(label)


def _duration_string(_: str, unit: str, number: int) -> str:
    sizes, names = (ATTOSECONDS, UNIT_NAMES) if unit in ATTOSECONDS else (MONTHS, MONTH_NAMES)
    if unit not in sizes:
        # numpy's generic unit
        return str(number)
    parts, rest = [], abs(number)
    for each, name in names.items():
        count, rest = divmod(rest, sizes[each])
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return ("-" if number < 0 else "") + (" ".join(parts) or f"0 {next(iter(names.values()))}s")


def label_name(label: object) -> str:
    """Return a label as it is named in a sentence: strings in quotes, numbers, dates and durations as text."""
    if is_time_type(type(label)):
        return label_string(label)
    value = label.item() if isinstance(label, np.generic) else label
    return str(value) if isinstance(value, Number) else repr(value)


def label_names(labels: Any) -> str:
    """Return labels as they are listed in a sentence."""
    return f"[{', '.join(map(label_name, label_list(labels)))}]"
