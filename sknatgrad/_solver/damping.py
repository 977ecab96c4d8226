"""Levenberg-Marquardt damping, and how it follows the success of the steps (Levenberg 1944; Marquardt 1963)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._solver.records import Measured

# Actual over predicted decrease, above which damping is reduced and below which it is raised: the values of MINPACK
# (Moré 1978). With GOOD_GAIN at 0.5 or 0.9, or POOR_GAIN at 0.125 or 0.5, breast cancer at C = 1e10 takes 27 to 33
# iterations for 31, and digits at C = 100 21 for 17.
GOOD_GAIN = 0.75
POOR_GAIN = 0.25
# `Proposal.metric_length` below which damping is raised: the model with F shortens the metric's step so much. Halved
# and doubled: `'empirical'` on digits takes 169 and 217 for 156. 0.1 and 0.3 slow it on wine at C = 100 to more than
# 200.
SHORT_METRIC_LENGTH = 0.02
# Factor of the damping after a good step. Halved and doubled: breast cancer at C = 1e10 takes 27 iterations for 31,
# others one more or less; `'empirical'` on digits 159 and 152 for 156, `'diagonal'` on wine 446 and 465 for 426.
REDUCE = 0.1
# The same where a step from the same point was rejected just before: MINPACK's factor. 50,000 x 64, 1,000 classes,
# takes 15 points and 82 products with it, 18 and 99 without; 60 random fits of several classes take 3 % fewer in all.
REDUCE_AFTER_REJECTION = 0.5
# Factor of the damping after a poor step. Halved and doubled: breast cancer at C = 1e10 takes 29 and 38 iterations for
# 31, `'empirical'` on digits 158 and 162 for 156; no other change.
RAISE = 4.0
# Share of the critical damping to which a poor but accepted step raises the damping at least. Halved and doubled:
# breast cancer at C = 1e10 takes 31 and 29 iterations for 31; no other change.
POOR_STEP_SHARE = 0.25
# Damping below which it becomes 0. Along directions that the data do not determine, a damping of δ turns rounding into
# moves of eps/δ; without damping, the factorisation recognises these directions by their pivots. Equivalent fits of
# data with fewer rows than columns then differ by 1e-10 in logits, and by 1e-6 if damping never becomes 0.
DROP_BELOW = 1e-5
# The same once a step without damping has been rejected: then a small damping is needed. 1e-5 to 1e-11 take 30 or 31
# iterations for breast cancer at C = 1e10.
DROP_BELOW_AFTER_REJECTION = 1e-9
# Least value from which damping is raised, as a multiple of 0 is 0. Halved and doubled: `'empirical'` on digits takes
# 162 and 166 iterations for 156; no other change.
MIN_RAISED = 1e-8


class Damping(NamedTuple):
    """Marquardt's damping: `factor` times diag(`scale`) is added to the metric with its prior."""

    factor: float  # δ
    scale: Array | float = 0.0  # (d,), see `diagonal_scale`
    drop_below: float = DROP_BELOW  # a factor below this becomes 0
    raised: bool = False  # whether the last step was rejected

    def at(self, point: Measured, prior: Array, *, keep_largest: bool) -> Damping:
        """Return the damping with the scale of a point: the largest so far, or that of the point alone."""
        scale = diagonal_scale(point, prior, self.scale if keep_largest else 0.0)
        # `_replace` makes three more calls, in each iteration
        return Damping(self.factor, scale, self.drop_below, self.raised)

    def shift(self, prior: Array) -> Array:
        """Return the diagonal that is added to the metric, ``(d,)``: prior precision and damping."""
        return prior + self.factor * self.scale

    def after_accepted(self, gain: float, metric_length: float, critical: float) -> Damping:
        """Return the damping after an accepted step.

        `gain`, the actual over the predicted decrease, compares the loss with the quadratic model of F. `metric_length`
        compares the metric with F. Far below 1, the metric misses curvature along its own step, as the empirical Fisher
        information does where rows are fitted almost perfectly; damping, whose scale comes from all rows, corrects it.
        `critical` is the `critical_damping` of the step, which matters after a poor step only.

        From a point where a longer step was rejected, a good one reduces the damping by less.
        """
        if metric_length < SHORT_METRIC_LENGTH:
            return self._replace(factor=max(self.factor, MIN_RAISED) * RAISE, raised=False)
        if gain > GOOD_GAIN:
            reduced = self.factor * (REDUCE_AFTER_REJECTION if self.raised else REDUCE)
            return Damping(reduced if reduced > self.drop_below else 0.0, self.scale, self.drop_below)
        if gain < POOR_GAIN:
            return self._replace(factor=max(self.factor * RAISE, POOR_STEP_SHARE * critical), raised=False)
        return self._replace(raised=False)

    def after_rejected(self, critical: float) -> Damping:
        """Return the damping after a rejected step.

        At the `critical` damping the step is about half as long. With much less, it would hardly change and be rejected
        again.
        """
        drop_below = self.drop_below if self.factor > 0 else DROP_BELOW_AFTER_REJECTION
        return self._replace(factor=max(self.factor * RAISE, critical), drop_below=drop_below, raised=True)


def diagonal_scale(measured: Measured, prior: Array, largest: Array | float = 0.0) -> Array:
    """Return the scale of the damping, ``(d,)``: the diagonal of metric and prior, or the `largest` so far if greater.

    It is the mean over classes: the damped metric then treats all classes alike, so the step has no part that is equal
    for all classes, and a Kronecker product plus damping is still solved exactly. A diagonal has the units of its
    column, so damped steps do not depend on how columns are scaled. The largest diagonal so far is used (Moré 1978):
    where probabilities have saturated on the wrong side, the diagonal has vanished, and damping is needed most.
    """
    diagonal = measured.information.diagonal()
    mean = diagonal[0] if len(diagonal) == 1 else diagonal.mean(axis=0)
    scale: Array = np.maximum(mean + prior, largest)
    return scale
