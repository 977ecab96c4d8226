"""Descends several models together, each of its own training set and penalty, with one reading for all of them.

Each has a factor of F + Λ at a point near its optimum. Steps are those of L-BFGS (Nocedal and Wright 2006, section 7.2)
whose first inverse Hessian is (F + Λ)⁻¹: without pairs a chord step (Ortega and Rheinboldt 1970, section 7.1), whose
error is the relative change of F between the two points. The pairs correct the few directions along which F has changed
much, such as those of columns with few entries. Gradients of many models cost little: X is read once, and multiplied
with all of them in one product of matrices. Where the rate is slow nevertheless, F is computed at the current point.
The next step is then one of Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.layout import zero_sum
from sknatgrad._model.many_models import ManyDiagonalKernel, ManyInformationKernel, ManyMeasureKernel
from sknatgrad._solver.stopping import LOSS_ROUNDING, MAX_REDUCTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Array, Codes, Mask
    from sknatgrad._model.information.dense import DensePrecision
    from sknatgrad._rows.source import RowSource
    from sknatgrad._rows.training_sets import SetWeights

# Times that F of a model is computed. Newton's method takes 3 to 5 from the optimum of similar rows; a model that needs
# more is left to another method, which has damping.
MAX_MATRICES = 6
# Lower bound of a decrement, as a multiple of that by a factor, from which the two contradict each other: the factor is
# that of another point, and 2 is a change of F by one half.
MAX_CONTRADICTION = 2.0
# Difference of a loss from its prediction, as a share of the predicted decrease, up to which the prediction has come
# true: the step is then one of Newton's method near the optimum.
MAX_SURPRISE = 0.1
# Steps of each model: most take 3 to 15; where rounding prevents an end, more are of no use.
MAX_STEPS = 40
# Steps whose pairs are stored.
MAX_PAIRS = 10
# Steps by a factor from which its rate is judged: the first ones learn the pairs.
MIN_JUDGED = 4


@record
class ManyModels:
    """M models: the training set and the prior of each."""

    source: RowSource
    sets: SetWeights
    numbers: Codes  # (M,), training sets
    precision: Array  # (M, d), λ of the prior of each
    mean: Array | None = None  # (q, d), of all priors; None is 0

    def measure(self, theta: Array, models: Codes) -> tuple[Array, Array]:
        """Return the loss ``(m,)`` and gradient ``(q, m, d)``, with prior, of some models at their θ, ``(q, m, d)``."""
        sums = self.source.total(ManyMeasureKernel(theta, self.sets, self.numbers[models]))
        precision = self.precision[models]
        deviation = theta if self.mean is None else theta - self.mean[:, None]
        penalty = 0.5 * np.einsum("md,qmd,qmd->m", precision, deviation, deviation)
        return sums.loss + penalty, sums.gradient + precision * deviation

    def least_decrement(self, theta: Array, gradient: Array, models: Codes) -> Array:
        """Return a lower bound of the Newton decrement of some models at their θ, ``(m,)``: the best along a column."""
        curvature = self.source.total(ManyDiagonalKernel(theta, self.sets, self.numbers[models]))
        curvature += self.precision[models]
        along = np.divide(gradient**2, curvature, out=np.zeros_like(gradient), where=gradient != 0.0)
        bound: Array = 0.5 * along.max(axis=(0, 2))
        return bound

    def factors(self, theta: Array, models: Codes) -> list[DensePrecision]:
        """Return the factor of F + Λ of some models at their θ, ``(q, m, d)``."""
        matrices = self.source.total(ManyInformationKernel(theta, self.sets, self.numbers[models]))
        return [matrix.precision(self.precision[model]) for matrix, model in zip(matrices, models, strict=True)]


class Ending(NamedTuple):
    """When a descent ends, and when F is computed again."""

    negligible_error: float  # excess of the loss over its minimum that may remain, as a share of the loss
    steps_per_matrix: float  # steps of a model that cost as much as F at one point


class Pair(NamedTuple):
    """A step of each of M models, and the change of the gradient along it."""

    step: Array  # (q, M, d)
    change: Array  # (q, M, d)
    inverse: Array  # (M,), 1 / yᵀs; 0 of a model without this pair

    @classmethod
    def of(cls, step: Array, change: Array) -> Pair:
        """Return the pair; a convex loss has a positive curvature along each step, but for rounding."""
        curvature = np.einsum("qmd,qmd->m", step, change)
        usable = np.isfinite(curvature) & (curvature > 0.0)
        return cls(step, change, np.divide(1.0, curvature, out=np.zeros_like(curvature), where=usable))

    def only(self, models: Codes) -> Pair:
        """Return that of some models."""
        return Pair(self.step[:, models], self.change[:, models], self.inverse[models])

    def repeated(self, precisions: Array) -> Pair:
        """Return the pair once more for each of J prior precisions that are greater by λ, ``(J, d)``, or less."""
        return Pair.joined([self.with_more_curvature(precision) for precision in precisions])

    @classmethod
    def joined(cls, pairs: Sequence[Pair]) -> Pair:
        """Return the pairs of several groups of models as one."""
        step, change = (np.concatenate([pair[field] for pair in pairs], axis=1) for field in range(2))
        return cls(step, change, np.concatenate([pair.inverse for pair in pairs]))

    def with_more_curvature(self, precision: Array) -> Pair:
        """Return the pair of the same loss with a prior precision that is greater by λ ``(d,)``, which may be < 0."""
        return Pair.of(np.where(self.inverse[:, None] > 0.0, self.step, 0.0), self.change + precision * self.step)


class PenalisedPoint(NamedTuple):
    """A point with a prior, and the Newton step from it."""

    loss: float
    gradient: Array  # (q, d)
    factor: DensePrecision  # of F + Λ
    move: Array  # (q, d)
    decrement: float  # predicted along the move, nats; NaN where F overflows

    @classmethod
    def of(  # noqa: PLR0913, PLR0917 - a point, its sums and its prior
        cls, theta: Array, loss: float, gradient: Array, factor: DensePrecision, precision: Array, mean: Array | None
    ) -> PenalisedPoint:
        """Return θ with the sums of the rows there, and a prior of precision λ ``(d,)`` and mean ``(q, d)``."""
        deviation = theta if mean is None else theta - mean
        gradient = gradient + precision * deviation
        loss += 0.5 * float((precision * deviation**2).sum())
        move = -zero_sum(factor.solve(gradient))
        return cls(loss, gradient, factor, move, -0.5 * float(np.vdot(gradient, move)))


class Start(NamedTuple):
    """Where descents may start."""

    theta: Array  # (q, M, d)
    pairs: Sequence[Pair] = ()  # of earlier descents of similar models, with the present priors
    measured: tuple[Array, Array] | None = None  # loss (M,) and gradient (q, M, d), if they are known
    predicted: Array | None = None  # loss that a quadratic model predicts, (M,)


def starts_at(theta: Array, points: Sequence[PenalisedPoint], *, exact: bool = True) -> list[Start]:
    """Return that each model may start at a point near its optimum, ``(q, M, d)``, or a Newton step from there.

    The points are `exact` if their losses and gradients are those of the models.
    """
    end = theta + np.stack([point.move for point in points], axis=1)
    if not exact:
        return [Start(theta), Start(end)]
    losses = np.array([point.loss for point in points])
    gradients = np.stack([point.gradient for point in points], axis=1)
    predicted = losses - [point.decrement for point in points]
    return [Start(theta, measured=(losses, gradients)), Start(end, predicted=predicted)]


class Descended(NamedTuple):
    """The ends of the descents of M models."""

    theta: Array  # (q, M, d); of a model that has not converged, where it was left
    n_steps: Codes  # (M,)
    converged: Mask  # (M,)
    pairs: Sequence[Pair]  # of the last steps, for descents that begin near here


def descend_together(
    models: ManyModels, starts: Sequence[Start], factors: Sequence[DensePrecision], ending: Ending
) -> Descended:
    """Descend from the best of several starts of each model, with a factor of its F + Λ near there."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        descent = _Descent.begin(models, starts, factors, ending)
        while descent.active.size:
            descent.advance()
            if not descent.active.size:
                # those whose ends are contradicted go on
                descent.settle()
    return Descended(descent.theta, descent.n_steps, descent.converged, descent.pairs)


