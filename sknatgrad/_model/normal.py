"""The normal approximation, for whatever has a standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from sknatgrad._typing import Array


def two_sided(z: Array) -> Array:
    """Return the probability of a z at least as large, either way; without cancellation, however large it is."""
    return np.asarray(2.0 * special.ndtr(-np.abs(z)))


def interval(centre: Array, standard_errors: Array, level: float) -> Array:
    """Return the ends of the interval along a new last axis; `level` is its coverage, in (0, 1)."""
    reach = float(special.ndtri(0.5 + 0.5 * level)) * standard_errors
    return np.stack([centre - reach, centre + reach], axis=-1)
