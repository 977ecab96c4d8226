"""LossCurveDisplay: what it draws, its labels, and what it refuses."""

import numpy as np
import pytest
from problems import LONG_NAMES, fit_with_covariance, legend_labels, named_table, refuses
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sknatgrad.plots import LossCurveDisplay

pytestmark = pytest.mark.usefixtures("closed_figures")


def test_loss_curves_are_gaps_to_the_least_loss():
    X, y = named_table(3)
    fits = {fisher: fit_with_covariance(X, y, fisher=fisher) for fisher in ("true", "diagonal", "identity")}
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
    assert legend_labels(display.legend_)[:3] == list(fits)


def test_how_well_the_optimum_is_known_follows_from_how_fits_end():
    X, y = named_table(2)
    fixed = fit_with_covariance(X, y, learning_rate=1.0, tol=1e-6)
    display = LossCurveDisplay.from_estimators(fixed)
    assert display.resolution == pytest.approx(1e-6 * min(fixed.loss_curve_))
    display = LossCurveDisplay.from_estimators([fixed, fit_with_covariance(X, y, tol=1e-7)])
    assert display.resolution == pytest.approx(1e-10 * min(display.losses[1]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_where_no_fit_has_converged_the_axis_says_so_and_the_least_point_is_left_out():
    X, y = named_table(2)
    fits = [fit_with_covariance(X, y, fisher=fisher, max_iter=2) for fisher in ("diagonal", "identity")]
    display = LossCurveDisplay.from_estimators(fits)
    assert display.ax_.get_ylabel() == "loss above the smallest loss\n[nats per unit of weight]"
    assert display.resolution_line_ is None
    least = min(display.optimum for _ in fits)
    for line, model in zip(display.lines_, fits, strict=True):
        gap = np.array(model.loss_curve_) - least
        np.testing.assert_array_equal(np.isnan(line.get_ydata()), gap == 0.0)
    assert sum(np.isnan(gap).sum() for gap in display.gaps_) == 1
    known = LossCurveDisplay.from_estimators(fits, optimum=fit_with_covariance(X, y).loss_curve_[-1])
    assert known.ax_.get_ylabel().startswith("loss above the optimum")
    assert all(np.isfinite(gap).all() for gap in known.gaps_)


def test_equal_objectives_are_equal_however_they_are_written():
    X, y = named_table(2)
    one = fit_with_covariance(X, y, C=1, class_weight={"ant": 1.0, "bee": 2.0}, prior=(np.zeros(3), 1.0))
    other = fit_with_covariance(
        X, y, C=np.float64(1.0), class_weight={"bee": 2.0, "ant": 1.0}, prior=[[0.0, 0.0, 0.0], 1]
    )
    assert LossCurveDisplay.from_estimators([one, other]).reached


def test_many_long_names_all_have_their_place_in_the_legend():
    X, y = named_table(2)
    model = fit_with_covariance(X, y)
    display = LossCurveDisplay.from_estimators({f"{LONG_NAMES[0]} {k}": model for k in range(25)})
    display.figure_.canvas.draw()
    legend, figure = display.legend_.get_window_extent(), display.figure_.bbox
    assert legend.y0 >= figure.y0
    assert legend.x1 <= figure.x1
    alone = LossCurveDisplay.from_estimators(model)
    assert legend_labels(alone.legend_)[0] == "NaturalGradientLogisticRegression"


def test_a_curve_of_one_point_has_one_iteration_on_its_axis():
    X, y = named_table(2)
    with pytest.warns(ConvergenceWarning):
        model = fit_with_covariance(X, y, max_iter=1)
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
    X, y = named_table(2)
    model = fit_with_covariance(X, y)
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
    X, y = named_table(2)
    one, other = fit_with_covariance(X, y, fisher="true"), fit_with_covariance(X, y, fisher="kronecker", damping=0.1)
    name = "NaturalGradientLogisticRegression"
    assert LossCurveDisplay.from_estimators([one, other]).names == [
        "damping=0.001, fisher='true'",
        "damping=0.1, fisher='kronecker'",
    ]
    assert LossCurveDisplay.from_estimators(one).names == [name]
    assert LossCurveDisplay.from_estimators((one, one)).names == [f"{name} (1)", f"{name} (2)"]


def test_loss_curves_refuse_what_cannot_be_compared():
    X, y = named_table(2)
    one, other = fit_with_covariance(X, y), fit_with_covariance(X, y, C=10.0)
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
    refuses(r"^estimators differ in prior \(", make, [one, fit_with_covariance(X, y, prior=(1.0, 1.0))])
    refuses(r"^estimators holds 'Log.*', a Log.* without loss_curve_;", make, LogisticRegression().fit(X, y))
    refuses(r"^estimators holds 'Pipe.* of a pipeline pass its last step", make, make_pipeline(clone(one)).fit(X, y))
    refuses(r"is not fitted yet", make, clone(one), error=NotFittedError)
    flat = LossCurveDisplay(names=["a"], losses=[[0.5]], positions=[[0]], optimum=0.5, resolution=1e-12, reached=False)
    refuses(r"^no curve has a finite loss above the smallest loss, so there is nothing to draw", flat.plot)
    make([one, other], optimum=0.0)
