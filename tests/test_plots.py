"""Displays: what their artists hold, what they are labelled with, and what they refuse."""

import itertools
import subprocess
import sys
from typing import ClassVar

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from problems import make_problem
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.plots import (
    CoefficientDisplay,
    FisherEllipseDisplay,
    LossCurveDisplay,
    ProbabilityIntervalDisplay,
    RegularizationPathDisplay,
    _canvas,
)

mpl.use("Agg")
LONG = [
    "a very long name of a measurement that somebody once gave to a column of theirs",
    "price_$ per $ and so on",
    "_a_name_without_any_blank_in_it_that_does_not_fit_into_one_line_nor_two",
]


@pytest.fixture(autouse=True)
def closed():
    """Every figure can be drawn without a warning, and none stays."""
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def table(n_classes, names=("a", "b", "c"), **settings):
    problem = make_problem(n_classes, n_rows=80, n_features=len(names), **settings)
    return pd.DataFrame(problem.X, columns=list(names)), np.array(["ant", "bee", "cat", "dog"])[problem.codes]


def fit(X, y, **settings):
    return NaturalGradientLogisticRegression(store_covariance=True, **settings).fit(X, y)


def labels(legend):
    return [entry.get_text() for entry in legend.get_texts()]


def refuses(match, make, *given, error=ValueError, **settings):
    before = plt.get_fignums()
    with pytest.raises(error, match=match):
        make(*given, **settings)
    assert plt.get_fignums() == before, "an error leaves no blank figure"


def test_importing_does_not_import_matplotlib():
    code = "import sys, sknatgrad.plots; print([name for name in sys.modules if name.startswith('matplotlib')])"
    done = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    X, y = table(2)
    model = fit(X, y)
    result = infer(model, X, y)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for make, given in [
        (LossCurveDisplay.from_estimators, (model,)),
        (CoefficientDisplay.from_result, (result,)),
        (CoefficientDisplay.from_estimator, (model, X, y)),
        (FisherEllipseDisplay.from_estimator, (model, X)),
        (RegularizationPathDisplay.from_estimator, (model, X, y)),
    ]:
        with pytest.raises(ImportError, match=r"needs matplotlib, .* 'sknatgrad\[plots\]'\.$"):
            make(*given)
    with pytest.raises(ImportError, match=r"^ProbabilityIntervalDisplay.from_estimator needs"):
        ProbabilityIntervalDisplay.from_estimator(model, X, feature="a")


def displays(n_classes, ax=None):
    X, y = table(n_classes, LONG)
    y = np.char.add("_$x$ ", y)
    model = fit(X, y)
    several = 1 if ax is None or n_classes == 2 else n_classes
    yield LossCurveDisplay.from_estimators(model, ax=ax)
    yield CoefficientDisplay.from_estimator(model, X, y, ax=ax)
    yield ProbabilityIntervalDisplay.from_estimator(model, X, feature=0, ax=ax)
    yield FisherEllipseDisplay.from_estimator(model, X, ax=ax)
    panels = None if ax is None else [ax] * several
    yield RegularizationPathDisplay.from_estimator(model, X, y, Cs=[0.1, 1.0], ax=panels)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_draws_into_the_axes_given_and_into_its_own_otherwise(n_classes):
    figure, ax = plt.subplots()
    for display in displays(n_classes, ax):
        assert display.figure_ is figure
        assert display.ax_ is ax or all(panel is ax for panel in display.ax_)
        assert plt.get_fignums() == [figure.number]
        ax.clear()
    for display in displays(n_classes):
        assert display.figure_ is not figure
        assert np.ravel(display.ax_)[0].figure is display.figure_


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("background", ["default", "dark_background"])
def test_every_text_lies_within_its_figure(n_classes, background):
    with plt.style.context(background):
        for display in displays(n_classes):
            display.figure_.canvas.draw()
            width, height = display.figure_.canvas.get_width_height()
            for ax in np.ravel(display.ax_):
                box = ax.get_tightbbox()
                assert -1 <= box.x0 < box.x1 <= width + 1
                assert -1 <= box.y0 < box.y1 <= height + 1
                assert all(contrast(line.get_color(), ax.get_facecolor()) >= 3.0 for line in ax.lines)


