"""The covariance of all coefficients, as a matrix."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.evidence import log_evidence
from sknatgrad._model.information.symmetric import MAX_NULL_SHARE, factorise
from sknatgrad._model.recentring import recentred_covariance
from sknatgrad.inference._covariance.protocol import mask_undetermined, step_length
from sknatgrad.inference._row_sums.aliased import LinearDependence

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask
    from sknatgrad._model.information.symmetric import Factor
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.basis import ColumnBasis
    from sknatgrad.inference._row_sums.sums import ContrastSums, RowSums


# Inflation of a variance by collinearity from which it is computed in a basis of the columns. Against R, tables with an
# inflation of 7e6, 4e9 and 3e13 had relative errors of 2e-9, 3e-6 and 2e-2 without it, and 2e-13, 4e-12 and 5e-10 with.
MAX_INFLATION = 1e6
# Inflation from which standard errors are rounding of H, of which they lose all digits but four: by the same tables.
MAX_RESOLVED_INFLATION = 1e11
# Standard errors by which a fit may be away from the optimum along differences of columns that rounding of H hides, so
# that standard errors there are those of its coefficients: a 95 % interval then has a coverage of 94.9 %.
MAX_HIDDEN_DISTANCE = 0.1


class Inverse(NamedTuple):
    """H⁻¹, the pseudo-inverse where H is singular."""

    matrix: Array  # ((K - 1) j, (K - 1) j)
    factor: Factor  # of H
    inflation: float  # of a variance by collinearity, the largest; infinite where H is singular


@record
class DenseCovariance:
    """The covariance of all coefficients, as a matrix; as `CoefficientCovariance`.

    H and its inverse are those of the j columns that are not aliased, or of combinations of them if a basis is given.
    Aliased columns have no covariance.
    """

    row_sums: RowSums
    fitted: FittedModel
    sums: ContrastSums
    dependence: LinearDependence | None = None
    basis: ColumnBasis | None = None
    # standard errors to the optimum along differences of columns that H does not show; None if it shows all there are
    hidden_distance: float | None = None

    @classmethod
    def of(cls, row_sums: RowSums, fitted: FittedModel) -> DenseCovariance:
        """Return the covariance, without aliased columns.

        One pass over the rows gives loss, gradient and true Fisher information. Only where H is singular, or almost so,
        a second one decomposes the columns. If H is so without the aliased columns too, a third one computes it for
        combinations of the columns.
        """
        covariance = cls(row_sums, fitted, row_sums.in_contrasts())
        if covariance.inflation <= MAX_INFLATION:
            return covariance
        triangular = row_sums.triangular_factor(
            fitted.prior.precision, intercept=fitted.intercept, centres=fitted.centres
        )
        dependence = LinearDependence.of(triangular)
        covariance = replace(covariance, dependence=dependence)
        if not dependence.kept.all():
            without = row_sums.without(dependence)
            folded = fitted._replace(theta=without.theta)
            covariance = cls(without, folded, covariance.sums.of(without.kept_params), dependence)
        if covariance.inflation <= MAX_INFLATION:
            return covariance
        return covariance._better(replace(covariance, basis=triangular.basis(covariance.row_sums.kept)))

    def _better(self, in_basis: DenseCovariance) -> DenseCovariance:
        """Return the one of the same model, in its columns or `in_basis`, that rounding affects less."""
        if in_basis.inflation < self.inflation < np.inf:
            return in_basis
        if self.inflation <= MAX_RESOLVED_INFLATION:
            # along a separated direction the information may be hidden by rounding in the basis, and not in the columns
            return self
        hidden = step_length(in_basis.distance**2 - self.distance**2)
        return in_basis if hidden <= MAX_HIDDEN_DISTANCE else replace(self, hidden_distance=hidden)

    @cached_property
    def _row_sums(self) -> RowSums:
        return self.row_sums if self.basis is None else self.row_sums.in_basis(self.basis)

    @cached_property
    def _sums(self) -> ContrastSums:
        return self.sums if self.basis is None else self._row_sums.in_contrasts()

    @cached_property
    def _prior(self) -> Array:
        precision = self.fitted.prior.precision
        of_columns = precision[self.row_sums.kept] if self.basis is None else self.basis.precision(precision)
        return self.row_sums.contrasts.prior(of_columns)

    @cached_property
    def _inverse(self) -> Inverse:
        H = self._sums.fisher + self._prior
        factor = factorise(H)
        inverse = factor.solve(np.eye(len(H)))
        regular = factor.rank == len(H)
        inflation = float((inverse.diagonal() * H.diagonal()).max(initial=0.0)) if regular else np.inf
        return Inverse(0.5 * (inverse + inverse.T), factor, inflation)

    @cached_property
    def _determined(self) -> Mask:
        """Whether the data determine each coefficient of a column that is not aliased, ``((K - 1) j,)``."""
        factor = self._inverse.factor
        if self.basis is None or factor.rank == len(factor.scale):
            return factor.determined()
        # a coefficient is a combination of those in the basis: its share of the null space, in units of H
        units = np.where(factor.scale > 0, factor.scale, 1.0)
        null, whole = (self._of_columns(each) for each in (factor.null_space(), np.diag(units)))
        return np.asarray((null**2).sum(axis=1) < MAX_NULL_SHARE * (whole**2).sum(axis=1))

    @cached_property
    def _gradient(self) -> Array:
        deviation = self.fitted.deviation
        kept = deviation[:, self.row_sums.kept] if self.basis is None else self.basis.coordinates(deviation)
        return self._sums.gradient + self._prior @ self.row_sums.contrasts.params(kept).ravel()

    @property
    def in_coordinates(self) -> tuple[RowSums, Array]:
        """The sums over rows in the columns or combinations of them that H has, and H⁻¹, ``(K - 1, d, K - 1, d)``.

        Aliased columns have zeros.
        """
        n_contrasts, n_columns = self.row_sums.contrasts.n_classes - 1, self._row_sums.theta.shape[1]
        whole = np.zeros((n_contrasts * n_columns,) * 2)
        kept = np.ones(len(whole), dtype=bool) if self.basis is not None else self.row_sums.kept_params
        whole[np.ix_(kept, kept)] = self._inverse.matrix
        return self._row_sums, whole.reshape(n_contrasts, n_columns, n_contrasts, n_columns)

    @property
    def inflation(self) -> float:
        """By how much collinearity inflates a variance, at most; infinite where H is singular."""
        return self._inverse.inflation

    def _of_columns(self, values: Array) -> Array:
        """Return coefficients of columns, ``((K - 1) j, m)``, from those that H belongs to."""
        if self.basis is None:
            return values
        n_contrasts = self.row_sums.contrasts.n_classes - 1
        return self.basis.of_columns(values.reshape(n_contrasts, -1, values.shape[1])).reshape(values.shape)

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
        step = self._of_all(self._of_columns(-self._inverse.matrix @ self._gradient[:, None])[:, 0], 0.0)
        return self.row_sums.contrasts.theta(step.reshape(-1, self.fitted.theta.shape[1]))

    @property
    def distance(self) -> float:
        """The length of that step in standard errors."""
        return step_length(float(self._gradient @ self._inverse.matrix @ self._gradient))

    @property
    def determined(self) -> Mask:
        """Whether the data determine each coefficient, ``(K - 1, d)``; not that of an aliased column."""
        determined = self._of_all(self._determined, fill=0.0) > 0
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
        return float(np.einsum("ij,ji->", self._inverse.matrix, self._sums.fisher))

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence by Laplace's approximation, nats; NaN without a penalty, or where H is singular."""
        if not self.fitted.penalised:
            return float("nan")
        prior = self.row_sums.contrasts.prior(self.fitted.prior.precision[self.row_sums.kept])
        return log_evidence(self.sums.fisher, prior, self.loss + self.fitted.penalty)

    @property
    def _n_independent(self) -> int:
        """The number of coefficients, without those of aliased columns.

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
        inverse = self._inverse.matrix
        covariance = inverse.copy()
        if options.covariance != "fisher":
            meat = options.meat(self._row_sums, self._sums.fisher, self._n_independent)
            covariance = inverse @ meat @ inverse
        covariance = self._of_columns(self._of_columns(covariance).T)
        mask_undetermined(covariance, self._determined)
        kept = self.row_sums.kept_params
        if kept.all():
            return covariance
        whole = np.full((kept.size, kept.size), np.nan)
        whole[np.ix_(kept, kept)] = covariance
        return whole

    def uncentred(self, covariance: Array) -> Array:
        """Return a covariance for the rows themselves, from that for rows less the centres."""
        centres = self.fitted.centres
        if centres is None:
            return covariance
        shape = self.row_sums.contrasts.n_classes - 1, self.fitted.theta.shape[1]
        of_kept = np.where(self.row_sums.kept[:-1], centres, 0.0)
        return recentred_covariance(covariance.reshape(shape * 2), of_kept, None).reshape(covariance.shape)
