"""The search for separated rows at the end of a fit without a penalty, and its warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sknatgrad._inputs.columns import INTERCEPT, feature_names
from sknatgrad._model.separation import StepKernel, separated_by_step
from sknatgrad._model.separation_search import SeparationSearch
from sknatgrad.exceptions import SeparationWarning

if TYPE_CHECKING:
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._model.separation import SeparationStatistics
    from sknatgrad._model.separation_search import SeparatingDirection
    from sknatgrad._solver.problem import State

REMEDY = "set a finite C (the default is 1.0), or drop the columns"
# columns that a message names, at most, so that it stays readable
MAX_NAMED_COLUMNS = 3


def search_of(estimator: Configuration, data: TrainingData) -> SeparationSearch:
    """Return the search for a direction that separates rows by class, which has not begun."""
    layout = data.layout
    program_size = estimator._limits.fit_program_size  # noqa: SLF001 - a parameter
    return SeparationSearch(data.source, layout.n_columns, len(layout.classes), layout.intercept, program_size)


def separation_notices(
    estimator: Configuration, data: TrainingData, search: SeparationSearch, end: State, *, converged: bool
) -> list[Warning]:
    """Return the warning about rows that are separated by class at the end of a fit without a penalty, if any are."""
    newton = end.to_optimum if converged else None
    if newton is not None:
        kernel = StepKernel(end.theta - newton.move, newton.move, newton.well_conditioned)
        if data.source.total(kernel).rules_out_separation(well_conditioned=newton.well_conditioned):
            return []
    layout = data.layout
    names = layout.column_names(feature_names(estimator, layout.n_features), INTERCEPT)
    direction = search.direction
    if direction is not None:
        return [SeparationWarning(_notice(direction, names, intercept=layout.intercept))]
    if search.decided or newton is None:
        return []
    point, move = end.point, newton.move
    statistics = separated_by_step(data.source, end.theta - move, move, end.decrement * point.weight, point.loss)
    if statistics is None:
        return []
    columns = [names[j] for j in statistics.columns(move)]
    return [SeparationWarning(_apparent_notice(statistics, columns))]


def _notice(direction: SeparatingDirection, names: list[str], *, intercept: bool) -> str:
    """Say how many rows are separated by class, and by which columns."""
    rows = "1 row" if direction.n_rows == 1 else f"{direction.n_rows:,} rows"
    columns, more = direction.columns(MAX_NAMED_COLUMNS, intercept=intercept)
    others = f" and {more} more" if more else ""
    how = "completely" if direction.complete else "in part"
    return (
        f"The classes are separated {how}, {rows} along a direction of {', '.join(names[j] for j in columns)}{others}: "
        f"with C=inf these coefficients have no finite optimum, and their values are meaningless; {REMEDY}. "
        "sknatgrad.inference.infer prints the direction."
    )


def _apparent_notice(statistics: SeparationStatistics, names: list[str]) -> str:
    """Say how many rows seem to be separated by class, and by which columns."""
    rows = "1 row is" if statistics.n_rows == 1 else f"{statistics.n_rows:,} rows are"
    return (
        f"The classes seem to be separated in part: {rows} moved by up to {statistics.max_margin:.2g} nats by a "
        f"further step, although the loss has converged, mostly through {', '.join(names)}; the table is too large for "
        "the linear program that decides. If they are, these coefficients have no finite optimum with C=inf, and their "
        f"values are meaningless; {REMEDY}."
    )
