"""Levenberg-Marquardt damping, and how it follows the success of the steps (Levenberg 1944; Marquardt 1963)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._solver.records import Measured
    from sknatgrad._typing import Array

# Actual over predicted decrease, above which damping is reduced and below which it is raised: those of MINPACK (Moré
# 1978). 0.5 and 0.9, 0.125 and 0.5 change breast cancer at C = 1e10, 27 to 33 for 31, and digits at C = 100, 21 for 17.
GOOD_GAIN = 0.75
POOR_GAIN = 0.25
# Length that the true Fisher information gives the metric's own step, below which the metric is damped. Halved and
# doubled: `'empirical'` on digits takes 169 and 217 for 156. 0.1 and 0.3 slow it on wine at C = 100 to more than 200.
SHORT_METRIC_STEP = 0.02
# Factor of the damping after a good step. Halved and doubled: breast cancer at C = 1e10 takes 27 iterations for 31,
# others one more or less; `'empirical'` on digits 159 and 152 for 156, `'diagonal'` on wine 446 and 465 for 426.
REDUCE = 0.1
# Factor of the damping after a poor step. Halved and doubled: breast cancer at C = 1e10 takes 29 and 38 iterations for
# 31, `'empirical'` on digits 158 and 162 for 156; no other change.
RAISE = 4.0
# Share of the critical damping to which a poor but accepted step raises the damping at least. Halved and doubled:
# breast cancer at C = 1e10 takes 31 and 29 iterations for 31; no other change.
POOR_STEP_SHARE = 0.25
# Damping below which it is dropped. Damping δ amplifies rounding along directions that the data do not determine to
# moves of eps/δ; without it the solver recognises them by their pivots. So equivalent fits of n < p data differ by
# 1e-10 in logits, and by 1e-6 if damping is not dropped.
DROP_BELOW = 1e-5
# The same once a step without damping has been rejected: then a small damping is needed. 1e-5 to 1e-11 take 30 or 31
# iterations for breast cancer at C = 1e10.
DROP_BELOW_AFTER_REJECTION = 1e-9
# Smallest damping to which it is raised, if it was 0. Halved and doubled: `'empirical'` on digits takes 162 and 166
# iterations for 156; no other change.
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
    drop_below: float = DROP_BELOW  # a factor below this becomes 0

    def at(self, point: Measured, prior: Array, *, largest: bool) -> Damping:
        """Return the damping with the scale of a point: the `largest` so far, or that of the point alone."""
        return self._replace(scale=diagonal_scale(point, prior, self.scale if largest else 0.0))

    def shift(self, prior: Array) -> Array:
        """Return the diagonal that is added to the metric, ``(d,)``: the prior and the damping."""
        return prior + self.factor * self.scale

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
            return self._replace(factor=reduced if reduced > self.drop_below else 0.0)
        if gain < POOR_GAIN:
            return self._replace(factor=max(self.factor * RAISE, POOR_STEP_SHARE * critical))
        return self

    def after_rejected(self, critical: float) -> Damping:
        """Return the damping after a rejected step.

        At the `critical` damping the step is about half as long. With less it hardly changes, and would be rejected
        again.
        """
        drop_below = self.drop_below if self.factor > 0 else DROP_BELOW_AFTER_REJECTION
        return self._replace(factor=max(self.factor * RAISE, critical), drop_below=drop_below)
