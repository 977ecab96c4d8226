"""Ellipses of equal distance in two coefficients, one for each metric."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from scipy import linalg

from sknatgrad._definitions import member_of
from sknatgrad._estimator.geometry import centred_fisher_information
from sknatgrad._inputs.checks import check_model
from sknatgrad._inputs.columns import INTERCEPT, column_index, feature_names, listed
from sknatgrad._inputs.weights import check_sample_weight
from sknatgrad._model.class_labels import label_string
from sknatgrad._model.information.symmetric import factorise, noise_floor
from sknatgrad._model.layout import join, sum_zero
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad.plots._canvas import axes, label_text, legend, logit_rows, pyplot, style

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Matrix
    from sknatgrad._inputs.columns import Features
    from sknatgrad._model.metrics import FisherName

Others = Literal["fixed", "free"]
# points of a closed curve: every 1.5 degrees, with the first one repeated
N_POINTS = 241


@member_of("sknatgrad.plots")
@underflow_ignored_in
class FisherEllipseDisplay:
    r"""Ellipses of constant distance from two coefficients, in one or several metrics.

    The ellipse of a metric M is :math:`\frac{1}{2} v^T M v = c`, where v is the move of the two coefficients and M is
    the metric per unit of weight. For the true Fisher information, c is to second order the mean Kullback-Leibler
    divergence, in nats, between the predictions before and after the move. Usually created by `from_estimator`.

    Parameters
    ----------
    centre : array-like of shape (2,)
        The two coefficients.

    metrics : dict of str to array-like of shape (2, 2)
        Each metric by name, in nats per unit of weight; positive definite.

    kl : float
        The distance c in nats.

    feature_names : list of str of length 2
        Names of the two features.

    class_name : str or None, default=None
        The class of the coefficients, if each class has its own.

    others : {'fixed', 'free'}, default='fixed'
        Whether the other coefficients are fixed or free, for the legend.

    Attributes
    ----------
    ellipses_ : list of matplotlib Line2D
        One closed curve per metric.

    centre_ : matplotlib Line2D
        The mark at the two coefficients.

    legend_ : matplotlib Legend
        The legend of the metrics; its title gives the equation of the ellipses.

    ax_ : matplotlib Axes
        The axes drawn into.

    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.plots import FisherEllipseDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NaturalGradientLogisticRegression().fit(X, y)
    >>> display = FisherEllipseDisplay.from_estimator(model, X, features=(2, 3), kinds=("true", "diagonal"))
    >>> len(display.ellipses_)
    2
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's convention: everything that is drawn
        self,
        *,
        centre: ArrayLike,
        metrics: Mapping[str, ArrayLike | None],
        kl: float,
        feature_names: list[str],
        class_name: str | None = None,
        others: Others = "fixed",
    ) -> None:
        self.centre = centre
        self.metrics = metrics
        self.kl = kl
        self.feature_names = feature_names
        self.class_name = class_name
        self.others = others

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all arguments but the data are keyword-only
        cls,
        estimator: Any,
        X: Matrix,
        *,
        features: Sequence[str | int] = (0, 1),
        kinds: FisherName | Sequence[FisherName] = ("true", "diagonal"),
        y: ArrayLike | None = None,
        kl: float = 0.01,
        others: Others = "fixed",
        class_of_interest: Hashable = None,
        sample_weight: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        ax: Axes | None = None,
        **line_kw: Any,
    ) -> Self:
        r"""Draw the ellipses of a fitted model.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`sknatgrad.NaturalGradientLogisticRegression`, or any logistic regression of scikit-learn.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows over which the metrics are averaged.

        features : pair of str or int, default=(0, 1)
            Names or indices of the two columns; the intercept is the last, named ``'(Intercept)'``.

        kinds : str or sequence of str, default=('true', 'diagonal')
            The metrics, as in :func:`sknatgrad.fisher_information`. Only ``'true'`` gives the Kullback-Leibler
            divergence to second order; the ellipse of another metric shows where its approximation of the divergence
            equals `kl`.

        y : array-like of shape (n_samples,) or None, default=None
            Observed labels, needed only for ``'empirical'``.

        kl : float, default=0.01
            The distance c in :math:`\frac{1}{2} v^T F v / S = c`, in nats, where S is the sum of the weights.

        others : {'fixed', 'free'}, default='fixed'
            How the other coefficients are treated. ``'fixed'``: they do not move, so M is the 2 x 2 block of F, and the
            ellipse is a slice through the ellipsoid of all coefficients. ``'free'``: they move such that the distance
            is minimal, so M is the inverse of the 2 x 2 block of :math:`F^{-1}`, for coefficients that sum to zero over
            classes, and the ellipse is the projection of the ellipsoid, which contains the slice. At a distance of
            :math:`\chi^2_{2, 0.95} / 2S`, the projection for ``'true'`` is the 95 % confidence region of an unpenalised
            fit.

        class_of_interest : label or None, default=None
            The class of the coefficients. None is ``classes_[1]``, which is the only one with coefficients if there are
            two.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row.

        random_state : int, RandomState instance or None, default=None
            Seed of the labels that ``'monte_carlo'`` draws.

        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for every ellipse.

        Returns
        -------
        display : FisherEllipseDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is invalid, or the two coefficients are not determined in some metric, so that its ellipse is
            unbounded.
        """
        pyplot("FisherEllipseDisplay.from_estimator")
        check_model(estimator)
        _check_choices(kl, others)
        intercept = bool(getattr(estimator, "fit_intercept", True))
        theta = join(estimator.coef_, estimator.intercept_, with_intercept=intercept)
        names = [*feature_names(estimator), *([INTERCEPT] if intercept else [])]
        columns = _pair(features, names)
        label = estimator.classes_[1] if class_of_interest is None else class_of_interest
        row = logit_rows(label, estimator.classes_, len(theta))[0]
        metrics: dict[str, Array | None] = {}
        for kind in listed(kinds):
            information, centres = centred_fisher_information(
                estimator, X, y, kind=kind, sample_weight=sample_weight, random_state=random_state
            )
            # X has been checked, and has rows
            weight = check_sample_weight(sample_weight, X.shape[0] if hasattr(X, "shape") else len(X)).sum()
            if centres is not None and (others == "fixed" or kind == "diagonal"):
                information, centres = information.recentred(-centres), None
            matrix = information.dense().reshape(theta.shape * 2)
            if kind == "diagonal":
                matrix = np.diag(information.diagonal().ravel()).reshape(matrix.shape)
            reduced = _slice(matrix, row, columns) if others == "fixed" else _projection(matrix, centres, row, columns)
            metrics[kind] = None if reduced is None else reduced / weight
        display = cls(
            centre=theta[row, columns],
            metrics=metrics,
            kl=float(kl),
            feature_names=[names[j] for j in columns],
            class_name=None if len(theta) == 1 else label_string(estimator.classes_[row]),
            others=others,
        )
        return display.plot(ax, **line_kw)

    def plot(self, ax: Axes | None = None, **line_kw: Any) -> Self:
        """Draw the ellipses.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for every ellipse.

        Returns
        -------
        display : FisherEllipseDisplay
            The display itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no metric, or one is not positive definite.
        """
        if not self.metrics:
            message = "kinds is empty; it must name at least one metric, such as 'true'."
            raise ValueError(message)
        centre = np.asarray(self.centre, dtype=np.float64)
        curves = {kind: self._curve(kind, metric) for kind, metric in self.metrics.items()}
        self.figure_, self.ax_ = axes(ax, "FisherEllipseDisplay.plot", (6.8, 4.6))  # inches
        self.ellipses_ = []
        for number, (kind, curve) in enumerate(curves.items()):
            x, y = centre[:, None] + curve
            self.ellipses_ += self.ax_.plot(x, y, **{"label": kind, **style(number), **line_kw})
        (self.centre_,) = self.ax_.plot(
            *centre[:, None], marker="+", markersize=9, linestyle="none", color=self.ax_.xaxis.label.get_color()
        )
        of_class = "" if self.class_name is None else f"for class {label_text(self.class_name)} "
        x_label, y_label = (
            f"coefficient of {label_text(name, 40)}\n{of_class}[nats per unit of the feature]"
            for name in self.feature_names
        )
        self.ax_.set(xlabel=x_label, ylabel=y_label)
        self.ax_.grid(visible=True, alpha=0.2)
        title = f"½ vᵀ M v = {self.kl:g} nats,\nother coefficients {self.others}"
        self.legend_ = legend(self.ax_, self.ellipses_, title=title, beside=True)
        return self

    def _curve(self, kind: str, metric: ArrayLike | None) -> Array:
        """Return the moves from the centre at distance `kl` in the metric, ``(2, N_POINTS)``."""
        scale = np.zeros(2) if metric is None else np.sqrt(np.maximum(np.diagonal(metric), 0.0))
        unbounded = not scale.all()
        if not unbounded:
            correlation = np.asarray(metric)[0, 1] / scale[0] / scale[1]
            unbounded = not 1.0 - correlation**2 > noise_floor(2)
        if unbounded:
            message = (
                f"the metric {kind!r} does not determine the coefficients of {self.feature_names}, so its ellipse is "
                "unbounded; choose other features, or drop collinear columns."
            )
            raise ValueError(message)
        angles = np.linspace(0.0, 2.0 * np.pi, N_POINTS)
        circle = np.sqrt(2.0 * self.kl) * np.stack([np.cos(angles), np.sin(angles)])
        lower = np.array([[1.0, 0.0], [correlation, np.sqrt(1.0 - correlation**2)]])
        return np.asarray(linalg.solve_triangular(lower.T, circle)) / scale[:, None]


