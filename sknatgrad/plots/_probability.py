"""Predicted probability of each class along one feature, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._inputs.checks import check_count, check_model
from sknatgrad._inputs.columns import column_index, feature_names
from sknatgrad._inputs.missing import objects_as_floats
from sknatgrad._inputs.row_statistics import error_label
from sknatgrad._inputs.rows import check_rows
from sknatgrad._model.class_labels import label_string
from sknatgrad._rows.floating_point import as_caller, underflow_ignored_in
from sknatgrad._rows.matrices import is_sparse, pick_rows
from sknatgrad.plots._canvas import (
    axes,
    class_indices,
    figure_height,
    label_text,
    legend,
    percent,
    pyplot,
    reference_style,
    style,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Matrix

# a legend of more classes is drawn beside the axes, since it would cover more than a corner of them
MAX_CLASSES_INSIDE = 4
DECILES = np.arange(1, 10) / 10


@member_of("sknatgrad.plots")
@underflow_ignored_in
class ProbabilityIntervalDisplay:
    """Predicted probability of each class along one feature, with a band that shows its interval.

    Usually created by `from_estimator`.

    Parameters
    ----------
    grid : array-like of shape (n_points,)
        Values of the feature.

    proba : array-like of shape (n_points, n_drawn)
        Probability of each class drawn.

    interval : array-like of shape (n_points, n_drawn, 2)
        Lower and upper ends of the intervals.

    feature_name : str
        Name of the feature.

    classes : list of length n_drawn
        The classes drawn.

    level : float, default=0.95
        Posterior probability of an interval.

    deciles : array-like or None, default=None
        Values of the feature to mark on the axis.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curve of each class.

    bands_ : list of matplotlib PolyCollection
        The band of each class.

    deciles_ : matplotlib LineCollection or None
        The marks of `deciles` on the axis.

    legend_ : matplotlib Legend or None
        The legend of the classes if several are drawn, otherwise None.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        The figure of the axes.

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

    def __init__(  # noqa: PLR0913 - scikit-learn's convention: everything that is drawn
        self,
        *,
        grid: ArrayLike,
        proba: ArrayLike,
        interval: ArrayLike,
        feature_name: str,
        classes: list[Hashable],
        level: float = 0.95,
        deciles: ArrayLike | None = None,
    ) -> None:
        self.grid = grid
        self.proba = proba
        self.interval = interval
        self.feature_name = feature_name
        self.classes = classes
        self.level = level
        self.deciles = deciles

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all arguments but the data are keyword-only
        cls,
        estimator: Any,
        X: Matrix,
        *,
        feature: str | int,
        level: float = 0.95,
        grid_resolution: int = 100,
        at: Mapping[str | int, float] | None = None,
        rows: Matrix | Callable[[Array], Matrix] | None = None,
        class_of_interest: Hashable = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the predicted probabilities along one feature, with the other features held fixed, or along given rows.

        By default only the column of the feature changes. If another column is a function of it, such as its square or
        its product with a third column, no row of the data is like these, and the curve is not that of the model:
        pass `rows`.

        Parameters
        ----------
        estimator : estimator
            A :class:`sknatgrad.NaturalGradientLogisticRegression` fitted with ``store_covariance=True``.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows that determine the range of the axis, from the smallest to the largest value of the feature, the
            deciles marked on it, and the medians at which the other features are held.

        feature : str or int
            Name or index of the feature.

        level : float, default=0.95
            Posterior probability of an interval, in (0, 1); see
            :meth:`sknatgrad.NaturalGradientLogisticRegression.predict_proba_interval`.

        grid_resolution : int, default=100
            Number of values of the feature, at least 2.

        at : dict of name or index to float, or None, default=None
            Values at which to hold other features instead of their medians. The median of an even number of values is
            the lower of the two middle values, so it always occurs in the column, and is the more frequent value of a
            column with two. The medians of the columns of one one-hot encoded category may all be 0, a combination that
            no row has; give their values here. Not together with `rows`.

        rows : callable, {array-like, sparse matrix or array} of shape (n_points, n_features), or None, default=None
            The rows to predict, with all columns of the fit. A function receives the values on the axis, an ndarray of
            shape (grid_resolution,) from the smallest to the largest value of the feature in X, and returns a row for
            each of them. Of a table, the values of the feature are the axis, in any order; `grid_resolution` is not
            used. None holds the other features fixed.

        class_of_interest : label or None, default=None
            The class to draw. None draws all classes, but of two only ``classes_[1]``.

        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        Returns
        -------
        display : ProbabilityIntervalDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator has no covariance, a feature or class is unknown, the feature is constant in X or `rows`,
            `rows` does not have a row for each value, or another argument is invalid.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from sknatgrad import NaturalGradientLogisticRegression
        >>> from sknatgrad.plots import ProbabilityIntervalDisplay
        >>> rng = np.random.default_rng(0)
        >>> age = rng.uniform(20, 80, size=500)
        >>> def table(age):
        ...     return pd.DataFrame({"age": age, "age squared": age**2})
        >>> y = rng.random(500) < np.exp(-(((age - 50) / 15) ** 2))
        >>> model = NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(table(age), y)
        >>> display = ProbabilityIntervalDisplay.from_estimator(model, table(age), feature="age", rows=table)
        >>> bool(np.array_equal(display.proba[:, 0], model.predict_proba(table(display.grid))[:, 1]))
        True
        """
        pyplot("ProbabilityIntervalDisplay.from_estimator")
        _check_has_intervals(estimator)
        names = feature_names(estimator)
        column = column_index("feature", feature, names)
        drawn = class_indices(class_of_interest, estimator.classes_)
        fixed = _fixed_values(at, column, names)
        if at is not None and rows is not None:
            message = "at and rows are both given; rows holds the values of all features, so omit at."
            raise ValueError(message)
        X = check_rows(estimator, X)
        values = _feature_values(X, column)
        if rows is None or callable(rows):
            grid = _grid(values, names[column], grid_resolution)
            rows = _rows_along(grid, column, X, fixed) if rows is None else _rows_made(rows, grid, estimator)
        else:
            rows, grid = _rows_given(rows, column, names[column], estimator)
        with warnings.catch_warnings():
            # the columns have no names, but are in the order of the fit
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            interval = estimator.predict_proba_interval(rows, level)
            proba = estimator.predict_proba(rows)
        display = cls(
            grid=grid,
            proba=proba[:, drawn],
            interval=interval[:, drawn],
            feature_name=names[column],
            classes=[estimator.classes_[k] for k in drawn],
            level=level,
            deciles=np.quantile(values, DECILES),
        )
        return display.plot(ax)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> Self:
        """Draw the probabilities and their intervals.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for every class.

        Returns
        -------
        display : ProbabilityIntervalDisplay
            The display itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are fewer than two values of the feature, or there is no class.
        """
        grid, proba, interval = (np.asarray(part, dtype=float) for part in (self.grid, self.proba, self.interval))
        if grid.size < 2 or not self.classes:  # noqa: PLR2004 - a line has two ends
            message = (
                f"grid has {grid.size} values and classes has {len(self.classes)}, so there is nothing to draw; pass "
                "at least two values and one class."
            )
            raise ValueError(message)
        size = (6.4, figure_height(self.classes, 4.2))  # inches
        self.figure_, self.ax_ = axes(ax, "ProbabilityIntervalDisplay.plot", size)
        self.lines_, self.bands_ = [], []
        for k, label in enumerate(self.classes):
            self.lines_ += self.ax_.plot(grid, proba[:, k], **{**style(k), "label": label_string(label), **line_kw})
            colour = self.lines_[-1].get_color()
            band_style = {"facecolor": (colour, 0.2), "edgecolor": colour, "linewidth": 0.6}
            self.bands_.append(self.ax_.fill_between(grid, *interval[:, k].T, **band_style))
        self.deciles_ = None
        if self.deciles is not None:
            mark_style = {**reference_style(self.ax_), "alpha": 0.8}
            self.deciles_ = self.ax_.vlines(
                self.deciles, 0, 0.03, transform=self.ax_.get_xaxis_transform(), **mark_style
            )
        several = len(self.classes) > 1
        whose = "each class" if several else f"class {label_text(self.classes[0])}"
        self.ax_.set(
            xlabel=label_text(self.feature_name, width=60),
            ylabel=f"probability of {whose}\nwith {percent(self.level)} interval",
            ylim=(-0.02, 1.02),
        )
        self.ax_.margins(x=0.01)
        self.ax_.grid(visible=True, alpha=0.2)
        beside = len(self.classes) > MAX_CLASSES_INSIDE
        self.legend_ = legend(self.ax_, self.lines_, title="class", beside=beside) if several else None
        return self


def _check_has_intervals(estimator: Any) -> None:
    check_model(estimator)
    if not hasattr(estimator, "predict_proba_interval"):
        message = (
            f"estimator is a {type(estimator).__name__}, which has no predict_proba_interval; pass a "
            "NaturalGradientLogisticRegression fitted with store_covariance=True."
        )
        raise ValueError(message)


def _fixed_values(at: object, drawn: int, names: list[str]) -> dict[int, float]:
    """Return the values of `at` by column index; `drawn` is the column on the axis."""
    given = {} if at is None else at
    if not isinstance(given, Mapping):
        message = f"at is a {type(at).__name__}; it must be a dict of feature names or indices to values, or None."
        raise ValueError(message)  # noqa: TRY004 - every invalid argument raises ValueError
    fixed = {column_index("at", name, names): _fixed_value(value) for name, value in given.items()}
    if drawn in fixed:
        message = f"at holds {names[drawn]!r}, the feature on the horizontal axis; remove it from at."
        raise ValueError(message)
    return fixed


def _fixed_value(value: object) -> float:
    try:
        number = float(objects_as_floats(np.array([value], dtype=object))[0])
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        message = f"at holds the value {value!r}; every value must be a finite number."
        raise ValueError(message)
    return number


def _feature_values(X: Matrix, index: int) -> Array:
    column = X[:, [index]]
    return np.asarray(column.toarray() if is_sparse(X) else column, dtype=np.float64).ravel()


def _grid(values: Array, name: str, resolution: int) -> Array:
    check_count("grid_resolution", resolution)
    low, high = float(values.min()), float(values.max())
    if low == high:
        message = f"feature {name!r} is {low:g} in every row of X, so it has no range; choose another feature."
        raise ValueError(message)
    if resolution < 2:  # noqa: PLR2004 - a line has two ends
        message = f"grid_resolution={resolution} must be 2 or more."
        raise ValueError(message)
    return np.linspace(low, high, resolution)


def _rows_along(grid: Array, column: int, X: Matrix, fixed: dict[int, float]) -> Array:
    """Return rows with the values of the grid in one column, and those of `fixed` or medians in the others."""
    rows = np.tile(_lower_medians(X), (grid.size, 1))
    rows[:, list(fixed)] = np.array(list(fixed.values()), dtype=np.float64)
    rows[:, column] = grid
    return rows


def _rows_made(make: Callable[[Array], Matrix], grid: Array, estimator: object) -> Matrix:
    """Return the rows that a function of the user makes for the values of the grid."""
    # the function may change its argument
    with as_caller():
        made = make(grid.copy())
    rows = _checked("rows(grid)", made, estimator)
    if rows.shape[0] != grid.size:
        message = (
            f"rows(grid) has {rows.shape[0]} rows for {grid.size} values; it must return one row for each value, in "
            "their order."
        )
        raise ValueError(message)
    return rows


def _checked(argument: str, rows: Matrix, estimator: object) -> Matrix:
    with warnings.catch_warnings(), error_label(argument):
        # an array has its columns in the order of the fit
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return check_rows(estimator, rows)


def _rows_given(given: Matrix, column: int, name: str, estimator: object) -> tuple[Matrix, Array]:
    """Return rows of the user, ordered by the value of the feature, and these values."""
    rows = _checked("rows", given, estimator)
    values = _feature_values(rows, column)
    if values.min() == values.max():
        message = f"rows has {name!r} as {values[0]:g} in every row, so it has no range; pass rows along the feature."
        raise ValueError(message)
    order = np.argsort(values, kind="stable")
    return pick_rows(rows, order), values[order]


def _lower_medians(X: Matrix) -> Array:
    """Return the lower median of each column, ``(p,)``: a value that occurs in the column."""
    middle = (X.shape[0] - 1) // 2
    if not is_sparse(X):
        medians: Array = np.partition(X, middle, axis=0)[middle].astype(np.float64)
        return medians
    medians = np.zeros(X.shape[1])
    columns = X.tocsc()
    # if more than half of the values are zero, so is the median
    for j in np.flatnonzero(2 * np.diff(columns.indptr) >= X.shape[0]):
        medians[j] = np.partition(columns[:, [j]].toarray().ravel(), middle)[middle]
    return medians
