"""The estimator for Dask collections: rows stay where they are, and only sums over them travel.

Needs the extra ``dask``: ``pip install 'sknatgrad[dask]'``.
"""

from __future__ import annotations

import warnings
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, Self

try:
    import dask
    import dask.array as da
except ImportError as error:  # pragma: no cover - the tests have it
    message = "sknatgrad.dask needs the package dask, which is not here: pip install 'sknatgrad[dask]'."
    raise ImportError(message) from error
import numpy as np
from sklearn.utils.validation import check_is_fitted

from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._inputs.checks import check_class_weights, unchanged_on_error
from sknatgrad._inputs.dask_collections import (
    Table,
    any_collection,
    bare_of,
    blocks_of,
    check_columns,
    head_of,
    lengths_of,
    part_of,
    parts_of,
    type_of,
)
from sknatgrad._inputs.row_statistics import error_label, is_empty
from sknatgrad._inputs.training_data import streamed_rows
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._rows.dask_chunks import ChunkError, computed
from sknatgrad._sklearn import fit_context
from sknatgrad._solver.plan import SENT_BYTES, Shape
from sknatgrad.inference._covariance.options import CovarianceOptions
from sknatgrad.inference._fitted_model import LINK_ROWS, FittedModel
from sknatgrad.inference._infer import infer as infer_in_memory
from sknatgrad.inference._infer import infer_from_sums, limits_of
from sknatgrad.inference._row_sums.rows import OutOfCoreRows, RowCountsKernel
from sknatgrad.inference._row_sums.sums import RowSums

if TYPE_CHECKING:
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._typing import Matrix
    from sknatgrad.inference import InferenceResult
    from sknatgrad.inference._covariance.options import Covariance, Weights

__all__ = ["DaskNaturalGradientLogisticRegression", "infer"]


