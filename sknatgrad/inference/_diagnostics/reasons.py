"""The warning of `infer`: the reasons for which standard errors are unreliable, with their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad.inference._diagnostics.collinearity import undetermined_reasons
from sknatgrad.inference._diagnostics.high_dimension import SEPARABLE_SHARE, inflation
from sknatgrad.inference._diagnostics.separation import separation_reason

if TYPE_CHECKING:
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance
    from sknatgrad.inference._fitted_model import FittedModel

# Standard errors from the optimum: a 95 % interval that is 0.1 standard errors off still has a coverage of 94.9 %.
MAX_DISTANCE = 0.1
# Coefficients per row from which maximum likelihood is high-dimensional: standard errors are 1.13 times too small there
# (Sur and Candès 2019).
HIGH_DIMENSIONAL = 0.2
# Groups below which cluster-robust covariances are known to be too small: A. C. Cameron, D. L. Miller, "A
# practitioner's guide to cluster-robust inference", Journal of Human Resources 50(2), 2015.
FEW_GROUPS = 20


def diagnostics(
    covariance: CoefficientCovariance, options: CovarianceOptions, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the reasons for which standard errors are unreliable; `names` are those of the selected columns."""
    fitted, row_sums, distance = covariance.fitted, covariance.row_sums, covariance.distance
    if not covariance.effective_dof:
        # every column is aliased
        return ()
    separated = separation_reason(fitted, row_sums, covariance)
    n = options.n_observations(row_sums.counts)
    parts = [
        separated,
        _not_converged(distance) if distance > MAX_DISTANCE and not separated else "",
        *undetermined_reasons(covariance, names),
        _high_dimensional(covariance.effective_dof, row_sums.contrasts.n_classes, n, fitted),
        _class_weights(fitted, options),
        _few_groups(options),
    ]
    return tuple(part for part in parts if part)


def _not_converged(distance: float) -> str:
    return (
        f"the fit has not converged on these rows and weights: the optimum is about {distance:.2g} standard errors "
        "away, so refit with a smaller tol or more iterations, and pass the data of the fit"
    )


def _high_dimensional(dof: float, n_classes: int, n: float, fitted: FittedModel) -> str:
    share = dof / (n_classes - 1) / n
    if not share > HIGH_DIMENSIONAL:
        return ""
    counted = f"{dof:.6g} {'effective ' if fitted.penalised else ''}coefficients are many for {n:.6g} observations"
    if share >= SEPARABLE_SHARE:
        theory = "expects two balanced classes to be separable from half a column a row"
    else:
        factor = inflation(share)
        theory = (
            f"expects standard errors of two balanced classes by maximum likelihood to be {np.sqrt(factor):.2f} times "
            f"too small at {share:.2f} columns a row, and chi-squared statistics {factor:.2f} times too large, if no "
            "column has an effect, and worse if some have"
        )
    if not fitted.penalised:
        return f"{counted}: high-dimensional theory {theory} (Sur and Candès 2019)"
    return (
        f"{counted}: robust covariances are too small, because each row pulls the fit towards its own label, and "
        f"model-based ones depend on the penalty; without it, high-dimensional theory {theory} (Sur and Candès 2019)"
    )


def _class_weights(fitted: FittedModel, options: CovarianceOptions) -> str:
    if not fitted.class_weighted or options.weights == "sampling":
        return ""
    return (
        "class_weight makes weights that are not frequencies of rows: call infer with weights='sampling' and "
        "covariance='robust'"
    )


def _few_groups(options: CovarianceOptions) -> str:
    if options.groups is None or options.n_groups >= FEW_GROUPS:
        return ""
    return (
        f"{options.n_groups} groups are few: cluster-robust covariances are too small with fewer than 20 to 50 groups "
        "(Cameron and Miller 2015)"
    )
