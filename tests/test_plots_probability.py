"""ProbabilityIntervalDisplay: what it draws, its labels, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from problems import fit_with_covariance, legend_labels, named_table, refuses
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.plots import ProbabilityIntervalDisplay

pytestmark = pytest.mark.usefixtures("closed_figures")


def ends_of(band, n_points):
    """Lower and upper ends of a band, from its outline: a corner, the lower ends, a corner, the upper ones back."""
    outline = band.get_paths()[0].vertices
    return np.column_stack([outline[1 : n_points + 1, 1], outline[n_points + 2 : 2 * n_points + 2, 1][::-1]])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("feature", ["b", 1])
def test_bands_are_the_intervals_of_predictions(n_classes, feature):
    X, y = named_table(n_classes)
    model = fit_with_covariance(X, y)
    display = ProbabilityIntervalDisplay.from_estimator(model, X, feature=feature, level=0.8, grid_resolution=21)
    grid = np.linspace(X["b"].min(), X["b"].max(), 21)
    held = np.sort(X.to_numpy(), axis=0)[39]
    rows = pd.DataFrame({"a": held[0], "b": grid, "c": held[2]})
    drawn = [1] if n_classes == 2 else [0, 1, 2]
    interval, proba = model.predict_proba_interval(rows, 0.8), model.predict_proba(rows)
    assert len(display.lines_) == len(display.bands_) == len(drawn)
    for line, band, k in zip(display.lines_, display.bands_, drawn, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), grid)
        np.testing.assert_allclose(line.get_ydata(), proba[:, k], rtol=1e-13)
        np.testing.assert_allclose(ends_of(band, 21), interval[:, k], rtol=1e-13)
    np.testing.assert_allclose(
        [segment[0, 0] for segment in display.deciles_.get_segments()], np.quantile(X["b"], np.arange(1, 10) / 10)
    )
    assert display.ax_.get_xlabel() == "b"
    whose = "class bee" if n_classes == 2 else "each class"
    assert display.ax_.get_ylabel() == f"probability of {whose}\nwith 80 % interval"
    assert (display.legend_ is None) == (n_classes == 2)
    if n_classes == 3:
        assert legend_labels(display.legend_) == ["ant", "bee", "cat"]


def test_other_features_are_held_where_one_says():
    X, y = named_table(3)
    model = fit_with_covariance(X, y)
    display = ProbabilityIntervalDisplay.from_estimator(
        model, X, feature="a", at={"c": 2.0, 1: -1.0}, class_of_interest="cat"
    )
    rows = pd.DataFrame({"a": display.grid, "b": -1.0, "c": 2.0})
    np.testing.assert_allclose(display.lines_[0].get_ydata(), model.predict_proba(rows)[:, 2], rtol=1e-13)
    assert len(display.bands_) == 1
    assert display.ax_.get_ylabel().startswith("probability of class cat")
    first = ProbabilityIntervalDisplay.from_estimator(
        fit_with_covariance(*named_table(2)), X, feature="a", class_of_interest="ant"
    )
    assert first.ax_.get_ylabel().startswith("probability of class ant")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_sparse_rows_have_the_same_medians(share):
    X, y = named_table(2)
    X = np.where(np.random.default_rng(0).uniform(size=X.shape) < share, 0.0, X)
    # one zero more in a column would make the middle one of its values zero
    X[:, 0] = np.where(np.arange(80) < 39, 0.0, np.abs(X[:, 0]) + 1.0)
    model = fit_with_covariance(X, y)
    dense = ProbabilityIntervalDisplay.from_estimator(model, X, feature=2)
    for kind in (sparse.csr_array, sparse.csc_matrix):
        thin = ProbabilityIntervalDisplay.from_estimator(model, kind(X), feature=2)
        np.testing.assert_array_equal(thin.interval, dense.interval)
        np.testing.assert_array_equal(thin.deciles, dense.deciles)


def test_a_column_of_two_values_is_held_at_the_more_frequent():
    X, y = named_table(2)
    X["b"] = np.where(np.arange(80) < 41, 1, 0)
    model = fit_with_covariance(X, y)
    display = ProbabilityIntervalDisplay.from_estimator(model, X, feature="a")
    held = ProbabilityIntervalDisplay.from_estimator(model, X, feature="a", at={"b": 1})
    np.testing.assert_array_equal(display.proba, held.proba)


def test_probability_refuses_what_it_cannot_draw():
    X, y = named_table(3)
    model = fit_with_covariance(X, y)
    make = ProbabilityIntervalDisplay.from_estimator
    refuses(r"^feature holds 'z', which is neither the name", make, model, X, feature="z")
    refuses(r"^feature holds 3, which is neither .* an index from 0 to 2;", make, model, X, feature=3)
    refuses(r"^feature holds True, ", make, model, X, feature=True)
    refuses(r"^at holds 'z', which", make, model, X, feature="a", at={"z": 1.0})
    refuses(r"^at is a list; it must be a dict", make, model, X, feature="a", at=[1.0, 2.0])
    refuses(r"^at holds 'a', the feature on the horizontal axis", make, model, X, feature="a", at={0: 1.0})
    refuses(r"^level=0 is not a coverage", make, model, X, feature="a", level=0)
    refuses(r"^grid_resolution=1 must be 2 or more", make, model, X, feature="a", grid_resolution=1)
    refuses(r"^grid_resolution=2.5 must be an integer", make, model, X, feature="a", grid_resolution=2.5)
    refuses(r"^class_of_interest='dog' is not among", make, model, X, feature="a", class_of_interest="dog")
    refuses(r"^feature 'a' is 1 in every row of X, so it has no range", make, model, X.assign(a=1.0), feature="a")
    bare = NaturalGradientLogisticRegression().fit(X, y)
    refuses(r"has no covariance_, .* fit it with store_covariance=True", make, bare, X, feature="a")
    refuses(r"^estimator is a LogisticRegression, which has no", make, LogisticRegression().fit(X, y), X, feature="a")
    refuses(r"^estimator is a KNeighborsClassifier, which is not", make, KNeighborsClassifier().fit(X, y), X, feature=0)
    empty = ProbabilityIntervalDisplay(grid=[], proba=[], interval=[], feature_name="a", classes=[])
    refuses(r"^grid has 0 values and classes has 0, so there is nothing to draw; pass", empty.plot)