def test_names_are_drawn_as_they_are():
    X, y = table(2, LONG)
    display = CoefficientDisplay.from_estimator(fit(X, y), X, y)
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert shown[1] == r"price_\$ per \$ and so on"
    assert all(len(line) <= 30 for name in shown for line in name.split("\n"))
    assert all(name.count("\n") == 1 and name.endswith("…") for name in (shown[0], shown[2]))


def test_a_legend_keeps_what_begins_with_an_underscore():
    X, y = table(3)
    display = ProbabilityIntervalDisplay.from_estimator(fit(X, np.char.add("_", y)), X, feature="a")
    assert labels(display.legend_) == [" _ant", " _bee", " _cat"]


def test_a_legend_stands_beside_the_axes_only_where_the_layout_makes_room():
    X, y = table(3)
    result = infer(fit(X, y), X, y)
    _, given = plt.subplots()
    for ax, outside in [(None, True), (given, False)]:
        display = CoefficientDisplay.from_result(result, ax=ax)
        display.figure_.canvas.draw()
        box = display.legend_.get_window_extent()
        assert bool(box.x0 >= display.ax_.get_window_extent().x1) is outside
        assert box.x1 <= display.figure_.bbox.x1


def linear(colour):
    part = np.array(to_rgb(colour))
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """As WCAG 2 has it."""
    darker, lighter = sorted(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def cielab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    f = np.cbrt(np.clip(xyz / [0.9505, 1.0, 1.089], 0.008856, None))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes (2009), severity 1.0: what protanopes, deuteranopes and tritanopes see
BLINDNESS = [
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
]


def test_colours_are_seen_on_light_and_dark_and_told_apart_by_all():
    for colour in _canvas.COLOURS:
        for ground in ("#ffffff", "#121212"):
            assert contrast(colour, ground) >= 3.0
    for one, other in itertools.combinations(_canvas.COLOURS, 2):
        for seen in BLINDNESS:
            colours = [cielab(np.clip(seen @ linear(colour), 0, 1)) for colour in (one, other)]
            assert np.linalg.norm(colours[0] - colours[1]) >= 16.0
    looks = [(style["color"], str(style["linestyle"])) for style in map(_canvas.style, range(30))]
    assert len(set(looks)) == 30


# LossCurveDisplay


def test_loss_curves_are_gaps_to_the_least_loss():
    X, y = table(3)
    fits = {fisher: fit(X, y, fisher=fisher) for fisher in ("true", "diagonal", "identity")}
    display = LossCurveDisplay.from_estimators(fits)
    least = min(min(model.loss_curve_) for model in fits.values())
    assert display.resolution == pytest.approx(1e-11 * least)
    for line, (name, model) in zip(display.lines_, fits.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xdata(), np.arange(len(model.loss_curve_)))
        gap = np.array(model.loss_curve_) - least
        np.testing.assert_array_equal(line.get_ydata(), np.maximum(gap, display.resolution))
    assert display.resolution_line_.get_ydata()[0] == display.resolution
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_xlabel() == "iteration"
    assert display.ax_.get_ylabel() == "loss above the optimum\n[nats per unit of weight]"
    assert labels(display.legend_)[:3] == list(fits)


def test_how_well_the_optimum_is_known_follows_from_how_fits_end():
    X, y = table(2)
    fixed = fit(X, y, learning_rate=1.0, tol=1e-6)
    display = LossCurveDisplay.from_estimators(fixed)
    assert display.resolution == pytest.approx(1e-6 * min(fixed.loss_curve_))
    display = LossCurveDisplay.from_estimators([fixed, fit(X, y, tol=1e-7)])
    assert display.resolution == pytest.approx(1e-10 * min(display.losses[1]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_where_no_fit_has_converged_the_axis_says_so_and_the_least_point_is_left_out():
    X, y = table(2)
    fits = [fit(X, y, fisher=fisher, max_iter=2) for fisher in ("diagonal", "identity")]
    display = LossCurveDisplay.from_estimators(fits)
    assert display.ax_.get_ylabel() == "loss above the smallest loss\n[nats per unit of weight]"
    assert display.resolution_line_ is None
    least = min(display.optimum for _ in fits)
    for line, model in zip(display.lines_, fits, strict=True):
        gap = np.array(model.loss_curve_) - least
        np.testing.assert_array_equal(np.isnan(line.get_ydata()), gap == 0.0)
    assert sum(np.isnan(gap).sum() for gap in display.gaps_) == 1
    known = LossCurveDisplay.from_estimators(fits, optimum=fit(X, y).loss_curve_[-1])
    assert known.ax_.get_ylabel().startswith("loss above the optimum")
    assert all(np.isfinite(gap).all() for gap in known.gaps_)


def test_equal_objectives_are_equal_however_they_are_written():
    X, y = table(2)
    one = fit(X, y, C=1, class_weight={"ant": 1.0, "bee": 2.0}, prior=(np.zeros(3), 1.0))
    other = fit(X, y, C=np.float64(1.0), class_weight={"bee": 2.0, "ant": 1.0}, prior=[[0.0, 0.0, 0.0], 1])
    assert LossCurveDisplay.from_estimators([one, other]).reached


def test_many_long_names_all_have_their_place_in_the_legend():
    X, y = table(2)
    model = fit(X, y)
    display = LossCurveDisplay.from_estimators({f"{LONG[0]} {k}": model for k in range(25)})
    display.figure_.canvas.draw()
    legend, figure = display.legend_.get_window_extent(), display.figure_.bbox
    assert legend.y0 >= figure.y0
    assert legend.x1 <= figure.x1
    alone = LossCurveDisplay.from_estimators(model)
    assert labels(alone.legend_)[0] == "NaturalGradientLogisticRegression"


def test_a_curve_of_one_point_has_one_iteration_on_its_axis():
    X, y = table(2)
    with pytest.warns(ConvergenceWarning):
        model = fit(X, y, max_iter=1)
    display = LossCurveDisplay.from_estimators(model)
    assert np.isfinite(display.gaps_[0]).sum() == 1
    assert np.array_equal(display.ax_.get_xticks(), np.rint(display.ax_.get_xticks()))


def test_iterations_are_whole_numbers():
    display = LossCurveDisplay(
        names=["a"], losses=[[1.0, 0.2, 0.1]], positions=[range(3)], optimum=0.0, resolution=1e-9
    ).plot()
    display.figure_.canvas.draw()
    assert all(tick == int(tick) for tick in display.ax_.get_xticks())


def test_losses_that_are_not_finite_are_left_out():
    display = LossCurveDisplay(
        names=["a"], losses=[[1.0, np.inf, 0.5, np.nan]], positions=[range(4)], optimum=0.0, resolution=1e-9
    ).plot()
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [1.0, np.nan, 0.5, np.nan])


def test_seconds_are_those_of_the_fit():
    X, y = table(2)
    model = fit(X, y)
    model.time_curve_ = list(np.arange(len(model.loss_curve_)) / 8)
    display = LossCurveDisplay.from_estimators({"ours": model}, against="seconds", color="black")
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), model.time_curve_)
    assert display.ax_.get_xlabel() == "time since the fit began [s]"
    assert display.lines_[0].get_color() == "black"
    del model.time_curve_
    refuses(
        r"^estimators holds 'ours', a NaturalG.* without time_curve_; .* or pass against='iteration'\.$",
        LossCurveDisplay.from_estimators,
        {"ours": model},
        against="seconds",
    )


