"""Why the standard errors of a fit should not be believed, in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._measure import ReachKernel
from sknatgrad.inference._high_dimension import LIMIT, inflation
from sknatgrad.inference._separation import is_program_small, may_be_separable, separation

if TYPE_CHECKING:
    from sknatgrad._measure import Reach
    from sknatgrad.inference._curvature import Curvature
    from sknatgrad.inference._fitted import Fitted
    from sknatgrad.inference._separation import Separation
    from sknatgrad.inference._sums import Totals

# How far the optimum may be, in standard errors of the direction that leads there, before it is worth a word
FAR = 0.1
# the same, where the fit says that it has converged, before the data cannot be those of the fit
ELSEWHERE = 1.0
# and how many times what its `tol` allows
SLACK = 10.0
# the same of the loss, as a share of it
OTHER_LOSS = 1e-3
# coefficients for each row above which maximum likelihood is far from its own limit theorem
CROWDED = 0.2


def check_same_data(fitted: Fitted, totals: Totals, curvature: Curvature) -> None:
    """Refuse rows, labels or weights at which a fit that has converged is nowhere near its optimum.

    Of scikit-learn's fits it is not known how near they came.
    """
    if fitted.loss is None:
        return
    weight = float(totals.rows.weight.sum())
    loss = (curvature.loss + fitted.penalty) / weight
    # ½ off² nats are left to gain
    allowed = max(ELSEWHERE, np.sqrt(SLACK * 2.0 * fitted.tol * fitted.loss * weight))
    if curvature.off > allowed or abs(loss - fitted.loss) > OTHER_LOSS * fitted.loss:
        message = (
            f"X, y and sample_weight are not those of the fit, which ended at a loss of {fitted.loss:.6g} nats per "
            f"unit of weight, where these have {loss:.6g} and an optimum {curvature.off:.2g} standard errors away; "
            "pass the same rows, labels and weights."
        )
        raise ValueError(message)


def doubts(fitted: Fitted, totals: Totals, curvature: Curvature, names: tuple[str, ...]) -> str:
    """Return the reasons as one sentence; an empty one, if there are none.

    Parameters
    ----------
    names : tuple of str
        Of the columns that were asked for.
    """
    off = curvature.off
    parts = [
        "" if fitted.penalised else _separated(fitted, totals, curvature),
        _unfinished(off) if off > FAR or not fitted.converged else "",
        _undetermined(curvature, names),
        _crowded(curvature.effective_dof, totals, penalised=fitted.penalised),
    ]
    reasons = [part for part in parts if part]
    return "Do not believe these standard errors: " + "; ".join(reasons) + "." if reasons else ""


def _separated(fitted: Fitted, totals: Totals, curvature: Curvature) -> str:
    fisher = curvature.fisher
    n_classes, n_columns = totals.contrasts.n_classes, totals.theta.shape[1]
    at_optimum = curvature.off <= FAR
    if fisher is not None and at_optimum and not may_be_separable(fisher, totals.gram(), n_classes):
        return ""
    if fisher is not None and is_program_small(len(totals.rows.codes), n_columns, n_classes):
        found: Separation | None = separation(totals.rows, n_columns, n_classes)
        return "" if found is None else found.describe(fitted)
    reach: Reach = totals.total(ReachKernel(totals.theta, curvature.step))
    if not (at_optimum and reach.separates):
        return ""
    most = ", ".join(fitted.names[j] for j in reach.columns(curvature.step))
    return (
        f"the classes seem to be separated in part, as a further step moves {reach.n_rows:,} rows by up to "
        f"{reach.furthest:.2g} nats with next to nothing to gain, mostly by {most} (the "
        "table is too large for the linear program that would decide), so that the likelihood has no maximum: fit "
        "with a penalty, or drop columns"
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
        f"the columns {', '.join(unknown)} are collinear or constant, so that their coefficients are not determined "
        "and have no standard errors: drop some of them, or fit with a penalty"
    )


def _crowded(dof: float, totals: Totals, *, penalised: bool) -> str:
    n_classes = totals.contrasts.n_classes
    n_rows = int(np.count_nonzero(totals.rows.weight))
    share = dof / (n_classes - 1) / n_rows
    if not share > CROWDED:
        return ""
    said = f"{dof:.6g} {'effective ' if penalised else ''}coefficients are many for {n_rows:,} rows"
    if share >= LIMIT:
        told = "expects two balanced classes to be separable from half a column a row"
    else:
        factor = inflation(share)
        told = (
            f"expects standard errors of two balanced classes by maximum likelihood to be {np.sqrt(factor):.2f} times "
            f"too small at {share:.2f} columns a row, and chi-squared statistics {factor:.2f} times too large, if no "
            "column has an effect, and worse if some have"
        )
    return f"{said}: high-dimensional theory {told} (Sur and Candès 2019)"
