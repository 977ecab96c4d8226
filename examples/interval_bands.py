"""
Probabilities with interval bands
=================================

The interval of a predicted probability along one feature, with the other features at their medians.

The diabetes data of scikit-learn: 442 patients, and whether their disease progressed further in a year than that of the
median patient. One model is fitted to 60 patients, the other to all. Their curves are similar, but their bands are not:
with 442 rows instead of 60, standard errors are smaller by a factor of about the square root of 7.4.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.plots import ProbabilityIntervalDisplay

X, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X = X[["bmi", "bp", "s5", "age"]].rename(
    columns={"bmi": "body mass index, kg/m²", "bp": "blood pressure, mmHg", "s5": "log of triglycerides", "age": "age"}
)
y = np.where(progression > progression.median(), "above", "below")
subset = np.random.default_rng(0).permutation(len(X))[:60]
settings = {"C": np.inf, "store_covariance": True}
models = {
    "60 patients": NaturalGradientLogisticRegression(**settings).fit(X.iloc[subset], y[subset]),
    "442 patients": NaturalGradientLogisticRegression(**settings).fit(X, y),
}

# %%
# One patient
# -----------

patient = X.median().to_frame().T
errors = []
for name, model in models.items():
    proba, (low, high) = model.predict_proba(patient)[0, 0], model.predict_proba_interval(patient)[0, 0]
    errors.append(model.decision_function_std(patient)[0])
    print(
        f"{name:12}: progression above the median with probability {proba:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    )
print(f"standard errors of the log-odds: {errors[0]:.2f} and {errors[1]:.2f}, ratio {errors[0] / errors[1]:.1f}")
assert 1.5 < errors[0] / errors[1] < 4

# %%
# Three features
# --------------
# The marks on the axis are the deciles of the feature. The bands widen beyond them, where there are few patients.

figure, axes = plt.subplots(2, 3, figsize=(7, 5), layout="constrained", sharex="col", sharey=True)
for row, (name, model) in zip(axes, models.items(), strict=True):
    for axis, feature in zip(row, X.columns[:3], strict=True):
        ProbabilityIntervalDisplay.from_estimator(model, X, feature=feature, class_of_interest="above", ax=axis)
        axis.set(ylabel="", xlabel=feature if axis in axes[1] else "")
    row[0].set_ylabel(f"probability of progression\n{name}, 95 % interval")
plt.show()

# %%
# A feature that is in the table twice
# ------------------------------------
# A model with the square of a feature needs rows in which both columns change together. By default only one column
# changes, and the square stays at its median; `rows` takes a function that makes the rows for the values on the axis.


def table(age):
    """Return the age of patients, and its square."""
    return pd.DataFrame({"age": age, "age squared": age**2})


model = NaturalGradientLogisticRegression(**settings).fit(table(X["age"]), y)
display = ProbabilityIntervalDisplay.from_estimator(
    model, table(X["age"]), feature="age", rows=table, class_of_interest="above"
)
assert np.array_equal(display.proba[:, 0], model.predict_proba(table(display.grid))[:, 0])
plt.show()
