r"""
The same steps in any parametrisation
=====================================

The parametrisation of a model is arbitrary, so the steps of a fit should not depend on it. Gradient steps do. Natural
gradient steps do not, to first order in their length, and under linear changes of coordinates not at all.
"""

import warnings

import numpy as np
from matplotlib import pyplot as plt
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# One step in the variance and in the precision
# ---------------------------------------------
# The model N(0, v) with the loss KL(N(0, 1) || N(0, v)), started at v = 2, with a learning rate of 0.01. The Fisher
# information is :math:`1/(2v^2)` for a variance v and :math:`1/(2t^2)` for a precision t = 1/v.

start, rate = 2.0, 0.01
gradient_v = 0.5 * (1 / start - 1 / start**2)
gradient_t = -gradient_v * start**2
fisher_v, fisher_t = 1 / (2 * start**2), start**2 / 2
plain = start - rate * gradient_v, 1 / (1 / start - rate * gradient_t)
natural = start - rate * gradient_v / fisher_v, 1 / (1 / start - rate * gradient_t / fisher_t)
for name, (by_variance, by_precision) in {"gradient": plain, "natural gradient": natural}.items():
    print(f"{name + ' step:':22} v = {by_variance:.5f} if made in v, {by_precision:.5f} if made in t")
moved_plain, moved_natural = (np.array(pair) - start for pair in (plain, natural))
assert moved_plain[1] / moved_plain[0] > 10
assert abs(moved_natural[1] / moved_natural[0] - 1) < 2 * rate

# %%
# A Gaussian in three coordinate systems
# --------------------------------------
# The mean and the standard deviation of a Gaussian are fitted to N(2, 1), starting at N(0, 0.5²). The loss is the
# divergence. Steps are made in :math:`(\mu, \sigma)`, in :math:`(\mu, \log\sigma)` and in :math:`(\mu, 1/\sigma^2)`;
# all paths are drawn in :math:`(\mu, \sigma)`. The grey lines are contours of the loss.

# the coordinate as a function of sigma, its inverse, and the derivative of sigma with respect to it
COORDINATES = {
    "σ": (lambda s: s, lambda c: c, lambda s: 1.0),  # noqa: ARG005 - all three take sigma
    "log σ": (np.log, np.exp, lambda s: s),
    "1/σ²": (lambda s: s**-2, lambda c: c**-0.5, lambda s: -(s**3) / 2),
}


def loss(mean, sigma):
    """Return KL(N(2, 1) || N(mean, sigma²)) in nats."""
    return np.log(sigma) - 0.5 + 0.5 * (1 + (mean - 2) ** 2) / sigma**2


def descend(coordinate, *, by_fisher, learning_rate, n_steps):
    """Return mean and standard deviation before the first step and after each, ``(n_steps + 1, 2)``."""
    forward, backward, derivative = COORDINATES[coordinate]
    mean, sigma = 0.0, 0.5
    path = [(mean, sigma)]
    for _ in range(n_steps):
        jacobian = derivative(sigma)
        gradient = np.array([(mean - 2) / sigma**2, 1 / sigma - (1 + (mean - 2) ** 2) / sigma**3])
        gradient[1] *= jacobian
        information = np.array([1 / sigma**2, 2 / sigma**2 * jacobian**2])
        step = -learning_rate * (gradient / information if by_fisher else gradient)
        mean, sigma = mean + step[0], backward(forward(sigma) + step[1])
        path.append((mean, sigma))
    return np.array(path)


METHODS = {
    "gradient": {"by_fisher": False, "learning_rate": 0.01, "n_steps": 1500},
    "natural gradient": {"by_fisher": True, "learning_rate": 0.01, "n_steps": 1500},
}
paths = {
    (name, coordinate): descend(coordinate, **settings)
    for name, settings in METHODS.items()
    for coordinate in COORDINATES
}
largest = {key: path[:, 1].max() for key, path in paths.items()}
for name in METHODS:
    print(
        f"largest σ on the path of the {name:16}:",
        ", ".join(f"{largest[name, coordinate]:.3f} in {coordinate}" for coordinate in COORDINATES),
    )
assert np.ptp([largest["natural gradient", coordinate] for coordinate in COORDINATES]) < 0.05
assert np.ptp([largest["gradient", coordinate] for coordinate in COORDINATES]) > 0.5

