"""The probability of each class along one feature, with its interval."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sknatgrad._inputs.checks import check_count, check_model
from sknatgrad._inputs.columns import feature_names, place_of
from sknatgrad._inputs.rows import check_rows
from sknatgrad._rows.matrices import is_sparse
from sknatgrad.plots._canvas import axes, class_places, faint, height, legend, percent, pyplot, style, text

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Matrix

# classes in a legend that covers no more than a corner of the axes
FEW = 4
DECILES = np.arange(1, 10) / 10


class ProbabilityIntervalDisplay:
    """Probability of each class along one feature, with a band for its interval.

    Usually made by `from_estimator`.

    Parameters
    ----------
    grid : array-like of shape (n_points,)
        Values of the feature.

    proba : array-like of shape (n_points, n_drawn)
        Probability of each class drawn.

    interval : array-like of shape (n_points, n_drawn, 2)
        Lower and upper ends.

    feature_name : str
        Name of the feature.

    classes : list, n_drawn of them
        The classes drawn.

    level : float, default=0.95
        Posterior probability that an interval holds.

    deciles : array-like or None, default=None
        Where to mark the rows on the axis.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The probability of each class.

    bands_ : list of matplotlib PolyCollection
        The interval of each class.

    deciles_ : matplotlib LineCollection or None
        Marks on the axis.

    legend_ : matplotlib Legend or None
        Of the classes, where several are drawn.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.plots import ProbabilityIntervalDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
    >>> display = ProbabilityIntervalDisplay.from_estimator(model, X, feature="petal width (cm)")
    >>> len(display.bands_)
    3
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's idiom: all that is drawn
        self,
        *,
        grid: Any,
        proba: Any,
        interval: Any,
        feature_name: str,
        classes: list[Any],
        level: float = 0.95,
        deciles: Any = None,
    ) -> None:
        self.grid = grid
        self.proba = proba
        self.interval = interval
        self.feature_name = feature_name
        self.classes = classes
        self.level = level
        self.deciles = deciles

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all but the data are keywords
        cls,
        estimator: Any,
        X: Matrix,
        *,
        feature: str | int,
        level: float = 0.95,
        grid_resolution: int = 100,
        at: Mapping[Any, float] | None = None,
        class_of_interest: Any = None,
        ax: Any = None,
    ) -> Self:
        """Draw probabilities along one feature, the others being held where they are.

        Parameters
        ----------
        estimator : estimator
            A :class:`sknatgrad.NaturalGradientLogisticRegression` fitted with ``store_covariance=True``.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows that say where features lie: the feature's least and greatest values are the ends of the axis, its
            deciles are marked on it, and the other features are held at their medians.

        feature : str or int
            Name or index of the feature.

        level : float, default=0.95
            Posterior probability that an interval holds, in (0, 1); see
            :meth:`sknatgrad.NaturalGradientLogisticRegression.predict_proba_interval`.

        grid_resolution : int, default=100
            How many values of the feature, 2 or more.

        at : dict of name or index to float, or None, default=None
            Where to hold other features instead. A median is the lower of the two in the middle, so that it is a value
            of the column, and of a column with two values the more frequent. Columns that code one category may all be
            0 so, which no row is: give them here.

        class_of_interest : label or None, default=None
            The only class to draw. None is all, and of two ``classes_[1]``.

        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own.

        Returns
        -------
        display : ProbabilityIntervalDisplay
            With the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator has no covariance, a feature or class is unknown, the feature is constant in X, or
            another argument is not what is allowed.
        """
        pyplot("ProbabilityIntervalDisplay.from_estimator")
        _check_knows_intervals(estimator)
        names = feature_names(estimator)
        place = place_of("feature", feature, names)
        drawn = class_places(class_of_interest, estimator.classes_)
        given = _held(at, place, names)
        X = check_rows(estimator, X)
        values = _column(X, place)
        grid = _grid(values, names[place], grid_resolution)
        rows = np.tile(_typical(X), (grid.size, 1))
        rows[:, list(given)] = np.array(list(given.values()), dtype=np.float64)
        rows[:, place] = grid
        with warnings.catch_warnings():
            # they are in the order of the fit
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            interval = estimator.predict_proba_interval(rows, level)
            proba = estimator.predict_proba(rows)
        display = cls(
            grid=grid,
            proba=proba[:, drawn],
            interval=interval[:, drawn],
            feature_name=names[place],
            classes=[estimator.classes_[k] for k in drawn],
            level=level,
            deciles=np.quantile(values, DECILES),
        )
        return display.plot(ax)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the probabilities.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own.

        **line_kw : dict
            Passed on to `matplotlib.axes.Axes.plot`, for every class.

        Returns
        -------
        display : ProbabilityIntervalDisplay
            Itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are fewer than two values of the feature, or no class.
        """
        grid, proba, interval = (np.asarray(part, dtype=float) for part in (self.grid, self.proba, self.interval))
        if grid.size < 2 or not self.classes:  # noqa: PLR2004 - a line has two ends
            message = f"grid has {grid.size} values and classes {len(self.classes)}, so there is nothing to draw."
            raise ValueError(message)
        self.figure_, self.ax_ = axes(ax, "ProbabilityIntervalDisplay.plot", (6.4, height(self.classes, 4.2)))
        self.lines_, self.bands_ = [], []
        for k, label in enumerate(self.classes):
            self.lines_ += self.ax_.plot(grid, proba[:, k], **{**style(k), "label": str(label), **line_kw})
            colour = self.lines_[-1].get_color()
            look = {"facecolor": (colour, 0.2), "edgecolor": colour, "linewidth": 0.6}
            self.bands_.append(self.ax_.fill_between(grid, *interval[:, k].T, **look))
        self.deciles_ = None
        if self.deciles is not None:
            self.deciles_ = self.ax_.vlines(
                self.deciles, 0, 0.03, transform=self.ax_.get_xaxis_transform(), **{**faint(self.ax_), "alpha": 0.8}
            )
        several = len(self.classes) > 1
        whose = "each class" if several else f"class {text(self.classes[0])}"
        self.ax_.set(
            xlabel=text(self.feature_name, width=60),
            ylabel=f"probability of {whose}\nwith {percent(self.level)} interval",
            ylim=(-0.02, 1.02),
        )
        self.ax_.margins(x=0.01)
        self.ax_.grid(visible=True, alpha=0.2)
        self.legend_ = legend(self.ax_, self.lines_, title="class", beside=len(self.classes) > FEW) if several else None
        return self


def _check_knows_intervals(estimator: Any) -> None:
    check_model(estimator)
    if not hasattr(estimator, "predict_proba_interval"):
        message = (
            f"estimator is a {type(estimator).__name__}, which knows no intervals; pass a "
            "NaturalGradientLogisticRegression fitted with store_covariance=True."
        )
        raise ValueError(message)


def _held(at: Any, place: int, names: list[str]) -> dict[int, float]:
    """Return where features are to be held, by their places."""
    given = {} if at is None else at
    if not isinstance(given, Mapping):
        message = f"at is a {type(at).__name__}; it must be a dict of names or indices of features to values, or None."
        raise ValueError(message)  # noqa: TRY004 - as all that users pass
    held = {place_of("at", name, names): value for name, value in given.items()}
    if place in held:
        message = f"at holds {names[place]!r}, the feature that is drawn along; leave it out."
        raise ValueError(message)
    return held


def _column(X: Matrix, place: int) -> Array:
    column = X[:, [place]]
    return np.asarray(column.toarray() if is_sparse(X) else column, dtype=np.float64).ravel()


def _grid(values: Array, name: str, resolution: int) -> Array:
    check_count("grid_resolution", resolution)
    low, high = float(values.min()), float(values.max())
    if low == high:
        message = f"feature {name!r} is {low:g} in every row of X, so there is nothing to draw along it; take another."
        raise ValueError(message)
    if resolution < 2:  # noqa: PLR2004 - a line has two ends
        message = f"grid_resolution={resolution} must be 2 or more."
        raise ValueError(message)
    return np.linspace(low, high, resolution)


def _typical(X: Matrix) -> Array:
    """Return the lower median of each column, ``(p,)``: a value that occurs in it."""
    middle = (X.shape[0] - 1) // 2
    if not is_sparse(X):
        middling: Array = np.partition(X, middle, axis=0)[middle].astype(np.float64)
        return middling
    typical = np.zeros(X.shape[1])
    columns = X.tocsc()
    # where more than half of the values are zeros, so is the median
    for j in np.flatnonzero(2 * np.diff(columns.indptr) >= X.shape[0]):
        typical[j] = np.partition(columns[:, [j]].toarray().ravel(), middle)[middle]
    return typical
