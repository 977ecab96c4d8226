r"""
Adam as a running diagonal empirical Fisher
===========================================

Adam divides each coordinate of a running mean gradient by the root of a running mean of its squares (D. P. Kingma,
J. Ba, "Adam: a method for stochastic optimization", ICLR 2015). With one row at a time those squares are
:math:`r_i^2 x_{ij}^2`, and their mean is the diagonal of the empirical Fisher information for one row. The root is
what the Fisher information does not have (J. Martens, "New insights and perspectives on the natural gradient method",
arXiv:1412.1193, 2014).
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression, fisher_information

X, y = load_breast_cancer(return_X_y=True)
X = X[:, :10]  # ten measurements, means over the cells of an image, from 0.06 to 650 on average
names = [name.removeprefix("mean ") for name in load_breast_cancer().feature_names[:10]]
X1 = np.column_stack([X, np.ones(len(X))])

# %%
# Ten lines
# ---------
# Plain Adam, its own defaults but for the step size, one row at a time, without a penalty.


def adam(rows, step_size, n_passes, theta, rng):
    """Yield coefficients and the running mean of squared gradients after each pass."""
    mean, square, t = np.zeros_like(theta), np.zeros_like(theta), 0
    for _ in range(n_passes):
        for i in rng.permutation(len(y)):
            t += 1
            gradient = (expit(rows[i] @ theta) - y[i]) * rows[i]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            theta = theta - step_size * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        yield theta, square / (1 - 0.999**t)


# %%
# What it has for a metric
# ------------------------
# Adam walks around the optimum with a step size of next to nothing, so that its running mean is of gradients there, and
# is compared with the diagonals of the empirical and the true Fisher information for one row. 0.001 makes that the mean
# of about the last thousand rows, less than two passes, so it is a rough one.

optimum = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
theta = np.append(optimum.coef_[0], optimum.intercept_)
*_, (_, running) = adam(X1, 1e-12, 5, theta, np.random.default_rng(0))
empirical = np.diag(fisher_information(optimum, X, y, kind="empirical")) / len(y)
true = np.diag(fisher_information(optimum, X)) / len(y)
print(f"{'':18}{'Adam':>11}{'empirical':>11}{'true':>11}")
for name, *row in zip([*names, "intercept"], running, empirical, true, strict=True):
    print(f"{name:18}" + "".join(f"{value:11.2e}" for value in row))
np.testing.assert_allclose(running, empirical, rtol=0.1)
np.testing.assert_allclose(true, empirical, rtol=0.1)

# %%
# They agree to a tenth, here at the optimum of a model that nearly holds.
#
# How it gets there
# -----------------
# From zero, for 60 passes, Adam with three step sizes beside our diagonal and true metrics, whose iterations are a pass
# or two each. The root makes Adam's steps of one size in every coordinate, whatever its scale: what suits the area is
# next to nothing for the smoothness, and noise keeps it at a distance that grows with the step size. It wants columns
# of one scale, and comes far closer with them. The diagonal metric knows the scales, but not that radius, perimeter and
# area go together.

N_PASSES = 60
scaled = np.column_stack([StandardScaler().fit_transform(X), np.ones(len(X))])
best = optimum.loss_curve_[-1]
RUNS = {
    "Adam, step size 0.0001": (X1, 1e-4),
    "Adam, step size 0.001": (X1, 1e-3),
    "Adam, step size 0.01": (X1, 1e-2),
    "Adam, 0.01, columns scaled": (scaled, 1e-2),
}
ways = {}
for name, (rows, step_size) in RUNS.items():
    thetas = [theta for theta, _ in adam(rows, step_size, N_PASSES, np.zeros(11), np.random.default_rng(1))]
    losses = np.logaddexp(0, (1 - 2 * y)[:, None] * (rows @ np.transpose(thetas))).mean(axis=0)
    ways[name] = [np.log(2), *losses]
for fisher in ("diagonal", "true"):
    model = NaturalGradientLogisticRegression(fisher=fisher, C=np.inf, max_iter=5000).fit(X, y)
    ways[f"fisher='{fisher}'"] = model.loss_curve_
    print(f"fisher='{fisher}': {model.n_iter_[0]} iterations to the optimum")
gaps = {name: np.array(losses[: N_PASSES + 1]) / best - 1 for name, losses in ways.items()}
for name, gap in gaps.items():
    print(f"{name:27} after {len(gap) - 1:2d} passes or iterations: {abs(gap[-1]):.1e} above the optimum")
assert min(gaps[name][-1] for name in RUNS if "scaled" not in name) > 10 * gaps["fisher='diagonal'"][-1]
assert abs(gaps["fisher='true'"][-1]) < 1e-8

COLOURS = ("#E69F00", "#D55E00", "#CC79A7", "#000000", "#009E73", "#0072B2")
figure, axes = plt.subplots(1, 2, figsize=(7, 3.9), layout="constrained", width_ratios=[2, 3])
ends = np.array([empirical.min() / 2, empirical.max() * 2])
axes[0].plot(ends, ends, color="0.6", linewidth=1)
axes[0].plot(true, running, "x", color="#0072B2", markersize=8, label="true")
axes[0].plot(empirical, running, "o", color="#D55E00", markersize=5, label="empirical")
axes[0].set(
    xscale="log",
    yscale="log",
    xlabel="diagonal of the Fisher information, nats",
    ylabel="Adam's mean of squared gradients",
)
axes[0].legend(frameon=False)
for colour, (name, gap) in zip(COLOURS, gaps.items(), strict=True):
    # rounding hides what is below the precision of the loss itself
    axes[1].plot(np.maximum(gap, 1e-15), color=colour, label=name, linewidth=1.4)
axes[1].set(
    yscale="log", ylim=(1e-6, 1e3), xlabel="passes over the rows, or iterations", ylabel="relative gap to the optimum"
)
figure.legend(
    *axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize="small"
)
plt.show()
