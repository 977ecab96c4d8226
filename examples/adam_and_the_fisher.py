r"""
Adam and the diagonal of the empirical Fisher information
=========================================================

Adam divides each coordinate of a running mean of gradients by the square root of a running mean of their squares (D. P.
Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015). With one row at a time those squares are
:math:`r_i^2 x_{ij}^2`, and their mean is the diagonal of the empirical Fisher information per row. A natural gradient
step divides by the information itself, not by its square root (J. Martens, "New insights and perspectives on the
natural gradient method", arXiv:1412.1193, 2014).
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression, fisher_information

X, y = load_breast_cancer(return_X_y=True)
X = X[:, :10]  # ten measurements, averaged over the cells of an image; their means over images are from 0.06 to 650
names = [name.removeprefix("mean ") for name in load_breast_cancer().feature_names[:10]]
X_raw = np.column_stack([X, np.ones(len(X))])

# %%
# Adam in ten lines
# -----------------
# Plain Adam with its default decay rates, one row at a time, without a penalty.


def adam(rows, step_size, n_passes, theta, rng):
    """Yield the coefficients and the running mean of squared gradients after each pass."""
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
# The metric of Adam
# ------------------
# Adam starts at the optimum with a step size of 1e-12, so its running mean is over gradients at the optimum. The result
# is compared with the diagonals of the empirical and the true Fisher information per row. With a decay rate of 0.999 it
# averages over about the last thousand rows, less than two passes, so it is a noisy estimate.

optimum = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
theta = np.append(optimum.coef_[0], optimum.intercept_)
*_, (_, running) = adam(X_raw, 1e-12, 5, theta, np.random.default_rng(0))
empirical = np.diag(fisher_information(optimum, X, y, kind="empirical")) / len(y)
true = np.diag(fisher_information(optimum, X)) / len(y)
print(f"{'':18}{'Adam':>11}{'empirical':>11}{'true':>11}")
for name, *row in zip([*names, "intercept"], running, empirical, true, strict=True):
    print(f"{name:18}" + "".join(f"{value:11.2e}" for value in row))
np.testing.assert_allclose(running, empirical, rtol=0.1)
np.testing.assert_allclose(true, empirical, rtol=0.1)

# %%
# All three agree to within 10 %, here at the optimum of a model that is nearly correct.
#
# Convergence
# -----------
# Adam from zero with three step sizes for 60 passes, compared with our diagonal and true metrics, whose iterations take
# one or two passes each. Because of the square root, Adam's steps have the same size in every coordinate, whatever its
# scale: a step that suits the coefficient of the area is far too small for that of the smoothness. Gradient noise also
# keeps Adam at a distance from the optimum that grows with the step size. On scaled columns it comes far closer. The
# diagonal metric accounts for the scales, but not for the correlations between radius, perimeter and area.

N_PASSES = 60
scaled = np.column_stack([StandardScaler().fit_transform(X), np.ones(len(X))])
best = optimum.loss_curve_[-1]
RUNS = {
    "Adam, step size 0.0001": (X_raw, 1e-4),
    "Adam, step size 0.001": (X_raw, 1e-3),
    "Adam, step size 0.01": (X_raw, 1e-2),
    "Adam, 0.01, scaled columns": (scaled, 1e-2),
}
losses = {}
for name, (rows, step_size) in RUNS.items():
    thetas = [theta for theta, _ in adam(rows, step_size, N_PASSES, np.zeros(11), np.random.default_rng(1))]
    mean_losses = np.logaddexp(0, (1 - 2 * y)[:, None] * (rows @ np.transpose(thetas))).mean(axis=0)
    losses[name] = [np.log(2), *mean_losses]
for fisher in ("diagonal", "true"):
    model = NaturalGradientLogisticRegression(fisher=fisher, C=np.inf, max_iter=5000).fit(X, y)
    losses[f"fisher='{fisher}'"] = model.loss_curve_
    print(f"fisher='{fisher}': {model.n_iter_[0]} iterations to the optimum")
gaps = {name: np.array(curve[: N_PASSES + 1]) / best - 1 for name, curve in losses.items()}
for name, gap in gaps.items():
    print(f"{name:27} relative gap {abs(gap[-1]):.1e} after {len(gap) - 1:2d} passes or iterations")
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
    # gaps below the relative precision of the loss are rounding
    axes[1].plot(np.maximum(gap, 1e-15), color=colour, label=name, linewidth=1.4)
axes[1].set(
    yscale="log", ylim=(1e-6, 1e3), xlabel="passes over the rows, or iterations", ylabel="relative gap to the optimum"
)
figure.legend(
    *axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize="small"
)
plt.show()
