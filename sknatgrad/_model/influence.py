"""Leverage, and what the logits of a row would be without it, by one step of Newton's method.

Without row i, of weight s, the gradient at the fit is −s x r and the information H − s W ⊗ x xᵀ, with r = p − onehot(y)
and W the covariance of r. One step of Newton's method changes the coefficients by s H⁻¹ (x ⊗ G), with
G = (I − s W A)⁻¹ r and A = xᵀ H⁻¹ x, the covariance of the row's logits (Pregibon 1981, "Logistic regression
diagnostics", for two classes). All of this is in the contrasts, whose W is regular.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.categorical import predict, probabilities
from sknatgrad._model.posterior import logit_covariance
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array, Codes, Mask

# After a change δ a logit is off by up to 0.2 δ², most by a tenth of it, and the loss by (1 - p) times that, p the
# probability of the row's class: breast cancer, wine, iris, digits and normal tables of 60 rows, C from 0.01 to 100.
LOGIT_ERROR = 0.2
# Bound of the error of the mean loss that may remain, nats: the mean of the bounds of the rows that are not fitted
# again. These tables have errors of up to 5e-4 with it.
MAX_MEAN_ERROR = 5e-4
# The same of the loss of a single row, where it is to be known.
MAX_ROW_ERROR = 0.01
# Least determinant of I − s W A. Its eigenvalues are between 0 and 1, but for rounding; it is 0 for a row without which
# some coefficient is not determined.
MIN_DETERMINANT = 1e-10
# arrays of (k, k) numbers of a row that exist at a time, beside its products with the covariance
ARRAYS_PER_ROW = 6


class RowInfluence(NamedTuple):
    """What is known of each row."""

    logits: Array  # (m, k), of the contrasts
    leverage: Array  # (m,), tr(s W A)
    class_leverage: Array  # (m, K), the share of the variance of y − p of each class that the fit removes
    change: Array  # (m, k), s G; NaN where I − s W A is singular
    without: Array  # (m, k), the logits by the coefficients without the row
    distance: Array  # (m,), vᵀ H v of the change v of the coefficients

    def loss_errors(self, losses: Array) -> Array:
        """Return bounds of the errors of the rows' losses by one step without them, ``(m,)``, nats."""
        error = LOGIT_ERROR * abs(self.without - self.logits).max(axis=1) ** 2
        with np.errstate(over="ignore", invalid="ignore"):
            # 1 - p of the class, if its logit is less by the error
            missed = np.minimum(-np.expm1(-losses) * np.exp(error), 1.0)
            errors: Array = np.nan_to_num(missed * error, nan=np.inf)
        return errors


def omitted_from_mean(errors: Array, weight: Array) -> Mask:
    """Say which rows have the largest errors, without which the error of the weighted mean is negligible."""
    shares = np.where(weight > 0.0, errors * weight, 0.0)
    order = np.argsort(shares, kind="stable")
    omitted = np.empty(errors.size, dtype=bool)
    omitted[order] = np.cumsum(shares[order]) > MAX_MEAN_ERROR * weight.sum()
    return omitted


def concatenated(parts: tuple[RowInfluence, ...]) -> RowInfluence:
    """Return the rows of all parts."""
    return RowInfluence(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True)
class InfluenceKernel:
    """The `RowInfluence` of the rows of a block, in parts."""

    params: Array  # (k, d), the contrasts
    inverse: Array  # (k, d, k, d), H⁻¹ in the contrasts
    contrasts: Contrasts
    row_bytes: int  # of numbers of rows that exist at a time

    def __call__(self, block: RowBlock) -> tuple[RowInfluence, ...]:
        """Return those of one block, in parts."""
        n_contrasts, n_columns = self.params.shape
        design = Design.of_block(block, n_columns)
        numbers = n_contrasts * n_columns + ARRAYS_PER_ROW * (n_contrasts + 1) ** 2
        size = max(self.row_bytes // (8 * numbers), 1)
        starts = range(0, len(block.codes), size)
        parts = [slice(start, start + size) for start in starts]
        return tuple(self._of(design.rows(part), block.codes[part], block.weight[part]) for part in parts)

    def _of(self, design: Design, codes: Codes, weight: Array) -> RowInfluence:
        logits = design.logits(self.params)
        of_theta = self.contrasts.theta(logits.T).T
        _, residual = predict(of_theta).loss_and_residual(codes)
        covariance = logit_covariance(design, self.inverse)
        of_classes = weight[:, None, None] * scores_of(probabilities(of_theta))
        others = self.contrasts.others
        scores = of_classes[:, others][:, :, others]
        removed = scores @ covariance
        system = np.eye(len(others)) - removed
        singular = np.linalg.det(system) < MIN_DETERMINANT
        system[singular] = np.eye(len(others))
        change = weight[:, None] * np.linalg.solve(system, self.contrasts.scores(residual)[:, :, None])[:, :, 0]
        change[singular] = np.nan
        to_others = of_classes[:, :, others]
        explained = np.einsum("mka,mab,mkb->mk", to_others, covariance, to_others)
        variance = np.einsum("mkk->mk", of_classes)
        share = np.divide(explained, variance, out=np.zeros_like(explained), where=variance > 0.0)
        of_logits = np.einsum("mab,mb->ma", covariance, change)
        distance = np.einsum("ma,ma->m", of_logits, change)
        return RowInfluence(logits, np.einsum("mkk->m", removed), share, change, logits + of_logits, distance)

    def merge(self, left: tuple[RowInfluence, ...], right: tuple[RowInfluence, ...]) -> tuple[RowInfluence, ...]:
        """Append those of later rows."""
        return left + right


def scores_of(proba: Array) -> Array:
    """Return diag(p) − p pᵀ of all classes, ``(m, K, K)``, without subtraction from 1."""
    scores = -proba[:, :, None] * proba[:, None, :]
    for k in range(proba.shape[1]):
        # p (1 − p), the latter as the sum of the other probabilities
        scores[:, k, k] = proba[:, k] * np.delete(proba, k, axis=1).sum(axis=1)
    return scores
