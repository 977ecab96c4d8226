"""
The textbook experiment
=======================

Five steps of vanilla and of natural gradient descent, a hundred times over.

Two Gaussian clouds, at (-1, -1) and (1, 1), 100 points each; 150 rows to train; logistic regression without a bias,
from zero. Over 100 repetitions of the draw, mean and standard deviation of the loss after each step say how fast and
how reliably a method goes down at a fixed learning rate.

The natural gradient appears in four metrics. The one that is often copied takes the covariance of the scores,
``np.cov(scores)``: that is the empirical Fisher information less the outer product of the mean score, "centred". The
estimator never centres, as the definition does not; here the centred one is ten lines of numpy.
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
OPTIMUM = "optimum of the draw"
METRICS = {
    VANILLA: "identity",
    "natural: empirical": "empirical",
    "natural: true": "true",
    "natural: diagonal": "diagonal",
}
CENTRED = "natural: empirical, centred"


def clouds(rng):
    """Return 150 training rows of the two clouds, and their labels."""
    X = np.vstack([rng.normal(-1, 1, size=(100, 2)), rng.normal(1, 1, size=(100, 2))])
    y = np.repeat([0, 1], 100)
    train = rng.permutation(200)[:150]
    return X[train], y[train]


# %%
# The methods
# -----------
# Each returns the mean loss before the first step and after each.


def losses_of_centred(X, y, learning_rate):
    """Step with the covariance of the scores for a metric."""
    theta = np.zeros(X.shape[1])
    losses = [np.log(2)]
    for _ in range(N_STEPS):
        scores = (expit(X @ theta) - y)[:, None] * X  # (n, p), each row's gradient
        theta -= learning_rate * np.linalg.solve(np.cov(scores.T), scores.mean(axis=0))
        losses.append(np.logaddexp(0, (1 - 2 * y) * (X @ theta)).mean())
    return losses


def losses_of_metric(X, y, fisher, learning_rate):
    """Step by the textbook algorithm."""
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
    return curve + [curve[-1]] * (N_STEPS + 1 - len(curve))  # a step that gains nothing more is the last


def repeat(learning_rate):
    """Return, for each method, the losses of all repetitions, ``(N_REPETITIONS, N_STEPS + 1)``."""
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
# Every draw of the clouds has an optimum of its own, so a method that reaches it shows the spread of the draws. What a
# method answers for is how far above the optimum of its draw it has stayed: that is the second table.

losses = {rate: {name: curve[:, -1] for name, curve in column.items()} for rate, column in curves.items()}
excess = {rate: {name: column[name] - column[OPTIMUM] for name in column} for rate, column in losses.items()}
natural = [CENTRED, *list(METRICS)[1:]]


def table(title, names, columns):
    """Print mean and standard deviation of each method at each learning rate."""
    print(f"{title}: mean and standard deviation over {N_REPETITIONS} repetitions, nats\n")
    print(f"{'learning rate':28}" + "".join(f"{rate:>16}" for rate in LEARNING_RATES))
    for name in names:
        cells = (column[name] for column in columns.values())
        print(f"{name:28}" + "".join(f"{np.mean(cell):9.4f} ±{np.std(cell):.4f}" for cell in cells))
    print()


def ahead(column, name):
    """Say whether a method has the lower mean and the smaller spread than vanilla gradient descent."""
    mine, vanilla = column[name], column[VANILLA]
    return bool(mine.mean() < vanilla.mean() and mine.std() < vanilla.std())


table(f"Training loss after {N_STEPS} steps", [VANILLA, *natural, OPTIMUM], losses)
table("The same above the optimum of the draw", [VANILLA, *natural], excess)
for name in natural:
    raw, above = ([rate for rate in LEARNING_RATES if ahead(columns[rate], name)] for columns in (losses, excess))
    print(f"{name}: lower mean and smaller spread than vanilla")
    print(f"    at learning rates {above or 'none'} above the optimum, {raw or 'none'} in the plain loss")

assert all(ahead(excess[rate], name) for rate in LEARNING_RATES[1:] for name in natural)
assert ahead(losses[0.1], "natural: true")
assert ahead(excess[0.1], "natural: true")

# %%
# The bands
# ---------
# Mean and one standard deviation above and below, at two learning rates. Centring takes the outer product of the mean
# score off the metric, which makes the metric smaller and the steps longer: at a fixed rate the smaller metric is
# ahead, whatever its direction. ``'true'`` goes the rate's share of the way in each step.

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
        above = curves[rate][name] - curves[rate][OPTIMUM]
        mean, spread = above.mean(axis=0), above.std(axis=0)
        axis.fill_between(range(N_STEPS + 1), mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
        axis.plot(mean, marker=marker, color=colour, label=name)
    axis.set(title=f"learning rate {rate}", xlabel="steps", ylim=(0, None))
axes[0].set_ylabel("nats above the optimum of the draw")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
plt.show()
