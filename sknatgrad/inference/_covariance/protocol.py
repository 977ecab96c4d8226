"""The interface of the covariance of the coefficients, however it is computed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.aliased import LinearDependence
    from sknatgrad.inference._row_sums.sums import RowSums


class CoefficientCovariance(Protocol):
    """The inverse of H = F + Λ at the fit, and quantities that follow from it.

    F is the true Fisher information of the K - 1 contrasts, Λ the precision of the Gaussian prior.
    """

    @property
    def loss(self) -> float:
        """The loss without penalty, nats."""
        ...

    @property
    def max_loss(self) -> float:
        """The largest loss of a row of positive weight, nats."""
        ...

    @property
    def step(self) -> Array:
        """The undamped natural gradient step, ``(q, d)``."""
        ...

    @property
    def distance(self) -> float:
        """The length of that step in standard errors, √(gᵀ H⁻¹ g): the distance to the optimum."""
        ...

    @property
    def determined(self) -> Mask:
        """Whether the data determine each of the selected coefficients, ``(K - 1, columns)``."""
        ...

    @property
    def effective_dof(self) -> float:
        """The effective number of coefficients, tr(H⁻¹F)."""
        ...

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence, nats; NaN without a penalty, or where only some columns were selected."""
        ...

    @property
    def fisher(self) -> Array | None:
        """Fisher information of the contrasts of columns that are not aliased, if it is formed."""
        ...

    @property
    def row_sums(self) -> RowSums:
        """The sums over the rows, without aliased columns if they are set aside."""
        ...

    @property
    def fitted(self) -> FittedModel:
        """The fitted model, with 0 for aliased columns if they are set aside."""
        ...

    @property
    def dependence(self) -> LinearDependence | None:
        """The linear dependence of the columns, if H is singular and all columns are asked for."""
        ...

    @property
    def hidden_distance(self) -> float | None:
        """The distance to the optimum, in standard errors, along small differences of columns that H does not show."""
        ...

    def covariance(self, options: CovarianceOptions) -> Array:
        """Return the covariance of the selected coefficients; NaN for those that are not determined."""
        ...


def step_length(squared: float) -> float:
    """Return √(gᵀ H⁻¹ g) from its square, which rounding may have made negative."""
    return math.sqrt(max(squared, 0.0))


def mask_undetermined(covariance: Array, determined: Mask) -> Array:
    """Set the rows and columns of coefficients that are not determined to NaN, in place."""
    covariance[~determined] = covariance[:, ~determined] = float("nan")
    return covariance
