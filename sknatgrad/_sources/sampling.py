"""Which rows stand for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes

# rows that every class has at least, if it has them at all
LEAST_OF_A_CLASS = 32
# to compare with each of so many classes takes less time than to count once
FEW = 8


def spread(codes: Codes, weight: Array, n_rows: int) -> Codes:
    """Return `n_rows` indices or a little more, ascending, spread evenly over all rows that have weight.

    The same each time, and never in step with a pattern in the order of the rows, as the place in each stretch is
    drawn. Classes that are rare get more than their share: each has to be seen.
    """
    draws = np.random.default_rng(0)
    weighty = None if all_same(weight) or weight.all() else np.flatnonzero(weight)
    rows = _evenly(weight.size if weighty is None else weighty.size, n_rows, draws)
    rows = rows if weighty is None else weighty[rows]
    n_classes = int(codes.max()) + 1
    rare = np.flatnonzero(np.bincount(codes[rows], minlength=n_classes) < LEAST_OF_A_CLASS)
    more = [np.flatnonzero((codes == k) & (weight > 0)) for k in rare]
    more = [members[_evenly(members.size, min(members.size, LEAST_OF_A_CLASS), draws)] for members in more]
    return np.unique(np.concatenate([rows, *more])) if more else rows


def all_same(weight: Array) -> bool:
    """Say whether one number is the weight of all rows."""
    return weight.strides == (0,)


def class_totals(codes: Codes, weight: Array) -> Array:
    """Return the sum of the weights of each class, ``(K,)``."""
    if all_same(weight):
        n_classes = int(codes.max()) + 1
        few = n_classes <= FEW
        counts = [np.count_nonzero(codes == k) for k in range(n_classes)] if few else np.bincount(codes)
        return np.asarray(counts, dtype=np.float64) * float(weight[0])
    return np.bincount(codes, weights=weight).astype(np.float64, copy=False)


def _evenly(size: int, wanted: int, draws: np.random.Generator) -> Codes:
    places = (np.arange(wanted) + draws.random(wanted)) * (size / max(wanted, 1))
    return places.astype(np.intp)
