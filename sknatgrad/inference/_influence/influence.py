"""The influence of the rows of a fit on its coefficients, and the leave-one-out loss."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.notices import stacklevel_of_user
from sknatgrad._model.categorical import predict
from sknatgrad._model.influence import (
    MAX_ROW_ERROR,
    InfluenceKernel,
    concatenated,
    largest_responses,
    omitted_from_mean,
    rows_without_others,
)
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._solver.leave_one_out import LeaveOneOutFits
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference._covariance.dense import DenseCovariance
from sknatgrad.inference._covariance.options import CovarianceOptions
from sknatgrad.inference._diagnostics.fit_data import check_same_data
from sknatgrad.inference._diagnostics.reasons import diagnostics
from sknatgrad.inference._infer import sums_in_memory
from sknatgrad.inference._influence.result import InfluenceResult

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Matrix
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums


@member_of("sknatgrad.inference")
@ignoring_underflow
def influence(estimator: Any, X: Matrix, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> InfluenceResult:
    r"""Return how much each row influences a fitted logistic regression, and the leave-one-out loss.

    One pass over the rows gives :math:`A_i = x_i^T (F + \Lambda)^{-1} x_i`, the covariance of the logits of each row.
    Leverages, Cook's distances, and the logits that the model without a row would have, follow from it by one step of
    Newton's method [1]_. Where that step may leave an error of more than 0.01 nats in the loss of the row, or of 5e-4
    in the mean over rows, the model is fitted again without the row.

    Parameters
    ----------
    estimator : estimator
        A fitted logistic regression, as for :func:`infer`: binary or multinomial, with an L2 penalty or none.

    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        The rows of the fit.

    y : array-like of shape (n_samples,), or table of one column
        The labels of the rows.

    sample_weight : array-like of shape (n_samples,), float or None, default=None
        The weights of the rows in the fit. A row is left out with all of its weight.

    Returns
    -------
    result : InfluenceResult
        Leverages, residuals, Cook's distances, and logits and losses without each row.

    Raises
    ------
    ValueError
        If the estimator is not a logistic regression as above, the covariance of its coefficients is too large for a
        matrix, or the data, weights or parameters are not those of the fit.

    Warns
    -----
    InferenceWarning
        If the inverse of the information is unreliable, with the reasons that :func:`infer` states.

    References
    ----------
    .. [1] D. Pregibon, "Logistic regression diagnostics", Annals of Statistics 9(4), 1981.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.inference import influence
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = NaturalGradientLogisticRegression().fit(X, y)
    >>> result = influence(model, X, y)
    >>> round(float(result.leverage.sum()), 1), result.n_refits
    (9.9, 54)
    """
    if hasattr(X, "__dask_graph__"):
        message = "X is a Dask collection; pass it to sknatgrad.dask.influence, or rows in memory to this function."
        raise ValueError(message)
    return influence_from_sums(*sums_in_memory(estimator, X, y, sample_weight))


def influence_from_sums(fitted: FittedModel, row_sums: RowSums) -> InfluenceResult:
    """Return the result from the rows of a fit, in memory or not."""
    remedy = "select fewer columns before the fit"
    check_covariance_size(row_sums.n_params, remedy, row_sums.limits)
    covariance = DenseCovariance.of(row_sums, fitted)
    check_same_data(covariance.fitted, covariance.row_sums, covariance)
    options = CovarianceOptions.checked("frequency", "fisher", row_sums.counts)
    if reasons := diagnostics(covariance, options, fitted.names):
        message = f"These influences are unreliable: {'; '.join(reasons)}."
        warnings.warn(message, InferenceWarning, stacklevel=stacklevel_of_user())
    in_coordinates, inverse = covariance.in_coordinates
    contrasts = row_sums.contrasts
    kernel = InfluenceKernel(contrasts.params(in_coordinates.theta), inverse, contrasts, row_sums.limits.row_bytes)
    rows = concatenated(in_coordinates.total(kernel))
    (codes, weight), loo_logits = row_sums.rows.labels(), rows.without.copy()
    losses, _ = predict(contrasts.theta(loo_logits.T).T).loss_and_residual(codes)
    changes = largest_responses(in_coordinates.total, rows, weight, inverse, row_sums.limits.row_bytes)
    errors = rows.loss_errors(losses, changes)
    alone = rows_without_others(codes, weight, contrasts.n_classes)
    alone &= fitted.intercept and fitted.prior.quadratic is None and fitted.prior.precision[-1] == 0.0
    doubtful = omitted_from_mean(errors, weight) | (~(errors <= MAX_ROW_ERROR) & (weight > 0.0))
    doubtful &= ~alone
    theta = covariance.fitted.theta
    with row_sums.opened() as source:
        fits = LeaveOneOutFits(
            source, row_sums.rows.shape(*theta.shape), row_sums.limits, covariance.fitted.prior, theta
        )
        loo_logits[doubtful] = contrasts.params(fits.logits(np.flatnonzero(doubtful), rows.leverage[doubtful]).T).T
    return InfluenceResult(
        rows=rows,
        loo_logits=loo_logits,
        n_refits=int(doubtful.sum()),
        codes=codes,
        weight=weight,
        alone=alone,
        covariance=covariance,
        options=options,
    )
