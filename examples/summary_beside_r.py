"""
The summary table of R, and a forecast outside the data
=======================================================

O-ring failures before the Challenger launch: for each of 23 shuttle flights, the temperature in degrees Fahrenheit and
whether any O-ring showed distress. S. R. Dalal, E. B. Fowlkes, B. Hoadley, "Risk analysis of the space shuttle:
pre-Challenger prediction of failure", JASA 84 (1989). R's figures are those of ``glm(Fail > 0 ~ Temp,
family=binomial)`` at https://byui-kctolli.netlify.app/math325/analyses/examples/challengerlogisticreg.

On the day of the accident the temperature was 31 degrees, far below all of the data. The interval of the forecast
reflects that.
"""

import numpy as np
from matplotlib import pyplot as plt

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer

TEMPERATURE = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
DISTRESS = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]

X, y = np.array(TEMPERATURE, dtype=float)[:, None], np.array(DISTRESS)
model = NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(X, y)
result = infer(model, X, y)
print(result.summary())

# %%
# Comparison with R
# -----------------
# Our estimates, standard errors, z statistics and p-values next to those of R.

R_FIGURES = {"(Intercept)": (15.0429, 7.3786, 2.039, 0.0415), "x0": (-0.2322, 0.1082, -2.145, 0.0320)}
print(f"{'':12}{'estimate':>19}{'standard error':>20}{'z':>19}{'p':>20}")
for name, figures in R_FIGURES.items():
    j = result.feature_names.index(name)
    ours = (result.params[0, j], result.standard_errors[0, j], result.z[0, j], result.p_values[0, j])
    digits = (4, 4, 3, 4)
    cells = [f"{mine:8.{d}f} R {theirs:8.{d}f}" for mine, theirs, d in zip(ours, figures, digits, strict=True)]
    print(f"{name:12}" + "".join(f"{cell:>20}" for cell in cells))
    assert [round(mine, d) for mine, d in zip(ours, digits, strict=True)] == list(figures)

# %%
# The forecast
# ------------
# At 31 degrees the maximum likelihood estimate of the probability of distress is almost 1, but its interval includes
# one half. The probability averaged over the uncertainty of the coefficients lies in between.

low, high = model.predict_proba_interval([[31.0]])[0, 1]
plain, averaged = model.predict_proba([[31.0]])[0, 1], model.predict_proba_averaged([[31.0]])[0, 1]
print(f"At 31 degrees: {plain:.4f}, 95 % interval {low:.2f} to {high:.4f}, averaged {averaged:.2f}")
assert low < 0.6 < averaged < plain

grid = np.linspace(28, 84, 300)[:, None]
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.fill_between(
    grid[:, 0], *model.predict_proba_interval(grid)[:, 1].T, color="#0072B2", alpha=0.2, label="95 % interval"
)
axis.plot(grid, model.predict_proba(grid)[:, 1], color="#0072B2", label="maximum likelihood")
axis.plot(grid, model.predict_proba_averaged(grid)[:, 1], "--", color="#0072B2", label="averaged over the uncertainty")
axis.plot(TEMPERATURE, DISTRESS, "k|", markersize=12, label="flights")
axis.axvline(31, color="#D55E00", linewidth=1)
axis.text(31.6, 0.62, "the accident, 31 °F", color="#D55E00")
axis.set(xlabel="temperature at launch, °F", ylabel="probability of distress", ylim=(-0.03, 1.03))
axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.1, 0.02))
plt.show()
