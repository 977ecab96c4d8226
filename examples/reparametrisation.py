r"""
The same steps in any parametrisation
=====================================

How a model is written down is our choice; how it learns should not be. A gradient step depends on that choice. A
natural gradient step does not, to first order in its length, and for linear changes of coordinates not at all.
"""

import warnings

import numpy as np
from matplotlib import pyplot as plt
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# One step, by variance and by precision
# --------------------------------------
# N(0, v) with the loss KL(N(0, 1) || N(0, v)), from v = 2, at a learning rate of 0.01. The Fisher information of a
# variance is :math:`1/(2v^2)`, of a precision t = 1/v it is :math:`1/(2t^2)`.

start, rate = 2.0, 0.01
slope_v = 0.5 * (1 / start - 1 / start**2)
slope_t = -slope_v * start**2
fisher_v, fisher_t = 1 / (2 * start**2), start**2 / 2
plain = start - rate * slope_v, 1 / (1 / start - rate * slope_t)
natural = start - rate * slope_v / fisher_v, 1 / (1 / start - rate * slope_t / fisher_t)
for name, (by_variance, by_precision) in {"gradient": plain, "natural gradient": natural}.items():
    print(f"after one step of the {name:16}: v = {by_variance:.5f} stepping in v, {by_precision:.5f} in t")
moved_plain, moved_natural = (np.array(pair) - start for pair in (plain, natural))
assert moved_plain[1] / moved_plain[0] > 10
assert abs(moved_natural[1] / moved_natural[0] - 1) < 2 * rate

# %%
# A Gaussian in three coordinate systems
# --------------------------------------
# Mean and standard deviation of N(2, 1) are learnt from N(0, 0.5²). The loss is the divergence; steps are made in
# :math:`(\mu, \sigma)`, in :math:`(\mu, \log\sigma)` and in :math:`(\mu, 1/\sigma^2)`, and drawn in the first. Lines
# are contours of the loss.

# each: the coordinate of sigma, its inverse, and the derivative of sigma by it
COORDINATES = {
    "σ": (lambda s: s, lambda c: c, lambda s: 1.0),  # noqa: ARG005 - all three take sigma
    "log σ": (np.log, np.exp, lambda s: s),
    "1/σ²": (lambda s: s**-2, lambda c: c**-0.5, lambda s: -(s**3) / 2),
}


def loss(mean, sigma):
    """Return KL(N(2, 1) || N(mean, sigma²)) in nats."""
    return np.log(sigma) - 0.5 + 0.5 * (1 + (mean - 2) ** 2) / sigma**2


def descend(coordinate, *, by_fisher, learning_rate, n_steps):
    """Return the way down, ``(n_steps + 1, 2)``, in mean and standard deviation."""
    forward, backward, derivative = COORDINATES[coordinate]
    mean, sigma = 0.0, 0.5
    way = [(mean, sigma)]
    for _ in range(n_steps):
        jacobian = derivative(sigma)
        gradient = np.array([(mean - 2) / sigma**2, 1 / sigma - (1 + (mean - 2) ** 2) / sigma**3])
        gradient[1] *= jacobian
        information = np.array([1 / sigma**2, 2 / sigma**2 * jacobian**2])
        step = -learning_rate * (gradient / information if by_fisher else gradient)
        mean, sigma = mean + step[0], backward(forward(sigma) + step[1])
        way.append((mean, sigma))
    return np.array(way)


METHODS = {
    "gradient": {"by_fisher": False, "learning_rate": 0.01, "n_steps": 1500},
    "natural gradient": {"by_fisher": True, "learning_rate": 0.01, "n_steps": 1500},
}
ways = {(name, each): descend(each, **settings) for name, settings in METHODS.items() for each in COORDINATES}
highest = {key: way[:, 1].max() for key, way in ways.items()}
for name in METHODS:
    print(
        f"largest σ on the way of the {name:16}:",
        ", ".join(f"{highest[name, each]:.3f} in {each}" for each in COORDINATES),
    )
assert np.ptp([highest["natural gradient", each] for each in COORDINATES]) < 0.05
assert np.ptp([highest["gradient", each] for each in COORDINATES]) > 0.5

