"""Coefficients, covariances and gradients for rows with other centres.

A row x less centres c predicts with the coefficients (w, b) what it predicts with (w, b + δᵀw) less c + δ. With
M = I + e δᵀ, e the unit vector of the intercept: θ becomes M θ, its covariance Σ becomes M Σ Mᵀ, a gradient g becomes
M⁻ᵀ g and an information F becomes M⁻ᵀ F M⁻¹, where M⁻ᵀ = I − δ eᵀ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._definitions import Array


def shift_between(before: Array | None, after: Array | None) -> Array | None:
    """Return δ ``(p,)``, the centres `after` less those `before`; None if they are the same. None is centres of 0."""
    if before is None or after is None:
        return after if before is None else -before
    return None if np.array_equal(before, after) else after - before


def recentred_theta(theta: Array, before: Array | None, after: Array | None) -> Array:
    """Return M θ, ``(q, d)``."""
    shift = shift_between(before, after)
    if shift is None:
        return theta
    theta = theta.copy()
    theta[:, -1] += theta[:, :-1] @ shift
    return theta


def recentred_covariance(covariance: Array, before: Array | None, after: Array | None) -> Array:
    """Return M Σ Mᵀ of each pair of classes, ``(q, d, q, d)``."""
    shift = shift_between(before, after)
    if shift is None:
        return covariance
    covariance = covariance.copy()
    # NaN in other columns does not spread
    moved = np.flatnonzero(shift)
    covariance[:, -1] += np.einsum("kjlm,j->klm", covariance[:, moved], shift[moved])
    covariance[..., -1] += covariance[..., moved] @ shift[moved]
    return covariance


def recentred_gradient(gradient: Array, shift: Array) -> Array:
    """Return M⁻ᵀ g, ``(..., d)``."""
    gradient = gradient.copy()
    gradient[..., :-1] -= gradient[..., -1:] * shift
    return gradient
