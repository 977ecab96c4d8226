"""Records of a descent: a measured point, a direction, the Newton step, an iteration and its outcome."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array
    from sknatgrad._model.kernels import MetricScores
    from sknatgrad._model.protocols import Information


class Measured(NamedTuple):
    """The loss, gradient and metric at a point, by one pass over the rows. `loss` and `gradient` include the prior."""

    theta: Array  # (q, d)
    loss: float  # J, a sum in nats
    gradient: Array  # (q, d)
    information: Information  # of the metric, without Λ
    weight: float  # S, the sum of the row weights
    max_row_loss: float  # largest negative log-likelihood of a row with positive weight, nats
    scores: MetricScores  # of the rows at θ, for products with F and for preconditioners


class Direction(NamedTuple):
    """The direction of a natural gradient step, before its length is chosen."""

    move: Array  # (q, d), v = −M⁻¹g, M with prior and damping
    image: Array | None = None  # (q, d), F v of the true Fisher information; None if M is another metric
    solve_summary: str = ""  # how the linear system was solved, for `verbose`
    exact: bool = True  # whether the image, if there is one, is that of F and not of an approximation
    exact_solve: bool = False  # whether M v = −g to rounding, M with F: the best length of the damped model is then 1


class NewtonDecrement(NamedTuple):
    """The undamped Newton step v = −(F+Λ)⁻¹g, and the decrease that it predicts, ½ gᵀ(F+Λ)⁻¹g: the Newton decrement."""

    move: Array  # (q, d), v
    image: Array  # (q, d), F v
    decrement: float  # a sum in nats; infinite if part of the gradient is outside the numerical range of F+Λ
    resolve: Callable[[Array], Array] | None = None  # g ↦ −(F+Λ)⁻¹g for another gradient, if F+Λ is factorised
    well_conditioned: bool = False  # whether F+Λ is known to be, so that the step is accurate in every direction
    squared_error: float = np.inf  # ‖v + (F+Λ)⁻¹g‖² in the norm of F+Λ, nats; 0 if F+Λ is factorised

    @property
    def kl(self) -> float:
        """½ vᵀF v of the step, nats."""
        return 0.5 * max(float(np.vdot(self.move, self.image)), 0.0)


class Outcome(Enum):
    """Whether a descent goes on, or why it ended."""

    running = auto()
    converged = auto()  # the Newton decrement is within `tol`
    exhausted = auto()  # `max_iter` steps were accepted
    separable = auto()  # the classes are separated, and no penalty makes an optimum exist
    unbounded = (
        auto()
    )  # some rows are separated, and F has vanished along the direction so far that nothing is verified
    stalled = auto()  # too many steps in a row were rejected, or the step is zero
    diverged = auto()  # steps of a fixed length overflow or raise the loss
    overflow = auto()  # the start is not finite
    stopped = auto()  # by a callback
    interrupted = auto()  # from the keyboard


class Step(NamedTuple):
    """One iteration, accepted or rejected, for histories, printing and callbacks."""

    loss: float  # J/S, nats per unit of weight: after the step; before it, if the step was rejected
    gain: float  # actual over predicted decrease
    decrement: float  # Newton decrement by its last evaluation, nats per unit of weight; NaN before the first
    kl: float  # ½ vᵀF v / S of the step, nats per unit of weight
    damping: float  # δ, relative to the diagonal of the metric
    accepted: bool
    outcome: Outcome
    solve_summary: str = ""  # how the linear system was solved, for `verbose`
