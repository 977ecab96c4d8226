"""The way from a fitted estimator and its rows to an `InferenceResult`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.labels import codes_of
from sknatgrad._inputs.rows import check_rows
from sknatgrad._inputs.weights import check_row_weights
from sknatgrad._limits import Limits
from sknatgrad._model.contrasts import Contrasts
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference._curvature import SomeCurvature, WholeCurvature
from sknatgrad.inference._doubts import check_same_data, doubts
from sknatgrad.inference._fitted import Fitted
from sknatgrad.inference._question import Question
from sknatgrad.inference._result import InferenceResult
from sknatgrad.inference._sums import Rows, Totals

if TYPE_CHECKING:
    from sknatgrad._typing import Codes, Matrix
    from sknatgrad.inference._curvature import Curvature
    from sknatgrad.inference._question import Covariance, Weights


def infer(  # noqa: PLR0913 - all but the data are keywords
    estimator: Any,
    X: Matrix,
    y: Any,
    *,
    sample_weight: Any = None,
    weights: Weights = "frequency",
    covariance: Covariance = "fisher",
    groups: Any = None,
    reference: Any = None,
    features: Any = None,
) -> InferenceResult:
    r"""Return standard errors, tests and intervals of a fitted logistic regression.

    In one pass over the rows, or two, at the fitted coefficients, with the true Fisher information as a matrix, however
    the model was fitted. With K classes the coefficients :math:`\beta` are the K - 1 contrasts against a reference
    class; with F their Fisher information, :math:`\Lambda` the precision that the penalty stands for (0 for
    ``C=np.inf``) and :math:`H = F + \Lambda`, the covariance of :math:`\beta` is

    - ``'fisher'``: :math:`H^{-1}`. Without a penalty that of maximum likelihood, as in R's ``glm``; with one, that of
      the Laplace approximation to the posterior under the Gaussian prior that the penalty is.
    - ``'frequentist'``: :math:`H^{-1} F H^{-1}`, how much the shrunk estimate varies from sample to sample, around its
      own mean. The same as ``'fisher'`` without a penalty.
    - ``'robust'``: :math:`H^{-1} M H^{-1}` with :math:`M = \sum_i s_i u_i u_i^T`, :math:`u_i` the score of a row at its
      label; right for rows that are independent even if the model is not (White 1982 [1]_; "HC0").
    - ``'HC1'``: that times n / (n - k), k coefficients.
    - ``'cluster'``: :math:`M = \sum_g u_g u_g^T`, :math:`u_g` the weighted sum over a group's rows, times
      G / (G - 1) (n - 1) / (n - k) for G groups; for rows that depend on each other within groups (Liang and Zeger
      1986 [2]_).

    Parameters
    ----------
    estimator : estimator
        A fitted `NaturalGradientLogisticRegression`, or any scikit-learn logistic regression, binary or
        multinomial, with an L2 penalty or none.

    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        The rows of the fit. If the estimator was not told the names of its columns, those of a table are used.

    y : array-like of shape (n_samples,)
        Their labels.

    sample_weight : array-like of shape (n_samples,), float or None, default=None
        Their weights in the fit. The estimator's `class_weight` is taken into account besides.

    weights : {'frequency', 'sampling'}, default='frequency'
        What weights mean. ``'frequency'``: how often a row was seen, so that n is their sum. ``'sampling'``: how many
        others a row stands for, so that n is the number of rows, M is :math:`\sum_i s_i^2 u_i u_i^T`, and the
        covariance must be ``'robust'``, ``'HC1'`` or ``'cluster'``.

    covariance : {'fisher', 'frequentist', 'robust', 'HC1', 'cluster'}, default='fisher'
        Which covariance of the coefficients; see above.

    groups : array-like of shape (n_samples,) or None, default=None
        Group of each row, for ``covariance='cluster'``.

    reference : label or None, default=None
        Class that the others are compared with; None is ``classes_[0]``. Tests do not depend on it.

    features : list of str or int, or None, default=None
        Names or indices of the columns whose coefficients are wanted, the intercept's being the last, or its name
        ``'(Intercept)'``; None is all. For models with so many coefficients, more than about 5,800, that their
        covariance is too large for a matrix: only these are then solved for, by conjugate gradients on exact products
        with F. The result has their columns alone, no marginal effects, and under a penalty no `effective_dof`.

    Returns
    -------
    result : InferenceResult
        Everything that follows from coefficients and covariance.

    Raises
    ------
    ValueError
        If the estimator is no such model, the data, weights or parameters are not those of the fit (of fits of this
        package that have converged; of others the warning says how far the optimum is), an argument is not what is
        allowed, or the covariance is too large and `features` is None.

    Warns
    -----
    InferenceWarning
        Once, with numbers, if the result should not be believed: some direction of the coefficients separates rows by
        class, so that the likelihood has no maximum; the fit has not converged; the information does not determine
        all coefficients, whose standard errors are then NaN; there are more than 0.2 coefficients a row, where
        maximum likelihood is known to vary more than its Fisher information says (Sur and Candès 2019 [3]_); the
        estimator's `class_weight` is taken for frequencies; or there are fewer than 20 groups.

    References
    ----------
    .. [1] H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50(1), 1982.
    .. [2] K.-Y. Liang, S. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73(1), 1986.
    .. [3] P. Sur, E. J. Candès, "A modern maximum-likelihood theory for high-dimensional logistic regression", PNAS
       116(29), 2019.

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
        message = "X is a Dask collection, whose rows would all be brought here; use sknatgrad.dask.infer."
        raise ValueError(message)
    fitted = Fitted.of(estimator, X)
    contrasts = Contrasts.against(fitted.classes, reference)
    with warnings.catch_warnings():
        # that the estimator was not told them: they are of use here
        warnings.filterwarnings("ignore", "X has feature names")
        X = check_rows(estimator, X)
    fitted.check_link(estimator, X)
    codes = codes_of(estimator, y, X.shape[0])
    weight, _ = check_row_weights(sample_weight, getattr(estimator, "class_weight", None), fitted.classes, codes)
    totals = Totals(Rows(X, codes, weight, getattr(estimator, "_limits", Limits())), fitted.theta, contrasts)
    question = Question.of(weights, covariance, totals.counts).among(groups, weight)
    return answer(fitted, totals, question, features)


