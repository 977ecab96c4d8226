"""Estimated time and memory of the computations of a fit, in seconds and bytes, from the shape of the data.

Only the ratios matter, as they choose between alternatives.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._limits import Limits
from sknatgrad._rows.matrices import stored_bytes_per_row
from sknatgrad._rows.memory import TEMPORARIES

if TYPE_CHECKING:
    from sknatgrad._definitions import Matrix

# Rough figures of two cores (AVX2, OpenBLAS 0.3.31, numpy 2.4).
# additions and multiplications a second of a matrix product whose matrices are large in both dimensions
FLOPS = 1.2e11
# the same where one of the matrices has few rows or columns
THIN_FLOPS = 6e10
# bytes of X read a second
BANDWIDTH = 2.5e10
# seconds to multiply one value of X by a weight
WEIGHTING = 1e-9
# seconds of Python in a product F v, however small
CALL = 1e-4
# seconds of likelihood, residual and score of one logit of a row: a gradient of 10⁵ x 20 takes 1.1 ms, a product 0.6
LIKELIHOOD = 5e-9
# seconds of Python in an iteration of a descent, beside those in `CALL`: a step on one block takes 75 us in all
ITERATION = 1e-4
# Additions and multiplications a second of a Cholesky factorisation of a few hundred unknowns, on one core.
CHOLESKY_FLOPS = 3e10
# Of each of many models that are fitted together: steps, times that F is computed for the model alone, and for all
# training sets of its penalty. Adult, breast cancer and wine: 6 to 12, 0.1 to 0.5, and 1.0 to 1.8.
TOGETHER_STEPS, TOGETHER_MATRICES, PATH_MATRICES = 10.0, 0.3, 1.2
# Products of a fit that starts near the optimum of another penalty, for one logit and for several: 20 to 30 of adult,
# 35 to 60 of digits.
IN_TURN_PRODUCTS, IN_TURN_PRODUCTS_OF_CLASSES = 25.0, 40.0
# seconds of Python in a step of one of many models: its solve and its share of the pairs
MODEL_CALL = 4e-5
# bytes a second at which rows arrive that are not in memory: from a disk, a reader of files, a worker; halved and
# doubled: no change of a memory map of 20,000 x 100, nor of 20,000 x 30
OUT_OF_CORE_BANDWIDTH = 1e9
# Speed of float32 over that of float64. F of adult as a matrix takes 13.5 ms in float64 and 8.7 in float32, a product
# of MNIST 4.2 and 1.9.
FLOAT32_SPEED = 2.0
# Class matrices to which a row contributes: `BlockInformation` omits a row where its variance is less than 1e-3 of the
# largest.
CLASSES_PER_ROW = 3.0
# Bytes that a copy of X in float32 may take beside X. Raw MNIST, whose copy is smaller, is fitted in 1.04 s with it and
# in 1.72 without.
FLOAT32_COPY_BYTES = 2**25
# Bytes of the stored directions of a solve and their images: the larger of a constant and so many bytes for each logit
# of a row, a small part of what a product reads. With three directions, fits to text do not depend on the order of the
# rows.
DIRECTION_BYTES = 2**22
DIRECTION_BYTES_PER_LOGIT = 8
# Rows for each column in which directions of little curvature are looked for, and at most, as a share of all rows. The
# matrix of so many rows takes 12 % of a fit to 20,000 x 1,000, and 1 % of one to 10⁵ x 100.
SEARCHED_ROWS_PER_COLUMN, MAX_SEARCHED_SHARE = 2, 0.25
# Fewest and most directions: fewer are of no use, and conjugating against more takes longer than the products. Halved
# and doubled: digits at C = 100 takes 206 and 204 products for 204; no other change.
DIRECTION_RANGE = (4, 64)

# Share of the error of the loss that a quasi-Newton step leaves, in units of columns over rows of the sample: 1.2 to
# 1.4 of normal, correlated, binary and one-hot columns, 2 of lognormal ones (σ = 1).
ERROR_PER_COLUMN = 1.3
# Excess of the loss at the end of a fit, as a share of it, by order of magnitude: at the default `tol`, that of
# `ORDER_INDEPENDENT` and `ORDER_DEPENDENT` of `stopping`.
ORDER_INDEPENDENT_ERROR, ORDER_DEPENDENT_ERROR = 1e-11, 1e-17
# Points at which F is a matrix in a direct fit that starts at the optimum of a subsample: 2 to 4, of 10⁶ x 10, 10⁵ x 20
# and 20,000 x 50. As many in the fit to a subsample.
DIRECT_POINTS = 3.0
# Products of a fit by conjugate gradients, at best: 14 of 10⁵ x 100, normal, 19 of 10⁵ x 100, correlated.
NEWTON_CG_PRODUCTS = 14.0


class Shape(NamedTuple):
    """The sizes of the rows and of θ on which costs depend."""

    n_rows: int
    n_logits: int  # q
    n_columns: int  # d
    stored_per_row: float  # stored values of X per row, with the intercept: d if X is dense, the nonzeros if sparse
    float32_copy: float = np.inf  # bytes per row of a copy of X in float32; 0 if X is float32 already
    out_of_core: bool = False  # whether the rows are not in memory
    sample_bytes: float = Limits().sample_bytes  # largest subsample of rows that are not in memory
    centred: bool = False  # whether centres are subtracted from the rows

    @classmethod
    def of(cls, X: Matrix, n_logits: int, n_columns: int) -> Shape:
        """Return the shape of a fit to rows in memory."""
        stored = stored_bytes_per_row(X)
        float32_copy = 0.0 if X.dtype != np.float64 else 0.5 * stored
        return cls(X.shape[0], n_logits, n_columns, stored / 8.0 + n_columns - X.shape[1], float32_copy)

    @property
    def influence_sampled(self) -> bool:
        """Whether samples are drawn by influence: those of a sparse X in memory."""
        return self.stored_per_row < self.n_columns and not self.out_of_core

    @property
    def size(self) -> int:
        """Number of parameters, qd."""
        return self.n_logits * self.n_columns

    @property
    def n_values(self) -> float:
        """Number of stored values of X, with the intercept, times q."""
        return self.n_rows * self.stored_per_row * self.n_logits

    def fetch_seconds(self) -> float:
        """Return the time in which one pass fetches rows that are not in memory."""
        return 8.0 * self.n_rows * self.stored_per_row / OUT_OF_CORE_BANDWIDTH if self.out_of_core else 0.0

    def product_seconds(self) -> float:
        """Return the time of one product F v: X is read once, and multiplied with twice."""
        # 2 flops a stored value and logit, twice
        work = 4.0 * self.n_rows * self.n_logits * self.stored_per_row / THIN_FLOPS
        return CALL + max(work, 8.0 * self.n_rows * self.stored_per_row / BANDWIDTH) + self.fetch_seconds()

    def dense_seconds(self, speed: float = 1.0) -> float:
        """Return the time of F as a matrix, one triangle of which is computed, and of its factorisation."""
        gram = self.n_rows * self.size * (self.n_logits * self.stored_per_row / (speed * FLOPS) + WEIGHTING)
        return self.fetch_seconds() + gram + 2.0 * self.size**3 / 3.0 / FLOPS

    def measure_seconds(self) -> float:
        """Return the time of loss and gradient at one point, and of the Python around it."""
        return ITERATION + self.product_seconds() + LIKELIHOOD * self.n_rows * self.n_logits

    def model_step_seconds(self, n_models: int) -> float:
        """Return the time of a step of one of many models, whose gradients are computed together."""
        gradient = self.n_rows * self.n_logits * (4.0 * self.stored_per_row / FLOPS + LIKELIHOOD)
        return MODEL_CALL + gradient + self.fetch_seconds() / n_models

    def steps_per_matrix(self, n_models: int) -> float:
        """Return how many steps of one of many models take as long as F; a pass is shared by all of them."""
        matrix = CALL + self.dense_seconds() - self.fetch_seconds() * (1.0 - 1.0 / n_models)
        return matrix / self.model_step_seconds(n_models)

    def together_seconds(self, n_sets: int) -> float:
        """Return the time of one of many models that are fitted together, of `n_sets` training sets at each penalty."""
        # the outer products and the diagonals of several classes
        matrix = (CALL + self.dense_seconds()) * (1.0 if self.n_logits == 1 else 2.0)
        factor = 2.0 * self.size**3 / 3.0 / CHOLESKY_FLOPS
        solve = 16.0 * self.size**2 / BANDWIDTH
        step = solve + self.model_step_seconds(n_sets)
        matrices = PATH_MATRICES / n_sets + TOGETHER_MATRICES
        return matrices * matrix + (1.0 + TOGETHER_MATRICES) * factor + TOGETHER_STEPS * step

    def in_turn_seconds(self) -> float:
        """Return the time of a fit that starts near the optimum of another penalty."""
        products = IN_TURN_PRODUCTS if self.n_logits == 1 else IN_TURN_PRODUCTS_OF_CLASSES
        return products * self.product_seconds()

    def sample_seconds(self, n_sampled: int) -> float:
        """Return the time of the fit to a subsample, which stores F at every point."""
        sample = self._replace(n_rows=n_sampled, out_of_core=False)
        return DIRECT_POINTS * (sample.measure_seconds() + sample.dense_seconds())

    def direct_seconds(self, n_sampled: int) -> float:
        """Return the time of a fit that stores F at every point, from the optimum of a subsample."""
        # the pass that computes F fetches the rows once
        point = self.measure_seconds() + self.dense_seconds() - self.fetch_seconds()
        return self.sample_seconds(n_sampled) + DIRECT_POINTS * point + self.measure_seconds()

    def newton_cg_seconds(self) -> float:
        """Return the time of a fit by conjugate gradients from zero, if the columns are well conditioned."""
        return NEWTON_CG_PRODUCTS * self.product_seconds()

    def quasi_newton_points(self, n_sampled: int) -> float:
        """Return the points of quasi-Newton steps from the optimum of a sample, with its Fisher information."""
        # the loss at the optimum of m rows is in excess by d / 2m nats a row
        start, contraction = 0.5 * self.size / n_sampled, ERROR_PER_COLUMN * self.size / n_sampled
        # as `MemorySource.sample` chooses the rows
        end = ORDER_DEPENDENT_ERROR if self.centred or self.out_of_core else ORDER_INDEPENDENT_ERROR
        return math.ceil(math.log(start / end) / -math.log(contraction)) if contraction < 1.0 else math.inf

    def quasi_newton_seconds(self, n_sampled: int) -> float:
        """Return the time of loss and gradient at these points, and of the fit to the sample."""
        return self.sample_seconds(n_sampled) + self.quasi_newton_points(n_sampled) * self.measure_seconds()

    def kronecker_seconds(self) -> float:
        """Return the time of the two Kronecker factors, and of their factorisations."""
        factorise = 2.0 * (self.n_columns**3 + self.n_logits**3) / 3.0 / FLOPS
        grams = self.n_rows * (self.n_columns * self.stored_per_row + self.n_logits**2) / THIN_FLOPS
        return self.fetch_seconds() + grams + factorise

    def blocks_seconds(self, limits: Limits | None = None) -> float:
        """Return the time of one matrix for each class, summed as `BlockInformation` does, and of their inverses."""
        limits = limits or Limits()
        inverses = 2.0 * self.n_logits * self.n_columns**3 / FLOPS
        if self.n_logits > self.n_columns:
            return self.fetch_seconds() + self.n_rows * self.size * self.stored_per_row / FLOPS + inverses
        rows = max(
            limits.block_bytes / (8.0 * (self.stored_per_row + TEMPORARIES * self.n_logits)), limits.min_block_rows
        )
        # one matrix product for each class and block of rows, each with a fifth of the Python in a product F v
        calls = 0.2 * CALL * self.n_logits * max(self.n_rows / rows, 1.0)
        grams = CLASSES_PER_ROW * self.n_rows * self.n_columns * self.stored_per_row / THIN_FLOPS
        return self.fetch_seconds() + calls + grams + inverses

    def low_rank(self, limits: Limits | None = None) -> int:
        """Return the number of pairs of a row and a class of a preconditioner of low rank: all, if they fit."""
        values = (limits or Limits()).preconditioner_bytes // 8
        return min(math.isqrt(values), values // max(self.n_columns, self.n_logits), self.n_rows * self.n_logits)

    def low_rank_seconds(self, rank: int) -> float:
        """Return the time to choose so many pairs, in two passes, of their Gram matrix, and of its factorisation."""
        per_row = self.stored_per_row * WEIGHTING + self.n_logits * LIKELIHOOD
        gram = rank**2 * (self.n_columns + self.n_logits + rank / 3.0) / THIN_FLOPS
        return 2.0 * (self.fetch_seconds() + self.n_rows * per_row) + gram

    def gains_by_float32(self) -> bool:
        """Say whether products in float32 are faster, and the copy of X that they need is small enough."""
        if self.out_of_core:
            return False
        if self.float32_copy == 0.0:
            return True
        # only where arithmetic takes longer than reading X; both per value of X, as in `product_seconds`
        arithmetic_bound = 4.0 * self.n_logits / THIN_FLOPS > 8.0 / BANDWIDTH
        return arithmetic_bound and self.n_rows * self.float32_copy <= FLOAT32_COPY_BYTES

    def n_directions(self) -> int:
        """Return the number of directions of a solve that are stored, each with its image, at 16 bytes an entry."""
        available = max(DIRECTION_BYTES, DIRECTION_BYTES_PER_LOGIT * self.n_rows * self.n_logits)
        return int(np.clip(available / (16 * self.size), *DIRECTION_RANGE))
