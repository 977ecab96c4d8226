"""Missing values of any library: NaN, None, NaT of numpy and pandas, NA of pandas, and masked entries."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._model.class_labels import is_time_type

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Mask

# recognised by name, as pandas may not be installed
_MISSING_TYPES = {"NoneType", "NAType", "NaTType", "MaskedConstant"}


def is_missing(value: object) -> bool:
    """Say whether a value is a missing one."""
    kind = type(value)
    if kind.__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    # NaN differs from itself
    return isinstance(value, (float, np.floating, Decimal)) and bool(value != value)  # noqa: PLR0124


def types_of(values: Any) -> set[type]:
    """Return the types of the values of an array of objects."""
    return set(map(type, values.ravel(order="K").tolist()))


def missing_mask(values: Any) -> Mask:
    """Return which values of an array, of any type and shape, are missing."""
    mask: Mask = np.ma.getmaskarray(values).copy()
    values = np.ma.getdata(values)
    kind = values.dtype.kind
    if kind == "f":
        mask |= np.isnan(values)
    elif kind in "mM":
        mask |= np.isnat(values)
    elif kind == "O" and any(_may_be_missing(each) for each in types_of(values)):
        mask |= np.array([is_missing(value) for value in values.flat], dtype=bool).reshape(values.shape)
    return mask


def _may_be_missing(kind: type) -> bool:
    return kind.__name__ in _MISSING_TYPES or issubclass(
        kind, (float, np.floating, Decimal, np.datetime64, np.timedelta64)
    )


def objects_as_floats(values: Any) -> Array:
    """Return an array of objects in float64, missing ones as NaN; raise an error for what is no number.

    Raises
    ------
    TypeError, ValueError
        If a value is no number. Dates and durations of numpy are none, although numpy converts them.
    """
    mask = missing_mask(values)
    values = np.ma.getdata(values)
    if values.dtype.kind == "O" and any(map(is_time_type, types_of(values[~mask]))):
        message = "dates and times are not numbers"
        raise TypeError(message)
    floats: Array = np.where(mask, np.nan, values).astype(np.float64)
    return floats
