"""A test whose statistic is chi-squared under the hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from sknatgrad._definitions import member_of
from sknatgrad._model.information.symmetric import equilibrate

if TYPE_CHECKING:
    from sknatgrad._definitions import Array

# Eigenvalues of a covariance with a unit diagonal below this are rounding. 1e-14 to 1e-6 gave the same ranks in 90
# tests of White and Wald.
RANK_TOLERANCE = 1e-10


@member_of("sknatgrad.inference")
class ChiSquared(NamedTuple):
    """A test whose statistic is chi-squared under the hypothesis.

    Attributes
    ----------
    statistic : float
        The statistic.

    dof : int
        Its degrees of freedom.

    p_value : float
        Probability of a statistic at least as large under the hypothesis.
    """

    statistic: float
    dof: int
    p_value: float

    @classmethod
    def of(cls, statistic: float, dof: int) -> ChiSquared:
        """Return the test with its p-value."""
        return cls(float(statistic), int(dof), float(special.chdtrc(dof, max(statistic, 0.0))))

    @classmethod
    def quadratic(cls, vector: Array, covariance: Array) -> ChiSquared:
        """Return the test with the statistic vᵀ C⁻¹ v, of as many degrees of freedom as C has rank."""
        scale = equilibrate(covariance)
        unit = scale[:, None] * covariance * scale
        solved = np.linalg.pinv(unit, hermitian=True, rcond=RANK_TOLERANCE) @ (scale * vector)
        return cls.of(float((scale * vector) @ solved), numerical_rank(covariance))


def numerical_rank(covariance: Array) -> int:
    """Return the rank of a covariance, whatever the units of its rows."""
    scale = equilibrate(covariance)
    return int(np.linalg.matrix_rank(scale[:, None] * covariance * scale, hermitian=True, tol=RANK_TOLERANCE))
