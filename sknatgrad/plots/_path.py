"""Coefficients against the strength of the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone

from sknatgrad._inputs.columns import feature_names
from sknatgrad.plots._canvas import check_axes, class_places, faint, legend, logit_rows, pyplot, style, text

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Matrix

# of the lines that a legend names
NAMED = 8
# panels beside each other
BESIDE = 3


class RegularizationPathDisplay:
    """Coefficients against C, the inverse of the strength of the penalty: one panel a class.

    Usually made by `from_estimator`.

    Parameters
    ----------
    Cs : array-like of shape (n_strengths,)
        Values of C, ascending.

    coefs : array-like of shape (n_strengths, n_drawn, n_features)
        Coefficients at each, of each class drawn.

    feature_names : list of str, n_features of them
        Names of the features.

    classes : list, n_drawn of them
        The classes drawn.

    chosen : float or None, default=None
        A value of C to mark.

    Attributes
    ----------
    lines_ : list of list of matplotlib Line2D
        One line a feature, for each class drawn.

    chosen_ : list of matplotlib Line2D
        The mark of `chosen` in each panel, where it is among `Cs`.

    legend_ : matplotlib Legend
        Names the features with the largest coefficients.

    ax_ : matplotlib Axes, or ndarray of them
        The axes drawn into: several if several classes are drawn.

    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.plots import RegularizationPathDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = NaturalGradientLogisticRegression()
    >>> display = RegularizationPathDisplay.from_estimator(model, X, y, Cs=[0.01, 0.1, 1.0, 10.0])
    >>> display.coefs.shape
    (4, 1, 30)
    """

    def __init__(
        self, *, Cs: Any, coefs: Any, feature_names: list[str], classes: list[Any], chosen: float | None = None
    ) -> None:
        self.Cs = Cs
        self.coefs = coefs
        self.feature_names = feature_names
        self.classes = classes
        self.chosen = chosen

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all but the data are keywords
        cls,
        estimator: Any,
        X: Matrix,
        y: Any,
        *,
        Cs: Any = None,
        sample_weight: Any = None,
        class_of_interest: Any = None,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Fit a clone of an estimator for each C, from the strongest penalty on, and draw its coefficients.

        Parameters
        ----------
        estimator : estimator
            A :class:`sknatgrad.NaturalGradientLogisticRegression`, fitted or not; it stays as it is.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Training data. Coefficients are those of its columns: only columns of like scale can be compared by them.

        y : array-like of shape (n_samples,)
            Class labels.

        Cs : array-like of float or None, default=None
            Values of C: two or more, finite and above 0. None is 33 from 1e-4 to 1e4.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row.

        class_of_interest : label or None, default=None
            The only class whose coefficients to draw. None is all, a panel each; two classes have coefficients of one
            alone, ``classes_[1]``.

        ax : matplotlib Axes, sequence of them, or None, default=None
            Axes to draw into, one a panel; None is a figure of its own.

        **line_kw : dict
            Passed on to `matplotlib.axes.Axes.plot`, for the lines of every feature.

        Returns
        -------
        display : RegularizationPathDisplay
            With the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is not what is allowed, or there are not as many axes as panels.

        Warns
        -----
        ConvergenceWarning
            As `fit` does.
        """
        pyplot("RegularizationPathDisplay.from_estimator")
        ladder = _ladder(Cs)
        settings = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
        if not {"C", "warm_start"} <= set(settings):
            message = (
                f"estimator is a {type(estimator).__name__}, which has no parameters C and warm_start; pass a "
                "NaturalGradientLogisticRegression, and X as transformed by the steps before it."
            )
            raise ValueError(message)
        model = clone(estimator).set_params(warm_start=True)
        coefs: list[Any] = []
        for C in ladder:
            model.set_params(C=float(C)).fit(X, y, sample_weight=sample_weight)
            if not coefs:
                drawn = class_places(class_of_interest, model.classes_)
                rows = logit_rows(class_of_interest, model.classes_, len(model.coef_))
                _panels(ax, len(drawn))
            coefs.append(model.coef_)
        display = cls(
            Cs=ladder,
            coefs=np.stack(coefs)[:, rows],
            feature_names=feature_names(model),
            classes=[model.classes_[k] for k in drawn],
            chosen=float(settings["C"]),
        )
        return display.plot(ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the coefficients.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of them, or None, default=None
            Axes to draw into, one a panel; None is a figure of its own.

        **line_kw : dict
            Passed on to `matplotlib.axes.Axes.plot`, for the lines of every feature.

        Returns
        -------
        display : RegularizationPathDisplay
            Itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many axes as panels, or no feature.
        """
        Cs, coefs = _ladder(self.Cs), np.asarray(self.coefs, dtype=np.float64)
        if not coefs.size:
            message = f"coefs has shape {coefs.shape}, so there is nothing to draw; it must hold a feature or more."
            raise ValueError(message)
        panels = _panels(ax, len(self.classes))
        if panels is None:
            panels = _new_panels(len(self.classes))
        self.figure_, self.ax_ = panels[0].figure, panels[0] if len(panels) == 1 else panels
        named = np.argsort(-np.abs(coefs).max(axis=(0, 1)), kind="stable")[:NAMED].tolist()
        self.lines_, self.chosen_ = [], []
        for k, panel in enumerate(panels):
            looks = [
                {**style(named.index(j)), "zorder": 3} if j in named else faint(panel) for j in range(coefs.shape[2])
            ]
            lines = [
                panel.plot(Cs, coefs[:, k, j], **{"label": name, **look, **line_kw})[0]
                for j, (name, look) in enumerate(zip(self.feature_names, looks, strict=True))
            ]
            self.lines_.append(lines)
            if self.chosen is not None and Cs[0] <= self.chosen <= Cs[-1]:
                look = {**faint(panel), "linestyle": ":", "label": "C of the estimator"}
                self.chosen_.append(panel.axvline(self.chosen, **look))
            self._describe(panel, k)
            if ax is None and not panel.get_subplotspec().is_first_col():
                panel.set_ylabel("")
        # at the end of the first row: in the last, which may be shorter, it would push columns apart
        self.legend_ = self._legend(panels[min(BESIDE, len(panels)) - 1], named)
        return self

    def _describe(self, panel: Any, k: int) -> None:
        whose = f"class {text(self.classes[k])}"
        several = len(self.classes) > 1
        panel.set(
            xscale="log",
            xlabel="C (a small C is a strong penalty)",
            ylabel=f"coefficient{'' if several else f' for {whose}'}\n[nats per unit of the feature]",
            title=whose if several else "",
        )
        panel.grid(visible=True, alpha=0.2)

    def _legend(self, panel: Any, named: Any) -> Any:
        handles = [self.lines_[-1][j] for j in named]
        others = [line for j, line in enumerate(self.lines_[-1]) if j not in named]
        if others:
            others[0].set_label(f"{len(others)} others" if len(others) > 1 else str(others[0].get_label()))
        return legend(panel, [*handles, *others[:1], *self.chosen_[-1:]], title="feature", beside=True)


def _ladder(Cs: Any) -> Array:
    given = np.logspace(-4, 4, 33) if Cs is None else np.unique(np.asarray(Cs, dtype=np.float64))
    if given.size < 2 or not (np.isfinite(given) & (given > 0)).all():  # noqa: PLR2004 - a line has two ends
        message = f"Cs={Cs!r} must hold two values or more, each finite and above 0."
        raise ValueError(message)
    return given


def _panels(ax: Any, n_panels: int) -> Any:
    """Return the axes given, one a panel, or None for None."""
    if ax is None:
        return None
    given = np.asarray(ax, dtype=object).ravel()
    for panel in given:
        check_axes(panel)
    if given.size != n_panels:
        message = (
            f"ax holds {given.size} Axes, but {n_panels} classes are drawn, each into its own; pass as many, or a "
            "class_of_interest."
        )
        raise ValueError(message)
    return given


def _new_panels(n_panels: int) -> Any:
    plt = pyplot("RegularizationPathDisplay.plot")
    beside = min(n_panels, BESIDE)
    below = -(-n_panels // beside)
    size = (8.0, 4.2) if n_panels == 1 else (4.0 * beside + 1.5, 3.4 * below)
    figure, panels = plt.subplots(below, beside, figsize=size, layout="constrained", squeeze=False, sharey=True)
    for empty in panels.ravel()[n_panels:]:
        figure.delaxes(empty)
    return panels.ravel()[:n_panels]
