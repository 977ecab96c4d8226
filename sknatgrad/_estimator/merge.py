"""Models of different rows merged into one, by their Fisher information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sknatgrad._definitions import member_of
from sknatgrad._estimator.fit import floating_type
from sknatgrad._estimator.publish import posterior_attributes, publish
from sknatgrad._estimator.stream import StreamState
from sknatgrad._inputs.configuration import layout_of
from sknatgrad._inputs.labels import codes_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._inputs.rows import check_rows
from sknatgrad._inputs.weights import check_row_weights
from sknatgrad._model.class_labels import label_keys
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.layout import zero_sum
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.source import LabelledRows
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Matrix
    from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.prior import Prior

# relative difference allowed between the weights of the classes in the rows and in the models: rounding of the sums
SAME_TOTALS = 1e-8


@member_of("sknatgrad")
@ignoring_underflow
def merge(
    models: Sequence[NaturalGradientLogisticRegression],
    X: Matrix = None,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> NaturalGradientLogisticRegression:
    r"""Return one estimator from several that were fitted to different rows.

    Each model stores a quadratic approximation to the loss of its rows, whose curvature is the Fisher information. The
    merged coefficients minimise the sum of these approximations and one prior:

    .. math:: \theta = \Bigl(\sum_i F_i + \Lambda\Bigr)^{-1} \sum_i (F_i \theta_i - g_i)

    with :math:`g_i` the gradient of the loss of the rows of model i at its :math:`\theta_i`, which is not zero if
    there is a penalty. The difference from a fit to all rows at once is smaller than the statistical error if each
    model has seen many rows per coefficient.

    Parameters
    ----------
    models : sequence of NaturalGradientLogisticRegression
        Models fitted by `partial_fit`, or by `fit` with ``store_covariance=True``, to disjoint sets of rows. They have
        the same classes, features, `fisher`, `C`, `prior` and `fit_intercept`.

    X, y, sample_weight : as for `fit`, default=None
        The rows of all models, if they are available. One step of natural gradient descent on these rows then starts
        from the merged coefficients, and is taken if the loss falls. It removes nearly all of the error of the
        quadratic approximations.

    Returns
    -------
    model : NaturalGradientLogisticRegression
        A fitted estimator with the parameters of the first model; `partial_fit` can continue from it.

    Raises
    ------
    ValueError
        If `models` is empty, a model stores no information of its rows, the models differ in the settings above, `y` or
        `sample_weight` is given without X, or the classes have other total weights in X and y than in the models.

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
    models, streams = _check_models(models)
    _refuse_without_rows(X, y=y, sample_weight=sample_weight)
    first = models[0]
    centres = streams[0].centres
    prior = configured_prior(first, first.classes_, centres)
    quadratic = _pooled_optimum([stream.quadratic.recentred(stream.centres, centres) for stream in streams], prior)
    totals = np.sum([stream.totals for stream in streams], axis=0)
    merged: NaturalGradientLogisticRegression = clone(first)
    for name in ("classes_", "n_features_in_", "feature_names_in_"):
        if hasattr(first, name):
            setattr(merged, name, getattr(first, name))
    if X is not None:
        rows = _check_rows_of_models(merged, X, y, sample_weight, totals)
        quadratic = _after_one_step(merged, rows, quadratic, prior, centres)
    n_batches = sum(each.n_batches for each in streams)
    stream = StreamState(streams[0].fisher, quadratic, totals, n_batches, centres=centres)
    layout = layout_of(merged, first.classes_)._replace(centres=centres)
    attributes = layout.attributes(quadratic.theta, floating_type(first.coef_.dtype)) | {"_stream": stream}
    if merged.store_covariance:
        attributes |= posterior_attributes(quadratic.theta, quadratic.information, prior.precision, centres)
    publish(merged, attributes)
    return merged


def _pooled_optimum(quadratics: list[QuadraticApproximation], prior: Prior) -> QuadraticApproximation:
    """Return the sum of quadratic approximations, expanded around its optimum together with the prior."""
    anchor = quadratics[0]
    gradient, information = anchor.gradient, anchor.information
    for quadratic in quadratics[1:]:
        gradient = gradient + quadratic.gradient_at(anchor.theta)
        information = information.merge(quadratic.information)
    move = -zero_sum(information.precision(prior.precision).solve(gradient + prior.gradient(anchor.theta)))
    return QuadraticApproximation(anchor.theta + move, gradient + information.matvec(move), information)


