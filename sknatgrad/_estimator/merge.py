"""Models of different rows pooled into one, by their Fisher information."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sknatgrad._inputs.checks import check_row_weights, check_rows, codes_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._model.parameters import centre
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._model.prior import Prior
    from sknatgrad._typing import Array

# how far the weights of the classes may be from those that the models have learnt from
SAME = 1e-8


def merge(models: Sequence[Any], X: Any = None, y: Any = None, *, sample_weight: Any = None) -> Any:
    r"""Return one estimator that knows what several have learnt from different rows.

    Each knows the loss of its rows as a quadratic model, with its Fisher information as the curvature; models add up,
    and the coefficients are the optimum of the sum and of one prior:

    .. math:: \theta = \Bigl(\sum_i F_i + \Lambda\Bigr)^{-1} \sum_i (F_i \theta_i - g_i)

    with :math:`g_i` the gradient of the loss of the rows of model i at its :math:`\theta_i`, which a penalty leaves
    there. As good as a fit to all rows at once, up to terms that are smaller than its statistical error where each
    model has seen many rows a coefficient.

    Parameters
    ----------
    models : sequence of NaturalGradientLogisticRegression
        Fitted by `partial_fit`, or by `fit` with ``store_covariance=True``: of the same classes, features, `fisher`,
        `C`, `prior` and `fit_intercept`, on rows of which none is in two of them.

    X, y, sample_weight : as for `fit`, default=None
        If they are at hand, the rows of all the models: for one step of natural gradient descent on them, from the
        pooled coefficients, which is taken if the loss falls. After it next to nothing is left of the error of the
        quadratic models.

    Returns
    -------
    model : NaturalGradientLogisticRegression
        Fitted, with the parameters of the first; `partial_fit` goes on from there.

    Raises
    ------
    ValueError
        If there is no model, one keeps no information of its rows, they do not agree, y or weights come without X, or
        X and y hold other weights of the classes than the models have learnt from.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression, merge
    >>> X, y = load_iris(return_X_y=True)
    >>> shards = [slice(start, None, 3) for start in range(3)]
    >>> model = merge([NaturalGradientLogisticRegression().partial_fit(X[s], y[s], [0, 1, 2]) for s in shards])
    >>> round(model.score(X, y), 2)
    0.97
    """
    first, *others = _checked(models)
    _check_given(X, y=y, sample_weight=sample_weight)
    streams = [model._stream for model in (first, *others)]  # noqa: SLF001 - what it keeps is for this
    anchor = streams[0].quadratic
    gradient, information = anchor.gradient, anchor.information
    for stream in streams[1:]:
        gradient = gradient + stream.quadratic.gradient_at(anchor.theta)
        information = information.merge(stream.quadratic.information)
    prior = configured_prior(first, first.classes_)
    slope = gradient + prior.gradient(anchor.theta)
    move = -centre(information.precision(prior.precision).solve(slope))
    quadratic = QuadraticApproximation(anchor.theta + move, gradient + information.matvec(move), information)
    merged = clone(first)
    for name in ("classes_", "n_features_in_", "feature_names_in_"):
        if hasattr(first, name):
            setattr(merged, name, getattr(first, name))
    totals = np.sum([stream.totals for stream in streams], axis=0)
    if X is not None:
        quadratic = _polished(merged, quadratic, prior, totals, (X, y, sample_weight))
    merged._stream = streams[0]._replace(  # noqa: SLF001 - as above
        quadratic=quadratic,
        kept=None,
        solved=0,
        totals=totals,
        n_batches=sum(stream.n_batches for stream in streams),
    )
    merged._publish(quadratic.theta, first.classes_, first.coef_.dtype)  # noqa: SLF001 - as above
    merged._keep_posterior(quadratic.theta, quadratic.information, prior.precision)  # noqa: SLF001 - as above
    return merged


def _polished(
    model: Any, quadratic: QuadraticApproximation, prior: Prior, totals: Array, data: tuple[Any, Any, Any]
) -> QuadraticApproximation:
    """Return what the rows say after one step on them, or before it, if that has the lower loss."""
    given, y, sample_weight = data
    X = check_rows(model, given)
    codes = codes_of(model, y, X.shape[0])
    weight, found = check_row_weights(sample_weight, model.class_weight, model.classes_, codes)
    if not np.allclose(found, totals, rtol=SAME):
        message = (
            f"X and y hold {found.tolist()} of the classes, where the models have learnt from {totals.tolist()}; pass "
            "the rows of all the models with their weights, or none."
        )
        raise ValueError(message)
    structure = STRUCTURES[model.fisher]
    with Workers() as workers:
        source = MemorySource(X, codes, weight, len(quadratic.theta), workers)

        def measured(theta: Array, expectation: Any) -> tuple[float, QuadraticApproximation]:
            sums = source.total(MeasureKernel(theta, expectation, structure))
            return sums.loss + prior.value(theta), QuadraticApproximation(theta, sums.gradient, sums.information)

        before, point = measured(quadratic.theta, TrueExpectation())
        slope = point.gradient + prior.gradient(point.theta)
        metric: Any = point.information
        step = -centre(metric.precision(prior.precision).solve(slope))
        after, there = measured(point.theta + step, expectation_of(model.fisher))
    return there if after <= before else quadratic


def _check_given(X: Any, **others: Any) -> None:
    for name, given in others.items():
        if X is None and given is not None:
            message = f"{name} is given without X; pass X and y, the rows of all the models, or models alone."
            raise ValueError(message)


def _checked(models: Any) -> list[Any]:
    given = list(models) if isinstance(models, (list, tuple)) else []
    if not given or len({id(model) for model in given}) < len(given):
        message = "models must be a list of one model or more, none of them twice."
        raise ValueError(message)
    for model in given:
        check_is_fitted(model)
        if getattr(model, "_stream", None) is None:
            message = (
                f"models holds a {type(model).__name__} that keeps no information of its rows; fit each by "
                "partial_fit, or by fit with store_covariance=True."
            )
            raise ValueError(message)
        if configured_prior(model, model.classes_).quadratic is not None:
            message = (
                f"models holds a {type(model).__name__} whose prior is an earlier model or a matrix, which would count "
                "once for each; merge models without it, and fit with the merged one as prior."
            )
            raise ValueError(message)
        if _kind(model) != _kind(given[0]):
            message = "models differ in their classes, features, fisher, C or fit_intercept; fit them alike."
            raise ValueError(message)
    return given


def _kind(model: Any) -> tuple[Any, ...]:
    """Return what has to be the same for the information of two models to be of the same coefficients."""
    names = np.asarray(getattr(model, "feature_names_in_", [])).tolist()
    fisher = model._stream.fisher  # noqa: SLF001 - as above
    precision, mean, _ = configured_prior(model, model.classes_)
    return (
        fisher,
        precision.tolist(),
        None if mean is None else mean.tolist(),
        model.fit_intercept,
        model.classes_.tolist(),
        model.n_features_in_,
        names,
    )