def _curvature(fitted: Fitted, totals: Totals, chosen: Codes | None) -> Curvature:
    if chosen is not None:
        return SomeCurvature(totals, fitted, chosen)
    remedy = (
        "ask for the coefficients that matter, by features=[...] with their names or indices, which are then solved "
        "for by conjugate gradients"
    )
    check_covariance_size(totals.n_params, remedy)
    return WholeCurvature(totals, fitted)


def answer(fitted: Fitted, totals: Totals, question: Question, features: Any) -> InferenceResult:
    """Return what the rows say of the coefficients; warn if it should not be believed."""
    chosen = None if features is None else fitted.columns(features)
    curvature, contrasts = _curvature(fitted, totals, chosen), totals.contrasts
    check_same_data(fitted, totals, curvature)
    names = fitted.names if chosen is None else tuple(fitted.names[j] for j in chosen)
    params = contrasts.params(fitted.theta)
    doubt = doubts(fitted, totals, curvature, question, names)
    if doubt:
        warnings.warn(doubt, InferenceWarning, stacklevel=3)
    labels = fitted.classes.tolist()
    return InferenceResult(
        params=params if chosen is None else params[:, chosen],
        covariance=curvature.covariance(question),
        feature_names=names,
        classes=tuple(labels[k] for k in contrasts.others),
        reference=labels[contrasts.reference],
        n=question.observations(totals.counts),
        loglik=-curvature.loss,
        loglik_null=-totals.null_loss(intercept=fitted.intercept),
        effective_dof=curvature.effective_dof,
        penalised=fitted.penalised,
        intercept=fitted.intercept,
        question=question,
        totals=totals,
    )
