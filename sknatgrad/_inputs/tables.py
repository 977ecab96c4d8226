"""Columns of X that are no numbers: dates and times, strings, missing values.

Tables are recognised by their attributes: those of pandas, polars and Arrow, none of which need be installed.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from functools import partial
from operator import getitem
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._inputs.missing import missing_mask, objects_as_floats, types_of
from sknatgrad._model.class_labels import is_time_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._definitions import Mask, Matrix

MATRIX = 2  # dimensions
STRING_KINDS = "SUT"  # of numpy: bytes, and strings of fixed and of variable length
# names of types of dates and times: of numpy, of pandas ("period[D]"), of polars ("Date") and of Arrow ("date32[day]")
_TIME_TYPES = re.compile(
    r"(datetime|timedelta|timestamp|duration|period|month_day|date(32|64)?\b|time(32|64)?\b)", re.IGNORECASE
)
# attributes of types that hold the type of their values: of categories, intervals and sparse columns
_INNER_TYPES = ("subtype", "value_type")


class Column(NamedTuple):
    """A column of X."""

    name: object  # or its index, in an array
    dtype: Any
    read: Callable[[], Any]  # its values

    @property
    def holds_dates(self) -> bool:
        """Whether the type is one of dates or times, or some of its objects are."""
        if isinstance(self.dtype, np.dtype) and self.dtype.kind != "O":
            return self.dtype.kind in "mM"
        categories = getattr(self.dtype, "categories", None)
        inner = [getattr(self.dtype, attribute, None) for attribute in _INNER_TYPES]
        if any(_TIME_TYPES.match(str(each)) for each in (self.dtype, getattr(categories, "dtype", None), *inner)):
            return True
        objects = categories
        if str(self.dtype).lower() == "object":
            objects = self.read()
        values = np.asarray([] if objects is None else objects)
        return values.dtype.kind == "O" and any(map(is_time_type, types_of(values)))


def is_table(X: object) -> bool:
    """Say whether X has columns with names, as tables of pandas, polars and Arrow have."""
    # a query of polars has columns but no shape, until it is collected
    return hasattr(X, "columns") and hasattr(X, "shape") and (hasattr(X, "dtypes") or hasattr(X, "schema"))


def column_of(table: Any, index: int) -> Any:
    """Return a column of a table by its position, because names may be repeated."""
    if hasattr(table, "iloc"):
        return table.iloc[:, index]
    return table.column(index) if hasattr(table, "column") else table[:, index]


def columns_of(X: Any) -> list[Column]:
    """Return the columns of a table, an array or records; none of a sparse matrix, which holds numbers."""
    if is_table(X):
        # Arrow has the names and the types in its schema
        arrow = hasattr(getattr(X, "schema", None), "types")
        names, types = (X.schema.names, X.schema.types) if arrow else (X.columns, X.dtypes)
        pairs = enumerate(zip(names, types, strict=True))
        return [Column(name, dtype, partial(column_of, X, index)) for index, (name, dtype) in pairs]
    if not isinstance(X, np.ndarray):
        return []
    if X.dtype.names is not None:
        return [Column(name, X.dtype[name], partial(getitem, X, name)) for name in X.dtype.names]
    # the columns of an array have one type, so the first one represents them, unless they hold objects
    shown = 0 if X.ndim != MATRIX else X.shape[1] if X.dtype.kind == "O" else min(X.shape[1], 1)
    return [Column(index, X.dtype, partial(getitem, X, (slice(None), index))) for index in range(shown)]


def refuse_strings_and_dates(X: Any, argument: str = "X") -> None:
    """Refuse arrays of strings, and columns of dates and times, whose numbers depend on their unit."""
    if isinstance(X, np.ndarray) and X.ndim == MATRIX and X.dtype.kind in STRING_KINDS:
        message = (
            f"{argument} has type {X.dtype}, of strings; it must hold numbers: convert it, such as by astype(float), "
            "or encode it."
        )
        raise ValueError(message)
    if isinstance(X, np.ndarray) and X.dtype.kind == "O" and not any(map(is_time_type, types_of(X))):
        # one look at all values instead of one at each column
        return
    types = set(getattr(X, "dtypes", ())) if is_table(X) else set()
    if types and all(isinstance(each, np.dtype) and each.kind in "biuf" for each in types):
        # one look at each type instead of one at each column
        return
    column = next((column for column in columns_of(X) if column.holds_dates), None)
    if column is not None:
        message = (
            f"column {column.name!r} of {argument}, of type {column.dtype}, holds dates or times, whose numbers depend "
            "on their unit: convert it to numbers, such as days since a fixed date, or drop it."
        )
        raise ValueError(message)


def prepared(X: Any, argument: str = "X") -> Any:
    """Return lists of rows as an array, and anything else unchanged; refuse strings, dates and masked values."""
    if isinstance(X, (list, tuple)):
        with suppress(ValueError):
            # rows of different lengths are left to scikit-learn
            array = np.asarray(X)
            X = array if array.ndim == MATRIX else X
    refuse_strings_and_dates(X, argument)
    if isinstance(X, np.ma.MaskedArray) and X.ndim == MATRIX and np.ma.getmaskarray(X).any():
        # the conversion to an array would uncover them
        raise ValueError(_first_missing(np.ma.getmaskarray(X), range(X.shape[1]), argument))
    return X


def not_finite(argument: str, found: str, row: int, column: object, total: int) -> str:
    """Return the sentence about values that are not finite."""
    return (
        f"Input {argument} contains {found} at row {row}, column {column!r} ({total} in total); every value must be "
        "finite: impute, clip or drop them first."
    )


@contextmanager
def error_column(X: Matrix, argument: str = "X") -> Iterator[None]:
    """Replace an error of the conversion to numbers by a sentence about the column, or the value, that causes it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        converting = isinstance(error, TypeError) or "convert" in str(error)
        explained = _explain(X, argument) if converting else None
        # scikit-learn's contract: objects in an array that are no numbers raise the TypeError of the conversion
        if explained is None or (explained.startswith("column") and isinstance(error, TypeError) and not is_table(X)):
            raise
        # numpy's message about types other than strings is long, and does not help
        said = f"{error}; " if explained.startswith("column") and not isinstance(error, TypeError) else ""
        raise ValueError(said + explained) from None


def _explain(X: Matrix, argument: str) -> str | None:
    """Return a sentence about the first column that holds other values than numbers, else about missing values."""
    columns, masks = columns_of(X), []
    for column in columns:
        values = np.asarray(column.read())
        try:
            floats = None if values.dtype.kind in "mM" else objects_as_floats(values)
        except (TypeError, ValueError):
            floats = None
        if floats is None:
            return (
                f"column {column.name!r} of {argument}, of type {column.dtype}, must hold numbers: encode it, or drop "
                "it."
            )
        masks.append(missing_mask(floats))
    mask = np.array(masks, dtype=bool).T
    return _first_missing(mask, [column.name for column in columns], argument) if mask.any() else None


def _first_missing(mask: Mask, names: Any, argument: str) -> str:
    row, column = np.argwhere(mask)[0].tolist()
    name = names[column]
    return not_finite(argument, "NaN", row, name if isinstance(name, int) else str(name), int(mask.sum()))
