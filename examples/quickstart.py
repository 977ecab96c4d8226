"""
Raw data, at the defaults
=========================

The main job: logistic regression on a table as it comes, without a scaling ritual.

The breast cancer data have columns with ranges from 0.03 to 4,000. Our estimator and scikit-learn's
``LogisticRegression()``, both at their defaults, are fitted to them. They minimise the same objective, so their losses
can be compared: the *gap* is how far above the optimum, relative to it, a fit has stopped.

The numbers need nothing but the package; the picture needs matplotlib.
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
print(f"{len(X_train)} rows to train, {X.shape[1]} columns with ranges from {ranges.min():.2g} to ", end="")
print(f"{ranges.max():,.0f}, nothing scaled")

# %%
# Two fits
# --------
# Where the optimum is, scikit-learn's second-order solver says too, with a tolerance far below its default.

ours = NaturalGradientLogisticRegression().fit(X_train, y_train)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    peer = LogisticRegression().fit(X_train, y_train)
    reference = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X_train, y_train)


def objective(model):
    """Return what both minimise at C = 1: the summed loss in nats plus half the squared coefficients."""
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
# The way down
# ------------
# ``loss_curve_`` has the objective per row before the first step and after each. For scikit-learn, the same is had by
# fits of fewer iterations.


def picture():
    """Draw the gap after each iteration, of both."""
    iterations = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peers = [objective(LogisticRegression(max_iter=k).fit(X_train, y_train)) / best - 1 for k in iterations]
    curve = np.array(ours.loss_curve_[1:]) * len(y_train) / best - 1
    _, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    axis.plot(iterations, peers, "s-", color="#D55E00", label="LogisticRegression()")
    # rounding hides what is below the precision of the loss itself
    axis.plot(
        np.arange(len(curve)) + 1,
        np.maximum(curve, np.finfo(float).eps),
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
    picture()
