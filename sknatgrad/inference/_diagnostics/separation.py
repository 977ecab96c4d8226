"""The sentence of the warning about separated classes; the theory is in `sknatgrad._model.separation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._model.class_labels import label_name
from sknatgrad._model.separation import (
    NEAR_OPTIMUM,
    is_completely_separated,
    is_program_small,
    may_be_separable,
    separated_by_step,
    separating_direction,
)
from sknatgrad.inference._row_sums.rows import InMemoryRows

if TYPE_CHECKING:
    from sknatgrad._model.separation import SeparatingDirection, SeparationStatistics
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

# coefficients of a direction that a message names, at most, so that it stays readable
MAX_NAMED_COEFFICIENTS = 5
REMEDY = "fit with a penalty, or drop columns"


def separation_reason(fitted: FittedModel, row_sums: RowSums, covariance: CoefficientCovariance) -> str:
    """Return the reason if the classes are separated, in whole or in part; else an empty string."""
    fisher, counts = covariance.fisher, row_sums.counts
    n_classes, n_columns = row_sums.contrasts.n_classes, row_sums.theta.shape[1]
    # in units of the smallest weight: probabilities must be small, whatever the weights
    near_optimum = covariance.distance <= NEAR_OPTIMUM * np.sqrt(min(counts.min_weight, 1.0))
    if fisher is not None and near_optimum and not may_be_separable(fisher, row_sums.gram(), n_classes):
        return ""
    rows = row_sums.rows
    small = is_program_small(counts.n_rows, n_columns, n_classes, row_sums.limits.program_size)
    if fisher is not None and small and isinstance(rows, InMemoryRows):
        direction = separating_direction(rows.X, rows.codes, rows.weight, n_columns, n_classes)
        return "" if direction is None else _along(direction, fitted)
    if is_completely_separated(covariance.max_loss):
        return (
            "the classes are separated completely, as each row's own class has more than half of the probability, so "
            f"that the likelihood has no maximum: {REMEDY}"
        )
    if not near_optimum:
        return ""
    with row_sums.opened() as source:
        statistics = separated_by_step(source, row_sums.theta, covariance.step, 0.5 * covariance.distance**2)
    if statistics is None:
        return ""
    why = "the table is too large for it" if fisher is not None else "it is not solved for selected features"
    return _by_step(statistics, [fitted.names[j] for j in statistics.columns(covariance.step)], why)


def _along(found: SeparatingDirection, fitted: FittedModel) -> str:
    labels = [label_name(label) for label in fitted.classes]
    entries, more = found.largest(MAX_NAMED_COEFFICIENTS)
    parts = [f"{found.direction[k, j]:+.3g} {fitted.names[j]} for {labels[k + 1]}" for k, j in entries]
    how = "completely" if found.complete else "in part"
    return (
        f"the classes are separated {how}, {found.n_rows:,} rows along the direction {', '.join(parts)}"
        + (f" and {more} more" if more > 0 else "")
        + f", against {labels[0]}, so that the likelihood has no maximum: {REMEDY}"
    )


def _by_step(statistics: SeparationStatistics, names: list[str], why: str) -> str:
    return (
        f"the classes seem to be separated in part, as a further Newton step moves {statistics.n_rows:,} rows by up to "
        f"{statistics.max_margin:.2g} nats although almost no decrease of the loss remains, mostly through "
        f"{', '.join(names)}, so that the likelihood has no maximum (a linear program would decide, but {why}): "
        f"{REMEDY}"
    )