def test_estimators_of_a_list_are_called_by_what_differs():
    X, y = table(2)
    one, other = fit(X, y, fisher="true"), fit(X, y, fisher="kronecker", damping=0.1)
    name = "NaturalGradientLogisticRegression"
    assert LossCurveDisplay.from_estimators([one, other]).names == [
        "damping=0.001, fisher='true'",
        "damping=0.1, fisher='kronecker'",
    ]
    assert LossCurveDisplay.from_estimators(one).names == [name]
    assert LossCurveDisplay.from_estimators((one, one)).names == [f"{name} (1)", f"{name} (2)"]


def test_loss_curves_refuse_what_cannot_be_compared():
    X, y = table(2)
    one, other = fit(X, y), fit(X, y, C=10.0)
    make = LossCurveDisplay.from_estimators
    refuses(r"^against='epochs' is unknown; .*'iteration', 'seconds'", make, one, against="epochs")
    refuses(r"^estimators is empty; pass at least one", make, [])
    refuses(r"^estimators differ in C \(1.0, 10.0\), so they", make, [one, other])
    for optimum in (0.9, -np.inf, np.nan):
        refuses(
            rf"^optimum={optimum} must be None or a finite number that is at most .* reached, 0\.\d+\.$",
            make,
            one,
            optimum=optimum,
        )
    refuses(r"^estimators differ in prior \(", make, [one, fit(X, y, prior=(1.0, 1.0))])
    refuses(r"^estimators holds 'Log.*', a Log.* without loss_curve_;", make, LogisticRegression().fit(X, y))
    refuses(r"^estimators holds 'Pipe.* of a pipeline pass its last step", make, make_pipeline(clone(one)).fit(X, y))
    refuses(r"is not fitted yet", make, clone(one), error=NotFittedError)
    flat = LossCurveDisplay(names=["a"], losses=[[0.5]], positions=[[0]], optimum=0.5, resolution=1e-12, reached=False)
    refuses(r"^no curve has a finite loss above the smallest loss, so there is nothing to draw", flat.plot)
    make([one, other], optimum=0.0)


