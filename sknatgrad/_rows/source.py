"""Rows in blocks, and the protocol of everything that rows come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sknatgrad._typing import Result

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes, Matrix


class LabelledRows(NamedTuple):
    """Rows with the codes of their labels and their weights, checked."""

    X: Matrix  # (m, p), dense or CSR, in any type
    codes: Codes  # (m,)
    weight: Array  # (m,)


class RowBlock(NamedTuple):
    """A run of consecutive rows, ready for arithmetic: dense, either axis contiguous, or CSR; float64 or rounded."""

    X: Matrix  # (m, p)
    codes: Codes  # (m,) class of each row, as an index into the classes
    weight: Array  # (m,)
    start: int  # index of the first row in the whole data
    number: int  # of the block
    transposed: Matrix = None  # (p, m), a view of X: of a sparse one it takes a while to make


class Kernel(Protocol[Result]):
    """What is computed of each block, and how the results of two blocks become one. Travels by pickle."""

    def __call__(self, block: RowBlock) -> Result:
        """Compute the result of one block."""
        ...

    def merge(self, left: Result, right: Result) -> Result:
        """Pool the results of two neighbouring runs of rows."""
        ...


class RowSource(Protocol):
    """Where rows come from. Knows no likelihood."""

    @property
    def out_of_core(self) -> bool:
        """Whether each pass fetches the rows anew, so that neither they nor anything of each is kept."""
        ...

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order, so that two runs give the same bits."""
        ...

    def rounded(self) -> RowSource:
        """Return the same blocks in float32."""
        ...

    def sample(self, n_rows: int) -> RowSource:
        """Return a source of about `n_rows` of the rows; each class weighs in it what it weighs here."""
        ...
