"""The fits of a cross-validation: one model for each training set and value of C.

The models of one C are near each other. Where F is a matrix that is cheap enough, a point near the optimum of all rows
is found for each C (`path`); each training set takes its own Newton step from there, and all models go on together
(`many_models`). Any other model is fitted to its rows as `fit` does it, from the nearest coefficients that are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.fit import build_objective, plan_fit, run_descent
from sknatgrad._inputs.training_data import memory_data
from sknatgrad._inputs.weights import class_factors, totals_of_all, weighted
from sknatgrad._model.layout import WarmStart, join, prior_precision
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._model.separation import MAX_WEAK_PRECISION
from sknatgrad._rows.matrices import pick_rows
from sknatgrad._rows.source import LabelledRows
from sknatgrad._rows.training_sets import RowGroups, TrainingSets
from sknatgrad._solver.many_models import Ending, ManyModels, Start, descend_together
from sknatgrad._solver.path import Path
from sknatgrad._solver.stopping import FinalTolerance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._estimator.cv_splits import Split
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.threads import Workers
    from sknatgrad._solver.many_models import Pair
    from sknatgrad._solver.path import PenalisedPoint
    from sknatgrad._typing import Array, Codes, Mask

# Steps that `max_iter` allows at least where models are fitted together: it does not bound these steps, which are 2 to
# 20 for each model.
MIN_MAX_ITER = 50
# Length of an extrapolation in log C at most, in units of the distance of the two values that it is made from.
MAX_EXTRAPOLATION = 1.0
# Models that are fitted together: with fewer, products of matrices are thin; with more, models of C far apart begin at
# the same distances. Ten values of C on standardised adult: 0.9 s with 10 and 25, 1.1 with 15, 1.4 with 50.
AT_ONCE = 25


@dataclass(frozen=True)
class CrossValidation:
    """What is fitted: rows, their splits and the values of C."""

    model: Any  # a plain estimator, whose C is set for each fit
    rows: LabelledRows  # of all columns, with the weights that the user gave
    splits: Sequence[Split]
    counts: Codes  # (T, n), how often each row is in the training rows of each split
    Cs: Array  # (C,)
    data: TrainingData  # of all rows
    workers: Workers

    @property
    def ascending(self) -> Codes:
        """Indices of the values of C, the largest penalty first, whose optimum is nearest to zero."""
        return np.argsort(self.Cs, kind="stable")

    def factors(self) -> Array:
        """Return the weight of each class in each training set, ``(T, K)``."""
        return np.array([self._factors(count) for count in self.counts])

    def totals(self, count: Codes) -> Array:
        """Return the sum of the weights of each class in a training set, ``(K,)``."""
        return totals_of_all(self.rows.codes, self.rows.weight * count, len(self.data.layout.classes))

    def _factors(self, count: Codes) -> Array:
        return class_factors(self.model.class_weight, self.data.layout.classes, self.totals(count))


@dataclass
class FoldFits:
    """The coefficients of each training set and value of C, as they become known."""

    theta: Array  # (T, C, q, d), of all columns, for rows less the centres of all rows
    n_iter: Codes  # (T, C)
    known: Mask  # (T, C), whether a fit has ended
    start: Array  # (C, q, d), near the optimum of all rows
    has_start: Mask  # (C,), whether that is known
    notices: list[Warning] = field(default_factory=list)

    def refit_start(self, place: int) -> Array:
        """Return coefficients near the optimum of all rows, ``(q, d)``."""
        start: Array = self.start[place] if self.has_start[place] else self.theta[:, place].mean(axis=0)
        return start

    @classmethod
    def none_yet(cls, task: CrossValidation) -> FoldFits:
        """Return the state before the first fit."""
        layout = task.data.layout._replace(groups=None)
        shape = len(task.splits), task.Cs.size
        theta, known = np.zeros((*shape, *layout.shape)), np.zeros(shape, dtype=bool)
        start, has_start = np.zeros((task.Cs.size, *layout.shape)), np.zeros(task.Cs.size, dtype=bool)
        return cls(theta, np.zeros(shape, dtype=np.int32), known, start, has_start)


def fit_folds(task: CrossValidation) -> FoldFits:
    """Fit a model to each training set with each value of C."""
    fits = FoldFits.none_yet(task)
    together = TogetherFits.of(task)
    if together is not None:
        together.run(fits)
    for split in range(len(task.splits)):
        if not fits.known[split].all():
            _fit_in_turn(task, split, fits)
    return fits


class TogetherFits(NamedTuple):
    """The models that are fitted together: those of some training sets and values of C."""

    task: CrossValidation
    sets: TrainingSets  # of the T that are chosen
    splits: Codes  # (T,), their numbers
    chosen: Codes  # indices of the values of C that penalise, ascending

    @classmethod
    def of(cls, task: CrossValidation) -> TogetherFits | None:
        """Return the models that can be fitted together if that costs less; None if there are none."""
        model, layout, limits = task.model, task.data.layout, task.model._limits  # noqa: SLF001 - a parameter
        is_newton = model.fisher == "true" and model.learning_rate == "auto" and model.max_kl is None
        if not is_newton or model.prior is not None or model.max_iter < MIN_MAX_ITER:
            return None
        chosen = task.ascending[1.0 / task.Cs[task.ascending] > MAX_WEAK_PRECISION]
        # without rows of a class its intercept has no optimum
        splits = np.flatnonzero([task.totals(count).all() for count in task.counts])
        size, shape = int(np.prod(layout.shape)), task.data.cost_shape
        n_bytes = 8 * size**2 * 3 * (len(splits) + 1)
        cheap = shape.together_seconds(max(len(splits), 1)) <= shape.in_turn_seconds()
        if not (chosen.size and splits.size and cheap and n_bytes <= limits.matrix_bytes):
            return None
        of_all = class_factors(model.class_weight, layout.classes, task.data.totals)
        factors = np.divide(task.factors()[splits], of_all, out=np.zeros((splits.size, of_all.size)), where=of_all > 0)
        return cls(task, TrainingSets(task.counts[splits], factors), splits, chosen)

    def run(self, fits: FoldFits) -> None:
        """Store the coefficients of all models that converge, the largest penalty first."""
        layout, groups = self.task.data.layout, self.sets.grouped()
        precisions = [
            layout.restrict_precision(prior_precision(C, layout.n_features, intercept=layout.intercept))
            for C in self.task.Cs[self.chosen]
        ]
        n_groups = 1 if groups is None else groups.size
        path = Path(self.task.data.source, groups or RowGroups.single(len(self.task.rows.codes)), np.ones(n_groups))
        # of each training set in the sums of the groups
        counts, exact = self._shares() if groups is None else groups.counts, groups is not None
        points = path.points(precisions, np.zeros(layout.shape))
        waiting: list[Prepared] = []
        last: Stage | None = None
        for place, precision, point in zip(self.chosen, precisions, points, strict=True):
            fits.start[place], fits.has_start[place] = layout.expand(point.sums.theta), True
            if point.near:
                at_point = [point.sums.weighted(count).penalised(precision) for count in counts]
                waiting.append(Prepared(int(place), point.n_steps, precision, point.sums.theta, at_point, exact))
            if len(waiting) * len(self.splits) >= AT_ONCE or (waiting and place == self.chosen[-1]):
                last, waiting = self._stage(waiting, last, fits), []

    def _shares(self) -> Array:
        """Return the weight of each training set, as a share of that of all rows, ``(T, 1)``."""
        source = cast("MemorySource", self.task.data.source)
        sets = zip(self.sets.counts, self.sets.factors, strict=True)
        weights = [float((source.weight * count * factors[source.codes]).sum()) for count, factors in sets]
        return np.array(weights)[:, None] / float(source.weight.sum())

    def _stage(self, prepared: Sequence[Prepared], last: Stage | None, fits: FoldFits) -> Stage:
        """Fit the models of some values of C, and store those that converge."""
        n_sets, layout = len(self.splits), self.task.data.layout
        numbers = np.tile(np.arange(n_sets), len(prepared))
        precisions = np.array([each.precision for each in prepared])
        models = ManyModels(
            replace(cast("MemorySource", self.task.data.source), n_logits=layout.n_logits * numbers.size),
            self.sets,
            numbers,
            np.repeat(precisions, n_sets, axis=0),
        )
        ending = Ending(
            FinalTolerance.of(self.task.model.tol).order_independent, self.task.data.cost_shape.steps_per_matrix()
        )
        optima = np.repeat([each.optimum for each in prepared], n_sets, axis=0).swapaxes(0, 1)
        at_points = [point for each in prepared for point in each.at_point]
        starts = [Start(optima + np.stack([point.move for point in at_points], axis=1))]
        measured = np.array([point.loss for point in at_points]), np.stack([p.gradient for p in at_points], axis=1)
        starts.append(Start(optima, measured=measured if prepared[0].exact else None))
        if last is not None:
            pairs = [pair.repeated(precisions - last.precision) for pair in last.pairs]
            starts.append(Start(optima + np.tile(last.distance, (1, len(prepared), 1)), pairs))
        ended = descend_together(models, starts, [point.factor for point in at_points], ending)
        for place, number in enumerate(numbers):
            split, each = self.splits[number], prepared[place // n_sets]
            fits.theta[split, each.place] = layout.expand(ended.theta[:, place])
            fits.n_iter[split, each.place] = each.n_steps + ended.n_steps[place]
            fits.known[split, each.place] = ended.converged[place]
        end = np.arange(numbers.size)[-n_sets:]
        distance = np.where(ended.converged[end, None], ended.theta[:, end] - optima[:, end], 0.0)
        return Stage(precisions[-1], distance, [pair.only(end) for pair in ended.pairs])


class Prepared(NamedTuple):
    """The models of one C before they descend."""

    place: int  # of C among all values
    n_steps: int  # to the point near the optimum of all rows
    precision: Array  # (d,)
    optimum: Array  # (q, d), that point
    at_point: list[PenalisedPoint]  # of each training set there
    exact: bool  # whether these are sums over the rows of each set, and not shares of those of all rows


class Stage(NamedTuple):
    """What the models of one C know about those of the next."""

    precision: Array  # (d,)
    distance: Array  # (q, T, d), from the optimum of all rows; 0 of a model that has not converged
    pairs: list[Pair]  # of the steps


def _fit_in_turn(task: CrossValidation, split: int, fits: FoldFits) -> None:
    """Fit the models of a training set that are not known yet, each from those of the values of C before."""
    model, layout = task.model, task.data.layout._replace(groups=None)
    before: list[int] = []
    for place in task.ascending:
        if not fits.known[split, place]:
            model.C = float(task.Cs[place])
            start = _start(task, split, place, before, fits)
            attributes, notices = _fit_one(
                model, _data_of(task, split), None if start is None else WarmStart(start, layout)
            )
            theta = join(attributes["coef_"], attributes["intercept_"], with_intercept=layout.intercept)
            if attributes["_centres"] is not None:
                theta[:, -1] = attributes["_centred_intercept"]
            fits.theta[split, place] = recentred_theta(theta, attributes["_centres"], layout.centres)
            fits.known[split, place] = True
            fits.n_iter[split, place] = attributes["n_iter_"][0]
            fits.notices += notices
        before.append(int(place))


def _start(task: CrossValidation, split: int, place: int, before: list[int], fits: FoldFits) -> Array | None:
    """Return where a descent starts: on the line in log C through the optima of the two values of C before.

    Coefficients of separable rows grow with log C. Digits take 1.75 s with it, 2.0 from the optimum of the C before,
    and 5.3 from that of all rows.
    """
    if 1.0 / task.Cs[place] <= MAX_WEAK_PRECISION:
        # the last step of the descent is evidence of separation, so there has to be a descent
        return None
    if not before:
        start: Array | None = fits.start[place] if fits.has_start[place] else None
        return start
    last: Array = fits.theta[split, before[-1]]
    logs = np.log(task.Cs[[*before[-2:], place]])
    if len(before) == 1 or not np.isfinite(logs).all() or logs[1] == logs[0]:
        return last
    length = min((logs[2] - logs[1]) / (logs[1] - logs[0]), MAX_EXTRAPOLATION)
    extrapolated: Array = last + length * (last - fits.theta[split, before[-2]])
    return extrapolated


def _data_of(task: CrossValidation, split: int) -> TrainingData:
    """Return the training data of a split."""
    rows, count = task.rows, task.counts[split]
    totals = task.totals(count)
    if task.data.source.out_of_core:
        # a copy of the rows might not fit into memory
        picked = rows._replace(weight=rows.weight * count)
    else:
        train = np.flatnonzero(count)
        picked = LabelledRows(pick_rows(rows.X, train), rows.codes[train], rows.weight[train] * count[train])
    factors = class_factors(task.model.class_weight, task.data.layout.classes, totals)
    picked = picked._replace(weight=weighted(picked.weight, factors, picked.codes))
    return memory_data(task.model, picked, task.data.layout.classes, totals, task.workers)


def _fit_one(model: Any, data: TrainingData, start: WarmStart | None) -> tuple[dict[str, Any], list[Warning]]:
    """Return the attributes and the warnings of one fit."""
    plan = plan_fit(model, data)._replace(start=None if start is None else start.transfer(data.layout))
    result = run_descent(model, data, plan, build_objective(data, plan), FitMonitor(model))
    return cast("dict[str, Any]", result.attributes), result.notices
