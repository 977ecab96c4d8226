"""What becomes of maximum likelihood where there are many columns a row, each with a normal distribution.

Sur, Chen and Candès (2019), "The likelihood ratio test in high-dimensional logistic regression is asymptotically a
rescaled chi-square", Probability Theory and Related Fields 175; Sur and Candès (2019), "A modern maximum-likelihood
theory for high-dimensional logistic regression", PNAS 116(29).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from sknatgrad._typing import Array

# columns a row from which two classes are separable, where no column has an effect: a half, less what is hard to solve
LIMIT = 0.4995
# nodes of the trapezoidal rule, and how far out they go, in standard deviations
NODES = 3201
FARTHEST = 10.0
# of the logarithms of τ and b
TAUS = (-3.0, 8.0)
PENALTIES = (-15.0, 15.0)


def inflation(share: float) -> float:
    r"""Return by how much chi-squared statistics are too large, where no column has an effect.

    With ρ(t) = log(1 + eᵗ), Ψ(z; b) = b ρ'(prox_{bρ}(z)), Z standard normal and κ the columns a row, τ and b solve
    τ² = E[Ψ(τZ; b)²] / κ and κ = E[Ψ'(τZ; b)]. Twice the log-likelihood ratio of one column is then τ²/b times a
    chi-squared number, and so is the square of z = estimate / standard error.

    Parameters
    ----------
    share : float
        κ, in (0.002, 0.5).
    """

    def b_for(tau: float) -> float:
        return math.exp(optimize.brentq(lambda log_b: _moments(tau, math.exp(log_b))[1] - share, *PENALTIES))

    def imbalance(log_tau: float) -> float:
        tau = math.exp(log_tau)
        return _moments(tau, b_for(tau))[0] / share / tau**2 - 1.0

    tau = math.exp(optimize.brentq(imbalance, *TAUS))
    return tau**2 / b_for(tau)


def _moments(tau: float, b: float) -> tuple[float, float]:
    """Return E[Ψ(τZ; b)²] and E[Ψ'(τZ; b)].

    As integrals over the proximal point t, of which z = t + b ρ'(t) is given, where t of z is not; the nodes are dense
    around 0, where all happens.
    """
    first, last = -FARTHEST * tau - math.log1p(b) - 1.0, FARTHEST * tau
    places: Array = np.linspace(math.asinh(first), math.asinh(last), NODES)
    t = np.sinh(places)
    psi = b * special.expit(t)
    bend = psi * special.expit(-t)
    density = np.exp(-0.5 * ((t + psi) / tau) ** 2) * (1.0 + bend) * np.cosh(places)
    density /= density.sum()
    return float(density @ psi**2), float(density @ (bend / (1.0 + bend)))
