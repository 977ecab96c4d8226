"""What the computations of a fit cost, in seconds and bytes, estimated from the shape of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._limits import Limits
from sknatgrad._rows.matrices import stored_bytes_per_row
from sknatgrad._rows.memory import TEMPORARIES

if TYPE_CHECKING:
    from sknatgrad._typing import Matrix

# Rough figures of two cores (AVX2, OpenBLAS 0.3.31, numpy 2.4). They only order the alternatives.
# multiplications a second of a matrix product whose matrices are large in both dimensions
FLOPS = 1.2e11
# the same where one of them is thin
THIN_FLOPS = 6e10
# bytes of X read a second
BANDWIDTH = 2.5e10
# seconds to weight one value of X
WEIGHTING = 1e-9
# seconds of Python in a product, however small
CALL = 1e-4
# bytes a second at which rows arrive that are not in memory: from a disk, a reader of files, a worker
OUT_OF_CORE_BANDWIDTH = 1e9
# factor by which float32 is faster than float64 (a matrix of adult 13.5 ms, 8.7; a product of MNIST 4.2 ms, 1.9)
SINGLE_SPEED = 2.0
# classes in whose matrix a row counts: `BlockInformation` leaves out those of less than 1e-3 of the largest variance
CLASSES_PER_ROW = 3.0
# bytes that a copy of X in float32 may take beside X; raw MNIST, whose copy is smaller, is fitted in 1.04 s for 1.72
SINGLE_COPY_BYTES = 2**25
# Bytes of the directions of a solve and their images; or bytes for each logit of a row, so that they stay a small part
# of what a product reads. Three directions are enough for the order of the rows to make no difference to text.
DIRECTION_BYTES = 2**22
DIRECTION_BYTES_PER_LOGIT = 8
# Fewest and most directions: fewer are of no use, more take longer than the products. Halved and
# doubled: digits at C = 100 takes 206 and 204 products for 204; no other change.
DIRECTIONS = (4, 64)


class Shape(NamedTuple):
    """The sizes that costs depend on."""

    n_rows: int
    n_logits: int  # q
    n_columns: int  # d
    stored: float  # values of X that are stored, per row
    single_copy: float = np.inf  # bytes per row that a float32 copy of X takes beside X; 0 if X is no float64
    out_of_core: bool = False  # whether the rows are not in memory
    sample_bytes: float = Limits().sample_bytes  # for a sample of rows that are not in memory

    @classmethod
    def of(cls, X: Matrix, n_logits: int, n_columns: int) -> Shape:
        """Return the shape of a fit to rows in memory."""
        stored = stored_bytes_per_row(X)
        single_copy = 0.0 if X.dtype != np.float64 else 0.5 * stored
        return cls(X.shape[0], n_logits, n_columns, stored / 8.0 + n_columns - X.shape[1], single_copy)

    @property
    def size(self) -> int:
        """Number of parameters, qd."""
        return self.n_logits * self.n_columns

    def fetch_seconds(self) -> float:
        """Return the time until all rows are in memory, in every pass."""
        return 8.0 * self.n_rows * self.stored / OUT_OF_CORE_BANDWIDTH if self.out_of_core else 0.0

    def product_seconds(self) -> float:
        """Return the time of one product F v: X is read once, and multiplied with twice."""
        work = 4.0 * self.n_rows * self.n_logits * self.stored / THIN_FLOPS
        return CALL + max(work, 8.0 * self.n_rows * self.stored / BANDWIDTH) + self.fetch_seconds()

    def dense_seconds(self, speed: float = 1.0) -> float:
        """Return the time of F as a matrix, half of which is computed, and of its factorisation."""
        gram = self.n_rows * self.size * (self.n_logits * self.stored / (speed * FLOPS) + WEIGHTING)
        return self.fetch_seconds() + gram + 2.0 * self.size**3 / 3.0 / FLOPS

    def kronecker_seconds(self) -> float:
        """Return the time of the two Kronecker factors, and of their factorisations."""
        factorise = 2.0 * (self.n_columns**3 + self.n_logits**3) / 3.0 / FLOPS
        grams = self.n_rows * (self.n_columns * self.stored + self.n_logits**2) / THIN_FLOPS
        return self.fetch_seconds() + grams + factorise

    def blocks_seconds(self, speed: float = 1.0, limits: Limits | None = None) -> float:
        """Return the time of one matrix a class, summed as `BlockInformation` does, and of their inverses."""
        block_bytes, min_block_rows = (limits or Limits())[:2]
        inverses = 2.0 * self.n_logits * self.n_columns**3 / FLOPS
        if self.n_logits > self.n_columns:
            return self.fetch_seconds() + (self.n_rows * self.size * self.stored / FLOPS + inverses) / speed
        rows = max(block_bytes / (8.0 * (self.stored + TEMPORARIES * self.n_logits)), min_block_rows)
        calls = 0.2 * CALL * self.n_logits * max(self.n_rows / rows, 1.0)
        grams = CLASSES_PER_ROW * self.n_rows * self.n_columns * self.stored / THIN_FLOPS
        return self.fetch_seconds() + calls + (grams + inverses) / speed

    def gains_by_single(self) -> bool:
        """Say whether products are faster in float32 by more than a copy of X costs, and the copy is small enough."""
        if self.out_of_core:
            return False
        if self.single_copy == 0.0:
            return True
        multiplies = 4.0 * self.n_logits / THIN_FLOPS > 8.0 / BANDWIDTH
        return multiplies and self.n_rows * self.single_copy <= SINGLE_COPY_BYTES

    def directions(self) -> int:
        """Return how many directions of a solve are kept."""
        available = max(DIRECTION_BYTES, DIRECTION_BYTES_PER_LOGIT * self.n_rows * self.n_logits)
        return int(np.clip(available / (16 * self.size), *DIRECTIONS))
