"""Samples of rows: which rows to take, and how to weight them.

A sample by position, `stratified_indices`, is spread evenly over the rows as they are ordered. A sample by digests is
the same however the rows are ordered, because a digest depends on the values of its row alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._rows.matrices import csr, is_sparse

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Bits, Codes
    from sknatgrad._rows.source import LabelledRows

# Rows of each class in a sample, or all rows of a class that has fewer. Fits in which a class has 300 of 60,000 rows
# take 26 to 29 ms with 4 to 128.
MIN_ROWS_PER_CLASS = 32
# Classes up to which comparing the codes with each takes less time than np.bincount, and rows below which it takes
# more.
# 10⁶ codes: 0.4 and 1.3 ms with 8 classes, 0.8 and 1.3 with 16, 1.5 and 1.3 with 32.
MAX_COMPARED_CLASSES = 8
MIN_COMPARED_ROWS = 2**13
# any number of its multiples modulo 1 are spread evenly over [0, 1): D. E. Knuth, TAOCP 3, section 6.4
GOLDEN_RATIO = 0.6180339887498949
# Columns of a dense row on which the digest depends by which it is drawn, at most; if they do not tell the rows apart,
# all count. The digests of 10⁵ x 20 take 0.9 ms with 4, 2.0 with all, of 48,842 x 108 10 ms with all.
DIGEST_COLUMNS = (4, None)
# Values whose bits exist at a time: 1 MiB, which a cache holds. 4,096 x 108 take 0.3 ms with 2¹⁴ to 2¹⁷ values, 3 ms in
# one part; four columns of 10⁶ rows 9.0 ms with 2¹⁵, 7.2 with 2¹⁷, as threads wait for each other between calls.
BITS_AT_A_TIME = 2**17
# Share of the rows of a sample whose digests must be distinct, and standard deviations by which their number may differ
# from its expectation. Rows with equal values are drawn together, so a sample of many such rows says less than its size
# does.
MIN_DISTINCT, MAX_DEVIATIONS = 0.9, 4.0


def stratified_indices(codes: Codes, weight: Array, n_rows: int) -> Codes:
    """Return `n_rows` indices or a few more, ascending, spread evenly over all rows that have weight.

    The same on each call. The position within each interval is random, so that a periodic order of the rows causes no
    bias. Rare classes get more than their share: `MIN_ROWS_PER_CLASS` rows.
    """
    random = np.random.default_rng(0)
    weighted = None if is_constant(weight) or weight.all() else np.flatnonzero(weight)
    rows = _one_per_interval(weight.size if weighted is None else weighted.size, n_rows, random)
    rows = rows if weighted is None else weighted[rows]
    n_classes = int(codes.max()) + 1
    rare = np.flatnonzero(np.bincount(codes[rows], minlength=n_classes) < MIN_ROWS_PER_CLASS)
    members = [np.flatnonzero((codes == k) & (weight > 0)) for k in rare]
    more = [
        of_class[_one_per_interval(of_class.size, min(of_class.size, MIN_ROWS_PER_CLASS), random)]
        for of_class in members
    ]
    return np.unique(np.concatenate([rows, *more])) if more else rows


def digest_factors(n_columns: int) -> Bits:
    """Return the odd numbers by which `row_digests` multiplies: four, and one for each column, ``(4 + p,)``."""
    numbers = np.random.default_rng(0).integers(2**63, size=4 + n_columns, dtype=np.uint64)
    factors: Bits = 2 * numbers + 1
    return factors


def some_columns(n_features: int, n_columns: int | None) -> Codes | None:
    """Return the indices of `n_columns`, or of all if there are fewer, evenly spaced; None for None, which is all."""
    if n_columns is None:
        return None
    return np.unique(np.linspace(0, n_features - 1, min(n_columns, n_features)).astype(np.intp))


def row_digests(rows: LabelledRows, factors: Bits, columns: Codes | None = None) -> Array:
    """Return a number in [0, 1) for each row, ``(n,)``, that depends on its values, class and weight alone.

    The numbers of different rows are as good as independent and uniform. They do not depend on the position of the row,
    nor on rounding: the bits of the values are multiplied by odd `factors` and added modulo 2⁶⁴ (M. Dietzfelbinger and
    others 1997, "A reliable randomized algorithm for the closest-pair problem"). With `columns`, only these values of a
    dense row count, and not its weight.
    """
    X, of_columns = rows.X, factors[4:]
    if is_sparse(X):
        sums = csr(_bits(X.data), X.indices, X.indptr, X.shape[1]) @ of_columns
    else:
        chosen = slice(None) if columns is None else columns
        sums = _sums_of_bits(X[:, chosen], of_columns[chosen])
    sums += rows.codes.astype(np.uint64) * factors[0]
    if columns is None:
        sums += _bits(rows.weight) * factors[1]
    for factor in factors[2:4]:
        sums = _mixed(sums)
        sums *= factor
    sums >>= np.uint64(11)
    digests: Array = sums.astype(np.float64)
    digests *= 2.0**-53
    return digests


def _sums_of_bits(X: Array, factors: Bits) -> Bits:
    """Return the bits of dense values times the factor of their column, summed in each row, ``(m,)``."""
    n_rows = max(BITS_AT_A_TIME // max(X.shape[1], 1), 1)
    parts = [
        np.einsum("ij,j->i", _bits(X[start : start + n_rows]), factors) for start in range(0, max(len(X), 1), n_rows)
    ]
    return np.concatenate(parts)


def _bits(values: Array) -> Bits:
    """Return the bits of values in float64 as integers; those of -0 are those of 0.

    A whole number has bits in the upper half only, of which a product modulo 2⁶⁴ would keep no others.
    """
    return _mixed(np.add(values, 0.0, dtype=np.float64).view(np.uint64))


def _mixed(bits: Bits) -> Bits:
    """Return integers whose lower halves depend on the upper ones too, one for one, in the same memory."""
    bits ^= bits >> np.uint64(32)
    return bits


def uniform_probability(codes: Codes, weight: Array, n_rows: int) -> Array:
    """Return the probability of each row, ``(n,)``, to be in a sample of about `n_rows`; 0 of rows without weight.

    Rare classes get more than their share: `MIN_ROWS_PER_CLASS` rows.
    """
    constant = is_constant(weight)
    counts = class_totals(codes, np.broadcast_to(1.0, weight.shape) if constant else (weight > 0).astype(np.float64))
    least = np.divide(MIN_ROWS_PER_CLASS, counts, out=np.zeros_like(counts), where=counts > 0)
    shares = np.minimum(np.maximum(n_rows / counts.sum(), least), 1.0)
    if constant and (shares == shares[0]).all():
        return np.broadcast_to(shares[0], weight.shape)
    probability: Array = shares[codes] * (weight > 0)
    return probability


def influential_probability(influence: Array, n_rows: int) -> Array:
    """Return the probability of each row, ``(n,)``, to be in a sample of about `n_rows` by influence.

    Half of it is in proportion to the influence, and half the same for all rows that have any, so that no row gets more
    than twice its share of weight.
    """
    counted = influence > 0.0
    share = influence / (2.0 * influence.sum())
    share[counted] += 0.5 / np.count_nonzero(counted)
    probability: Array = np.minimum(n_rows * share, 1.0)
    return probability


def are_representative(drawn: Array, probability: Array) -> bool:
    """Say whether a sample, given the digests `drawn`, is as good as one of rows that are drawn independently.

    It is not if many rows are equal.
    """
    n_distinct = 1 + np.count_nonzero(np.diff(np.sort(drawn)))
    deviation = np.sqrt((probability * (1.0 - probability)).sum())
    expected = abs(drawn.size - probability.sum()) <= MAX_DEVIATIONS * deviation + 1.0
    return bool(drawn.size and expected and n_distinct >= MIN_DISTINCT * drawn.size)


def allocation(counts: Codes, n_rows: int) -> Codes:
    """Return how many of the `counts` rows of each part and class to sample, ``(parts, K)``.

    Each class gets its share of `n_rows`, or `MIN_ROWS_PER_CLASS` if that is more, in all parts together. Cumulative
    numbers are rounded from part to part, so the total does not grow with the number of parts.
    """
    available = counts.sum(axis=0)
    shares = np.rint(available * (n_rows / max(int(available.sum()), 1)))
    wanted = np.minimum(np.maximum(shares, MIN_ROWS_PER_CLASS), available).astype(np.int64)
    # rounding starts at another fraction for each class, or the last part would have to make up for all classes
    offset = (np.arange(1, available.size + 1) * GOLDEN_RATIO % 1.0 * available).astype(np.int64)
    cumulative = (np.cumsum(counts, axis=0) * wanted + offset) // np.maximum(available, 1)
    parts: Codes = np.diff(cumulative, axis=0, prepend=0)
    return parts


def allocated_indices(codes: Codes, weight: Array, allocated: Codes, seed: int) -> Codes:
    """Return the indices of `allocated` rows of each class, ``(K,)``, or of all that it has, ascending and distinct.

    Spread evenly over the rows of the class that have weight; the same on each call for a `seed`.
    """
    random = np.random.default_rng(seed)
    weighted = np.flatnonzero(weight)
    order = weighted[np.argsort(codes[weighted], kind="stable")]
    first = np.searchsorted(codes[order], np.arange(allocated.size + 1))
    chosen = [np.empty(0, dtype=np.intp)]
    for k in np.flatnonzero(allocated).tolist():
        members = order[first[k] : first[k + 1]]
        count = np.arange(min(members.size, allocated[k]))
        # if two positions fall on one row, the second moves on to the next row, which is in its own interval
        positions = _one_per_interval(members.size, count.size, random)
        chosen.append(members[np.maximum.accumulate(positions - count) + count])
    return np.sort(np.concatenate(chosen))


def is_constant(weight: Array) -> bool:
    """Say whether one number, broadcast, is the weight of all rows."""
    return weight.strides == (0,)


def largest_with_weight(values: Array, weight: Array) -> float:
    """Return the largest value, 0 or more, of the rows of positive weight."""
    return float(np.maximum.reduce(values) if is_constant(weight) else values.max(initial=0.0, where=weight > 0.0))


def class_totals(codes: Codes, weight: Array) -> Array:
    """Return the sum of the weights of each class, ``(K,)``."""
    if is_constant(weight):
        if len(codes) < MIN_COMPARED_ROWS or int(codes.max()) >= MAX_COMPARED_CLASSES:
            counts = np.bincount(codes)
        else:
            counts = np.array([np.count_nonzero(codes == k) for k in range(int(codes.max()) + 1)])
        totals: Array = counts.astype(np.float64) * float(weight[0])
        return totals
    return np.bincount(codes, weights=weight).astype(np.float64, copy=False)


def reweighted(codes: Codes, weight: Array, totals: Array) -> Array:
    """Return the weights of a sample's rows, scaled so that each class in it has the weight `totals`, ``(K,)``."""
    in_sample = np.bincount(codes, weights=weight, minlength=totals.size)
    factors = np.divide(totals, in_sample, out=np.zeros_like(in_sample), where=in_sample > 0)
    scaled: Array = weight * factors[codes]
    return scaled


def _one_per_interval(size: int, count: int, random: np.random.Generator) -> Codes:
    """Return a random position in each of `count` equal intervals of ``range(size)``."""
    positions = (np.arange(count) + random.random(count)) * (size / max(count, 1))
    return positions.astype(np.intp)
