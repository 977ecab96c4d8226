"""The likelihood of a fit, and the criteria and measures that follow from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Likelihood(NamedTuple):
    """The likelihood of a fit, and the number of its coefficients."""

    loglik: float  # nats, without penalty
    loglik_null: float  # nats, of the model without features
    n: float  # observations
    effective_dof: float
    penalised: bool
    log_evidence: float  # nats; NaN without a penalty

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 loglik + 2 effective_dof."""
        return self._criterion(2.0)

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 loglik + log(n) effective_dof."""
        return self._criterion(float(np.log(self.n)))

    def _criterion(self, per_coefficient: float) -> float:
        return -2.0 * self.loglik + per_coefficient * self.effective_dof

    @property
    def pseudo_r2(self) -> float:
        """McFadden's pseudo R², 1 - loglik / loglik_null."""
        return 1.0 - self.loglik / self.loglik_null
