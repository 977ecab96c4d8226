"""Levenberg-Marquardt damping, and how it follows the success of the steps (Levenberg 1944; Marquardt 1963)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

# actual over predicted decrease, above which damping is reduced and below which it is raised: Moré (1978), section 4
GOOD_GAIN = 0.75
POOR_GAIN = 0.25
# Length that the true Fisher information gives the metric's own step, below which the metric is damped. Thresholds of
# 0.1 and 0.3 slow wine at C = 100 from less to more than 200 iterations.
SHORT_METRIC_STEP = 0.02
# factors of the damping after a good step and after a poor one
REDUCE = 0.1
RAISE = 4.0
# share of the critical damping to which a poor but accepted step raises the damping at least
POOR_STEP_SHARE = 0.25
# Damping below which it is dropped. Damping δ amplifies rounding along directions that the data do not determine to
# moves of eps/δ; without it the solver recognises them by their pivots. So equivalent fits of n < p data differ by
# 1e-10 in logits, and by 1e-6 if damping is not dropped.
DROPPED = 1e-5
# The same once a step without damping has been rejected: then a small damping is needed. Breast cancer at C = 1e10
# takes 36 iterations, and does not converge in 100 with the value above.
DROPPED_AFTER_REJECTION = 1e-9
# smallest damping to which it is raised, if it was 0
SMALLEST = 1e-8


def diagonal_scale(measured: Measured, prior: Array, largest: Array | float = 0.0) -> Array:
    """Return what damping is relative to, ``(d,)``: the diagonal of the metric with the prior, or the `largest` so far.

    Averaged over the classes, the damped metric stays symmetric in them, so no move that is equal for all classes mixes
    in, and a Kronecker product plus damping is still solved exactly. In the units of the features, damped steps do not
    depend on how features are scaled. The largest diagonal seen counts (Moré 1978): where probabilities have saturated
    on the wrong side, the diagonal has vanished, and damping is needed most.
    """
    scale: Array = np.maximum(measured.information.diagonal().mean(axis=0) + prior, largest)
    return scale


class Damping(NamedTuple):
    """Marquardt's damping: `factor` times diag(`scale`) is added to the metric."""

    factor: float
    scale: Array | float = 0.0  # (d,), see `diagonal_scale`
    dropped: float = DROPPED  # a factor below this becomes 0

    def after_accepted(self, gain: float, metric_step: float, critical: float) -> Damping:
        """Return the damping after an accepted step.

        `gain`, the actual over the predicted decrease, shows whether the exact quadratic model holds this far.
        `metric_step`, the length that this model gives the metric's own step, shows whether the metric does. Far below
        1, the metric misses curvature along the step, as the empirical Fisher information does where rows are fitted
        almost perfectly; damping, which is relative to all rows, corrects it. `critical` is the `critical_damping` of
        the step.
        """
        if metric_step < SHORT_METRIC_STEP:
            return self._replace(factor=max(self.factor, SMALLEST) * RAISE)
        if gain > GOOD_GAIN:
            reduced = self.factor * REDUCE
            return self._replace(factor=reduced if reduced > self.dropped else 0.0)
        if gain < POOR_GAIN:
            return self._replace(factor=max(self.factor * RAISE, POOR_STEP_SHARE * critical))
        return self

    def after_rejected(self, critical: float) -> Damping:
        """Return the damping after a rejected step.

        At the `critical` damping the step is about half as long. With less it hardly changes, and would be rejected
        again.
        """
        dropped = self.dropped if self.factor > 0 else DROPPED_AFTER_REJECTION
        return self._replace(factor=max(self.factor * RAISE, critical), dropped=dropped)
