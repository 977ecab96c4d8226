"""Print the tables of docs/convergence.md: the iterations of each metric on raw data, and its condition numbers.

Run as ``python docs/iterations_table.py``. It takes some minutes.
"""

import warnings

import numpy as np
from scipy import linalg
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression, fisher_information

METRICS = ["true", "empirical", "monte_carlo", "kronecker", "diagonal", "identity"]
DATA = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer, "digits": load_digits}
MAX_ITER = 100  # the default
LONG_MAX_ITER = 3000  # for fits that do not converge within the default


def fit(X, y, fisher, C, max_iter):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return NaturalGradientLogisticRegression(fisher=fisher, C=C, max_iter=max_iter, random_state=0).fit(X, y)


def cell(X, y, fisher, C, best):
    """Return the iterations to convergence and, if they exceed the default maximum, the gap there in brackets."""
    model = fit(X, y, fisher, C, MAX_ITER)
    if model.converged_:
        return f"{model.n_iter_[0]}"
    gap = model.loss_curve_[-1] / best - 1
    longer = fit(X, y, fisher, C, LONG_MAX_ITER)
    iterations = f"{longer.n_iter_[0]}" if longer.converged_ else f">{LONG_MAX_ITER}"
    return f"{iterations} ({gap:.0e})"


def condition(model, X, y, fisher, C):
    """Return the condition number of F + Λ relative to a metric at the optimum, which is 1 for the exact metric."""
    q, d = len(model.coef_), X.shape[1] + 1
    prior = np.diag(np.tile(np.append(np.full(d - 1, 1 / C), 0.0), q))
    exact = fisher_information(model, X) + prior
    metric = fisher_information(model, X, y, kind=fisher, random_state=0) + prior
    # restricted to moves that sum to zero over the classes, because other moves change no prediction
    basis = np.kron(linalg.null_space(np.ones((1, q))) if q > 1 else np.eye(1), np.eye(d))
    exact, metric = basis.T @ exact @ basis, basis.T @ metric @ basis
    scale = 1 / np.sqrt(exact.diagonal())
    values = linalg.eigh(scale[:, None] * metric * scale, scale[:, None] * exact * scale, eigvals_only=True)
    return f"{values[-1] / values[0]:.0e}" if values[0] > values[-1] * 1e-13 else ">1e13"


def main():
    head = "| data | C | " + " | ".join(METRICS) + " |\n|---|---|" + "---|" * len(METRICS)
    counts, conditions = [head], [head]
    for name, load in DATA.items():
        X, y = load(return_X_y=True)
        for C in (0.01, 1.0, 100.0):
            best = fit(X, y, "true", C, MAX_ITER)
            row = [cell(X, y, fisher, C, best.loss_curve_[-1]) for fisher in METRICS]
            counts.append(f"| {name} | {C:g} | " + " | ".join(row) + " |")
            row = [condition(best, X, y, fisher, C) for fisher in METRICS]
            conditions.append(f"| {name} | {C:g} | " + " | ".join(row) + " |")
            print(counts[-1], conditions[-1], sep="\n", flush=True)
    print("\n".join(["", *counts, "", *conditions]))


if __name__ == "__main__":
    main()
