"""The optima of all rows along a sequence of penalties, each by Newton's method from the one before.

J(θ) = Σ s_i ℓ_i(θ) + ½ λ θᵀP θ has its optimum at θ(λ), with dθ/dλ = −(F + λP)⁻¹ P θ. A Newton step for another λ from
θ(λ) is −(F + λ'P)⁻¹ (λ' − λ) P θ, which extrapolates along this path and needs no more than the F that is known.

Sums over groups of rows give those of every training set that consists of groups: its loss, gradient and F. So the
first Newton step of each training set from the optimum of all rows needs no other reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.layout import zero_sum
from sknatgrad._model.many_models import GroupKernel
from sknatgrad._solver.many_models import PenalisedPoint
from sknatgrad._solver.stopping import MAX_REDUCTIONS, SUFFICIENT_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sknatgrad._model.kernels import Sums
    from sknatgrad._rows.source import Kernel, RowSource
    from sknatgrad._rows.training_sets import RowGroups
    from sknatgrad._typing import Array


# Newton decrement up to which a point is near enough to the optimum of all rows: nats for each parameter, and a share
# of the loss, for penalties that leave the parameters little freedom. The optimum of a training set is up to half of a
# nat for each parameter away, times the share of the rows that it omits. With 1e-3 and 1e-4 ten values of C take 13 to
# 27 matrices, with these 10 to 12, and the models as many steps.
NEAR_OPTIMUM, NEAR_OPTIMUM_SHARE = 0.1, 0.1
# Steps to one optimum: Newton's method takes 2 or 3 from the optimum of a near penalty, and 4 to 8 from zero.
MAX_STEPS = 30


class GroupSums(NamedTuple):
    """Loss, gradient and true Fisher information of each group of rows at a point, without prior."""

    theta: Array  # (q, d)
    loss: Array  # (G,)
    gradient: Array  # (G, q, d)
    information: Array  # (G, q, d, q, d)
    weight: Array  # (G,)

    @classmethod
    def of(cls, theta: Array, groups: Sequence[Sums[DenseInformation] | None]) -> GroupSums:
        """Return the sums of groups, of which some may have no rows."""
        n_groups, shape = len(groups), theta.shape
        sums = cls(
            theta,
            np.zeros(n_groups),
            np.zeros((n_groups, *shape)),
            np.zeros((n_groups, *shape, *shape)),
            np.zeros(n_groups),
        )
        for group, of_group in enumerate(groups):
            if of_group is not None:
                sums.loss[group], sums.weight[group] = of_group.loss, of_group.weight
                sums.gradient[group], sums.information[group] = of_group.gradient, of_group.information.blocks
        return sums

    def weighted(self, counts: Array) -> SetSums:
        """Return the sums of a training set in which the rows of each group count so often, ``(G,)``."""
        flat = counts @ self.information.reshape(len(counts), -1)
        information = DenseInformation(flat.reshape(self.information.shape[1:]))
        gradient = np.tensordot(counts, self.gradient, axes=1)
        return SetSums(self.theta, float(counts @ self.loss), gradient, information)

    def without(self, others: GroupSums, group: int) -> SetSums:
        """Return the sums of all groups less those of one of `others`."""
        information = self.information.sum(axis=0) - others.information[group]
        # rounding must not make a variance negative
        size = self.theta.size
        diagonal = information.reshape(-1)[:: size + 1]
        np.maximum(diagonal, 0.0, out=diagonal)
        gradient = self.gradient.sum(axis=0) - others.gradient[group]
        loss = float(self.loss.sum() - others.loss[group])
        return SetSums(self.theta, loss, gradient, DenseInformation(information))


class SetSums(NamedTuple):
    """Loss, gradient and true Fisher information of a training set at a point, without prior."""

    theta: Array  # (q, d)
    loss: float
    gradient: Array  # (q, d)
    information: DenseInformation

    def penalised(self, precision: Array, mean: Array | None = None) -> PenalisedPoint:
        """Return the point with a prior of precision λ, ``(d,)``, and mean ``(q, d)``, and the Newton step from it."""
        deviation = self.theta if mean is None else self.theta - mean
        gradient = self.gradient + precision * deviation
        loss = self.loss + 0.5 * float((precision * deviation**2).sum())
        factor = self.information.precision(precision)
        move = -zero_sum(factor.solve(gradient))
        finite = bool(np.isfinite(self.information.diagonal()).all())
        decrement = -0.5 * float(np.vdot(gradient, move)) if finite else np.nan
        return PenalisedPoint(loss, gradient, factor, move, decrement)


class PathPoint(NamedTuple):
    """A point near the optimum of all rows for one penalty."""

    sums: GroupSums
    n_steps: int
    near: bool  # whether the decrement is small; else the steps failed


@dataclass(frozen=True)
class Path:
    """Follows the optima of all rows from one penalty to the next."""

    source: RowSource
    groups: RowGroups
    all_rows: Array  # (G,), how often the rows of each group count among all rows

    def points(self, precisions: Sequence[Array], start: Array) -> Iterator[PathPoint]:
        """Yield a point near the optimum of each prior precision, ``(d,)``; the first descent starts at `start`."""
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self.measure(start)
        for precision in precisions:
            with np.errstate(over="ignore", invalid="ignore"):
                point = self._near_optimum(sums, precision)
            yield point
            sums = point.sums

    def measure(self, theta: Array) -> GroupSums:
        """Return the sums of each group at θ, by a pass."""
        measure: Kernel[Sums[DenseInformation]] = MeasureKernel(theta, TrueExpectation(), DenseInformation)
        of_groups: list[Sums[DenseInformation] | None] = self.source.total(GroupKernel(measure, self.groups))
        return GroupSums.of(theta, of_groups)

    def _near_optimum(self, sums: GroupSums, precision: Array) -> PathPoint:
        point = sums.weighted(self.all_rows).penalised(precision)
        for n_steps in range(MAX_STEPS):
            if self._is_near(sums, point):
                return PathPoint(sums, n_steps, near=True)
            sums, point, accepted = self._step(sums, point, precision)
            if not accepted:
                return PathPoint(sums, n_steps, near=False)
        return PathPoint(sums, MAX_STEPS, near=False)

    @staticmethod
    def _is_near(sums: GroupSums, point: PenalisedPoint) -> bool:
        return point.decrement <= min(NEAR_OPTIMUM * sums.theta.size, NEAR_OPTIMUM_SHARE * point.loss)

    def _step(self, sums: GroupSums, point: PenalisedPoint, precision: Array) -> tuple[GroupSums, PenalisedPoint, bool]:
        """Return the end of a Newton step that lowers the loss, shortened until it does."""
        length = 1.0
        for _ in range(MAX_REDUCTIONS):
            end_sums = self.measure(sums.theta + length * point.move)
            end = end_sums.weighted(self.all_rows).penalised(precision)
            # not for a loss that is NaN
            if point.loss - end.loss >= SUFFICIENT_SHARE * length * point.decrement:
                return end_sums, end, True
            length *= 0.25
        return sums, point, False
