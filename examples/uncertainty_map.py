"""
Where a classifier knows, and where it only says so
===================================================

Intervals of probabilities over a map of two measurements: sepals of three kinds of iris.

``predict_proba`` draws sharp borders and continues them beyond the flowers that were measured. The interval shows that
nobody knows where they run there, and averaging over the coefficients blurs them.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_iris

from sknatgrad import NaturalGradientLogisticRegression

X, y = load_iris(return_X_y=True)
X = X[:, :2]
model = NaturalGradientLogisticRegression(C=10.0, store_covariance=True).fit(X, y)

# %%
# Two flowers
# -----------

widths = []
for name, flower in (("among the flowers", [[6.3, 2.8]]), ("far from them", [[7.0, 5.6]])):
    proba, averaged = model.predict_proba(flower)[0], model.predict_proba_averaged(flower)[0]
    kind = proba.argmax()
    low, high = model.predict_proba_interval(flower)[0, kind]
    widths.append(high - low)
    print(f"{name:18}: kind {kind} with probability {proba[kind]:.2f}, ", end="")
    print(f"95 % interval {low:.2f} to {high:.2f}, averaged {averaged[kind]:.2f}")
assert widths[1] > 2 * widths[0]

# %%
# The map
# -------
# Lines are the borders between kinds, symbols the flowers.

across, up = np.meshgrid(np.linspace(3, 10, 141), np.linspace(1, 6, 121))
grid = np.column_stack([across.ravel(), up.ravel()])
proba, ends = model.predict_proba(grid), model.predict_proba_interval(grid)
rows, best = np.arange(len(grid)), proba.argmax(axis=1)
averaged = model.predict_proba_averaged(grid).max(axis=1)
maps = {
    "probability of the\nlikeliest kind": proba[rows, best],
    "width of its\n95 % interval": np.ptp(ends[rows, best], axis=1),
    "the probability,\naveraged": averaged,
}
figure, axes = plt.subplots(1, 3, figsize=(7, 3.9), layout="constrained", sharey=True)
for axis, (title, values) in zip(axes, maps.items(), strict=True):
    width = title.startswith("width")
    levels = np.linspace(0, 1, 11) if width else np.linspace(1 / 3, 1, 11)
    shades = axis.contourf(across, up, values.reshape(across.shape), levels, cmap="magma_r" if width else "viridis")
    ticks = [0, 0.5, 1] if width else [1 / 3, 2 / 3, 1]
    figure.colorbar(shades, ax=axis, location="bottom", ticks=ticks, format="%.2g")
    for kind in range(3):
        lead = proba[:, kind] - np.delete(proba, kind, axis=1).max(axis=1)
        axis.contour(across, up, lead.reshape(across.shape), levels=[0.0], colors="w", linewidths=1)
    for kind, marker in enumerate("o^s"):
        axis.scatter(*X[y == kind].T, s=9, marker=marker, edgecolor="k", facecolor="w", linewidth=0.5)
    axis.set_title(title, fontsize="medium")
    axis.set_xlabel("sepal length, cm")
axes[0].set_ylabel("sepal width, cm")
plt.show()
