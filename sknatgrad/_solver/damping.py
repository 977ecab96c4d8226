"""How damping follows the success of the steps (Levenberg 1944; Marquardt 1963)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

GOOD_GAIN = 0.75
POOR_GAIN = 0.25
BLIND = 0.02
EASE = 0.1
TIGHTEN = 4.0
# share of the damping that bites, after an accepted step that gained little of what was promised
NIBBLE = 0.25
# Damping δ turns rounding along directions that the data do not determine into moves of eps/δ. Below this it does that
# and little else, so it is dropped, and the solver can tell such directions by their pivots.
FADED = 1e-5
# unless a step without damping has failed: then small damping is what is needed
FADED_AFTER_FAILURE = 1e-9
# where damping has to begin once it is needed, if it was 0 or has faded away
WAKE = 1e-8


def scale_of(measured: Measured, prior: Array, before: Array | float = 0.0) -> Array:
    """Return what damping is relative to, ``(d,)``: the metric's own diagonal with the prior, here or `before`.

    It is averaged over the classes, so that the damped metric stays symmetric in them (no gauge direction mixes in)
    and a Kronecker product plus damping is still solved exactly. It has the units of the features, so the damped step
    does not depend on how they are scaled. The largest that was seen counts (Moré 1978): where probabilities have
    saturated on the wrong side, the diagonal has vanished, and damping is needed most.
    """
    largest: Array = np.maximum(measured.information.diagonal().mean(axis=0) + prior, before)
    return largest


def follow(damping: float, gain: float, trust: float, faded: float, bite: float) -> float:
    """Return the damping after an accepted step.

    `gain` is what it gained over what the exact quadratic model promised: whether that model may be trusted this far.
    `trust` is the length that this model gave the metric's own step: whether the metric may be. Far below 1, the metric
    is blind to curvature along it, as the empirical Fisher information is where rows are fitted almost perfectly, and
    damping, which knows of all rows, has to help. Below `faded` it is dropped. `bite` is where damping begins to matter
    along the step: see `tighten`.
    """
    if trust < BLIND:
        return max(damping, WAKE) * TIGHTEN
    if gain > GOOD_GAIN:
        return damping * EASE if damping * EASE > faded else 0.0
    return max(damping * TIGHTEN, NIBBLE * bite) if gain < POOR_GAIN else damping


def tighten(damping: float, bite: float) -> float:
    """Return the damping after a rejected step.

    `bite` is the damping that would have doubled the model's curvature along it, and so about halved it. Less hardly
    changes the step, and it would be rejected again.
    """
    return max(damping * TIGHTEN, bite)
