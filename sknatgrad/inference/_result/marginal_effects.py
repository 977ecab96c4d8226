"""Average marginal effects: mean derivatives of each class's probability with respect to each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of, record
from sknatgrad._inputs.checks import check_level
from sknatgrad._model.categorical import probabilities
from sknatgrad._model.layout import BINARY
from sknatgrad._model.normal import in_standard_errors, interval, two_sided
from sknatgrad._rows.design import Design, gil_free_matmul
from sknatgrad._rows.floating_point import underflow_ignored_in

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sknatgrad._definitions import Array
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import RowBlock
    from sknatgrad.inference._row_sums.sums import RowSums


@member_of("sknatgrad.inference")
@underflow_ignored_in
class MarginalEffects(NamedTuple):
    """Average marginal effects: the mean derivative of each class's probability with respect to each feature.

    Attributes
    ----------
    classes : tuple, n_classes or 1 of them
        The class of each row of `effects`: only the second of two classes, as the effects of the first are the
        negatives.

    feature_names : tuple of str, n_features of them
        Names of the features.

    effects : ndarray of shape (n_classes, n_features) or (1, n_features)
        Mean effects.

    standard_errors : ndarray of the same shape
        Their standard errors, by the delta method.
    """

    classes: tuple[Hashable, ...]
    feature_names: tuple[str, ...]
    effects: Array  # (K, p) or (1, p)
    standard_errors: Array

    @property
    def z(self) -> Array:
        """Effects in units of their standard errors; NaN where that is 0."""
        return in_standard_errors(self.effects, self.standard_errors)

    @property
    def p_values(self) -> Array:
        """Two-sided p-values of the hypotheses that an effect is 0."""
        return two_sided(self.z)

    def conf_int(self, level: float = 0.95) -> Array:
        """Return the confidence interval of each effect.

        Parameters
        ----------
        level : float, default=0.95
            Probability that an interval covers its effect, in (0, 1).

        Returns
        -------
        interval : ndarray of shape (..., 2)
            Lower and upper end of each.
        """
        check_level(level)
        return interval(self.effects, self.standard_errors, level)


def average_effects(
    row_sums: RowSums, covariance: Array, labels: list[Hashable], names: tuple[str, ...]
) -> MarginalEffects:
    """Return the effects of the K `labels`, from the covariance of all coefficients; NaN for aliased columns."""
    kernel = EffectsKernel(row_sums.theta, row_sums.contrasts, row_sums.limits.row_bytes)
    effects, slopes = row_sums.total(kernel)
    weight = row_sums.counts.total_weight
    n_classes, n_features = effects.shape
    kept = row_sums.kept_params
    flat = slopes.reshape(n_classes * n_features, -1)[:, kept] / weight
    variance = np.einsum("ij,jk,ik->i", flat, covariance[np.ix_(kept, kept)], flat).reshape(n_classes, n_features)
    effects[:, ~row_sums.kept[:n_features]] = variance[:, ~row_sums.kept[:n_features]] = np.nan
    shown = slice(n_classes == BINARY, None)
    return MarginalEffects(tuple(labels[shown]), names[:n_features], effects[shown] / weight, np.sqrt(variance[shown]))


@record
class EffectsKernel:
    r"""Sums over rows of the effects s ∂p_k/∂x_j and of their derivatives with respect to β.

    With :math:`D_{kj} = \beta_{kj} - \sum_r p_r \beta_{rj}`, β of the reference 0, an effect is :math:`p_k D_{kj}`, and
    its derivative with respect to :math:`\beta_{lm}` is :math:`x_m (p_k (\delta_{kl} - p_l) D_{kj} - p_k p_l D_{lj}) +
    \delta_{jm} p_k (\delta_{kl} - p_l)`.
    """

    theta: Array  # (q, d)
    contrasts: Contrasts
    row_bytes: int  # of D, (K, m, p), that is held at a time

    def __call__(self, block: RowBlock) -> tuple[Array, Array]:
        """Return the sums over one block, ``(K, p)`` and ``(K, p, K - 1, d)``."""
        n_rows, n_features = block.X.shape
        n_classes, n_columns = self.contrasts.n_classes, self.theta.shape[1]
        design = Design.of_block(block, n_columns)
        effects = np.zeros((n_classes, n_features))
        slopes = np.zeros((n_classes, n_features, n_classes - 1, n_columns))
        size = max(self.row_bytes // (8 * n_classes * max(n_features, 1)), 1)
        for start in range(0, n_rows, size):
            part = slice(start, min(start + size, n_rows))
            self._add(design.rows(part), block.weight[part], effects, slopes)
        return effects, slopes

    def _add(self, design: Design, weight: Array, effects: Array, slopes: Array) -> None:
        proba = probabilities(design.logits(self.theta))
        n_features = effects.shape[1]
        coef = np.zeros((self.contrasts.n_classes, n_features))
        coef[self.contrasts.others] = self.contrasts.params(self.theta)[:, :n_features]
        differences = coef[:, None, :] - (proba @ coef)[None]  # D, (K, m, p)
        dense = design.dense()
        for k, of_class in enumerate(proba.T):
            effects[k] += (weight * of_class) @ differences[k]
            for index, l in enumerate(self.contrasts.others):
                by_logit = weight * of_class * ((k == l) - proba[:, l])
                cross = (weight * of_class * proba[:, l])[:, None] * differences[l]
                rows = by_logit[:, None] * differences[k] - cross
                slopes[k, :, index] += gil_free_matmul(rows.T, dense)
                slopes[k, range(n_features), index, range(n_features)] += by_logit.sum()

    def merge(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        """Pool two runs of rows."""
        return left[0] + right[0], left[1] + right[1]
