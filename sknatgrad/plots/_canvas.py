"""Shared by the displays: the import of matplotlib, axes, styles of series, labels that can be drawn, and classes."""

from __future__ import annotations

import importlib
import textwrap
from typing import TYPE_CHECKING, Any, cast

from sknatgrad._model.class_labels import label_index, label_list, label_name, label_names, label_string

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence
    from types import ModuleType

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from sknatgrad._definitions import Labels

# Each colour has a contrast of at least 3 with white and with #121212 (WCAG 2). Any two differ by at least 16 in
# CIELAB, for people without colour blindness and, by the matrices of Machado, Oliveira and Fernandes (2009), with each
# of the three kinds of it. tests/test_plots.py checks both.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#973DF2", "#D90036")
# Five dash patterns in multiples of the line width. Five and six have no common divisor, so a pair of colour and dashes
# is repeated only after 30 series.
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# characters per line of a label, and of a legend entry: the longest class name of this package fits on one line
LABEL_WIDTH = 30
LEGEND_WIDTH = 38
MAX_LINES = 2
# inches: margins above and below a legend, and the height of one of its lines, measured as 0.21 to 0.22 at 10 points
LEGEND_MARGIN = 1.3
LEGEND_LINE = 0.23


def pyplot(caller: str) -> ModuleType:
    """Return matplotlib's pyplot; raise an error that names the extra to install if it is missing."""
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        message = f"{caller} needs matplotlib, which is not installed; run pip install 'sknatgrad[plots]'."
        raise ImportError(message) from error


def axes(ax: Axes | None, caller: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return the figure and the axes to draw into: the given axes, or those of a new figure of `size` in inches."""
    plt = pyplot(caller)
    if ax is None:
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        return figure, ax
    check_axes(ax)
    return cast("Figure", ax.figure), ax


def check_axes(ax: object) -> None:
    """Raise an error unless `ax` is a single Axes."""
    if not (hasattr(ax, "plot") and hasattr(ax, "set_xlabel")):
        message = f"ax is a {type(ax).__name__}; it must be a matplotlib Axes, or None for a new figure."
        raise ValueError(message)


def style(number: int) -> dict[str, Any]:
    """Return the colour and the dashes of a series; either one distinguishes the first five."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def marker(number: int) -> str:
    """Return the marker of a series."""
    return MARKERS[number % len(MARKERS)]


def label_text(label: object, width: int = LABEL_WIDTH) -> str:
    """Return a label wrapped to at most two lines, with dollar signs escaped so that none starts a formula."""
    lines = textwrap.wrap(label_string(label), width) or [""]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], lines[MAX_LINES - 1][: width - 1].rstrip() + "…"]
    return "\n".join(lines).replace("$", r"\$")


def figure_height(labels: Iterable[object], minimum: float) -> float:
    """Return the height in inches, at least `minimum`, that a legend of these labels beside the axes needs."""
    n_lines = sum(1 + label_text(label, LEGEND_WIDTH).count("\n") for label in labels)
    return max(minimum, LEGEND_MARGIN + LEGEND_LINE * n_lines)


def percent(level: float) -> str:
    """Return a level as text in percent."""
    return f"{100 * level:g} %"


def reference_style(ax: Axes) -> dict[str, Any]:
    """Return the style of reference lines: the colour of the axis labels, which suits any background, but paler."""
    return {"color": ax.xaxis.label.get_color(), "alpha": 0.45, "linewidth": 1.0, "zorder": 1}


def legend(ax: Axes, handles: Sequence[Artist], *, title: str | None = None, beside: bool = False) -> Legend:
    """Return a legend in the axes, or `beside` them if the figure has a layout engine that reserves the space."""
    labels = [label_text(handle.get_label(), LEGEND_WIDTH) for handle in handles]
    # matplotlib omits labels that begin with an underscore
    labels = [f" {label}" if label.startswith("_") else label for label in labels]
    position: dict[str, Any] = {"loc": "best"}
    if beside and ax.figure.get_layout_engine() is not None:
        position = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    return ax.legend(handles, labels, title=title, **position)


def class_indices(label: Hashable, classes: Sequence[Hashable] | Labels) -> list[int]:
    """Return the indices of the classes to draw: that of `label`, or those of all classes if it is None.

    Of two classes, None selects only the second, because the first mirrors it.
    """
    if label is None:
        return [1] if len(classes) == 2 else list(range(len(classes)))  # noqa: PLR2004 - two classes have one logit
    index = label_index(label, classes)
    if index is None:
        message = (
            f"class_of_interest={label_name(label)} is not among the classes {label_names(classes)}; pass one of "
            "them, or None."
        )
        raise ValueError(message)
    return [index]


def logit_rows(label: Hashable, classes: Sequence[Hashable] | Labels, n_logits: int) -> list[int]:
    """Return the rows of `coef_` to draw: that of the class `label`, or those of all classes if it is None.

    Two classes have one row, which belongs to the second.
    """
    indices = class_indices(label, classes)
    if n_logits > 1:
        return indices
    if indices != [1]:
        message = (
            f"class_of_interest={label_name(label)} has no coefficients of its own; with two classes only the second "
            f"has them, so pass {label_name(label_list(classes)[1])} or None."
        )
        raise ValueError(message)
    return [0]
