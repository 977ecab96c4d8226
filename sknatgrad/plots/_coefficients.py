"""A forest plot: each coefficient with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._inputs.columns import INTERCEPT, column_indices
from sknatgrad._model.class_labels import label_string
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad.inference import infer
from sknatgrad.plots._canvas import (
    COLOURS,
    axes,
    figure_height,
    label_text,
    legend,
    marker,
    percent,
    pyplot,
    reference_style,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Mask, Matrix
    from sknatgrad._inputs.columns import Features
    from sknatgrad.inference import InferenceResult

# inches: the margins, the height of a feature with one class, and that of each further class. tests/test_plots.py
# checks that neither the labels nor the markers of 5.5 points overlap.
MARGINS = 1.3
FEATURE_HEIGHT = 0.27
FURTHER_CLASS_HEIGHT = 0.13
# points: diameter of a marker, and width of the line of an interval
MARKER_SIZE = 5.5
LINE_WIDTH = 1.6
# inches: matplotlib 3.8 draws at most 2**16 pixels in each direction, which are 218 inches at 300 dots per inch
MAX_HEIGHT = 200
# range of the points of all classes of a feature, as a fraction of the distance between two features
CLASS_RANGE = 0.6
# decades of a log axis: below 2, labels at the powers of ten alone are too few; above 5, plain numbers are too long
FEW_DECADES = 2.0
MANY_DECADES = 5.0


@member_of("sknatgrad.plots")
@underflow_ignored_in
class CoefficientDisplay:
    """Coefficients, or odds ratios, with their intervals: a forest plot.

    Usually created by `from_result` or `from_estimator`.

    Parameters
    ----------
    estimates : array-like of shape (n_classes - 1, n_columns)
        Coefficients, or odds ratios; NaN for aliased columns, whose label says so.

    intervals : array-like of shape (n_classes - 1, n_columns, 2)
        The lower and upper ends. An interval that is not finite is not drawn, and the label of its column says so.

    feature_names : list of str of length n_columns
        Names of the columns, drawn from top to bottom.

    classes : list of length n_classes - 1
        The class of each row of `estimates`.

    reference : label
        The class with which the others are compared.

    level : float, default=0.95
        Coverage of the intervals.

    odds_ratios : bool, default=False
        Whether `estimates` are odds ratios, for a log axis.

    interval_name : str, default="interval"
        Kind of the intervals, in the singular, for the axis label.

    Attributes
    ----------
    points_ : list of matplotlib Line2D of length n_classes - 1
        The estimates of each class.

    intervals_ : list of matplotlib LineCollection of length n_classes - 1
        The intervals of each class.

    reference_line_ : matplotlib Line2D
        The line of no effect: at 0, or at an odds ratio of 1.

    legend_ : matplotlib Legend or None
        The legend of the classes if there are more than two, otherwise None.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.plots import CoefficientDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = NaturalGradientLogisticRegression().fit(X, y)
    >>> display = CoefficientDisplay.from_estimator(model, X, y)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)']
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's convention: everything that is drawn
        self,
        *,
        estimates: ArrayLike,
        intervals: ArrayLike,
        feature_names: list[str],
        classes: list[Hashable],
        reference: Hashable,
        level: float = 0.95,
        odds_ratios: bool = False,
        interval_name: str = "interval",
    ) -> None:
        self.estimates = estimates
        self.intervals = intervals
        self.feature_names = feature_names
        self.classes = classes
        self.reference = reference
        self.level = level
        self.odds_ratios = odds_ratios
        self.interval_name = interval_name

    @classmethod
    def from_result(
        cls,
        result: InferenceResult,
        *,
        level: float = 0.95,
        odds_ratios: bool = False,
        features: Sequence[str | int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the result of :func:`sknatgrad.inference.infer`.

        Parameters
        ----------
        result : InferenceResult
            Coefficients and their covariance.

        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        odds_ratios : bool, default=False
            Whether to draw odds ratios on a log axis instead of coefficients.

        features : list of str or int, or None, default=None
            Names or indices of the columns to draw, from top to bottom. None draws all columns but the intercept, whose
            coefficient refers to rows in which every feature is 0.

        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure, whose height depends on the number of rows.

        Returns
        -------
        display : CoefficientDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `level` is not in (0, 1), a feature is unknown, or no coefficient has a finite interval.
        """
        pyplot("CoefficientDisplay.from_result")
        names = list(result.feature_names)
        columns = _columns(features, names)
        if odds_ratios:
            ratios = result.odds_ratios(level)
            estimates, intervals = ratios.ratio, np.stack([ratios.low, ratios.high], axis=-1)
        else:
            estimates, intervals = result.params, result.conf_int(level)
        display = cls(
            estimates=estimates[:, columns],
            intervals=intervals[:, columns],
            feature_names=[names[j] for j in columns],
            classes=list(result.classes),
            reference=result.reference,
            level=level,
            odds_ratios=odds_ratios,
            interval_name=_interval_name(result),
        )
        return display.plot(ax)

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all arguments but the data are keyword-only
        cls,
        estimator: Any,
        X: Matrix,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        level: float = 0.95,
        odds_ratios: bool = False,
        features: Sequence[str | int] | None = None,
        ax: Axes | None = None,
        **infer_kw: Any,
    ) -> Self:
        """Draw the coefficients of a fitted model, with the intervals of :func:`sknatgrad.inference.infer`.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`sknatgrad.NaturalGradientLogisticRegression`, or any logistic regression of scikit-learn
            with an L2 penalty or none.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            The training rows of the fit.

        y : array-like of shape (n_samples,)
            The labels of the rows.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            The weights of the rows in the fit.

        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        odds_ratios : bool, default=False
            Whether to draw odds ratios on a log axis instead of coefficients.

        features : list of str or int, or None, default=None
            Names or indices of the columns to draw, from top to bottom. None draws all columns but the intercept.

        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure, whose height depends on the number of rows.

        **infer_kw : dict
            Passed to `infer`: `weights`, `covariance`, `groups`, `reference`, `aliased`.

        Returns
        -------
        display : CoefficientDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `infer` or `from_result` raises it.

        Warns
        -----
        InferenceWarning
            If `infer` issues it, because the intervals may be wrong.
        """
        pyplot("CoefficientDisplay.from_estimator")
        result = infer(estimator, X, y, sample_weight=sample_weight, features=features, **infer_kw)
        columns = None if features is None else list(range(len(result.feature_names)))
        return cls.from_result(result, level=level, odds_ratios=odds_ratios, features=columns, ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the coefficients.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure, whose height depends on the number of rows.

        Returns
        -------
        display : CoefficientDisplay
            The display itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no coefficient has a finite interval, or a new figure would be too high to be drawn.
        """
        estimates, intervals = np.asarray(self.estimates), np.asarray(self.intervals)
        drawn = np.isfinite(intervals).all(axis=2) & np.isfinite(estimates)
        if not drawn.any():
            message = (
                f"none of the {estimates.size} coefficients has a finite interval, so there is nothing to draw; "
                "result.summary() lists the coefficients that the data do not determine."
            )
            raise ValueError(message)
        n_classes, n_columns = estimates.shape
        height = MARGINS + n_columns * (FEATURE_HEIGHT + FURTHER_CLASS_HEIGHT * (n_classes - 1))
        height = figure_height(self.classes, height) if n_classes > 1 else height
        if ax is None and height > MAX_HEIGHT:
            message = (
                f"the {n_columns} columns need a figure {height:.0f} inches high, above the limit of {MAX_HEIGHT}; "
                "pass the columns to draw as features, or an ax."
            )
            raise ValueError(message)
        width = 6.8 if n_classes == 1 else 8.0  # inches
        self.figure_, self.ax_ = axes(ax, "CoefficientDisplay.plot", (width, height))
        self.reference_line_ = self.ax_.axvline(float(self.odds_ratios), **reference_style(self.ax_))
        self.points_: list[Line2D] = []
        self.intervals_: list[LineCollection] = []
        for k in range(n_classes):
            self._draw_class(k, estimates[k], intervals[k], drawn[k])
        self._describe(drawn.all(axis=0), np.isnan(estimates).all(axis=0))
        return self

    def _draw_class(self, k: int, estimates: Array, intervals: Array, drawn: Mask) -> None:
        rows = np.arange(len(estimates)) + CLASS_RANGE * ((k + 0.5) / len(self.classes) - 0.5)
        colour = COLOURS[k % len(COLOURS)]
        self.intervals_.append(self.ax_.hlines(rows[drawn], *intervals[drawn].T, color=colour, linewidth=LINE_WIDTH))
        self.points_ += self.ax_.plot(
            np.where(drawn, estimates, np.nan),
            rows,
            color=colour,
            marker=marker(k),
            markersize=MARKER_SIZE,
            linestyle="none",
            label=label_string(self.classes[k]),
        )

    def _describe(self, determined: Mask, aliased: Mask) -> None:
        ax, several = self.ax_, len(self.classes) > 1
        reasons = np.select([aliased, ~determined], ["\n(aliased)", "\n(no finite interval)"], "")
        names = [label_text(name) + reason for name, reason in zip(self.feature_names, reasons.tolist(), strict=True)]
        ax.set_yticks(np.arange(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(axis="y", alpha=0.2)
        of_class = "" if several else f" of class {label_text(self.classes[0])}"
        quantity = f"odds ratio{of_class}" if self.odds_ratios else f"log-odds{of_class}"
        unit = "per unit of the feature" if self.odds_ratios else "[nats per unit of the feature]"
        ax.set_xlabel(
            f"{quantity} against class {label_text(self.reference)}\n"
            f"{unit}, with {percent(self.level)} {self.interval_name}",
        )
        if self.odds_ratios:
            # after drawing, because matplotlib 3.8 computes wrong limits for lines on a log axis
            ax.set_xscale("log")
            _plain_numbers(ax)
        self.legend_ = legend(ax, self.points_, title="class", beside=True) if several else None


def _columns(features: Features | None, names: list[str]) -> list[int]:
    """Return the indices of the given features; for None of all, except the intercept unless it is the only one."""
    if features is None:
        others = [j for j, name in enumerate(names) if name != INTERCEPT]
        return others or list(range(len(names)))
    return column_indices(features, names)


def _interval_name(result: InferenceResult) -> str:
    """Return the kind of the intervals, in the words of the summary."""
    if not result.penalised:
        return "interval"
    return "posterior interval" if result.options.covariance == "fisher" else "interval of the shrunk estimate"


def _plain_numbers(ax: Axes) -> None:
    """Label a log axis with plain numbers such as 0.5, 1, 2 instead of powers of ten, unless it spans many decades."""
    low, high = ax.get_xlim()
    # the ratio of both ends may overflow
    decades = np.log10(high) - np.log10(low)
    if decades > MANY_DECADES:
        return
    if decades < FEW_DECADES:
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(subs=(1.0, 2.0, 5.0))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