# CoefficientDisplay


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("odds_ratios", [False, True])
def test_a_forest_plot_holds_what_infer_says(n_classes, odds_ratios):
    X, y = table(n_classes)
    result = infer(fit(X, y), X, y)
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
        assert labels(display.legend_) == ["bee", "cat"]


def test_a_forest_plot_of_scikit_learns_model():
    X, y = table(3)
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
    X, y = table(2)
    result = infer(fit(X, y), X, y, covariance="robust")
    display = CoefficientDisplay.from_result(result, features=["c", 0])
    np.testing.assert_array_equal(display.points_[0].get_xdata(), result.params[0, [2, 0]])
    assert display.ax_.get_xlabel().endswith("interval of the shrunk estimate")
    alone = infer(fit(X, y), X, y, features=["(Intercept)"])
    assert CoefficientDisplay.from_result(alone).feature_names == ["(Intercept)"]
    make = CoefficientDisplay.from_result
    refuses(r"^features holds 'z', which is neither .* index from 0 to 3;", make, result, features=["z"])
    refuses(r"^features=\['a', 0\] must name at least one column, and each", make, result, features=["a", 0])
    refuses(r"^features=\[\] must name", make, result, features=[])
    refuses(r"^level=1.5 is no coverage", make, result, level=1.5)


def test_coefficients_that_are_not_determined_say_so():
    X, y = table(2)
    X["d"] = X["a"] + X["b"]
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning):
        display = CoefficientDisplay.from_estimator(model, X, y)
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert shown == ["a\n(no finite interval)", "b\n(no finite interval)", "c", "d\n(no finite interval)"]
    np.testing.assert_array_equal(np.isnan(display.points_[0].get_xdata()), [True, True, False, True])
    assert len(display.intervals_[0].get_segments()) == 1
    with pytest.warns(InferenceWarning):
        result = infer(model, X, y)
    refuses(
        r"^none of the 2 coefficients has a finite interval, so there is nothing to draw; ",
        CoefficientDisplay.from_result,
        result,
        features=["a", "d"],
    )


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


# ProbabilityIntervalDisplay


