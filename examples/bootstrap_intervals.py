"""
Intervals without formulas
==========================

Bootstrap intervals of the coefficients of a small table, beside those of the normal approximation.

Standard errors by the Fisher information are those of large samples. The bootstrap draws rows with replacement and fits
the model to each resample. The 2,000 fits are made together, in the time of about a hundred single ones.
"""

import time

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
columns = ["mean radius", "mean texture", "mean smoothness"]
X = StandardScaler().set_output(transform="pandas").fit_transform(X[columns])
rows = np.random.default_rng(0).permutation(len(y))[:200]
X, y = X.iloc[rows], y.iloc[rows]

# %%
# 2,000 resamples of 200 rows
# ---------------------------
# Resamples in which the classes are separated have no optimum without a penalty. They are counted and omitted.

model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
start = time.perf_counter()
model.fit(X, y)
one_fit = time.perf_counter() - start
start = time.perf_counter()
result = infer(model, X, y, covariance="bootstrap", n_resamples=2000)
took = time.perf_counter() - start
print(f"{took:.2f} s, the time of {took / one_fit:.0f} single fits")
print(f"{result.resamples.n_separated} resamples are separated")
by_formula = infer(model, X, y)
for name, ours, theirs in zip(columns, result.standard_errors[0], by_formula.standard_errors[0], strict=False):
    print(f"{name:16s} standard error {ours:.2f}, by the Fisher information {theirs:.2f}")

# %%
# Three kinds of intervals
# ------------------------
# The distributions are skewed away from zero, as resamples of a small table are nearly separated. BCa intervals correct
# for that.

fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for column, ax in enumerate(axes):
    draws = result.resamples.params[:, 0, column]
    low, high = np.quantile(draws, [0.003, 0.999])
    heights, _, _ = ax.hist(draws[(draws >= low) & (draws <= high)], bins=30, color="0.8")
    intervals = {
        "normal, Fisher information": by_formula.conf_int(),
        **{f"{method}, bootstrap": result.conf_int(method=method) for method in ("normal", "percentile", "bca")},
    }
    for number, (name, interval) in enumerate(intervals.items()):
        place = -0.07 * heights.max() * (number + 1)
        ax.plot(interval[0, column], [place, place], color=f"C{number}", linewidth=4, label=name)
    ax.axvline(result.params[0, column], color="black", linewidth=0.8)
    ax.set(xlabel=f"coefficient of {columns[column]}")
axes[0].set_ylabel("resamples")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
bca, normal = result.conf_int(method="bca")[0, 0], by_formula.conf_int()[0, 0]
print(f"{columns[0]}: BCa {bca.round(1)}, normal {normal.round(1)}")
# the coefficient is negative, and the BCa interval reaches less far from zero
assert bca[0] > result.conf_int(method="percentile")[0, 0, 0]
plt.show()
