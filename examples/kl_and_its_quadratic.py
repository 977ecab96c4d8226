r"""
The divergence and its quadratic
================================

Natural gradients measure a move :math:`\delta` of the parameters by the Kullback-Leibler divergence that it makes, and
near a model that is a quadratic with the Fisher information F for its matrix,

.. math:: \mathrm{KL}(p_\theta \,\|\, p_{\theta + \delta}) \approx \frac{1}{2} \delta^T F \delta.

How near is near? First for a Gaussian, then for a logistic regression.
"""

import numpy as np
from matplotlib import pyplot as plt

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# One divergence, two coordinates
# -------------------------------
# N(0, v) can be written by its variance v or by its precision t = 1/v. The divergence does not know which. The
# quadratics do, away from the model they were made at: the Fisher information is :math:`1/(2v^2)` for a variance and
# :math:`1/(2t^2)` for a precision, and both are exact to second order only.


def kl_from_two(v):
    """Return KL(N(0, 2) || N(0, v)) in nats."""
    return 0.5 * (2 / v - 1 - np.log(2 / v))


def by_variance(v):
    return 0.5 * (v - 2) ** 2 / (2 * 2**2)


def by_precision(v):
    return 0.5 * (1 / v - 1 / 2) ** 2 / (2 * (1 / 2) ** 2)


for v in (2.02, 2.2, 4.0):
    print(f"v = {v:.2f}: KL {kl_from_two(v):.2e} nats, ", end="")
    print(f"quadratic in v {by_variance(v):.2e}, in t {by_precision(v):.2e}")
assert np.isclose(by_variance(2.02), kl_from_two(2.02), rtol=0.05)
assert np.isclose(by_precision(2.02), kl_from_two(2.02), rtol=0.05)
assert by_variance(4.0) > 1.5 * kl_from_two(4.0) > 2 * by_precision(4.0)

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
v = np.linspace(0.7, 5, 300)
axis.plot(v, kl_from_two(v), "k", label="KL(N(0, 2) || N(0, v))")
axis.plot(v, by_variance(v), "--", color=BLUE, label="quadratic in the variance")
axis.plot(v, by_precision(v), "-.", color=ORANGE, label="quadratic in the precision")
axis.set(xlabel="variance v", ylabel="nats", ylim=(0, 0.5))
axis.legend(frameon=False)
plt.show()

# %%
# Two columns of a logistic regression
# ------------------------------------
# Column 0 has a spread of 10 and column 1 one of 0.1; they correlate. A coefficient moved by 0.05 moves the predictions
# ten thousand times as far, in nats, in the one as in the other.

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=500) * [10.0, 0.1]
y = rng.uniform(size=500) < 1 / (1 + np.exp(-X @ [0.1, 10.0]))
model = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
information = fisher_information(model, X) / len(X)


def moved(move):
    """Return the model with its coefficients moved."""
    other = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
    other.coef_[0] += move
    return other


divergences = []
for column, move in enumerate(0.05 * np.eye(2)):
    divergences.append(kl_divergence(model, moved(move), X))
    quadratic = 0.5 * move @ information @ move
    print(f"column {column}: KL = {divergences[-1]:.2e} nats, by the Fisher information {quadratic:.2e}")
assert divergences[0] > 1000 * divergences[1]

# %%
# What the quadratic leaves out is of third order: where a move is halved, its relative error halves. In this direction
# it is off by a quarter at 0.05 nats, and by one part in a hundred at 0.0002.

direction = np.linalg.solve(information, [0.1, 0.0])
direction /= np.sqrt(direction @ information @ direction)  # KL of a move of length r is r²/2
lengths = np.sqrt(2) * 2.0 ** np.arange(0, -9, -1)
exact = np.array([kl_divergence(model, moved(r * direction), X) for r in lengths])
errors = np.abs(lengths**2 / 2 / exact - 1)
print(
    "relative error of the quadratic:",
    ", ".join(f"{error:.4f} at {nats:.0e} nats" for error, nats in zip(errors[::2], exact[::2], strict=True)),
)
assert 0.2 < errors[2] < 0.3
np.testing.assert_allclose(errors[4:-1] / errors[5:], 2.0, rtol=0.1)

# %%
# All moves of equal divergence: contours of KL, and the ellipses of the quadratic, at 0.01, 0.1 and 0.4 nats. The
# smallest hardly differ. What plain gradient descent takes for equally far is a circle, here one of radius 0.1: a
# stroke in this picture, where a unit of the first coefficient is worth a hundred of the second.

levels = [0.01, 0.1, 0.4]
spread = np.sqrt(2 * levels[-1] * np.diag(np.linalg.inv(information)))
across, up = np.meshgrid(*(1.8 * s * np.linspace(-1, 1, 121) for s in spread))
moves = np.stack([across.ravel(), up.ravel()], axis=1)
logits, other_logits = X @ model.coef_[0], X @ (model.coef_ + moves).T  # (500,), (500, 121²)
mean = 1 / (1 + np.exp(-logits))
# KL of Bernoulli distributions in their logits: the cumulant function less its tangent
rows = np.logaddexp(0, other_logits) - (np.logaddexp(0, logits) + mean * (other_logits.T - logits)).T
divergence = rows.mean(axis=0)
quadratic = 0.5 * np.einsum("ij,jk,ik->i", moves, information, moves)
nearest = np.argmin(np.abs(divergence - 0.1))
assert np.isclose(divergence[nearest], kl_divergence(model, moved(moves[nearest]), X))

figure, axis = plt.subplots(figsize=(7, 4.6), layout="constrained")
ours = axis.contour(across, up, divergence.reshape(across.shape), levels, colors="k")
axis.contour(across, up, quadratic.reshape(across.shape), levels, colors=BLUE, linestyles="--")
axis.clabel(ours, fmt="%g nats")
axis.plot([], [], "k", label="KL divergence")
axis.plot([], [], "--", color=BLUE, label="quadratic by the Fisher information")
angle = np.linspace(0, 2 * np.pi, 100)
axis.plot(0.1 * np.cos(angle), 0.1 * np.sin(angle), color=ORANGE, linewidth=2, label="Euclidean distance 0.1")
axis.set(xlabel="move of coefficient 0, column of spread 10", ylabel="move of coefficient 1, column of spread 0.1")
axis.set_ylim(top=1.45 * up.max())
axis.legend(frameon=False, loc="upper right")
plt.show()
