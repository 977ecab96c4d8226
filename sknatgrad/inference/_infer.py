"""Inference of a fitted estimator from the rows of its fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.labels import codes_of
from sknatgrad._inputs.notices import stacklevel_of_user
from sknatgrad._inputs.rows import check_rows
from sknatgrad._inputs.weights import check_row_weights
from sknatgrad._limits import Limits
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._rows.centring import centres_of
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._rows.threads import Workers
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference._bootstrap.checks import check_bootstrap
from sknatgrad.inference._bootstrap.draws import Draws
from sknatgrad.inference._bootstrap.intervals import sample_covariance
from sknatgrad.inference._covariance.dense import DenseCovariance
from sknatgrad.inference._covariance.options import CovarianceOptions
from sknatgrad.inference._covariance.protocol import mask_undetermined
from sknatgrad.inference._covariance.selected import SelectedCovariance
from sknatgrad.inference._diagnostics.collinearity import aliased_notice, undetermined_notice
from sknatgrad.inference._diagnostics.fit_data import check_same_data
from sknatgrad.inference._diagnostics.reasons import diagnostics
from sknatgrad.inference._fitted_model import FittedModel, logistic_regression
from sknatgrad.inference._likelihood import Likelihood
from sknatgrad.inference._result.result import InferenceResult
from sknatgrad.inference._row_sums.rows import InMemoryRows
from sknatgrad.inference._row_sums.sums import RowSums

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Matrix
    from sknatgrad._inputs.columns import Features
    from sknatgrad._inputs.configuration import RandomState
    from sknatgrad.inference._bootstrap.resamples import Resamples
    from sknatgrad.inference._covariance.options import Covariance, Weights
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance

Aliased = Literal["drop", "nan"]


@member_of("sknatgrad.inference")
@ignoring_underflow
def infer(  # noqa: PLR0913 - all but the data are keywords
    estimator: Any,
    X: Matrix,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    weights: Weights = "frequency",
    covariance: Covariance = "fisher",
    groups: ArrayLike | None = None,
    reference: Hashable = None,
    features: Features | None = None,
    aliased: Aliased = "drop",
    n_resamples: int = 1000,
    random_state: RandomState = 0,
) -> InferenceResult:
    r"""Return standard errors, tests and intervals of a fitted logistic regression.

    This takes one or two passes over the rows, at the fitted coefficients, with the true Fisher information as a
    matrix, whatever the metric of the fit; up to four where columns are collinear, nearly so, or separated. With K
    classes the coefficients :math:`\beta` are the K - 1 contrasts against a reference class. Let F be their Fisher
    information, :math:`\Lambda` the precision of the Gaussian prior whose negative log density is the penalty (0 for
    ``C=np.inf``), and :math:`H = F + \Lambda`. The covariance of :math:`\beta` is

    - ``'fisher'``: :math:`H^{-1}`. Without a penalty, the covariance of maximum likelihood, as in R's ``glm``; with
      one, that of the Laplace approximation to the posterior under that prior.
    - ``'frequentist'``: :math:`H^{-1} F H^{-1}`, the covariance of the shrunk estimate from sample to sample, around
      its own mean. The same as ``'fisher'`` without a penalty.
    - ``'robust'``: :math:`H^{-1} M H^{-1}` with :math:`M = \sum_i s_i u_i u_i^T`, :math:`u_i` the score of a row at its
      label. It is valid for independent rows even if the model is not (White 1982 [1]_; "HC0").
    - ``'HC1'``: the same times n / (n - k), for k coefficients, as in R's ``sandwich::vcovHC``.
    - ``'cluster'``: :math:`H^{-1} M H^{-1}` with :math:`M = \sum_g u_g u_g^T`, :math:`u_g` the weighted sum over a
      group's rows, times G / (G - 1) (n - 1) / (n - k) for G groups. It is for rows that depend on each other within
      groups (Liang and Zeger 1986 [2]_).
    - ``'bootstrap'``: the sample covariance of the coefficients of fits to `n_resamples` resamples of the rows, or of
      whole groups, with replacement (Efron and Tibshirani 1993 [4]_). It holds in small samples and under a penalty
      too. ``conf_int(method='percentile')`` and ``'bca'`` are intervals without a formula. The resamples go on
      together from the fit, with one reading of X for 100 of them.

    Parameters
    ----------
    estimator : estimator
        A fitted `NaturalGradientLogisticRegression`, or a `LogisticRegression` or `LogisticRegressionCV` of
        scikit-learn, binary or multinomial, with an L2 penalty or none; also in a `FrozenEstimator`. Of a pipeline
        pass the last step, with X transformed by the earlier steps, and of a search its `best_estimator_`.

    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        The rows of the fit. If the estimator was fitted without names of columns, those of a table are used.

    y : array-like of shape (n_samples,), or table of one column
        The labels of the rows.

    sample_weight : array-like of shape (n_samples,), float or None, default=None
        The weights of the rows in the fit. They are multiplied by the estimator's `class_weight`, as in the fit.

    weights : {'frequency', 'sampling'}, default='frequency'
        The meaning of the weights. ``'frequency'``: the number of times that a row was observed; n is their sum.
        ``'sampling'``: the number of unobserved rows that a row represents; n is the number of rows, M is
        :math:`\sum_i s_i^2 u_i u_i^T`, and the covariance must be ``'robust'``, ``'HC1'`` or ``'cluster'``.

    covariance : {'fisher', 'frequentist', 'robust', 'HC1', 'cluster', 'bootstrap'}, default='fisher'
        The covariance of the coefficients; see above.

    groups : array-like of shape (n_samples,) or None, default=None
        Group of each row, for ``covariance='cluster'``, or for ``'bootstrap'``, which then draws groups.

    reference : label or None, default=None
        The class that the others are compared with, a date in any unit; None is ``classes_[0]``. Joint tests do not
        depend on it.

    features : list of str or int, or None, default=None
        Names or indices of the columns to select; the intercept has the last index, and the name ``'(Intercept)'``.
        None is all columns. This is for models with more than about 5,800 coefficients, whose covariance is too large
        for a matrix: only the selected coefficients are solved for, by conjugate gradients on exact products with F.
        The result has only their columns, no marginal effects, and under a penalty an estimate of `effective_dof`.
        Collinear columns are not set aside, and `effective_dof` counts them: the standard errors of those that are
        selected are NaN, and those of others hold.

    aliased : {'drop', 'nan'}, default='drop'
        What becomes of columns that are linear combinations of the intercept and of earlier columns, in a fit without
        a penalty (of columns without one, where `prior` penalises some). ``'drop'``: they are set aside, as R's `glm`
        does, with NaN for their coefficients. All figures are those of the model without them; its coefficients follow
        from those of the fit, which have the same predictions. R's rule decides, after centring of columns far from
        zero: a column is aliased if less than 1e-11 of it remains after projection on those before it. ``'nan'``:
        coefficients are those of the fit, with NaN for the standard error of every coefficient that the data do not
        determine, that is, of every column in such a combination. All other figures are the same.

    n_resamples : int, default=1000
        Number of resamples for ``covariance='bootstrap'``, 2 or more. Rows are drawn; where frequencies differ,
        observations. With sampling weights a row keeps its weight.

    random_state : int, RandomState instance or None, default=0
        Seed of the resamples.

    Returns
    -------
    result : InferenceResult
        Coefficients and their covariance, with intervals, tests and a summary.

    Raises
    ------
    ValueError
        If the estimator is not a logistic regression as above, an argument is not allowed, the covariance is too large
        and `features` is None, or the data, weights or parameters are not those of the fit. The last is checked only
        for fits of this package that have converged; for others the warning states the distance to the optimum.

    Warns
    -----
    InferenceWarning
        One warning, with numbers, if the standard errors are unreliable: some direction of the coefficients separates
        rows by class, so that the likelihood has no maximum; the fit has not converged; the data do not determine all
        coefficients, and the standard errors of those are NaN; there are more than 0.2 coefficients per row, where
        the variance of maximum likelihood exceeds the inverse Fisher information (Sur and Candès 2019 [3]_); the
        estimator's `class_weight` is treated as frequencies; or there are fewer than 20 groups. It also names the sets
        of columns that aliased ones belong to. ``result.warnings`` and the summary repeat it.

    References
    ----------
    .. [1] H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50(1), 1982.
    .. [2] K.-Y. Liang, S. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73(1), 1986.
    .. [3] P. Sur, E. J. Candès, "A modern maximum-likelihood theory for high-dimensional logistic regression", PNAS
       116(29), 2019.
    .. [4] B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.inference import infer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = X[50:], y[50:]
    >>> model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    >>> infer(model, X, y).standard_errors.round(2)
    array([[ 2.39,  4.48,  4.74,  9.74, 25.71]])
    """
    if hasattr(X, "__dask_graph__"):
        message = "X is a Dask collection, which this function would load into memory; use sknatgrad.dask.infer."
        raise ValueError(message)
    check_aliased(aliased)
    fitted, row_sums = sums_in_memory(estimator, X, y, sample_weight, reference)
    options = CovarianceOptions.checked(weights, covariance, row_sums.counts)
    options = options.with_groups(groups, row_sums.in_memory.weight)
    draws = None
    if options.covariance == "bootstrap":
        check_bootstrap(n_resamples, features, aliased)
        draws = Draws.of(n_resamples, random_state, row_sums.in_memory.weight, options)
    return infer_from_sums(fitted, row_sums, options, features, aliased, draws)


def sums_in_memory(
    estimator: Any, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None, reference: Hashable = None
) -> tuple[FittedModel, RowSums]:
    """Check an estimator and the rows of its fit; return the fitted model, and the sums over the rows."""
    estimator = logistic_regression(estimator)
    fitted = FittedModel.of(estimator, X)
    contrasts = Contrasts.against(fitted.classes, reference)
    with warnings.catch_warnings():
        # the estimator may have been fitted without names: here they are used
        warnings.filterwarnings("ignore", "X has feature names")
        X = check_rows(estimator, X)
    fitted.check_link(estimator, X)
    codes = codes_of(estimator, y, X.shape[0])
    weight, _ = check_row_weights(sample_weight, getattr(estimator, "class_weight", None), fitted.classes, codes)
    limits = limits_of(estimator)
    fitted = fitted.recentred_for(lambda: centres_of(X, limits.far_ratio))
    return fitted, RowSums(InMemoryRows(X, codes, weight, fitted.centres), fitted.theta, contrasts, limits)


def limits_of(estimator: Any) -> Limits:
    """Return the limits of an estimator of this package, the defaults for others."""
    limits: Limits = getattr(estimator, "_limits", Limits())
    return limits


def infer_from_sums(  # noqa: PLR0913, PLR0917 - what is inferred, and how
    fitted: FittedModel,
    row_sums: RowSums,
    options: CovarianceOptions,
    features: Features | None,
    aliased: Aliased,
    draws: Draws | None = None,
) -> InferenceResult:
    """Return the result from sums over rows, in memory or not; warn if standard errors are unreliable."""
    chosen = None if features is None else fitted.column_indices(features)
    covariance = _covariance(fitted, row_sums, chosen)
    check_same_data(covariance.fitted, covariance.row_sums, covariance)
    if aliased == "drop":
        fitted, row_sums = covariance.fitted, covariance.row_sums
    names = fitted.names if chosen is None else tuple(fitted.names[j] for j in chosen)
    raw = recentred_theta(fitted.theta, fitted.centres, None)
    params = np.where(row_sums.kept, row_sums.contrasts.params(raw), np.nan)
    resamples = None if draws is None else _resamples(covariance, draws)
    if resamples is None:
        of_rows, centred = _covariance_matrices(covariance, options, aliased)
    else:
        of_rows, centred = sample_covariance(resamples.params), sample_covariance(resamples.centred_params)
    return InferenceResult(
        params=params if chosen is None else params[:, chosen],
        covariance=of_rows,
        centred_covariance=centred,
        feature_names=names,
        likelihood=Likelihood(
            loglik=-covariance.loss,
            loglik_null=-row_sums.null_loss(intercept=fitted.intercept),
            n=options.n_observations(row_sums.counts),
            effective_dof=covariance.effective_dof,
            penalised=fitted.penalised,
            log_evidence=covariance.log_evidence,
        ),
        fitted=fitted,
        options=options,
        row_sums=row_sums,
        warnings=_warned(covariance, options, names, aliased, "" if resamples is None else resamples.reason),
        resamples=resamples,
    )


def _resamples(covariance: CoefficientCovariance, draws: Draws) -> Resamples:
    """Return the fits to the resamples."""
    from sknatgrad.inference._bootstrap.resamples import ResampledFits  # noqa: PLC0415 - fits of many models, for these

    with Workers() as workers:
        return ResampledFits(covariance.fitted, covariance.row_sums, draws, workers).run()


def _covariance_matrices(
    covariance: CoefficientCovariance, options: CovarianceOptions, aliased: Aliased
) -> tuple[Array, Array]:
    """Return the covariance of the coefficients for the rows themselves, and for rows less the centres."""
    centred = covariance.covariance(options)
    centres, dependence = covariance.fitted.centres, covariance.row_sums.dependence
    of_rows = covariance.uncentred(centred) if isinstance(covariance, DenseCovariance) else centred
    n_contrasts = covariance.row_sums.contrasts.n_classes - 1
    if dependence is None or aliased == "drop":
        return of_rows, centred
    # what does not depend on columns that are set aside is the same with and without them
    of_members = np.tile(dependence.uncentred(centres).members, n_contrasts)
    of_centred = np.tile(dependence.members, n_contrasts)
    return mask_undetermined(of_rows.copy(), ~of_members), mask_undetermined(centred, ~of_centred)


def _warned(
    covariance: CoefficientCovariance, options: CovarianceOptions, names: tuple[str, ...], aliased: Aliased, more: str
) -> tuple[str, ...]:
    """Warn of unreliable standard errors and of aliased columns; return what the warning says.

    `more` is another reason, or empty.
    """
    reasons = (*diagnostics(covariance, options, names), *([more] if more else []))
    dependence = covariance.row_sums.dependence
    dependence = dependence and dependence.uncentred(covariance.fitted.centres)
    notice = aliased_notice(dependence, names) if aliased == "drop" else ""
    undetermined = undetermined_notice(dependence, names) if aliased == "nan" else ""
    reasons = (*reasons, undetermined) if undetermined else reasons
    sentences = [f"These standard errors are unreliable: {'; '.join(reasons)}."] if reasons else []
    sentences += [f"{notice}."] if notice else []
    if sentences:
        warnings.warn(" ".join(sentences), InferenceWarning, stacklevel=stacklevel_of_user())
    return (*reasons, notice) if notice else reasons


def check_aliased(aliased: object) -> None:
    """Refuse unknown treatments of aliased columns."""
    if not isinstance(aliased, str) or aliased not in get_args(Aliased):
        message = f"aliased={aliased!r} is unknown; it must be one of {list(get_args(Aliased))}."
        raise ValueError(message)


def _covariance(fitted: FittedModel, row_sums: RowSums, chosen: Codes | None) -> CoefficientCovariance:
    if chosen is not None:
        return SelectedCovariance(row_sums, fitted, chosen)
    remedy = (
        "select the coefficients of interest by features=[...], with names or indices of columns; they are then solved "
        "for by conjugate gradients"
    )
    check_covariance_size(row_sums.n_params, remedy, row_sums.limits)
    return DenseCovariance.of(row_sums, fitted)
