"""The search for separated rows at the end of a fit without a penalty, or with hardly any, and its warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sknatgrad._inputs.columns import INTERCEPT, feature_names
from sknatgrad._model.separation import HARDLY_PENALISED, StepKernel, separated_by_step
from sknatgrad._model.separation_search import SeparationSearch, has_free_features
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
# columns that a message names, at most, so that it stays readable
MAX_NAMED_COLUMNS = 3


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

    @property
    def is_hardly_penalised(self) -> bool:
        """Whether the penalty at the optimum, by its value, does not matter."""
        prior = self.prior
        return self.converged and prior.quadratic is None and prior.value(self.state.theta) <= HARDLY_PENALISED


def separation_notices(
    estimator: Configuration, data: TrainingData, search: SeparationSearch, end: FitEnd
) -> list[Warning]:
    """Return the warning about rows that are separated by class, if any are and no penalty matters."""
    free = has_unpenalised_features(end.prior, intercept=data.layout.intercept)
    hardly = not free and end.is_hardly_penalised
    if not (free or hardly) or _is_ruled_out(data, end, hardly=hardly):
        return []
    layout = data.layout
    names = layout.column_names(feature_names(estimator, layout.n_features), INTERCEPT)
    if search.direction is not None:
        reason = _hardly_penalised(estimator) if hardly else _unpenalised(end.prior)
        return [SeparationWarning(_found(search.direction, names, intercept=layout.intercept) + reason)]
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


def _is_ruled_out(data: TrainingData, end: FitEnd, *, hardly: bool) -> bool:
    """Say whether the Newton step to the maximum of the likelihood proves that no rows are separated.

    Along a direction without a penalty it is that of the penalised likelihood, as Λ V = 0.
    """
    newton = end.newton
    if newton is None:
        return False
    theta, move = end.state.theta - newton.move, newton.move
    if hardly:
        if newton.resolve is None:
            return False
        # F + Λ in place of F shortens the step along a separating direction to the share m / (1 + m), m being the
        # margin of the rows in nats, which is large.
        move = move + newton.resolve(-end.prior.gradient(theta))
    kernel = StepKernel(theta, move, newton.well_conditioned)
    statistics = data.source.total(kernel)
    return statistics.rules_out_separation(newton.squared_error, well_conditioned=newton.well_conditioned)


def _found(direction: SeparatingDirection, names: list[str], *, intercept: bool) -> str:
    """Say how many rows are separated by class, and by which columns."""
    rows = "1 row" if direction.n_rows == 1 else f"{direction.n_rows:,} rows"
    columns, more = direction.columns(MAX_NAMED_COLUMNS, intercept=intercept)
    named = ", ".join(names[j] for j in columns) + (f" and {more} more" if more else "")
    how = "completely" if direction.complete else "in part"
    return f"The classes are separated {how}, {rows} along a direction of {named}"


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
    rows = "1 row is" if statistics.n_rows == 1 else f"{statistics.n_rows:,} rows are"
    return (
        f"The classes seem to be separated in part: {rows} moved by up to {statistics.max_margin:.2g} nats by a "
        f"further step, although the loss has converged, mostly through {', '.join(names)}; a linear program could "
        "not decide. If they are, these coefficients have no finite optimum with C=inf, and their "
        f"values are meaningless; {REMEDY}."
    )
