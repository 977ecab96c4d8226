"""
Regularisation path: coefficients against the penalty
=====================================================

Coefficients for the breast cancer data against C, from a strong penalty to a weak one. Each fit starts from the
coefficients of the previous one.

The columns are scaled only so that their coefficients are comparable. The fits do not need it.
"""

from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.plots import RegularizationPathDisplay

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = StandardScaler().set_output(transform="pandas").fit_transform(X)
model = NaturalGradientLogisticRegression(C=1.0)
display = RegularizationPathDisplay.from_estimator(
    model,
    X,
    y,
    Cs=[10.0 ** (k / 4) for k in range(-16, 13)],
    ax=plt.subplots(figsize=(7, 4.2), layout="constrained")[1],
)

# %%
# The radius and the area of a cell nucleus are almost collinear. Under a strong penalty both have nearly the same
# coefficient. Under a weak one their coefficients are large and of opposite sign, and neither means much by itself.

path = {name: display.coefs[:, 0, display.feature_names.index(name)] for name in ("mean radius", "mean area")}
correlation = X["mean radius"].corr(X["mean area"])
print(f"correlation of mean radius and mean area: {correlation:.3f}")
for name, coefs in path.items():
    print(f"{name:12}: {coefs[0]:.4f} at C = {display.Cs[0]:g}, {coefs[-1]:.1f} at C = {display.Cs[-1]:g}")
assert correlation > 0.98
assert abs(path["mean radius"][0] / path["mean area"][0] - 1) < 0.05
assert path["mean radius"][-1] > 0 > path["mean area"][-1]
plt.show()
