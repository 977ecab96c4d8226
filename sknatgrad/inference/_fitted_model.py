"""The coefficients and the objective of a fitted logistic regression, of this package or of scikit-learn."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.frozen import FrozenEstimator

from sknatgrad._estimator.base import LogisticRegressionBase
from sknatgrad._inputs.checks import check_model
from sknatgrad._inputs.columns import INTERCEPT, column_indices, feature_names
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.categorical import probabilities
from sknatgrad._model.layout import fitted_theta, prior_precision
from sknatgrad._model.prior import Prior
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._rows.centring import take_centred
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array, Codes, Labels, Matrix
    from sknatgrad._inputs.columns import Features

# The largest difference of a probability from that of the coefficients. Fits to float32 differ by 1e-7; another link
# function by much more.
MAX_LINK_ERROR = 1e-3
# Rows at which the link is checked. 8 to 1,024 take the same time: 9.4 to 9.9 ms in all for breast cancer.
LINK_ROWS = 16


class FittedModel(NamedTuple):
    """The coefficients of a fit, and the objective that they minimise."""

    theta: Array  # (q, d), for rows less the centres
    prior: Prior
    classes: Labels  # (K,)
    names: tuple[str, ...]  # of the d columns
    intercept: bool
    loss: float | None = None  # final nats per unit of weight, penalty included; None if the fit has not converged
    tol: float = 0.0  # the remaining decrease that the fit allowed, relative to the loss
    class_weighted: bool = False
    centres: Array | None = None  # (p,), of the rows that θ is for; None is 0

    @property
    def penalised(self) -> bool:
        """Whether the fit has a penalty."""
        return bool(self.prior.precision.any())

    @property
    def penalty(self) -> float:
        """The penalty at the coefficients, in nats."""
        return self.prior.value(self.theta)

    @property
    def deviation(self) -> Array:
        """The coefficients less the mean of the prior, ``(q, d)``."""
        return self.prior.deviation(self.theta)

    @classmethod
    def of(cls, estimator: Any, X: Matrix) -> FittedModel:
        """Read a fitted estimator; raise an error for any but logistic regression with an L2 penalty or none.

        The names of the columns of X are used if the estimator has none.
        """
        check_model(estimator)
        intercept = bool(getattr(estimator, "fit_intercept", True))
        theta, centres = fitted_theta(estimator, intercept=intercept)
        n_features = estimator.coef_.shape[1]
        names = feature_names(estimator)
        given = list(getattr(X, "columns", []))
        if not hasattr(estimator, "feature_names_in_") and len(given) == n_features:
            names = [str(name) for name in given]
        return cls(
            theta,
            _prior(estimator, n_features, intercept=intercept),
            np.asarray(estimator.classes_),
            (*names, INTERCEPT) if intercept else tuple(names),
            intercept,
            estimator.loss_curve_[-1] if getattr(estimator, "converged_", False) else None,
            float(getattr(estimator, "tol", 0.0)),
            getattr(estimator, "class_weight", None) is not None,
            centres,
        )

    def recentred(self, centres: Array | None) -> FittedModel:
        """Return the same model for rows less other centres, ``(p,)``; None is 0."""
        return self._replace(theta=recentred_theta(self.theta, self.centres, centres), centres=centres)

    def recentred_for(self, found: Callable[[], Array | None]) -> FittedModel:
        """Return the model for rows with the centres of its fit, or else with those that are `found` now.

        The penalty of an intercept refers to the rows themselves.
        """
        if not self.intercept or self.prior.precision[-1] > 0.0:
            return self.recentred(None)
        return self if self.centres is not None else self.recentred(found())

    def column_indices(self, features: Features) -> Codes:
        """Return the indices of columns that are given by name or index."""
        return np.array(column_indices(features, list(self.names)), dtype=np.intp)

    def check_link(self, estimator: Any, X: Matrix) -> None:
        """Raise an error if the probabilities are not the softmax of the logits, as in one-vs-rest models."""
        rows = X[: min(LINK_ROWS, X.shape[0])]
        design = Design.of(take_centred(rows, 0, rows.shape[0], self.centres), self.theta.shape[1])
        expected = probabilities(design.logits(self.theta))
        with warnings.catch_warnings():
            # the estimator may miss the names of the columns, which the checked rows no longer have
            warnings.simplefilter("ignore")
            proba = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
        if not np.abs(proba - expected).max(initial=0.0) <= MAX_LINK_ERROR:
            message = (
                f"estimator is a {type(estimator).__name__} whose probabilities are not the softmax of its logits, as "
                "in one-vs-rest models; fit one multinomial model."
            )
            raise ValueError(message)


def logistic_regression(estimator: Any) -> Any:
    """Return a logistic regression, out of a `FrozenEstimator`; refuse any other type, and say what to pass.

    The types decide, not the attributes: `C` of another class need not be the strength of its penalty.
    """
    inner = estimator
    while isinstance(inner, FrozenEstimator):
        inner = inner.estimator
    if _is_logistic_regression(inner):
        return inner
    kind = type(inner).__name__
    if _is_instance(inner, "sklearn.pipeline", "Pipeline") and _is_logistic_regression(inner.steps[-1][1]):
        message = (
            f"estimator is a {kind}; pass its last step, estimator[-1], which is {inner.steps[-1][0]!r}, and the rows "
            "that it was fitted to, estimator[:-1].transform(X)."
        )
    elif hasattr(inner, "best_estimator_"):
        message = f"estimator is a {kind}; pass its best_estimator_."
    else:
        message = (
            f"estimator is a {kind}; it must be a NaturalGradientLogisticRegression, or a LogisticRegression or "
            "LogisticRegressionCV of scikit-learn: standard errors depend on the penalty, which other classes state in "
            "other ways."
        )
    raise ValueError(message)


def _is_logistic_regression(estimator: object) -> bool:
    own = isinstance(estimator, LogisticRegressionBase)
    return own or _is_instance(estimator, "sklearn.linear_model", "LogisticRegression")


def _is_instance(estimator: object, module: str, name: str) -> bool:
    """Say whether an estimator is of a class of scikit-learn, whose module it has then imported already.

    An import of `sklearn.linear_model` here would take 40 ms.
    """
    imported = sys.modules.get(module)
    return imported is not None and isinstance(estimator, getattr(imported, name))


def _prior(estimator: Any, n_features: int, *, intercept: bool) -> Prior:
    """Return the Gaussian prior whose negative log density is the estimator's penalty."""
    if getattr(estimator, "prior", None) is None:
        return Prior(_penalty_precision(estimator, n_features, intercept=intercept))
    prior = configured_prior(estimator, estimator.classes_)
    if prior.quadratic is None:
        return prior
    message = (
        "estimator has an earlier model, or a matrix, as its prior, which infer does not support; its covariance_, "
        "with store_covariance=True, includes that prior."
    )
    raise ValueError(message)


