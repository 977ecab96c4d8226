"""
Which rows drive this fit?
==========================

The rows that change the coefficients most, and what the model says about each of them without it.

A fit to a few hundred rows may hang on a handful of them: a wrong label, a wrong unit, a patient unlike the others. A
row has influence if it lies far from the others (its leverage) and the model fits it badly (its residual). Cook's
distance combines both. ``influence`` computes it for all rows in one pass.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import influence
from sknatgrad.plots import InfluenceDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = StandardScaler().set_output(transform="pandas").fit_transform(X)

# %%
# Three labels are wrong
# ----------------------
# They are those of three rows of which the model is certain.

model = NaturalGradientLogisticRegression(C=0.1).fit(X, y)
certain = np.argsort(-abs(model.decision_function(X)))[[40, 41, 42]]
labels = y.to_numpy().copy()
labels[certain] = 1 - labels[certain]
model = NaturalGradientLogisticRegression(C=0.1).fit(X, labels)
result = influence(model, X, labels)

# %%
# The most influential rows
# -------------------------
# The loss of a row by the model without it is larger than that by the model with it. The difference is largest for the
# rows that the fit has followed.

table = result.to_frame().sort_values("cooks_distance", ascending=False)
columns = ["leverage", "cooks_distance", "deviance_residual", "loss", "loo_loss"]
print(table[columns].head(6).round(3).to_string())
found = set(table.index[:6]) & set(certain)
print(f"{len(found)} of the 3 wrong labels are among the 6 most influential rows")
assert len(found) == 3

InfluenceDisplay.from_result(result)

# %%
# Leverage and residual
# ---------------------
# The area of a mark is Cook's distance.

distance = result.cooks_distance
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
wrong = np.isin(np.arange(len(labels)), certain)
residual = np.ravel(result.deviance_residuals)
for mask, name, marker in ((~wrong, "label as given", "o"), (wrong, "label changed", "s")):
    ax.scatter(result.leverage[mask], residual[mask], s=8 + 600 * distance[mask], marker=marker, alpha=0.5, label=name)
ax.set(xlabel="leverage", ylabel="deviance residual")
ax.axhline(0.0, color="0.6", linewidth=0.8)
ax.legend()
plt.show()
