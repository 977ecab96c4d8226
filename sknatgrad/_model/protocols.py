"""What a Fisher information, its factorisation, and the scores of rows can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array


class Scores(Protocol):
    """E[r rᵀ] of each row of a block, r the (q,) derivative of the row's loss by its logits."""

    def diagonal(self) -> Array:
        """Return the diagonal for each row, ``(m, q)``."""
        ...

    def outer(self) -> tuple[float, Array]:
        """Return (sign, u), u ``(m, q)``: off the diagonal, each row's matrix is sign u uᵀ."""
        ...

    def total(self, weight: Array) -> Array:
        """Return the weighted sum over rows, ``(q, q)``."""
        ...

    def apply(self, move: Array) -> Array:
        """Multiply each row's matrix by that row of `move`, ``(m, q)``."""
        ...

    def rounded(self) -> Scores:
        """Return the same in float32."""
        ...


class RowScores(Protocol):
    """The scores of all rows at one point, wherever they are."""

    def of_block(self, block: RowBlock, n_columns: int) -> Scores:
        """Return those of a block, of d columns."""
        ...

    def rounded(self) -> RowScores:
        """Return the same in float32."""
        ...


class Precision(Protocol):
    """A factorised metric: solves, never merges."""

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``; the least-norm solution where M is singular."""
        ...


class FactorisedPrecision(Precision, Protocol):
    """One that was factorised as a matrix, so that it knows its numerical range."""

    def outside(self, gradient: Array) -> float:
        """Return the size of the part of g outside the range, which `solve` omits, in units of the diagonal's root."""
        ...


class Information(Protocol):
    """Pooled Fisher information in one structure: merges and multiplies, is never inverted."""

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        ...

    def matvec(self, move: Array) -> Array:
        """Return F v for v of shape ``(q, d)``."""
        ...

    def precision(self, shift: Array) -> Precision:
        """Factorise F + I ⊗ diag(shift), `shift` of shape ``(d,)``: prior and damping."""
        ...

    def preconditioner(self, shift: Array) -> FactorisedPrecision:
        """Factorise something near enough to that for conjugate gradients."""
        ...


class PooledInformation(Information, Protocol):
    """That of known rows: of other rows it may be added, and it may fade."""

    def precision(self, shift: Array) -> FactorisedPrecision:
        """Factorise F + I ⊗ diag(shift)."""
        ...

    def merge(self, other: Any) -> Any:
        """Pool with the information of other rows, in the same structure."""
        ...

    def scaled(self, share: float) -> Any:
        """Return the information of the same rows at so much of their weight."""
        ...

    def dense(self) -> Array:
        """Return F, or the matrix that stands for it, ``(qd, qd)``."""
        ...
