"""Rows that come in batches, as often as they are asked for: from files, from a database, from anything that reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from sknatgrad._array import take_rows
from sknatgrad._sources.memory import MemorySource, edges
from sknatgrad._typing import RowBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._typing import Array, Codes, Kernel, Matrix, Result
    from sknatgrad._workers import Workers


class Batch(NamedTuple):
    """Rows that have been checked."""

    X: Matrix  # (m, p), dense or CSR, in any type
    codes: Codes  # (m,)
    weight: Array  # (m,)

    def blocks(self, n_logits: int, start: int, number: int) -> list[tuple[Batch, slice, RowBlock]]:
        """Return the runs of rows to work on at a time, still to be converted; the first row has index `start`."""
        cuts = [slice(*cut) for cut in edges(self.X, n_logits)]
        return [
            (self, cut, RowBlock(None, self.codes[cut], self.weight[cut], start + cut.start, number + index))
            for index, cut in enumerate(cuts)
        ]


@dataclass(frozen=True)
class BatchSource:
    """Batches of rows, read anew for each pass, one of them while the one before is worked on."""

    read: Callable[[], Iterator[Batch]]  # begins a pass
    reserve: MemorySource  # some of the rows; each class weighs in it what it weighs in all
    n_logits: int
    workers: Workers
    passes: Iterator[int] = field(default_factory=count)

    far = True  # each pass fetches the rows anew

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in order."""
        next(self.passes)

        def work(item: tuple[Batch, slice, RowBlock]) -> Result:
            batch, cut, block = item
            X = take_rows(batch.X, cut.start, cut.stop)
            return kernel(block._replace(X=X, transposed=X.T))

        return self.workers.map_reduce_groups(work, kernel.merge, self._groups())

    def _groups(self) -> Iterator[list[tuple[Batch, slice, RowBlock]]]:
        start, number = 0, 0
        for batch in self.read():
            blocks = batch.blocks(self.n_logits, start, number)
            start, number = start + len(batch.codes), number + len(blocks)
            yield blocks

    def sample(self, n_rows: int) -> MemorySource:
        """Return about `n_rows` of those in reserve; each class weighs in it what it weighs here."""
        return self.reserve if n_rows >= self.reserve.codes.size else self.reserve.sample(n_rows)

    def rounded(self) -> BatchSource:
        """Return the same: nothing of rows that are read anew is kept rounded."""
        return self
