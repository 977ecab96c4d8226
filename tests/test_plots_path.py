"""RegularizationPathDisplay: what it draws, its labels, and what it refuses."""

from typing import ClassVar

import numpy as np
import pytest
from matplotlib import pyplot as plt
from problems import legend_labels, named_table, refuses
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from sknatgrad import NaturalGradientLogisticRegression, NaturalGradientLogisticRegressionCV, logistic_path
from sknatgrad.plots import RegularizationPathDisplay

pytestmark = pytest.mark.usefixtures("closed_figures")


@pytest.mark.parametrize("n_classes", [2, 3])
def test_paths_are_the_coefficients_of_fits(n_classes):
    X, y = named_table(n_classes)
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
    assert sorted(legend_labels(display.legend_)) == ["C of the estimator", "a", "b", "c"]
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
    X, y = named_table(2)
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
    message = r"^ax holds 1 Axes, but 3 panels are drawn, one for each class; pass 3 Axes, or one class"
    refuses(message, RegularizationPathDisplay.from_estimator, Watched(), *named_table(3), ax=ax)
    assert len(Watched.started) == 1


def test_one_class_of_several_and_many_features():
    X, y = named_table(3, [f"x{j}" for j in range(12)])
    figure, ax = plt.subplots()
    display = RegularizationPathDisplay.from_estimator(
        LogisticRegression(tol=1e-6, max_iter=1000), X, y, Cs=[0.01, 0.1], class_of_interest="cat", ax=ax
    )
    assert display.ax_ is ax
    model = LogisticRegression(tol=1e-6, max_iter=1000, C=0.1).fit(X, y)
    np.testing.assert_allclose(display.coefs[-1, 0], model.coef_[2], atol=1e-4)
    assert display.chosen_ == []
    largest = np.argsort(-np.abs(display.coefs[:, 0]).max(axis=0))[:8]
    assert legend_labels(display.legend_) == [*(f"x{j}" for j in largest), "4 others"]
    assert figure is display.figure_


def test_the_legend_of_panels_stands_at_the_end_of_a_whole_row():
    X, y = load_digits(return_X_y=True)
    display = RegularizationPathDisplay.from_estimator(
        NaturalGradientLogisticRegression(), X[:200, 20:23], y[:200], Cs=[0.1, 1.0]
    )
    panels = display.legend_.axes.get_subplotspec()
    assert (panels.rowspan.start, panels.is_last_col()) == (0, True)


def test_panels_leave_no_empty_axes():
    X, y = named_table(4)
    display = RegularizationPathDisplay.from_estimator(NaturalGradientLogisticRegression(), X, y, Cs=[0.1, 1.0])
    assert len(display.ax_) == len(display.figure_.axes) == 4


def test_paths_refuse_what_they_cannot_draw():
    X, y = named_table(3)
    model = NaturalGradientLogisticRegression()
    make = RegularizationPathDisplay.from_estimator
    for Cs in ([1.0], [0.0, 1.0], [1.0, np.inf], [1.0, np.nan], []):
        refuses(
            r"^Cs=\[.*\] must hold at least two different values, each finite and above 0\.$", make, model, X, y, Cs=Cs
        )
    refuses(r"^estimator is a KNeighborsClassifier, which has no parameters C", make, KNeighborsClassifier(), X, y)
    refuses(r"^class_of_interest='dog' is not among", make, model, X, y, class_of_interest="dog")
    two = named_table(2)
    refuses(r"^class_of_interest='ant' has no coefficients of its own", make, model, *two, class_of_interest="ant")
    empty = RegularizationPathDisplay(Cs=[1, 2], coefs=np.empty((2, 1, 0)), feature_names=[], classes=[1])
    refuses(r"^coefs has shape \(2, 1, 0\), which is empty", empty.plot)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_path_that_was_computed_before(n_classes):
    X, y = named_table(n_classes)
    path = logistic_path(X, y, Cs=[0.1, 1.0, np.inf] if n_classes == 3 else [0.1, 1.0, 10.0])
    display = RegularizationPathDisplay.from_path(path)
    # a logarithmic axis has no place for infinity
    np.testing.assert_array_equal(display.Cs, path.Cs[np.isfinite(path.Cs)])
    for k, lines in enumerate(display.lines_):
        for j, line in enumerate(lines):
            np.testing.assert_array_equal(line.get_ydata(), path.coefs[: len(display.Cs), k, j])
    assert display.feature_names == ["a", "b", "c"]
    assert display.chosen_ == []
    nameless = RegularizationPathDisplay.from_path(logistic_path(X.to_numpy(), y, Cs=[0.1, 1.0]))
    assert nameless.feature_names == ["x0", "x1", "x2"]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_scores_of_a_cross_validation(n_classes):
    X, y = named_table(n_classes)
    model = NaturalGradientLogisticRegressionCV(Cs=[10.0, 0.01, 0.1, 1.0, np.inf], cv=4).fit(X, y)
    display = RegularizationPathDisplay.from_cv(model)
    panels = display.figure_.axes
    assert len(panels) == len(display.lines_) + 1 == (2 if n_classes == 2 else 4)
    assert display.score_line_.axes is panels[-1]
    scores = model.scores_[:, 0, [1, 2, 3, 0]]
    np.testing.assert_allclose(display.score_line_.get_ydata(), scores.mean(axis=0))
    error = scores.std(axis=0, ddof=1) / 2.0
    top = display.score_band_.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx((scores.mean(axis=0) + error).max())
    best = scores.mean(axis=0).argmax()
    within = scores.mean(axis=0) >= scores.mean(axis=0)[best] - error[best]
    assert display.one_standard_error_.get_xdata()[0] == np.array([0.01, 0.1, 1.0, 10.0])[within].min()
    expected = model.coefs_paths_[:, 0, 1, 0, :3].mean(axis=0)
    np.testing.assert_allclose([line.get_ydata()[0] for line in display.lines_[0]], expected)


def test_a_cross_validation_that_is_not_fitted_is_refused():
    make = RegularizationPathDisplay.from_cv
    refuses(r"^estimator is a NaturalGradientLogisticRegressionCV without", make, NaturalGradientLogisticRegressionCV())
    settings = {"Cs": [1.0, 2.0], "coefs": np.zeros((2, 1, 1)), "feature_names": ["a"], "classes": [1]}
    wrong = RegularizationPathDisplay(**settings, scores=np.zeros((3, 3)))
    refuses(r"^scores has shape \(3, 3\); it must have one column for each of 2", wrong.plot)
