"""The optima of all rows along a sequence of penalties, each by Newton's method from the one before.

J(θ) = Σ s_i ℓ_i(θ) + ½ λ θᵀP θ has its optimum at θ(λ), with dθ/dλ = −(F + λP)⁻¹ P θ. A Newton step for another λ from
θ(λ) is −(F + λ'P)⁻¹ (λ' − λ) P θ, which extrapolates along this path and needs no more than the F that is known.

Sums over groups of rows give those of every training set that consists of groups: its loss, gradient and F. So the
first Newton step of each training set from the optimum of all rows needs no other reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.many_models import GroupKernel, SeveralKernels
from sknatgrad._solver.many_models import PenalisedPoint
from sknatgrad._solver.stopping import MAX_REDUCTIONS, SUFFICIENT_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sknatgrad._definitions import Array
    from sknatgrad._model.kernels import Sums
    from sknatgrad._rows.source import Kernel, RowSource
    from sknatgrad._rows.training_sets import RowGroups


# Newton decrement up to which a point is near enough to the optimum of all rows: nats for each parameter, and a share
# of the loss, for penalties that leave the parameters little freedom. The optimum of a training set is up to half of a
# nat for each parameter away, times the share of the rows that it omits. With 1e-3 and 1e-4 ten values of C take 13 to
# 27 matrices, with these 10 to 12, and the models as many steps.
NEAR_OPTIMUM, NEAR_OPTIMUM_SHARE = 0.1, 0.1
# The same for points of several penalties at a time, a share of the loss. Fifty models of 20,000 to 200,000 rows,
# normal, lognormal, sparse or nearly separated, take 10 to 16 passes with 1e-1, 10 to 13 with 1e-2, 11 to 14 with 1e-3.
NEAR_SHARE_AT_ONCE = 1e-2
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


class SetSums(NamedTuple):
    """Loss, gradient and true Fisher information of a training set at a point, without prior."""

    theta: Array  # (q, d)
    loss: float
    gradient: Array  # (q, d)
    information: DenseInformation

    def penalised(self, precision: Array) -> PenalisedPoint:
        """Return the point with the prior precision λ, ``(d,)``, and the Newton step from it."""
        factor = self.information.precision(precision)
        point = PenalisedPoint.of(self.theta, self.loss, self.gradient, factor, precision, None)
        finite = bool(np.isfinite(self.information.diagonal()).all())
        return point if finite else point._replace(decrement=np.nan)


class PathPoint(NamedTuple):
    """A point near the optimum of all rows for one penalty."""

    sums: GroupSums
    n_steps: int
    near: bool  # whether the decrement is small; else the steps failed


@record
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

    def points_at_once(self, precisions: Sequence[Array], starts: Sequence[Array]) -> list[PathPoint]:
        """Return a point near the optimum of each prior precision, from a start of each, by passes for all of them.

        Steps are not shortened: where one does not lower the loss, the start is of no use.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            sums = self.measure_each(starts)
            points = [self._penalised(*each) for each in zip(sums, precisions, strict=True)]
            n_steps, going = np.zeros(len(sums), dtype=np.intp), list(range(len(sums)))
            for _ in range(MAX_STEPS):
                going = [place for place in going if points[place].decrement > NEAR_SHARE_AT_ONCE * points[place].loss]
                if not going:
                    break
                ends = self.measure_each([sums[place].theta + points[place].move for place in going])
                for place, end_sums in zip(tuple(going), ends, strict=True):
                    end = self._penalised(end_sums, precisions[place])
                    if _is_lower(points[place], end, 1.0):
                        sums[place], points[place] = end_sums, end
                        n_steps[place] += 1
                    else:
                        going.remove(place)
            near = [point.decrement <= NEAR_SHARE_AT_ONCE * point.loss for point in points]
        return [PathPoint(*each) for each in zip(sums, n_steps.tolist(), near, strict=True)]

    def measure(self, theta: Array) -> GroupSums:
        """Return the sums of each group at θ, by a pass."""
        return self.measure_each([theta])[0]

    def measure_each(self, thetas: Sequence[Array]) -> list[GroupSums]:
        """Return the sums of each group at each θ, by a pass."""
        kernels: list[Kernel[Sums[DenseInformation]]] = [
            MeasureKernel(theta, TrueExpectation(), DenseInformation) for theta in thetas
        ]
        of_groups: list[list[Sums[DenseInformation]] | None] = self.source.total(
            GroupKernel(SeveralKernels(kernels), self.groups)
        )
        return [
            GroupSums.of(theta, [None if sums is None else sums[place] for sums in of_groups])
            for place, theta in enumerate(thetas)
        ]

    def _penalised(self, sums: GroupSums, precision: Array) -> PenalisedPoint:
        return sums.weighted(self.all_rows).penalised(precision)

    def _near_optimum(self, sums: GroupSums, precision: Array) -> PathPoint:
        point = self._penalised(sums, precision)
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
            end = self._penalised(end_sums, precision)
            if _is_lower(point, end, length):
                return end_sums, end, True
            length *= 0.25
        return sums, point, False


def _is_lower(point: PenalisedPoint, end: PenalisedPoint, length: float) -> bool:
    """Say whether the end of a step has a loss that is lower by enough; never if it is NaN."""
    return point.loss - end.loss >= SUFFICIENT_SHARE * length * point.decrement
