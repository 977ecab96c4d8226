"""The covariance of all coefficients, as a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.information.symmetric import factorise
from sknatgrad.inference._covariance.protocol import mask_undetermined, step_length

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Mask
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import ContrastSums, RowSums


class Inverse(NamedTuple):
    """H⁻¹, the pseudo-inverse where H is singular."""

    matrix: Array  # ((K - 1) d, (K - 1) d)
    determined: Mask  # ((K - 1) d,)
    rank: int


@dataclass(frozen=True)
class DenseCovariance:
    """The covariance of all coefficients, as a matrix; as `CoefficientCovariance`."""

    row_sums: RowSums
    fitted: FittedModel

    @cached_property
    def sums(self) -> ContrastSums:
        """Loss, gradient and true Fisher information, by a pass over the rows."""
        return self.row_sums.in_contrasts()

    @cached_property
    def _prior(self) -> Array:
        return self.row_sums.contrasts.prior(self.fitted.prior.precision)

    @cached_property
    def _inverse(self) -> Inverse:
        factor = factorise(self.sums.fisher + self._prior)
        inverse = factor.solve(np.eye(len(self._prior)))
        return Inverse(0.5 * (inverse + inverse.T), factor.determined(), factor.rank)

    @cached_property
    def _gradient(self) -> Array:
        return self.sums.gradient + self._prior @ self.row_sums.contrasts.params(self.fitted.deviation).ravel()

    @property
    def loss(self) -> float:
        """The loss without penalty, nats."""
        return self.sums.loss

    @property
    def max_loss(self) -> float:
        """The largest loss of a row of positive weight, nats."""
        return self.sums.max_loss

    @property
    def step(self) -> Array:
        """The undamped natural gradient step, ``(q, d)``."""
        step = -self._inverse.matrix @ self._gradient
        return self.row_sums.contrasts.theta(step.reshape(-1, self.fitted.theta.shape[1]))

    @property
    def distance(self) -> float:
        """The length of that step in standard errors."""
        return step_length(float(self._gradient @ self._inverse.matrix @ self._gradient))

    @property
    def determined(self) -> Mask:
        """Whether the data determine each coefficient, ``(K - 1, d)``."""
        return self._inverse.determined.reshape(-1, self.fitted.theta.shape[1])

    @property
    def effective_dof(self) -> float:
        """The rank of F without a penalty; with one, tr(H⁻¹F)."""
        if not self.fitted.penalised:
            return float(self._inverse.rank)
        return float(np.einsum("ij,ji->", self._inverse.matrix, self.sums.fisher))

    @property
    def fisher(self) -> Array:
        """Fisher information of the contrasts, ``((K - 1) d, (K - 1) d)``."""
        return self.sums.fisher

    def covariance(self, options: CovarianceOptions) -> Array:
        """Return the covariance; NaN for coefficients that are not determined."""
        inverse, determined, rank = self._inverse
        covariance = inverse.copy()
        if options.covariance != "fisher":
            covariance = inverse @ options.meat(self.row_sums, self.sums.fisher, rank) @ inverse
        return mask_undetermined(covariance, determined)
