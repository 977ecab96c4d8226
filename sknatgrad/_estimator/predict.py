"""Predictions for new rows: classes, probabilities, and their uncertainty."""

from __future__ import annotations

import math
from operator import and_
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sknatgrad._inputs.checks import check_count, check_level
from sknatgrad._inputs.labels import codes_and_unknown, different_kinds, label_kind, labels_of_rows
from sknatgrad._inputs.rows import check_rows, refuse_infinite
from sknatgrad._inputs.weights import check_sample_weight
from sknatgrad._model.categorical import predict, probabilities
from sknatgrad._model.layout import Layout, classes_for, fitted_theta, raw_intercept, split
from sknatgrad._model.posterior import Posterior, averaged_over
from sknatgrad._rows.centring import take_centred
from sknatgrad._rows.design import Design
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad._rows.matrices import as_csr, as_dense, cast
from sknatgrad._rows.memory import block_bounds
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes, Labels, Mask, Matrix
    from sknatgrad._inputs.configuration import RandomState
    from sknatgrad._limits import Limits

METHODS = ("probit", "monte_carlo")
# logits of at most this size, and differences of two of them, are numbers of float32, the largest of which is 3e38
LARGE_LOGIT = 1e38


def _codes_of_scores(scores: Array) -> Codes:
    return (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)


def are_correct(classes: Labels, scores: Array, labels: Labels) -> Mask:
    """Return which rows have the label of their most probable class, ``(n,)``; refuse labels of another kind."""
    kinds = {label_kind(classes), label_kind(labels)}
    if len(kinds) > 1 and kinds & {"number", "word"}:
        raise ValueError(different_kinds(classes[0], labels[0]))
    codes, _ = codes_and_unknown(classes, labels)
    mask: Mask = codes == _codes_of_scores(scores)
    return mask


