"""The objective by which every contestant is compared, computed in the same way for all."""

import numpy as np

# bytes of one block of logits, which bounds the memory needed in addition to X
BLOCK_BYTES = 2**25


def mean_objective(problem, coef, intercept, C=1.0):
    """Return J/S, the penalised negative log-likelihood divided by the weight of all rows, in nats and float64.

    Parameters
    ----------
    problem : Problem
        Rows, codes and weights.
    coef : (1, p) or (K, p) array
        Coefficients of the log-odds of class 1, or one row per class for a softmax.
    intercept : (1,) or (K,) array
        Intercepts, which are not penalised.
    C : float
        Inverse strength of the penalty.

    Returns
    -------
    float
        (weighted sum of log-losses + ½ ‖coef‖² / C) / S, where S is the sum of the weights, or n without weights.
    """
    X, codes, weight = problem
    columns = np.ascontiguousarray(np.asarray(coef, dtype=np.float64).T)  # (p, q)
    offset = np.asarray(intercept, dtype=np.float64)
    n_rows, n_logits = X.shape[0], columns.shape[1]
    weight = np.ones(n_rows) if weight is None else weight
    # a block of a dense X is a view, a block of a CSR matrix a copy of its entries
    step = max(1, BLOCK_BYTES // (8 * n_logits))
    losses = [
        _log_losses(X[rows] @ columns + offset, codes[rows]) @ weight[rows]
        for rows in (slice(start, start + step) for start in range(0, n_rows, step))
    ]
    return float((np.sum(losses) + 0.5 * np.sum(columns**2) / C) / weight.sum())


def _log_losses(logits, codes):
    if logits.shape[1] == 1:
        return np.logaddexp(0.0, np.where(codes == 1, -logits[:, 0], logits[:, 0]))
    logits -= logits.max(axis=1, keepdims=True)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(codes)), codes]
