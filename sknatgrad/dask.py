"""The estimator for Dask collections: rows stay on their workers, which send only sums over them.

Needs the extra ``dask``: ``pip install 'sknatgrad[dask]'``.
"""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Self, cast

try:
    import dask
    import dask.array as da
except ImportError as error:  # pragma: no cover - the tests have it
    message = "sknatgrad.dask needs the package dask, which is not installed; run pip install 'sknatgrad[dask]'."
    raise ImportError(message) from error
import numpy as np
from sklearn.utils.validation import check_is_fitted

from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.cv_classifier import NaturalGradientLogisticRegressionCV
from sknatgrad._estimator.cv_scores import DEFAULT_SCORING, EVIDENCE, LOSS_BOUNDS
from sknatgrad._estimator.cv_streamed import Settings, StreamedCrossValidation, StreamedEvaluation, check_scoring
from sknatgrad._estimator.fit import build_objective, plan_fit, run_descent
from sknatgrad._estimator.predict import PredictionMixin, are_correct
from sknatgrad._estimator.publish import publish, tell, unchanged_on_error
from sknatgrad._inputs.dask_collections import (
    CheckedCollections,
    any_collection,
    blocks_of,
    check_block,
    check_collections,
    check_columns,
    collections_data,
    first_rows_of,
    lengths_of,
    parts_of,
    schema_of,
    type_of,
)
from sknatgrad._inputs.labels import codes_among
from sknatgrad._inputs.row_statistics import error_label, is_empty
from sknatgrad._inputs.weights import check_class_weights
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._rows.dask_chunks import ChunkError, computed
from sknatgrad._rows.floating_point import ignoring_underflow, underflow_ignored
from sknatgrad._rows.threads import Workers
from sknatgrad._sklearn import fit_context
from sknatgrad._solver.cost_model import Shape
from sknatgrad.inference._covariance.options import CovarianceOptions
from sknatgrad.inference._fitted_model import LINK_ROWS, FittedModel, logistic_regression
from sknatgrad.inference._infer import check_aliased, infer_from_sums, limits_of
from sknatgrad.inference._infer import infer as infer_in_memory
from sknatgrad.inference._influence.influence import influence as influence_in_memory
from sknatgrad.inference._influence.influence import influence_from_sums
from sknatgrad.inference._row_sums.rows import OutOfCoreRows, RowCountsKernel
from sknatgrad.inference._row_sums.sums import RowSums

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Matrix
    from sknatgrad._estimator.base import LogisticRegressionBase
    from sknatgrad._inputs.columns import Features
    from sknatgrad._inputs.dask_collections import Collection
    from sknatgrad._rows.dask_chunks import ClusterSource
    from sknatgrad.inference import InferenceResult, InfluenceResult
    from sknatgrad.inference._covariance.options import Covariance, Weights
    from sknatgrad.inference._infer import Aliased

__all__ = ["DaskNaturalGradientLogisticRegression", "DaskNaturalGradientLogisticRegressionCV", "infer", "influence"]


