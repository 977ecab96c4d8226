"""Rows of an array or a sparse matrix, or of a file behind a memory map, a cache-sized block at a time."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._rows.matrices import is_sparse, pick_rows, stored_bytes_per_row, take_rows
from sknatgrad._rows.memmap import MemmapRows
from sknatgrad._rows.sampling import all_same, class_totals, reweighted, stratified_indices
from sknatgrad._rows.source import RowBlock
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._rows.source import Kernel
    from sknatgrad._typing import Array, Codes, Matrix, Result

# Twice what a core's own cache holds: the second reading comes from the cache that cores share, and smaller blocks cost
# more in handing them out than they gain (measured from 1/8 to 32 MiB, 10 to 1,000 columns).
BLOCK_BYTES = 2**22
# how many numbers are computed of a row and logit on the way
TEMPORARIES = 8
# below this a block is all overhead: of Python, and of merging (d, d) sums
MIN_BLOCK_ROWS = 256
# a block of a sparse matrix stores at least this many values for each column, as each block's sums have d numbers
STORED_PER_COLUMN = 8


def block_bounds(X: Matrix, n_logits: int) -> list[tuple[int, int]]:
    """Return (start, stop) of each block: X's rows, and what is computed of them, fill `BLOCK_BYTES`.

    The edges depend on nothing else but X's shape and how many values it stores: so neither do the sums.
    """
    n_rows, n_features = X.shape
    bytes_per_row = stored_bytes_per_row(X) + 8.0 * TEMPORARIES * n_logits
    size = max(int(BLOCK_BYTES / bytes_per_row), MIN_BLOCK_ROWS)
    if is_sparse(X):
        size = max(size, int(STORED_PER_COLUMN * n_features / max(X.nnz / max(n_rows, 1), 1.0)))
    # of one size, and a multiple of 4 in number, so that no thread is left with a rest
    count = -(-n_rows // size)
    count = min(-(-count // 4) * 4, n_rows) if count > 1 else 1
    cuts = [n_rows * index // count for index in range(count + 1)]
    return list(pairwise(cuts))


def iter_blocks(X: Matrix, n_logits: int) -> Iterator[tuple[int, int, Matrix]]:
    """Yield (start, stop, rows as float64) of each block."""
    for start, stop in block_bounds(X, n_logits):
        yield start, stop, take_rows(X, start, stop)


@dataclass(frozen=True)
class MemorySource:
    """Rows held in memory. X keeps its own type and order; each block becomes float64 while it is worked on.

    Or float32: then X is rounded once and kept, unless it was made of integers. Of a memory map, blocks are read.
    """

    X: Matrix  # (n, p), dense or CSR
    codes: Codes  # (n,)
    weight: Array  # (n,)
    n_logits: int = 1
    workers: Workers = field(default_factory=Workers, compare=False)
    dtype: type = np.float64
    first: int = 0  # index of the first row, if these are a part of the data

    @cached_property
    def _file(self) -> MemmapRows | None:
        return MemmapRows.behind(self.X)

    @property
    def out_of_core(self) -> bool:
        """Whether each pass fetches the rows anew, so that neither they nor anything of each is kept."""
        return self._file is not None

    @cached_property
    def _cuts(self) -> list[RowBlock]:
        blocks = [
            RowBlock(None, self.codes[start:stop], self.weight[start:stop], self.first + start, index)
            for index, (start, stop) in enumerate(block_bounds(self.X, self.n_logits))
        ]
        if self.out_of_core:
            return blocks
        if self.X.dtype == self.dtype:
            # views, and making those of a sparse matrix takes time
            return [self._taken(block) for block in blocks]
        if self.X.dtype == np.float64:
            return self.workers.map_reduce(lambda block: [self._taken(block)], operator.add, blocks)
        return blocks

    def _taken(self, block: RowBlock) -> RowBlock:
        start = block.start - self.first
        stop = start + block.codes.size
        if self._file is None:
            X = take_rows(self.X, start, stop, self.dtype)
        else:
            X = take_rows(self._file.read(start, stop), 0, block.codes.size, self.dtype)
        return block._replace(X=X, transposed=X.T)

    def _converted(self, block: RowBlock) -> RowBlock:
        return self._taken(block) if block.X is None else block

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order."""
        return self.workers.map_reduce(lambda block: kernel(self._converted(block)), kernel.merge, self._cuts)

    def sample(self, n_rows: int) -> MemorySource:
        """Return a source of about `n_rows` of the rows, copied; each class weighs in it what it weighs here."""
        rows = stratified_indices(self.codes, self.weight, n_rows)
        codes, weight = self.codes[rows], self.weight[rows]
        weight = reweighted(codes, weight, self._class_totals)
        return MemorySource(self._picked(rows), codes, weight, self.n_logits, self.workers)

    def _picked(self, rows: Codes) -> Matrix:
        """Return a copy of the rows of these indices, ascending, in X's own type."""
        file = self._file
        if file is None:
            return pick_rows(self.X, rows)
        picked = np.empty((rows.size, self.X.shape[1]), dtype=self.X.dtype)

        def pick(cut: tuple[int, int]) -> None:
            start, stop = cut
            first, last = np.searchsorted(rows, cut)
            if first < last:
                picked[first:last] = file.read(start, stop)[rows[first:last] - start]

        self.workers.map_reduce(pick, lambda _, __: None, block_bounds(self.X, self.n_logits))
        return picked

    @cached_property
    def _class_totals(self) -> Array:
        return class_totals(self.codes, self.weight)

    def rounded(self) -> MemorySource:
        """Return the same blocks in float32; copies, where X is float64."""
        weight = self.weight
        if all_same(weight):
            weight = np.broadcast_to(np.float32(weight[0]), weight.shape)
        return replace(self, weight=weight.astype(np.float32, copy=False), dtype=np.float32)
