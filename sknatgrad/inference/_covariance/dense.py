"""The covariance of all coefficients, as a matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.information.symmetric import factorise
from sknatgrad.inference._covariance.protocol import mask_undetermined, step_length

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Mask
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.aliased import LinearDependence
    from sknatgrad.inference._row_sums.sums import ContrastSums, RowSums


class Inverse(NamedTuple):
    """H⁻¹, the pseudo-inverse where H is singular."""

    matrix: Array  # ((K - 1) j, (K - 1) j)
    determined: Mask  # ((K - 1) j,)
    regular: bool


@dataclass(frozen=True)
class DenseCovariance:
    """The covariance of all coefficients, as a matrix; as `CoefficientCovariance`."""

    row_sums: RowSums
    fitted: FittedModel
    sums: ContrastSums
    dependence: LinearDependence | None = None

    @classmethod
    def of(cls, row_sums: RowSums, fitted: FittedModel, *, drop: bool) -> DenseCovariance:
        """Return the covariance, without aliased columns if `drop`.

        One pass over the rows gives loss, gradient and true Fisher information. Only where H is singular a second one
        finds the reason.
        """
        covariance = cls(row_sums, fitted, row_sums.in_contrasts())
        if covariance.regular:
            return covariance
        dependence = row_sums.linear_dependence(fitted.prior.precision, intercept=fitted.intercept)
        if not drop or dependence.kept.all():
            return replace(covariance, dependence=dependence)
        without = row_sums.without(dependence)
        folded = fitted._replace(theta=without.theta)
        return cls(without, folded, covariance.sums.of(without.kept_params), dependence)

    @cached_property
    def _prior(self) -> Array:
        kept = self.row_sums.kept_params
        return self.row_sums.contrasts.prior(self.fitted.prior.precision)[np.ix_(kept, kept)]

    @cached_property
    def _inverse(self) -> Inverse:
        factor = factorise(self.sums.fisher + self._prior)
        inverse = factor.solve(np.eye(len(self._prior)))
        return Inverse(0.5 * (inverse + inverse.T), factor.determined(), factor.rank == len(inverse))

    @cached_property
    def _gradient(self) -> Array:
        deviation = self.row_sums.contrasts.params(self.fitted.deviation).ravel()[self.row_sums.kept_params]
        return self.sums.gradient + self._prior @ deviation

    @property
    def regular(self) -> bool:
        """Whether H has full numerical rank."""
        return self._inverse.regular

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
        step = self._of_all(-self._inverse.matrix @ self._gradient, 0.0)
        return self.row_sums.contrasts.theta(step.reshape(-1, self.fitted.theta.shape[1]))

    @property
    def distance(self) -> float:
        """The length of that step in standard errors."""
        return step_length(float(self._gradient @ self._inverse.matrix @ self._gradient))

    @property
    def determined(self) -> Mask:
        """Whether the data determine each coefficient, ``(K - 1, d)``; not that of an aliased column."""
        determined = self._of_all(self._inverse.determined, fill=0.0) > 0
        return determined.reshape(-1, self.fitted.theta.shape[1])

    def _of_all(self, values: Array | Mask, fill: float) -> Array:
        """Return the values of all coefficients, ``((K - 1) d,)``, from those of columns that are not aliased."""
        kept = self.row_sums.kept_params
        whole = np.full(kept.size, fill)
        whole[kept] = values
        return whole

    @property
    def effective_dof(self) -> float:
        """The rank of the columns for each contrast without a penalty; with one, tr(H⁻¹F)."""
        if not self.fitted.penalised:
            return float(self._n_independent)
        return float(np.einsum("ij,ji->", self._inverse.matrix, self.sums.fisher))

    @property
    def _n_independent(self) -> int:
        """The number of coefficients, without those of aliased columns, whether these are set aside or not.

        It does not depend on probabilities: those of separated rows approach 0 and 1, and F loses rank, as far as the
        fit goes.
        """
        n_contrasts = self.row_sums.contrasts.n_classes - 1
        n_columns = self.fitted.theta.shape[1]
        return n_contrasts * (n_columns if self.dependence is None else int(self.dependence.kept.sum()))

    @property
    def fisher(self) -> Array:
        """Fisher information of the contrasts of columns that are not aliased, ``((K - 1) j, (K - 1) j)``."""
        return self.sums.fisher

    def covariance(self, options: CovarianceOptions) -> Array:
        """Return the covariance, ``((K - 1) d, (K - 1) d)``; NaN for coefficients that are not determined."""
        inverse, determined, _ = self._inverse
        covariance = inverse.copy()
        if options.covariance != "fisher":
            meat = options.meat(self.row_sums, self.sums.fisher, self._n_independent)
            covariance = inverse @ meat @ inverse
        mask_undetermined(covariance, determined)
        kept = self.row_sums.kept_params
        if kept.all():
            return covariance
        whole = np.full((kept.size, kept.size), np.nan)
        whole[np.ix_(kept, kept)] = covariance
        return whole
