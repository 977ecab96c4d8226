r"""
Six metrics, six ways down
==========================

All six metrics have the same optimum; what differs is the way. Here are the ways over the loss surface of a logistic
regression with two coefficients, without intercept: two columns of different scale that correlate.

At each point a metric says how long a move is. The ellipses are moves of equal length: the natural gradient goes where
the loss falls most within one, plain gradient descent (``'identity'``) has circles.
"""

import warnings

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad.plots import LossCurveDisplay

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=80) * [1.0, 0.3]
y = rng.uniform(size=80) < 1 / (1 + np.exp(-X @ [-1.0, 2.0 / 0.3]))
optimum = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
print("optimum:", optimum.coef_[0].round(3), "after", optimum.n_iter_[0], "steps of learning_rate='auto'")

# %%
# The ways
# --------
# The textbook algorithm, with a fixed learning rate of 0.3 and nothing else, for 20 steps. A learning rate for the
# Euclidean metric has to be found anew for each data set. Below 2 over the largest curvature of the loss, here 7.7, it
# cannot diverge; 6 leaves a margin.

RATES = dict.fromkeys(("true", "kronecker", "diagonal", "empirical", "monte_carlo"), 0.3) | {"identity": 6.0}
N_STEPS = 20
assert RATES["identity"] < 2 / np.linalg.eigvalsh(X.T @ X / 4 / len(X))[-1] < 7.8


def stops_of(fisher):
    """Return models after 0 to N_STEPS steps."""
    models = []
    for n_steps in range(1, N_STEPS + 1):
        model = NaturalGradientLogisticRegression(
            fisher=fisher,
            learning_rate=RATES[fisher],
            damping=0.0,
            C=np.inf,
            fit_intercept=False,
            max_iter=n_steps,
            tol=0.0,
            random_state=0,
        )
        models.append(model.fit(X, y))
    start = NaturalGradientLogisticRegression(fit_intercept=False).fit(X, y)
    start.coef_ = np.zeros((1, 2))
    return [start, *models]


with warnings.catch_warnings():
    # these steps are not meant to converge
    warnings.simplefilter("ignore", ConvergenceWarning)
    stops = {fisher: stops_of(fisher) for fisher in RATES}
ways = {fisher: np.array([model.coef_[0] for model in models]) for fisher, models in stops.items()}


def loss(thetas):
    """Return mean losses in nats at coefficients, ``(..., 2)``."""
    logits = np.asarray(thetas) @ X.T
    return np.logaddexp(0, np.where(y, -logits, logits)).mean(axis=-1)


print("loss above the optimum, nats a row, after")
print(f"{'':12}" + "".join(f"{steps:>12} steps" for steps in (5, 10, N_STEPS)))
gaps = {fisher: loss(way) - loss(optimum.coef_[0]) for fisher, way in ways.items()}
for fisher, gap in gaps.items():
    print(f"{fisher:12}" + "".join(f"{gap[steps]:18.1e}" for steps in (5, 10, N_STEPS)))

# %%
# For two classes the Kronecker product is the matrix itself, so ``'kronecker'`` goes the way of ``'true'``.
#
# At a fixed rate a smaller metric is a longer step. ``'true'`` goes 0.3 of the way in each, whatever the data. As rows
# come to be fitted, the square of a residual falls below p (1 - p), so ``'empirical'`` steps further: that is luck with
# the length, not a better direction.

assert np.abs(ways["true"] - ways["kronecker"]).max() < 1e-12
assert gaps["true"][-1] < 1e-4 < gaps["diagonal"][-1]
assert gaps["diagonal"][-1] < gaps["identity"][-1]

# %%
# The picture
# -----------
# Ellipses are of 0.05 nats by each metric, at the start and after four steps; the Euclidean circles, which the unequal
# axes flatten, have the area of the true ellipse at the start. Grey lines are contours of the loss, the star is the
# optimum.


def ellipse(centre, metric, nats):
    """Return the moves of ½ vᵀMv = nats around a centre, ``(2, 100)``."""
    angle = np.linspace(0, 2 * np.pi, 100)
    half = np.linalg.inv(np.linalg.cholesky(metric)).T
    return np.asarray(centre)[:, None] + np.sqrt(2 * nats) * half @ [np.cos(angle), np.sin(angle)]


def metric_of(fisher, model):
    """Return the metric at a model for one row, ``(2, 2)``."""
    if fisher == "identity":
        true = fisher_information(stops["true"][0], X) / len(X)
        return np.sqrt(np.linalg.det(true)) * np.eye(2)
    return fisher_information(model, X, y, kind=fisher, random_state=0) / len(X)


COLOURS = {
    "true": "#0072B2",
    "kronecker": "#56B4E9",
    "diagonal": "#009E73",
    "empirical": "#CC79A7",
    "monte_carlo": "#E69F00",
    "identity": "#D55E00",
}
across, up = np.meshgrid(np.linspace(-3.2, 2.2, 90), np.linspace(-4, 11, 90))
surface = loss(np.stack([across, up], axis=-1))
levels = loss(optimum.coef_[0]) + np.geomspace(0.002, 2, 13)
figure, axes = plt.subplots(2, 3, figsize=(7, 6.2), layout="constrained", sharex=True, sharey=True)
for axis, (fisher, way) in zip(axes.flat, ways.items(), strict=True):
    axis.contour(across, up, surface, levels, colors="0.8", linewidths=0.8)
    for step in (0, 4):
        axis.plot(*ellipse(way[step], metric_of(fisher, stops[fisher][step]), 0.05), color=COLOURS[fisher], alpha=0.6)
    axis.plot(*way.T, "o-", color=COLOURS[fisher], markersize=3.5)
    axis.plot(*optimum.coef_[0], "k*", markersize=9)
    axis.set(title=f"'{fisher}'", xlim=(across.min(), across.max()), ylim=(up.min(), up.max()))
for axis in axes[1]:
    axis.set_xlabel("coefficient 0")
for axis in axes[:, 0]:
    axis.set_ylabel("coefficient 1")
plt.show()

# %%
# A raw table
# -----------
# Thirty columns as they come, those of the breast cancer data, and the steps of ``learning_rate='auto'``: the exact
# Fisher information sets the length of each, whatever the metric. Left by iterations, right by the clock; below
# the grey line the loss is as good as the optimum.

table, malignant = load_breast_cancer(return_X_y=True)
fits = {}
with warnings.catch_warnings():
    # 'diagonal' and 'identity' would need more iterations than these
    warnings.simplefilter("ignore", ConvergenceWarning)
    for fisher in RATES:
        fits[fisher] = NaturalGradientLogisticRegression(fisher=fisher, random_state=0).fit(table, malignant)
for fisher, model in fits.items():
    print(f"{fisher:12}{model.n_iter_[0]:4d} iterations, {'converged' if model.converged_ else 'not converged'}")
assert [fisher for fisher, model in fits.items() if not model.converged_] == ["diagonal", "identity"]

figure, axes = plt.subplots(1, 2, figsize=(7, 4), layout="constrained", sharey=True)
for axis, against in zip(axes, ("iteration", "seconds"), strict=True):
    curves = LossCurveDisplay.from_estimators(fits, against=against, ax=axis)
    curves.legend_.remove()
    axis.set(xscale="log", ylabel="")
    for line, fisher in zip(curves.lines_, fits, strict=True):
        line.set(color=COLOURS[fisher])
axes[0].set_ylabel("loss above the optimum, nats a row")
figure.legend(handles=curves.lines_, loc="outside lower center", ncols=3, frameon=False)
plt.show()
