"""
Uncertainty of predicted probabilities over two features
========================================================

Intervals of the predicted probabilities as a function of two measurements: length and width of the sepals of three
species of iris.

``predict_proba`` has sharp class boundaries, which it extrapolates beyond the flowers that were measured. The intervals
show that the data do not determine the boundaries there, and averaging over the coefficients blurs them.
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
for name, flower in (("within the data", [[6.3, 2.8]]), ("outside the data", [[7.0, 5.6]])):
    proba, averaged = model.predict_proba(flower)[0], model.predict_proba_averaged(flower)[0]
    species = proba.argmax()
    low, high = model.predict_proba_interval(flower)[0, species]
    widths.append(high - low)
    print(f"{name:18}: species {species} with probability {proba[species]:.2f}, ", end="")
    print(f"95 % interval {low:.2f} to {high:.2f}, averaged {averaged[species]:.2f}")
assert widths[1] > 2 * widths[0]

# %%
# The map
# -------
# White lines are the class boundaries, symbols the flowers.

length, width = np.meshgrid(np.linspace(3, 10, 141), np.linspace(1, 6, 121))
grid = np.column_stack([length.ravel(), width.ravel()])
proba, intervals = model.predict_proba(grid), model.predict_proba_interval(grid)
rows, best = np.arange(len(grid)), proba.argmax(axis=1)
averaged = model.predict_proba_averaged(grid).max(axis=1)
maps = {
    "probability of the\nmost likely species": proba[rows, best],
    "width of its\n95 % interval": np.ptp(intervals[rows, best], axis=1),
    "largest averaged\nprobability": averaged,
}
figure, axes = plt.subplots(1, 3, figsize=(7, 3.9), layout="constrained", sharey=True)
for axis, (title, values) in zip(axes, maps.items(), strict=True):
    is_width = title.startswith("width")
    levels = np.linspace(0, 1, 11) if is_width else np.linspace(1 / 3, 1, 11)
    cmap = "magma_r" if is_width else "viridis"
    shades = axis.contourf(length, width, values.reshape(length.shape), levels, cmap=cmap)
    ticks = [0, 0.5, 1] if is_width else [1 / 3, 2 / 3, 1]
    figure.colorbar(shades, ax=axis, location="bottom", ticks=ticks, format="%.2g")
    for species in range(3):
        margin = proba[:, species] - np.delete(proba, species, axis=1).max(axis=1)
        axis.contour(length, width, margin.reshape(length.shape), levels=[0.0], colors="w", linewidths=1)
    for species, marker in enumerate("o^s"):
        axis.scatter(*X[y == species].T, s=9, marker=marker, edgecolor="k", facecolor="w", linewidth=0.5)
    axis.set_title(title, fontsize="medium")
    axis.set_xlabel("sepal length, cm")
axes[0].set_ylabel("sepal width, cm")
plt.show()
