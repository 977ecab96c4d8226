"""Regularisation path: coefficients against the strength of the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import clone

from sknatgrad._definitions import member_of
from sknatgrad._estimator.cv_scores import Scores
from sknatgrad._inputs.columns import feature_names
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad.plots._canvas import (
    check_axes,
    class_indices,
    label_text,
    legend,
    logit_rows,
    pyplot,
    reference_style,
    style,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Labels, Matrix
    from sknatgrad._estimator.cv_classifier import NaturalGradientLogisticRegressionCV
    from sknatgrad._estimator.logistic_path import LogisticPath

# features with a colour and a legend entry of their own; more lines cannot be followed
MAX_COLOURED_FEATURES = 8
# three panels of 4 inches and the legend fit the width of a page
PANELS_PER_ROW = 3


@member_of("sknatgrad.plots")
@underflow_ignored_in
class RegularizationPathDisplay:
    """Coefficients against C, the inverse strength of the penalty, with one panel per class.

    Usually created by `from_estimator`, by `from_path`, or by `from_cv`, which adds a panel of the scores.

    Parameters
    ----------
    Cs : array-like of shape (n_strengths,)
        Values of C, ascending.

    coefs : array-like of shape (n_strengths, n_drawn, n_features)
        Coefficients at each C, of each class drawn.

    feature_names : list of str of length n_features
        Names of the features.

    classes : list of length n_drawn
        The classes drawn.

    chosen : float or None, default=None
        A value of C to mark.

    scores : array-like of shape (n_splits, n_strengths) or None, default=None
        Scores of a cross-validation at each C. A panel shows their mean, plus and minus its standard error, and the
        smallest C whose mean is within one standard error of the highest.

    score_errors : array-like of shape (n_strengths,) or None, default=None
        The standard error of each mean score. None is that over the splits.

    Attributes
    ----------
    lines_ : list of list of matplotlib Line2D
        For each class drawn, one line per feature.

    chosen_ : list of matplotlib Line2D
        The line that marks `chosen` in each panel, if it lies within the range of `Cs`.

    score_line_ : matplotlib Line2D
        The mean score, if there are scores.

    score_band_ : matplotlib PolyCollection
        The band of one standard error around it.

    one_standard_error_ : matplotlib Line2D
        The line at the smallest C within one standard error of the best.

    legend_ : matplotlib Legend
        The legend, which names the features with the largest coefficients.

    ax_ : matplotlib Axes, or ndarray of them
        The axes drawn into; several if several classes are drawn.

    figure_ : matplotlib Figure
        The figure of the axes.

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

    def __init__(  # noqa: PLR0913 - all arguments are keyword-only
        self,
        *,
        Cs: Sequence[float] | Array,
        coefs: ArrayLike,
        feature_names: list[str],
        classes: list[Hashable],
        chosen: float | None = None,
        scores: ArrayLike | None = None,
        score_errors: ArrayLike | None = None,
    ) -> None:
        self.Cs = Cs
        self.coefs = coefs
        self.feature_names = feature_names
        self.classes = classes
        self.chosen = chosen
        self.scores = scores
        self.score_errors = score_errors

    @classmethod
    def from_estimator(  # noqa: PLR0913 - all arguments but the data are keyword-only
        cls,
        estimator: Any,
        X: Matrix,
        y: ArrayLike,
        *,
        Cs: Sequence[float] | Array | None = None,
        sample_weight: ArrayLike | None = None,
        class_of_interest: Hashable = None,
        ax: Axes | Sequence[Axes] | None = None,
        **line_kw: Any,
    ) -> Self:
        """Fit a clone of an estimator at each C, starting at the strongest penalty, and draw the coefficients.

        Parameters
        ----------
        estimator : estimator
            A :class:`sknatgrad.NaturalGradientLogisticRegression`, fitted or not. It is not modified.

        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Training data. Coefficients of different columns are comparable only if the columns have the same scale.

        y : array-like of shape (n_samples,)
            Class labels.

        Cs : array-like of float or None, default=None
            Values of C: at least two, finite and above 0. None is 33 values from 1e-4 to 1e4, equally spaced in log C.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row.

        class_of_interest : label or None, default=None
            The class whose coefficients are drawn. None draws all classes, each in its own panel; with two classes
            there are only the coefficients of ``classes_[1]``.

        ax : matplotlib Axes, sequence of them, or None, default=None
            Axes to draw into, one per panel. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for the lines of every feature.

        Returns
        -------
        display : RegularizationPathDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is invalid, or the number of axes differs from the number of panels.

        Warns
        -----
        ConvergenceWarning
            If a fit does not converge.
        """
        pyplot("RegularizationPathDisplay.from_estimator")
        strengths = _ascending_strengths(Cs)
        settings = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
        if not {"C", "warm_start"} <= set(settings):
            message = (
                f"estimator is a {type(estimator).__name__}, which has no parameters C and warm_start; pass a "
                "NaturalGradientLogisticRegression; of a pipeline, pass the last step and the transformed X."
            )
            raise ValueError(message)
        model = clone(estimator).set_params(warm_start=True)
        coefs: list[Array] = []
        for C in strengths:
            model.set_params(C=float(C)).fit(X, y, sample_weight=sample_weight)
            if not coefs:
                rows, classes = _drawn(class_of_interest, model.classes_, len(model.coef_))
                _given_panels(ax, len(classes))
            coefs.append(model.coef_)
        display = cls(
            Cs=strengths,
            coefs=np.stack(coefs)[:, rows],
            feature_names=feature_names(model),
            classes=classes,
            chosen=float(settings["C"]),
        )
        return display.plot(ax, **line_kw)

    @classmethod
    def from_path(
        cls,
        path: LogisticPath,
        *,
        class_of_interest: Hashable = None,
        ax: Axes | Sequence[Axes] | None = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the coefficients of :func:`sknatgrad.logistic_path`.

        Parameters
        ----------
        path : LogisticPath
            The path; columns of X that differ in scale have coefficients that cannot be compared.

        class_of_interest : label or None, default=None
            The class whose coefficients are drawn, as for `from_estimator`.

        ax : matplotlib Axes, sequence of them, or None, default=None
            Axes to draw into, one per panel. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for the lines of every feature.

        Returns
        -------
        display : RegularizationPathDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is invalid, or the number of axes differs from the number of panels.
        """
        pyplot("RegularizationPathDisplay.from_path")
        finite = np.isfinite(path.Cs)
        given = path.feature_names
        names = [f"x{j}" for j in range(path.coefs.shape[2])] if given is None else [str(name) for name in given]
        rows, classes = _drawn(class_of_interest, path.classes, path.coefs.shape[1])
        display = cls(
            Cs=path.Cs[finite],
            coefs=path.coefs[finite][:, rows],
            feature_names=names,
            classes=classes,
        )
        return display.plot(ax, **line_kw)

    @classmethod
    def from_cv(
        cls,
        estimator: NaturalGradientLogisticRegressionCV,
        *,
        class_of_interest: Hashable = None,
        ax: Axes | Sequence[Axes] | None = None,
        **line_kw: Any,
    ) -> Self:
        """Draw the coefficients and scores of a cross-validation.

        Parameters
        ----------
        estimator : NaturalGradientLogisticRegressionCV
            A fitted estimator. Its coefficients are drawn as means over the splits.

        class_of_interest : label or None, default=None
            The class whose coefficients are drawn, as for `from_estimator`.

        ax : matplotlib Axes, sequence of them, or None, default=None
            Axes to draw into, one per panel, the last for the scores. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for the lines of every feature.

        Returns
        -------
        display : RegularizationPathDisplay
            The display, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an argument is invalid, or the number of axes differs from the number of panels.
        """
        pyplot("RegularizationPathDisplay.from_cv")
        if not hasattr(estimator, "coefs_paths_"):
            message = (
                f"estimator is a {type(estimator).__name__} without coefs_paths_; pass a fitted "
                "NaturalGradientLogisticRegressionCV."
            )
            raise ValueError(message)
        # values that were given twice are drawn once
        _, order = np.unique(estimator.Cs_, return_index=True)
        order = order[np.isfinite(estimator.Cs_[order])]
        if order.size < 2:  # noqa: PLR2004 - a line has two ends
            message = (
                f"estimator has {order.size} different finite values of C, of which a path needs two; fit it with more "
                "values of Cs."
            )
            raise ValueError(message)
        paths = estimator.coefs_paths_[:, 0].mean(axis=0)[order, :, : estimator.n_features_in_]
        rows, classes = _drawn(class_of_interest, estimator.classes_, paths.shape[1])
        display = cls(
            Cs=estimator.Cs_[order],
            coefs=paths[:, rows],
            feature_names=feature_names(estimator),
            classes=classes,
            chosen=estimator.C_,
            scores=estimator.scores_[:, 0, order],
            score_errors=estimator.score_standard_errors_[order],
        )
        return display.plot(ax, **line_kw)

    def plot(self, ax: Axes | Sequence[Axes] | None = None, **line_kw: Any) -> Self:
        """Draw the coefficients, and the scores if there are any.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of them, or None, default=None
            Axes to draw into, one per panel. None makes a new figure.

        **line_kw : dict
            Passed to `matplotlib.axes.Axes.plot` for the lines of every feature.

        Returns
        -------
        display : RegularizationPathDisplay
            The display itself, with the artists as attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the number of axes differs from the number of panels, or there is no feature.
        """
        Cs, coefs = _ascending_strengths(self.Cs), np.asarray(self.coefs, dtype=np.float64)
        if not coefs.size:
            message = f"coefs has shape {coefs.shape}, which is empty; it must have at least one feature."
            raise ValueError(message)
        if self.scores is not None and np.shape(self.scores)[1:] != Cs.shape:
            message = (
                f"scores has shape {np.shape(self.scores)}; it must have one column for each of {Cs.size} values of C."
            )
            raise ValueError(message)
        n_panels = len(self.classes) + (self.scores is not None)
        panels = _given_panels(ax, n_panels, scores=self.scores is not None)
        if panels is None:
            panels = _new_panels(n_panels, shared=len(self.classes))
        of_scores, panels = panels[len(self.classes) :], panels[: len(self.classes)]
        self.figure_, self.ax_ = panels[0].figure, panels[0] if len(panels) == 1 else panels
        named = np.argsort(-np.abs(coefs).max(axis=(0, 1)), kind="stable")[:MAX_COLOURED_FEATURES].tolist()
        self.lines_, self.chosen_ = [], []
        for k, panel in enumerate(panels):
            styles = [
                {**style(named.index(j)), "zorder": 3} if j in named else reference_style(panel)
                for j in range(coefs.shape[2])
            ]
            lines = [
                panel.plot(Cs, coefs[:, k, j], **{"label": name, **styles[j], **line_kw})[0]
                for j, name in enumerate(self.feature_names)
            ]
            self.lines_.append(lines)
            if self.chosen is not None and Cs[0] <= self.chosen <= Cs[-1]:
                dotted = {**reference_style(panel), "linestyle": ":", "label": "C of the estimator"}
                self.chosen_.append(panel.axvline(self.chosen, **dotted))
            self._describe(panel, k)
            if ax is None and not panel.get_subplotspec().is_first_col():
                panel.set_ylabel("")
        for panel in of_scores:
            self._plot_scores(panel, Cs)
        # at the end of the first row: the last row may be shorter, and a legend in it would widen the column gaps
        self.legend_ = self._legend(panels[min(PANELS_PER_ROW, len(panels)) - 1], named)
        return self

    def _plot_scores(self, panel: Axes, Cs: Array) -> None:
        """Draw the mean score of each C, its standard error, and the values of C that follow from them."""
        given = None if self.score_errors is None else np.asarray(self.score_errors, dtype=np.float64)
        scores = Scores(np.asarray(self.scores, dtype=np.float64), given)
        means, error = scores.means, scores.standard_error
        (self.score_line_,) = panel.plot(Cs, means, **style(0), label="mean score")
        self.score_band_ = panel.fill_between(
            Cs, means - error, means + error, color=style(0)["color"], alpha=0.2, linewidth=0.0, label="± 1 SE"
        )
        if self.chosen is not None:
            panel.axvline(self.chosen, **{**reference_style(panel), "linestyle": ":", "label": "C of the estimator"})
        best = Cs[scores.one_standard_error(Cs)]
        dashed = {**reference_style(panel), "linestyle": "--", "label": "one-standard-error choice"}
        self.one_standard_error_ = panel.axvline(best, **dashed)
        panel.set(xscale="log", xlabel="C (a small C is a strong penalty)", ylabel="score", title="cross-validation")
        panel.grid(visible=True, alpha=0.2)
        panel.legend(fontsize="small")

    def _describe(self, panel: Axes, k: int) -> None:
        whose = f"class {label_text(self.classes[k])}"
        several = len(self.classes) > 1
        panel.set(
            xscale="log",
            xlabel="C (a small C is a strong penalty)",
            ylabel=f"coefficient{'' if several else f' for {whose}'}\n[nats per unit of the feature]",
            title=whose if several else "",
        )
        panel.grid(visible=True, alpha=0.2)

    def _legend(self, panel: Axes, named: list[int]) -> Legend:
        handles = [self.lines_[-1][j] for j in named]
        others = [line for j, line in enumerate(self.lines_[-1]) if j not in named]
        if others:
            others[0].set_label(f"{len(others)} others" if len(others) > 1 else str(others[0].get_label()))
        return legend(panel, [*handles, *others[:1], *self.chosen_[-1:]], title="feature", beside=True)


def _ascending_strengths(Cs: Sequence[float] | Array | None) -> Array:
    given = np.logspace(-4, 4, 33) if Cs is None else np.unique(np.asarray(Cs, dtype=np.float64))
    if given.size < 2 or not (np.isfinite(given) & (given > 0)).all():  # noqa: PLR2004 - a line has two ends
        message = f"Cs={Cs!r} must hold at least two different values, each finite and above 0."
        raise ValueError(message)
    return given


def _drawn(label: Hashable, classes: Labels, n_logits: int) -> tuple[list[int], list[Hashable]]:
    """Return the rows of `coef_` to draw, and the class of each panel: that of `label`, or all if it is None."""
    return logit_rows(label, classes, n_logits), [classes[k] for k in class_indices(label, classes)]


def _given_panels(ax: Axes | Sequence[Axes] | None, n_panels: int, *, scores: bool = False) -> Any:
    """Return the given axes as an array with one per panel, or None for None."""
    if ax is None:
        return None
    given = np.asarray(ax, dtype=object).ravel()
    for panel in given:
        check_axes(panel)
    if given.size != n_panels:
        message = (
            f"ax holds {given.size} Axes, but {n_panels} panels are drawn, one for each class"
            f"{' and one for the scores' if scores else ''}; pass {n_panels} Axes, or one class as class_of_interest."
        )
        raise ValueError(message)
    return given


def _new_panels(n_panels: int, shared: int) -> Any:
    """Return new panels, of which the first `shared` have one vertical axis."""
    plt = pyplot("RegularizationPathDisplay.plot")
    n_columns = min(n_panels, PANELS_PER_ROW)
    n_rows = -(-n_panels // n_columns)
    # inches; 1.5 are for the legend
    size = (8.0, 4.2) if n_panels == 1 else (4.0 * n_columns + 1.5, 3.4 * n_rows)
    figure, panels = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False)
    for panel in panels.ravel()[1:shared]:
        panel.sharey(panels[0, 0])
        panel.tick_params(labelleft=panel.get_subplotspec().is_first_col())
    for unused in panels.ravel()[n_panels:]:
        figure.delaxes(unused)
    return panels.ravel()[:n_panels]
