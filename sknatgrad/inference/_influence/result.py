"""The result of `influence`: leverages, residuals, and what changes without a row."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._model.categorical import predict, probabilities
from sknatgrad._model.class_labels import label_list
from sknatgrad._model.layout import BINARY
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad.inference._influence.changes import coefficient_changes

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sknatgrad._definitions import Array, Codes, Mask
    from sknatgrad._model.influence import RowInfluence
    from sknatgrad.inference._covariance.dense import DenseCovariance
    from sknatgrad.inference._covariance.options import CovarianceOptions


@member_of("sknatgrad.inference")
@underflow_ignored_in
@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class InfluenceResult:
    r"""The influence of each row on a fitted logistic regression.

    With s the weight of a row, x its values, r = p - y its residual, W the covariance of r and H = F + Λ, all in the
    K - 1 contrasts, :math:`A = x^T H^{-1} x` is the covariance of the row's logits, and one step of Newton's method
    without the row changes the coefficients by :math:`s H^{-1} x (I - s W A)^{-1} r`. Rows of weight 0 are not in the
    fit: their leverage is 0, and their leave-one-out logits are those of the fit.

    Attributes
    ----------
    leverage : ndarray of shape (n_samples,)
        :math:`\mathrm{tr}(s W A)`, the diagonal of the hat matrix for two classes. The sum over rows is the effective
        number of coefficients.

    cooks_distance : ndarray of shape (n_samples,)
        :math:`v^T H v / k` for the change v of the k coefficients without the row, as `cooks.distance` of R; NaN for a
        row that alone determines some coefficient.

    loo_logits : ndarray of shape (n_samples, n_classes - 1)
        Logits of the classes but the first, against the first, by the model without the row: exact for rows that were
        refitted, by one step of Newton's method for others. Without a penalty the classes may be separated without a
        row: its logits are then as far as that fit went.

    n_refits : int
        The number of rows without which the model was fitted again, because one step is not accurate enough.

    rows, codes, weight, alone, covariance, options : object
        What the other figures are computed from, by reference.
    """

    rows: RowInfluence
    loo_logits: Array
    n_refits: int
    codes: Codes
    weight: Array
    alone: Mask
    covariance: DenseCovariance
    options: CovarianceOptions

    @property
    def leverage(self) -> Array:
        """Leverage of each row, ``(n,)``."""
        return self.rows.leverage

    @property
    def classes(self) -> tuple[Hashable, ...]:
        """The classes, in the order of the columns of residuals."""
        return tuple(label_list(self.covariance.fitted.classes))

    @property
    def cooks_distance(self) -> Array:
        """Cook's distance of each row, ``(n,)``."""
        return self.rows.distance / max(self.covariance.row_sums.n_params, 1)

    @property
    def deviance_residuals(self) -> Array:
        """√(2 s ℓ) of each row, ``(n,)``, ℓ its loss; for two classes with the sign of y - p."""
        residuals = np.sqrt(2.0 * self.weight * self._losses(self.rows.logits))
        return np.where(self.codes == 1, residuals, -residuals) if self._is_binary else residuals

    @property
    def pearson_residuals(self) -> Array:
        """√s (y - p) / √(p (1 - p)), ``(n,)`` of the second of two classes, else ``(n, K)`` of each class."""
        return self._shown(self._pearson)

    @property
    def standardised_deviance_residuals(self) -> Array:
        """`deviance_residuals` over √(1 - h), ``(n,)``, h the leverage per contrast, as `rstandard` of R."""
        return self.deviance_residuals / _remaining(self.leverage / self.rows.logits.shape[1])

    @property
    def standardised_pearson_residuals(self) -> Array:
        """`pearson_residuals` over their standard deviations, from which the fit has removed its share."""
        return self._shown(self._pearson / _remaining(self.rows.class_leverage))

    @property
    def working_residuals(self) -> Array:
        """W⁻¹ (y - p), ``(n,)`` for two classes, else ``(n, K - 1)``: the residuals of the weighted least squares."""
        # W⁻¹ is diag(1 / p) plus 1 / p of the reference
        inverse = 1.0 / np.maximum(self._proba, np.finfo(np.float64).tiny)
        observed = self._indicators * inverse
        residuals = observed[:, 1:] - observed[:, :1]
        return residuals[:, 0] if self._is_binary else residuals

    @property
    def loo_losses(self) -> Array:
        """Loss of each row by the model without it, ``(n,)``, nats; infinite of a row that has its class alone."""
        return np.where(self.alone, np.inf, self._losses(self.loo_logits))

    @property
    def loo_loss(self) -> float:
        """The leave-one-out log loss: the weighted mean of `loo_losses`, nats."""
        return float(np.average(self.loo_losses, weights=self.weight))

    def dfbetas(self) -> Array:
        """Return by how many standard errors each coefficient is larger with a row than without it.

        Returns
        -------
        dfbetas : ndarray of shape (n_samples, n_classes - 1, n_columns)
            By one step of Newton's method, of all coefficients, with the intercept last; NaN for aliased columns.
        """
        changes = coefficient_changes(self.covariance, self.rows)
        of_rows = self.covariance.uncentred(self.covariance.covariance(self.options))
        dfbetas: Array = -changes / np.sqrt(of_rows.diagonal().reshape(changes.shape[1:]))
        return dfbetas

    def to_frame(self) -> Any:
        """Return a table of the rows as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row for each row of the data, with the columns leverage, cooks_distance, deviance_residual,
            standardised_deviance_residual, loss (without weight, nats) and loo_loss.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = importlib.import_module("pandas")
        return pandas.DataFrame(
            {
                "leverage": self.leverage,
                "cooks_distance": self.cooks_distance,
                "deviance_residual": self.deviance_residuals,
                "standardised_deviance_residual": self.standardised_deviance_residuals,
                "loss": self._losses(self.rows.logits),
                "loo_loss": self.loo_losses,
            }
        )

    @property
    def _is_binary(self) -> bool:
        return bool(self.rows.logits.shape[1] + 1 == BINARY)

    def _with_reference(self, logits: Array) -> Array:
        return np.hstack([np.zeros((len(logits), 1)), logits])

    @property
    def _proba(self) -> Array:
        return probabilities(self._with_reference(self.rows.logits))

    @property
    def _indicators(self) -> Array:
        indicators: Array = np.eye(self.rows.logits.shape[1] + 1)[self.codes]
        return indicators

    @property
    def _pearson(self) -> Array:
        proba, indicators = self._proba, self._indicators
        # without subtraction from 1: the other classes' probabilities
        others = np.array([np.delete(proba, k, axis=1).sum(axis=1) for k in range(proba.shape[1])]).T
        residual = np.where(indicators > 0.0, others, -proba)
        deviation = np.sqrt(np.maximum(proba * others, np.finfo(np.float64).tiny))
        pearson: Array = np.sqrt(self.weight)[:, None] * residual / deviation
        return pearson

    def _shown(self, residuals: Array) -> Array:
        return residuals[:, 1] if self._is_binary else residuals

    def _losses(self, logits: Array) -> Array:
        theta_logits = self.covariance.row_sums.contrasts.theta(logits.T).T
        losses: Array = predict(theta_logits).loss_and_residual(self.codes)[0]
        return losses


def _remaining(leverage: Array) -> Array:
    """Return √(1 − h), or the least that divides where rounding has made h 1 or more."""
    remaining: Array = np.sqrt(np.maximum(1.0 - leverage, np.finfo(np.float64).eps))
    return remaining
