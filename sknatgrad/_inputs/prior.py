"""What an estimator believes of its coefficients before any row, from its parameters `C` and `prior`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator

from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._model.parameters import logits_for, prior_precision
from sknatgrad._model.prior import REMEDY, Prior, gaussian_prior, posterior_prior


def configured_prior(estimator: Any, classes: Any) -> Prior:
    """Return the prior for such classes and the features that the estimator has seen."""
    given = estimator.prior
    if given is None:
        return Prior(prior_precision(estimator.C, estimator.n_features_in_, intercept=estimator.fit_intercept))
    if isinstance(given, (tuple, list)):
        shape = (logits_for(len(classes)), estimator.n_features_in_ + estimator.fit_intercept)
        if len(given) != 2:  # noqa: PLR2004 - a mean and a precision
            message = f"prior is a {type(given).__name__} of {len(given)}; {REMEDY}."
            raise ValueError(message)
        return gaussian_prior(
            (given[0], given[1]), estimator.C, shape, intercept=estimator.fit_intercept, check_size=_check_by_class
        )
    return _of_model(estimator, given, classes)


def _of_model(estimator: Any, given: Any, classes: Any) -> Prior:
    earlier = given.estimator if isinstance(given, FrozenEstimator) else given
    if not hasattr(earlier, "coef_"):
        message = (
            f"prior is a {type(earlier).__name__} that is not fitted: fit it, and where estimators are cloned, which "
            "forgets fits, wrap it: prior=sklearn.frozen.FrozenEstimator(model)."
        )
        raise ValueError(message)
    stream = getattr(earlier, "_stream", None)
    if stream is None:
        message = (
            f"prior is a {type(earlier).__name__} that keeps no information of its rows; fit it with "
            "store_covariance=True, or by partial_fit."
        )
        raise ValueError(message)
    for what in ("classes", "features", "fit_intercept"):
        mine, others = _kind(estimator, classes)[what], _kind(earlier, earlier.classes_)[what]
        if mine != others:
            message = f"prior is a model with {what} {others!r}, where this fit has {mine!r}; they must be the same."
            raise ValueError(message)
    # F₀ of a stream that began with a prior of its own holds that
    own = configured_prior(earlier, earlier.classes_)
    return posterior_prior(stream.quadratic, own, estimator.C, _check_size)


def _check_by_class(n_params: int) -> None:
    check_covariance_size(n_params, "pass a prior whose precision is the same for all classes")


def _check_size(n_params: int) -> None:
    check_covariance_size(n_params, "fit the earlier model with fisher='kronecker'")


def _kind(estimator: Any, classes: Any) -> dict[str, Any]:
    """Return what has to be the same for two models to have the same coefficients."""
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "classes": np.asarray(classes).tolist(),
        "features": estimator.n_features_in_ if names is None else list(names),
        "fit_intercept": estimator.fit_intercept,
    }