def _lazy(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Return a method that is lazy for Dask collections, and computes at once for anything else."""

    @wraps(method)
    def lazily(self: LogisticRegressionBase, X: Matrix, *args: Any, **options: Any) -> Any:
        if not dask.is_dask_collection(X):
            return method(self, X, *args, **options)
        given = signature(method).bind(self, X, *args, **options).arguments
        return _blockwise(given.pop("self"), method.__name__, given.pop("X"), given)

    lazily.__doc__ = (
        f"Return {what}, lazily for Dask collections: as `NaturalGradientLogisticRegression.{method.__name__}`."
    )
    return lazily


class LazyPredictionMixin(PredictionMixin):
    """Predictions that are lazy for Dask collections."""

    decision_function = _lazy(PredictionMixin.decision_function, "the logits")
    predict = _lazy(PredictionMixin.predict, "the most probable classes")
    predict_proba = _lazy(PredictionMixin.predict_proba, "probabilities")
    predict_log_proba = _lazy(PredictionMixin.predict_log_proba, "log-probabilities")
    decision_function_std = _lazy(PredictionMixin.decision_function_std, "standard deviations")
    predict_proba_interval = _lazy(PredictionMixin.predict_proba_interval, "intervals")
    predict_proba_averaged = _lazy(PredictionMixin.predict_proba_averaged, "averaged probabilities")


class DaskNaturalGradientLogisticRegression(LazyPredictionMixin, NaturalGradientLogisticRegression):
    """Logistic regression by natural gradient descent, on Dask arrays and dataframes.

    Parameters, attributes and the optimum are those of :class:`sknatgrad.NaturalGradientLogisticRegression`, and data
    other than Dask collections are handled as by that class. `fit` sends the coefficients to the workers that hold the
    chunks of rows, and receives sums over the rows: loss, gradient (q, d) and the metric. A tree merges them in the
    order of the chunks, so that neither the number of workers nor their speed changes the result. The fitted estimator
    is in memory; its predictions are lazy for Dask collections.

    Tasks run on the connected `distributed.Client`, or on Dask's default scheduler. Collections that are not persisted
    are computed again in each pass; ``n_passes_`` is the number of passes.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad.dask import DaskNaturalGradientLogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, y = da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=100)
    >>> model = DaskNaturalGradientLogisticRegression().fit(X, y)
    >>> model.predict(X)
    dask.array<concatenate, shape=(569,), dtype=int64, chunksize=(100,), chunktype=numpy.ndarray>
    >>> round(model.score(X, y), 3)
    0.958
    """

    @fit_context(prefer_skip_nested_validation=True)
    @ignoring_underflow
    def fit(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to training data.

        Parameters
        ----------
        X : dask array or dataframe of shape (n_samples, n_features), or as for `NaturalGradientLogisticRegression.fit`
            Training data, in chunks of rows of known or unknown length, dense or scipy sparse matrices. Several chunks
            of columns are joined, with a warning.

        y : dask array, series or dataframe of one column, or array-like of shape (n_samples,)
            Class labels, as for `NaturalGradientLogisticRegression.fit`. Other chunks than those of X are rechunked,
            with a warning.

        sample_weight : dask array or series, or array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0.

        Returns
        -------
        self : DaskNaturalGradientLogisticRegression
            The fitted estimator. If the fit fails, it is unchanged.

        Raises
        ------
        ValueError
            If a parameter is invalid, collections do not have the same number of rows, or a block cannot be computed,
            has invalid values, or has a different number of rows in a later pass; the message names the block.
        ConnectionError
            If the client is closed, or its tasks are cancelled, before the fit has ended.

        Warns
        -----
        UserWarning
            If a collection is rechunked.
        ConvergenceWarning, SeparationWarning
            As :class:`~sknatgrad.NaturalGradientLogisticRegression` does.
        """
        if not any_collection(X, y, sample_weight):
            super().fit(X, y, sample_weight)
            return self
        monitor = FitMonitor(self, X, y, sample_weight)
        with unchanged_on_error(self), Workers(), monitor:
            data = check_collections(self, X, y, sample_weight)
            plan = plan_fit(self, data)
            objective = build_objective(data, plan)
            result = run_descent(self, data, plan, objective, monitor)
            publish(self, result.attributes)
            tell(result.notices)
        return self

    @ignoring_underflow
    def score(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy, computed: as `NaturalGradientLogisticRegression.score`."""
        if not any_collection(X, y, sample_weight):
            return float(super().score(X, y, sample_weight))
        return _mean_of_blocks(self, "accuracy", X, y, sample_weight)


class DaskNaturalGradientLogisticRegressionCV(LazyPredictionMixin, NaturalGradientLogisticRegressionCV):
    """Logistic regression whose penalty is chosen by cross-validation, on Dask arrays and dataframes.

    Parameters, attributes and models are those of :class:`sknatgrad.NaturalGradientLogisticRegressionCV`, and data
    other than Dask collections are handled as by that class. As in its `fit_batches`, the fold of a row is a hash of
    its number, so it does not depend on the chunks; `cv` is None, an integer or a
    :class:`sklearn.model_selection.PredefinedSplit`, and `scoring` is ``'neg_log_loss'``, ``'accuracy'`` or
    ``'evidence'``. The models of all folds and values of C are sent to the chunks together.

    ``n_passes_`` is the number of passes over the collections, usually 10 to 20. Collections that are not persisted are
    computed again in each.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad.dask import DaskNaturalGradientLogisticRegressionCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, y = da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=100)
    >>> model = DaskNaturalGradientLogisticRegressionCV(cv=3).fit(X, y)
    >>> model.scores_.shape
    (3, 1, 10)
    """

    @fit_context(prefer_skip_nested_validation=True)
    @ignoring_underflow
    def fit(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any) -> Self:
        """Choose C by cross-validation, and fit all rows with it.

        Parameters
        ----------
        X, y, sample_weight : dask collections, or as for `NaturalGradientLogisticRegressionCV.fit`
            Training data, as for `DaskNaturalGradientLogisticRegression.fit`. Weights count in fits and scores.

        **params : dict
            Arguments of the splitter and the scorer, with metadata routing.

        Returns
        -------
        self : DaskNaturalGradientLogisticRegressionCV
            The fitted estimator. If the fit fails, it is unchanged.

        Raises
        ------
        ValueError
            As `DaskNaturalGradientLogisticRegression.fit` and `NaturalGradientLogisticRegressionCV.fit_batches` do.
        ConnectionError
            If the client is closed, or its tasks are cancelled, before the fit has ended.

        Warns
        -----
        UserWarning
            If a collection is rechunked.
        ConvergenceWarning, SeparationWarning
            As :class:`~sknatgrad.NaturalGradientLogisticRegression` does.
        """
        if not any_collection(X, y, sample_weight):
            super().fit(X, y, sample_weight, **params)
            return self
        monitor = FitMonitor(self, X, y, sample_weight)
        with unchanged_on_error(self), Workers(), monitor:
            weighted = "sample_weight" in self._routed("fit", params, sample_weight).scores
            settings = Settings.of(self)
            collections = CheckedCollections.of(self, X, y, sample_weight, reset=True)
            statistics, model = collections.statistics, self._plain(float(settings.Cs.max()))
            settings.check_rows(self, model, statistics.n_rows, statistics.labels)
            data = collections_data(model, collections)
            given = collections.source(statistics.labels, np.ones(len(statistics.labels)), self._limits)
            source = cast("ClusterSource", data.source)
            # one count of the passes
            given = replace(given, centres=source.centres, passes=source.passes)
            task = StreamedCrossValidation(model, settings.Cs, data, given, settings.folds)
            self._search(StreamedEvaluation(task, settings.scoring, weighted), monitor)
        return self

    @ignoring_underflow
    def score(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any) -> float:
        """Return the score of `scoring` on rows, computed: as `NaturalGradientLogisticRegressionCV.score`."""
        if not any_collection(X, y, sample_weight):
            return float(super().score(X, y, sample_weight, **params))
        scoring = check_scoring(self.scoring)
        weighted = "sample_weight" in self._routed("score", params, sample_weight).scores
        scoring = DEFAULT_SCORING if scoring == EVIDENCE else scoring
        return _mean_of_blocks(self, scoring, X, y, sample_weight if weighted else None)


@ignoring_underflow
def infer(  # noqa: PLR0913 - all but the rows are keywords
    estimator: Any,
    X: Collection,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    weights: Weights = "frequency",
    covariance: Covariance = "fisher",
    reference: Hashable = None,
    features: Features | None = None,
    aliased: Aliased = "drop",
) -> InferenceResult:
    """Return standard errors, tests and intervals of a fitted model, from the Dask collections of its fit.

    As :func:`sknatgrad.inference.infer`, in a few passes over the rows on their workers. Separation is detected by a
    further Newton step, not by a linear program. Cluster-robust covariances and `score_test` need single rows and are
    not available.

    Parameters
    ----------
    estimator : estimator
        A fitted logistic regression.

    X, y, sample_weight : dask collections
        The data of the fit, as for `DaskNaturalGradientLogisticRegression.fit`.

    weights, covariance, reference, features, aliased : as for `sknatgrad.inference.infer`
        As for :func:`sknatgrad.inference.infer`, except that `covariance` cannot be ``'cluster'``.

    Returns
    -------
    result : InferenceResult
        As that of :func:`sknatgrad.inference.infer`; tests that need the rows make more passes over the collections.

    Raises
    ------
    ValueError
        As :func:`sknatgrad.inference.infer`, and if `covariance` is 'cluster'.
    """
    if covariance == "cluster":
        message = "covariance='cluster' needs rows one by one, but X is a Dask collection; use 'robust' or 'HC1'."
        raise ValueError(message)
    if not any_collection(X, y, sample_weight):
        return infer_in_memory(
            estimator,
            X,
            y,
            sample_weight=sample_weight,
            weights=weights,
            covariance=covariance,
            reference=reference,
            features=features,
            aliased=aliased,
        )
    check_aliased(aliased)
    fitted, row_sums = _sums_of_collections(estimator, X, y, sample_weight, reference)
    options = CovarianceOptions.checked(weights, covariance, row_sums.counts)
    return infer_from_sums(fitted, row_sums, options, features, aliased)


@ignoring_underflow
def influence(
    estimator: Any, X: Collection, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> InfluenceResult:
    """Return how much each row influences a fitted model, from the Dask collections of its fit.

    As :func:`sknatgrad.inference.influence`. The rows stay on their workers, which send a few numbers for each row, of
    order `n_classes`: the result is in memory. Fits without single rows go on together, in passes over the collections.

    Parameters
    ----------
    estimator : estimator
        A fitted logistic regression.

    X, y, sample_weight : dask collections
        The data of the fit, as for `DaskNaturalGradientLogisticRegression.fit`.

    Returns
    -------
    result : InfluenceResult
        As that of :func:`sknatgrad.inference.influence`; `dfbetas` makes one more pass.

    Raises
    ------
    ValueError
        As :func:`sknatgrad.inference.influence`.

    Warns
    -----
    InferenceWarning
        If the inverse of the information is unreliable.
    """
    if not any_collection(X, y, sample_weight):
        return influence_in_memory(estimator, X, y, sample_weight=sample_weight)
    return influence_from_sums(*_sums_of_collections(estimator, X, y, sample_weight))


def _sums_of_collections(
    estimator: Any, X: Collection, y: ArrayLike, sample_weight: ArrayLike | None, reference: Hashable = None
) -> tuple[FittedModel, RowSums]:
    """Check an estimator and the collections of its fit; return the fitted model, and the sums over the rows."""
    estimator = logistic_regression(estimator)
    fitted = FittedModel.of(estimator, X)
    contrasts = Contrasts.against(fitted.classes, reference)
    table = CheckedCollections.of(schema_of(estimator), X, y, sample_weight, reset=False)
    fitted.check_link(estimator, computed([first_rows_of(table.schema, *table.blocks[0][1], LINK_ROWS)], [])[0])
    totals = table.totals(fitted.classes)
    factors = check_class_weights(getattr(estimator, "class_weight", None), fitted.classes, totals)
    limits = limits_of(estimator)
    fitted = fitted.recentred_for(lambda: table.statistics.centres(limits.far_ratio))
    source = table.source(fitted.classes, factors, limits, fitted.centres)
    counts = source.total(RowCountsKernel(len(fitted.classes)))
    n_logits, n_columns = fitted.theta.shape
    shape = Shape(
        counts.n_rows, n_logits, n_columns, table.statistics.stored / table.statistics.n_rows, out_of_core=True
    )
    return fitted, RowSums(OutOfCoreRows(source, counts, shape), fitted.theta, contrasts, limits)


def _mean_of_blocks(
    model: LogisticRegressionBase, scoring: str, X: Collection, y: Collection, sample_weight: Collection
) -> float:
    """Return the weighted mean of a score of single rows."""
    blocks = blocks_of(X, y, sample_weight)
    sent = dask.delayed(copy(model), traverse=False)
    sums = [_sums_of_block(sent, scoring, number, *block) for number, block in enumerate(blocks)]
    return float(np.divide(*np.sum(computed(sums, enumerate(blocks)), axis=0)))


@dask.delayed(pure=False)
def _sums_of_block(  # noqa: PLR0913, PLR0917 - the delayed parts of a block, and its number
    model: LogisticRegressionBase, scoring: str, number: int, X: Matrix, y: ArrayLike, weight: ArrayLike
) -> tuple[float, float]:
    """Return the weighted sum of the score of the rows of a block, and of their weights."""
    if is_empty(X, y):
        return 0.0, 0.0
    with underflow_ignored(), error_label(f"block {number}", ChunkError):
        _, labels, weights = check_block(model, X, y, weight)
        if scoring == "accuracy":
            correct = are_correct(model.classes_, _predict_in_memory(X, model, "decision_function", {}), labels)
            return float(weights[correct].sum()), float(weights.sum())
        codes = codes_among(model.classes_, labels)
        log_proba = _predict_in_memory(X, model, "predict_log_proba", {})[np.arange(codes.size), codes]
        return -float(weights @ np.clip(-log_proba, *LOSS_BOUNDS)), float(weights.sum())


def _predict_in_memory(X: Matrix, model: LogisticRegressionBase, method: str, options: dict[str, object]) -> Array:
    """Return the result of a method of the estimator in memory."""
    result: Array = getattr(PredictionMixin, method)(model, X, **options)
    return result


@dask.delayed(pure=False)
def _predict_block(
    X: Matrix, model: LogisticRegressionBase, method: str, options: dict[str, object], template: Array
) -> Array:
    # a block may have another type than its collection declares
    if is_empty(X, ()):
        return template
    return _predict_in_memory(X, model, method, options).astype(template.dtype, copy=False)


def _blockwise(model: LogisticRegressionBase, method: str, X: Collection, options: dict[str, object]) -> Collection:
    """Return the result of a method for each block of a collection, lazily."""
    check_is_fitted(model)
    check_columns(model, X, reset=False)
    with warnings.catch_warnings():
        # one row of zeros shows the shape and the type of the result
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        template = _predict_in_memory(np.zeros((1, model.n_features_in_), type_of(X)), model, method, options)[:0]
    if isinstance(X, da.Array) and X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    sizes = [size if np.isnan(size) else int(size) for size in lengths_of(X).tolist()]
    # a copy, which another fit of the same estimator does not change
    sent = dask.delayed(copy(model), traverse=False)
    blocks = [
        da.from_delayed(
            _predict_block(part, sent, method, options, template), (size, *template.shape[1:]), meta=template
        )
        for part, size in zip(parts_of(X), sizes, strict=True)
    ]
    return da.concatenate(blocks, allow_unknown_chunksizes=True)
