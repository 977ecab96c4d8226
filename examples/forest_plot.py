"""A forest plot: how much each measurement speaks for one cultivar of wine against another, and how sure that is.

The wine data of scikit-learn have three cultivars, which 13 columns separate without error: maximum likelihood has no
optimum there, and fit and `infer` would say so. With a penalty there is one; estimates are then shrunk, and the
intervals are those of the posterior under the prior that the penalty is.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer

try:
    import matplotlib as mpl
except ImportError:
    mpl = None


def picture(result, path):
    """Draw each class's odds ratios against the reference, most telling columns first."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    ratios = result.odds_ratios()
    n_features = len(result.feature_names) - result.intercept
    order = np.argsort(np.abs(result.z[:, :n_features]).max(axis=0))
    figure, axis = plt.subplots(figsize=(7.5, 6), layout="constrained")
    for index, (label, colour) in enumerate(zip(result.classes, ("C0", "C1"), strict=True)):
        middle = ratios.ratio[index, order]
        ends = np.abs(np.stack([ratios.low[index, order], ratios.high[index, order]]) - middle)
        places = np.arange(n_features) + 0.14 - 0.28 * index
        axis.errorbar(middle, places, xerr=ends, fmt="o", color=colour, capsize=3, label=f"cultivar {label}")
    axis.axvline(1.0, color="0.5", linewidth=1)
    axis.set_yticks(range(n_features), [result.feature_names[j] for j in order])
    axis.set(
        xscale="log",
        xlabel=f"odds ratio against cultivar {result.reference}, per standard deviation; 95 % interval",
    )
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, loc="upper right")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"\nPicture saved as {path.name}")


def main():
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = StandardScaler().set_output(transform="pandas").fit_transform(X)
    model = NaturalGradientLogisticRegression(C=1.0).fit(X, y)
    result = infer(model, X, y)
    print(result.summary())
    test = result.wald_test("flavanoids")
    print(f"\nflavanoids, both contrasts: chi-squared {test.statistic:.1f} on {test.dof}, p = {test.p_value:.1g}")
    strongest = np.abs(result.z[:, :-1]).max(axis=0).argmax()
    assert result.feature_names[strongest] == "proline"
    assert result.effective_dof < 28
    if mpl is None:
        print("\nNo picture: matplotlib is not installed")
    else:
        picture(result, Path(__file__).with_name("forest_plot.png"))


if __name__ == "__main__":
    main()
