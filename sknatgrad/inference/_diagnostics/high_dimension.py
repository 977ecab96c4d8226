"""Maximum likelihood with many columns per row, each column with a normal distribution.

P. Sur, Y. Chen, E. J. Candès, "The likelihood ratio test in high-dimensional logistic regression is asymptotically a
rescaled chi-square", Probability Theory and Related Fields 175, 2019; P. Sur, E. J. Candès, "A modern
maximum-likelihood theory for high-dimensional logistic regression", PNAS 116(29), 2019.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from sknatgrad._definitions import Array

# Columns per row from which two classes are separable if no column has an effect: a half, less a margin in which the
# equations are hard to solve.
SEPARABLE_SHARE = 0.4995
# Nodes of the trapezoidal rule, and the largest |Z| in standard deviations: 401 to 12,801 nodes, and 8 to 14 standard
# deviations, give the same factor to 10 digits.
N_NODES = 3201
MAX_Z = 10.0
# Brackets of the roots, as logarithms of τ and b: they contain the roots for shares from 0.002 to 0.4995.
LOG_TAU = (-3.0, 8.0)
LOG_B = (-15.0, 15.0)


def inflation(share: float) -> float:
    r"""Return the factor by which chi-squared statistics are too large, if no column has an effect.

    With ρ(t) = log(1 + eᵗ), Ψ(z; b) = b ρ'(prox_{bρ}(z)), Z standard normal and κ columns per row, τ and b solve
    τ² = E[Ψ(τZ; b)²] / κ and κ = E[Ψ'(τZ; b)]. Twice the log-likelihood ratio of one column is then τ²/b times a
    chi-squared number, and so is the square of z = estimate / standard error.

    Parameters
    ----------
    share : float
        κ, in (0.002, 0.5).
    """

    def b_for(tau: float) -> float:
        return math.exp(optimize.brentq(lambda log_b: _moments(tau, math.exp(log_b))[1] - share, *LOG_B))

    def imbalance(log_tau: float) -> float:
        tau = math.exp(log_tau)
        return _moments(tau, b_for(tau))[0] / share / tau**2 - 1.0

    tau = math.exp(optimize.brentq(imbalance, *LOG_TAU))
    return tau**2 / b_for(tau)


def _moments(tau: float, b: float) -> tuple[float, float]:
    """Return E[Ψ(τZ; b)²] and E[Ψ'(τZ; b)].

    The integrals are over the proximal point t: z = t + b ρ'(t) is explicit in t, but not t in z. Nodes are dense
    around t = 0, where the integrands vary.
    """
    first, last = -MAX_Z * tau - math.log1p(b) - 1.0, MAX_Z * tau
    nodes: Array = np.linspace(math.asinh(first), math.asinh(last), N_NODES)
    t = np.sinh(nodes)
    psi = b * special.expit(t)
    slope = psi * special.expit(-t)
    density = np.exp(-0.5 * ((t + psi) / tau) ** 2) * (1.0 + slope) * np.cosh(nodes)
    density /= density.sum()
    return float(density @ psi**2), float(density @ (slope / (1.0 + slope)))
