"""
Choosing C in four ways
=======================

The strength of the penalty by cross-validation, by the rule of one standard error, by leaving one row out, and by the
evidence.

The table is breast cancer, standardised. Cross-validation needs fits to parts of the rows, which are made together.
The last two need one fit for each C: the loss without a row and the evidence follow from the Fisher information at its
optimum.
"""

import time

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegressionCV, logistic_path
from sknatgrad.plots import RegularizationPathDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = StandardScaler().set_output(transform="pandas").fit_transform(X)
Cs = np.logspace(-3, 2, 16)
seconds = {}

# %%
# Cross-validation
# ----------------
# Five folds at 16 values of C are 80 fits. The rule of one standard error takes a stronger penalty whose score is as
# good as the best one, up to chance.

start = time.perf_counter()
model = NaturalGradientLogisticRegressionCV(Cs=Cs).fit(X, y)
seconds["five folds"] = time.perf_counter() - start
careful = NaturalGradientLogisticRegressionCV(Cs=Cs, refit="1se").fit(X, y)
print(f"best score at C = {model.C_:.2g}, within one standard error of it from C = {careful.C_:.2g}")
assert careful.C_ <= model.C_

# %%
# All rows at once
# ----------------
# ``cv='loo'`` scores each row by the model without it. Rows for which one step of Newton's method is too inaccurate are
# left out in fits of their own, so it costs most here. ``Cs='auto'`` searches for the best C.

start = time.perf_counter()
path = logistic_path(X, y, Cs=Cs)
seconds["path"] = time.perf_counter() - start
start = time.perf_counter()
leave_one_out = NaturalGradientLogisticRegressionCV(Cs=Cs, cv="loo").fit(X, y)
seconds["leave one out"] = time.perf_counter() - start
start = time.perf_counter()
searched = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(X, y)
seconds["leave one out, searched"] = time.perf_counter() - start

chosen = {
    "five folds": model.C_,
    "one standard error": careful.C_,
    "leave one out": leave_one_out.C_,
    "leave one out, searched": searched.C_,
    "evidence": Cs[np.argmax(path.log_evidences)],
}
for name, C in chosen.items():
    took = seconds[{"one standard error": "five folds", "evidence": "path"}.get(name, name)]
    print(f"{name:24s} C = {C:.2g}, {1e3 * took:.0f} ms")
# all are within the range in which scores hardly differ
assert max(chosen.values()) <= 20.0 * min(chosen.values())

# %%
# Coefficients and scores
# -----------------------
# Coefficients of single columns depend much on C where columns are nearly collinear, and the score does not.

RegularizationPathDisplay.from_cv(model)

# %%
# The criteria
# ------------
# Each is drawn in nats a row above its lowest value.

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
criteria = {
    "five folds": -model.scores_[:, 0].mean(axis=0),
    "leave one out": -leave_one_out.scores_[0, 0],
    "evidence": -path.log_evidences / len(y),
}
for (name, values), linestyle in zip(criteria.items(), ("-", "--", "-."), strict=True):
    ax.plot(Cs, values - values.min(), linestyle, label=name)
ax.set(xscale="log", ylim=(0.0, 0.1), xlabel="C (a small C is a strong penalty)", ylabel="nats a row above the lowest")
ax.legend()
plt.show()
