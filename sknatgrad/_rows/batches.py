"""Rows in batches that are read again in each pass: from files, a database or a generator."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from sknatgrad._definitions import record
from sknatgrad._limits import Limits
from sknatgrad._rows.centring import take_centred
from sknatgrad._rows.memory import block_bounds, unconverted_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._definitions import Array, Matrix, Result
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.source import Kernel, LabelledRows, RowBlock
    from sknatgrad._rows.threads import Workers

    # X of a batch, first and last row of a block in it, and the block, whose X is still to be converted
    Item = tuple[Matrix, tuple[int, int], RowBlock]


@record
class BatchSource:
    """Batches of rows, read again in each pass; each is read while the previous one is processed."""

    read: Callable[[], Iterator[LabelledRows]]  # begins a pass
    reservoir: MemorySource  # a sample of the rows; each class has the total weight that it has in all rows
    n_logits: int
    workers: Workers
    limits: Limits = field(default_factory=Limits)

    centres: Array | None = None  # (p,), subtracted from the rows of each block

    out_of_core = True

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order."""

        def work(item: Item) -> Result:
            X, (start, stop), block = item
            X = take_centred(X, start, stop, self.centres)
            return kernel(block._replace(X=X))

        return self.workers.map_reduce_groups(work, kernel.merge, self._batches())

    def _batches(self) -> Iterator[list[Item]]:
        """Yield the blocks of each batch."""
        start, number = 0, 0
        for X, codes, weight in self.read():
            bounds = block_bounds(X, self.n_logits, self.limits, centred=self.centres is not None)
            blocks = unconverted_blocks(codes, weight, bounds, start, number)
            start, number = start + len(codes), number + len(blocks)
            yield [(X, each, block) for each, block in zip(bounds, blocks, strict=True)]

    def sample(self, n_rows: int) -> MemorySource:
        """Return about `n_rows` rows of the reservoir."""
        return self.reservoir if n_rows >= self.reservoir.codes.size else self.reservoir.sample(n_rows)

    def as_float32(self) -> BatchSource:
        """Return the same source: rows that are read again are not stored in float32."""
        return self
