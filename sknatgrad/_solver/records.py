"""Records that the parts of a descent hand to each other."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.kernels import MetricScores
    from sknatgrad._model.protocols import Information
    from sknatgrad._typing import Array


class Measured(NamedTuple):
    """What one pass over the rows measures at a point. The prior is already inside `loss` and `gradient`."""

    theta: Array  # (q, d)
    loss: float  # J, a sum in nats
    gradient: Array  # (q, d)
    information: Information  # of the chosen metric, without the diagonal prior
    weight: float  # S, the sum of the row weights
    worst: float  # largest negative log-likelihood of a row with positive weight
    scores: MetricScores


class Direction(NamedTuple):
    """A natural gradient step."""

    move: Array  # (q, d), −M⁻¹g
    image: Array | None = None  # (q, d), F v of the true Fisher information, where the solve gives it
    how: str = ""  # how it was solved for, for `verbose`


class NewtonDecrement(NamedTuple):
    """The undamped Newton step −(F+Λ)⁻¹g of the true Fisher information, and what it gains, ½ gᵀ(F+Λ)⁻¹g."""

    move: Array  # (q, d), the step
    image: Array  # (q, d), F v
    decrement: float  # nats; infinite if the gradient is not in the numerical range of F+Λ
    resolve: Callable[[Array], Array] | None = None  # the step for another gradient, if F+Λ is factorised

    @property
    def kl(self) -> float:
        """½ vᵀF v of the step, nats."""
        return 0.5 * max(float(np.vdot(self.move, self.image)), 0.0)


class Outcome(Enum):
    """Why a descent is where it is."""

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
    """One iteration, accepted or rejected, for its observers: histories, printing, plots."""

    loss: float  # J/S after the step; before it, if the step was rejected
    gain: float  # actual over predicted decrease
    decrement: float  # Newton decrement by its last evaluation, nats per unit of weight; NaN before the first
    kl: float  # ½ vᵀF v / S of the step, nats per unit of weight
    damping: float
    accepted: bool
    outcome: Outcome
    how: str = ""  # how the step was solved for, for `verbose`