def _check_rows_of_models(
    model: Configuration, X: Matrix, y: ArrayLike | None, sample_weight: ArrayLike | None, totals: Array
) -> LabelledRows:
    """Return the rows of all models; refuse rows whose classes have other weights than `totals`, ``(K,)``."""
    X = check_rows(model, X)
    codes = codes_of(model, y, X.shape[0])
    weight, found = check_row_weights(sample_weight, model.class_weight, model.classes_, codes)
    if not np.allclose(found, totals, rtol=SAME_TOTALS):
        message = (
            f"X and y have classes of total weights {found.tolist()}, but the models have {totals.tolist()}; pass the "
            "rows of all the models with their weights, or none."
        )
        raise ValueError(message)
    return LabelledRows(X, codes, weight)


def _after_one_step(
    model: Configuration,
    rows: LabelledRows,
    quadratic: QuadraticApproximation,
    prior: Prior,
    centres: Array | None,
) -> QuadraticApproximation:
    """Return the quadratic approximation of the rows after one Newton step, or the given one if the loss rises."""
    with Workers() as workers:
        limits = model._limits  # noqa: SLF001 - a parameter
        source = MemorySource(*rows, len(quadratic.theta), workers, limits=limits, centres=centres)

        def measured(theta: Array, expectation: Expectation) -> tuple[float, QuadraticApproximation]:
            sums = source.total(MeasureKernel(theta, expectation, STRUCTURES[model.fisher]))
            return sums.loss + prior.value(theta), QuadraticApproximation(theta, sums.gradient, sums.information)

        loss, point = measured(quadratic.theta, TrueExpectation())
        gradient = point.gradient + prior.gradient(point.theta)
        move = -zero_sum(point.information.precision(prior.precision).solve(gradient))
        loss_after, after = measured(point.theta + move, expectation_of(model.fisher))
    return after if loss_after <= loss else quadratic


def _refuse_without_rows(X: object, **others: object) -> None:
    for name, given in others.items():
        if X is None and given is not None:
            message = f"{name} is given without X; pass X and y, the rows of all the models, or models alone."
            raise ValueError(message)


def _check_models(models: object) -> tuple[list[NaturalGradientLogisticRegression], list[StreamState]]:
    """Return the models, and the stream state that each stores."""
    given = list(models) if isinstance(models, (list, tuple)) else []
    if not given or len({id(model) for model in given}) < len(given):
        message = "models must be a list of one model or more, none of them twice."
        raise ValueError(message)
    streams: list[StreamState] = []
    kinds: list[tuple[object, ...]] = []
    for model in given:
        check_is_fitted(model)
        stream = getattr(model, "_stream", None)
        if stream is None:
            message = (
                f"models holds a {type(model).__name__} that keeps no information of its rows; fit each by "
                "partial_fit, or by fit with store_covariance=True."
            )
            raise ValueError(message)
        streams.append(stream)
        if configured_prior(model, model.classes_, stream.centres).quadratic is not None:
            message = (
                f"models holds a {type(model).__name__} whose prior is an earlier model, a matrix, or a precision of "
                "the intercept where columns are far from zero, which would count once for each model; merge models "
                "without it, and use the merged model as the prior of a further fit."
            )
            raise ValueError(message)
        kinds.append(_shared_settings(model, stream.fisher, configured_prior(model, model.classes_)))
        if kinds[-1] != kinds[0]:
            message = "models differ in their classes, features, fisher, C or fit_intercept; fit them alike."
            raise ValueError(message)
    return given, streams


def _shared_settings(model: Configuration, fisher: str, prior: Prior) -> tuple[object, ...]:
    """Return the settings that must be equal for models to have the same coefficients."""
    return (
        fisher,
        prior.precision.tolist(),
        None if prior.mean is None else prior.mean.tolist(),
        model.fit_intercept,
        label_keys(model.classes_),
        model.n_features_in_,
        np.asarray(getattr(model, "feature_names_in_", [])).tolist(),
    )
