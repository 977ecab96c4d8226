r"""
Streaming data: partial_fit and stochastic gradient descent
===========================================================

Each row is read once, in batches of 100, and then discarded. ``partial_fit`` keeps the coefficients and the Fisher
information of all rows seen. Hence there is no learning rate to tune, the units of the columns do not matter, and
standard errors are available after each batch. scikit-learn's ``SGDClassifier`` keeps only the coefficients.

The labels are drawn from a logistic regression, so the distance of a model from the truth can be measured, as a mean
Kullback-Leibler divergence. After n rows, the expected divergence of maximum likelihood with d coefficients is
:math:`d / 2n` nats.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy.special import expit
from sklearn.linear_model import SGDClassifier
from sklearn.utils import gen_batches

from sknatgrad import NaturalGradientLogisticRegression

N_ROWS, N_FEATURES, BATCH = 20_000, 10, 100
rng = np.random.default_rng(0)
scaled = rng.normal(size=(N_ROWS, N_FEATURES))
scaled += 0.7 * rng.normal(size=(N_ROWS, 1))  # correlates the columns
units = np.geomspace(1e-3, 1e3, N_FEATURES)
X = scaled * units
truth = rng.normal(size=N_FEATURES) / np.sqrt(N_FEATURES)
y = (rng.uniform(size=N_ROWS) < expit(scaled @ truth)).astype(int)
rows_seen = np.arange(BATCH, N_ROWS + 1, BATCH)


def divergence(logits):
    """Return the mean KL divergence from the truth, in nats."""
    true = scaled @ truth
    return np.mean(np.logaddexp(0, logits) - np.logaddexp(0, true) - expit(true) * (logits - true))


# %%
# One pass
# --------
# ``partial_fit`` gets columns in units from 0.001 to 1,000. SGD needs columns of one scale, so it gets them before the
# units are applied. It runs at its defaults, and with the best of the 40 settings in this project's streaming
# benchmark.

METHODS = {
    "partial_fit, raw columns": (NaturalGradientLogisticRegression(C=np.inf, store_covariance=True), X),
    "SGD, defaults, scaled": (SGDClassifier(loss="log_loss", random_state=0), scaled),
    "SGD, tuned, scaled": (
        SGDClassifier(loss="log_loss", alpha=1e-6, learning_rate="invscaling", eta0=0.3, random_state=0),
        scaled,
    ),
}
divergences, coefs, errors = {}, [], []
for name, (model, rows) in METHODS.items():
    divergences[name] = []
    for batch in gen_batches(N_ROWS, BATCH):
        model.partial_fit(rows[batch], y[batch], classes=[0, 1])
        divergences[name].append(divergence(model.decision_function(rows)))
        if rows is X:
            coefs.append(model.coef_[0] * units)
            errors.append(np.sqrt(model.covariance_.diagonal()[:-1]) * units)
full_fit = divergence(NaturalGradientLogisticRegression(C=np.inf).fit(X, y).decision_function(X))
for name, curve in divergences.items():
    print(f"{name:25}: divergence {curve[9]:.1e} nats after 1,000 rows, {curve[-1]:.1e} after {N_ROWS:,}")
print(f"{'fit to all rows':25}: {'':42}{full_fit:.1e}")
assert divergences["partial_fit, raw columns"][-1] < 1.1 * full_fit
assert divergences["SGD, tuned, scaled"][-1] > 2 * full_fit

# %%
# The picture
# -----------
# Left, the divergence of each method. Right, one coefficient and its 95 % interval during the stream: its width falls
# with the square root of the number of rows.

coefs, errors = np.array(coefs), np.array(errors)
covered = np.mean(np.abs(coefs[-1] - truth) < 1.96 * errors[-1])
print(f"{covered:.0%} of the intervals after the last batch contain the true coefficient")
np.testing.assert_allclose(errors[49] / errors[-1], 2.0, rtol=0.1)  # 5,000 and 20,000 rows
assert covered >= 0.8

figure, axes = plt.subplots(1, 2, figsize=(7, 4), layout="constrained")
for (name, curve), (colour, style) in zip(
    divergences.items(), (("#0072B2", "-"), ("#D55E00", "-."), ("#E69F00", "--")), strict=True
):
    axes[0].plot(rows_seen, curve, style, color=colour, label=name)
axes[0].plot(rows_seen, (N_FEATURES + 1) / (2 * rows_seen), color="0.4", linewidth=1, label="d / 2n")
axes[0].set(xscale="log", yscale="log", xlabel="rows seen", ylabel="divergence from the truth, nats per row")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
axes[1].fill_between(rows_seen, *(coefs[:, 0] + k * 1.96 * errors[:, 0] for k in (-1, 1)), color="#0072B2", alpha=0.2)
axes[1].plot(rows_seen, coefs[:, 0], color="#0072B2")
axes[1].axhline(truth[0], color="k", linewidth=1)
right_edge = axes[1].get_yaxis_transform()  # x in fractions of the axes
axes[1].annotate("truth", (1, truth[0]), xycoords=right_edge, xytext=(4, 0), textcoords="offset points", va="center")
axes[1].set(
    xscale="log",
    xlabel="rows seen",
    ylabel="coefficient 0, per standard unit",
    ylim=(truth[0] - 0.6, truth[0] + 0.6),
)
plt.show()
