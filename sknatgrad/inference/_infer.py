"""The way from a fitted estimator and its rows to an `InferenceResult`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._information._symmetric import factorise
from sknatgrad._strategy import DENSE_BUDGET_BYTES
from sknatgrad._validation import check_row_weights, check_rows, codes_of
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference._contrasts import Contrasts
from sknatgrad.inference._fitted import Fitted
from sknatgrad.inference._question import Question
from sknatgrad.inference._result import InferenceResult
from sknatgrad.inference._separation import find_separation
from sknatgrad.inference._sums import Rows, Totals

if TYPE_CHECKING:
    from sknatgrad._typing import Matrix
    from sknatgrad.inference._question import Covariance, Weights
    from sknatgrad.inference._separation import Separation

# How far the optimum may be, in standard errors of the direction that leads there, before it is worth a word
FAR = 0.1


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
        A fitted :class:`NaturalGradientLogisticRegression`, or any scikit-learn logistic regression, binary or
        multinomial, with an L2 penalty or none.

    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        The rows of the fit.

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

    Returns
    -------
    result : InferenceResult
        Everything that follows from coefficients and covariance.

    Raises
    ------
    ValueError
        If the estimator is no such model, the data are not those of the fit, or an argument is not what is allowed.

    Warns
    -----
    InferenceWarning
        Once, with numbers, if the result should not be believed: some direction of the coefficients separates rows by
        class, so that the likelihood has no maximum; the fit has not converged; or the information does not determine
        all coefficients, whose standard errors are then NaN.

    References
    ----------
    .. [1] H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50(1), 1982.
    .. [2] K.-Y. Liang, S. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73(1), 1986.

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
    fitted = Fitted.of(estimator)
    contrasts = Contrasts.against(fitted.classes, reference)
    X = check_rows(estimator, X)
    fitted.check_link(estimator, X)
    codes = codes_of(estimator, y, X.shape[0])
    weight = check_row_weights(sample_weight, getattr(estimator, "class_weight", None), fitted.classes, codes)
    question = Question.of(weights, covariance, groups, weight)
    _check_size(contrasts, fitted)
    return _answer(fitted, Totals(Rows(X, codes, weight), fitted.theta, contrasts), question)


def _check_size(contrasts: Contrasts, fitted: Fitted) -> None:
    n_params = (contrasts.n_classes - 1) * fitted.theta.shape[1]
    if 8 * n_params**2 > DENSE_BUDGET_BYTES:
        message = (
            f"the covariance of {n_params:,} coefficients would take {8 * n_params**2 / 2**20:,.0f} MiB, over its "
            f"budget of {DENSE_BUDGET_BYTES // 2**20} MiB; fit fewer columns or classes."
        )
        raise ValueError(message)


def _answer(fitted: Fitted, totals: Totals, question: Question) -> InferenceResult:
    sums, contrasts = totals.plain(), totals.contrasts
    params, prior = contrasts.params(fitted.theta), contrasts.prior(fitted.prior)
    factor = factorise(sums.fisher + prior)
    determined = factor.determined()
    inverse = factor.solve(np.eye(params.size))
    inverse = 0.5 * (inverse + inverse.T)
    n_params = factor.rank
    covariance = inverse.copy()
    if question.covariance != "fisher":
        covariance = inverse @ question.spread(totals, sums.fisher, n_params) @ inverse
    covariance[~determined] = covariance[:, ~determined] = np.nan
    gradient = sums.gradient + prior @ params.ravel()
    off = float(np.sqrt(max(float(gradient @ inverse @ gradient), 0.0)))
    found = None if fitted.penalised else find_separation(totals, sums.fisher, at_optimum=off <= FAR)
    _warn(fitted, determined.reshape(params.shape), off, found)
    labels = fitted.classes.tolist()
    return InferenceResult(
        params=params,
        covariance=covariance,
        feature_names=fitted.names,
        classes=tuple(labels[k] for k in contrasts.others),
        reference=labels[contrasts.reference],
        n=question.observations(totals.rows.weight),
        loglik=-sums.loss,
        loglik_null=-totals.null_loss(intercept=fitted.intercept),
        effective_dof=float(np.einsum("ij,ji->", inverse, sums.fisher)) if fitted.penalised else float(n_params),
        penalised=fitted.penalised,
        intercept=fitted.intercept,
        question=question,
        totals=totals,
    )


def _warn(fitted: Fitted, determined: Any, off: float, found: Separation | None) -> None:
    """Say once why the result should not be believed."""
    reasons = [] if found is None else [found.describe(fitted)]
    if off > FAR or not fitted.converged:
        reasons.append(
            f"the fit has not converged on these rows and weights: the optimum is about {off:.2g} standard errors "
            "away, so refit with a smaller tol or more iterations, and pass the data of the fit"
        )
    if not determined.all():
        names = [name for name, known in zip(fitted.names, determined.all(axis=0).tolist(), strict=True) if not known]
        reasons.append(
            f"the columns {', '.join(names)} are collinear or constant, so that their coefficients are not determined "
            "and have no standard errors: drop some of them, or fit with a penalty"
        )
    if reasons:
        warnings.warn(
            "Do not believe these standard errors: " + "; ".join(reasons) + ".", InferenceWarning, stacklevel=4
        )
