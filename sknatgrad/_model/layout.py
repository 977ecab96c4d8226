"""The arrangement of the coefficients θ: their classes, columns and intercept, and the gauge of several classes.

K > 2 free logits leave one direction for each column that changes no prediction: the same number added to all
classes. θ is kept at the member of that family that sums to zero over classes, which also has the least norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import linalg

from sknatgrad._model.class_labels import label_keys
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._rows.matrices import as_dense

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array, Labels, Matrix
    from sknatgrad._rows.column_groups import ColumnGroups


# classes that share one logit
BINARY = 2


def logits_for(n_classes: int) -> int:
    """Return q: one logit for two classes, otherwise one a class."""
    return 1 if n_classes == BINARY else n_classes


def classes_for(n_logits: int) -> int:
    """Return K: two classes for one logit, otherwise one a logit."""
    return max(n_logits, BINARY)


def zero_sum(theta: Array) -> Array:
    """Return θ at zero sum over classes; a single logit has no gauge, and its θ is returned unchanged."""
    return theta if theta.shape[0] == 1 else theta - theta.mean(axis=0)


def sum_zero(n_logits: int) -> Array:
    """Return an orthonormal basis of vectors with zero sum over classes, ``(q, q - 1)``; ``(1, 1)`` for one logit."""
    basis: Array = np.eye(1) if n_logits == 1 else linalg.helmert(n_logits).T
    return basis


def prior_precision(C: float, n_features: int, *, intercept: bool) -> Array:
    """Return λ, ``(d,)``: 1/C for each feature, 0 for the intercept."""
    return np.append(np.full(n_features, 1.0 / C), np.zeros(int(intercept)))


def join(coef: Matrix, intercept: Array, *, with_intercept: bool) -> Array:
    """Return θ ``(q, d)`` from `coef_`, which `sparsify` makes sparse, and `intercept_`."""
    coef = np.asarray(as_dense(coef), dtype=np.float64)
    return np.column_stack([coef, intercept]) if with_intercept else coef


def split(theta: Array, *, intercept: bool) -> tuple[Array, Array]:
    """Return `coef_` ``(q, p)`` and `intercept_` ``(q,)`` from θ; zeros where θ has no intercept."""
    if intercept:
        return theta[:, :-1].copy(), theta[:, -1].copy()
    return theta.copy(), np.zeros(theta.shape[0])


class Layout(NamedTuple):
    """The entries of θ ``(q, d)``: one row per logit, one column per feature of X, the intercept last."""

    classes: Labels  # (K,)
    n_features: int  # p, of X
    intercept: bool
    groups: ColumnGroups | None = None  # of the columns of X, which θ has one column for; None if it has them all
    centres: Array | None = None  # (p,), that the rows have less; None if they are not centred

    @property
    def n_logits(self) -> int:
        """Number of logits q."""
        return logits_for(len(self.classes))

    @property
    def n_columns(self) -> int:
        """Number of columns d of θ."""
        return (self.n_features if self.groups is None else self.groups.size) + self.intercept

    @property
    def shape(self) -> tuple[int, int]:
        """(q, d) of θ."""
        return self.n_logits, self.n_columns

    @property
    def n_params(self) -> int:
        """Number of coefficients of all columns that the likelihood determines, (K - 1) (p + 1) with an intercept."""
        return (len(self.classes) - 1) * (self.n_features + self.intercept)

    def restrict(self, theta: Array) -> Array:
        """Return θ for the groups of columns from θ of all columns, ``(q, d)``."""
        if self.groups is None:
            return theta
        features, biases = np.split(theta, [self.n_features], axis=1)
        return np.hstack([self.groups.restrict(features), biases])

    def restrict_precision(self, precision: Array) -> Array:
        """Return the prior precision ``(d,)`` for the groups of columns from that of all columns, which is equal."""
        return precision if self.groups is None else precision[-self.n_columns :]

    def expand(self, theta: Array) -> Array:
        """Return θ of all columns, 0 for empty ones, from θ for the groups."""
        if self.groups is None:
            return theta
        features, biases = np.split(theta, [self.groups.size], axis=1)
        return np.hstack([self.groups.expand(features), biases])

    def column_names(self, feature_names: Sequence[str], intercept_name: str) -> list[str]:
        """Return the name of each column of θ; of a group, that of its first column."""
        first = range(self.n_features) if self.groups is None else self.groups.first_columns()
        names = [feature_names[j] for j in first]
        return [*names, intercept_name] if self.intercept else names

    def attributes(self, theta: Array, dtype: type) -> dict[str, object]:
        """Return `classes_`, `coef_` and `intercept_` of all columns, in a floating type that holds them.

        With them come the centres of the rows, and the intercept for centred rows, which `intercept_` cannot replace:
        that has the rounding error of Σ c_j w_j.
        """
        coef, biases = split(self.expand(theta), intercept=self.intercept)
        if max(abs(coef).max(initial=0.0), abs(biases).max()) > np.finfo(dtype).max:
            # columns of 1e-42 have coefficients that float32 cannot hold
            dtype = np.float64
        coef = coef.astype(dtype)
        return {
            "classes_": self.classes,
            "coef_": coef,
            "intercept_": raw_intercept(coef, biases, self.centres).astype(dtype),
            "_centres": self.centres,
            "_centred_intercept": None if self.centres is None else biases,
        }


def raw_intercept(coef: Array, centred_intercept: Array, centres: Array | None) -> Array:
    """Return the intercepts ``(q,)`` for the rows themselves, from those for rows less the centres."""
    return centred_intercept if centres is None else centred_intercept - coef.astype(np.float64) @ centres


def fitted_theta(estimator: Any, *, intercept: bool) -> tuple[Array, Array | None]:
    """Return θ ``(q, d)`` of a fitted estimator for rows less the centres of its fit, and these; None if they are 0."""
    theta = join(estimator.coef_, estimator.intercept_, with_intercept=intercept)
    centres: Array | None = getattr(estimator, "_centres", None)
    if centres is None or not intercept or theta.shape[1] != centres.size + 1:
        return theta, None
    biases = estimator._centred_intercept  # noqa: SLF001 - it belongs to the centres
    expected = raw_intercept(theta[:, :-1], biases, centres).astype(estimator.intercept_.dtype)
    if np.array_equal(expected, estimator.intercept_):
        theta[:, -1] = biases
        return theta, centres
    # `coef_` or `intercept_` has been set since the fit
    return recentred_theta(theta, None, centres), centres


class WarmStart(NamedTuple):
    """The coefficients of an earlier fit, to start another one from."""

    theta: Array  # (q, d), of all columns
    layout: Layout  # with the centres of the rows that θ is for

    def transfer(self, layout: Layout) -> Array:
        """Return θ in the layout of another fit; refuse another number of features."""
        if self.layout.n_features != layout.n_features:
            message = (
                f"X has {layout.n_features} features, but warm_start=True would start from coefficients of "
                f"{self.layout.n_features}; pass the same features, or set warm_start=False."
            )
            raise ValueError(message)
        theta = recentred_theta(self.theta, self.layout.centres, layout.centres)
        return transfer(layout.restrict(theta), self.layout.classes, layout.classes)


def transfer(theta: Array, classes: Labels, new_classes: Labels) -> Array:
    """Return θ of other classes, matched by label; a class that θ does not have starts at zero.

    For two classes the single row is the logit of class 1 against class 0, so it is first split evenly.
    """
    rows = np.vstack([-0.5 * theta, 0.5 * theta]) if theta.shape[0] == 1 else theta
    by_label = dict(zip(label_keys(classes), rows, strict=True))
    carried = np.array([by_label.get(label, np.zeros(theta.shape[1])) for label in label_keys(new_classes)])
    return carried[1:] - carried[:1] if len(carried) == BINARY else zero_sum(carried)
