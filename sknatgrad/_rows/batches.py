"""Rows that come in batches, as often as they are asked for: from files, from a database, from anything that reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from sknatgrad._rows.matrices import take_rows
from sknatgrad._rows.memory import block_bounds
from sknatgrad._rows.source import RowBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.source import Kernel, LabelledRows
    from sknatgrad._rows.threads import Workers
    from sknatgrad._typing import Result


@dataclass(frozen=True)
class BatchSource:
    """Batches of rows, read anew for each pass, one of them while the one before is worked on."""

    read: Callable[[], Iterator[LabelledRows]]  # begins a pass
    reservoir: MemorySource  # some of the rows; each class weighs in it what it weighs in all
    n_logits: int
    workers: Workers
    passes: Iterator[int] = field(default_factory=count)

    out_of_core = True  # each pass fetches the rows anew

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in order."""
        next(self.passes)

        def work(item: tuple[LabelledRows, slice, RowBlock]) -> Result:
            batch, cut, block = item
            X = take_rows(batch.X, cut.start, cut.stop)
            return kernel(block._replace(X=X, transposed=X.T))

        return self.workers.map_reduce_groups(work, kernel.merge, self._groups())

    def _groups(self) -> Iterator[list[tuple[LabelledRows, slice, RowBlock]]]:
        start, number = 0, 0
        for batch in self.read():
            blocks = _blocks_of(batch, self.n_logits, start, number)
            start, number = start + len(batch.codes), number + len(blocks)
            yield blocks

    def sample(self, n_rows: int) -> MemorySource:
        """Return about `n_rows` of those in reserve; each class weighs in it what it weighs here."""
        return self.reservoir if n_rows >= self.reservoir.codes.size else self.reservoir.sample(n_rows)

    def rounded(self) -> BatchSource:
        """Return the same: nothing of rows that are read anew is kept rounded."""
        return self


def _blocks_of(
    batch: LabelledRows, n_logits: int, start: int, number: int
) -> list[tuple[LabelledRows, slice, RowBlock]]:
    """Return the blocks of a batch, not yet converted; the first row has index `start`."""
    cuts = [slice(*cut) for cut in block_bounds(batch.X, n_logits)]
    return [
        (batch, cut, RowBlock(None, batch.codes[cut], batch.weight[cut], start + cut.start, number + index))
        for index, cut in enumerate(cuts)
    ]
