"""Centres of columns far from zero: values that are subtracted from the rows of each block.

A column of values c + z, with c much larger than z, gives the Gram matrix of the design entries of size c², in which
those of size z² are rounding: standard errors of timestamps lose twice as many digits as c / z has. With z in place of
c + z they lose none. The model is the same if it has an intercept: that of centred columns is b′ = b + Σ c_j w_j, and
all other coefficients are the same. Without an intercept there is nothing that could absorb the centres.

Only columns far from zero are centred, because a centred block is a copy. Sparse matrices are not centred: their zeros
are not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._rows.matrices import is_sparse, take_rows

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from sknatgrad._definitions import Array, Mask, Matrix

# Rows from which centres are taken: any value within the bulk of a column is as good as another. Sorting the columns of
# 128 x 100 takes 18 us.
SAMPLE_ROWS = 128
# Where all of these have the same value, so many times as many are looked at, and all rows if fewer than `MIN_OTHERS`
# have another one. Standardised adult, 46 of whose columns are rare indicators, takes 2.9 ms; by all rows at once 9.1.
DENSER, MIN_OTHERS = 64, 3
# integers up to this size are exact in float64
MAX_EXACT = 2**53


def sample_step(n_rows: int) -> int:
    """Return the step of every so many rows that gives `SAMPLE_ROWS` of them, or some fewer."""
    return -(-n_rows // SAMPLE_ROWS)


def centres_of(X: Matrix, far_ratio: float) -> Array | None:
    """Return the centre of each column, ``(p,)``, 0 for those near zero; None if no column is far or X is sparse."""
    sample = sample_of(X)
    if sample is None:
        return None
    centres = centres_of_sample(sample, far_ratio)
    if centres is None:
        return None
    for j in np.flatnonzero(centres):
        if (sample[:, j] == centres[j]).all():
            # such as an indicator of nearly all rows: its other value may be far from the centre
            others = _other_values(X[:, j], centres[j])
            if others.size:
                centres[j : j + 1] *= _are_far(centres[j : j + 1], others[:, None], far_ratio)
    return centres if centres.any() else None


def _other_values(column: Array, value: float) -> Array:
    """Return the values of a column that differ from one of them, in float64: of some rows, if these have enough."""
    for step in (max(sample_step(column.size) // DENSER, 1), 1):
        rows = np.asarray(column[::step], dtype=np.float64)
        others: Array = rows[rows != value]
        if others.size >= MIN_OTHERS:
            break
    return others


def sample_of(X: Matrix) -> Array | None:
    """Return some rows of a dense X in float64, spread evenly over all of them; None of a sparse X."""
    if is_sparse(X):
        return None
    return np.asarray(X[:: sample_step(X.shape[0])], dtype=np.float64)


def merged_samples(left: tuple[Array | None, int], right: tuple[Array | None, int]) -> Array | None:
    """Return a sample of the rows of both, each given as a sample and its number of rows; None if any are sparse.

    Each has the share of the merged sample that it has of the rows.
    """
    n_rows = left[1] + right[1]
    parts = []
    for sample, number in (left, right):
        if sample is None:
            return None
        size = min(-(-SAMPLE_ROWS * number // n_rows), len(sample))
        parts.append(sample[np.arange(size) * len(sample) // size])
    return np.concatenate(parts)


def centres_of_sample(sample: Array, far_ratio: float) -> Array | None:
    """Return the centres of columns by some of their rows, ``(m, p)``; a column that is constant in them is far.

    A centre is a value of its column. A column whose median is not finite is not centred.
    """
    ordered = np.sort(sample, axis=0)
    lower, middle, upper = ordered[[len(sample) // 4, len(sample) // 2, len(sample) - 1 - len(sample) // 4]]
    with np.errstate(invalid="ignore", over="ignore"):
        # Half of the values or more lie at the quartiles or beyond them, so the typical deviation is at least that of
        # the nearer quartile.
        if (abs(middle) <= far_ratio * np.minimum(upper - middle, middle - lower)).all():
            return None
    far = _are_far(middle, sample, far_ratio)
    return np.where(far, middle, 0.0) if far.any() else None


def _are_far(middle: Array, sample: Array, far_ratio: float) -> Mask:
    """Say whether each column is far from zero: its middle exceeds its typical deviation `far_ratio` times.

    The typical deviation is the median of those that are not 0. Unlike the standard deviation it shows that most values
    are far from zero, and close to each other, if some are 0 or outliers.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        deviations = np.sort(abs(sample - middle), axis=0)
    n_zero = (deviations == 0.0).sum(axis=0)
    place = np.minimum((n_zero + len(sample)) // 2, len(sample) - 1)
    typical = deviations[place, np.arange(sample.shape[1])]
    return np.asarray((abs(middle) > far_ratio * typical) & np.isfinite(middle))


def take_centred(X: Matrix, start: int, stop: int, centres: Array | None, dtype: type = np.float64) -> Matrix:
    """Return rows ``start:stop`` less the centres, in a floating type; those of a sparse X become dense."""
    if centres is None:
        return take_rows(X, start, stop, dtype)
    rows = take_rows(X, start, stop).toarray() if is_sparse(X) else X[start:stop]
    return centred(rows, centres, dtype)


def centred(rows: Array, centres: Array, dtype: DTypeLike = np.float64) -> Array:
    """Return dense rows less the centres, in a floating type. The difference is rounded once, if at all."""
    difference: Array = np.subtract(rows, centres, dtype=np.float64)
    if rows.dtype.kind in "iu" and rows.itemsize == np.dtype(np.int64).itemsize:
        # integers beyond float64, such as timestamps in nanoseconds: their differences are exact as integers
        for j in np.flatnonzero(abs(centres) > MAX_EXACT):
            exact = (rows[:, j].astype(np.uint64) - np.uint64(int(centres[j]) % 2**64)).view(np.int64)
            # it wraps around where the difference exceeds int64
            difference[:, j] = np.where(abs(difference[:, j]) < 2.0**62, exact, difference[:, j])
    return difference.astype(dtype, copy=False)
