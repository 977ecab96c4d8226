"""The search for separated rows at the end of a fit without a penalty, or with hardly any, and its warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._inputs.columns import INTERCEPT, feature_names
from sknatgrad._inputs.notices import counted_rows
from sknatgrad._model.separation import MAX_NAMED_COLUMNS, StepKernel, separated_by_step
from sknatgrad._model.separation_search import SeparationSearch, has_free_features, has_weak_features
from sknatgrad.exceptions import SeparationWarning

if TYPE_CHECKING:
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.separation import SeparationStatistics
    from sknatgrad._model.separation_search import SeparatingDirection
    from sknatgrad._solver.problem import State
    from sknatgrad._solver.records import NewtonDecrement

REMEDY = "set a finite C (the default is 1.0), or drop the columns"


def search_of(estimator: Configuration, data: TrainingData, prior: Prior) -> SeparationSearch:
    """Return the search for a direction that separates rows by class, which has not begun."""
    layout, program_size = data.layout, estimator._limits.fit_program_size  # noqa: SLF001 - a parameter
    sizes = len(layout.classes), layout.intercept, program_size
    return SeparationSearch(data.source, prior.precision, *sizes, layout.centres)


class FitEnd(NamedTuple):
    """The end of a descent, and its prior, of the columns that the fit has."""

    state: State
    prior: Prior
    converged: bool

    @property
    def newton(self) -> NewtonDecrement | None:
        """The Newton step that passed the convergence test; None if none did."""
        return self.state.to_optimum if self.converged else None


def separation_notices(
    estimator: Configuration, data: TrainingData, search: SeparationSearch, end: FitEnd
) -> list[Warning]:
    """Return the warning about rows that are separated by class, if any are and no penalty matters."""
    layout = data.layout
    free = has_unpenalised_features(end.prior, intercept=layout.intercept)
    weak = end.converged and end.prior.quadratic is None
    weak = weak and has_weak_features(end.prior.precision, intercept=layout.intercept)
    if not (free or weak):
        return []
    names = layout.column_names(feature_names(estimator, layout.n_features), INTERCEPT)
    if free and not _is_ruled_out(data, end, search):
        notices = _unpenalised_notices(data, search, end, names)
        if notices:
            return notices
    # no direction of features without any penalty was found
    search = search.with_weak_features()
    if not weak or _is_ruled_out(data, end, search):
        return []
    direction = search.direction
    if direction is None or not search.is_hardly_penalised(end.state.theta):
        return []
    return [SeparationWarning(_found(direction, names, intercept=layout.intercept) + _hardly_penalised(estimator))]


def _unpenalised_notices(data: TrainingData, search: SeparationSearch, end: FitEnd, names: list[str]) -> list[Warning]:
    if search.direction is not None:
        found = _found(search.direction, names, intercept=data.layout.intercept)
        return [SeparationWarning(found + _unpenalised(end.prior))]
    newton, state = end.newton, end.state
    if search.decided or newton is None or end.prior.proper:
        return []
    decrement = state.decrement * state.point.weight
    statistics = separated_by_step(data.source, state.theta - newton.move, newton.move, decrement, state.point.loss)
    if statistics is None:
        return []
    return [SeparationWarning(_apparent_notice(statistics, [names[j] for j in statistics.columns(newton.move)]))]


def has_unpenalised_features(prior: Prior, *, intercept: bool) -> bool:
    """Say whether a feature has no penalty at all, so that its coefficient may have no finite optimum."""
    return prior.quadratic is None and has_free_features(prior.precision, intercept=intercept)


def _is_ruled_out(data: TrainingData, end: FitEnd, search: SeparationSearch) -> bool:
    """Say whether a Newton step proves that no rows are separated by columns that are not penalised, or hardly.

    It is the step of a likelihood that is penalised in all other columns. F + Λ in place of F shortens it along a
    separating direction with the margin m, in nats, to the share m / (1 + m).
    """
    newton = end.newton
    if newton is None:
        return False
    theta, move = end.state.theta - newton.move, newton.move
    chosen = list(search.columns.chosen)
    weak_gradient = np.zeros_like(theta)
    weak_gradient[:, chosen] = end.prior.gradient(theta)[:, chosen]
    if weak_gradient.any():
        if newton.resolve is None:
            return False
        move = move + newton.resolve(-weak_gradient)
    # the error of a step is compared with the probabilities
    kernel = StepKernel(theta, move, newton.well_conditioned and newton.squared_error == 0.0)
    statistics = data.source.total(kernel)
    return statistics.rules_out_separation(newton.squared_error, well_conditioned=newton.well_conditioned)


def _found(direction: SeparatingDirection, names: list[str], *, intercept: bool) -> str:
    """Say how many rows are separated by class, and by which columns."""
    columns, more = direction.columns(MAX_NAMED_COLUMNS, intercept=intercept)
    named = ", ".join(names[j] for j in columns) + (f" and {more} more" if more else "")
    how = "completely" if direction.complete else "in part"
    return f"The classes are separated {how}, {counted_rows(direction.n_rows)} along a direction of {named}"


def _unpenalised(prior: Prior) -> str:
    without = "without a penalty" if prior.proper else "with C=inf"
    return (
        f": {without} these coefficients have no finite optimum, and their values are meaningless; {REMEDY}. "
        "sknatgrad.inference.infer prints the direction."
    )


def _hardly_penalised(estimator: Configuration) -> str:
    penalty = "the prior" if estimator.prior is not None else f"C={estimator.C:g}"
    return (
        f", and the penalty hardly penalises: it alone keeps these coefficients finite, and {penalty} decides their "
        "values; set a smaller C (the default is 1.0), or drop the columns."
    )


def _apparent_notice(statistics: SeparationStatistics, names: list[str]) -> str:
    """Say how many rows seem to be separated by class, and by which columns."""
    rows = f"{counted_rows(statistics.n_rows)} {'is' if statistics.n_rows == 1 else 'are'}"
    return (
        f"The classes seem to be separated in part: {rows} moved by up to {statistics.max_margin:.2g} nats by a "
        f"further step, although the loss has converged, mostly through {', '.join(names)}; a linear program could "
        "not decide. If they are, these coefficients have no finite optimum with C=inf, and their "
        f"values are meaningless; {REMEDY}."
    )
