"""θ ↔ `coef_`, `intercept_`; the gauge; the prior. Each decided here, once.

K > 2 free logits leave one direction for each column that changes no prediction: the same number added to all
classes. θ is kept at the member of that family that sums to zero over classes, which also has the least norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes


BINARY = 2


def logits_for(n_classes: int) -> int:
    """Return q: one logit for two classes, otherwise one a class."""
    return 1 if n_classes == BINARY else n_classes


def centre(theta: Array) -> Array:
    """Return θ at zero sum over classes; a single logit has no gauge and comes back as it is."""
    return theta if theta.shape[0] == 1 else theta - theta.mean(axis=0)


def sum_zero(n_logits: int) -> Array:
    """Return an orthonormal basis of what sums to zero over classes, ``(q, q - 1)``; ``(1, 1)`` for one logit."""
    basis: Array = np.eye(1) if n_logits == 1 else linalg.helmert(n_logits).T
    return basis


def prior_precision(C: float, n_features: int, *, intercept: bool) -> Array:
    """Return λ, ``(d,)``: 1/C for each feature, 0 for the intercept."""
    return np.append(np.full(n_features, 1.0 / C), np.zeros(int(intercept)))


def join(coef: Array, intercept: Array, *, with_intercept: bool) -> Array:
    """Return θ ``(q, d)`` from `coef_` and `intercept_`."""
    coef = np.asarray(coef, dtype=np.float64)
    return np.column_stack([coef, intercept]) if with_intercept else coef


def split(theta: Array, *, intercept: bool) -> tuple[Array, Array]:
    """Return `coef_` ``(q, p)`` and `intercept_` ``(q,)``, zeros where there is none."""
    if intercept:
        return theta[:, :-1].copy(), theta[:, -1].copy()
    return theta.copy(), np.zeros(theta.shape[0])


def attributes_of(theta: Array, classes: Any, dtype: type, *, intercept: bool) -> dict[str, Any]:
    """Return what an estimator publishes of θ."""
    coef, biases = split(theta, intercept=intercept)
    if max(abs(coef).max(initial=0.0), abs(biases).max()) > np.finfo(dtype).max:
        # columns of 1e-42 have coefficients that float32 cannot hold
        dtype = np.float64
    return {"classes_": classes, "coef_": coef.astype(dtype), "intercept_": biases.astype(dtype)}


def columns_of(theta: Array, kept: Codes | None, n_features: int) -> Array:
    """Return the columns of θ that belong to the kept features, and to the intercept."""
    return theta if kept is None else theta[:, np.append(kept, np.arange(n_features, theta.shape[1]))]


def into_columns(theta: Array, kept: Codes | None, n_features: int) -> Array:
    """Return θ for all features, zero for those that were not kept."""
    if kept is None:
        return theta
    whole = np.zeros((theta.shape[0], n_features + theta.shape[1] - kept.size))
    whole[:, kept] = theta[:, : kept.size]
    whole[:, n_features:] = theta[:, kept.size :]
    return whole


def transfer(theta: Array, classes: Array, new_classes: Array) -> Array:
    """Carry θ from one set of classes to another by label; a class not seen before starts at zero.

    For two classes the single row is the logit of class 1 against class 0, so it is first split evenly.
    """
    rows = np.vstack([-0.5 * theta, 0.5 * theta]) if theta.shape[0] == 1 else theta
    by_label = dict(zip(classes.tolist(), rows, strict=True))
    carried = np.array([by_label.get(label, np.zeros(theta.shape[1])) for label in new_classes.tolist()])
    return carried[1:] - carried[:1] if len(carried) == BINARY else centre(carried)


class Start(NamedTuple):
    """The coefficients of an earlier fit."""

    theta: Array  # (q, d)
    classes: Any
    intercept: bool

    def carried(self, classes: Any, n_features: int, kept: Codes | None) -> Array:
        """Return θ for other classes and the kept features; refuse another number of features."""
        n_old = self.theta.shape[1] - self.intercept
        if n_old != n_features:
            message = (
                f"X has {n_features} features, but warm_start=True would start from coefficients of {n_old}; pass the "
                "same features, or set warm_start=False."
            )
            raise ValueError(message)
        return transfer(columns_of(self.theta, kept, n_features), self.classes, classes)
