r"""
KL divergence and its quadratic approximation
=============================================

Natural gradients measure a move :math:`\delta` of the parameters by the Kullback-Leibler divergence between the models
before and after it. For small moves the divergence is a quadratic form in the Fisher information F,

.. math:: \mathrm{KL}(p_\theta \,\|\, p_{\theta + \delta}) \approx \frac{1}{2} \delta^T F \delta.

The script measures the error of this approximation, first for a Gaussian, then for a logistic regression.
"""

import numpy as np
from matplotlib import pyplot as plt

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# One divergence, two parametrisations
# ------------------------------------
# N(0, v) can be parametrised by its variance v or by its precision t = 1/v. The divergence is the same in both. The
# quadratic approximations are not: the Fisher information is :math:`1/(2v^2)` for a variance and :math:`1/(2t^2)` for a
# precision, and each quadratic is exact only to second order around its model, here v = 2.


def kl_from_two(v):
    """Return KL(N(0, 2) || N(0, v)) in nats."""
    return 0.5 * (2 / v - 1 - np.log(2 / v))


def quadratic_in_variance(v):
    return 0.5 * (v - 2) ** 2 / (2 * 2**2)


def quadratic_in_precision(v):
    return 0.5 * (1 / v - 1 / 2) ** 2 / (2 * (1 / 2) ** 2)


for v in (2.02, 2.2, 4.0):
    print(f"v = {v:.2f}: KL {kl_from_two(v):.2e} nats, ", end="")
    print(f"quadratic in v {quadratic_in_variance(v):.2e}, in t {quadratic_in_precision(v):.2e}")
assert np.isclose(quadratic_in_variance(2.02), kl_from_two(2.02), rtol=0.05)
assert np.isclose(quadratic_in_precision(2.02), kl_from_two(2.02), rtol=0.05)
assert quadratic_in_variance(4.0) > 1.5 * kl_from_two(4.0) > 2 * quadratic_in_precision(4.0)

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
v = np.linspace(0.7, 5, 300)
axis.plot(v, kl_from_two(v), "k", label="KL(N(0, 2) || N(0, v))")
axis.plot(v, quadratic_in_variance(v), "--", color=BLUE, label="quadratic in the variance")
axis.plot(v, quadratic_in_precision(v), "-.", color=ORANGE, label="quadratic in the precision")
axis.set(xlabel="variance v", ylabel="nats", ylim=(0, 0.5))
axis.legend(frameon=False)
plt.show()

# %%
# Two columns of a logistic regression
# ------------------------------------
# Column 0 has a standard deviation of 10 and column 1 of 0.1, and they are correlated. The same move of 0.05 changes
# the predictions about ten thousand times as much, in nats, in the first coefficient as in the second.

rng = np.random.default_rng(0)
X = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=500) * [10.0, 0.1]
y = rng.uniform(size=500) < 1 / (1 + np.exp(-X @ [0.1, 10.0]))
model = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
information = fisher_information(model, X) / len(X)


def moved(move):
    """Return the model with `move` added to its coefficients."""
    other = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
    other.coef_[0] += move
    return other


divergences = []
for column, move in enumerate(0.05 * np.eye(2)):
    divergences.append(kl_divergence(model, moved(move), X))
    quadratic = 0.5 * move @ information @ move
    print(f"column {column}: KL = {divergences[-1]:.2e} nats, quadratic {quadratic:.2e}")
assert divergences[0] > 1000 * divergences[1]

# %%
# The error of the quadratic is of third order in the length of the move, so its relative error halves with the length.
# In this direction it is 24 % at 0.05 nats and 1.4 % at 0.0002 nats.

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
# Contours of the KL divergence and of its quadratic approximation at 0.01, 0.1 and 0.4 nats. The smallest pair almost
# coincides. In the Euclidean metric of plain gradient descent, the moves of equal length form a circle, here of radius
# 0.1. It appears as a line, because the axes differ in scale by about a factor of a hundred.

levels = [0.01, 0.1, 0.4]
extent = np.sqrt(2 * levels[-1] * np.diag(np.linalg.inv(information)))
grid_0, grid_1 = np.meshgrid(*(1.8 * half_width * np.linspace(-1, 1, 121) for half_width in extent))
moves = np.stack([grid_0.ravel(), grid_1.ravel()], axis=1)
logits, other_logits = X @ model.coef_[0], X @ (model.coef_ + moves).T  # (500,), (500, 121²)
mean = 1 / (1 + np.exp(-logits))
# KL of Bernoulli distributions in their logits: the cumulant function minus its tangent
row_divergences = np.logaddexp(0, other_logits) - (np.logaddexp(0, logits) + mean * (other_logits.T - logits)).T
divergence = row_divergences.mean(axis=0)
quadratic = 0.5 * np.einsum("ij,jk,ik->i", moves, information, moves)
nearest = np.argmin(np.abs(divergence - 0.1))
assert np.isclose(divergence[nearest], kl_divergence(model, moved(moves[nearest]), X))

figure, axis = plt.subplots(figsize=(7, 4.6), layout="constrained")
contours = axis.contour(grid_0, grid_1, divergence.reshape(grid_0.shape), levels, colors="k")
axis.contour(grid_0, grid_1, quadratic.reshape(grid_0.shape), levels, colors=BLUE, linestyles="--")
axis.clabel(contours, fmt="%g nats")
axis.plot([], [], "k", label="KL divergence")
axis.plot([], [], "--", color=BLUE, label="quadratic approximation")
angle = np.linspace(0, 2 * np.pi, 100)
axis.plot(0.1 * np.cos(angle), 0.1 * np.sin(angle), color=ORANGE, linewidth=2, label="Euclidean distance 0.1")
axis.set(xlabel="move of coefficient 0\n(column with standard deviation 10)")
axis.set(ylabel="move of coefficient 1\n(column with standard deviation 0.1)", ylim=(None, 1.45 * grid_1.max()))
axis.legend(frameon=False, loc="upper right")
plt.show()
