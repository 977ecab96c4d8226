"""z, two-sided p-values and intervals by the normal approximation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from sknatgrad._definitions import Array


def in_standard_errors(estimates: Array, standard_errors: Array) -> Array:
    """Return estimates in units of their standard errors; NaN where that is 0, as for an empty column with a penalty.

    Of such a column the penalty fixes the coefficient, and a robust covariance has the entry 0.
    """
    z = np.full(np.shape(estimates), np.nan)
    np.divide(estimates, standard_errors, out=z, where=standard_errors > 0.0)
    return z


def two_sided(z: Array) -> Array:
    """Return two-sided p-values of z; the upper tail is computed directly, so that no digits cancel for large z."""
    return np.asarray(2.0 * special.ndtr(-np.abs(z)))


def interval(centre: Array, standard_errors: Array, level: float) -> Array:
    """Return the ends of intervals along a new last axis; `level` is their coverage, in (0, 1)."""
    half_width = float(special.ndtri(0.5 + 0.5 * level)) * standard_errors
    return np.stack([centre - half_width, centre + half_width], axis=-1)
