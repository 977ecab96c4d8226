"""The optima of one set of rows for many values of C."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.cv_fits import fit_folds
from sknatgrad._estimator.cv_splits import Split, check_Cs
from sknatgrad._estimator.cv_task import CheckedRows
from sknatgrad._estimator.path_end import PathEnd
from sknatgrad._estimator.publish import summarised, tell
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._model.layout import raw_intercept
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Labels, Matrix
    from sknatgrad._inputs.configuration import ClassWeight


@member_of("sknatgrad")
class LogisticPath(NamedTuple):
    r"""Coefficients for several values of C, from the strongest penalty to the weakest.

    Attributes
    ----------
    Cs : ndarray of shape (n_cs,)
        The values of C, ascending.

    coefs : ndarray of shape (n_cs, n_logits, n_features)
        Coefficients; n_logits is 1 for two classes.

    intercepts : ndarray of shape (n_cs, n_logits)
        Intercepts; zeros without an intercept.

    losses : ndarray of shape (n_cs,)
        The penalised loss that the coefficients minimise, nats for each unit of weight.

    log_likelihoods : ndarray of shape (n_cs,)
        Log-likelihood of all rows, nats.

    effective_dof : ndarray of shape (n_cs,)
        Effective number of coefficients, :math:`\mathrm{tr}((F + \Lambda)^{-1} F)`. NaN where F is too large to be a
        matrix.

    log_evidences : ndarray of shape (n_cs,)
        Logarithm of the evidence, nats, as :attr:`sknatgrad.inference.InferenceResult.log_evidence`. NaN without a
        penalty, or where F is too large to be a matrix.

    standard_errors : ndarray of shape (n_cs, n_logits, n_features + 1) or None
        Square roots of the diagonal of :math:`(F + \Lambda)^{-1}`, as of `covariance_`, the intercept last (absent
        without an intercept). None unless they were asked for.

    n_iter : ndarray of shape (n_cs,)
        Number of steps, including those to the point from which each descent begins.

    classes : ndarray of shape (n_classes,)
        The class labels, sorted.

    feature_names : ndarray of shape (n_features,) or None
        Names of the features, if X has them.
    """

    Cs: Array
    coefs: Array
    intercepts: Array
    losses: Array
    log_likelihoods: Array
    effective_dof: Array
    log_evidences: Array
    standard_errors: Array | None
    n_iter: Codes
    classes: Labels
    feature_names: Labels | None


@member_of("sknatgrad")
@ignoring_underflow
def logistic_path(  # noqa: PLR0913 - all arguments but the data are keyword-only
    X: Matrix,
    y: ArrayLike,
    *,
    Cs: int | ArrayLike = 100,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    class_weight: ClassWeight = None,
    tol: float = 1e-8,
    max_iter: int = 100,
    standard_errors: bool = False,
) -> LogisticPath:
    r"""Fit logistic regression with many values of C.

    The optimum moves with the penalty :math:`\lambda = 1 / C` by
    :math:`d\theta / d\lambda = -(F + \Lambda)^{-1} P \theta`. A Newton step for another :math:`\lambda`, with the
    Fisher information that is known, follows it. The models go on from there together, with gradients of all of them
    in one reading of X.

    Parameters
    ----------
    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        Rows, as for :meth:`NaturalGradientLogisticRegression.fit`.

    y : array-like of shape (n_samples,)
        Class labels.

    Cs : int or array-like of shape (n_cs,), default=100
        Values of C, each in (0, inf]; an integer is a number of values between 1e-4 and 1e4, evenly spaced on a
        logarithmic scale.

    sample_weight : array-like of shape (n_samples,), float or None, default=None
        Weight of each row, >= 0.

    fit_intercept : bool, default=True
        Whether to fit an intercept.

    class_weight : dict, 'balanced' or None, default=None
        Weight of each class.

    tol : float, default=1e-8
        Tolerance of the convergence test of each fit, relative to the loss.

    max_iter : int, default=100
        Maximum number of steps of each fit, >= 0.

    standard_errors : bool, default=False
        Whether to compute standard errors.

    Returns
    -------
    path : LogisticPath
        The coefficients, losses and effective degrees of freedom.

    Raises
    ------
    ValueError
        If an argument is invalid, or the covariance is too large for standard errors.

    Warns
    -----
    ConvergenceWarning, SeparationWarning
        As :meth:`NaturalGradientLogisticRegression.fit` does.

    See Also
    --------
    NaturalGradientLogisticRegressionCV : Chooses C by cross-validation.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad import logistic_path
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> path = logistic_path(X, y, Cs=[0.01, 1.0, 100.0])
    >>> [round(float(dof), 1) for dof in path.effective_dof]
    [6.2, 9.9, 15.7]
    """
    model = NaturalGradientLogisticRegression(
        fit_intercept=fit_intercept, class_weight=class_weight, tol=tol, max_iter=max_iter
    )
    model._validate_params()  # noqa: SLF001 - as its fit does
    strengths = np.unique(check_Cs(Cs))
    with Workers(limits_blas=False) as workers:
        checked = CheckedRows.of(model, X, y, sample_weight)
        model.C = float(strengths.max())
        task = checked.split(model, [Split.all_rows(checked.weight.size)], strengths, workers)
        layout = task.data.layout
        if standard_errors:
            remedy = "pass standard_errors=False, or fewer columns"
            check_covariance_size(layout.n_params, remedy, model._limits)  # noqa: SLF001 - a parameter
        fits = fit_folds(task)
        tell(summarised(fits.notices))
        ends = PathEnd.of_each(task, fits.theta[0])
    coefs, biases = fits.theta[0, ..., : layout.n_features], np.zeros((strengths.size, layout.n_logits))
    if layout.intercept:
        biases = np.array([raw_intercept(each[:, :-1], each[:, -1], layout.centres) for each in fits.theta[0]])
    return LogisticPath(
        strengths,
        coefs.copy(),
        biases,
        np.array([end.loss for end in ends]),
        np.array([end.log_likelihood for end in ends]),
        np.array([end.effective_dof for end in ends]),
        np.array([end.log_evidence for end in ends]),
        np.array([end.standard_errors for end in ends]) if standard_errors else None,
        fits.n_iter[0],
        layout.classes,
        getattr(model, "feature_names_in_", None),
    )
