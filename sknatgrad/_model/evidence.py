"""The evidence of a penalised fit: the likelihood integrated over the Gaussian prior that the penalty stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._definitions import Array


def log_evidence(fisher: Array, prior: Array, penalised_loss: float) -> float:
    """Return the logarithm of the evidence by Laplace's approximation at the optimum, nats (MacKay 1992).

    Parameters
    ----------
    fisher, prior : ndarray
        The Fisher information F and the prior precision Λ of the K - 1 contrasts.

    penalised_loss : float
        The loss of all rows with the penalty, a sum in nats.

    Returns
    -------
    log_evidence : float
        NaN without a penalty, or where F + Λ is singular. Coefficients without a penalty have a density of 1.
    """
    penalised = prior.diagonal() > 0.0
    if not penalised.any():
        return float("nan")
    _, of_prior = np.linalg.slogdet(prior[np.ix_(penalised, penalised)])
    sign, of_posterior = np.linalg.slogdet(fisher + prior)
    n_flat = np.count_nonzero(~penalised)
    volume = 0.5 * (of_prior - of_posterior + n_flat * np.log(2.0 * np.pi))
    return float(volume - penalised_loss) if sign > 0 else float("nan")
