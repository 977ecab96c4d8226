"""What inference has to know of a fitted logistic regression, whoever fitted it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._inputs.checks import check_model
from sknatgrad._inputs.columns import INTERCEPT, feature_names, places_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.categorical import predict
from sknatgrad._model.layout import join, prior_precision
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes, Matrix

# how far the probabilities may be from those of the coefficients; float32 rounds by less
SAME = 1e-3
# rows to look at
FEW_ROWS = 16


class Fitted(NamedTuple):
    """Coefficients and what they minimise."""

    theta: Array  # (q, d)
    prior: Array  # (d,), the precision of each column's coefficients
    mean: Array | None  # (q, d), where it is centred; None is 0
    classes: Any  # (K,)
    names: tuple[str, ...]  # of the d columns
    intercept: bool
    loss: float | None = None  # nats per unit of weight where it ended, penalty included, if it says that it converged
    tol: float = 0.0  # what it may have left, as a share of that
    class_weighted: bool = False

    @property
    def penalised(self) -> bool:
        """Whether the estimate is shrunk."""
        return bool(self.prior.any())

    @property
    def penalty(self) -> float:
        """Its value, in nats."""
        return 0.5 * float((self.prior * self.deviation**2).sum())

    @property
    def deviation(self) -> Array:
        """Coefficients as the penalty sees them, ``(q, d)``."""
        return self.theta if self.mean is None else self.theta - self.mean

    @classmethod
    def of(cls, estimator: Any, X: Any) -> Fitted:
        """Read a fitted estimator; refuse what is no logistic regression with an L2 penalty or none.

        X may know the names of columns that the estimator was not told.
        """
        check_model(estimator)
        intercept = bool(getattr(estimator, "fit_intercept", True))
        theta = join(estimator.coef_, estimator.intercept_, with_intercept=intercept)
        n_features = estimator.coef_.shape[1]
        names = feature_names(estimator)
        given = list(getattr(X, "columns", []))
        if not hasattr(estimator, "feature_names_in_") and len(given) == n_features:
            names = [str(name) for name in given]
        return cls(
            theta,
            *_prior(estimator, theta.shape, intercept=intercept),
            np.asarray(estimator.classes_),
            (*names, INTERCEPT) if intercept else tuple(names),
            intercept,
            estimator.loss_curve_[-1] if getattr(estimator, "converged_", False) else None,
            float(getattr(estimator, "tol", 0.0)),
            getattr(estimator, "class_weight", None) is not None,
        )

    def columns(self, features: Any) -> Codes:
        """Return the indices of columns that are given by name or index."""
        return np.array(places_of(features, list(self.names)), dtype=np.intp)

    def check_link(self, estimator: Any, X: Matrix) -> None:
        """Refuse a model whose probabilities are not the sigmoid or softmax of its logits, such as one against rest."""
        rows = X[: min(FEW_ROWS, X.shape[0])]
        expected = predict(Design.of(rows, self.theta.shape[1]).logits(self.theta)).distribution()
        with warnings.catch_warnings():
            # that the columns have lost their names on the way
            warnings.simplefilter("ignore")
            proba = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
        if not np.abs(proba - expected).max(initial=0.0) <= SAME:
            message = (
                f"estimator is a {type(estimator).__name__} whose probabilities are not the softmax of its logits, as "
                "of a model of each class against the rest; fit one multinomial model."
            )
            raise ValueError(message)


def _prior(estimator: Any, shape: tuple[int, ...], *, intercept: bool) -> tuple[Array, Array | None]:
    """Return precision ``(d,)`` and mean ``(q, d)`` of the prior that the estimator's penalty stands for."""
    if getattr(estimator, "prior", None) is not None:
        given = configured_prior(estimator, estimator.classes_)
        if given.quadratic is None:
            return given.precision, given.mean
        message = (
            "estimator has an earlier model, or a matrix, as its prior, which infer does not know of; its covariance_, "
            "with store_covariance=True, does."
        )
        raise ValueError(message)
    return _ridge(estimator, shape[1] - intercept, intercept=intercept), None


def _ridge(estimator: Any, n_features: int, *, intercept: bool) -> Array:
    if not (hasattr(estimator, "C") or hasattr(estimator, "C_")):
        message = (
            f"estimator is a {type(estimator).__name__}, which does not say by a parameter C what its penalty was; "
            "pass a logistic regression of this package or of scikit-learn."
        )
        raise ValueError(message)
    penalty = getattr(estimator, "penalty", "l2")
    l1_ratio = getattr(estimator, "l1_ratio_", getattr(estimator, "l1_ratio", None))
    shares = [] if l1_ratio is None else [share for share in np.ravel(l1_ratio).tolist() if share]
    if penalty == "l1" or (penalty != "l2" and shares):
        message = (
            f"estimator has an L1 penalty (l1_ratio={l1_ratio!r}), under which coefficients have no standard errors of "
            "this kind; fit with an L2 penalty or none."
        )
        raise ValueError(message)
    chosen = estimator.C_ if hasattr(estimator, "C_") else estimator.C
    strengths = np.unique(np.asarray(chosen, dtype=np.float64))
    if strengths.size > 1:
        message = f"estimator was fitted with another C for each class, {strengths.tolist()}; fit with one C for all."
        raise ValueError(message)
    C = np.inf if penalty is None else float(strengths[0])
    prior = prior_precision(C, n_features, intercept=intercept)
    if intercept and getattr(estimator, "solver", "") == "liblinear":
        # it penalises the coefficient of a column of `intercept_scaling`
        prior[-1] = 1.0 / C / float(estimator.intercept_scaling) ** 2
    return prior
