"""Whether rows, labels and weights are those of the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._row_sums.sums import RowSums

# Standard errors from the optimum up to which a fit that has converged may be, whatever its `tol`.
MAX_CONVERGED_DISTANCE = 1.0
# The same as a multiple of the distance that `tol` allows. The last step is accepted by its loss alone, and with a
# large `tol` the curvature has changed by the end of that step: the largest of 120 fits with tol=0.1 was at 1.4 times.
TOLERANCE_FACTOR = 30.0
# The largest relative difference from the loss that the fit recorded, or `TOLERANCE_FACTOR` times tol if that is more:
# the recorded loss may be the one before the final step. The differences of the same 120 fits were up to 0.7 tol.
LOSS_TOLERANCE = 1e-3


def check_same_data(fitted: FittedModel, row_sums: RowSums, covariance: CoefficientCovariance) -> None:
    """Raise an error if a fit that has converged is not near the optimum of these rows, labels and weights.

    Fits by scikit-learn are not checked, because they do not record their final loss.
    """
    if fitted.loss is None:
        return
    weight = row_sums.counts.total_weight
    loss = (covariance.loss + fitted.penalty) / weight
    # at a distance of δ standard errors the remaining decrease is ½ δ² nats
    allowed = max(MAX_CONVERGED_DISTANCE, TOLERANCE_FACTOR * np.sqrt(2.0 * fitted.tol * fitted.loss * weight))
    other_loss = abs(loss - fitted.loss) > max(LOSS_TOLERANCE, TOLERANCE_FACTOR * fitted.tol) * fitted.loss
    if covariance.distance > allowed or other_loss:
        message = (
            f"X, y and sample_weight, or C, are not those of the fit, which ended at a loss of {fitted.loss:.6g} nats "
            f"per unit of weight, whereas these have a loss of {loss:.6g} and an optimum {covariance.distance:.2g} "
            "standard errors away; pass the same rows, labels and weights, with the parameters of the fit."
        )
        raise ValueError(message)