def _penalty_precision(estimator: Any, n_features: int, *, intercept: bool) -> Array:
    """Return the precision of each column, ``(d,)``, of an L2 penalty; raise an error for other penalties."""
    penalty = getattr(estimator, "penalty", "l2")
    l1_ratio = getattr(estimator, "l1_ratio_", getattr(estimator, "l1_ratio", None))
    shares = [] if l1_ratio is None else [share for share in np.ravel(l1_ratio).tolist() if share]
    if penalty == "l1" or (penalty != "l2" and shares):
        message = (
            f"estimator has an L1 penalty (l1_ratio={l1_ratio!r}), for which infer has no standard errors; fit with an "
            "L2 penalty or none."
        )
        raise ValueError(message)
    chosen = estimator.C_ if hasattr(estimator, "C_") else estimator.C
    strengths = np.unique(np.asarray(chosen, dtype=np.float64))
    if strengths.size > 1:
        message = f"estimator was fitted with another C for each class, {strengths.tolist()}; fit with one C for all."
        raise ValueError(message)
    C = np.inf if penalty is None else float(strengths[0])
    precision = prior_precision(C, n_features, intercept=intercept)
    if intercept and getattr(estimator, "solver", "") == "liblinear":
        # it penalises the coefficient of a column of `intercept_scaling`
        precision[-1] = 1.0 / C / float(estimator.intercept_scaling) ** 2
    return precision
