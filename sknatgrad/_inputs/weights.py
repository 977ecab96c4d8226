"""The weights of rows: `sample_weight`, as users give it, times the weight of the class."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._inputs.labels import MIN_CLASSES
from sknatgrad._inputs.missing import is_missing, objects_as_floats
from sknatgrad._model.class_labels import label_index, label_name, label_names
from sknatgrad._rows.sampling import class_totals

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Labels
    from sknatgrad._inputs.configuration import ClassWeight


ONE = np.ones(1)
ONE.flags.writeable = False


def check_sample_weight(sample_weight: ArrayLike | None, n_rows: int, *, positive: bool = True) -> Array:
    """Return the sample weight of each row, ``(n,)``: 1 for None; a number is the weight of every row.

    With `positive` at least one of them must be positive.
    """
    if sample_weight is None:
        # a view of one number, which takes no memory; `np.broadcast_to` takes 4 us
        return np.ndarray((n_rows,), np.float64, ONE, strides=(0,))
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
            f"sample_weight contains {weight[bad][0]} at row {int(bad.argmax())}; every weight must be finite and "
            ">= 0, and 0 omits a row."
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
        given = sample_weight if isinstance(sample_weight, np.ma.MaskedArray) else np.asarray(sample_weight)
        if given.dtype.kind == "O" or isinstance(given, np.ma.MaskedArray):
            return objects_as_floats(given)
        return given.astype(np.float64, casting="same_kind")
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
            f"y and sample_weight leave only one class with a positive weight, {label_name(classes[totals > 0][0])}; a "
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
        factors = _factors_by_label(class_weight, classes)
    else:
        factors = np.full(len(classes), np.nan)
    if not np.isfinite(factors).all() or (factors < 0).any():
        message = f"class_weight={class_weight!r} must give every class a finite weight of 0 or more."
        raise ValueError(message)
    return factors


def _factors_by_label(class_weight: dict[Any, float], classes: Labels) -> Array:
    """Return the weight of each class, 1 for those that are omitted, as in scikit-learn."""
    missing = [label for label in class_weight if is_missing(label)]
    if missing:
        message = (
            f"class_weight={class_weight!r} gives a weight to the missing label {missing[0]!r}, which y cannot hold; "
            "omit it."
        )
        raise ValueError(message)
    indices = {label: label_index(label, classes) for label in class_weight}
    factors: Array = np.ones(len(classes))
    for label, index in indices.items():
        if index is not None:
            factors[index] = class_weight[label]
    omitted = sorted(set(range(len(classes))) - set(indices.values()))
    unknown = [label for label, index in indices.items() if index is None]
    # weights for classes that these rows lack are allowed, unless a class that they have may be misspelt
    if omitted and unknown:
        message = (
            f"class_weight={class_weight!r} has {label_name(unknown[0])}, which is not among the classes "
            f"{label_names(classes)}, and lacks {label_name(classes[omitted[0]])}; name the classes as y does."
        )
        raise ValueError(message)
    return factors


def weighted(weight: Array, factors: Array, codes: Codes) -> Array:
    """Return the weight of each row times the factor of its class; if all factors are 1, the same array."""
    return weight if (factors == 1.0).all() else weight * factors[codes]


def totals_of_all(codes: Codes, weight: Array, n_classes: int) -> Array:
    """Return the sum of the weights of each class, ``(K,)``; 0 for a class without rows."""
    totals = class_totals(codes, weight)
    missing = n_classes - totals.size
    return np.append(totals, np.zeros(missing)) if missing else totals
