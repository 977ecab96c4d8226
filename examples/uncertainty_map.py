"""Where a classifier knows, and where it only says so: intervals of probabilities over a map of two measurements.

Sepals of three kinds of iris. `predict_proba` draws sharp borders and continues them beyond the flowers that were
measured. The interval shows that nobody knows where they run there, and averaging over the coefficients blurs them.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

from sknatgrad import NaturalGradientLogisticRegression

try:
    import matplotlib as mpl
except ImportError:
    mpl = None


def picture(model, X, y, path):
    """Draw the largest probability, the width of its interval, and the same averaged."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    across, up = np.meshgrid(np.linspace(3, 10, 141), np.linspace(1, 6, 121))
    grid = np.column_stack([across.ravel(), up.ravel()])
    proba, ends = model.predict_proba(grid), model.predict_proba_interval(grid)
    rows, best = np.arange(len(grid)), proba.argmax(axis=1)
    maps = {
        "probability of the likeliest kind": proba[rows, best],
        "width of its 95 % interval": np.ptp(ends[rows, best], axis=1),
        "probability, averaged": model.predict_proba_averaged(grid).max(axis=1),
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained", sharey=True)
    for axis, (title, values) in zip(axes, maps.items(), strict=True):
        width = title.startswith("width")
        levels = np.linspace(0, 1, 11) if width else np.linspace(1 / 3, 1, 11)
        shades = axis.contourf(across, up, values.reshape(across.shape), levels, cmap="magma_r" if width else "viridis")
        figure.colorbar(shades, ax=axis, format="%.2f")
        for kind in range(3):
            lead = proba[:, kind] - np.delete(proba, kind, axis=1).max(axis=1)
            axis.contour(across, up, lead.reshape(across.shape), levels=[0.0], colors="w", linewidths=1)
        for kind, marker in enumerate("o^s"):
            axis.scatter(*X[y == kind].T, s=12, marker=marker, edgecolor="k", facecolor="w", linewidth=0.6)
        axis.set(title=title, xlabel="sepal length, cm")
    axes[0].set_ylabel("sepal width, cm")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"Picture saved as {path.name}")


def main():
    X, y = load_iris(return_X_y=True)
    X = X[:, :2]
    model = NaturalGradientLogisticRegression(C=10.0, store_covariance=True).fit(X, y)
    widths = []
    for name, flower in (("among the flowers", [[6.3, 2.8]]), ("far from them", [[7.0, 5.6]])):
        proba, averaged = model.predict_proba(flower)[0], model.predict_proba_averaged(flower)[0]
        kind = proba.argmax()
        low, high = model.predict_proba_interval(flower)[0, kind]
        widths.append(high - low)
        print(
            f"{name}: kind {kind} with probability {proba[kind]:.2f}, 95 % interval {low:.2f} to {high:.2f}, averaged "
            f"{averaged[kind]:.2f}"
        )
    assert widths[1] > 2 * widths[0]
    if mpl is None:
        print("No picture: matplotlib is not installed")
    else:
        picture(model, X, y, Path(__file__).with_name("uncertainty_map.png"))


if __name__ == "__main__":
    main()
