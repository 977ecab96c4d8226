"""The weights of rows: `sample_weight`, as users give it, times the weight of the class."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from sknatgrad._inputs.labels import MIN_CLASSES
from sknatgrad._rows.sampling import class_totals

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._inputs.configuration import ClassWeight
    from sknatgrad._typing import Array, Codes, Labels


def check_sample_weight(sample_weight: ArrayLike | None, n_rows: int, *, positive: bool = True) -> Array:
    """Return the sample weight of each row, ``(n,)``: 1 for None; a number is the weight of every row.

    With `positive` at least one of them must be positive.
    """
    if sample_weight is None:
        # a view of one number, which takes no memory
        return np.broadcast_to(1.0, (n_rows,))
    weight = _as_floats(sample_weight)
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if weight.shape != (n_rows,):
        message = (
            f"sample_weight has shape {weight.shape}; it must be 1-dimensional with one weight per row, ({n_rows},)."
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
    if positive and not weight.any():
        message = "sample_weight is zero for every row; at least one weight must be positive."
        raise ValueError(message)
    return weight


def _as_floats(sample_weight: ArrayLike | None) -> Array:
    try:
        given = np.asarray(sample_weight)
        return given.astype(np.float64, casting="unsafe" if given.dtype == object else "same_kind")
    except (TypeError, ValueError):
        message = "sample_weight holds values that are not real numbers; every weight must be finite and >= 0."
        raise ValueError(message) from None


def check_row_weights(
    sample_weight: ArrayLike | None, class_weight: ClassWeight, classes: Labels, codes: Codes
) -> tuple[Array, Array]:
    """Return the weight of each row, ``(n,)``, and the sum of the sample weights of each class, ``(K,)``."""
    weight = check_sample_weight(sample_weight, codes.size)
    totals = totals_of_all(codes, weight, len(classes))
    factors = check_class_weights(class_weight, classes, totals)
    return weighted(weight, factors, codes), totals


def check_class_weights(class_weight: ClassWeight, classes: Labels, totals: Array) -> Array:
    """Return the factor of each class, ``(K,)``, from the sums of the sample weights; two classes must have weight."""
    if np.count_nonzero(totals) < MIN_CLASSES:
        message = (
            f"y and sample_weight leave only one class with a positive weight, {classes[totals > 0].tolist()[0]!r}; a "
            "classifier needs rows of two classes or more."
        )
        raise ValueError(message)
    factors = class_factors(class_weight, classes, totals)
    if np.count_nonzero(factors * totals) < MIN_CLASSES:
        message = f"class_weight={class_weight!r} leaves fewer than two classes with a positive weight; two are needed."
        raise ValueError(message)
    return factors


def class_factors(class_weight: ClassWeight, classes: Labels, totals: Array) -> Array:
    """Return the weight of each class, ``(K,)``, from `totals`, the sum of the sample weights of its rows."""
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str):
        # "balanced", by scikit-learn's formula with weights for counts; a class without weight counts as absent
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


def weighted(weight: Array, factors: Array, codes: Codes) -> Array:
    """Return the weight of each row times the factor of its class; if all factors are 1, the same array."""
    return weight if (factors == 1.0).all() else weight * factors[codes]


def totals_of_all(codes: Codes, weight: Array, n_classes: int) -> Array:
    """Return the sum of the weights of each class, ``(K,)``; 0 for a class without rows."""
    totals = class_totals(codes, weight)
    return np.append(totals, np.zeros(n_classes - totals.size))