def ends_of(band, n_points):
    """Lower and upper ends of a band, from its outline: a corner, the lower ends, a corner, the upper ones back."""
    outline = band.get_paths()[0].vertices
    return np.column_stack([outline[1 : n_points + 1, 1], outline[n_points + 2 : 2 * n_points + 2, 1][::-1]])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("feature", ["b", 1])
def test_bands_are_the_intervals_of_predictions(n_classes, feature):
    X, y = table(n_classes)
    model = fit(X, y)
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
        assert labels(display.legend_) == ["ant", "bee", "cat"]


def test_other_features_are_held_where_one_says():
    X, y = table(3)
    model = fit(X, y)
    display = ProbabilityIntervalDisplay.from_estimator(
        model, X, feature="a", at={"c": 2.0, 1: -1.0}, class_of_interest="cat"
    )
    rows = pd.DataFrame({"a": display.grid, "b": -1.0, "c": 2.0})
    np.testing.assert_allclose(display.lines_[0].get_ydata(), model.predict_proba(rows)[:, 2], rtol=1e-13)
    assert len(display.bands_) == 1
    assert display.ax_.get_ylabel().startswith("probability of class cat")
    first = ProbabilityIntervalDisplay.from_estimator(fit(*table(2)), X, feature="a", class_of_interest="ant")
    assert first.ax_.get_ylabel().startswith("probability of class ant")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_sparse_rows_have_the_same_medians(share):
    X, y = table(2)
    X = np.where(np.random.default_rng(0).uniform(size=X.shape) < share, 0.0, X)
    # one zero more in a column would make the middle one of its values zero
    X[:, 0] = np.where(np.arange(80) < 39, 0.0, np.abs(X[:, 0]) + 1.0)
    model = fit(X, y)
    dense = ProbabilityIntervalDisplay.from_estimator(model, X, feature=2)
    for kind in (sparse.csr_array, sparse.csc_matrix):
        thin = ProbabilityIntervalDisplay.from_estimator(model, kind(X), feature=2)
        np.testing.assert_array_equal(thin.interval, dense.interval)
        np.testing.assert_array_equal(thin.deciles, dense.deciles)


def test_a_column_of_two_values_is_held_at_the_more_frequent():
    X, y = table(2)
    X["b"] = np.where(np.arange(80) < 41, 1, 0)
    model = fit(X, y)
    display = ProbabilityIntervalDisplay.from_estimator(model, X, feature="a")
    held = ProbabilityIntervalDisplay.from_estimator(model, X, feature="a", at={"b": 1})
    np.testing.assert_array_equal(display.proba, held.proba)


def test_probability_refuses_what_it_cannot_draw():
    X, y = table(3)
    model = fit(X, y)
    make = ProbabilityIntervalDisplay.from_estimator
    refuses(r"^feature holds 'z', which is neither the name", make, model, X, feature="z")
    refuses(r"^feature holds 3, which is neither .* an index from 0 to 2;", make, model, X, feature=3)
    refuses(r"^feature holds True, ", make, model, X, feature=True)
    refuses(r"^at holds 'z', which", make, model, X, feature="a", at={"z": 1.0})
    refuses(r"^at is a list; it must be a dict", make, model, X, feature="a", at=[1.0, 2.0])
    refuses(r"^at holds 'a', the feature on the horizontal axis", make, model, X, feature="a", at={0: 1.0})
    refuses(r"^level=0 is no coverage", make, model, X, feature="a", level=0)
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


# FisherEllipseDisplay


def moves_of(ellipse, centre):
    return np.array(ellipse.get_data()) - np.asarray(centre)[:, None]


def distance(moves, metric):
    return 0.5 * np.einsum("in,ij,jn->n", moves, metric, moves)


