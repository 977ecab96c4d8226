r"""
Six metrics, six paths to the optimum
=====================================

All six metrics lead to the same optimum, on different paths. The script draws them on the loss surface of a logistic
regression with two coefficients and no intercept, for two correlated columns of different scale.

At each point a metric defines the length of a move, and the ellipses show the moves of equal length. The natural
gradient direction is the one in which the loss decreases most per unit of that length. For plain gradient descent
(``'identity'``) the ellipses are circles.
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
# The paths
# ---------
# The textbook algorithm with a fixed learning rate of 0.3, for 20 steps. The Euclidean metric needs a learning rate
# that is tuned to the data. Below 2 divided by the largest curvature of the loss, here 7.7, it cannot diverge; 6 leaves
# a margin.

RATES = dict.fromkeys(("true", "kronecker", "diagonal", "empirical", "monte_carlo"), 0.3) | {"identity": 6.0}
N_STEPS = 20
assert RATES["identity"] < 2 / np.linalg.eigvalsh(X.T @ X / 4 / len(X))[-1] < 7.8


def models_of(fisher):
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
    models = {fisher: models_of(fisher) for fisher in RATES}
paths = {fisher: np.array([model.coef_[0] for model in of_metric]) for fisher, of_metric in models.items()}


def loss(thetas):
    """Return the mean loss in nats at each of the coefficients, ``(..., 2)``."""
    logits = np.asarray(thetas) @ X.T
    return np.logaddexp(0, np.where(y, -logits, logits)).mean(axis=-1)


print("loss above the optimum, in nats per row, after")
print(f"{'':12}" + "".join(f"{steps:>12} steps" for steps in (5, 10, N_STEPS)))
gaps = {fisher: loss(path) - loss(optimum.coef_[0]) for fisher, path in paths.items()}
for fisher, gap in gaps.items():
    print(f"{fisher:12}" + "".join(f"{gap[steps]:18.1e}" for steps in (5, 10, N_STEPS)))

# %%
# For two classes the Kronecker factorisation is exact, so ``'kronecker'`` takes the same path as ``'true'``.
#
# At a fixed learning rate a smaller metric gives a longer step. With ``'true'`` each step is 0.3 of a Newton step,
# whatever the data. As the fit improves, squared residuals fall below p (1 - p), so the steps of ``'empirical'`` become
# longer. It is faster here because of their length, not because of a better direction.

assert np.abs(paths["true"] - paths["kronecker"]).max() < 1e-12
assert gaps["true"][-1] < 1e-4 < gaps["diagonal"][-1]
assert gaps["diagonal"][-1] < gaps["identity"][-1]

# %%
# The picture
# -----------
# The ellipses show moves of 0.05 nats in each metric, at the start and after four steps. The circles of the Euclidean
# metric look flattened because the axes have different scales; they have the same area as the ellipse of ``'true'`` at
# the start. Grey lines are contours of the loss, and the star is the optimum.


def ellipse(centre, metric, nats):
    """Return the points around a centre whose distance v satisfies ½ vᵀMv = nats, ``(2, 100)``."""
    angle = np.linspace(0, 2 * np.pi, 100)
    inverse_root = np.linalg.inv(np.linalg.cholesky(metric)).T
    return np.asarray(centre)[:, None] + np.sqrt(2 * nats) * inverse_root @ [np.cos(angle), np.sin(angle)]


def metric_of(fisher, model):
    """Return the metric at a model, averaged over rows, ``(2, 2)``."""
    if fisher == "identity":
        true = fisher_information(models["true"][0], X) / len(X)
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
coef_0, coef_1 = np.meshgrid(np.linspace(-3.2, 2.2, 90), np.linspace(-4, 11, 90))
surface = loss(np.stack([coef_0, coef_1], axis=-1))
levels = loss(optimum.coef_[0]) + np.geomspace(0.002, 2, 13)
figure, axes = plt.subplots(2, 3, figsize=(7, 6.2), layout="constrained", sharex=True, sharey=True)
for axis, (fisher, path) in zip(axes.flat, paths.items(), strict=True):
    axis.contour(coef_0, coef_1, surface, levels, colors="0.8", linewidths=0.8)
    for step in (0, 4):
        metric = metric_of(fisher, models[fisher][step])
        axis.plot(*ellipse(path[step], metric, 0.05), color=COLOURS[fisher], alpha=0.6)
    axis.plot(*path.T, "o-", color=COLOURS[fisher], markersize=3.5)
    axis.plot(*optimum.coef_[0], "k*", markersize=9)
    axis.set(title=f"'{fisher}'", xlim=coef_0[0, [0, -1]], ylim=coef_1[[0, -1], 0])
for axis in axes[1]:
    axis.set_xlabel("coefficient 0")
for axis in axes[:, 0]:
    axis.set_ylabel("coefficient 1")
plt.show()

# %%
# Raw data
# --------
# The thirty unscaled columns of the breast cancer data, with ``learning_rate='auto'``: the length of each step is
# computed with the exact Fisher information, whatever the metric. Left against iterations, right against time. Losses
# below the grey line cannot be distinguished from the optimum.

table, malignant = load_breast_cancer(return_X_y=True)
fits = {}
with warnings.catch_warnings():
    # 'diagonal' and 'identity' do not converge within the default number of iterations
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
axes[0].set_ylabel("loss above the optimum, nats per row")
figure.legend(handles=curves.lines_, loc="outside lower center", ncols=3, frameon=False)
plt.show()
