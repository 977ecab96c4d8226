"""Why the Euclidean distance between parameters misleads, and what takes its place.

1. Two pairs of Gaussians whose means lie equally far apart: the parameters cannot tell that one pair overlaps and the
   other hardly does. Their Kullback-Leibler divergence can.
2. One pair of Gaussians in two parametrisations, by variance and by precision: the distance between the parameters
   changes, the divergence does not. So a gradient step depends on how we happen to write the model down, and a natural
   gradient step, to first order, does not.
3. The same with logistic regression: two moves of the coefficients of equal length, in columns of different scale.

Saves a picture, distribution_space.png, beside this script if matplotlib is there.
"""

from pathlib import Path

import numpy as np

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence

try:
    import matplotlib as mpl
except ImportError:
    mpl = None


def kl_of_gaussians(mean, variance, other_mean, other_variance):
    """Return KL(N(mean, variance) || N(other_mean, other_variance)) in nats."""
    ratio = variance / other_variance
    return 0.5 * (ratio - 1 - np.log(ratio) + (mean - other_mean) ** 2 / other_variance)


def equal_distances():
    print("1. Means at -1 and 1, so at distance 2 in either pair")
    divergences = {variance: kl_of_gaussians(-1, variance, 1, variance) for variance in (2.0, 0.5)}
    for variance, divergence in divergences.items():
        print(f"   variance {variance}: KL = {divergence:.3f} nats")
    assert np.isclose(divergences[2.0], 1.0)
    assert np.isclose(divergences[0.5], 4.0)


def two_parametrisations():
    start, goal, rate = 2.0, 1.0, 0.01
    print("\n2. N(0, 2) and N(0, 1), by variance v and by precision t = 1/v")
    print(f"   distance {abs(start - goal):.2f} in v, {abs(1 / start - 1 / goal):.2f} in t;", end=" ")
    print(f"KL = {kl_of_gaussians(0, goal, 0, start):.4f} nats in both")

    # L = KL(N(0, goal) || N(0, v)); the Fisher information of a variance is 1/(2v²), of a precision 1/(2t²)
    slope_v = 0.5 * (1 / start - goal / start**2)
    slope_t = -slope_v * start**2
    fisher_v, fisher_t = 1 / (2 * start**2), start**2 / 2
    plain = start - rate * slope_v, 1 / (1 / start - rate * slope_t)
    natural = start - rate * slope_v / fisher_v, 1 / (1 / start - rate * slope_t / fisher_t)
    for name, (by_variance, by_precision) in {"gradient": plain, "natural gradient": natural}.items():
        print(f"   after one step of the {name:16}: v = {by_variance:.5f} stepping in v, {by_precision:.5f} in t")
    moved_plain, moved_natural = (np.array(pair) - start for pair in (plain, natural))
    assert moved_plain[1] / moved_plain[0] > 10
    assert abs(moved_natural[1] / moved_natural[0] - 1) < 2 * rate


def two_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) * [10.0, 0.1]
    y = rng.uniform(size=500) < 1 / (1 + np.exp(-X @ [0.1, 10.0]))
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    information = fisher_information(model, X) / len(X)
    print("\n3. A coefficient moved by 0.05, in a column of spread 10 and in one of spread 0.1")
    divergences = []
    for column in range(2):
        moved = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
        moved.coef_[0, column] += 0.05
        divergences.append(kl_divergence(model, moved, X))
        quadratic = 0.5 * 0.05**2 * information[column, column]
        print(f"   column {column}: KL = {divergences[-1]:.2e} nats, and by the Fisher information {quadratic:.2e}")
    assert divergences[0] > 1000 * divergences[1]


def picture(path):
    """Draw both pairs, and the divergence against its quadratic in the two parametrisations."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    x = np.linspace(-6, 6, 500)
    for axis, variance in zip(axes, (2.0, 0.5), strict=False):
        for mean, colour in ((-1, "C0"), (1, "C1")):
            density = np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            axis.plot(x, density, colour)
            axis.fill_between(x, density, color=colour, alpha=0.25)
        divergence = kl_of_gaussians(-1, variance, 1, variance)
        axis.set(title=f"variance {variance}: distance 2, KL {divergence:.0f}", xlabel="x", ylim=(0, 0.6))
    axes[0].set_ylabel("density")
    variance = np.linspace(0.7, 5, 300)
    axes[2].plot(variance, kl_of_gaussians(0, 2, 0, variance), "k", label="KL(N(0, 2) || N(0, v))")
    axes[2].plot(variance, (variance - 2) ** 2 / 16, "C0--", label="quadratic in the variance")
    axes[2].plot(variance, (1 / variance - 0.5) ** 2, "C1--", label="quadratic in the precision")
    axes[2].set(title="one divergence, two coordinates", xlabel="variance v", ylabel="nats", ylim=(0, 0.6))
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"\nPicture saved as {path.name}")


def main():
    equal_distances()
    two_parametrisations()
    two_columns()
    if mpl is None:
        print("\nNo picture: matplotlib is not installed")
    else:
        picture(Path(__file__).with_name("distribution_space.png"))


if __name__ == "__main__":
    main()
