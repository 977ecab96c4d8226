"""The Gaussian prior that the parameters `C` and `prior` of an estimator ask for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sklearn.frozen import FrozenEstimator

from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.configuration import layout_of
from sknatgrad._model.class_labels import label_list
from sknatgrad._model.layout import prior_precision
from sknatgrad._model.prior import PRIOR_FORMS, Prior, gaussian_prior, posterior_prior
from sknatgrad._model.recentring import recentred_theta

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Labels
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._model.layout import Layout
    from sknatgrad._model.quadratic import QuadraticApproximation


def configured_prior(estimator: Configuration, classes: Labels, centres: Array | None = None) -> Prior:
    """Return the prior on the coefficients of these classes and the features that the estimator has seen.

    They are the coefficients of rows less the centres, ``(p,)``.
    """
    given = estimator.prior
    if given is None:
        return Prior(prior_precision(estimator.C, estimator.n_features_in_, intercept=estimator.fit_intercept))
    if not isinstance(given, (tuple, list)):
        return _prior_from_model(estimator, given, classes, centres)
    if len(given) != 2:  # noqa: PLR2004 - a mean and a precision
        message = f"prior is a {type(given).__name__} of {len(given)}; {PRIOR_FORMS}."
        raise ValueError(message)
    remedy = "pass a prior whose precision is the same for all classes"
    return gaussian_prior(
        (given[0], given[1]),
        estimator.C,
        layout_of(estimator, classes).shape,
        intercept=estimator.fit_intercept,
        check_size=partial(check_covariance_size, remedy=remedy, limits=estimator._limits),  # noqa: SLF001 - a parameter
    ).recentred(centres)


def absorbs_centres(estimator: Configuration, layout: Layout) -> bool:
    """Say whether the intercept can absorb the centres of columns.

    A precision of the intercept, the logit where all columns are 0, becomes a matrix of all coefficients for centred
    rows. If that is large, the rows are not centred.
    """
    if not layout.intercept or estimator.prior is None:
        return layout.intercept
    precision = configured_prior(estimator, layout.classes).precision
    size = layout.n_logits * layout.n_columns
    return precision[-1] == 0.0 or 8 * size**2 <= estimator._limits.decrement_bytes  # noqa: SLF001 - a parameter


def _prior_from_model(estimator: Configuration, given: Any, classes: Labels, centres: Array | None) -> Prior:
    """Return the posterior of an earlier model as the prior."""
    earlier = given.estimator if isinstance(given, FrozenEstimator) else given
    if not hasattr(earlier, "coef_"):
        message = (
            f"prior is a {type(earlier).__name__} that is not fitted: fit it, and where estimators are cloned, which "
            "removes fits, wrap it: prior=sklearn.frozen.FrozenEstimator(model)."
        )
        raise ValueError(message)
    stream = getattr(earlier, "_stream", None)
    if stream is None:
        message = (
            f"prior is a {type(earlier).__name__} that keeps no information of its rows; fit it with "
            "store_covariance=True, or by partial_fit."
        )
        raise ValueError(message)
    own, others = _coefficients_of(estimator, classes), _coefficients_of(earlier, earlier.classes_)
    for setting, mine in own.items():
        if mine != others[setting]:
            message = (
                f"prior is a model with {setting} {others[setting]!r}, but this fit has {mine!r}; they must be equal."
            )
            raise ValueError(message)
    # the information that a model stores of its rows includes the model that was its own prior, if there was one
    earlier_prior = configured_prior(earlier, earlier.classes_)
    remedy = "fit the earlier model with fisher='kronecker'"
    check_size = partial(check_covariance_size, remedy=remedy, limits=estimator._limits)  # noqa: SLF001 - a parameter
    quadratic = stream.quadratic.recentred(stream.centres, centres)
    prior = posterior_prior(quadratic, earlier_prior, estimator.C, check_size)
    if centres is None or prior.precision[-1] == 0.0:
        return prior
    # the precision of the intercept is that of the rows themselves
    diagonal = Prior(prior.precision, recentred_theta(quadratic.theta, centres, None)).recentred(centres)
    return diagonal._replace(quadratic=prior.pooled(cast("QuadraticApproximation", diagonal.quadratic)))


def _coefficients_of(estimator: Configuration, classes: Labels) -> dict[str, object]:
    """Return the settings that must be equal for two models to have the same coefficients."""
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "classes": label_list(classes),
        "features": estimator.n_features_in_ if names is None else list(names),
        "fit_intercept": estimator.fit_intercept,
    }