class DaskNaturalGradientLogisticRegression(NaturalGradientLogisticRegression):
    """Logistic regression by natural gradient descent, on Dask arrays and dataframes.

    Parameters, attributes and the optimum are those of :class:`sknatgrad.NaturalGradientLogisticRegression`, and of
    anything but Dask collections it is that class. `fit` sends the coefficients to the chunks of rows where they live,
    and gets back sums over them: loss, gradient (q, d) and the metric, merged in the order of the chunks by a tree, so
    that neither the number of workers nor which of them was faster changes the answer. What is fitted is a plain
    estimator in memory; it predicts lazily on Dask collections.

    Work goes to the `distributed.Client` that is connected, or to Dask's default scheduler. Collections that are not
    persisted are made anew in each pass: ``n_passes_`` says how many there were.

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
    def fit(self, X: Matrix, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model to training data.

        Parameters
        ----------
        X : dask array or dataframe of shape (n_samples, n_features), or as for `NaturalGradientLogisticRegression.fit`
            Training data, in chunks of rows of known or unknown length, dense or of scipy's sparse matrices. Chunks of
            columns are joined, with a warning.

        y : dask array, series or dataframe of one column, or array-like of shape (n_samples,)
            Class labels of any kind that sorts. In chunks that are not those of X, it is cut anew, with a warning.

        sample_weight : dask array or series, or array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0.

        Returns
        -------
        self : DaskNaturalGradientLogisticRegression
            The fitted estimator. If fitting fails, it stays as it was.

        Raises
        ------
        ValueError
            If a parameter is not what is allowed, collections do not have the same rows in the same order, or a block
            cannot be computed, holds what is not allowed, or has more or fewer rows in a later pass: the message says
            which.
        ConnectionError
            If the client is closed, or its work cancelled, before the fit has ended.

        Warns
        -----
        UserWarning
            If chunks had to be cut anew.
        ConvergenceWarning, SeparationWarning
            As :class:`~sknatgrad.NaturalGradientLogisticRegression` does.
        """
        if not any_collection(X, y, sample_weight):
            super().fit(X, y, sample_weight)
            return self
        monitor = FitMonitor(self, X, y, sample_weight)
        with unchanged_on_error(self):
            data = _training_data(self, X, y, sample_weight)
            self._fit(data, monitor)
            # the survey is one too
            self.n_passes_ = 1 + next(data.source.passes)  # type: ignore[attr-defined]
        return self

    def decision_function(self, X: Matrix) -> Any:
        """Return the logits, lazily for Dask collections: as `NaturalGradientLogisticRegression.decision_function`."""
        return _blockwise(self, "decision_function", X)

    def predict(self, X: Matrix) -> Any:
        """Return the likeliest classes, lazily for Dask collections: as `NaturalGradientLogisticRegression.predict`."""
        return _blockwise(self, "predict", X)

    def predict_proba(self, X: Matrix) -> Any:
        """Return probabilities, lazily for Dask collections: as `NaturalGradientLogisticRegression.predict_proba`."""
        return _blockwise(self, "predict_proba", X)

    def predict_log_proba(self, X: Matrix) -> Any:
        """Return their logarithms, lazily: as `NaturalGradientLogisticRegression.predict_log_proba`."""
        return _blockwise(self, "predict_log_proba", X)

    def decision_function_std(self, X: Matrix) -> Any:
        """Return standard deviations, lazily: as `NaturalGradientLogisticRegression.decision_function_std`."""
        return _blockwise(self, "decision_function_std", X)

    def predict_proba_interval(self, X: Matrix, level: float = 0.95) -> Any:
        """Return intervals, lazily: as `NaturalGradientLogisticRegression.predict_proba_interval`."""
        return _blockwise(self, "predict_proba_interval", X, {"level": level})

    def predict_proba_averaged(
        self,
        X: Matrix,
        method: Literal["probit", "monte_carlo"] = "probit",
        *,
        n_draws: int = 1000,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Return averages, lazily: as `NaturalGradientLogisticRegression.predict_proba_averaged`."""
        options = {"method": method, "n_draws": n_draws, "random_state": random_state}
        return _blockwise(self, "predict_proba_averaged", X, options)

    def score(self, X: Matrix, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, computed: as `NaturalGradientLogisticRegression.score`."""
        if not any_collection(X, y, sample_weight):
            return float(super().score(X, y, sample_weight))
        blocks = blocks_of(X, y, sample_weight)
        model = dask.delayed(copy(self), traverse=False)
        right = [_right(model, number, *block) for number, block in enumerate(blocks)]
        sums = computed(right, enumerate(blocks))
        return float(np.divide(*np.sum(sums, axis=0)))


def infer(  # noqa: PLR0913 - all but the rows are keywords
    estimator: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    weights: Weights = "frequency",
    covariance: Covariance = "fisher",
    reference: Any = None,
    features: Any = None,
) -> InferenceResult:
    """Return standard errors, tests and intervals of a fitted model, from the Dask collections of its fit.

    As :func:`sknatgrad.inference.infer`, with a few passes over the rows where they live. Separation is detected by a
    further Newton step, not by a linear program. Covariances by cluster, and `score_test`, need single rows and are not
    available.

    Parameters
    ----------
    estimator : estimator
        A fitted logistic regression.

    X, y, sample_weight : dask collections
        The data of the fit, as for `DaskNaturalGradientLogisticRegression.fit`.

    weights, covariance, reference, features : as there
        As for :func:`sknatgrad.inference.infer`; `covariance` is not ``'cluster'``.

    Returns
    -------
    result : InferenceResult
        As there; those of its tests that need the data make passes over the collections.

    Raises
    ------
    ValueError
        As :func:`sknatgrad.inference.infer`, and for `covariance` 'cluster'.
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
        )
    fitted = FittedModel.of(estimator, X)
    contrasts = Contrasts.against(fitted.classes, reference)
    table = Table.of(bare_of(estimator), X, y, sample_weight, reset=False)
    fitted.check_link(estimator, computed([head_of(table.bare, *table.blocks[0][1], LINK_ROWS)], [])[0])
    totals = table.totals(fitted.classes)
    factors = check_class_weights(getattr(estimator, "class_weight", None), fitted.classes, totals)
    source = table.source(fitted.classes, factors)
    counts = source.total(RowCountsKernel(len(fitted.classes)))
    n_logits, n_columns = fitted.theta.shape
    shape = Shape(
        counts.n_rows, n_logits, n_columns, table.statistics.stored / table.statistics.n_rows, out_of_core=True
    )
    row_sums = RowSums(OutOfCoreRows(source, counts, shape), fitted.theta, contrasts, limits_of(estimator))
    return infer_from_sums(fitted, row_sums, CovarianceOptions.checked(weights, covariance, counts), features)


def _training_data(estimator: Any, X: Any, y: Any, sample_weight: Any) -> TrainingData:
    """Return the problem that collections pose."""
    table = Table.of(estimator, X, y, sample_weight, reset=True)
    table.statistics.check_classes()
    classes = table.statistics.labels
    return streamed_rows(
        estimator, table.statistics, lambda factors, _: table.source(classes, factors), table.check, SENT_BYTES
    )


@dask.delayed(pure=False)
def _right(model: Any, number: int, X: Any, y: Any, weight: Any) -> tuple[float, float]:
    """Return the weight of the rows that are classified right, and of all."""
    if is_empty(X, y):
        return 0.0, 0.0
    with error_label(f"block {number}", ChunkError):
        _, labels, weights = part_of(model, X, y, weight)
        return float(weights[_of_block(X, model, "predict", {}) == labels].sum()), float(weights.sum())


def _of_block(X: Any, model: Any, method: str, options: dict[str, Any]) -> Any:
    """Return what a method of the plain estimator says of rows in memory."""
    return getattr(NaturalGradientLogisticRegression, method)(model, X, **options)


@dask.delayed(pure=False)
def _predicted(X: Any, model: Any, method: str, options: dict[str, Any], like: Any) -> Any:
    # a block may come in another type than its collection declares
    return like if is_empty(X, ()) else _of_block(X, model, method, options).astype(like.dtype, copy=False)


def _blockwise(model: Any, method: str, X: Any, options: dict[str, Any] | None = None) -> Any:
    """Return what a method says of each block of a collection, lazily; of anything else, at once."""
    options = options or {}
    if not dask.is_dask_collection(X):
        return _of_block(X, model, method, options)
    check_is_fitted(model)
    check_columns(model, X, reset=False)
    with warnings.catch_warnings():
        # a row of the right width, to see what comes of it
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        like = _of_block(np.zeros((1, model.n_features_in_), type_of(X)), model, method, options)[:0]
    if isinstance(X, da.Array) and X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    sizes = [size if np.isnan(size) else int(size) for size in lengths_of(X).tolist()]
    # as it is now: another fit of the same estimator does not change it
    sent = dask.delayed(copy(model), traverse=False)
    blocks = [
        da.from_delayed(_predicted(part, sent, method, options, like), (size, *like.shape[1:]), meta=like)
        for part, size in zip(parts_of(X), sizes, strict=True)
    ]
    return da.concatenate(blocks, allow_unknown_chunksizes=True)
