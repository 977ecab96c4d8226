"""CoefficientDisplay: what it draws, its labels, and what it refuses."""

import itertools

import numpy as np
import pytest
from matplotlib import pyplot as plt
from problems import fit_with_covariance, legend_labels, named_table, refuses
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.plots import CoefficientDisplay

pytestmark = pytest.mark.usefixtures("closed_figures")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("odds_ratios", [False, True])
def test_a_forest_plot_holds_what_infer_says(n_classes, odds_ratios):
    X, y = named_table(n_classes)
    result = infer(fit_with_covariance(X, y), X, y)
    display = CoefficientDisplay.from_result(result, level=0.8, odds_ratios=odds_ratios)
    ends, middle = result.conf_int(0.8), result.params
    if odds_ratios:
        ends, middle = np.exp(ends), np.exp(middle)
    rows = []
    assert len(display.points_) == len(display.intervals_) == n_classes - 1
    for k, (points, intervals) in enumerate(zip(display.points_, display.intervals_, strict=True)):
        np.testing.assert_array_equal(points.get_xdata(), middle[k, :3])
        segments = np.array(intervals.get_segments())
        np.testing.assert_array_equal(segments[:, :, 0], ends[k, :3])
        np.testing.assert_array_equal(segments[:, 0, 1], points.get_ydata())
        np.testing.assert_array_equal(np.rint(points.get_ydata()), [0, 1, 2])
        rows += list(points.get_ydata())
    assert len(set(rows)) == 3 * (n_classes - 1)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["a", "b", "c"]
    assert display.ax_.get_ylim() == (2.5, -0.5)
    assert display.reference_line_.get_xdata()[0] == float(odds_ratios)
    assert display.ax_.get_xscale() == ("log" if odds_ratios else "linear")
    what, unit = ("odds ratio", "per unit") if odds_ratios else ("log-odds", "[nats per unit")
    whose = " of class bee" if n_classes == 2 else ""
    assert display.ax_.get_xlabel().startswith(f"{what}{whose} against class ant\n{unit}")
    assert display.ax_.get_xlabel().endswith("with 80 % posterior interval")
    assert (display.legend_ is None) == (n_classes == 2)
    if n_classes == 3:
        assert legend_labels(display.legend_) == ["bee", "cat"]


def test_a_forest_plot_of_scikit_learns_model():
    X, y = named_table(3)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    display = CoefficientDisplay.from_estimator(
        model, X, y, covariance="robust", reference="cat", features=["c", "(Intercept)"]
    )
    result = infer(model, X, y, covariance="robust", reference="cat")
    np.testing.assert_allclose(display.estimates, result.params[:, 2:], rtol=1e-6)
    np.testing.assert_allclose(display.intervals, result.conf_int()[:, 2:], rtol=1e-6)
    assert display.feature_names == ["c", "(Intercept)"]
    assert display.ax_.get_xlabel().endswith("with 95 % interval")
    weighted = CoefficientDisplay.from_estimator(model, X, y, sample_weight=np.full(80, 4.0))
    narrow, wide = np.diff(weighted.intervals), np.diff(infer(model, X, y).conf_int()[:, :3])
    np.testing.assert_allclose(narrow, wide / 2, rtol=1e-3)


def test_columns_are_drawn_as_asked_and_the_intercept_only_then():
    X, y = named_table(2)
    result = infer(fit_with_covariance(X, y), X, y, covariance="robust")
    display = CoefficientDisplay.from_result(result, features=["c", 0])
    np.testing.assert_array_equal(display.points_[0].get_xdata(), result.params[0, [2, 0]])
    assert display.ax_.get_xlabel().endswith("interval of the shrunk estimate")
    alone = infer(fit_with_covariance(X, y), X, y, features=["(Intercept)"])
    assert CoefficientDisplay.from_result(alone).feature_names == ["(Intercept)"]
    make = CoefficientDisplay.from_result
    refuses(r"^features holds 'z', which is neither .* index from 0 to 3;", make, result, features=["z"])
    refuses(r"^features=\['a', 0\] must name at least one column, and each", make, result, features=["a", 0])
    refuses(r"^features=\[\] must name", make, result, features=[])
    refuses(r"^level=1.5 is not a coverage", make, result, level=1.5)


def test_coefficients_that_are_not_determined_say_so():
    X, y = named_table(2)
    X["d"] = X["a"] + X["b"]
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning):
        display = CoefficientDisplay.from_estimator(model, X, y, aliased="nan")
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert shown == ["a\n(no finite interval)", "b\n(no finite interval)", "c", "d\n(no finite interval)"]
    np.testing.assert_array_equal(np.isnan(display.points_[0].get_xdata()), [True, True, False, True])
    assert len(display.intervals_[0].get_segments()) == 1
    with pytest.warns(InferenceWarning):
        result = infer(model, X, y, aliased="nan")
    refuses(
        r"^none of the 2 coefficients has a finite interval, so there is nothing to draw; ",
        CoefficientDisplay.from_result,
        result,
        features=["a", "d"],
    )


@pytest.mark.parametrize("odds_ratios", [False, True])
def test_aliased_columns_are_labelled(odds_ratios):
    X, y = named_table(3)
    X["d"] = X["a"] + X["b"]
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning, match="1 of 5 columns"):
        display = CoefficientDisplay.from_estimator(model, X, y, odds_ratios=odds_ratios)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["a", "b", "c", "d\n(aliased)"]
    np.testing.assert_array_equal(np.isnan(display.points_[0].get_xdata()), [False, False, False, True])


@pytest.mark.parametrize(("span", "shown"), [(0.5, "2"), (3.0, "0.1"), (8.0, "$\\mathdefault{10^{-2}}$")])
def test_odds_ratios_have_numbers_on_their_axis(span, shown):
    ends = np.exp(np.log(10) * span * np.array([[[-0.5, 0.5], [0.0, 0.1]]]))
    display = CoefficientDisplay(
        estimates=np.ones((1, 2)),
        intervals=ends,
        feature_names=["a", "b"],
        classes=[1],
        reference=0,
        odds_ratios=True,
    ).plot()
    display.figure_.canvas.draw()
    assert shown in [tick.get_text() for tick in display.ax_.get_xticklabels()]


def test_a_figure_that_cannot_be_drawn_is_refused():
    names = [f"column {k}" for k in range(800)]
    display = CoefficientDisplay(
        estimates=np.zeros((1, 800)), intervals=np.zeros((1, 800, 2)), feature_names=names, classes=["b"], reference="a"
    )
    refuses(
        r"^the 800 columns need a figure 2\d\d inches high, above the limit of 200; pass the columns .* as features",
        display.plot,
    )
    display.plot(plt.subplots()[1])


@pytest.mark.parametrize("n_others", [1, 2, 6])
def test_a_figure_of_many_coefficients_is_high_enough(n_others):
    names = [f"column {j}" for j in range(150)]
    display = CoefficientDisplay(
        estimates=np.zeros((n_others, 150)),
        intervals=np.tile([-1.0, 1.0], (n_others, 150, 1)),
        feature_names=names,
        classes=list(range(n_others)),
        reference=0,
    ).plot()
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
    # points of one class do not cover those of the next: 5.5 points across
    rows = np.sort(np.concatenate([points.get_ydata() for points in display.points_]))
    apart = np.diff(rows).min() * display.ax_.get_window_extent().height / 150 * 72 / display.figure_.dpi
    assert apart >= 5.5