@underflow_ignored_in
class PredictionMixin:
    """Predictions from `coef_`, `intercept_` and `classes_`, and their uncertainty from `covariance_`."""

    coef_: Matrix
    intercept_: Array
    classes_: Labels
    covariance_: Array
    _limits: ClassVar[Limits]
    _undetermined: Array  # directions of a row that the rows of the fit do not determine, (j, d)
    _centred_covariance: Array | None  # of the intercepts with all coefficients, for rows less the centres, (q, q, d)

    def decision_function(self, X: Matrix) -> Array:
        """Return the logits: log-odds of ``classes_[1]``, or one score per class, which sum to zero.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Logits in nats.
        """
        logits = self._of_logits(X, lambda logits: logits, per_class=False)
        return logits.ravel() if logits.shape[1] == 1 else logits

    def predict(self, X: Matrix) -> Labels:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels.
        """
        codes = _codes_of_scores(self.decision_function(X))
        labels: Labels = self.classes_[codes]
        return labels

    def score(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy: the share of rows, by weight, whose label is the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to classify.

        y : array-like of shape (n_samples,)
            Their labels, of the kind of those of the fit; a label that the fit has not seen counts as an error.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row.

        Returns
        -------
        accuracy : float
            In [0, 1].

        Raises
        ------
        ValueError
            If a label is missing, or of another kind than those of the fit, or a weight is invalid.
        """
        scores = self.decision_function(X)
        labels = labels_of_rows(y, len(scores))
        weight = check_sample_weight(sample_weight, len(labels))
        return float(np.average(are_correct(self.classes_, scores, labels), weights=weight))

    def predict_proba(self, X: Matrix) -> Array:
        """Return the probability of each class, computed stably for any finite logits.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`; each row sums to 1.
        """
        return self._of_logits(X, probabilities)

    def predict_log_proba(self, X: Matrix) -> Array:
        """Return the log-probability of each class: finite wherever the logits are, even where the probability is 0.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Log-probabilities in nats, columns in the order of `classes_`.
        """
        return self._of_logits(X, lambda logits: predict(logits).log_proba())

    def decision_function_std(self, X: Matrix) -> Array:
        r"""Return the standard deviation of each logit over the posterior.

        .. math:: \sqrt{x^T \Sigma_{kk}\, x}

        with x a row, one for the intercept included, and :math:`\Sigma_{kk}` the block of `covariance_` that belongs to
        class k. Without a penalty it is also the standard error by maximum likelihood.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        std : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Standard deviations of `decision_function`, in nats; infinite for rows whose logits the fit does not
            determine: without a penalty, rows in which columns that are collinear in the fit are not.

        Raises
        ------
        ValueError
            If the model was fitted without ``store_covariance=True``.
        """
        X, posterior = self._checked(X)
        std = posterior.of_rows(X, lambda logits: logits.std(), self._limits)
        return cast(std.ravel() if std.shape[1] == 1 else std, self._type_for(X))

    def predict_proba_interval(self, X: Matrix, level: float = 0.95) -> Array:
        r"""Return an interval for the probability of each class.

        The log-odds of a class against all others, :math:`\log p_k / (1 - p_k)`, are about normal. Their interval is
        transformed to probabilities: :math:`\sigma(\mathrm{logit}\, p_k \pm z \sqrt{g_k^T V g_k})`, V the posterior
        covariance of the row's logits and :math:`g_k` the gradient of the log-odds with respect to them (delta method).
        The ends lie in [0, 1], on both sides of `predict_proba`. For two classes the posterior is the only
        approximation.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        level : float, default=0.95
            Posterior probability that the interval contains the probability of the class, in (0, 1).

        Returns
        -------
        interval : ndarray of shape (n_samples, n_classes, 2)
            Lower and upper ends, classes in the order of `classes_`; 0 and 1 for rows that the fit does not determine,
            as in `decision_function_std`.

        Raises
        ------
        ValueError
            If the model was fitted without ``store_covariance=True``, or `level` is not in (0, 1).
        """
        check_level(level)
        X, posterior = self._checked(X)
        return cast(posterior.of_rows(X, lambda logits: logits.interval(level), self._limits), self._type_for(X))

    def predict_proba_averaged(
        self,
        X: Matrix,
        method: Literal["probit", "monte_carlo"] = "probit",
        *,
        n_draws: int = 1000,
        random_state: RandomState = None,
    ) -> Array:
        r"""Return the probability of each class averaged over the posterior, rather than at its mode.

        These probabilities include the uncertainty of the coefficients: they are less extreme than those of
        `predict_proba` where there are few data.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows to predict.

        method : {'probit', 'monte_carlo'}, default='probit'
            ``'probit'``: for two classes the average is about :math:`\sigma(m / \sqrt{1 + \pi v / 8})`, m and v the
            posterior mean and variance of the difference of their logits (MacKay 1992 [1]_); for more, the odds of each
            class against the rest follow from those of its pairs (Lu, Ie and Sha 2020 [2]_).
            ``'monte_carlo'``: the mean over draws of the coefficients, the same draws for every row.

        n_draws : int, default=1000
            Draws for ``'monte_carlo'``; the standard error is proportional to 1/√n_draws.

        random_state : int, RandomState instance or None, default=None
            Seed of the draws for ``'monte_carlo'``.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`; each row sums to 1. All equal for rows that the fit does
            not determine, as in `decision_function_std`.

        Raises
        ------
        ValueError
            If the model was fitted without ``store_covariance=True``, `method` is unknown or `n_draws` less than 1.

        References
        ----------
        .. [1] D. J. C. MacKay, "The evidence framework applied to classification networks", Neural Computation 4(5),
           1992.
        .. [2] Z. Lu, E. Ie, F. Sha, "Mean-field approximation to Gaussian-softmax integral with application to
           uncertainty estimation", arXiv:2006.07584, 2020.
        """
        if method not in METHODS:
            message = f"method={method!r} is unknown; it must be one of {list(METHODS)}."
            raise ValueError(message)
        check_count("n_draws", n_draws)
        X, posterior = self._checked(X)
        if method == "probit":
            proba = posterior.of_rows(X, lambda logits: logits.averaged(), self._limits)
        else:
            draws = posterior.draw(n_draws, check_random_state(random_state))
            proba = averaged_over(draws, posterior, X, self._limits)
        return cast(proba, self._type_for(X))

    def sample_coef(self, n_draws: int = 1, random_state: RandomState = None) -> tuple[Array, Array]:
        """Return coefficients drawn from their posterior, the normal distribution with covariance `covariance_`.

        Parameters
        ----------
        n_draws : int, default=1
            Number of draws.

        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        coef : ndarray of shape (n_draws, 1, n_features) or (n_draws, n_classes, n_features)
            Draws of `coef_`.

        intercept : ndarray of shape (n_draws, 1) or (n_draws, n_classes)
            Draws of `intercept_`, joint with those of `coef`; zeros without an intercept.

        Raises
        ------
        ValueError
            If the model was fitted without ``store_covariance=True``, or `n_draws` is less than 1.
        """
        check_count("n_draws", n_draws)
        posterior = self._posterior()
        draws = posterior.draw(n_draws, check_random_state(random_state))
        coef, intercepts = split(draws.reshape(-1, draws.shape[2]), intercept=self._covariance_layout.intercept)
        coef, intercepts = coef.reshape(*draws.shape[:2], -1), intercepts.reshape(draws.shape[:2])
        return coef, raw_intercept(coef, intercepts, posterior.centres)

    def sparsify(self) -> Self:
        """Convert `coef_` to a sparse array, which takes less memory if more than half of the coefficients are zero.

        They are zero for columns that are zero in all rows of the fit, such as words of a vocabulary that it did not
        have. All methods work as before; further fits, also by `partial_fit`, make `coef_` dense again.

        Returns
        -------
        self : estimator
            The estimator, with `coef_` as a CSR array of scipy.
        """
        check_is_fitted(self)
        self.coef_ = as_csr(self.coef_)
        return self

    def densify(self) -> Self:
        """Convert `coef_` back to a dense array; do nothing if it is dense.

        Returns
        -------
        self : estimator
            The estimator, with `coef_` as an ndarray.
        """
        check_is_fitted(self)
        self.coef_ = as_dense(self.coef_)
        return self

    def _posterior(self) -> Posterior:
        check_is_fitted(self)
        if not hasattr(self, "covariance_"):
            message = (
                f"this {type(self).__name__} has no covariance_, from which uncertainty is computed; fit it with "
                "store_covariance=True."
            )
            raise ValueError(message)
        layout = self._covariance_layout
        theta, centres = fitted_theta(self, intercept=layout.intercept)
        covariance = self.covariance_.reshape(*layout.shape, *layout.shape)
        if centres is not None and self._centred_covariance is not None:
            covariance = covariance.copy()
            covariance[:, -1] = self._centred_covariance
            covariance[..., -1] = self._centred_covariance.transpose(1, 2, 0)
        return Posterior(theta, covariance, self._undetermined, centres)

    @property
    def _covariance_layout(self) -> Layout:
        # of the fit: the parameter `fit_intercept` may have been set since
        return Layout(self.classes_, self.coef_.shape[1], intercept=len(self.covariance_) > np.prod(self.coef_.shape))

    def _checked(self, X: Matrix) -> tuple[Matrix, Posterior]:
        posterior = self._posterior()
        return check_rows(self, X), posterior

    def _of_logits(self, X: Matrix, function: Callable[[Array], Array], *, per_class: bool = True) -> Array:
        """Return a function of the logits ``(m, q)`` of each block of rows: a number for each class, or each logit.

        X is searched for values that are not finite only if logits are not finite, or would not show it.
        """
        check_is_fitted(self)
        X = check_rows(self, X, finite=False)
        theta, centres = fitted_theta(self, intercept=True)
        width = classes_for(len(theta)) if per_class else len(theta)
        results = np.empty((X.shape[0], width), dtype=self._type_for(X))
        # BLAS may skip a column whose coefficients are 0
        shows_infinite = bool(theta[:, :-1].any(axis=0).all())

        def compute(bounds: tuple[int, int]) -> bool:
            start, stop = bounds
            design = Design.of(take_centred(X, start, stop, centres), theta.shape[1])
            logits = design.logits(theta)
            values, largest = function(logits), float(abs(logits).max())
            # float32 holds what follows from smaller logits
            results[start:stop] = values if largest < LARGE_LOGIT else cast(values, results.dtype)
            return math.isfinite(largest)

        blocks = block_bounds(X, theta.shape[0], self._limits, centred=centres is not None)
        with np.errstate(invalid="ignore"):
            if len(blocks) == 1:
                finite = compute(blocks[0])
            else:
                with Workers() as workers:
                    finite = workers.map_reduce(compute, and_, blocks)
        if not (finite and shows_infinite):
            refuse_infinite(self, X)
        return results

    def _type_for(self, X: Matrix) -> type[np.float32 | np.float64]:
        """Return the type of the result for X."""
        return np.float32 if X.dtype == np.float32 and self.coef_.dtype == np.float32 else np.float64
