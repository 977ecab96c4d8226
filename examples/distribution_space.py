r"""
Distances between Gaussians: KL divergence and geodesics
========================================================

Why the Euclidean distance between parameters misleads, and how the Fisher information replaces it.

Two pairs of Gaussians have means at the same distance. The first pair overlaps, the second hardly does. The Euclidean
distance between the parameters is the same for both pairs; the Kullback-Leibler divergence is not. Between close
distributions the divergence is half a squared length, measured by the Fisher information. Lengths define shortest
paths, the geodesics.
"""

import numpy as np
from matplotlib import pyplot as plt

BLUE, ORANGE = "#0072B2", "#D55E00"


def density(x, mean, variance):
    """Return the density of N(mean, variance)."""
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def kl(mean, variance, other_mean, other_variance):
    """Return KL(N(mean, variance) || N(other_mean, other_variance)) in nats."""
    ratio = variance / other_variance
    return 0.5 * (ratio - 1 - np.log(ratio) + (mean - other_mean) ** 2 / other_variance)


# %%
# Equal distances, different divergences
# --------------------------------------
# In both pairs the means are -2 and 2, at distance 4. The variances are 2 and 0.5.

divergences = {variance: kl(-2, variance, 2, variance) for variance in (2.0, 0.5)}
for variance, divergence in divergences.items():
    print(f"variance {variance}: distance 4, KL = {divergence:.3f} nats")
assert np.isclose(divergences[2.0], 4.0)
assert np.isclose(divergences[0.5], 16.0)

x = np.linspace(-6.5, 6.5, 400)
figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained", sharey=True)
for axis, (variance, divergence) in zip(axes, divergences.items(), strict=True):
    for mean, colour in ((-2, BLUE), (2, ORANGE)):
        axis.plot(x, density(x, mean, variance), color=colour, label=f"N({mean}, {variance})")
        axis.fill_between(x, density(x, mean, variance), color=colour, alpha=0.2)
    axis.set(title=f"distance 4, KL {divergence:.0f} nats", xlabel="x", ylim=(0, 0.75))
    axis.legend(frameon=False, loc="upper right", fontsize="small")
axes[0].set_ylabel("density")
plt.show()

# %%
# Geodesics
# ---------
# The Fisher information of a Gaussian is :math:`1/\sigma^2` for its mean and :math:`2/\sigma^2` for its standard
# deviation :math:`\sigma`, so a small move has the squared length
#
# .. math:: ds^2 = \frac{d\mu^2 + 2\, d\sigma^2}{\sigma^2}.
#
# With :math:`\mu / \sqrt 2` in place of :math:`\mu` that is twice the metric of the hyperbolic upper half-plane, whose
# geodesics are half-circles centred on the axis :math:`\sigma = 0`. In :math:`(\mu, \sigma)` they are
# half-ellipses, and the distance between two Gaussians is (Pinele, Strapasson and Costa, "The Fisher-Rao distance
# between multivariate normal distributions", Entropy 22(4), 2020)
#
# .. math:: \sqrt 2 \, \operatorname{arcosh}\left(1 + \frac{(\mu_1 - \mu_2)^2 / 2 + (\sigma_1 - \sigma_2)^2}
#                                                   {2 \sigma_1 \sigma_2}\right).


def distance(mean, sigma, other_mean, other_sigma):
    """Return the Fisher-Rao distance between two Gaussians."""
    gap = (mean - other_mean) ** 2 / 2 + (sigma - other_sigma) ** 2
    return np.sqrt(2) * np.arccosh(1 + gap / (2 * sigma * other_sigma))


def geodesic(half_gap, sigma, n_points):
    """Return means and standard deviations along the geodesic from N(-half_gap, sigma²) to N(half_gap, sigma²)."""
    radius = np.hypot(half_gap / np.sqrt(2), sigma)
    # points equally spaced in the logarithm of the tangent of half the angle are equally spaced in length
    start = np.log(np.tan(0.5 * np.arctan2(sigma, -half_gap / np.sqrt(2))))
    angle = 2 * np.arctan(np.exp(np.linspace(start, -start, n_points)))
    return np.sqrt(2) * radius * np.cos(angle), radius * np.sin(angle)


def length(means, sigmas):
    """Return the length of a path, from the KL divergences between consecutive points, each half a squared length."""
    steps = kl(means[:-1], sigmas[:-1] ** 2, means[1:], sigmas[1:] ** 2)
    return np.sqrt(2 * steps).sum()


lengths = {}
for variance in (2.0, 0.5):
    sigma = np.sqrt(variance)
    lengths[variance] = length(np.linspace(-2, 2, 2001), np.full(2001, sigma)), length(*geodesic(2.0, sigma, 2001))
    straight, shortest = lengths[variance]
    expected = distance(-2, sigma, 2, sigma)
    print(f"variance {variance}: straight line {straight:.4f}, geodesic {shortest:.4f}, by the formula {expected:.4f}")
    assert np.isclose(shortest, expected, rtol=1e-5)
    assert shortest < straight

# %%
# Along a geodesic a narrow Gaussian widens first, because moving the mean of a wide Gaussian takes little length, and
# narrows again at the end. The effect is largest for the pair with variance 0.02, whose straight line is more than
# three times as long as its geodesic.

variance, n_shown = 0.02, 7
sigma = np.sqrt(variance)
straight, shortest = length(np.linspace(-2, 2, 2001), np.full(2001, sigma)), length(*geodesic(2.0, sigma, 2001))
print(f"variance {variance}: straight line {straight:.2f}, geodesic {shortest:.2f}")
assert straight > 3 * shortest

figure = plt.figure(figsize=(7, 6), layout="constrained")
axes = figure.subplot_mosaic([["plane", "plane"], ["straight", "geodesic"]])
for end_variance, style in ((2.0, ":"), (0.5, "--"), (variance, "-")):
    ends = [-2, 2], [np.sqrt(end_variance)] * 2
    axes["plane"].plot(*ends, style, marker="o", color=ORANGE)
    axes["plane"].plot(*geodesic(2.0, np.sqrt(end_variance), 300), style, color=BLUE)
    axes["plane"].annotate(f"variance {end_variance}", (2.07, ends[1][0]), va="center")
axes["plane"].set(
    xlim=(-2.2, 2.9),
    ylim=(0, 2.2),
    xlabel="mean μ",
    ylabel="standard deviation σ",
    title="straight lines (orange) and geodesics (blue)",
)
paths = {
    "straight": (np.linspace(-2, 2, n_shown), np.full(n_shown, sigma), ORANGE, straight),
    "geodesic": (*geodesic(2.0, sigma, n_shown), BLUE, shortest),
}
x = np.linspace(-4.4, 4.4, 600)
for name, (means, sigmas, colour, path_length) in paths.items():
    for mean, deviation in zip(means, sigmas, strict=True):
        curve = density(x, mean, deviation**2)
        axes[name].plot(x, curve, color=colour, linewidth=1.2)
        axes[name].fill_between(x, curve, color=colour, alpha=0.12)
    axes[name].set(title=f"{name}, length {path_length:.2f}", xlabel="x", ylabel="density", ylim=(0, 3))
plt.show()
