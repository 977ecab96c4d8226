"""Odds ratios with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of

if TYPE_CHECKING:
    from sknatgrad._definitions import Array


@member_of("sknatgrad.inference")
class OddsRatios(NamedTuple):
    """Odds ratios against the reference class, with intervals.

    Attributes
    ----------
    ratio : ndarray of shape (n_classes - 1, n_columns)
        The factor on the odds of each class against the reference, for one unit more of each column.

    low, high : ndarray of shape (n_classes - 1, n_columns)
        Lower and upper ends of its interval.
    """

    ratio: Array
    low: Array
    high: Array


def odds_ratios_of(params: Array, ends: Array) -> OddsRatios:
    """Return exp of coefficients, ``(K - 1, d)``, and of the ends of their intervals, ``(K - 1, d, 2)``."""
    with np.errstate(over="ignore"):
        return OddsRatios(np.exp(params), np.exp(ends[..., 0]), np.exp(ends[..., 1]))