figure, axes = plt.subplots(2, 3, figsize=(7, 4.6), layout="constrained", sharex=True, sharey=True)
across, up = np.meshgrid(np.linspace(-0.3, 2.6, 100), np.linspace(0.35, 2.9, 100))
for row, (name, colour) in zip(axes, zip(METHODS, (ORANGE, BLUE), strict=True), strict=True):
    for axis, each in zip(row, COORDINATES, strict=True):
        axis.contour(across, up, loss(across, up), np.geomspace(0.02, 10, 10), colors="0.8", linewidths=0.8)
        axis.plot(*ways[name, each].T, color=colour, linewidth=2)
        axis.plot(0, 0.5, "o", color=colour)
        axis.plot(2, 1, "k*", markersize=9)
        axis.set_title(f"steps in (μ, {each})", fontsize="medium")
    row[0].set_ylabel(f"{name}\nσ")
for axis in axes[1]:
    axis.set_xlabel("μ")
plt.show()

# %%
# Columns scaled and mixed
# ------------------------
# For a logistic regression the coordinates are those of the columns. Here are two columns as they come, then the second
# divided by 4, then their sum and difference in different units. Coefficients are carried back to the first columns to
# be drawn. The natural gradient's ways are the same to rounding.

rng = np.random.default_rng(1)
X = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=400)
y = rng.uniform(size=400) < 1 / (1 + np.exp(-X @ [1.5, -1.0]))
MIXTURES = {
    "as they come": np.eye(2),
    "second divided by 4": np.diag([1.0, 0.25]),
    "sum and difference": np.array([[1.0, 0.3], [1.0, -0.3]]),
}
N_STEPS = 15


def way_of(fisher, mixture):
    """Return coefficients after 0 to N_STEPS steps of the textbook algorithm, by the columns as they come."""
    model = NaturalGradientLogisticRegression(
        fisher=fisher, learning_rate=1.0 if fisher == "identity" else 0.3, damping=0.0, C=np.inf, fit_intercept=False
    )
    way = [np.zeros(2)]
    for n_steps in range(1, N_STEPS + 1):
        model.set_params(max_iter=n_steps, tol=0.0)
        way.append(mixture @ model.fit(X @ mixture, y).coef_[0])
    return np.array(way)


with warnings.catch_warnings():
    # these steps are not meant to converge
    warnings.simplefilter("ignore", ConvergenceWarning)
    ways = {
        (fisher, name): way_of(fisher, mixture) for fisher in ("identity", "true") for name, mixture in MIXTURES.items()
    }
apart = {
    fisher: max(np.abs(ways[fisher, name] - ways[fisher, "as they come"]).max() for name in MIXTURES)
    for fisher in ("identity", "true")
}
print(f"largest difference between the ways: gradient {apart['identity']:.2f}, natural gradient {apart['true']:.0e}")
assert apart["identity"] > 0.1
assert apart["true"] < 1e-10

optimum = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y).coef_[0]
figure, axes = plt.subplots(2, 3, figsize=(7, 4.6), layout="constrained", sharex=True, sharey=True)
across, up = np.meshgrid(np.linspace(-0.2, 1.9, 80), np.linspace(-1.5, 0.3, 80))
logits = np.stack([across.ravel(), up.ravel()], axis=1) @ X.T
surface = np.logaddexp(0, np.where(y, -logits, logits)).mean(axis=1).reshape(across.shape)
for row, (fisher, colour) in zip(axes, (("identity", ORANGE), ("true", BLUE)), strict=True):
    for axis, name in zip(row, MIXTURES, strict=True):
        axis.contour(across, up, surface, 12, colors="0.8", linewidths=0.8)
        axis.plot(*ways[fisher, name].T, "o-", color=colour, markersize=4)
        axis.plot(*optimum, "k*", markersize=9)
        axis.set_title(name, fontsize="medium")
    row[0].set_ylabel(f"{'gradient' if fisher == 'identity' else 'natural gradient'}\ncoefficient 1")
for axis in axes[1]:
    axis.set_xlabel("coefficient 0")
plt.show()
