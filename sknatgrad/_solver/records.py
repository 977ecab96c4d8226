"""Records that the parts of a descent hand to each other."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.protocols import Information
    from sknatgrad._typing import Array


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
