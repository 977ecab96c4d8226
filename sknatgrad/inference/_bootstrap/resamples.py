"""Fits to the resamples, and what became of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._model.separation_search import SeparationSearch, has_free_features
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.training_sets import CountedSets
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.descent import descend
from sknatgrad._solver.many_models import Ending, ManyModels, Start, descend_together
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.records import Outcome
from sknatgrad._solver.stopping import FinalTolerance
from sknatgrad._solver.warm_up import starting_point
from sknatgrad.inference._bootstrap.checks import MIN_RESAMPLES

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask
    from sknatgrad._model.information.dense import DensePrecision
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.threads import Workers
    from sknatgrad.inference._bootstrap.draws import Draws
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

# Excess of the loss that a fit to a resample may leave, as a share of it. Coefficients of 1,000 observations at a mean
# loss of 0.5 nats are then off by 3e-6 of their standard errors.
NEGLIGIBLE_ERROR = 1e-14
# resamples that are fitted together: 1,000 of breast cancer, three columns, take 0.20 s with 50 to 200
AT_ONCE = 100


class Resamples(NamedTuple):
    """The coefficients of the resamples that have an optimum.

    Attributes
    ----------
    params : ndarray of shape (n_fitted, n_classes - 1, n_columns)
        Coefficients, as those of the result.

    centred_params : ndarray of the same shape
        The same for rows less the centres of columns far from zero.

    numbers : ndarray of shape (n_fitted,)
        The number of each resample; ``draws.weights(number)`` has its weights.

    n_resamples : int
        Number of resamples that were drawn.

    n_separated : int
        Number of those in which rows are separated by class, so that without a penalty there is no optimum.

    n_without_class : int
        Number of those that lack a class.

    n_failed : int
        Number of those whose fits did not converge for other reasons.

    draws : Draws
        The weights of the rows in each resample.
    """

    params: Array
    centred_params: Array
    numbers: Codes
    n_resamples: int
    n_separated: int
    n_without_class: int
    n_failed: int
    draws: Draws

    @property
    def reason(self) -> str:
        """Why some of the resamples have no part in the result; empty if all have."""
        parts = [
            f"{number:,} {text}"
            for number, text in (
                (self.n_separated, "are separated by class"),
                (self.n_without_class, "lack a class"),
                (self.n_failed, "did not converge"),
            )
            if number
        ]
        return f"of {self.n_resamples:,} resamples {' and '.join(parts)}, and are omitted" if parts else ""


class ResampledFits:
    """The fits of one model to resamples of its rows."""

    def __init__(self, fitted: FittedModel, row_sums: RowSums, draws: Draws, workers: Workers) -> None:
        rows, kept = row_sums.in_memory, row_sums.kept
        features = kept[: fitted.theta.shape[1] - fitted.intercept]
        centres = rows.centres if rows.centres is None else rows.centres[features]
        X = rows.X if features.all() else rows.X[:, np.flatnonzero(features)]
        self.draws, self.row_sums, self.fitted, self.kept = draws, row_sums, fitted, kept
        self.theta = fitted.theta[:, kept]
        prior = fitted.prior
        self.prior: Prior = prior._replace(
            precision=prior.precision[kept], mean=None if prior.mean is None else prior.mean[:, kept]
        )
        self.weighted = MemorySource(
            X, rows.codes, rows.weight, len(self.theta), workers, limits=row_sums.limits, centres=centres
        )
        self.shape = Shape.of(X, *self.theta.shape)._replace(centred=centres is not None)

    def run(self) -> Resamples:
        """Fit all resamples; at least two need an optimum."""
        n_resamples = self.draws.seeds.size
        theta = np.zeros((n_resamples, *self.theta.shape))
        outcomes = np.full(n_resamples, Outcome.converged, dtype=object)
        factor = self._information().precision(self.prior.precision)
        for first in range(0, n_resamples, AT_ONCE):
            numbers = np.arange(first, min(first + AT_ONCE, n_resamples))
            counts = np.array([self.draws.counts(int(number)) for number in numbers])
            has_classes = self._has_classes(counts)
            outcomes[numbers[~has_classes]] = None
            ended, converged = self._descend(counts[has_classes], factor)
            chosen = numbers[has_classes]
            theta[chosen] = ended
            for number in chosen[~converged]:
                theta[number], outcomes[number] = self._alone(int(number))
        return self._collected(theta, outcomes)

    def _information(self) -> DenseInformation:
        sums = self.weighted.total(MeasureKernel(self.theta, TrueExpectation(), DenseInformation))
        return sums.information

    def _has_classes(self, counts: Codes) -> Mask:
        """Say whether each resample has all classes that have weight."""
        totals = self.row_sums.counts.class_weights
        present = np.array([np.bincount(self.weighted.codes, count * self.draws.base, totals.size) for count in counts])
        return np.asarray(((present > 0.0) | (totals == 0.0)).all(axis=1))

    def _descend(self, counts: Codes, factor: DensePrecision) -> tuple[Array, Mask]:
        """Return the coefficients ``(M, q, d)`` of some resamples, and whether each has converged."""
        n_models = len(counts)
        if not n_models:
            return np.zeros((0, *self.theta.shape)), np.zeros(0, dtype=bool)
        small = counts.astype(np.min_scalar_type(int(counts.max())))
        sets = CountedSets(small, np.ones((n_models, self.row_sums.contrasts.n_classes)))
        source = replace(self.weighted, weight=self.draws.base, n_logits=len(self.theta) * n_models)
        precision = np.tile(self.prior.precision, (n_models, 1))
        models = ManyModels(source, sets, np.arange(n_models), precision, self.prior.mean)
        start = Start(np.repeat(self.theta[:, None], n_models, axis=1))
        ending = Ending(NEGLIGIBLE_ERROR, self.shape.steps_per_matrix(n_models))
        ended = descend_together(models, [start], [factor] * n_models, ending)
        return ended.theta.swapaxes(0, 1), ended.converged

    def _alone(self, number: int) -> tuple[Array, Outcome]:
        """Return the coefficients and the outcome of a fit with damping; a separated one has no optimum."""
        source = replace(self.weighted, weight=self.draws.weights(number))
        plan = choose_plan("true", self.shape, self.row_sums.limits, subsample=False)
        tolerance = FinalTolerance(NEGLIGIBLE_ERROR, NEGLIGIBLE_ERROR)
        objective = make_objective(source, self.prior, plan, final_tolerance=tolerance)
        options = DescentOptions(penalised=self.prior.proper)
        intercept, contrasts = self.fitted.intercept, self.row_sums.contrasts
        search = None
        if has_free_features(self.prior.precision, intercept=intercept):
            sizes = contrasts.n_classes, intercept, self.row_sums.limits.fit_program_size
            search = SeparationSearch(source, self.prior.precision, *sizes, source.centres)
            options = options._replace(rows_are_separated=search.found)
        for state, step in descend(objective, starting_point(objective, self.theta), options):
            theta, outcome = state.theta, step.outcome
        if outcome in {Outcome.separable, Outcome.unbounded} or (search is not None and search.found()):
            return theta, Outcome.separable
        return theta, outcome

    def _collected(self, theta: Array, outcomes: Array) -> Resamples:
        fitted = outcomes == Outcome.converged
        n_fitted = int(fitted.sum())
        separated, without = int((outcomes == Outcome.separable).sum()), sum(each is None for each in outcomes)
        if n_fitted < MIN_RESAMPLES:
            message = (
                f"n_resamples={outcomes.size}: {n_fitted} of them have an optimum, where a covariance needs two; "
                "draw more, set a finite C, or use another covariance."
            )
            raise ValueError(message)
        whole = np.zeros((n_fitted, self.theta.shape[0], self.kept.size))
        whole[..., self.kept] = theta[fitted]
        contrasts, centres = self.row_sums.contrasts, self.fitted.centres
        centred = np.where(self.kept, [contrasts.params(each) for each in whole], np.nan)
        raw = np.where(self.kept, [contrasts.params(recentred_theta(each, centres, None)) for each in whole], np.nan)
        numbers = cast("Codes", np.flatnonzero(fitted))
        failed = outcomes.size - n_fitted - separated - without
        return Resamples(raw, centred, numbers, outcomes.size, separated, without, failed, self.draws)
