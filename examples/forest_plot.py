"""
A forest plot beside the summary
================================

How much each measurement speaks for one cultivar of wine against another, and how sure that is.

The wine data of scikit-learn have three cultivars, which 13 columns separate without error: maximum likelihood has no
optimum there, and fit and ``infer`` would say so. With a penalty there is one; estimates are then shrunk, and the
intervals are those of the posterior under the prior that the penalty is.
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
# The same as a picture
# ---------------------
# Odds ratios for a standard deviation of each column, the most telling ones on top. An interval that leaves out 1 is a
# contrast that the data are sure of.

order = np.argsort(-strongest)
display = CoefficientDisplay.from_result(
    result,
    odds_ratios=True,
    features=[result.feature_names[j] for j in order],
    ax=plt.subplots(figsize=(7, 6), layout="constrained")[1],
)
n_sure = sum(((low > 1) | (high < 1)).sum() for low, high in np.moveaxis(display.intervals, -1, 1))
print(f"{n_sure} of {display.estimates.size} intervals leave out 1")
assert n_sure < display.estimates.size / 2
plt.show()
