"""Why the standard errors of a fit should not be believed, in words and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._model.separation import SeparationKernel
from sknatgrad.inference._high_dimension import LIMIT, inflation
from sknatgrad.inference._separation import is_program_small, may_be_separable, separation
from sknatgrad.inference._sums import Rows

if TYPE_CHECKING:
    from sknatgrad._model.separation import SeparationStatistics
    from sknatgrad.inference._curvature import Curvature
    from sknatgrad.inference._fitted import Fitted
    from sknatgrad.inference._question import Question
    from sknatgrad.inference._separation import Separation
    from sknatgrad.inference._sums import Totals

# How far the optimum may be, in standard errors of the direction that leads there, before it is worth a word
FAR = 0.1
# the same, where the fit says that it has converged, before the data cannot be those of the fit
ELSEWHERE = 1.0
# and how many times what its `tol` allows: the last step is judged by the loss alone, and if that is a loose one the
# curvature has changed by its end
SLACK = 30.0
# the same of the loss, as a share of it
OTHER_LOSS = 1e-3
# coefficients for each row above which maximum likelihood is far from its own limit theorem
CROWDED = 0.2
# groups below which covariances by cluster are known to be too small: A. C. Cameron, D. L. Miller, "A practitioner's
# guide to cluster-robust inference", Journal of Human Resources 50(2), 2015
FEW_GROUPS = 20
# a row with less loss than this has more than half of the probability on its own class
DECIDED = math.log(2.0)


def check_same_data(fitted: Fitted, totals: Totals, curvature: Curvature) -> None:
    """Refuse rows, labels or weights at which a fit that has converged is nowhere near its optimum.

    Of scikit-learn's fits it is not known how near they came.
    """
    if fitted.loss is None:
        return
    weight = totals.counts.weight
    loss = (curvature.loss + fitted.penalty) / weight
    # ½ off² nats are left to gain
    allowed = max(ELSEWHERE, SLACK * np.sqrt(2.0 * fitted.tol * fitted.loss * weight))
    # that before the closing step was recorded
    other = abs(loss - fitted.loss) > max(OTHER_LOSS, SLACK * fitted.tol) * fitted.loss
    if curvature.off > allowed or other:
        message = (
            f"X, y and sample_weight, or C, are not those of the fit, which ended at a loss of {fitted.loss:.6g} nats "
            f"per unit of weight, where these have {loss:.6g} and an optimum {curvature.off:.2g} standard errors away; "
            "pass the same rows, labels and weights, with the parameters of the fit."
        )
        raise ValueError(message)


def doubts(fitted: Fitted, totals: Totals, curvature: Curvature, question: Question, names: tuple[str, ...]) -> str:
    """Return the reasons as one sentence; an empty one, if there are none.

    Parameters
    ----------
    names : tuple of str
        Of the columns that were asked for.
    """
    off = curvature.off
    separated = "" if fitted.penalised else _separated(fitted, totals, curvature)
    unfinished = off > FAR and not separated
    parts = [
        separated,
        _unfinished(off) if unfinished else "",
        _undetermined(curvature, names),
        _crowded(curvature.effective_dof, totals.contrasts.n_classes, question.observations(totals.counts), fitted),
        _counted(fitted, question),
        _few_groups(question),
    ]
    reasons = [part for part in parts if part]
    return "Do not believe these standard errors as they stand: " + "; ".join(reasons) + "." if reasons else ""


def _separated(fitted: Fitted, totals: Totals, curvature: Curvature) -> str:
    fisher = curvature.fisher
    n_classes, n_columns = totals.contrasts.n_classes, totals.theta.shape[1]
    # in units of the lightest row, as it is probabilities that must be small
    least = min(totals.counts.least, 1.0)
    at_optimum = curvature.off <= FAR * np.sqrt(least)
    if fisher is not None and at_optimum and not may_be_separable(fisher, totals.gram(), n_classes):
        return ""
    in_memory = isinstance(totals.rows, Rows)
    if fisher is not None and in_memory and is_program_small(totals.counts.n_rows, n_columns, n_classes):
        found: Separation | None = separation(totals.in_memory, n_columns, n_classes)
        return "" if found is None else found.describe(fitted)
    if curvature.worst < DECIDED:
        return (
            "the classes are separated completely, as each row has most of the probability on its own class, so that "
            "the likelihood has no maximum: fit with a penalty, or drop columns"
        )
    if not at_optimum:
        return ""
    reach: SeparationStatistics = totals.total(SeparationKernel(totals.theta, curvature.step))
    if not reach.separates(0.5 * curvature.off**2):
        return ""
    most = ", ".join(fitted.names[j] for j in reach.columns(curvature.step))
    why = "the table is too large for it" if fisher is not None else "with features it is not asked"
    return (
        f"the classes seem to be separated in part, as a further step moves {reach.n_rows:,} rows by up to "
        f"{reach.max_margin:.2g} nats with next to nothing to gain, mostly by {most}, so that the likelihood has no "
        f"maximum (a linear program would decide; {why}): fit with a penalty, or drop columns"
    )


def _unfinished(off: float) -> str:
    return (
        f"the fit has not converged on these rows and weights: the optimum is about {off:.2g} standard errors away, "
        "so refit with a smaller tol or more iterations, and pass the data of the fit"
    )


def _undetermined(curvature: Curvature, names: tuple[str, ...]) -> str:
    known = curvature.determined.all(axis=0).tolist()
    unknown = [name for name, is_known in zip(names, known, strict=True) if not is_known]
    if not unknown:
        return ""
    return (
        f"collinear or constant columns, {', '.join(unknown)}, have coefficients that are not determined, and no "
        "standard errors, while those of the others hold: drop some of them, such as one of each set of indicators, or "
        "fit with a penalty"
    )


def _crowded(dof: float, n_classes: int, n: float, fitted: Fitted) -> str:
    share = dof / (n_classes - 1) / n
    if not share > CROWDED:
        return ""
    said = f"{dof:.6g} {'effective ' if fitted.penalised else ''}coefficients are many for {n:.6g} observations"
    if share >= LIMIT:
        told = "expects two balanced classes to be separable from half a column a row"
    else:
        factor = inflation(share)
        told = (
            f"expects standard errors of two balanced classes by maximum likelihood to be {np.sqrt(factor):.2f} times "
            f"too small at {share:.2f} columns a row, and chi-squared statistics {factor:.2f} times too large, if no "
            "column has an effect, and worse if some have"
        )
    if not fitted.penalised:
        return f"{said}: high-dimensional theory {told} (Sur and Candès 2019)"
    return (
        f"{said}: robust covariances are too small, as rows pull the fit towards their labels, and those by the model "
        f"rest on the penalty; without it, high-dimensional theory {told} (Sur and Candès 2019)"
    )


def _counted(fitted: Fitted, question: Question) -> str:
    if not fitted.class_weighted or question.weights == "sampling":
        return ""
    return (
        "class_weight makes weights which do not say how often rows were seen: ask with weights='sampling' and "
        "covariance='robust'"
    )


def _few_groups(question: Question) -> str:
    if question.groups is None or question.n_groups >= FEW_GROUPS:
        return ""
    return (
        f"{question.n_groups} groups are few: covariances by cluster are too small with fewer than 20 to 50 "
        "(Cameron and Miller 2015)"
    )
