"""The models of several training sets and values of C, fitted together.

For each C a point near the optimum of all rows is found (`path`), with sums of each group of rows. Each training set
takes its own Newton step from there, and all models go on together (`many_models`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sknatgrad._estimator.cv_task import ascending, hardly_penalises, relative_factors
from sknatgrad._inputs.weights import class_factors
from sknatgrad._model.layout import prior_precision
from sknatgrad._rows.training_sets import RowGroups
from sknatgrad._solver.many_models import Ending, ManyModels, Start, descend_together, starts_at
from sknatgrad._solver.path import Path
from sknatgrad._solver.plan import SAMPLE_DIVISOR
from sknatgrad._solver.stopping import FinalTolerance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sknatgrad._definitions import Array, Codes
    from sknatgrad._estimator.cv_task import FoldFits, FoldTask
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.training_sets import TrainingSets
    from sknatgrad._solver.many_models import Pair, PenalisedPoint
    from sknatgrad._solver.path import PathPoint

# Steps that `max_iter` allows at least where models are fitted together: it does not bound these steps, which are 2 to
# 20 for each model.
MIN_MAX_ITER = 50
# Values of C whose models are fitted together, and models at least and at most: with fewer, products of matrices are
# thin; with more, models of C far apart begin at the same distances from the optima of all rows. Ten values of C on
# standardised adult, five folds: 0.9 s with 10 and 25 models, 1.0 with 50; sparse and raw 0.57 with 25, 0.64 with 50;
# ten folds 1.02 s with 25, 0.88 with 50, 1.06 with 100. Where calls of Python take most of the time, in small tables,
# many are best: breast cancer 28.8 ms with 25 and 25.0 with 50, ten folds 45.5 with 25 and 35.6 with 100.
CS_AT_ONCE, MIN_AT_ONCE, MAX_AT_ONCE = 5, 25, 100
# Rows for each parameter that a sample has at least, whose optima are where Newton's method starts out of core. Fifty
# models of 20,000 x 100 and 20 rows a parameter take 12 to 22 passes with it, 20 to 34 without; of 20,000 x 200 and 10
# rows a parameter 13 to 41 and 18 to 33.
ROWS_PER_PARAMETER = 16
# Matrices of F at a time for each training set and all rows: of a group, of the set, and its factor.
MATRICES = 3


class TogetherFits(NamedTuple):
    """The models that are fitted together: those of some training sets and values of C."""

    task: FoldTask
    sets: TrainingSets  # of the T that are chosen
    groups: RowGroups | None  # whose sums are those of the sets; None if there are many
    splits: Codes  # (T,), their numbers
    chosen: Codes  # indices of the values of C that penalise, ascending

    @classmethod
    def of(cls, task: FoldTask) -> TogetherFits | None:
        """Return the models that can be fitted together if that costs less; None if there are none."""
        model, layout, limits = task.model, task.data.layout, task.model._limits  # noqa: SLF001 - a parameter
        is_newton = model.fisher == "true" and model.learning_rate == "auto" and model.max_kl is None
        if not is_newton or model.prior is not None or model.max_iter < MIN_MAX_ITER:
            return None
        chosen = np.array([place for place in ascending(task) if not hardly_penalises(task.Cs[place])], dtype=np.intp)
        # without rows of a class its intercept has no optimum
        splits = np.flatnonzero(task.totals.all(axis=1))
        size, shape = int(np.prod(layout.shape)), task.data.cost_shape
        n_bytes = 8 * size**2 * MATRICES * (len(splits) + 1)
        cheap = shape.together_seconds(max(len(splits), 1)) <= shape.in_turn_seconds()
        if not (chosen.size and splits.size and cheap and n_bytes <= limits.matrix_bytes):
            return None
        sets = task.sets(splits, relative_factors(task, splits))
        return cls(task, sets, sets.grouped(), splits, chosen)

    def run(self, fits: FoldFits, start: Array | None = None) -> None:
        """Store the coefficients of all models that converge, the largest penalty first.

        `start` are coefficients of all columns, ``(q, d)``, near the optimum of all rows at these values of C.
        """
        groups = self.groups or RowGroups.single()
        path = Path(self.task.data.source, groups, np.ones(groups.size))
        first = None if start is None else self.task.data.layout.restrict(start)
        starts: list[Array] = []
        if self.task.data.source.out_of_core:
            starts = self._starts_from_sample() if first is None else [first] * self.chosen.size
        last: Stage | None = None
        for prepared in self._prepared_at_once(path, starts, fits) if starts else self._prepared(path, fits, first):
            if prepared:
                last = self._stage(prepared, last, fits)

    @property
    def _precisions(self) -> list[Array]:
        """The prior precision of each chosen C, ``(d,)``."""
        layout = self.task.data.layout
        of_all = [prior_precision(C, layout.n_features, intercept=layout.intercept) for C in self.task.Cs[self.chosen]]
        return [layout.restrict_precision(precision) for precision in of_all]

    @property
    def _at_once(self) -> int:
        """Number of models that are fitted together; the factors of more than 25 take what one matrix may at most."""
        shape, limits = self.task.data.cost_shape, self.task.model._limits  # noqa: SLF001 - a parameter
        wanted = MAX_AT_ONCE if shape.n_values < limits.min_sampled_values else CS_AT_ONCE * len(self.splits)
        fit_into_memory = limits.matrix_bytes // (8 * shape.size**2)
        return int(np.clip(min(wanted, fit_into_memory), MIN_AT_ONCE, MAX_AT_ONCE))

    def _prepared(self, path: Path, fits: FoldFits, start: Array | None) -> Iterator[list[Prepared]]:
        """Yield the models of a few values of C after the other, those whose point near the optimum was found."""
        waiting: list[Prepared] = []
        at_once = self._at_once
        points = path.points(self._precisions, np.zeros(self.task.data.layout.shape) if start is None else start)
        for place, precision, point in zip(self.chosen, self._precisions, points, strict=True):
            waiting += self._at_point(int(place), precision, point, fits)
            if len(waiting) * len(self.splits) >= at_once:
                yield waiting
                waiting = []
        yield waiting

    def _prepared_at_once(self, path: Path, starts: list[Array], fits: FoldFits) -> Iterator[list[Prepared]]:
        """Yield the same for rows out of core: passes serve as many values of C as matrices fit into memory."""
        size, precisions, zero = self.task.data.cost_shape.size, self._precisions, np.zeros(self.task.data.layout.shape)
        matrix_bytes = self.task.model._limits.matrix_bytes  # noqa: SLF001 - a parameter
        at_once = max(int(matrix_bytes / (MATRICES * 8 * size**2 * (len(self.splits) + 1))), 1)
        for first in range(0, self.chosen.size, at_once):
            part = slice(first, first + at_once)
            points = path.points_at_once(precisions[part], starts[part])
            prepared: list[Prepared] = []
            for place, precision, point in zip(self.chosen[part], precisions[part], points, strict=True):
                # a start that is of no use is none
                found = point if point.near else next(path.points([precision], zero))
                prepared += self._at_point(int(place), precision, found, fits)
            yield prepared

    def _starts_from_sample(self) -> list[Array]:
        """Return the optimum of a sample for each chosen C, which takes no pass; none if the sample is too small."""
        shape = self.task.data.cost_shape
        needed = ROWS_PER_PARAMETER * shape.size
        available = min(shape.n_rows, int(shape.sample_bytes / (8.0 * shape.stored_per_row)))
        n_rows = min(max(shape.n_rows // SAMPLE_DIVISOR, needed), available)
        if n_rows < needed:
            return []
        in_sample = Path(self.task.data.source.sample(n_rows), RowGroups.single(), np.ones(1))
        points = in_sample.points(self._precisions, np.zeros(self.task.data.layout.shape))
        return [point.sums.theta for point in points]

    def _at_point(self, place: int, precision: Array, point: PathPoint, fits: FoldFits) -> list[Prepared]:
        """Store a point of all rows; return the models of its C there, none if the steps to it failed."""
        fits.start[place], fits.has_start[place] = self.task.data.layout.expand(point.sums.theta), True
        if not point.near:
            return []
        # of each training set in the sums of the groups
        counts = self._shares() if self.groups is None else self.groups.counts
        at_point = [point.sums.weighted(count).penalised(precision) for count in counts]
        return [Prepared(place, point.n_steps, precision, point.sums.theta, at_point, self.groups is not None)]

    def _shares(self) -> Array:
        """Return the weight of each training set, as a share of that of all rows, ``(T, 1)``."""
        task = self.task
        weights = (task.totals * task.factors)[self.splits].sum(axis=1)
        of_all = class_factors(task.model.class_weight, task.data.layout.classes, task.data.totals)
        shares: Array = weights[:, None] / float(task.data.totals @ of_all)
        return shares

    def _stage(self, prepared: Sequence[Prepared], last: Stage | None, fits: FoldFits) -> Stage:
        """Fit the models of some values of C, and store those that converge."""
        n_sets, layout = len(self.splits), self.task.data.layout
        numbers = np.tile(np.arange(n_sets), len(prepared))
        models = ManyModels(
            replace(cast("MemorySource", self.task.data.source), n_logits=layout.n_logits * numbers.size),
            self.sets,
            numbers,
            np.repeat([each.precision for each in prepared], n_sets, axis=0),
        )
        ending = Ending(
            FinalTolerance.of(self.task.model.tol).order_independent,
            self.task.data.cost_shape.steps_per_matrix(numbers.size),
        )
        factors = [point.factor for each in prepared for point in each.at_point]
        ended = descend_together(models, self._starts(prepared, last), factors, ending)
        for place, number in enumerate(numbers):
            split, each = self.splits[number], prepared[place // n_sets]
            fits.theta[split, each.place] = layout.expand(ended.theta[:, place])
            fits.n_iter[split, each.place] = each.n_steps + ended.n_steps[place]
            fits.known[split, each.place] = ended.converged[place]
        end = np.arange(numbers.size)[-n_sets:]
        from_optimum = ended.theta[:, end] - prepared[-1].optimum[:, None]
        distance = np.where(ended.converged[end, None], from_optimum, 0.0)
        return Stage(prepared[-1].precision, distance, [pair.only(end) for pair in ended.pairs])

    def _starts(self, prepared: Sequence[Prepared], last: Stage | None) -> list[Start]:
        """Return where the models may start.

        At the optimum of all rows; a Newton step from there; and as far from there as those of the C before ended.
        """
        n_sets, precisions = len(self.splits), np.array([each.precision for each in prepared])
        optima = np.repeat([each.optimum for each in prepared], n_sets, axis=0).swapaxes(0, 1)
        at_points = [point for each in prepared for point in each.at_point]
        starts = starts_at(optima, at_points, exact=prepared[0].exact)
        if last is not None:
            pairs = [pair.repeated(precisions - last.precision) for pair in last.pairs]
            starts.append(Start(optima + np.tile(last.distance, (1, len(prepared), 1)), pairs))
        return starts


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
