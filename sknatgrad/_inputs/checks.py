"""What users pass in, checked before any work. Each error is one sentence: the argument, the value, what is allowed."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager, suppress
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sknatgrad._inputs.columns import naming_columns
from sknatgrad._rows.matrices import canonical, stored_values
from sknatgrad._rows.sampling import class_totals
from sknatgrad._solver.plan import DENSE_BUDGET_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._limits import Limits
    from sknatgrad._typing import Array, Codes, Matrix

MIN_CLASSES = 2
# integer labels within a range of this size are encoded by a table, so many rows at a time
FEW = 2**12
RUN = 2**16


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Put every attribute of `estimator` back if the body fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_model(estimator: Any) -> None:
    """Refuse what is no fitted logistic regression."""
    check_is_fitted(estimator)
    if not (hasattr(estimator, "coef_") and hasattr(estimator, "predict_proba")):
        message = (
            f"estimator is a {type(estimator).__name__}, which is not a logistic regression with coef_ and "
            "predict_proba; of a pipeline pass the last step, with X as transformed by the steps before it, and of a "
            "search its best_estimator_."
        )
        raise ValueError(message)


def check_count(name: str, value: Any) -> None:
    """Refuse what is no number of things."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        message = f"{name}={value!r} must be an integer of 1 or more."
        raise ValueError(message)


def check_level(level: Any) -> None:
    """Refuse what is no coverage."""
    if not isinstance(level, Real) or not 0.0 < float(level) < 1.0:
        message = f"level={level!r} is no coverage; it must lie in (0, 1), such as 0.95."
        raise ValueError(message)


def check_covariance_size(n_params: int, remedy: str, limits: Limits | None = None) -> None:
    """Refuse a covariance of so many coefficients that it is too large for a matrix."""
    n_bytes, budget = 8 * n_params**2, DENSE_BUDGET_BYTES if limits is None else limits.matrix_bytes
    if n_bytes > budget:
        message = (
            f"the covariance of {n_params:,} coefficients would take {n_bytes / 2**20:,.0f} MiB, over its budget of "
            f"{budget // 2**20} MiB; {remedy}."
        )
        raise ValueError(message)


def codes_of(estimator: Any, y: Any, n_rows: int) -> Codes:
    """Return the index of each label among the classes of a fitted estimator."""
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        message = f"y has shape {labels.shape}; it must hold one label a row of X, ({n_rows},)."
        raise ValueError(message)
    return codes_among(estimator.classes_, labels)


def codes_among(classes: Any, labels: Any) -> Codes:
    """Return the index of each label among the classes, in the smallest type that holds it."""
    found, codes = encode(labels, part=True)
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in found.tolist() if label not in code_of]
    if unknown:
        message = f"y holds {unknown[0]!r}, which is not among the estimator's classes {list(code_of)}."
        raise ValueError(message)
    return np.array([code_of[label] for label in found.tolist()], dtype=_smallest_type(len(classes)))[codes]


def check_rows(estimator: Any, X: Matrix) -> Matrix:
    """Return X for a fitted estimator, dense or CSR, in its own type and order."""
    with naming_columns(X):
        checked = _numbers(validate_data(estimator, X, reset=False, **_ANY_ROWS))
    refuse_infinite(estimator, checked)
    return canonical(checked)


def check_training_rows(estimator: Any, X: Matrix, y: Any) -> tuple[Matrix, Any, Codes]:
    """Return X, the classes and the code of each label; sets the estimator's feature attributes.

    Whether X is finite shows in the first gradient over all rows, without a pass of its own.
    """
    checked, labels = check_batch_rows(estimator, X, y, reset=True)
    classes, codes = encode(labels)
    if len(classes) < MIN_CLASSES:
        message = f"y holds only one class, {classes.tolist()[0]!r}; a classifier needs rows of two classes or more."
        raise ValueError(message)
    return canonical(checked), classes, codes


def check_batch_rows(estimator: Any, X: Matrix, y: Any, *, reset: bool) -> tuple[Matrix, Any]:
    """Return X and the labels, one a row; sets the estimator's feature attributes, or holds X to them."""
    if y is not None:
        _refuse_missing(y)
    with naming_columns(X):
        checked, labels = validate_data(estimator, X, y, reset=reset, **_ANY_ROWS)
        return _numbers(checked), labels


def _numbers(X: Matrix) -> Matrix:
    # scikit-learn leaves pandas' categories as they are
    return X.astype(np.float64) if X.dtype == object else X


def check_batch(estimator: Any, X: Matrix, y: Any, classes: Any, *, begins: bool) -> tuple[Matrix, Codes]:
    """Return the rows of a batch of a stream and the code of each label; sets features and classes at the beginning."""
    if begins and classes is None:
        if not hasattr(estimator, "classes_"):
            message = "classes=None in the first call of partial_fit; pass all classes that may ever appear."
            raise ValueError(message)
        warnings.warn(
            "partial_fit begins afresh: fit without store_covariance=True keeps nothing of its rows that it could go "
            "on from; pass classes to say that this is meant.",
            UserWarning,
            stacklevel=4,
        )
    checked, labels = check_batch_rows(estimator, X, y, reset=begins)
    known = estimator.classes_ if classes is None else known_classes(classes)
    if begins:
        estimator.classes_ = known
    elif not np.array_equal(known, estimator.classes_):
        message = f"classes={known.tolist()!r} differ from those of the first call, {estimator.classes_.tolist()!r}."
        raise ValueError(message)
    return canonical(checked), codes_of(estimator, labels, checked.shape[0])


