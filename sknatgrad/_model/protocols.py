"""Interfaces of the scores of rows, of a Fisher information, and of its factorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._rows.design import Design
    from sknatgrad._rows.source import RowBlock


class Scores(Protocol):
    """E[r rᵀ] of each row of a block, r the (q,) gradient of the row's loss with respect to its logits."""

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

    def as_float32(self) -> Scores:
        """Return the same in float32."""
        ...


class RowScores(Protocol):
    """The scores of all rows at one point, stored or recomputed."""

    def of_block(self, block: RowBlock, n_columns: int) -> Scores:
        """Return those of a block whose design has d columns."""
        ...

    def as_float32(self) -> RowScores:
        """Return the same in float32."""
        ...


class Precision(Protocol):
    """A metric in a form that solves linear systems."""

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``; the least-norm solution where M is singular."""
        ...


class FactorisedPrecision(Precision, Protocol):
    """A factorised matrix, whose numerical range is known."""

    def norm_outside_range(self, gradient: Array) -> float:
        """Return the norm of the part of the gradient outside the range of M, which `solve` omits, in √nats.

        Each column counts in units of its own metric; infinite for a gradient along a column whose metric is zero.
        """
        ...


class Information(Protocol):
    """A metric before it is factorised: stored as a matrix of some structure, or known by its products alone."""

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        ...

    def matvec(self, move: Array) -> Array:
        """Return F v for v of shape ``(q, d)``."""
        ...

    def precision(self, shift: Array) -> Precision:
        """Factorise F + I ⊗ diag(shift), `shift` of shape ``(d,)``: prior and damping."""
        ...


class PreconditioningInformation(Information, Protocol):
    """Fisher information in a structure that can precondition conjugate gradients."""

    def precision(self, shift: Array) -> FactorisedPrecision:
        """Factorise F + I ⊗ diag(shift), `shift` of shape ``(d,)``: prior and damping."""
        ...


class PooledInformation(PreconditioningInformation, Protocol):
    """Fisher information summed over rows in one structure: merges and multiplies, and is factorised as a new value."""

    @classmethod
    def of_block(cls, design: Design, scores: Scores, weight: Array) -> Self:
        """Return the information of one block of rows."""
        ...

    def merge(self, other: Self) -> Self:
        """Pool with the information of other rows in the same structure; not every structure adds."""
        ...

    def scaled(self, share: float) -> Self:
        """Return the information of the same rows with their weights multiplied by `share`."""
        ...

    def recentred(self, shift: Array) -> Self:
        """Return the information of the same rows less `shift`, ``(p,)``, where an intercept absorbs it."""
        ...

    def dense(self) -> Array:
        """Return F, or the matrix that the structure stands for, ``(qd, qd)``."""
        ...


Structure: TypeAlias = type[PooledInformation]
