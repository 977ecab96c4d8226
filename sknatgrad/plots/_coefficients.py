"""A forest plot: each coefficient with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sknatgrad._inputs.columns import INTERCEPT, places_of
from sknatgrad.inference import infer
from sknatgrad.plots._canvas import COLOURS, axes, faint, height, legend, marker, percent, pyplot, text

if TYPE_CHECKING:
    from sknatgrad._typing import Matrix
    from sknatgrad.inference import InferenceResult

# inches: what is around the rows, and between two of them for one class and for each further one
AROUND = 1.3
APART = 0.27
FURTHER = 0.13
# at 300 dots an inch no more can be drawn
TALLEST = 200
# of the distance between two features, what its classes take up
SPREAD = 0.6
# a log axis over fewer decades needs more than the powers of ten; over more, they are best written as such
FEW_DECADES = 2.0
MANY_DECADES = 5.0


class CoefficientDisplay:
    """Coefficients, or odds ratios, with their intervals: a forest plot.

    Usually made by `from_result` or `from_estimator`.

    Parameters
    ----------
    estimates : array-like of shape (n_classes - 1, n_columns)
        Coefficients, or odds ratios.

    intervals : array-like of shape (n_classes - 1, n_columns, 2)
        Their lower and upper ends; where they are not finite, the name of the column says so and nothing is drawn.

    feature_names : list of str, n_columns of them
        Names of the columns, drawn from top to bottom.

    classes : list, n_classes - 1 of them
        The class of each row of `estimates`.

    reference : label
        The class they are compared with.

    level : float, default=0.95
        Coverage of the intervals.

    odds_ratios : bool, default=False
        Whether `estimates` are odds ratios, for a log axis.

    about : str, default="interval"
        What the intervals are, in the singular.

    Attributes
    ----------
    points_ : list of matplotlib Line2D, n_classes - 1 of them
        The estimates of each class.

    intervals_ : list of matplotlib LineCollection, n_classes - 1 of them
        The intervals of each class.

    reference_line_ : matplotlib Line2D
        Where a feature says nothing: at 0, or at an odds ratio of 1.

    legend_ : matplotlib Legend or None
        Of the classes, where there are more than two.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        Their figure.

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

    def __init__(  # noqa: PLR0913 - scikit-learn's idiom: all that is drawn
        self,
        *,
        estimates: Any,
        intervals: Any,
        feature_names: list[str],
        classes: list[Any],
        reference: Any,
        level: float = 0.95,
        odds_ratios: bool = False,
        about: str = "interval",
    ) -> None:
        self.estimates = estimates
        self.intervals = intervals
        self.feature_names = feature_names
        self.classes = classes
        self.reference = reference
        self.level = level
        self.odds_ratios = odds_ratios
        self.about = about

    @classmethod
    def from_result(
        cls,
        result: InferenceResult,
        *,
        level: float = 0.95,
        odds_ratios: bool = False,
        features: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw what :func:`sknatgrad.inference.infer` has found.

        Parameters
        ----------
        result : InferenceResult
            Coefficients and their covariance.

        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        odds_ratios : bool, default=False
            Whether to draw odds ratios on a log axis instead of coefficients.

        features : list of str or int, or None, default=None
            Names or indices of the columns to draw, from top to bottom. None is all but the intercept, which is about
            rows where every feature is 0.

        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own, as high as the rows need.

        Returns
        -------
        display : CoefficientDisplay
            With the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `level` is not in (0, 1), a feature is unknown, or no coefficient has a finite interval.
        """
        pyplot("CoefficientDisplay.from_result")
        names = list(result.feature_names)
        chosen = _chosen(features, names)
        if odds_ratios:
            ratios = result.odds_ratios(level)
            estimates, intervals = ratios.ratio, np.stack([ratios.low, ratios.high], axis=-1)
        else:
            estimates, intervals = result.params, result.conf_int(level)
        display = cls(
            estimates=estimates[:, chosen],
            intervals=intervals[:, chosen],
            feature_names=[names[j] for j in chosen],
            classes=list(result.classes),
            reference=result.reference,
            level=level,
            odds_ratios=odds_ratios,
            about=_about(result),
        )
        return display.plot(ax)

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all but the data are keywords
        cls,
        estimator: Any,
        X: Matrix,
        y: Any,
        *,
        sample_weight: Any = None,
        level: float = 0.95,
        odds_ratios: bool = False,
        features: Any = None,
        ax: Any = None,
        **infer_kw: Any,
    ) -> Self:
        """Draw the coefficients of a fitted model with what :func:`sknatgrad.inference.infer` says of them.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`sknatgrad.NaturalGradientLogisticRegression`, or any logistic regression of scikit-learn
            with an L2 penalty or none.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            The rows of the fit.

        y : array-like of shape (n_samples,)
            Their labels.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Their weights in the fit.

        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        odds_ratios : bool, default=False
            Whether to draw odds ratios on a log axis instead of coefficients.

        features : list of str or int, or None, default=None
            Names or indices of the columns to draw, from top to bottom. None is all but the intercept.

        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own, as high as the rows need.

        **infer_kw : dict
            Passed on to `infer`: `weights`, `covariance`, `groups`, `reference`.

        Returns
        -------
        display : CoefficientDisplay
            With the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            As `infer` and `from_result` do.

        Warns
        -----
        InferenceWarning
            As `infer` does, if the intervals should not be believed.
        """
        pyplot("CoefficientDisplay.from_estimator")
        result = infer(estimator, X, y, sample_weight=sample_weight, features=features, **infer_kw)
        every = None if features is None else list(range(len(result.feature_names)))
        return cls.from_result(result, level=level, odds_ratios=odds_ratios, features=every, ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the coefficients.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own, as high as the rows need.

        Returns
        -------
        display : CoefficientDisplay
            Itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no coefficient has a finite interval, or a figure of its own would be too high to be drawn.
        """
        estimates, intervals = np.asarray(self.estimates), np.asarray(self.intervals)
        drawn = np.isfinite(intervals).all(axis=2) & np.isfinite(estimates)
        if not drawn.any():
            message = (
                f"none of the {estimates.size} coefficients has a finite interval, so there is nothing to draw; "
                "result.summary() says which the data do not determine."
            )
            raise ValueError(message)
        n_classes, n_columns = estimates.shape
        tall = AROUND + n_columns * (APART + FURTHER * (n_classes - 1))
        tall = height(self.classes, tall) if n_classes > 1 else tall
        if ax is None and tall > TALLEST:
            message = (
                f"the {n_columns} columns would make a figure {tall:.0f} inches high, where {TALLEST} can be drawn; "
                "pass features, a list of those to draw, or an ax."
            )
            raise ValueError(message)
        width = 6.8 if n_classes == 1 else 8.0
        self.figure_, self.ax_ = axes(ax, "CoefficientDisplay.plot", (width, tall))
        self.reference_line_ = self.ax_.axvline(float(self.odds_ratios), **faint(self.ax_))
        self.points_, self.intervals_ = [], []
        for k, (middle, ends, there) in enumerate(zip(estimates, intervals, drawn, strict=True)):
            rows = np.arange(n_columns) + SPREAD * ((k + 0.5) / n_classes - 0.5)
            colour = COLOURS[k % len(COLOURS)]
            self.intervals_.append(self.ax_.hlines(rows[there], *ends[there].T, color=colour, linewidth=1.6))
            self.points_ += self.ax_.plot(
                np.where(there, middle, np.nan),
                rows,
                color=colour,
                marker=marker(k),
                markersize=5.5,
                linestyle="none",
                label=str(self.classes[k]),
            )
        self._describe(drawn.all(axis=0))
        return self

    def _describe(self, determined: Any) -> None:
        ax, several = self.ax_, len(self.classes) > 1
        names = [
            text(name) if there else f"{text(name)}\n(no finite interval)"
            for name, there in zip(self.feature_names, determined, strict=True)
        ]
        ax.set_yticks(np.arange(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(axis="y", alpha=0.2)
        of_class = "" if several else f" of class {text(self.classes[0])}"
        what = f"odds ratio{of_class}" if self.odds_ratios else f"log-odds{of_class}"
        unit = "per unit of the feature" if self.odds_ratios else "[nats per unit of the feature]"
        ax.set_xlabel(
            f"{what} against class {text(self.reference)}\n{unit}, with {percent(self.level)} {self.about}",
        )
        if self.odds_ratios:
            # only now: matplotlib 3.8 finds the limits of lines wrongly on a log axis
            ax.set_xscale("log")
            _plain_numbers(ax)
        self.legend_ = legend(ax, self.points_, title="class", beside=True) if several else None


def _chosen(features: Any, names: list[str]) -> list[int]:
    """Return the columns asked for; for None all, without the intercept if there is anything else."""
    if features is None:
        others = [j for j, name in enumerate(names) if name != INTERCEPT]
        return others or list(range(len(names)))
    return places_of(features, names)


def _about(result: InferenceResult) -> str:
    """Return what the intervals are, as the footer of the summary has it."""
    if not result.penalised:
        return "interval"
    return "posterior interval" if result.options.covariance == "fisher" else "interval of the shrunk estimate"


def _plain_numbers(ax: Any) -> None:
    """Label a log axis with 0.5, 1, 2, 5 rather than with powers of ten, as far as there is room."""
    low, high = ax.get_xlim()
    decades = np.log10(high / low)
    if decades > MANY_DECADES:
        return
    if decades < FEW_DECADES:
        ax.xaxis.get_major_locator().set_params(subs=(1.0, 2.0, 5.0))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
