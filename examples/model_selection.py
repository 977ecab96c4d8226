"""
Grid search over metric, damping and penalty
============================================

The estimator in a pipeline, a grid search and cross-validation, like any other scikit-learn classifier.

The table has unscaled numeric columns and a one-hot encoded category. The search covers the penalty, the metric and the
damping. The metric and the damping do not change the optimum, so the scores depend on the penalty alone, which the
script checks. They change only the number of iterations.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sknatgrad import NaturalGradientLogisticRegression

X, y = load_wine(return_X_y=True)
# the last column, proline, becomes a category of four levels
X[:, -1] = np.digitize(X[:, -1], [500, 700, 1000])
names = np.array(["barolo", "grignolino", "barbera"])[y]
X_train, X_test, y_train, y_test = train_test_split(X, names, random_state=0, stratify=names)

# %%
# The search
# ----------
# In addition to the log loss, a second scorer returns the number of iterations of each fit.

pipeline = make_pipeline(
    make_column_transformer((OneHotEncoder(), [X.shape[1] - 1]), remainder="passthrough"),
    NaturalGradientLogisticRegression(max_iter=1000, random_state=0),
)
step = "naturalgradientlogisticregression__"
grid = {
    f"{step}C": [0.01, 0.1, 1.0, 10.0],
    f"{step}fisher": ["true", "kronecker", "empirical", "monte_carlo"],
    f"{step}damping": [0.0, 1e-3, 1e-1, 1.0],
}
scoring = {"log_loss": "neg_log_loss", "iterations": lambda model, _X, _y: model[-1].n_iter_[0]}
search = GridSearchCV(pipeline, grid, scoring=scoring, refit="log_loss", cv=5).fit(X_train, y_train)

results = search.cv_results_
log_losses = {}
print("Cross-validated log loss at each C, averaged over all metrics and dampings")
for C in grid[f"{step}C"]:
    at_penalty = results[f"param_{step}C"] == C
    folds = np.array([-results[f"split{fold}_test_log_loss"][at_penalty] for fold in range(5)])
    log_losses[C] = folds.mean(axis=1)  # (5,), by fold
    spread = np.ptp(folds, axis=1).max()
    print(f"  C = {C:<5}: {folds.mean():.4f}, range over the {folds.shape[1]} settings {spread:.0e}")
    assert spread < 1e-4
print(f"Best C: {search.best_params_[f'{step}C']}")
print(f"Held-out accuracy: {search.best_estimator_.score(X_test, y_test):.3f}")
accuracies = cross_val_score(search.best_estimator_, X, names, cv=5)
print(f"Accuracy over five folds: {accuracies.mean():.3f} ± {accuracies.std():.3f}")
assert search.best_estimator_.score(X_test, y_test) > 0.9
assert accuracies.mean() > 0.9

# %%
# The picture
# -----------
# Left, the penalty, which determines the score. Right, the metric and the damping, which determine the number of
# iterations, here at the best C. The initial damping has little effect, because the damping is adapted in each
# iteration. The defaults, ``fisher='true'`` and 0.001, need the fewest iterations or one more.

iterations = np.zeros((4, 4))
for i, fisher in enumerate(grid[f"{step}fisher"]):
    for j, damping in enumerate(grid[f"{step}damping"]):
        chosen = {f"{step}C": search.best_params_[f"{step}C"], f"{step}fisher": fisher, f"{step}damping": damping}
        iterations[i, j] = results["mean_test_iterations"][results["params"].index(chosen)]
print("Iterations at the best C; rows are metrics, columns are dampings:")
print(iterations)
assert iterations[0].max() < iterations[1:].min()
assert iterations[0, 1] <= iterations.min() + 1

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained", width_ratios=[4, 5])
axes[0].plot(list(log_losses), list(log_losses.values()), color="0.8", linewidth=1)
axes[0].plot(list(log_losses), np.mean(list(log_losses.values()), axis=1), "ko-", label="mean of five folds")
axes[0].plot([], [], color="0.8", linewidth=1, label="each fold")
axes[0].set(xscale="log", xlabel="C", ylabel="held-out log loss, nats per row", ylim=(0, None))
axes[0].legend(frameon=False)
axes[1].imshow(iterations, cmap="Blues", vmin=0, vmax=1.6 * iterations.max(), aspect="auto")
for (i, j), count in np.ndenumerate(iterations):
    axes[1].text(j, i, f"{count:.0f}", ha="center", va="center")
axes[1].set_xticks(range(4), [f"{damping:g}" for damping in grid[f"{step}damping"]])
axes[1].set_yticks(range(4), grid[f"{step}fisher"])
axes[1].set(xlabel="damping", title="iterations to the optimum")
plt.show()
