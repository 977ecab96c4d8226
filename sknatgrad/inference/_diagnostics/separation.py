"""The sentence of the warning about separated classes; the theory is in `sknatgrad._model.separation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._inputs.notices import counted_rows
from sknatgrad._model.class_labels import label_name
from sknatgrad._model.separation import (
    NEAR_OPTIMUM,
    StepKernel,
    is_completely_separated,
    separated_by_step,
)
from sknatgrad._model.separation_search import SeparationSearch, has_free_features, has_weak_features

if TYPE_CHECKING:
    from sknatgrad._model.separation import SeparationStatistics
    from sknatgrad._model.separation_search import SeparatingDirection
    from sknatgrad._rows.source import RowSource
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

# coefficients of a direction that a message names, at most, so that it stays readable
MAX_NAMED_COEFFICIENTS = 5
REMEDY = "fit with a penalty, or drop columns"
HARDLY = "and the penalty, which alone keeps them finite, hardly penalises: fit with a smaller C, or drop columns"


def separation_reason(fitted: FittedModel, row_sums: RowSums, covariance: CoefficientCovariance) -> str:
    """Return the reason if the classes are separated, in whole or in part; else an empty string.

    Features with a penalty are searched only if it is so weak that none may be meant, and hardly penalises.
    """
    precision, intercept = fitted.prior.precision, fitted.intercept
    free = has_free_features(precision, intercept=intercept)
    weak = has_weak_features(precision, intercept=intercept)
    if not free and not (weak and covariance.distance <= NEAR_OPTIMUM):
        return ""
    sizes = row_sums.contrasts.n_classes, intercept, row_sums.limits.program_size
    with row_sums.opened() as source:
        search = SeparationSearch(source, precision, *sizes, fitted.centres)
        # with a weak penalty this step is not that to the maximum of the likelihood
        if free and not source.total(StepKernel(row_sums.theta, covariance.step)).rules_out_separation():
            if search.direction is not None:
                return _along(search.direction, fitted, hardly=False)
            if not (search.decided or fitted.penalised):
                return _without_program(source, fitted, row_sums, covariance)
        search = search.with_weak_features()
        direction = search.direction if weak else None
        if direction is None or not search.is_hardly_penalised(row_sums.theta):
            return ""
        return _along(direction, fitted, hardly=True)


def _without_program(
    source: RowSource, fitted: FittedModel, row_sums: RowSums, covariance: CoefficientCovariance
) -> str:
    """Return the reason as far as the fit shows it, where the linear program is too large."""
    if is_completely_separated(covariance.max_loss):
        return (
            "the classes are separated completely, as each row's own class has more than half of the probability, so "
            f"that the likelihood has no maximum: {REMEDY}"
        )
    # in units of the smallest weight: probabilities must be small, whatever the weights
    if covariance.distance > NEAR_OPTIMUM * np.sqrt(min(row_sums.counts.min_weight, 1.0)):
        return ""
    decrement = 0.5 * covariance.distance**2
    statistics = separated_by_step(source, row_sums.theta, covariance.step, decrement)
    if statistics is None:
        return ""
    return _by_step(statistics, [fitted.names[j] for j in statistics.columns(covariance.step)])


def _along(found: SeparatingDirection, fitted: FittedModel, *, hardly: bool) -> str:
    # one logit is that of the last class
    labels = [label_name(label) for label in fitted.classes][-len(found.direction) :]
    entries, more = found.entries(MAX_NAMED_COEFFICIENTS)
    parts = [f"{found.direction[k, j]:+.3g} {fitted.names[j]} for {labels[k]}" for k, j in entries]
    how = "completely" if found.complete else "in part"
    rows = counted_rows(found.n_rows)
    return (
        f"the classes are separated {how}, {rows} along the direction {', '.join(parts)}"
        + (f" and {more} more" if more else "")
        + (f", {HARDLY}" if hardly else f", so that the likelihood has no maximum: {REMEDY}")
    )


def _by_step(statistics: SeparationStatistics, names: list[str]) -> str:
    rows = counted_rows(statistics.n_rows)
    return (
        f"the classes seem to be separated in part, as a further Newton step moves {rows} by up to "
        f"{statistics.max_margin:.2g} nats although almost no decrease of the loss remains, mostly through "
        f"{', '.join(names)}, and a linear program could not decide. If they are, the likelihood has no maximum: "
        f"{REMEDY}"
    )
