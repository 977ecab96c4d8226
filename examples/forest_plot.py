"""
Forest plot: odds ratios with their intervals
=============================================

The odds ratio of each measurement for one cultivar of wine against another, with its interval.

The wine data of scikit-learn have three cultivars, which the 13 columns separate without error. Maximum likelihood
therefore has no optimum, and ``fit`` and ``infer`` would warn about it. With a penalty there is an optimum. The
estimates are then shrunk, and the intervals are posterior intervals under the Gaussian prior that corresponds to the
penalty.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer
from sknatgrad.plots import CoefficientDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
X = StandardScaler().set_output(transform="pandas").fit_transform(X)
model = NaturalGradientLogisticRegression(C=1.0).fit(X, y)
result = infer(model, X, y)
print(result.summary())

# %%
# One test for both contrasts of a column
# ---------------------------------------

test = result.wald_test("flavanoids")
print(f"flavanoids, both contrasts: chi-squared {test.statistic:.1f} on {test.dof}, p = {test.p_value:.1g}")
strongest = np.abs(result.z[:, :-1]).max(axis=0)
assert result.feature_names[strongest.argmax()] == "proline"
assert result.effective_dof < 28

# %%
# The forest plot
# ---------------
# Odds ratios per standard deviation of each column, sorted by the largest absolute z statistic. Where an interval
# excludes 1, the data determine the sign of the contrast.

order = np.argsort(-strongest)
display = CoefficientDisplay.from_result(
    result,
    odds_ratios=True,
    features=[result.feature_names[j] for j in order],
    ax=plt.subplots(figsize=(7, 6), layout="constrained")[1],
)
n_excluding_one = sum(((low > 1) | (high < 1)).sum() for low, high in np.moveaxis(display.intervals, -1, 1))
print(f"{n_excluding_one} of {display.estimates.size} intervals exclude 1")
assert n_excluding_one < display.estimates.size / 2
plt.show()
