r"""
The limits of the empirical Fisher
==================================

The Fisher information is an expectation over labels that the *model* draws. The empirical Fisher puts the *observed*
labels in their place: with :math:`r = p - y` a row counts :math:`r^2` where its variance is :math:`p (1 - p)`. That is
right on average where the model holds, at its true coefficients, with many rows. Elsewhere it is another matrix:
F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher approximation for natural gradient descent",
NeurIPS 2019.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_wine

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad.plots import FisherEllipseDisplay

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# Three settings
# --------------
# Two columns, and a logistic regression of two coefficients:
#
# - *the model holds*: labels are drawn from one;
# - *the model does not hold*: one row in ten is three times as far out along the first column, and labelled at random;
# - *small residuals*: the classes lie apart, and a penalty holds the coefficients, so all rows are predicted well.

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=2000)
noise = rng.logistic(size=len(X))
far = rng.uniform(size=len(X)) < 0.1
stretched = X * np.where(far, 3.0, 1.0)[:, None] ** [1, 0]
apart = X[np.abs(X @ [1, -1]) > 1]
SETTINGS = {
    "the model holds": (X, noise < X @ [1.0, -1.0], np.inf),
    "the model does not hold": (
        stretched,
        np.where(far, rng.uniform(size=len(X)) < 0.5, noise < stretched @ [2.0, -2.0]),
        np.inf,
    ),
    "small residuals": (apart, apart @ [1.0, -1.0] > 0, 1.0),
}
print("eigenvalues of the empirical metric by the true one, at the optimum; where they agree, both are 1")
fits, metrics, ratios = {}, {}, {}
for name, (rows, y, C) in SETTINGS.items():
    fits[name] = NaturalGradientLogisticRegression(C=C, fit_intercept=False).fit(rows, y)
    metrics[name] = {
        kind: fisher_information(fits[name], rows, y, kind=kind) / len(rows) for kind in ("true", "empirical")
    }
    ratios[name] = np.linalg.eigvals(np.linalg.solve(metrics[name]["true"], metrics[name]["empirical"]))
    print(f"{name:26}{min(ratios[name]):8.3f}{max(ratios[name]):8.3f}")
np.testing.assert_allclose(ratios["the model holds"], 1.0, atol=0.1)
assert max(ratios["the model does not hold"]) > 2 * min(ratios["the model does not hold"])
assert max(ratios["small residuals"]) < 0.05

# %%
# Ellipses of equal length, 0.01 nats, around the optimum by either metric. Where the model does not hold, the empirical
# one is squeezed in one direction: steps by it are too short there. Where residuals are small, it is 60 to 70 times
# smaller than the true one, since :math:`(1 - p)^2` is far less than :math:`p (1 - p)`, and the ellipse far too large.

figure, axes = plt.subplots(1, 3, figsize=(7, 3.4), layout="constrained")
for axis, (name, (rows, y, _)) in zip(axes, SETTINGS.items(), strict=True):
    ellipses = FisherEllipseDisplay.from_estimator(fits[name], rows, y=y, kinds=("true", "empirical"), kl=0.01, ax=axis)
    ellipses.legend_.remove()
    axis.set(xlabel="coefficient 0", ylabel="")
    axis.set_title(name, fontsize="medium")
axes[0].set_ylabel("coefficient 1")
figure.legend(handles=ellipses.ellipses_, loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %%
# What it costs
# -------------
# The estimator damps its steps, and finds their length with the exact Fisher information, so that every metric ends at
# the same optimum. What is left of the difference is how many steps that takes. With a weaker penalty the wine data,
# raw, are fitted better and better, residuals shrink, and the empirical metric falls behind.

wine, cultivar = load_wine(return_X_y=True)
penalties = np.geomspace(0.01, 100, 9)
iterations, share = {"true": [], "empirical": []}, []
for C in penalties:
    losses = []
    for fisher, counts in iterations.items():
        model = NaturalGradientLogisticRegression(fisher=fisher, C=C, max_iter=1000).fit(wine, cultivar)
        counts.append(model.n_iter_[0])
        losses.append(model.loss_curve_[-1])
    np.testing.assert_allclose(*losses, rtol=1e-8)
    proba = model.predict_proba(wine)
    # summed over classes: squared residuals, and the variances that the model gives them
    share.append(((proba - np.eye(3)[cultivar]) ** 2).sum() / (proba * (1 - proba)).sum())
for C, true, empirical, ratio in zip(penalties, *iterations.values(), share, strict=True):
    print(f"C = {C:7.3f}: {true:3d} steps by 'true', {empirical:3d} by 'empirical'; r² is {ratio:.2f} of its variance")
assert all(empirical > 2 * true for true, empirical in zip(*iterations.values(), strict=True))

figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for (fisher, counts), (colour, style) in zip(iterations.items(), ((BLUE, "o-"), (ORANGE, "s--")), strict=True):
    axes[0].plot(penalties, counts, style, color=colour, label=f"'{fisher}'")
axes[0].set(xscale="log", xlabel="C", ylabel="iterations to the optimum", ylim=(0, None))
axes[0].legend(frameon=False)
axes[1].plot(penalties, share, "ko-")
axes[1].set(xscale="log", xlabel="C", ylabel="squared residuals / their variance", ylim=(0, None))
plt.show()
