"""Average marginal effects: how much the probability of each class changes with each feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._inputs.checks import check_level
from sknatgrad._model.categorical import predict
from sknatgrad._model.normal import interval, two_sided
from sknatgrad._rows.design import Design, gil_free_matmul

if TYPE_CHECKING:
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array

# how much of the effects of single rows, (K, m, p), is held at a time
EFFECT_BYTES = 2**22


class MarginalEffects(NamedTuple):
    """Mean over rows of the derivative of each class's probability by each feature, with standard errors.

    Attributes
    ----------
    classes : tuple, n_classes or 1 of them
        The class of each row of `effects`: for two classes the second alone, as the first has the negative.

    feature_names : tuple of str, n_features of them
        Names of the features.

    effects : ndarray of shape (n_classes, n_features) or (1, n_features)
        Mean effects.

    standard_errors : ndarray of the same shape
        Their standard errors, by the delta method.
    """

    classes: tuple[Any, ...]
    feature_names: tuple[str, ...]
    effects: Array  # (K, p) or (1, p)
    standard_errors: Array

    @property
    def z(self) -> Array:
        """Effects in units of their standard errors."""
        return self.effects / self.standard_errors

    @property
    def p_values(self) -> Array:
        """Probability of a z at least as large, either way, if the effect were 0."""
        return two_sided(self.z)

    def conf_int(self, level: float = 0.95) -> Array:
        """Return the interval of each effect.

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


@dataclass(frozen=True)
class EffectsKernel:
    r"""Sums over rows of the effects s ∂p_k/∂x_j and of their derivatives by the contrasts β.

    With :math:`D_{kj} = \beta_{kj} - \sum_r p_r \beta_{rj}`, β of the reference 0, an effect is :math:`p_k D_{kj}`, and
    its derivative by :math:`\beta_{lm}` is :math:`x_m (p_k (\delta_{kl} - p_l) D_{kj} - p_k p_l D_{lj}) + \delta_{jm}
    p_k (\delta_{kl} - p_l)`.
    """

    theta: Array  # (q, d)
    contrasts: Contrasts

    def __call__(self, block: RowBlock) -> tuple[Array, Array]:
        """Return the sums over one block, ``(K, p)`` and ``(K, p, K - 1, d)``."""
        n_rows, n_features = block.X.shape
        n_classes, n_columns = self.contrasts.n_classes, self.theta.shape[1]
        design = Design.of_block(block, n_columns)
        effects = np.zeros((n_classes, n_features))
        slopes = np.zeros((n_classes, n_features, n_classes - 1, n_columns))
        size = max(EFFECT_BYTES // (8 * n_classes * max(n_features, 1)), 1)
        for start in range(0, n_rows, size):
            part = slice(start, min(start + size, n_rows))
            self._add(design.rows(part), block.weight[part], effects, slopes)
        return effects, slopes

    def _add(self, design: Design, weight: Array, effects: Array, slopes: Array) -> None:
        proba = predict(design.logits(self.theta)).distribution()
        n_features = effects.shape[1]
        coef = np.zeros((self.contrasts.n_classes, n_features))
        coef[self.contrasts.others] = self.contrasts.params(self.theta)[:, :n_features]
        hstack = coef[:, None, :] - (proba @ coef)[None]  # D, (K, m, p)
        dense = design.dense()
        for k, of_class in enumerate(proba.T):
            effects[k] += (weight * of_class) @ hstack[k]
            for index, l in enumerate(self.contrasts.others):
                turn = weight * of_class * ((k == l) - proba[:, l])
                rows = turn[:, None] * hstack[k] - (weight * of_class * proba[:, l])[:, None] * hstack[l]
                slopes[k, :, index] += gil_free_matmul(rows.T, dense)
                slopes[k, range(n_features), index, range(n_features)] += turn.sum()

    def merge(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        """Pool two runs of rows."""
        return left[0] + right[0], left[1] + right[1]
