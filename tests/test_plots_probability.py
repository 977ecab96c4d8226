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


def with_products(a, c=0.5):
    """A table with the square of a column and its product with another."""
    return pd.DataFrame({"a": a, "a squared": a**2, "c": c, "a times c": a * c})


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_of_a_function_or_a_table_are_drawn(n_classes):
    """With columns that are functions of the feature, the curve is that of the model."""
    named, y = named_table(n_classes)
    X = with_products(named["a"].to_numpy(), named["c"].to_numpy())
    drawn = [1] if n_classes == 2 else [0, 1, 2]
    table = with_products(np.linspace(-3.0, 4.0, 30)).sample(frac=1.0, random_state=0)
    kinds = {"pandas": X.astype(float), "numpy": X.to_numpy(), "sparse": sparse.csr_array(X.to_numpy())}
    for kind, given in kinds.items():
        model = fit_with_covariance(given, y)

        def converted(table, kind=kind):
            array = table if kind == "pandas" else table.to_numpy()
            return sparse.csc_matrix(array) if kind == "sparse" else array

        def rows(grid, converted=converted):
            made = converted(with_products(grid))
            grid[:] = np.nan
            return made

        display = ProbabilityIntervalDisplay.from_estimator(model, given, feature=0, rows=rows, level=0.8)
        np.testing.assert_array_equal(display.grid, np.linspace(X["a"].min(), X["a"].max(), 100))
        expected = converted(with_products(display.grid))
        np.testing.assert_allclose(display.proba, model.predict_proba(expected)[:, drawn], rtol=1e-13)
        interval = model.predict_proba_interval(expected, 0.8)
        np.testing.assert_allclose(display.interval, interval[:, drawn], rtol=1e-13)
        np.testing.assert_array_equal(display.lines_[0].get_xdata(), display.grid)
        # one column alone gives other rows, and another curve
        alone = ProbabilityIntervalDisplay.from_estimator(model, given, feature=0)
        assert np.abs(alone.proba - display.proba).max() > 0.05
        # a table in any order
        display = ProbabilityIntervalDisplay.from_estimator(model, given, feature=0, rows=converted(table))
        np.testing.assert_allclose(display.grid, np.linspace(-3.0, 4.0, 30), rtol=1e-14)
        expected = model.predict_proba(converted(table.sort_values("a")))
        np.testing.assert_allclose(display.proba, expected[:, drawn], rtol=1e-13)
        assert len(display.deciles_.get_segments()) == 9


def test_rows_that_do_not_fit_are_refused():
    X, y = named_table(3)
    model = fit_with_covariance(X, y)

    def draw(**settings):
        ProbabilityIntervalDisplay.from_estimator(model, X, feature="a", **settings)

    refuses("at and rows are both given", draw, rows=X, at={"b": 1.0})
    refuses(r"rows\(grid\): X has 2 features", draw, rows=lambda grid: np.c_[grid, grid])
    refuses(r"rows\(grid\) has 80 rows for 100 values", draw, rows=lambda _: X)
    refuses("rows: X has 2 features", draw, rows=X.to_numpy()[:, :2])
    refuses("rows has 'a' as 1 in every row", draw, rows=X.assign(a=1.0))
    refuses(r"rows: .*NaN", draw, rows=X.assign(b=np.nan))


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


def test_a_display_without_deciles_has_no_marks():
    display = ProbabilityIntervalDisplay(
        grid=[0.0, 1.0], proba=[[0.2], [0.4]], interval=[[[0.1, 0.3]], [[0.3, 0.5]]], feature_name="a", classes=["bee"]
    )
    assert display.plot().deciles_ is None
