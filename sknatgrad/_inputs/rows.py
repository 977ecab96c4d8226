"""The matrix X, checked by scikit-learn; errors state where values are not finite or too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from sknatgrad._inputs.labels import MIN_CLASSES, check_labels, encode, only_one_class
from sknatgrad._inputs.tables import (
    MATRIX,
    columns_of,
    error_column,
    is_table,
    not_finite,
    prepared,
    refuse_strings_and_dates,
)
from sknatgrad._rows.matrices import canonical, is_csr, stored_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Codes, Labels, Matrix

# kinds of numpy's types: of numbers, and of labels that scikit-learn returns unchanged
NUMERIC_KINDS = "biuf"
LABEL_KINDS = "biufU"
# integers, booleans and float32 keep their type: blocks are converted one at a time
_ANY_ROWS: dict[str, Any] = {
    "accept_sparse": "csr",
    "accept_large_sparse": True,
    "dtype": "numeric",
    "order": None,
    "ensure_all_finite": False,
}


def check_rows(estimator: Any, X: Matrix, *, finite: bool = True) -> Matrix:
    """Return X for a fitted estimator, dense or CSR, in its own type and order; `finite` refuses any other values."""
    if is_numeric_matrix(X) and has_features_of(estimator, X):
        checked = X
    else:
        X = prepared(X)
        with error_column(X):
            checked = _as_numbers(validate_data(estimator, X, reset=False, **_ANY_ROWS))
    if finite:
        refuse_infinite(estimator, checked)
    return canonical(checked)


def is_numeric_matrix(X: Matrix) -> bool:
    """Say whether X is an array of numpy or a CSR matrix of numbers, which scikit-learn returns unchanged.

    Its checks take 60 us, in which a thousand rows are predicted.
    """
    if type(X) is not np.ndarray and not is_csr(X):
        return False
    return X.ndim == MATRIX and X.dtype.kind in NUMERIC_KINDS and min(X.shape) > 0


def has_features_of(estimator: Any, X: Matrix) -> bool:
    """Say whether X without names has as many columns as the rows of the fit, which had no names either."""
    own = vars(estimator)
    return "feature_names_in_" not in own and own.get("n_features_in_") == X.shape[1]


def check_further_columns(X: Matrix, argument: str) -> Matrix:
    """Return columns that no estimator has seen, dense or CSR, in float64; errors name the argument."""
    X = prepared(X, argument)
    with error_column(X, argument):
        checked = _as_numbers(check_array(X, **_ANY_ROWS), argument).astype(np.float64, copy=False)
    _refuse_infinite(checked, [str(column.name) for column in columns_of(X)] if is_table(X) else None, argument)
    return canonical(checked)


def check_rows_and_labels(estimator: Any, X: Matrix, y: ArrayLike, *, reset: bool) -> tuple[Matrix, Labels]:
    """Return X and the labels, one a row.

    With `reset` scikit-learn sets the feature attributes of the estimator, otherwise it compares X with them.
    """
    labels = check_labels(y)
    if is_numeric_matrix(X) and is_one_label_a_row(labels, X) and (reset or has_features_of(estimator, X)):
        if reset:
            estimator.n_features_in_ = X.shape[1]
            vars(estimator).pop("feature_names_in_", None)
        return canonical(X), labels
    X = prepared(X)
    with error_column(X):
        # scikit-learn names what is wrong with y if it is no array
        checked, labels = validate_data(estimator, X, labels if labels.ndim else y, reset=reset, **_ANY_ROWS)
        return canonical(_as_numbers(checked)), labels


def is_one_label_a_row(labels: Labels, X: Matrix) -> bool:
    """Say whether labels, checked already, are numbers or strings in one dimension, one for each row."""
    return labels.dtype.kind in LABEL_KINDS and labels.shape == (X.shape[0],)


def check_training_rows(estimator: object, X: Matrix, y: ArrayLike) -> tuple[Matrix, Labels, Codes]:
    """Return X, the sorted classes and the code of each label; sets the feature attributes of the estimator.

    X is not searched for values that are not finite: the first gradient over all rows shows them.
    """
    checked, labels = check_rows_and_labels(estimator, X, y, reset=True)
    classes, codes = encode(labels)
    if len(classes) < MIN_CLASSES:
        raise ValueError(only_one_class(classes[0]))
    return checked, classes, codes


def _as_numbers(X: Matrix, argument: str = "X") -> Matrix:
    # what has no columns before it is converted, such as an array of another library, may hold dates too
    refuse_strings_and_dates(X, argument)
    # scikit-learn does not convert the categories of pandas
    return X.astype(np.float64) if X.dtype == object else X


def max_abs_value(X: Matrix) -> float:
    """Return the largest absolute value in X."""
    values = stored_values(X)
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


def refuse_infinite(estimator: object, X: Matrix) -> None:
    """Raise an error if X is not finite that states where, with the names of columns that the estimator has."""
    _refuse_infinite(X, getattr(estimator, "feature_names_in_", None), "X")


def _refuse_infinite(X: Matrix, names: Sequence[object] | None, argument: str) -> None:
    values = stored_values(X)
    if values.dtype.kind != "f":
        return
    try:
        assert_all_finite(values)
    except ValueError:
        rows, columns = (part.tolist() for part in _positions_of_infinite(X))
        row, column = rows[0], columns[0]
        found = "NaN" if np.isnan(X[row, column]) else "infinity"
        where = column if names is None else str(names[column])
        raise ValueError(not_finite(argument, found, row, where, len(rows))) from None


def _positions_of_infinite(X: Matrix) -> tuple[Codes, Codes]:
    values = stored_values(X)
    if values is not X:
        where = X.tocoo()
        bad = ~np.isfinite(where.data)
        return where.row[bad], where.col[bad]
    rows, columns = np.nonzero(~np.isfinite(X))
    return rows, columns


def overflow_advice(max_abs: float, max_weight: float, C: float) -> str:
    """Say which input is so large that the first sums overflow: the inverse of C, values of X, or row weights."""
    if 1.0 / float(np.finfo(np.float64).max) > C:
        return f"C={C} is so small that its inverse overflows float64; pass a larger C."
    max_abs = max(max_abs, 1.0)
    if max_abs**0.5 >= max_weight:
        return (
            f"X holds values so large, up to {max_abs:.1e}, that sums of their squares overflow float64; rescale the "
            "columns, or take logarithms."
        )
    return (
        f"sample_weight times class_weight is so large, up to {max_weight:.1e}, that weighted sums overflow float64 "
        f"(with C={C}); divide the weights by a number and multiply C by it, which leaves the optimum as it is."
    )