KINDS = ("true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_ellipses_solve_their_equation(n_classes, scale):
    X, y = table(n_classes)
    X["c"] *= scale
    weight = np.linspace(0.5, 2.0, 80)
    model = NaturalGradientLogisticRegression().fit(X, y)
    display = FisherEllipseDisplay.from_estimator(
        model, X, features=("c", 0), kinds=KINDS, y=y, kl=0.02, sample_weight=weight, random_state=0
    )
    k = 1 if n_classes == 3 else 0
    centre = model.coef_[k, [2, 0]]
    np.testing.assert_array_equal(np.ravel(display.centre_.get_data()), centre)
    places = np.array([2, 0]) + k * 4
    for kind, ellipse in zip(KINDS, display.ellipses_, strict=True):
        information = fisher_information(model, X, y, kind=kind, sample_weight=weight, random_state=0)
        metric = information[np.ix_(places, places)] / weight.sum()
        curve = np.array(ellipse.get_data())
        # as far as moves can be told from the coefficients they are added to
        rounding = 1e-14 * (np.abs(centre)[:, None] / np.ptp(curve, axis=1, keepdims=True)).max()
        np.testing.assert_allclose(distance(moves_of(ellipse, centre), metric), 0.02, rtol=max(1e-10, rounding))
        np.testing.assert_allclose(curve[:, 0], curve[:, -1])
    assert labels(display.legend_) == list(KINDS)
    assert display.legend_.get_title().get_text() == "½ vᵀ M v = 0.02 nats,\nother coefficients fixed"
    of_class = "for class bee " if n_classes == 3 else ""
    assert display.ax_.get_xlabel() == f"coefficient of c\n{of_class}[nats per unit of the feature]"


def least_distance(information, fixed, move, n_logits):
    """½ uᵀFu at its least over u with two entries given and, of several classes, zero sum; by Lagrange multipliers."""
    size = len(information)
    rows = [np.eye(size)[place] for place in fixed]
    values = list(move)
    if n_logits > 1:
        d = size // n_logits
        rows += [np.tile(np.eye(d)[j], n_logits) for j in range(d)]
        values += [0.0] * d
    rows = np.array(rows)
    system = np.block([[information, rows.T], [rows, np.zeros((len(rows), len(rows)))]])
    solved = np.linalg.lstsq(system, np.concatenate([np.zeros(size), values]), rcond=None)[0][:size]
    return 0.5 * solved @ information @ solved


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("kind", ["true", "empirical", "diagonal", "kronecker", "identity"])
@pytest.mark.parametrize("intercept", [True, False])
def test_free_coefficients_make_the_distance_least(n_classes, kind, intercept):
    X, y = table(n_classes)
    model = NaturalGradientLogisticRegression(fit_intercept=intercept).fit(X, y)
    label = "dog" if n_classes == 4 else "bee"
    display = FisherEllipseDisplay.from_estimator(
        model, X, features=("a", "c"), kinds=kind, y=y, others="free", class_of_interest=label
    )
    k, d = (3, 3 + intercept) if n_classes == 4 else (0, 3 + intercept)
    information = fisher_information(model, X, y, kind=kind) / 80
    moves = moves_of(display.ellipses_[0], model.coef_[k, [0, 2]])
    for move in moves.T[::40]:
        least = least_distance(information, [k * d, k * d + 2], move, len(model.coef_))
        assert least == pytest.approx(0.01, rel=1e-8)
    assert display.legend_.get_title().get_text().endswith("other coefficients free")


def test_at_the_chi_squared_distance_it_is_the_confidence_region():
    X, y = load_iris(return_X_y=True)
    X, y = X[50:], y[50:]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000, solver="newton-cholesky").fit(X, y)
    quantile = stats.chi2.ppf(0.95, 2)
    display = FisherEllipseDisplay.from_estimator(
        model, X, features=(2, "(Intercept)"), kinds="true", others="free", kl=quantile / 2 / len(y)
    )
    covariance = infer(model, X, y).covariance[np.ix_([2, 4], [2, 4])]
    moves = moves_of(display.ellipses_[0], [model.coef_[0, 2], model.intercept_[0]])
    np.testing.assert_allclose(2 * distance(moves, np.linalg.inv(covariance)), quantile, rtol=1e-6)


