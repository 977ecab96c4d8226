"""The most influential rows of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._inputs.checks import check_count
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad.plots._canvas import axes, figure_height, label_text, reference_style, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from sknatgrad.inference import InfluenceResult


@member_of("sknatgrad.plots")
@underflow_ignored_in
class InfluenceDisplay:
    """Cook's distances of the most influential rows, the largest first, with leverage and residual of each.

    Usually created by `from_result`.

    Parameters
    ----------
    cooks_distance : array-like of shape (n_rows,)
        Cook's distances, in descending order.

    leverage : array-like of shape (n_rows,)
        Leverages of these rows.

    residuals : array-like of shape (n_rows,)
        Deviance residuals of these rows, in √nats.

    names : list of length n_rows
        The names of the rows.

    Attributes
    ----------
    bars_ : BarContainer of matplotlib
        One bar for each row.

    texts_ : list of matplotlib Text
        The leverage and the residual of each row, beside its bar.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.inference import influence
    >>> from sknatgrad.plots import InfluenceDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> result = influence(NaturalGradientLogisticRegression().fit(X, y), X, y)
    >>> InfluenceDisplay.from_result(result, n_rows=3).names
    [38, 290, 465]
    """

    def __init__(
        self, *, cooks_distance: ArrayLike, leverage: ArrayLike, residuals: ArrayLike, names: Sequence[object]
    ) -> None:
        self.cooks_distance = cooks_distance
        self.leverage = leverage
        self.residuals = residuals
        self.names = names

    @classmethod
    def from_result(
        cls,
        result: InfluenceResult,
        *,
        n_rows: int = 10,
        names: Sequence[object] | None = None,
        ax: Axes | None = None,
        **bar_kw: Any,
    ) -> Self:
        """Draw the rows with the largest Cook's distances.

        Parameters
        ----------
        result : InfluenceResult
            The result of :func:`sknatgrad.inference.influence`.

        n_rows : int, default=10
            Number of rows, 1 or more; all rows if there are fewer.

        names : sequence of length n_samples or None, default=None
            The name of each row of the data, such as the index of a table. None is its number.

        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **bar_kw : dict
            Passed to `matplotlib.axes.Axes.barh`.

        Returns
        -------
        display : InfluenceDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is invalid.
        """
        check_count("n_rows", n_rows)
        # NaN for rows on which the fit hangs entirely: they come first
        distance = np.where(np.isnan(result.cooks_distance), np.inf, result.cooks_distance)
        if names is not None and len(names) != distance.size:
            message = f"names has {len(names)} names; it must have one for each of {distance.size} rows, or be None."
            raise ValueError(message)
        order = np.argsort(-distance, kind="stable")[:n_rows]
        display = cls(
            cooks_distance=result.cooks_distance[order],
            leverage=result.leverage[order],
            residuals=result.deviance_residuals[order],
            names=order.tolist() if names is None else [list(names)[row] for row in order],
        )
        return display.plot(ax, **bar_kw)

    def plot(self, ax: Axes | None = None, **bar_kw: Any) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **bar_kw : dict
            Passed to `matplotlib.axes.Axes.barh`.

        Returns
        -------
        display : InfluenceDisplay
            The display itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is no Axes.
        """
        labels = [label_text(name) for name in self.names]
        self.figure_, self.ax_ = axes(ax, "InfluenceDisplay.plot", (7.0, figure_height(labels, 2.0)))
        places, distance = np.arange(len(labels)), np.asarray(self.cooks_distance, dtype=np.float64)
        self.bars_ = self.ax_.barh(places, distance, **{"color": style(0)["color"], "height": 0.7, **bar_kw})
        self.texts_ = [
            self.ax_.annotate(
                f"leverage {leverage:.2g}, residual {residual:+.2g}",
                (length if np.isfinite(length) else 0.0, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
            )
            for place, length, leverage, residual in zip(
                places, distance, np.asarray(self.leverage), np.asarray(self.residuals), strict=True
            )
        ]
        self.ax_.set_yticks(places, labels)
        self.ax_.invert_yaxis()
        # the texts need space beside the longest bar
        self.ax_.margins(x=0.45)
        self.ax_.axvline(0.0, **reference_style(self.ax_))
        self.ax_.set(xlabel="Cook's distance", ylabel="row")
        return self
