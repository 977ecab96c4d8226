"""
The textbook experiment
=======================

Five steps of plain ("vanilla") and of natural gradient descent, repeated on 100 random data sets.

The data are two Gaussian clouds around (-1, -1) and (1, 1) with 100 points each, of which 150 points are used for
training. The model is a logistic regression without an intercept, started at zero. The mean and the standard deviation
of the loss over the repetitions show how fast and how reliably each method decreases the loss at a fixed learning rate.

The natural gradient is computed with four metrics. A metric that is often used in this experiment is the covariance of
the scores, ``np.cov(scores)``. It is the empirical Fisher information minus the outer product of the mean score, and is
called "centred" here. The estimator does not centre, in agreement with the definition of the Fisher information; the
centred variant takes ten lines of numpy.
"""

import warnings

import numpy as np
from matplotlib import pyplot as plt
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression

N_STEPS = 5
N_REPETITIONS = 100
LEARNING_RATES = [0.03, 0.1, 0.3, 1.0]
VANILLA = "vanilla (identity)"
OPTIMUM = "optimum"
METRICS = {
    VANILLA: "identity",
    "natural: empirical": "empirical",
    "natural: true": "true",
    "natural: diagonal": "diagonal",
}
CENTRED = "natural: empirical, centred"


def clouds(rng):
    """Return 150 training rows drawn from the two clouds, and their labels."""
    X = np.vstack([rng.normal(-1, 1, size=(100, 2)), rng.normal(1, 1, size=(100, 2))])
    y = np.repeat([0, 1], 100)
    train = rng.permutation(200)[:150]
    return X[train], y[train]


# %%
# The methods
# -----------
# Each function returns the mean loss before the first step and after each step.


def losses_of_centred(X, y, learning_rate):
    """Return the losses of steps with the covariance of the scores as metric."""
    theta = np.zeros(X.shape[1])
    losses = [np.log(2)]
    for _ in range(N_STEPS):
        scores = (expit(X @ theta) - y)[:, None] * X  # (n, p), the gradient of each row
        theta -= learning_rate * np.linalg.solve(np.cov(scores.T), scores.mean(axis=0))
        losses.append(np.logaddexp(0, (1 - 2 * y) * (X @ theta)).mean())
    return losses


def losses_of_metric(X, y, fisher, learning_rate):
    """Return the losses of the textbook algorithm."""
    model = NaturalGradientLogisticRegression(
        fisher=fisher,
        learning_rate=learning_rate,
        damping=0.0,
        C=np.inf,
        fit_intercept=False,
        max_iter=N_STEPS,
        tol=0.0,
    )
    with warnings.catch_warnings():
        # five steps are not meant to converge
        warnings.simplefilter("ignore", ConvergenceWarning)
        curve = model.fit(X, y).loss_curve_
    return curve + [curve[-1]] * (N_STEPS + 1 - len(curve))  # a fit ends early when no step decreases the loss


def repeat(learning_rate):
    """Return the losses of each method in all repetitions, ``(N_REPETITIONS, N_STEPS + 1)``."""
    rng = np.random.default_rng(0)
    losses = {}
    for _ in range(N_REPETITIONS):
        X, y = clouds(rng)
        found = {name: losses_of_metric(X, y, fisher, learning_rate) for name, fisher in METRICS.items()}
        found[CENTRED] = losses_of_centred(X, y, learning_rate)
        optimum = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y).loss_curve_[-1]
        found[OPTIMUM] = [optimum] * (N_STEPS + 1)
        for name, curve in found.items():
            losses.setdefault(name, []).append(curve)
    return {name: np.array(curves) for name, curves in losses.items()}


curves = {rate: repeat(rate) for rate in LEARNING_RATES}

# %%
# The table
# ---------
# Each data set has its own optimum, so the losses vary even if a method reaches every optimum. The second table
# therefore shows the excess loss, the difference from the optimum of the same data set.

losses = {rate: {name: curve[:, -1] for name, curve in column.items()} for rate, column in curves.items()}
excess = {rate: {name: column[name] - column[OPTIMUM] for name in column} for rate, column in losses.items()}
NATURAL = [CENTRED, *list(METRICS)[1:]]


def table(title, names, columns):
    """Print mean and standard deviation of each method at each learning rate."""
    print(f"{title}: mean and standard deviation over {N_REPETITIONS} repetitions, nats\n")
    print(f"{'learning rate':28}" + "".join(f"{rate:>16}" for rate in LEARNING_RATES))
    for name in names:
        cells = (column[name] for column in columns.values())
        print(f"{name:28}" + "".join(f"{np.mean(cell):9.4f} ±{np.std(cell):.4f}" for cell in cells))
    print()


def is_better(column, name):
    """Return whether a method has a lower mean and a lower standard deviation than vanilla gradient descent."""
    natural, vanilla = column[name], column[VANILLA]
    return bool(natural.mean() < vanilla.mean() and natural.std() < vanilla.std())


table(f"Training loss after {N_STEPS} steps", [VANILLA, *NATURAL, OPTIMUM], losses)
table(f"Excess loss after {N_STEPS} steps", [VANILLA, *NATURAL], excess)
for name in NATURAL:
    in_loss, in_excess = (
        [rate for rate in LEARNING_RATES if is_better(columns[rate], name)] for columns in (losses, excess)
    )
    print(f"{name}: lower mean and standard deviation than vanilla")
    print(f"    at learning rates {in_excess or 'none'} for the excess loss, {in_loss or 'none'} for the loss")

assert all(is_better(excess[rate], name) for rate in LEARNING_RATES[1:] for name in NATURAL)
assert is_better(losses[0.1], "natural: true")
assert is_better(excess[0.1], "natural: true")

# %%
# The picture
# -----------
# The mean excess loss at two learning rates, with bands of one standard deviation above and below. Centring subtracts
# the outer product of the mean score from the metric, which makes the metric smaller and the steps longer. At a fixed
# learning rate a smaller metric is faster, whatever its direction. With ``'true'``, each step is a Newton step times
# the learning rate.

STYLES = {
    VANILLA: ("#D55E00", "s"),
    "natural: true": ("#0072B2", "o"),
    "natural: diagonal": ("#56B4E9", "^"),
    "natural: empirical": ("#009E73", "v"),
    CENTRED: ("#CC79A7", "D"),
}
figure, axes = plt.subplots(1, 2, figsize=(7, 4.2), layout="constrained", sharey=True)
for axis, rate in zip(axes, (0.1, 0.3), strict=True):
    for name, (colour, marker) in STYLES.items():
        excess_curves = curves[rate][name] - curves[rate][OPTIMUM]
        mean, std = excess_curves.mean(axis=0), excess_curves.std(axis=0)
        axis.fill_between(range(N_STEPS + 1), mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
        axis.plot(mean, marker=marker, color=colour, label=name)
    axis.set(title=f"learning rate {rate}", xlabel="steps", ylim=(0, None))
axes[0].set_ylabel("excess loss, nats per row")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
plt.show()
