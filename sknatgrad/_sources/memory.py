"""Rows of an array, a memory map or a sparse matrix, a cache-sized block at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from sknatgrad._array import stored_bytes_per_row, take_rows
from sknatgrad._typing import RowBlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._typing import Array, Codes, Kernel, Matrix, Result

BLOCK_BYTES = 2**21
# below this a block is all overhead: of Python, and of merging (d, d) sums
MIN_BLOCK_ROWS = 256


def cut(X: Matrix, n_logits: int) -> Iterator[tuple[int, int, Matrix]]:
    """Yield (start, stop, rows as float64): X's values or the logits, whichever is wider, fill `BLOCK_BYTES`."""
    n_rows = X.shape[0]
    bytes_per_row = max(stored_bytes_per_row(X), 8.0 * n_logits, 1.0)
    size = max(int(BLOCK_BYTES / bytes_per_row), MIN_BLOCK_ROWS)
    for start in range(0, n_rows, size):
        stop = min(start + size, n_rows)
        yield start, stop, take_rows(X, start, stop)


@dataclass(frozen=True)
class MemorySource:
    """Rows held in memory. X keeps its own type and order; each block becomes float64 while it is worked on."""

    X: Matrix  # (n, p), dense or CSR
    codes: Codes  # (n,)
    weight: Array  # (n,)
    n_logits: int = 1

    def blocks(self) -> Iterator[RowBlock]:
        """Yield the rows, in order."""
        for start, stop, rows in cut(self.X, self.n_logits):
            yield RowBlock(rows, self.codes[start:stop], self.weight[start:stop], start)

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order."""
        return reduce(kernel.merge, map(kernel, self.blocks()))
