"""How far above the optimum each fit was, at each iteration or second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sknatgrad._solver.stopping import ROUNDING, FinalTolerance
from sknatgrad.plots._canvas import axes, faint, height, legend, marker, pyplot, style

if TYPE_CHECKING:
    from sknatgrad._typing import Array

Against = Literal["iteration", "seconds"]
# parameters that say what is minimised
OBJECTIVE = ("C", "fit_intercept", "class_weight", "prior")
# points of a curve that are marked one by one
FEW_POINTS = 40
# names in a legend that covers no more than a corner of the axes
FEW_NAMES = 5


class LossCurveDisplay:
    r"""Loss above the optimum of one or several fits, on a log scale.

    Usually made by `from_estimators`.

    Parameters
    ----------
    names : list of str
        What each curve is called.

    losses : list of array-like, one of shape (n_points,) a curve
        Penalised mean loss in nats per unit of weight, such as `loss_curve_`.

    positions : list of array-like, one of shape (n_points,) a curve
        Iterations or seconds, where each loss belongs.

    optimum : float
        What gaps are measured from, in nats per unit of weight.

    resolution : float
        Up to how many nats per unit of weight the optimum is known, > 0. Smaller gaps are drawn at this height.

    reached : bool, default=True
        Whether `optimum` is one: if it is merely the least loss seen, smaller gaps than `resolution` are left out.

    against : {'iteration', 'seconds'}, default='iteration'
        What `positions` are.

    Attributes
    ----------
    gaps_ : list of ndarray
        What is drawn: NaN where there is no such point.

    lines_ : list of matplotlib Line2D
        The curves.

    resolution_line_ : matplotlib Line2D or None
        The line at `resolution`, where any gap is smaller than that.

    legend_ : matplotlib Legend
        The legend.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        Their figure.

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

    def __init__(  # noqa: PLR0913 - scikit-learn's idiom: all that is drawn
        self,
        *,
        names: list[str],
        losses: list[Any],
        positions: list[Any],
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
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the loss curves of fitted estimators.

        Parameters
        ----------
        estimators : dict of label to estimator, list of estimators, or estimator
            Fitted models with a `loss_curve_`, of the same objective and the same rows; whether the rows are the same
            cannot be seen here. Those of a list are called by the parameters in which they differ.

        against : {'iteration', 'seconds'}, default='iteration'
            What the horizontal axis is. Seconds are those of `time_curve_`, since the fit began.

        optimum : float or None, default=None
            Least value that the loss has, in nats per unit of weight. None is the least loss among the curves. If any
            of the fits has converged, that lies above the optimum by no more than such a fit may leave, `tol` / 1,000
            of the loss (`tol` of it with a fixed `learning_rate`), and gaps below that are drawn at that height, where
            a line says so. If none has, nobody knows how far down the optimum is: the axis then says "above the least
            of these", and the point that is the least is left out.

        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own.

        **line_kw : dict
            Passed on to `matplotlib.axes.Axes.plot`, for every curve.

        Returns
        -------
        display : LossCurveDisplay
            With the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no estimator, one has no loss curve or, for seconds, no `time_curve_`; if they minimise
            different objectives and `optimum` is None; or if `optimum` lies above a loss that was reached.
        """
        pyplot("LossCurveDisplay.from_estimators")
        if against not in get_args(Against):
            message = f"against={against!r} is unknown; it must be one of {list(get_args(Against))}."
            raise ValueError(message)
        names, fits = _named(estimators)
        losses = [_curve(name, fit, "loss_curve_") for name, fit in zip(names, fits, strict=True)]
        positions = [np.arange(loss.size, dtype=np.float64) for loss in losses]
        if against == "seconds":
            positions = [_curve(name, fit, "time_curve_") for name, fit in zip(names, fits, strict=True)]
        display = cls(
            names=names, losses=losses, positions=positions, against=against, **_reference(fits, losses, optimum)
        )
        return display.plot(ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into; None is a figure of its own.

        **line_kw : dict
            Passed on to `matplotlib.axes.Axes.plot`, for every curve.

        Returns
        -------
        display : LossCurveDisplay
            Itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If no curve has a point that is finite and, where the optimum is not known, above the least.
        """
        gaps = [self._gap(np.asarray(loss, dtype=np.float64)) for loss in self.losses]
        if not any(np.isfinite(gap).any() for gap in gaps):
            message = (
                "no curve has a finite loss above the least of them, so there is nothing to draw; pass the optimum as "
                "a number, or a fit that has converged."
            )
            raise ValueError(message)
        self.figure_, self.ax_ = axes(
            ax, "LossCurveDisplay.plot", (8.0 if self._many else 6.4, height(self.names, 4.2))
        )
        self.gaps_ = gaps
        self.lines_ = []
        for number, (name, gap, position) in enumerate(zip(self.names, gaps, self.positions, strict=True)):
            points = {"marker": marker(number), "markersize": 4.5} if gap.size <= FEW_POINTS else {}
            self.lines_ += self.ax_.plot(position, gap, **{"label": name, **style(number), **points, **line_kw})
        self.resolution_line_ = None
        if self.reached and any((gap == self.resolution).any() for gap in gaps):
            self.resolution_line_ = self.ax_.axhline(
                self.resolution, **faint(self.ax_), label="no more is known of the optimum"
            )
        self._describe()
        return self

    @property
    def _many(self) -> bool:
        return len(self.names) > FEW_NAMES

    def _gap(self, loss: Array) -> Array:
        gap = np.where(np.isfinite(loss), loss - self.optimum, np.nan)
        below = gap <= self.resolution
        return np.where(below, self.resolution if self.reached else np.nan, gap)

    def _describe(self) -> None:
        above = "the optimum" if self.reached else "the least of these"
        self.ax_.set(
            yscale="log",
            xlabel="iteration" if self.against == "iteration" else "time since the fit began [s]",
            ylabel=f"loss above {above}\n[nats per unit of weight]",
        )
        if self.against == "iteration":
            self.ax_.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        self.ax_.grid(visible=True, alpha=0.25)
        line = [] if self.resolution_line_ is None else [self.resolution_line_]
        self.legend_ = legend(self.ax_, [*self.lines_, *line], beside=self._many)


def _named(estimators: Any) -> tuple[list[str], list[Any]]:
    """Return names and estimators of whatever was given."""
    if isinstance(estimators, Mapping):
        names, fits = [str(label) for label in estimators], list(estimators.values())
    else:
        fits = [estimators] if hasattr(estimators, "fit") else list(estimators)
        names = _told_apart(fits)
    if not fits:
        message = "estimators is empty; pass one fitted model or more."
        raise ValueError(message)
    return names, fits


def _told_apart(fits: list[Any]) -> list[str]:
    """Return the parameters in which estimators differ as text; their class, and a number if need be, where none do."""
    settings = [fit.get_params(deep=False) if hasattr(fit, "get_params") else {} for fit in fits]
    shared = [name for name in (settings or [{}])[0] if all(name in each for each in settings)]
    telling = [name for name in shared if len({repr(each[name]) for each in settings}) > 1]
    names = [
        ", ".join(f"{name}={each[name]!r}" for name in telling) or type(fit).__name__
        for fit, each in zip(fits, settings, strict=True)
    ]
    return [f"{name} ({k + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _curve(name: str, fit: Any, attribute: str) -> Array:
    if not hasattr(fit, attribute):
        check_is_fitted(fit)
        remedy = (
            "pass what fit or fit_batches of this package have fitted, not partial_fit; of a pipeline its last step "
            "and of a search its best_estimator_"
            if attribute == "loss_curve_"
            else "fit it again with this version, or draw it against='iteration'"
        )
        message = f"estimators holds {name!r}, a {type(fit).__name__} without {attribute}; {remedy}."
        raise ValueError(message)
    return np.asarray(getattr(fit, attribute), dtype=np.float64)


def _reference(fits: list[Any], losses: list[Array], optimum: float | None) -> dict[str, Any]:
    """Return what gaps are measured from, up to how much that is known, and whether it is an optimum."""
    least = min(float(loss[np.isfinite(loss)].min(initial=np.inf)) for loss in losses)
    known, reached = float(ROUNDING), True
    if optimum is None:
        _check_same_objective(fits)
        left = _left(fits)
        known, reached, optimum = max(left or 0.0, ROUNDING), left is not None, least
    elif not -np.inf < float(optimum) <= least + ROUNDING * abs(least):
        message = (
            f"optimum={optimum!r} must be a finite number, no more than a loss that was reached, {least!r}; or None."
        )
        raise ValueError(message)
    # an optimum of 0 is known exactly, and a log scale needs some end
    resolution = max(known * abs(least), float(np.finfo(np.float64).tiny))
    return {"optimum": float(optimum), "resolution": resolution, "reached": reached}


def _left(fits: list[Any]) -> float | None:
    """Return what the best of the converged fits may have left, as a share of the loss; None if there is none."""
    left = []
    for fit in fits:
        if getattr(fit, "converged_", False):
            tol = float(getattr(fit, "tol", 0.0))
            left.append(
                FinalTolerance.of(tol).order_independent if getattr(fit, "learning_rate", "auto") == "auto" else tol
            )
    return min(left, default=None)


def _check_same_objective(fits: list[Any]) -> None:
    for name in (*OBJECTIVE, "n_features_in_", "classes_"):
        each = [getattr(fit, name, None) for fit in fits]
        values = {repr(value) for value in each}
        if not all(_same(value, each[0]) for value in each):
            message = (
                f"estimators differ in {name} ({', '.join(sorted(values))}), so that they have no optimum in common; "
                "draw each by itself into the same ax, or pass a number as optimum."
            )
            raise ValueError(message)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is other or bool(np.array_equal(one, other))
