"""Leverage, and what the logits of a row would be without it, by one step of Newton's method.

Without row i, of weight s, the gradient at the fit is −s x r and the information H − s W ⊗ x xᵀ, with r = p − onehot(y)
and W the covariance of r. One step of Newton's method changes the coefficients by s H⁻¹ (x ⊗ G), with
G = (I − s W A)⁻¹ r and A = xᵀ H⁻¹ x, the covariance of the row's logits (Pregibon 1981, "Logistic regression
diagnostics", for two classes). All of this is in the contrasts, whose W is regular.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict, probabilities
from sknatgrad._model.posterior import logit_covariance
from sknatgrad._rows.design import Design
from sknatgrad._rows.source import RowsKernel
from sknatgrad._rows.source import concatenated as concatenated_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array, Codes, Mask
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import Kernel, RowBlock

# Bound of the error of the mean loss that may remain, nats: the mean of the bounds of the rows that are not fitted
# again.
MAX_MEAN_ERROR = 5e-4
# The same of the loss of a single row, where it is to be known.
MAX_ROW_ERROR = 0.01
# Change of a logit of any row up to which a step of Newton's method says how far the optimum is.
MAX_RESPONSE = 1.0
# Rows whose logits change most along a step of unit length, and for which each change is computed. Of others a bound is
# known. Adult, 48,842 x 109, C = 1: 128 take as long as the rest.
N_OUTLYING = 128
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
    spread: Array  # (m,), the largest range of changes of its logits along a step v with vᵀ H v = 1

    def loss_errors(self, losses: Array, responses: Array) -> Array:
        """Return bounds of the errors of the rows' losses by one step without them, ``(m,)``, nats.

        F changes along a step by a factor of e^±δ at most, δ the largest change of a logit of any row. So the optimum
        is within (e^δ − 1 − δ) / δ · e^δ times the step from its end, in the norm of F (F. Bach, "Self-concordant
        analysis for logistic regression", Electronic Journal of Statistics 4, 2010).

        Parameters
        ----------
        losses : ndarray of shape (m,)
            The rows' losses by one step without them, nats.

        responses : ndarray of shape (m,)
            δ of each of these steps.
        """
        own = ranges(self.without - self.logits)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            share = np.where(responses > 0.0, (np.expm1(responses) - responses) / responses * np.exp(responses), 0.0)
            error = own * share
            # the loss of a row with a probability of p changes by at most (1 - p) (e^error - 1)
            bound = np.minimum(error, -np.expm1(-losses) * np.expm1(error))
        return np.asarray(np.where(responses <= MAX_RESPONSE, bound, np.inf))


def ranges(logits: Array) -> Array:
    """Return the range of the logits of each row, ``(..., m)``, with that of the reference, from contrasts."""
    found: Array = np.maximum(logits.max(axis=-1), 0.0) - np.minimum(logits.min(axis=-1), 0.0)
    return found


def omitted_from_mean(errors: Array, weight: Array) -> Mask:
    """Say which rows have the largest errors, without which the error of the weighted mean is negligible."""
    shares = np.zeros(errors.size)
    np.multiply(errors, weight / weight.max(initial=1e-300), out=shares, where=weight > 0.0)
    order = np.argsort(shares, kind="stable")
    omitted = np.empty(errors.size, dtype=bool)
    omitted[order] = np.cumsum(shares[order]) > MAX_MEAN_ERROR * float((weight / weight.max(initial=1e-300)).sum())
    return omitted


def rows_without_others(codes: Codes, weight: Array, n_classes: int) -> Mask:
    """Say which rows have a class alone, ``(n,)``: without one its free intercept tends to -∞, and its loss to ∞."""
    counts = np.bincount(codes[weight > 0.0], minlength=n_classes)
    alone: Mask = (counts == 1)[codes] & (weight > 0.0)
    return alone


def concatenated(parts: tuple[RowInfluence, ...]) -> RowInfluence:
    """Return the rows of all parts."""
    return RowInfluence(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@record
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
        # of several contrasts the range is at most √2 times the norm
        spread = np.sqrt(min(len(others), 2) * np.maximum(np.einsum("mkk->m", covariance), 0.0))
        without = logits + of_logits
        return RowInfluence(logits, np.einsum("mkk->m", removed), share, change, without, distance, spread)

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


@record
class ResponsesKernel:
    """The largest range of the changes of logits of some rows without each row of a block, in parts of ``(m,)``."""

    images: Array  # (k d, k j), H⁻¹ (e_k ⊗ x) of each of j rows and each contrast
    n_contrasts: int
    change: Array  # (n, k), s G of all rows
    row_bytes: int  # of numbers of rows that exist at a time

    @classmethod
    def of(cls, inverse: Array, others: Array, change: Array, row_bytes: int) -> ResponsesKernel:
        """Return that of the rows `others`, ``(j, d)``, with H⁻¹ in the contrasts, ``(k, d, k, d)``."""
        n_contrasts, n_columns = inverse.shape[:2]
        images = np.einsum("akbd,jd->akbj", inverse, others, optimize=True)
        return cls(images.reshape(n_contrasts * n_columns, -1), n_contrasts, change, row_bytes)

    def __call__(self, block: RowBlock) -> tuple[Array, ...]:
        """Return those of one block."""
        design = Design.of_block(block, len(self.images) // self.n_contrasts)
        size = max(self.row_bytes // (16 * sum(self.images.shape)), 1)
        changes = self.change[block.start : block.start + len(block.codes)]
        parts = [slice(start, start + size) for start in range(0, len(block.codes), size)]
        return tuple(self._of(design.rows(part).scaled_rows(changes[part])) for part in parts)

    def _of(self, rows: Array) -> Array:
        changes = (rows @ self.images).reshape(len(rows), self.n_contrasts, -1)
        largest: Array = ranges(changes.swapaxes(1, 2)).max(axis=1)
        return largest

    def merge(self, left: tuple[Array, ...], right: tuple[Array, ...]) -> tuple[Array, ...]:
        """Append those of later rows."""
        return left + right


def largest_responses(
    total: Callable[[Kernel[Any]], Any], rows: RowInfluence, weight: Array, inverse: Array, row_bytes: int
) -> Array:
    """Return the largest change of a logit of any row that has weight without each row, ``(n,)``.

    Parameters
    ----------
    total : callable
        Applies a kernel to all rows.

    rows : RowInfluence
        Their influences.

    weight : ndarray of shape (n,)
        Their weights.

    inverse : ndarray of shape (k, d, k, d)
        H⁻¹ in the contrasts.

    row_bytes : int
        Bytes of numbers of rows that exist at a time.
    """
    spread = np.where(weight > 0.0, rows.spread, -1.0)
    n_outlying = min(N_OUTLYING, int(np.count_nonzero(weight)))
    outlying = np.sort(np.argpartition(spread, -n_outlying)[-n_outlying:])
    X = concatenated_rows(total(RowsKernel(outlying))).X
    others = Design.of(X, inverse.shape[1]).dense()
    of_outlying = np.concatenate(total(ResponsesKernel.of(inverse, others, rows.change, row_bytes)))
    # the other rows' logits change by at most their spread times the length of the step
    rest = np.delete(spread, outlying).max(initial=0.0)
    return np.asarray(np.maximum(of_outlying, rest * np.sqrt(np.maximum(rows.distance, 0.0))))
