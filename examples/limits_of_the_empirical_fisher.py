r"""
The limits of the empirical Fisher
==================================

The Fisher information is an expectation over labels drawn from the *model*. The empirical Fisher information uses the
*observed* labels instead: it replaces the variance :math:`p (1 - p)` of the residual :math:`r = p - y` by :math:`r^2`.
The two agree, up to sampling error, if the model is correct and the coefficients are the true ones. Otherwise they
differ: F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher approximation for natural gradient
descent", NeurIPS 2019.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_wine

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad.plots import FisherEllipseDisplay

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# Three data sets
# ---------------
# Two columns, and a logistic regression with two coefficients:
#
# - *correct model*: the labels are drawn from a logistic regression;
# - *wrong model*: one row in ten is stretched three times along the first column and has a random label;
# - *small residuals*: the classes are separated and a penalty keeps the coefficients finite, so all rows are predicted
#   well.

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=2000)
noise = rng.logistic(size=len(X))
outlier = rng.uniform(size=len(X)) < 0.1
stretched = X * np.where(outlier, 3.0, 1.0)[:, None] ** [1, 0]
separated = X[np.abs(X @ [1, -1]) > 1]
DATA = {
    "correct model": (X, noise < X @ [1.0, -1.0], np.inf),
    "wrong model": (
        stretched,
        np.where(outlier, rng.uniform(size=len(X)) < 0.5, noise < stretched @ [2.0, -2.0]),
        np.inf,
    ),
    "small residuals": (separated, separated @ [1.0, -1.0] > 0, 1.0),
}
print("smallest and largest eigenvalue of the empirical metric relative to the true one, at the optimum")
fits, metrics, ratios = {}, {}, {}
for name, (rows, y, C) in DATA.items():
    fits[name] = NaturalGradientLogisticRegression(C=C, fit_intercept=False).fit(rows, y)
    metrics[name] = {
        kind: fisher_information(fits[name], rows, y, kind=kind) / len(rows) for kind in ("true", "empirical")
    }
    ratios[name] = np.linalg.eigvals(np.linalg.solve(metrics[name]["true"], metrics[name]["empirical"]))
    print(f"{name:26}{min(ratios[name]):8.3f}{max(ratios[name]):8.3f}")
np.testing.assert_allclose(ratios["correct model"], 1.0, atol=0.1)
assert max(ratios["wrong model"]) > 2 * min(ratios["wrong model"])
assert max(ratios["small residuals"]) < 0.05

# %%
# The ellipses show the moves from the optimum that have a length of 0.01 nats in each metric. If the model is wrong,
# the empirical ellipse is compressed in one direction, and steps in that direction are too short. If residuals are
# small, the empirical metric is 60 to 70 times smaller than the true one, because :math:`(1 - p)^2` is far less than
# :math:`p (1 - p)`, and its ellipse is far too large.

figure, axes = plt.subplots(1, 3, figsize=(7, 3.4), layout="constrained")
for axis, (name, (rows, y, _)) in zip(axes, DATA.items(), strict=True):
    ellipses = FisherEllipseDisplay.from_estimator(fits[name], rows, y=y, kinds=("true", "empirical"), kl=0.01, ax=axis)
    ellipses.legend_.remove()
    axis.set(xlabel="coefficient 0", ylabel="")
    axis.set_title(name, fontsize="medium")
axes[0].set_ylabel("coefficient 1")
figure.legend(handles=ellipses.ellipses_, loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %%
# The cost in iterations
# ----------------------
# The estimator damps its steps and computes their length with the exact Fisher information, so every metric reaches the
# same optimum. The metrics differ only in the number of iterations. On the unscaled wine data, a weaker penalty makes
# the fit closer and the residuals smaller, and the empirical metric needs more iterations.

wine, cultivar = load_wine(return_X_y=True)
penalties = np.geomspace(0.01, 100, 9)
iterations, residual_ratios = {"true": [], "empirical": []}, []
for C in penalties:
    losses = []
    for fisher, counts in iterations.items():
        model = NaturalGradientLogisticRegression(fisher=fisher, C=C, max_iter=1000).fit(wine, cultivar)
        counts.append(model.n_iter_[0])
        losses.append(model.loss_curve_[-1])
    np.testing.assert_allclose(*losses, rtol=1e-8)
    proba = model.predict_proba(wine)
    # squared residuals over their variances under the model, each summed over rows and classes
    residual_ratios.append(((proba - np.eye(3)[cultivar]) ** 2).sum() / (proba * (1 - proba)).sum())
for C, true, empirical, ratio in zip(penalties, *iterations.values(), residual_ratios, strict=True):
    print(f"C = {C:7.3f}: {true:3d} iterations with 'true', {empirical:3d} with 'empirical', ", end="")
    print(f"squared residuals / variance {ratio:.2f}")
assert all(empirical > 2 * true for true, empirical in zip(*iterations.values(), strict=True))

figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for (fisher, counts), (colour, style) in zip(iterations.items(), ((BLUE, "o-"), (ORANGE, "s--")), strict=True):
    axes[0].plot(penalties, counts, style, color=colour, label=f"'{fisher}'")
axes[0].set(xscale="log", xlabel="C", ylabel="iterations to the optimum", ylim=(0, None))
axes[0].legend(frameon=False)
axes[1].plot(penalties, residual_ratios, "ko-")
axes[1].set(xscale="log", xlabel="C", ylabel="squared residuals / their variance", ylim=(0, None))
plt.show()
