"""All displays: axes, text, legends, colours, and the import of matplotlib."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from problems import LONG_NAMES, fit_with_covariance, legend_labels, named_table, refuses

from sknatgrad.inference import infer, influence
from sknatgrad.plots import (
    CoefficientDisplay,
    FisherEllipseDisplay,
    InfluenceDisplay,
    LossCurveDisplay,
    ProbabilityIntervalDisplay,
    RegularizationPathDisplay,
    _canvas,
)

pytestmark = pytest.mark.usefixtures("closed_figures")


def test_importing_does_not_import_matplotlib():
    code = "import sys, sknatgrad.plots; print([name for name in sys.modules if name.startswith('matplotlib')])"
    done = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    X, y = named_table(2)
    model = fit_with_covariance(X, y)
    result = infer(model, X, y)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for make, given in [
        (LossCurveDisplay.from_estimators, (model,)),
        (CoefficientDisplay.from_result, (result,)),
        (CoefficientDisplay.from_estimator, (model, X, y)),
        (FisherEllipseDisplay.from_estimator, (model, X)),
        (InfluenceDisplay.from_result, (influence(model, X, y),)),
        (RegularizationPathDisplay.from_estimator, (model, X, y)),
    ]:
        with pytest.raises(ImportError, match=r"needs matplotlib, .* 'sknatgrad\[plots\]'\.$"):
            make(*given)
    with pytest.raises(ImportError, match=r"^ProbabilityIntervalDisplay.from_estimator needs"):
        ProbabilityIntervalDisplay.from_estimator(model, X, feature="a")


def displays(n_classes, ax=None):
    X, y = named_table(n_classes, LONG_NAMES)
    y = np.char.add("_$x$ ", y)
    model = fit_with_covariance(X, y)
    several = 1 if ax is None or n_classes == 2 else n_classes
    yield LossCurveDisplay.from_estimators(model, ax=ax)
    yield CoefficientDisplay.from_estimator(model, X, y, ax=ax)
    yield ProbabilityIntervalDisplay.from_estimator(model, X, feature=0, ax=ax)
    yield FisherEllipseDisplay.from_estimator(model, X, ax=ax)
    yield InfluenceDisplay.from_result(influence(model, X, y), names=[f"_$x$ {row}" for row in range(len(y))], ax=ax)
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
    X, y = named_table(2, LONG_NAMES)
    display = CoefficientDisplay.from_estimator(fit_with_covariance(X, y), X, y)
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert shown[1] == r"price_\$ per \$ and so on"
    assert all(len(line) <= 30 for name in shown for line in name.split("\n"))
    assert all(name.count("\n") == 1 and name.endswith("…") for name in (shown[0], shown[2]))


def test_a_legend_keeps_what_begins_with_an_underscore():
    X, y = named_table(3)
    display = ProbabilityIntervalDisplay.from_estimator(fit_with_covariance(X, np.char.add("_", y)), X, feature="a")
    assert legend_labels(display.legend_) == [" _ant", " _bee", " _cat"]


def test_a_legend_stands_beside_the_axes_only_where_the_layout_makes_room():
    X, y = named_table(3)
    result = infer(fit_with_covariance(X, y), X, y)
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
    """The contrast ratio of WCAG 2."""
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


def test_ax_must_be_axes():
    X, y = named_table(2)
    message = r"^ax is a str; it must be a matplotlib Axes, or None for a new figure\.$"
    refuses(message, LossCurveDisplay.from_estimators, fit_with_covariance(X, y), ax="here")
    refuses(message, RegularizationPathDisplay.from_estimator, fit_with_covariance(X, y), X, y, ax="here")
