"""Which rows a resample has, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from sknatgrad._rows.sampling import is_constant

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask
    from sknatgrad._inputs.configuration import RandomState
    from sknatgrad.inference._covariance.options import CovarianceOptions


class Draws(NamedTuple):
    """Resamples of rows, of observations, or of groups of rows, with replacement.

    The weight of a row in a resample is its base weight times the number of times that it is drawn.
    """

    seeds: Codes  # (R,), of the resamples
    base: Array  # (n,), weights
    units: Codes  # (n,), code of what is drawn with each row; negative for a row that is never drawn
    n_units: int
    probability: Array | None  # (n_units,), of each unit; None if all are equal
    n_drawn: int  # units of a resample

    @classmethod
    def of(cls, n_resamples: int, random_state: RandomState, weight: Array, options: CovarianceOptions) -> Draws:
        """Return the resamples of rows with these weights.

        Groups are drawn as they are. Frequencies that differ are numbers of observations, which are drawn one by one;
        otherwise rows are drawn, with their weights.
        """
        seeds = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=n_resamples)
        weighted = weight > 0.0
        if options.groups is not None:
            present, codes = np.unique(options.groups[weighted], return_inverse=True)
            return cls(seeds, weight, _coded(weighted, codes), present.size, None, present.size)
        n_rows = int(weighted.sum())
        units = _coded(weighted, np.arange(n_rows))
        if options.weights == "frequency" and not is_constant(weight) and np.ptp(weight[weighted]) > 0.0:
            total = float(weight.sum())
            n_drawn = max(round(total), 1)
            base = np.where(weighted, total / n_drawn, 0.0)
            return cls(seeds, base, units, n_rows, weight[weighted] / total, n_drawn)
        return cls(seeds, np.asarray(weight, dtype=np.float64), units, n_rows, None, n_rows)

    def counts(self, number: int) -> Codes:
        """Return how often each row is drawn for a resample, ``(n,)``."""
        random = np.random.default_rng(self.seeds[number])
        if self.probability is None:
            of_units = np.bincount(random.integers(self.n_units, size=self.n_drawn), minlength=self.n_units)
        else:
            of_units = random.multinomial(self.n_drawn, self.probability)
        counts: Codes = np.append(of_units, 0)[self.units]
        return counts

    def weights(self, number: int) -> Array:
        """Return the weight of each row in a resample, ``(n,)``."""
        weights: Array = self.base * self.counts(number)
        return weights


def _coded(weighted: Mask, codes: Codes) -> Codes:
    """Return the codes of rows of positive weight, and -1, the last place of an array, for the others."""
    units = np.full(weighted.size, -1, dtype=np.intp)
    units[weighted] = codes
    return units