def known_classes(classes: Any) -> Any:
    """Return the classes that a caller knows, sorted."""
    given, known = np.asarray(classes), None
    if given.ndim == 1:
        with suppress(TypeError, ValueError):
            _refuse_missing(given)
            known = np.unique(given)
    if known is None:
        message = f"classes={classes!r} must be a 1-dimensional list of labels that sort, none of them missing."
        raise ValueError(message)
    if known.size < MIN_CLASSES:
        message = f"classes={known.tolist()!r} must hold two classes or more."
        raise ValueError(message)
    return known


def check_batch_weights(
    sample_weight: Any, class_weight: Any, classes: Any, codes: Codes, before: Array
) -> tuple[Array, Array]:
    """Return the weight of each row, ``(n,)``, and the totals of the classes' sample weights so far, ``(K,)``."""
    weight = check_weights(sample_weight, codes.size, some=False)
    totals = before + totals_of_all(codes, weight, before.size)
    factors = _class_factors(class_weight, classes, totals)
    return weighted(weight, factors, codes), totals


def encode(labels: Any, *, part: bool = False) -> tuple[Any, Codes]:
    """Return the classes, sorted, and each label's index among them, in the smallest type that holds it.

    Of a `part` of the rows it is no wonder if most labels are different.
    """
    if labels.dtype.kind in "iuf" and labels.ndim == 1 and labels.size and _are_few_integers(labels):
        return _encode_integers(labels)
    if not part:
        check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    if part:
        check_classification_targets(np.repeat(classes, 3))
    return classes, codes.astype(_smallest_type(len(classes)), copy=False)


def _runs(labels: Any) -> list[slice]:
    return [slice(start, start + RUN) for start in range(0, labels.size, RUN)]


def _are_few_integers(labels: Any) -> bool:
    lowest, highest = labels.min(), labels.max()
    if labels.dtype.kind != "f":
        return int(highest) - int(lowest) < FEW
    # sorting floats would take several times their memory
    return bool(highest - lowest < FEW) and all((labels[run] == np.rint(labels[run])).all() for run in _runs(labels))


def _encode_integers(labels: Any) -> tuple[Any, Codes]:
    """Encode integers of a small range, floats or not, by a table, without sorting or copying them."""
    lowest = labels.min()
    runs = _runs(labels)
    seen = np.zeros(FEW, dtype=bool)
    for run in runs:
        seen[_above(lowest, labels[run])] = True
    present = np.flatnonzero(seen)
    table = np.zeros(FEW, dtype=_smallest_type(present.size))
    table[present] = np.arange(present.size)
    codes = np.empty(labels.shape, dtype=table.dtype)
    for run in runs:
        np.take(table, _above(lowest, labels[run]), out=codes[run])
    # in the labels' own type, where a sum that wraps round twice is right again
    return present.astype(labels.dtype) + lowest, codes


def _above(lowest: Any, labels: Any) -> Any:
    """Return the difference, which may not fit into a small signed type, nor its parts into a large one."""
    above = labels.astype(np.int64) - lowest if labels.dtype.kind == "i" else labels - lowest
    return above.astype(np.intp, copy=False)


def _smallest_type(n_classes: int) -> Any:
    return np.min_scalar_type(n_classes)


def check_row_weights(sample_weight: Any, class_weight: Any, classes: Any, codes: Codes) -> tuple[Array, Array]:
    """Return the weight of each row, ``(n,)``: sample weight times class weight; and each class's of the first."""
    weight = check_weights(sample_weight, codes.size)
    totals = totals_of_all(codes, weight, len(classes))
    factors = check_class_weights(class_weight, classes, totals)
    return weighted(weight, factors, codes), totals


def check_class_weights(class_weight: Any, classes: Any, totals: Array) -> Array:
    """Return the factor of each class, ``(K,)``, from the sums of its rows' sample weights; two must have weight."""
    if np.count_nonzero(totals) < MIN_CLASSES:
        message = (
            f"y and sample_weight leave only one class with a positive weight, {classes[totals > 0].tolist()[0]!r}; a "
            "classifier needs rows of two classes or more."
        )
        raise ValueError(message)
    factors = _class_factors(class_weight, classes, totals)
    if np.count_nonzero(factors * totals) < MIN_CLASSES:
        message = f"class_weight={class_weight!r} leaves fewer than two classes with a positive weight; two are needed."
        raise ValueError(message)
    return factors


def weighted(weight: Array, factors: Array, codes: Codes) -> Array:
    """Return the weight of each row times the factor of its class; where all are 1, without work or memory."""
    return weight if (factors == 1.0).all() else weight * factors[codes]