@dataclass
class _Descent:
    """The state of M descents."""

    models: ManyModels
    ending: Ending
    factors: list[DensePrecision]
    theta: Array  # (q, M, d)
    loss: Array  # (M,)
    gradient: Array  # (q, M, d)
    decrement: Array  # (M,), predicted for the last step, nats; NaN after F was computed
    first: Array  # (M,), the same of the first step by the present factor
    n_by_factor: Codes  # (M,), steps by the present factor
    refused: Mask  # (M,), whether the last step raised the loss
    length: Array  # (M,), of the next step
    n_steps: Codes  # (M,)
    n_matrices: Codes  # (M,)
    converged: Mask  # (M,)
    active: Codes  # models that go on
    last_move: Array  # (q, M, d), the last step of each model that ends
    last_decrement: Array  # (M,), predicted for it, nats
    ending_models: Codes  # models that end with it
    pairs: list[Pair] = field(default_factory=list)  # oldest first

    @classmethod
    def begin(
        cls, models: ManyModels, starts: Sequence[Start], factors: Sequence[DensePrecision], ending: Ending
    ) -> _Descent:
        """Measure the starts, and take that of the lowest loss of each model."""
        active = np.arange(len(factors))
        losses, gradients = _measured_starts(models, starts)
        best = np.where(np.isfinite(losses), losses, np.inf).argmin(axis=0)
        chosen = (best, slice(None), active)
        return cls(
            models,
            ending,
            list(factors),
            np.stack([start.theta for start in starts])[chosen].swapaxes(0, 1),
            losses[best, active],
            gradients[chosen].swapaxes(0, 1),
            decrement=np.full(active.size, np.nan),
            first=np.full(active.size, np.nan),
            n_by_factor=np.zeros(active.size, dtype=np.intp),
            refused=np.zeros(active.size, dtype=bool),
            length=np.ones(active.size),
            n_steps=np.zeros(active.size, dtype=np.intp),
            n_matrices=np.zeros(active.size, dtype=np.intp),
            converged=np.zeros(active.size, dtype=bool),
            active=active,
            last_move=np.zeros_like(starts[0].theta),
            last_decrement=np.full(active.size, np.nan),
            ending_models=active[:0],
            pairs=[
                pair._replace(inverse=np.where(best == number, pair.inverse, 0.0))
                for number, start in enumerate(starts)
                for pair in start.pairs
            ],
        )

    def advance(self) -> None:
        """Take one step of each model that goes on."""
        move, decrement = self._moves(self.active)
        slow = self._is_slow(self.active, decrement)
        if slow.any():
            self._compute_matrices(self.active[slow])
            move[:, slow], decrement[slow] = self._moves(self.active[slow])
        ends = self._leaves_negligible_error(self.active, decrement)
        self.last_move[:, self.active[ends]] = move[:, ends]
        self.last_decrement[self.active[ends]] = decrement[ends]
        self.ending_models = np.append(self.ending_models, self.active[ends])
        goes_on = ~ends & np.isfinite(self.loss[self.active]) & np.isfinite(decrement)
        goes_on &= (self.n_matrices[self.active] <= MAX_MATRICES) & (self.n_steps[self.active] < MAX_STEPS)
        self.active = self.active[goes_on]
        if self.active.size:
            self._try(move[:, goes_on] * self.length[self.active][:, None], decrement[goes_on])

    def _moves(self, models: Codes) -> tuple[Array, Array]:
        """Return the step of each model, and the decrease that it predicts, nats."""
        gradient = self.gradient[:, models]
        pairs, coefficients, rest = [pair.only(models) for pair in self.pairs], [], gradient.copy()
        for pair in reversed(pairs):
            coefficients.append(pair.inverse * np.einsum("qmd,qmd->m", pair.step, rest))
            rest -= coefficients[-1][:, None] * pair.change
        move = zero_sum(self._solved(models, rest))
        for pair in pairs:
            correction = coefficients.pop() - pair.inverse * np.einsum("qmd,qmd->m", pair.change, move)
            move += correction[:, None] * pair.step
        return -move, 0.5 * np.einsum("qmd,qmd->m", gradient, move)

    def _solved(self, models: Codes, gradients: Array) -> Array:
        """Return the solutions of some models, each by its factor, ``(q, m, d)``."""
        # a factor that several models share solves for all of them in one call
        places: dict[int, list[int]] = {}
        for place, model in enumerate(models):
            places.setdefault(id(self.factors[model]), []).append(place)
        solved = np.empty_like(gradients)
        for chosen in places.values():
            solved[:, chosen] = self.factors[models[chosen[0]]].solve_each(gradients[:, chosen])
        return solved

    def _is_slow(self, models: Codes, decrement: Array) -> Mask:
        """Say whether F costs less than the steps that are left; a rate that is unknown is not slow."""
        logarithm = np.log(decrement / self.first[models]) / self.n_by_factor[models]
        left = np.log(self.ending.negligible_error * self.loss[models] / decrement) / logarithm
        judged = self.n_by_factor[models] >= min(MIN_JUDGED, self.ending.steps_per_matrix)
        slow: Mask = judged & ((logarithm >= 0.0) | (left > self.ending.steps_per_matrix))
        return slow | self.refused[models]

    def _leaves_negligible_error(self, models: Codes, decrement: Array) -> Mask:
        """Say whether a step leaves a negligible error, by the rate of the last one."""
        ratio = decrement / self.decrement[models]
        # the first step by a factor is one of Newton's method, and the rate of the next ones is about the root of its
        ratio = np.where(self.n_by_factor[models] <= 1, np.sqrt(ratio), ratio)
        remaining = decrement * np.where(np.isnan(ratio), 1.0, ratio)
        negligible: Mask = remaining <= self.ending.negligible_error * self.loss[models]
        return negligible

    def settle(self) -> None:
        """Take the last steps of all models that end, which are not measured, unless F contradicts a decrement.

        Where probabilities have saturated, or weights differ by orders of magnitude, the factor may be that of another
        point, or F may have vanished along directions in which the gradient has not.
        """
        models, self.ending_models = self.ending_models, self.ending_models[:0]
        if not models.size:
            return
        outside = [self.factors[model].norm_outside_range(self.gradient[:, model]) for model in models]
        in_range = np.array(outside) <= LOSS_ROUNDING * np.sqrt(self.loss[models])
        least = self.models.least_decrement(self.theta[:, models], self.gradient[:, models], models)
        consistent = in_range & (least <= MAX_CONTRADICTION * self.last_decrement[models])
        settled, contradicted = models[consistent], models[~consistent]
        self.theta[:, settled] += self.last_move[:, settled]
        self.n_steps[settled] += 1
        self.converged[settled] = True
        # a factor of the point itself is no remedy
        known = (self.n_by_factor[contradicted] == 0) & (self.n_matrices[contradicted] > 0)
        self.active = contradicted[~known]
        self.refused[self.active] = True

    def _compute_matrices(self, models: Codes) -> None:
        """Compute F of some models at their points; no pair refers to it, and the rate of the next step is unknown."""
        for model, factor in zip(models, self.models.factors(self.theta[:, models], models), strict=True):
            self.factors[model] = factor
        self.n_matrices[models] += 1
        self.n_by_factor[models] = 0
        self.refused[models] = False
        self.decrement[models] = self.first[models] = np.nan
        for pair in self.pairs:
            pair.inverse[models] = 0.0

    def _try(self, move: Array, decrement: Array) -> None:
        """Take the steps that do not raise the loss, and prepare others for those that do."""
        active, before = self.active, self.loss[self.active]
        trial = self.theta[:, active] + move
        loss, gradient = self.models.measure(trial, active)
        accepted = loss <= before + LOSS_ROUNDING * abs(before)
        self._remember(move, gradient - self.gradient[:, active], accepted)
        taken, refused = active[accepted], active[~accepted]
        self.theta[:, taken], self.gradient[:, taken] = trial[:, accepted], gradient[:, accepted]
        self.loss[taken], self.decrement[taken] = loss[accepted], decrement[accepted]
        self.first[taken] = np.where(self.n_by_factor[taken] == 0, decrement[accepted], self.first[taken])
        # the rate of a shortened step says nothing about the next
        shortened = taken[self.length[taken] < 1.0]
        self.decrement[shortened], self.n_by_factor[shortened] = np.nan, -1
        self.n_steps[taken] += 1
        self.n_by_factor[taken] += 1
        self.length[taken] = 1.0
        self._refuse(refused)

    def _remember(self, move: Array, change: Array, accepted: Mask) -> None:
        """Store the pairs of accepted steps."""
        taken = self.active[accepted]
        step, changed = np.zeros_like(self.theta), np.zeros_like(self.theta)
        step[:, taken], changed[:, taken] = move[:, accepted], change[:, accepted]
        self.pairs = [*self.pairs[-MAX_PAIRS + 1 :], Pair.of(step, changed)]

    def _refuse(self, models: Codes) -> None:
        """Have F computed where the factor is of another point; shorten a Newton step, or give the model up."""
        is_newton = (self.n_by_factor[models] == 0) & (self.n_matrices[models] > 0)
        self.refused[models] = ~is_newton
        self.length[models[is_newton]] *= 0.25
        given_up = models[self.length[models] < 0.25**MAX_REDUCTIONS]
        self.active = np.setdiff1d(self.active, given_up, assume_unique=True)


def _measured_starts(models: ManyModels, starts: Sequence[Start]) -> tuple[Array, Array]:
    """Return the losses ``(j, M)`` and gradients ``(j, q, M, d)`` of j starts; infinite losses of those not measured.

    Where a prediction has come true, no further start of a model is measured.
    """
    n_models = starts[0].theta.shape[1]
    losses = np.full((len(starts), n_models), np.inf)
    gradients = np.zeros((len(starts), *starts[0].theta.shape))
    needed = np.arange(n_models)
    for number, start in enumerate(starts):
        if start.measured is not None:
            losses[number], gradients[number] = start.measured
        elif needed.size:
            losses[number, needed], gradients[number][:, needed] = models.measure(start.theta[:, needed], needed)
        if start.predicted is not None:
            decrease = losses[:number].min(axis=0, initial=np.inf) - start.predicted
            came_true = abs(losses[number] - start.predicted) <= MAX_SURPRISE * decrease
            needed = needed[~came_true[needed]]
    return losses, gradients