def _check_choices(kl: object, others: object) -> None:
    if not isinstance(kl, Real) or isinstance(kl, bool) or not 0.0 < float(kl) < np.inf:
        message = f"kl={kl!r} is not a distance; it must be a number of nats above 0, such as 0.01."
        raise ValueError(message)
    if others not in get_args(Others):
        message = f"others={others!r} is unknown; it must be one of {list(get_args(Others))}."
        raise ValueError(message)


def _pair(features: Features, names: list[str]) -> list[int]:
    columns = [column_index("features", feature, names) for feature in listed(features)]
    if len(columns) != 2 or columns[0] == columns[1]:  # noqa: PLR2004 - a plane has two axes
        message = f"features={features!r} must be two different columns, by name or index."
        raise ValueError(message)
    return columns


def _slice(information: Array, row: int, columns: list[int]) -> Array:
    """Return the 2 x 2 block of ``(q, d, q, d)``, the metric of two coefficients if the others are fixed."""
    return information[row, columns][:, row, columns]


def _projection(information: Array, centres: Array | None, row: int, columns: list[int]) -> Array | None:
    """Return the 2 x 2 metric of two coefficients if the others minimise the distance; None if it is not determined.

    Moves are restricted to those that sum to zero over classes. Otherwise the coefficients of the other classes could
    move along, which changes no prediction. The information is that for rows less the centres, ``(p,)``.
    """
    n_logits, n_columns = information.shape[:2]
    basis = sum_zero(n_logits)
    n_free = basis.shape[1]
    reduced = np.einsum("ka,kdle,lb->adbe", basis, information, basis).reshape((n_free * n_columns,) * 2)
    factor = factorise(reduced)
    chosen = np.eye(n_columns)[:, columns]
    if centres is not None:
        # the intercept b is b' − Σ c_j w_j
        chosen[:-1, np.equal(columns, n_columns - 1)] = -centres[:, None]
    if not factor.determined().reshape(n_free, n_columns)[:, chosen.any(axis=1)].all():
        return None
    # maps free parameters to the two coefficients
    selection = np.einsum("a,dj->adj", basis[row], chosen).reshape(-1, 2)
    return np.asarray(np.linalg.inv(selection.T @ factor.solve(selection)))
