"""What a descent asks of its objective, what the user asks of the descent, and what an iteration hands to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._solver.damping import Damping
    from sknatgrad._solver.records import Direction, Measured, NewtonDecrement
    from sknatgrad._solver.step import Proposal
    from sknatgrad._typing import Array


class DescentProblem(Protocol):
    """What the loop asks of an objective; those of `objective` and `RecursiveObjective` answer."""

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``."""
        ...

    def measure(self, theta: Array, *, last: bool = False) -> Measured:
        """Return loss, gradient and metric at θ; the last point needs no metric."""
        ...

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the metric plus I ⊗ diag(shift)."""
        ...

    def products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher information times each of `moves`, ``(j, q, d)``."""
        ...

    @property
    def direct(self) -> bool:
        """Whether a Newton decrement comes with a factorised matrix, so that another solve costs little."""
        ...

    @property
    def accuracy(self) -> float:
        """Error of the final step that is negligible, as a share of the loss."""
        ...

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return the undamped step of the true Fisher information, and its decrease; `near` is a first guess."""
        ...


class DescentOptions(NamedTuple):
    """What the user asked for."""

    damping: float = 1e-3
    learning_rate: float | None = None  # None: chosen at each step
    max_kl: float | None = None  # nats per unit of weight
    max_iter: int = 100
    tol: float = 1e-8
    penalised: bool = True  # without a penalty, separable data have no optimum
    scale: Array | float = 0.0  # (d,), of the damping, from an earlier descent if there was one

    @property
    def adaptive(self) -> bool:
        """Whether step length and damping adapt."""
        return self.learning_rate is None


class LastStep(NamedTuple):
    """What the last accepted step leaves for the next one."""

    move: Array | None = None  # (q, d), the momentum
    best_decrease: float = np.inf  # as a share of the loss
    extrapolation: float = 1.0  # factor by which the next step is lengthened


class State(NamedTuple):
    """What one iteration hands to the next."""

    point: Measured
    damping: Damping
    last: LastStep = LastStep()
    rejections: int = 0  # in a row
    test_below: float = np.inf  # convergence is tested at a best decrease below this share of the loss
    decrement: float = np.nan  # Newton decrement by its last evaluation, per unit of weight
    to_optimum: Array | None = None  # the Newton step whose decrement passed the convergence test
    corrected: Array | None = None  # θ after the correction of the final step, which was not measured

    @property
    def theta(self) -> Array:
        """The coefficients: those that were measured, or their correction after the final step."""
        return self.point.theta if self.corrected is None else self.corrected

    def without_rows(self) -> State:
        """Return the state without what was measured of single rows, to be kept while other states follow."""
        point = self.point._replace(information=None, scores=None)  # type: ignore[arg-type]
        return self._replace(point=point, last=LastStep())
