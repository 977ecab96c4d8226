"""The matrix X, checked by scikit-learn; errors state where values are not finite or too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

from sknatgrad._inputs.columns import error_column
from sknatgrad._inputs.labels import MIN_CLASSES, encode, refuse_missing
from sknatgrad._rows.matrices import canonical, stored_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._typing import Codes, Labels, Matrix

# integers, booleans and float32 keep their type: blocks are converted one at a time
_ANY_ROWS: dict[str, Any] = {
    "accept_sparse": "csr",
    "accept_large_sparse": True,
    "dtype": "numeric",
    "order": None,
    "ensure_all_finite": False,
}


def check_rows(estimator: object, X: Matrix) -> Matrix:
    """Return X for a fitted estimator, dense or CSR, in its own type and order."""
    with error_column(X):
        checked = _without_categories(validate_data(estimator, X, reset=False, **_ANY_ROWS))
    refuse_infinite(estimator, checked)
    return canonical(checked)


def check_rows_and_labels(estimator: object, X: Matrix, y: ArrayLike, *, reset: bool) -> tuple[Matrix, Labels]:
    """Return X and the labels, one a row.

    With `reset` scikit-learn sets the feature attributes of the estimator, otherwise it compares X with them.
    """
    if y is not None:
        refuse_missing(y)
    with error_column(X):
        checked, labels = validate_data(estimator, X, y, reset=reset, **_ANY_ROWS)
        return canonical(_without_categories(checked)), labels


def check_training_rows(estimator: object, X: Matrix, y: ArrayLike) -> tuple[Matrix, Labels, Codes]:
    """Return X, the sorted classes and the code of each label; sets the feature attributes of the estimator.

    X is not searched for values that are not finite: the first gradient over all rows shows them.
    """
    checked, labels = check_rows_and_labels(estimator, X, y, reset=True)
    classes, codes = encode(labels)
    if len(classes) < MIN_CLASSES:
        message = f"y holds only one class, {classes.tolist()[0]!r}; a classifier needs rows of two classes or more."
        raise ValueError(message)
    return checked, classes, codes


def _without_categories(X: Matrix) -> Matrix:
    # scikit-learn does not convert the categories of pandas
    return X.astype(np.float64) if X.dtype == object else X


def max_abs_value(X: Matrix) -> float:
    """Return the largest absolute value in X."""
    values = stored_values(X)
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


def refuse_infinite(estimator: object, X: Matrix) -> None:
    """Raise an error if X is not finite that states where, with the names of columns that the estimator has."""
    values = stored_values(X)
    if values.dtype.kind != "f":
        return
    try:
        assert_all_finite(values)
    except ValueError:
        raise ValueError(_where_infinite(estimator, X)) from None


def _where_infinite(estimator: object, X: Matrix) -> str:
    names = getattr(estimator, "feature_names_in_", None)
    rows, columns = (part.tolist() for part in _positions_of_infinite(X))
    row, column = rows[0], columns[0]
    value = X[row, column]
    where = f"column {column}" if names is None else f"column {str(names[column])!r}"
    found = "NaN" if np.isnan(value) else "infinity"
    return (
        f"Input X contains {found} at row {row}, {where} ({len(rows)} in total); every value must be finite: "
        "impute, clip or drop them first."
    )


def _positions_of_infinite(X: Matrix) -> tuple[Codes, Codes]:
    values = stored_values(X)
    if values is not X:
        where = X.tocoo()
        bad = ~np.isfinite(where.data)
        return where.row[bad], where.col[bad]
    rows, columns = np.nonzero(~np.isfinite(X))
    return rows, columns


def overflow_advice(max_abs: float, max_weight: float, C: float) -> str:
    """Say which input is so large that the first sums over the rows overflow: values of X, or row weights."""
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
