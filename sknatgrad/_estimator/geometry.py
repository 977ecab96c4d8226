"""Fisher information and Kullback-Leibler divergence of fitted models."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sknatgrad._definitions import member_of
from sknatgrad._inputs.checks import check_count, check_model
from sknatgrad._inputs.labels import codes_of
from sknatgrad._inputs.rows import check_rows
from sknatgrad._inputs.weights import check_sample_weight
from sknatgrad._limits import Limits
from sknatgrad._model.class_labels import label_keys, label_names
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.layout import fitted_theta
from sknatgrad._model.metrics import STRUCTURES, FisherName, expectation_of
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Matrix
    from sknatgrad._inputs.configuration import RandomState
    from sknatgrad._model.protocols import PooledInformation


@member_of("sknatgrad")
@ignoring_underflow
def fisher_information(  # noqa: PLR0913 - all but X are keywords
    estimator: Any,
    X: Matrix,
    y: ArrayLike | None = None,
    *,
    kind: FisherName = "true",
    sample_weight: ArrayLike | None = None,
    n_draws: int = 1,
    random_state: RandomState = None,
) -> Array:
    r"""Return the Fisher information of a fitted logistic regression as a dense matrix.

    Parameters
    ----------
    estimator : estimator
        A fitted :class:`NaturalGradientLogisticRegression`, or any scikit-learn classifier with `coef_`,
        `intercept_` and `classes_` whose probabilities are the sigmoid or softmax of its logits.

    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        Rows to sum over.

    y : array-like of shape (n_samples,) or None, default=None
        Observed labels; needed for ``kind='empirical'`` only.

    kind : {'true', 'empirical', 'diagonal', 'kronecker', 'monte_carlo', 'identity'}, default='true'
        The metric, as in :class:`NaturalGradientLogisticRegression`, where the formulas are.

    sample_weight : array-like of shape (n_samples,), float or None, default=None
        Weight of each row.

    n_draws : int, default=1
        Labels drawn per row for ``kind='monte_carlo'``; the standard error is proportional to 1/√n_draws.

    random_state : int, RandomState instance or None, default=None
        Seed of the labels drawn for ``kind='monte_carlo'``.

    Returns
    -------
    information : ndarray of shape (q * d, q * d)
        The sum over rows, in nats, without penalty or damping; q is 1 for two classes, else n_classes, and d is
        n_features, plus 1 if the estimator has an intercept. Ordered class by class, and within a class by feature,
        the intercept last: entry (k * d + j, l * d + m) belongs to ``coef_[k, j]`` and ``coef_[l, m]``.

    Raises
    ------
    ValueError
        If `estimator` is not a logistic regression, `kind` is unknown, or is 'empirical' without `y`, or y holds labels
        that are not classes of the estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression, fisher_information
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NaturalGradientLogisticRegression().fit(X, y)
    >>> fisher_information(model, X).shape
    (15, 15)
    """
    information, centres = centred_fisher_information(
        estimator, X, y, kind=kind, sample_weight=sample_weight, n_draws=n_draws, random_state=random_state
    )
    matrix = np.asarray((information if centres is None else information.recentred(-centres)).dense())
    return matrix if kind != "diagonal" else np.diag(matrix.diagonal())


def centred_fisher_information(  # noqa: PLR0913 - those of `fisher_information`
    estimator: Any,
    X: Matrix,
    y: ArrayLike | None,
    *,
    kind: FisherName,
    sample_weight: ArrayLike | None,
    n_draws: int = 1,
    random_state: RandomState = None,
) -> tuple[PooledInformation, Array | None]:
    """Return the Fisher information for rows less the centres of the fit, and these, ``(p,)``; None if they are 0.

    With centres, ``kind='diagonal'`` gives the whole matrix: the diagonal for the rows themselves does not follow from
    that for rows less the centres.
    """
    check_model(estimator)
    if kind not in STRUCTURES:
        message = f"kind={kind!r} is not a Fisher information; it must be one of {sorted(STRUCTURES)}."
        raise ValueError(message)
    check_count("n_draws", n_draws)
    X = check_rows(estimator, X)
    if y is None and kind == "empirical":
        message = "y=None, but kind='empirical' needs the observed labels: pass y."
        raise ValueError(message)
    codes = np.zeros(X.shape[0], dtype=np.intp) if y is None else codes_of(estimator, y, X.shape[0])
    weight = check_sample_weight(sample_weight, X.shape[0])
    theta, centres = fitted_theta(estimator, intercept=bool(getattr(estimator, "fit_intercept", True)))
    seeds = [0]
    if kind == "monte_carlo":
        seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_draws).tolist()
    structure = STRUCTURES[kind] if centres is None or kind != "diagonal" else DenseInformation
    kernels = [MeasureKernel(theta, expectation_of(kind, seed), structure) for seed in seeds]
    with Workers() as workers:
        limits = getattr(estimator, "_limits", Limits())
        source = MemorySource(X, codes, weight, theta.shape[0], workers, limits=limits, centres=centres)
        information = reduce(
            lambda left, right: left.merge(right), (source.total(each).information for each in kernels)
        )
    return information.scaled(1.0 / len(seeds)) if len(seeds) > 1 else information, centres


@member_of("sknatgrad")
@ignoring_underflow
def kl_divergence(estimator: Any, other: Any, X: Matrix, *, sample_weight: ArrayLike | None = None) -> float:
    r"""Return the mean Kullback-Leibler divergence between the predictions of two classifiers.

    .. math:: \frac{1}{S} \sum_i s_i \sum_k p_{ik} \log \frac{p_{ik}}{q_{ik}}

    with p the probabilities that `estimator` predicts and q those of `other`. It is not symmetric. For two logistic
    regressions whose coefficients differ by d, it is to second order :math:`\frac{1}{2} d^T F d / S`.

    Parameters
    ----------
    estimator, other : estimator
        Fitted classifiers with `predict_log_proba` and the same `classes_`.

    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        Rows to average over.

    sample_weight : array-like of shape (n_samples,), float or None, default=None
        Weight of each row.

    Returns
    -------
    divergence : float
        Nats per unit of weight, >= 0; infinite if `other` gives probability 0 to a class that `estimator` does not.

    Raises
    ------
    ValueError
        If the two do not have the same classes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression, kl_divergence
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NaturalGradientLogisticRegression().fit(X, y)
    >>> kl_divergence(model, model, X)
    0.0
    """
    check_is_fitted(estimator)
    check_is_fitted(other)
    classes, others = estimator.classes_, other.classes_
    if label_keys(classes) != label_keys(others):
        message = (
            f"estimator has classes_ {label_names(classes)} and other {label_names(others)}; a divergence needs "
            "the same classes in both."
        )
        raise ValueError(message)
    log_p = np.asarray(estimator.predict_log_proba(X), dtype=np.float64)
    log_q = np.asarray(other.predict_log_proba(X), dtype=np.float64)
    weight = check_sample_weight(sample_weight, log_p.shape[0])
    return float(weight @ _divergence(log_p, log_q) / weight.sum())


def _divergence(log_p: Array, log_q: Array) -> Array:
    """Return Σ_k p log(p/q) of each row, as a sum of terms >= 0.

    As Σp = Σq = 1, it equals Σ p log(p/q) − p + q. With u = log(q/p) that is p (eᵘ − 1 − u), whose rounding error
    shrinks with u, while that of the plain sum is the rounding of 1.
    """
    possible = np.isfinite(log_p)
    u = np.where(possible, log_q, 0.0) - np.where(possible, log_p, 0.0)
    p, q = np.exp(log_p), np.exp(log_q)
    near = np.abs(u) < 1.0
    small = np.where(near, u, 0.0)
    terms = np.where(near, p * (np.expm1(small) - small), q - p - np.where(p > 0, p * u, 0.0))
    total: Array = np.where(possible, terms, q).sum(axis=1)
    return total
