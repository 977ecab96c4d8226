"""Intervals from resamples: percentile and BCa (Efron 1987)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import RowBlock
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

METHODS = ("normal", "percentile", "bca")


def check_method(method: object, *, resampled: bool) -> None:
    """Refuse unknown intervals, and those that need resamples where there are none."""
    if method not in METHODS:
        message = f"method={method!r} is unknown; it must be one of {list(METHODS)}."
        raise ValueError(message)
    if method != METHODS[0] and not resampled:
        message = f"method={method!r} needs resamples; call infer with covariance='bootstrap', or use method='normal'."
        raise ValueError(message)


def acceleration_of(fitted: FittedModel, row_sums: RowSums, options: CovarianceOptions) -> Array:
    """Return the acceleration constant of each coefficient, ``(K - 1, d)``, by the infinitesimal jackknife."""
    sums = row_sums.in_contrasts()
    kept = row_sums.kept_params
    prior = row_sums.contrasts.prior(fitted.prior.precision[row_sums.kept])
    inverse = np.zeros((kept.size, kept.size))
    inverse[np.ix_(kept, kept)] = np.linalg.pinv(sums.fisher + prior, hermitian=True)
    counted = options.weights == "frequency" and options.groups is None
    kernel = MomentsKernel(
        fitted.theta,
        row_sums.contrasts,
        inverse,
        row_sums.limits.row_bytes,
        power=1 if counted else 2,
        groups=options.groups,
        n_groups=0 if options.groups is None else int(options.groups.max()) + 1,
    )
    acceleration: Array = kernel.acceleration(row_sums.total(kernel)).reshape(-1, fitted.theta.shape[1])
    return acceleration


def sample_covariance(params: Array) -> Array:
    """Return the covariance of coefficients ``(R, K - 1, d)`` over resamples, ``((K - 1) d, (K - 1) d)``."""
    flat = params.reshape(len(params), -1)
    centred = flat - flat.mean(axis=0)
    covariance: Array = centred.T @ centred / (len(flat) - 1.0)
    return covariance


def percentile_interval(params: Array, level: float) -> Array:
    """Return the quantiles of the resamples, ``(..., 2)``, from coefficients ``(R, ...)``."""
    tail = 0.5 - 0.5 * level
    return np.moveaxis(np.quantile(params, [tail, 1.0 - tail], axis=0), 0, -1)


def bca_interval(params: Array, estimate: Array, acceleration: Array, level: float) -> Array:
    """Return the bias-corrected and accelerated interval, ``(..., 2)`` (Efron 1987, equation 1.11).

    Parameters
    ----------
    params : ndarray of shape (R, ...)
        Coefficients of the resamples.

    estimate, acceleration : ndarray of shape (...)
        The coefficients of the fit, and their acceleration constants.

    level : float
        Coverage, in (0, 1).
    """
    n_resamples = len(params)
    below = (params < estimate).mean(axis=0) + 0.5 * (params == estimate).mean(axis=0)
    # where all resamples lie on one side, half of one would lie on the other
    bias = special.ndtri(np.clip(below, 0.5 / n_resamples, 1.0 - 0.5 / n_resamples))
    ends = []
    for normal in special.ndtri([0.5 - 0.5 * level, 0.5 + 0.5 * level]):
        shifted = bias + normal
        share = special.ndtr(bias + shifted / (1.0 - acceleration * shifted))
        ends.append(_quantiles(params, share))
    return np.stack(ends, axis=-1)


def _quantiles(params: Array, shares: Array) -> Array:
    """Return a quantile of its own of each coefficient."""
    flat = params.reshape(len(params), -1)
    quantiles = [
        np.quantile(column, share) if np.isfinite(share) else np.nan
        for column, share in zip(flat.T, shares.ravel(), strict=True)
    ]
    return np.array(quantiles).reshape(shares.shape)


@record
class MomentsKernel:
    """Σ s l² and Σ s l³ over rows, l the infinitesimal change of each coefficient by a row: H⁻¹ u.

    Of groups, the sums of s l over the rows of each.
    """

    theta: Array  # (q, d)
    contrasts: Contrasts
    inverse: Array  # ((K - 1) d, (K - 1) d), H⁻¹
    row_bytes: int  # of changes held at a time
    power: int  # of the weights: 1 for frequencies, 2 and 3 for rows that are drawn with their weights
    groups: Codes | None  # (n,)
    n_groups: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sums over one block, ``(2, k)``, or of each group, ``(G, k)``."""
        design = Design.of_block(block, self.theta.shape[1])
        sums = np.zeros((self.n_groups if self.groups is not None else 2, len(self.inverse)))
        groups = None if self.groups is None else self.groups[block.start : block.start + block.codes.size]
        size = max(self.row_bytes // (16 * len(self.inverse)), 1)
        for start in range(0, len(block.codes), size):
            part = slice(start, start + size)
            rows, weight = design.rows(part), block.weight[part]
            _, residual = predict(rows.logits(self.theta)).loss_and_residual(block.codes[part])
            changes = rows.scaled_rows(self.contrasts.scores(residual)) @ self.inverse
            if groups is not None:
                np.add.at(sums, groups[part], weight[:, None] * changes)
            else:
                powers = (weight, weight) if self.power == 1 else (weight**2, weight**3)
                sums += [powers[0] @ changes**2, powers[1] @ changes**3]
        return sums

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right

    def acceleration(self, sums: Array) -> Array:
        """Return Σ l³ / 6 (Σ l²)^1.5 of the changes that leaving a row or a group out makes, ``(k,)``.

        The residual is p − y, so `changes` have the sign of what leaving out does, and the jackknife the other one.
        """
        squares, cubes = sums if self.groups is None else ((sums**2).sum(axis=0), (sums**3).sum(axis=0))
        skewness = np.divide(-cubes, squares**1.5, out=np.zeros_like(squares), where=squares > 0.0)
        acceleration: Array = skewness / 6.0
        return acceleration
