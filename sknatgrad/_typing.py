"""The words the rooms share: array types, records and protocols.

Shapes, everywhere: n rows, p features, K classes; q logits a row (1 for two classes, K otherwise); d columns
(p, or p + 1 with the intercept last); m rows of one block. Parameters and gradients are ``(q, d)``.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Array: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]
Matrix: TypeAlias = Any  # dense array or scipy sparse matrix: only `_array` and `_design` look inside

Result = TypeVar("Result")


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
    def far(self) -> bool:
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

    def preconditioner(self, shift: Array) -> Precision:
        """Factorise something near enough to that for conjugate gradients."""
        ...


class PooledInformation(Information, Protocol):
    """That of known rows: of other rows it may be added, and it may fade."""

    def merge(self, other: Any) -> Any:
        """Pool with the information of other rows, in the same structure."""
        ...

    def scaled(self, share: float) -> Any:
        """Return the information of the same rows at so much of their weight."""
        ...

    def dense(self) -> Array:
        """Return F, or the matrix that stands for it, ``(qd, qd)``."""
        ...


class Direction(NamedTuple):
    """A natural gradient step."""

    move: Array  # (q, d), −M⁻¹g
    image: Array | None = None  # (q, d), the true Fisher times it, where solving has given that away
    how: str = ""  # how it was solved for, in words


class Measured(NamedTuple):
    """Everything the descent needs to know of one point. The prior is already inside `loss` and `gradient`."""

    theta: Array  # (q, d)
    loss: float  # J, a sum in nats
    gradient: Array  # (q, d)
    information: Information  # of the chosen metric, without prior
    weight: float  # S, the sum of the row weights
    worst: float  # largest negative log-likelihood of a row with positive weight
    scores: Any = None  # `_measure.MetricScores` of the rows


class Certificate(NamedTuple):
    """The optimum of the undamped quadratic model with the true Fisher information; decides when to stop."""

    move: Array  # (q, d), the step to it
    image: Array  # (q, d), the true Fisher times it
    decrement: float  # nats still to be gained; infinite where the question could not be answered
    again: Callable[[Array], Array] | None = None  # the step for another gradient, where that costs next to nothing


class Outcome(Enum):
    """Why a descent stands where it stands."""

    running = auto()
    converged = auto()
    exhausted = auto()
    separable = auto()
    stalled = auto()
    diverged = auto()
    overflow = auto()
    stopped = auto()  # by a callback
    interrupted = auto()  # from the keyboard


class Step(NamedTuple):
    """One turn of the loop, for whoever watches: histories, printing, plots."""

    loss: float  # J/S after the step; before it, if the step was rejected
    gain: float  # actual over predicted decrease
    predicted: float  # nats per unit of weight promised by the quadratic model
    decrement: float  # nats per unit of weight still to be gained, certified; NaN where not yet asked
    kl: float  # nats moved
    damping: float
    accepted: bool
    outcome: Outcome
    how: str = ""  # how the step was solved for, in words
