"""Missing values of any library: NaN, None, NaT of numpy and pandas, NA of pandas, and masked entries."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._model.class_labels import is_time_type

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask

# recognised by name, as pandas may not be installed
_MISSING_TYPES = {"NoneType", "NAType", "NaTType", "MaskedConstant"}
# types of numbers that have NaN and infinity
_FRACTIONAL = (float, np.floating, Decimal)


def is_missing(value: object) -> bool:
    """Say whether a value is a missing one."""
    kind = type(value)
    if kind.__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    if isinstance(value, Decimal):
        # a comparison of a signalling NaN raises an error
        return value.is_nan()
    # NaN differs from itself
    return isinstance(value, (float, np.floating)) and bool(value != value)  # noqa: PLR0124


def types_of(values: Any) -> set[type]:
    """Return the types of the values of an array of objects."""
    return set(map(type, values.ravel(order="K").tolist()))


def missing_mask(values: Any) -> Mask:
    """Return which values of an array, of any type and shape, are missing."""
    if values.dtype.names is not None:
        # of records, which hold several values each
        return np.zeros(values.shape, dtype=bool)
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


def infinite_mask(values: Any) -> Mask:
    """Return which values of an array, of any type and shape, are infinite numbers."""
    mask: Mask = np.zeros(values.shape, dtype=bool)
    kinds = types_of(values) if values.dtype.kind == "O" else set()
    fractional = {each for each in kinds if issubclass(each, _FRACTIONAL)}
    if values.dtype.kind == "f" or kinds == {float}:
        mask = np.isinf(values.astype(np.float64) if kinds else values)
    elif fractional:
        flags = [type(value) in fractional and _is_infinite(value) for value in values.flat]
        mask = np.array(flags, dtype=bool).reshape(values.shape)
    return mask


def _is_infinite(value: Any) -> bool:
    return value.is_infinite() if isinstance(value, Decimal) else value in {math.inf, -math.inf}


def _may_be_missing(kind: type) -> bool:
    return kind.__name__ in _MISSING_TYPES or issubclass(kind, (*_FRACTIONAL, np.datetime64, np.timedelta64))


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