def test_ellipses_refuse_what_has_no_end_or_no_meaning():
    X, y = table(3)
    X["d"] = X["a"] + X["b"]
    X["e"] = X["c"]
    model = NaturalGradientLogisticRegression().fit(X, y)
    make = FisherEllipseDisplay.from_estimator
    without_end = r"^the metric 'true' does not determine the coefficients of \['%s', '%s'\], so its"
    refuses(without_end % ("c", "e"), make, model, X, features=("c", "e"), kinds="true")
    refuses(without_end % ("a", "b"), make, model, X, features=("a", "b"), kinds="true", others="free")
    make(model, X, features=("a", "b"), kinds="true")
    refuses(r"^kinds is empty; it must name", make, model, X, kinds=[])
    refuses(r"^kind=None is not a Fisher information", make, model, X, kinds=None)
    refuses(r"^kind='exact' is not a Fisher information", make, model, X, kinds="exact")
    refuses(r"^y=None, but kind='empirical' needs", make, model, X, kinds="empirical")
    refuses(r"^features=\('a', 0\) must be two different columns", make, model, X, features=("a", 0))
    refuses(r"^features='a' must be two different columns", make, model, X, features="a")
    refuses(r"^features holds 6, which is neither .* from 0 to 5", make, model, X, features=(0, 6))
    for kl in (0.0, -1, np.inf, True, "small"):
        refuses(r"^kl=.* is not a distance; it must be a number of nats above 0", make, model, X, kl=kl)
    refuses(r"^others='loose' is unknown; it must be one of \['fixed', 'free'\]", make, model, X, others="loose")
    refuses(r"^class_of_interest='dog' is not among", make, model, X, class_of_interest="dog")
    X, y = table(2)
    model = LogisticRegression().fit(X, y)
    refuses(r"^class_of_interest='ant' has no coefficients of its own;", make, model, X, class_of_interest="ant")


# RegularizationPathDisplay


@pytest.mark.parametrize("n_classes", [2, 3])
def test_paths_are_the_coefficients_of_fits(n_classes):
    X, y = table(n_classes)
    model = NaturalGradientLogisticRegression(tol=1e-12, C=0.5)
    Cs = [10.0, 0.1, 1.0]
    display = RegularizationPathDisplay.from_estimator(model, X, y, Cs=Cs, sample_weight=np.arange(80.0))
    expected = np.stack([fit_at(C, X, y).coef_ for C in sorted(Cs)])
    panels = np.ravel(display.ax_)
    assert len(panels) == len(display.lines_) == len(display.chosen_) == (1 if n_classes == 2 else 3)
    for k, (panel, lines) in enumerate(zip(panels, display.lines_, strict=True)):
        for j, line in enumerate(lines):
            np.testing.assert_array_equal(line.get_xdata(), sorted(Cs))
            np.testing.assert_allclose(line.get_ydata(), expected[:, k, j], rtol=1e-6)
            assert line.axes is panel
        assert panel.get_xscale() == "log"
        assert panel.get_xlabel() == "C (a small C is a strong penalty)"
        assert display.chosen_[k].get_xdata()[0] == 0.5
    assert sorted(labels(display.legend_)) == ["C of the estimator", "a", "b", "c"]
    if n_classes == 2:
        assert display.ax_ is panels[0]
        assert display.ax_.get_ylabel() == "coefficient for class bee\n[nats per unit of the feature]"
    else:
        assert [panel.get_title() for panel in panels] == ["class ant", "class bee", "class cat"]
        assert panels[0].get_ylabel() == "coefficient\n[nats per unit of the feature]"
    assert not hasattr(model, "coef_")
    assert not model.warm_start


def fit_at(C, X, y):
    return NaturalGradientLogisticRegression(tol=1e-12, C=C).fit(X, y, sample_weight=np.arange(80.0))


class Watched(NaturalGradientLogisticRegression):
    started: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.started.append((self.C, self.warm_start, None if not hasattr(self, "coef_") else self.coef_.copy()))
        return super().fit(X, y, sample_weight)


