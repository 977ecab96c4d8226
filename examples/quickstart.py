"""The main job: logistic regression on raw data, without a scaling ritual.

Fits the breast cancer data as they come, columns from 0.001 to 4,000, and does the same with scikit-learn's
``LogisticRegression()`` at its defaults. Both minimise the same objective, so their losses can be compared: the gap is
how far above the optimum, relative to it, a fit has stopped.
"""

import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from sknatgrad import NaturalGradientLogisticRegression


def objective(model, X, y):
    """Return what both minimise at C = 1: the summed loss in nats plus half the squared coefficients."""
    return log_loss(y, model.predict_proba(X), normalize=False) + 0.5 * np.sum(model.coef_**2)


def main():
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    print(
        f"{len(X_train)} rows to train, {X.shape[1]} columns with ranges from {np.ptp(X, axis=0).min():.2g} to ", end=""
    )
    print(f"{np.ptp(X, axis=0).max():,.0f}, nothing scaled\n")

    ours = NaturalGradientLogisticRegression().fit(X_train, y_train)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        peer = LogisticRegression().fit(X_train, y_train)
        # the best that scikit-learn's second-order solver can do says where the optimum is
        reference = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X_train, y_train)

    best = min(objective(model, X_train, y_train) for model in (ours, peer, reference))
    print(f"{'':38}{'accuracy':>9}{'log loss':>10}{'iterations':>12}{'gap to the optimum':>20}")
    gaps = {}
    for name, model in {"NaturalGradientLogisticRegression()": ours, "LogisticRegression()": peer}.items():
        proba = model.predict_proba(X_test)
        gaps[name] = objective(model, X_train, y_train) / best - 1
        accuracy, loss = accuracy_score(y_test, model.predict(X_test)), log_loss(y_test, proba)
        print(f"{name:38}{accuracy:9.3f}{loss:10.4f}{model.n_iter_[0]:12d}{gaps[name]:20.1e}")
    for warning in caught:
        print(f"\nLogisticRegression() warned: {str(warning.message).splitlines()[0]}")

    assert ours.converged_
    assert gaps["NaturalGradientLogisticRegression()"] <= 1e-8
    assert gaps["LogisticRegression()"] > 1e-2
    assert ours.score(X_test, y_test) > 0.9


if __name__ == "__main__":
    main()
