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
# multiples of it modulo 1 lie far apart, however many
GOLDEN = 0.6180339887498949


def stratified_indices(codes: Codes, weight: Array, n_rows: int) -> Codes:
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


def quotas(counts: Codes, n_rows: int) -> Codes:
    """Return how many rows of each part and class stand for all, ``(parts, K)``; `counts` has those there are.

    Of each class its share of `n_rows`, or `LEAST_OF_A_CLASS` if that is more and it has them, in all parts together:
    rounded as they add up from part to part, so that many parts do not make many rows.
    """
    there = counts.sum(axis=0)
    shares = np.rint(there * (n_rows / max(int(there.sum()), 1)))
    wanted = np.minimum(np.maximum(shares, LEAST_OF_A_CLASS), there).astype(np.int64)
    # of each class elsewhere, lest the last part has to make up for all classes
    ahead = (np.arange(1, there.size + 1) * GOLDEN % 1.0 * there).astype(np.int64)
    upto = (np.cumsum(counts, axis=0) * wanted + ahead) // np.maximum(there, 1)
    parts: Codes = np.diff(upto, axis=0, prepend=0)
    return parts


def spread_in_classes(codes: Codes, weight: Array, wanted: Codes, seed: int) -> Codes:
    """Return indices of so many rows of each class, ``(K,)``, as far as it has them, ascending, none twice.

    Spread evenly over the rows of the class that have weight; the same each time for a `seed`.
    """
    draws = np.random.default_rng(seed)
    weighty = np.flatnonzero(weight)
    order = weighty[np.argsort(codes[weighty], kind="stable")]
    first = np.searchsorted(codes[order], np.arange(wanted.size + 1))
    picked = [np.empty(0, dtype=np.intp)]
    for k in np.flatnonzero(wanted).tolist():
        members = order[first[k] : first[k + 1]]
        count = np.arange(min(members.size, wanted[k]))
        # two places in one row: the second moves on to the next, which is in its own stretch
        picked.append(members[np.maximum.accumulate(_evenly(members.size, count.size, draws) - count) + count])
    return np.sort(np.concatenate(picked))


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


def reweighted(codes: Codes, weight: Array, totals: Array) -> Array:
    """Return weights of a sample's rows, scaled so that each class that it has weighs what `totals` say, ``(K,)``."""
    point = np.bincount(codes, weights=weight, minlength=totals.size)
    factors = np.divide(totals, point, out=np.zeros_like(point), where=point > 0)
    scaled: Array = weight * factors[codes]
    return scaled


def _evenly(size: int, wanted: int, draws: np.random.Generator) -> Codes:
    places = (np.arange(wanted) + draws.random(wanted)) * (size / max(wanted, 1))
    return places.astype(np.intp)
