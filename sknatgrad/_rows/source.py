"""Rows in blocks, and the protocol of every source of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sknatgrad._definitions import Result, member_of, record
from sknatgrad._rows.matrices import pick_rows, vstack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array, Codes, Matrix


@member_of("sknatgrad")
class LabelledRows(NamedTuple):
    """Checked rows with their classes and weights."""

    X: Matrix  # (m, p), dense or CSR, of any type
    codes: Codes  # (m,), class of each row, as an index into the classes
    weight: Array  # (m,)

    def picked(self, indices: Codes) -> LabelledRows:
        """Return a copy of the rows of these indices."""
        return LabelledRows(pick_rows(self.X, indices), self.codes[indices], self.weight[indices])


def concatenated(parts: Sequence[LabelledRows]) -> LabelledRows:
    """Return the rows of all parts in order; the X of a single part is not copied."""
    codes = np.concatenate([part.codes for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    X = parts[0].X if len(parts) == 1 else vstack([part.X for part in parts])
    return LabelledRows(X, codes, weight)


class RowBlock(NamedTuple):
    """Consecutive rows, ready for arithmetic: float64 or float32, CSR, or dense with one axis contiguous."""

    X: Matrix  # (m, p); None in a block that is not converted yet
    codes: Codes  # (m,)
    weight: Array  # (m,)
    start: int  # index of the first row in the whole data
    number: int  # index of the block


class Kernel(Protocol[Result]):
    """A function of one block, and how the results of two blocks merge. It can be pickled, for Dask."""

    def __call__(self, block: RowBlock) -> Result:
        """Compute the result of one block."""
        ...

    def merge(self, left: Result, right: Result) -> Result:
        """Merge the results of two adjacent runs of rows."""
        ...


class RowSource(Protocol):
    """The rows of a fit, in memory, in files or on workers. It does not depend on the likelihood."""

    @property
    def out_of_core(self) -> bool:
        """Whether each pass reads the rows again: neither they nor numbers of single rows are stored between passes."""
        ...

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order, so that two runs give the same bits."""
        ...

    def as_float32(self) -> RowSource:
        """Return the same blocks in float32; out of core, the same source."""
        ...

    def sample(self, n_rows: int) -> RowSource:
        """Return a `MemorySource` of about `n_rows` rows, in which each class has the total weight that it has here."""
        ...


@record
class RowsKernel:
    """Some of the rows, in order, as their blocks have them."""

    rows: Codes  # ascending

    def __call__(self, block: RowBlock) -> list[LabelledRows]:
        """Return those of one block."""
        places = self.rows - block.start
        inside = places[(places >= 0) & (places < block.codes.size)]
        if not inside.size:
            return []
        return [LabelledRows(pick_rows(block.X, inside), block.codes[inside], block.weight[inside])]

    def merge(self, left: list[LabelledRows], right: list[LabelledRows]) -> list[LabelledRows]:
        """Append those of later rows."""
        return left + right
