"""
Quickstart: raw data at the default settings
============================================

Logistic regression on a table whose columns are not scaled.

The columns of the breast cancer data have ranges from 0.03 to 4,000. The script fits our estimator and scikit-learn's
``LogisticRegression()``, both at their defaults. They minimise the same objective, so their losses are comparable. The
*gap* of a fit is the distance of its objective from the optimum, relative to the optimum.

The numbers need only the package itself; the picture needs matplotlib.
"""

import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from sknatgrad import NaturalGradientLogisticRegression

try:
    from matplotlib import pyplot as plt
except ImportError:
    plt = None

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
ranges = np.ptp(X, axis=0)
print(f"{len(X_train)} training rows, {X.shape[1]} unscaled columns with ranges from ", end="")
print(f"{ranges.min():.2g} to {ranges.max():,.0f}")

# %%
# Two fits
# --------
# scikit-learn's second-order solver, at a tolerance far below its default, gives an independent value of the optimum.

ours = NaturalGradientLogisticRegression().fit(X_train, y_train)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    peer = LogisticRegression().fit(X_train, y_train)
    reference = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X_train, y_train)


def objective(model):
    """Return the objective of both at C = 1: the summed loss in nats plus half the squared coefficients."""
    return log_loss(y_train, model.predict_proba(X_train), normalize=False) + 0.5 * np.sum(model.coef_**2)


best = min(objective(model) for model in (ours, peer, reference))
print(f"{'':38}{'accuracy':>9}{'log loss':>10}{'iterations':>12}{'gap to the optimum':>20}")
gaps = {}
for name, model in {"NaturalGradientLogisticRegression()": ours, "LogisticRegression()": peer}.items():
    proba = model.predict_proba(X_test)
    gaps[name] = objective(model) / best - 1
    accuracy, loss = accuracy_score(y_test, model.predict(X_test)), log_loss(y_test, proba)
    print(f"{name:38}{accuracy:9.3f}{loss:10.4f}{model.n_iter_[0]:12d}{gaps[name]:20.1e}")
for warning in caught:
    print(f"\nLogisticRegression() warned: {str(warning.message).splitlines()[0]}")

assert ours.converged_
assert gaps["NaturalGradientLogisticRegression()"] <= 1e-8
assert gaps["LogisticRegression()"] > 1e-2
assert ours.score(X_test, y_test) > 0.9

# %%
# Gap by iteration
# ----------------
# ``loss_curve_`` holds the objective per row before the first step and after each step. scikit-learn stores no such
# curve, so each of its points is a separate fit with a smaller ``max_iter``.


def draw_gaps():
    """Draw the gap of both fits against the number of iterations."""
    iterations = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer_gaps = [objective(LogisticRegression(max_iter=k).fit(X_train, y_train)) / best - 1 for k in iterations]
    our_gaps = np.array(ours.loss_curve_[1:]) * len(y_train) / best - 1
    _, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    axis.plot(iterations, peer_gaps, "s-", color="#D55E00", label="LogisticRegression()")
    # gaps below the relative precision of the loss are rounding
    axis.plot(
        np.arange(len(our_gaps)) + 1,
        np.maximum(our_gaps, np.finfo(float).eps),
        "o-",
        color="#0072B2",
        label="NaturalGradientLogisticRegression()",
    )
    axis.set(xscale="log", yscale="log", xlabel="iterations", ylabel="relative gap to the optimum")
    axis.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    plt.show()


if plt is None:
    print("\nNo picture: matplotlib is not installed")
else:
    draw_gaps()