def test_each_fit_of_a_path_begins_where_the_last_ended():
    X, y = table(2)
    Watched.started.clear()
    display = RegularizationPathDisplay.from_estimator(Watched(), X, y)
    started = Watched.started
    assert [C for C, _, _ in started] == np.logspace(-4, 4, 33).tolist()
    assert all(warm for _, warm, _ in started)
    for (_, _, coef), before in zip(started[1:], display.coefs, strict=False):
        np.testing.assert_array_equal(coef, before)


def test_axes_that_do_not_suffice_are_refused_after_the_fit_that_tells_the_classes():
    _, ax = plt.subplots()
    Watched.started.clear()
    message = (
        r"^ax holds 1 Axes, but 3 classes are drawn, one in each; pass 3 Axes, or one class as class_of_interest\.$"
    )
    refuses(message, RegularizationPathDisplay.from_estimator, Watched(), *table(3), ax=ax)
    assert len(Watched.started) == 1


def test_one_class_of_several_and_many_features():
    X, y = table(3, [f"x{j}" for j in range(12)])
    figure, ax = plt.subplots()
    display = RegularizationPathDisplay.from_estimator(
        LogisticRegression(tol=1e-6, max_iter=1000), X, y, Cs=[0.01, 0.1], class_of_interest="cat", ax=ax
    )
    assert display.ax_ is ax
    model = LogisticRegression(tol=1e-6, max_iter=1000, C=0.1).fit(X, y)
    np.testing.assert_allclose(display.coefs[-1, 0], model.coef_[2], atol=1e-4)
    assert display.chosen_ == []
    largest = np.argsort(-np.abs(display.coefs[:, 0]).max(axis=0))[:8]
    assert labels(display.legend_) == [*(f"x{j}" for j in largest), "4 others"]
    assert figure is display.figure_


def test_the_legend_of_panels_stands_at_the_end_of_a_whole_row():
    X, y = load_digits(return_X_y=True)
    display = RegularizationPathDisplay.from_estimator(
        NaturalGradientLogisticRegression(), X[:200, 20:23], y[:200], Cs=[0.1, 1.0]
    )
    panels = display.legend_.axes.get_subplotspec()
    assert (panels.rowspan.start, panels.is_last_col()) == (0, True)


def test_panels_leave_no_empty_axes():
    X, y = table(4)
    display = RegularizationPathDisplay.from_estimator(NaturalGradientLogisticRegression(), X, y, Cs=[0.1, 1.0])
    assert len(display.ax_) == len(display.figure_.axes) == 4


def test_paths_refuse_what_they_cannot_draw():
    X, y = table(3)
    model = NaturalGradientLogisticRegression()
    make = RegularizationPathDisplay.from_estimator
    for Cs in ([1.0], [0.0, 1.0], [1.0, np.inf], [1.0, np.nan], []):
        refuses(
            r"^Cs=\[.*\] must hold at least two different values, each finite and above 0\.$", make, model, X, y, Cs=Cs
        )
    refuses(r"^estimator is a KNeighborsClassifier, which has no parameters C", make, KNeighborsClassifier(), X, y)
    refuses(r"^class_of_interest='dog' is not among", make, model, X, y, class_of_interest="dog")
    two = table(2)
    refuses(r"^class_of_interest='ant' has no coefficients of its own", make, model, *two, class_of_interest="ant")
    empty = RegularizationPathDisplay(Cs=[1, 2], coefs=np.empty((2, 1, 0)), feature_names=[], classes=[1])
    refuses(r"^coefs has shape \(2, 1, 0\), which is empty", empty.plot)


def test_ax_must_be_axes():
    X, y = table(2)
    message = r"^ax is a str; it must be a matplotlib Axes, or None for a new figure\.$"
    refuses(message, LossCurveDisplay.from_estimators, fit(X, y), ax="here")
    refuses(message, RegularizationPathDisplay.from_estimator, fit(X, y), X, y, ax="here")
