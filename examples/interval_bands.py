"""
Probabilities with interval bands
=================================

How sure a model is of the probability it states, along one feature, the others at their medians.

The diabetes data of scikit-learn: 442 patients, and whether their disease has progressed further after a year than the
median patient's. One model has seen 60 of them, the other all. Their curves are much alike, their bands are not: 442
rows for 60 make standard errors smaller by about the root of 7.4.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.plots import ProbabilityIntervalDisplay

X, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X = X[["bmi", "bp", "s5", "age"]].rename(
    columns={"bmi": "body mass index, kg/m²", "bp": "blood pressure, mmHg", "s5": "log of triglycerides", "age": "age"}
)
y = np.where(progression > progression.median(), "above", "below")
some = np.random.default_rng(0).permutation(len(X))[:60]
settings = {"C": np.inf, "store_covariance": True}
models = {
    "60 patients": NaturalGradientLogisticRegression(**settings).fit(X.iloc[some], y[some]),
    "442 patients": NaturalGradientLogisticRegression(**settings).fit(X, y),
}

# %%
# One patient
# -----------

patient = X.median().to_frame().T
widths = []
for name, model in models.items():
    proba, (low, high) = model.predict_proba(patient)[0, 0], model.predict_proba_interval(patient)[0, 0]
    widths.append(model.decision_function_std(patient)[0])
    print(
        f"{name:12}: progression above the median with probability {proba:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    )
print(f"standard errors of the log-odds: {widths[0]:.2f} and {widths[1]:.2f}, ratio {widths[0] / widths[1]:.1f}")
assert 1.5 < widths[0] / widths[1] < 4

# %%
# Three features
# --------------
# Marks on the axis are the deciles of the patients. Bands widen beyond them.

figure, axes = plt.subplots(2, 3, figsize=(7, 5), layout="constrained", sharex="col", sharey=True)
for row, (name, model) in zip(axes, models.items(), strict=True):
    for axis, feature in zip(row, X.columns[:3], strict=True):
        ProbabilityIntervalDisplay.from_estimator(model, X, feature=feature, class_of_interest="above", ax=axis)
        axis.set(ylabel="", xlabel=feature if axis in axes[1] else "")
    row[0].set_ylabel(f"probability of progression\n{name}, 95 % interval")
plt.show()