figure, axes = plt.subplots(2, 3, figsize=(7, 4.6), layout="constrained", sharex=True, sharey=True)
means, sigmas = np.meshgrid(np.linspace(-0.3, 2.6, 100), np.linspace(0.35, 2.9, 100))
for row, (name, colour) in zip(axes, zip(METHODS, (ORANGE, BLUE), strict=True), strict=True):
    for axis, coordinate in zip(row, COORDINATES, strict=True):
        axis.contour(means, sigmas, loss(means, sigmas), np.geomspace(0.02, 10, 10), colors="0.8", linewidths=0.8)
        axis.plot(*paths[name, coordinate].T, color=colour, linewidth=2)
        axis.plot(0, 0.5, "o", color=colour)
        axis.plot(2, 1, "k*", markersize=9)
        axis.set_title(f"steps in (μ, {coordinate})", fontsize="medium")
    row[0].set_ylabel(f"{name}\nσ")
for axis in axes[1]:
    axis.set_xlabel("μ")
plt.show()

# %%
# Linear transformations of the columns
# -------------------------------------
# In a logistic regression, a linear change of coordinates is a linear transformation of the columns. Here are two
# columns as they are, then with the second divided by 4, then their sum and difference in different units. For the
# picture, the coefficients are transformed back to the original columns. The natural gradient paths are equal up to
# rounding.

rng = np.random.default_rng(1)
X = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=400)
y = rng.uniform(size=400) < 1 / (1 + np.exp(-X @ [1.5, -1.0]))
TRANSFORMATIONS = {
    "original columns": np.eye(2),
    "second divided by 4": np.diag([1.0, 0.25]),
    "sum and difference": np.array([[1.0, 0.3], [1.0, -0.3]]),
}
N_STEPS = 15


def path_of(fisher, transformation):
    """Return coefficients of the original columns after 0 to N_STEPS steps of the textbook algorithm."""
    model = NaturalGradientLogisticRegression(
        fisher=fisher, learning_rate=1.0 if fisher == "identity" else 0.3, damping=0.0, C=np.inf, fit_intercept=False
    )
    path = [np.zeros(2)]
    for n_steps in range(1, N_STEPS + 1):
        model.set_params(max_iter=n_steps, tol=0.0)
        path.append(transformation @ model.fit(X @ transformation, y).coef_[0])
    return np.array(path)


with warnings.catch_warnings():
    # these steps are not meant to converge
    warnings.simplefilter("ignore", ConvergenceWarning)
    paths = {
        (fisher, name): path_of(fisher, transformation)
        for fisher in ("identity", "true")
        for name, transformation in TRANSFORMATIONS.items()
    }
differences = {
    fisher: max(np.abs(paths[fisher, name] - paths[fisher, "original columns"]).max() for name in TRANSFORMATIONS)
    for fisher in ("identity", "true")
}
print(f"largest difference between the paths of the gradient: {differences['identity']:.2f}")
print(f"largest difference between the paths of the natural gradient: {differences['true']:.0e}")
assert differences["identity"] > 0.1
assert differences["true"] < 1e-10

optimum = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y).coef_[0]
figure, axes = plt.subplots(2, 3, figsize=(7, 4.6), layout="constrained", sharex=True, sharey=True)
coef_0, coef_1 = np.meshgrid(np.linspace(-0.2, 1.9, 80), np.linspace(-1.5, 0.3, 80))
logits = np.stack([coef_0.ravel(), coef_1.ravel()], axis=1) @ X.T
surface = np.logaddexp(0, np.where(y, -logits, logits)).mean(axis=1).reshape(coef_0.shape)
for row, (fisher, colour) in zip(axes, (("identity", ORANGE), ("true", BLUE)), strict=True):
    for axis, name in zip(row, TRANSFORMATIONS, strict=True):
        axis.contour(coef_0, coef_1, surface, 12, colors="0.8", linewidths=0.8)
        axis.plot(*paths[fisher, name].T, "o-", color=colour, markersize=4)
        axis.plot(*optimum, "k*", markersize=9)
        axis.set_title(name, fontsize="medium")
    row[0].set_ylabel(f"{'gradient' if fisher == 'identity' else 'natural gradient'}\ncoefficient 1")
for axis in axes[1]:
    axis.set_xlabel("coefficient 0")
plt.show()
