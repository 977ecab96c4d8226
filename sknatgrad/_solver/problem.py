"""The interface of the objective, the options of a descent, and its state between two iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array
    from sknatgrad._solver.damping import Damping
    from sknatgrad._solver.records import Direction, Measured, NewtonDecrement
    from sknatgrad._solver.step import Proposal


class DescentProblem(Protocol):
    """What the loop calls of an objective: one of the five of `make_objective`, or `RecursiveObjective`."""

    @property
    def prior_precision(self) -> Array:
        """λ, ``(d,)``: the diagonal of Λ for each class."""
        ...

    def measure(self, theta: Array, *, final: bool = False) -> Measured:
        """Return loss, gradient and metric at θ; at the end of a `final` step no metric is needed."""
        ...

    def direction(self, measured: Measured, shift: Array) -> Direction:
        """Return −M⁻¹g, M the metric plus I ⊗ diag(shift), `shift` being prior precision and damping."""
        ...

    def fisher_products(self, measured: Measured, moves: Array) -> Array:
        """Return the true Fisher information times each of `moves`, ``(j, q, d)``."""
        ...

    @property
    def corrections(self) -> int:
        """How many times the final step may be corrected by the same factor of F + Λ; 0 if there is none.

        The last correction is not measured. Two or more say that a measurement without the metric costs less than one
        with it.
        """
        ...

    def shift(self, move: Array) -> float:
        """Return the largest change of the difference of two logits of a row along a step, nats; rows that have weight.

        It takes a pass. Corrections ask for it if they are measured, or if the factor is ill-conditioned.
        """
        ...

    @property
    def contraction(self) -> float:
        """Share of the error that a step leaves at least; 0 if steps square it, as those of Newton's method do."""
        ...

    @property
    def negligible_error(self) -> float:
        """Excess of the loss over its minimum that the final step may leave, as a share of the loss."""
        ...

    def newton_decrement(self, measured: Measured, near: Proposal | None = None) -> NewtonDecrement:
        """Return the undamped Newton step and its decrement; `near`, the proposed step, is a first guess."""
        ...


class DescentOptions(NamedTuple):
    """What the user asked for, and where an earlier descent of a subsample left the damping."""

    damping: float = 1e-3  # δ of the first step, relative to the diagonal of the metric
    learning_rate: float | None = None  # None: chosen at each step
    max_kl: float | None = None  # largest ½ vᵀF v / S of a step, nats per unit of weight
    max_iter: int = 100  # accepted steps
    tol: float = 1e-8  # Newton decrement at which the descent has converged, as a share of the loss
    penalised: bool = True  # without a penalty, separable data have no optimum
    damping_scale: Array | float = 0.0  # (d,), least scale of the damping; see `Damping.scale`
    # searches the rows for a separating direction when it is first called; None with a penalty
    rows_are_separated: Callable[[], bool] | None = None

    @property
    def adaptive(self) -> bool:
        """Whether step length and damping adapt."""
        return self.learning_rate is None


class PreviousStep(NamedTuple):
    """What the previous accepted step leaves for the next one."""

    move: Array | None = None  # (q, d), the momentum; None at the start and after a rejected step
    best_decrease: float = np.inf  # predicted by the quadratic model, as a share of the loss
    extrapolation: float = 1.0  # factor by which the next step is lengthened


class State(NamedTuple):
    """The state between two iterations: the point, and what was learnt on the way to it."""

    point: Measured
    damping: Damping
    previous: PreviousStep = PreviousStep()
    rejections: int = 0  # since the last accepted step
    test_below: float = np.inf  # convergence is tested at a best decrease below this share of the loss
    decrement: float = np.nan  # Newton decrement by its last evaluation, nats per unit of weight; NaN before the first
    to_optimum: NewtonDecrement | None = None  # the Newton step that passed the convergence test
    corrected: Array | None = None  # (q, d), θ after the correction of the final step, where nothing was measured

    @property
    def theta(self) -> Array:
        """The coefficients of the point, or their correction after the final step."""
        return self.point.theta if self.corrected is None else self.corrected

    def without_rows(self) -> State:
        """Return the state without scores of the rows, metric, factorised metric and previous step, to be kept."""
        point = self.point._replace(information=None, scores=None)  # type: ignore[arg-type]  # no one measures from it again
        newton = None if self.to_optimum is None else self.to_optimum._replace(resolve=None)
        return self._replace(point=point, previous=PreviousStep(), to_optimum=newton)
