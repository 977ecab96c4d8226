"""Loss above the optimum during each fit, by iteration or by time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sknatgrad._definitions import member_of
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad._solver.stopping import LOSS_ROUNDING, FinalTolerance
from sknatgrad.plots._canvas import axes, figure_height, legend, marker, pyplot, reference_style, style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array

Against = Literal["iteration", "seconds"]
# parameters that define the objective
OBJECTIVE = ("C", "fit_intercept", "class_weight", "prior")
# A curve with more values is drawn without markers, which would nearly touch: 40 of 4.5 points take 2.5 of the 5 inches
# of the axes. The size is in points.
MAX_MARKED_POINTS = 40
CURVE_MARKER_SIZE = 4.5
# a legend of more names is drawn beside the axes, since it would cover more than a corner of them
MAX_NAMES_INSIDE = 5


@member_of("sknatgrad.plots")
@underflow_ignored_in
class LossCurveDisplay:
    r"""Loss above the optimum of one or several fits, on a log scale.

    Usually created by `from_estimators`.

    Parameters
    ----------
    names : list of str
        Names of the curves.

    losses : list of array-like of shape (n_points,)
        Penalised mean loss of each curve in nats per unit of weight, such as `loss_curve_`.

    positions : list of array-like of shape (n_points,)
        Iterations or seconds of each curve, one for each loss.

    optimum : float
        Loss that is subtracted from all losses, in nats per unit of weight.

    resolution : float
        Accuracy to which `optimum` is known, in nats per unit of weight, > 0. Smaller gaps are drawn at this value.

    reached : bool, default=True
        Whether `optimum` is an optimum. If it is only the smallest loss observed, gaps below `resolution` are not
        drawn.

    against : {'iteration', 'seconds'}, default='iteration'
        Unit of `positions`.

    Attributes
    ----------
    gaps_ : list of ndarray
        The values drawn, with NaN where a point is omitted.

    lines_ : list of matplotlib Line2D
        The curves.

    resolution_line_ : matplotlib Line2D or None
        The line at `resolution`, or None if no gap is that small.

    legend_ : matplotlib Legend
        The legend.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.plots import LossCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> fits = {fisher: NaturalGradientLogisticRegression(fisher=fisher).fit(X, y) for fisher in ("true", "kronecker")}
    >>> display = LossCurveDisplay.from_estimators(fits)
    >>> display.ax_.get_xlabel()
    'iteration'
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's convention: everything that is drawn
        self,
        *,
        names: list[str],
        losses: Sequence[ArrayLike],
        positions: Sequence[ArrayLike],
        optimum: float,
        resolution: float,
        reached: bool = True,
        against: Against = "iteration",
    ) -> None:
        self.names = names
        self.losses = losses
        self.positions = positions
        self.optimum = optimum
        self.resolution = resolution
        self.reached = reached
        self.against = against

    @classmethod
    def from_estimators(
        cls,
        estimators: Any,
        *,
        against: Against = "iteration",
        optimum: float | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the loss curves of fitted estimators.

        Parameters
        ----------
        estimators : dict of label to estimator, list of estimators, or estimator
            Fitted models with a `loss_curve_`, with the same objective and the same rows; whether the rows are the same
            is not checked. The models of a list are named by the parameters in which they differ.

        against : {'iteration', 'seconds'}, default='iteration'
            The horizontal axis. Seconds are those of `time_curve_`, counted from the start of the fit.

        optimum : float or None, default=None
            Minimum of the loss, in nats per unit of weight. None takes the smallest loss of all curves. If any of the
            fits has converged, this exceeds the optimum by at most `tol` / 1,000 of the loss (`tol` with a fixed
            `learning_rate`), and smaller gaps are drawn at that value, which a line marks. If no fit has converged, the
            distance to the optimum is unknown. The axis is then labelled "above the smallest loss", and the point with
            the smallest loss is not drawn.

        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for every curve.

        Returns
        -------
        display : LossCurveDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no estimator, or one has no loss curve or, for seconds, no `time_curve_`; if the objectives
            differ and `optimum` is None; or if `optimum` is above a loss that was reached.
        """
        pyplot("LossCurveDisplay.from_estimators")
        if against not in get_args(Against):
            message = f"against={against!r} is unknown; it must be one of {list(get_args(Against))}."
            raise ValueError(message)
        names, fits = _names_and_fits(estimators)
        losses = [_curve(name, fit, "loss_curve_") for name, fit in zip(names, fits, strict=True)]
        positions = [np.arange(loss.size, dtype=np.float64) for loss in losses]
        if against == "seconds":
            positions = [_curve(name, fit, "time_curve_") for name, fit in zip(names, fits, strict=True)]
        display = cls(
            names=names, losses=losses, positions=positions, against=against, **_reference(fits, losses, optimum)
        )
        return display.plot(ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for every curve.

        Returns
        -------
        display : LossCurveDisplay
            The display itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no curve has a finite point or, if the optimum is unknown, one above the smallest loss.
        """
        gaps = [self._gap(np.asarray(loss, dtype=np.float64)) for loss in self.losses]
        if not any(np.isfinite(gap).any() for gap in gaps):
            message = (
                "no curve has a finite loss above the smallest loss, so there is nothing to draw; pass optimum as a "
                "number, or a fit that has converged."
            )
            raise ValueError(message)
        size = (8.0 if self._legend_beside else 6.4, figure_height(self.names, 4.2))  # inches
        self.figure_, self.ax_ = axes(ax, "LossCurveDisplay.plot", size)
        self.gaps_ = gaps
        self.lines_ = []
        for number, (name, gap, position) in enumerate(zip(self.names, gaps, self.positions, strict=True)):
            marks = {"marker": marker(number), "markersize": CURVE_MARKER_SIZE} if gap.size <= MAX_MARKED_POINTS else {}
            self.lines_ += self.ax_.plot(position, gap, **{"label": name, **style(number), **marks, **line_kw})
        self.resolution_line_ = None
        if self.reached and any((gap == self.resolution).any() for gap in gaps):
            self.resolution_line_ = self.ax_.axhline(
                self.resolution, **reference_style(self.ax_), label="accuracy of the optimum"
            )
        self._describe()
        return self

    @property
    def _legend_beside(self) -> bool:
        return len(self.names) > MAX_NAMES_INSIDE

    def _gap(self, loss: Array) -> Array:
        gap = np.where(np.isfinite(loss), loss - self.optimum, np.nan)
        below = gap <= self.resolution
        return np.where(below, self.resolution if self.reached else np.nan, gap)

    def _describe(self) -> None:
        above = "the optimum" if self.reached else "the smallest loss"
        self.ax_.set(
            yscale="log",
            xlabel="iteration" if self.against == "iteration" else "time since the fit began [s]",
            ylabel=f"loss above {above}\n[nats per unit of weight]",
        )
        if self.against == "iteration":
            locator: Any = self.ax_.xaxis.get_major_locator()
            locator.set_params(integer=True, min_n_ticks=1)
        self.ax_.grid(visible=True, alpha=0.25)
        line = [] if self.resolution_line_ is None else [self.resolution_line_]
        self.legend_ = legend(self.ax_, [*self.lines_, *line], beside=self._legend_beside)


def _names_and_fits(estimators: Any) -> tuple[list[str], list[Any]]:
    """Return the names and the estimators of a dict, a list or a single estimator."""
    if isinstance(estimators, Mapping):
        names, fits = [str(label) for label in estimators], list(estimators.values())
    else:
        fits = [estimators] if hasattr(estimators, "fit") else list(estimators)
        names = _distinct_names(fits)
    if not fits:
        message = "estimators is empty; pass at least one fitted model."
        raise ValueError(message)
    return names, fits


def _distinct_names(fits: list[Any]) -> list[str]:
    """Return a name for each estimator: the parameters that differ, or else its class, numbered if names are equal."""
    settings = [fit.get_params(deep=False) if hasattr(fit, "get_params") else {} for fit in fits]
    shared = [name for name in (settings or [{}])[0] if all(name in params for params in settings)]
    different = [name for name in shared if len({repr(params[name]) for params in settings}) > 1]
    names = [
        ", ".join(f"{name}={params[name]!r}" for name in different) or type(fit).__name__
        for fit, params in zip(fits, settings, strict=True)
    ]
    return [f"{name} ({k + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _curve(name: str, fit: Any, attribute: str) -> Array:
    if not hasattr(fit, attribute):
        check_is_fitted(fit)
        remedy = (
            "pass a model fitted by fit or fit_batches of this package, not by partial_fit; of a pipeline pass its "
            "last step, of a search its best_estimator_"
            if attribute == "loss_curve_"
            else "fit it again with this version, or pass against='iteration'"
        )
        message = f"estimators holds {name!r}, a {type(fit).__name__} without {attribute}; {remedy}."
        raise ValueError(message)
    return np.asarray(getattr(fit, attribute), dtype=np.float64)


def _reference(fits: list[Any], losses: list[Array], optimum: float | None) -> dict[str, Any]:
    """Return the arguments `optimum`, `resolution` and `reached` of the display."""
    smallest = min(float(loss[np.isfinite(loss)].min(initial=np.inf)) for loss in losses)
    accuracy, reached = float(LOSS_ROUNDING), True
    if optimum is None:
        _check_same_objective(fits)
        remaining = _remaining(fits)
        accuracy, reached, optimum = max(remaining or 0.0, LOSS_ROUNDING), remaining is not None, smallest
    elif not -np.inf < float(optimum) <= smallest + LOSS_ROUNDING * abs(smallest):
        message = (
            f"optimum={optimum!r} must be None or a finite number that is at most the smallest loss reached, "
            f"{smallest!r}."
        )
        raise ValueError(message)
    # an optimum of 0 is known exactly, but a log axis needs a positive lower end
    resolution = max(accuracy * abs(smallest), float(np.finfo(np.float64).tiny))
    return {"optimum": float(optimum), "resolution": resolution, "reached": reached}


def _remaining(fits: list[Any]) -> float | None:
    """Return the smallest bound on the relative gap of the converged fits; None if no fit has converged."""
    bounds = []
    for fit in fits:
        if getattr(fit, "converged_", False):
            tol = float(getattr(fit, "tol", 0.0))
            bounds.append(
                FinalTolerance.of(tol).order_independent if getattr(fit, "learning_rate", "auto") == "auto" else tol
            )
    return min(bounds, default=None)


def _check_same_objective(fits: Iterable[Any]) -> None:
    for name in (*OBJECTIVE, "n_features_in_", "classes_"):
        values = [getattr(fit, name, None) for fit in fits]
        if not all(_same(value, values[0]) for value in values):
            message = (
                f"estimators differ in {name} ({', '.join(sorted(set(map(repr, values))))}), so they have no common "
                "optimum; draw each one separately into the same ax, or pass optimum as a number."
            )
            raise ValueError(message)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is other or bool(np.array_equal(one, other))