def totals_of_all(codes: Codes, weight: Array, n_classes: int) -> Array:
    """Return the sum of the weights of each class, ``(K,)``, of those that no row has too."""
    totals = class_totals(codes, weight)
    return np.append(totals, np.zeros(n_classes - totals.size))


def _class_factors(class_weight: Any, classes: Any, totals: Array) -> Array:
    """Return the weight of each class, ``(K,)``, from `totals`, the sum of its rows' sample weights."""
    if class_weight is None:
        return np.ones(len(classes))
    if class_weight == "balanced":
        # scikit-learn's formula, by weight; a class without weight is as good as absent
        present = totals > 0
        factors: Array = np.divide(totals.sum(), present.sum() * totals, out=np.zeros(len(classes)), where=present)
    elif all(isinstance(value, Real) for value in class_weight.values()):
        factors = compute_class_weight(class_weight, classes=classes, y=classes)
    else:
        factors = np.full(len(classes), np.nan)
    if not np.isfinite(factors).all() or (factors < 0).any():
        message = f"class_weight={class_weight!r} must give every class a finite weight of 0 or more."
        raise ValueError(message)
    return factors


def largest_value(X: Matrix) -> float:
    """Return the largest value of X by size."""
    values = stored_values(X)
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


def overflow_advice(max_abs: float, max_weight: float, C: float) -> str:
    """Say which input is so large that the sums at the start are not finite: the largest value, or row weight."""
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


# integers, booleans and float32 pass as they are: blocks are converted one at a time
_ANY_ROWS: dict[str, Any] = {
    "accept_sparse": "csr",
    "accept_large_sparse": True,
    "dtype": "numeric",
    "order": None,
    "ensure_all_finite": False,
}


def check_weights(sample_weight: Any, n_rows: int, *, some: bool = True) -> Array:
    """Return the sample weight of each row, ``(n,)``; ones for None, and a number for all rows alike.

    `some` of them must be positive.
    """
    if sample_weight is None:
        # one number, seen as many: it takes no memory
        return np.broadcast_to(1.0, (n_rows,))
    try:
        given = np.asarray(sample_weight)
        weight = given.astype(np.float64, casting="unsafe" if given.dtype == object else "same_kind")
    except (TypeError, ValueError):
        message = "sample_weight holds values that are not real numbers; every weight must be finite and >= 0."
        raise ValueError(message) from None
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if weight.shape != (n_rows,):
        message = (
            f"sample_weight has shape {weight.shape}; it must be 1-dimensional with one weight a row, ({n_rows},)."
        )
        raise ValueError(message)
    bad = ~np.isfinite(weight)
    if bad.any():
        message = (
            f"sample_weight contains {weight[bad][0]} at row {int(bad.argmax())}; every weight must be finite and >= 0."
        )
        raise ValueError(message)
    if (weight < 0).any():
        row = int((weight < 0).argmax())
        message = f"sample_weight contains the negative value {weight[row]} at row {row}; every weight must be >= 0."
        raise ValueError(message)
    if some and not weight.any():
        message = "sample_weight is zero for every row; at least one weight must be positive."
        raise ValueError(message)
    return weight


def _refuse_missing(y: Any) -> None:
    try:
        labels = np.asarray(y).ravel()
    except ValueError:
        message = "y is ragged, with rows of different lengths; it must hold one label a row of X."
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
        message = f"y contains {missing} at row {row}; every label must be present and finite: drop the rows without."
        raise ValueError(message)


def _is_missing(label: Any) -> bool:
    # pandas' NA and NaT answer comparisons neither with True nor with False; NaN is the float that differs from itself
    return (
        label is None
        or type(label).__name__ in {"NAType", "NaTType"}
        or (isinstance(label, float) and math.isnan(label))
    )


def refuse_infinite(estimator: Any, X: Matrix) -> None:
    """Raise an error that says where X is not finite, if it is not."""
    values = stored_values(X)
    if values.dtype.kind != "f":
        return
    try:
        assert_all_finite(values)
    except ValueError:
        raise ValueError(_where_infinite(estimator, X)) from None


def _where_infinite(estimator: Any, X: Matrix) -> str:
    names = getattr(estimator, "feature_names_in_", None)
    rows, columns = (part.tolist() for part in _positions_of_infinite(X))
    row, column = rows[0], columns[0]
    value = X[row, column]
    where = f"column {column}" if names is None else f"column {str(names[column])!r}"
    found = "NaN" if np.isnan(value) else "infinity"
    return (
        f"Input X contains {found} at row {row}, {where} ({len(rows)} such in all); every value must be finite: "
        "impute, clip or drop them first."
    )


def _positions_of_infinite(X: Matrix) -> tuple[Any, Any]:
    values = stored_values(X)
    if values is not X:
        where = X.tocoo()
        bad = ~np.isfinite(where.data)
        return where.row[bad], where.col[bad]
    rows, columns = np.nonzero(~np.isfinite(X))
    return rows, columns
