"""What the displays share: matplotlib when it is wanted, axes, how series are told apart, text that can be drawn."""

from __future__ import annotations

import importlib
import textwrap
from typing import Any

import numpy as np

# Each has a contrast of 3 or more with white and with #121212 (WCAG 2), and any two differ by 16 or more in CIELAB
# to people without colour blindness and, by the matrices of Machado, Oliveira and Fernandes (2009), with any of three.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#973DF2", "#D90036")
# lengths that have no divisor in common with that of the colours: a pair comes back after 30 series
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# of characters, in labels
LINE = 30
NAME = 38  # of characters, in legends: our longest class name in one piece
LINES = 2


def pyplot(caller: str) -> Any:
    """Return matplotlib's pyplot; say what to install if it is not there."""
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        message = f"{caller} draws with matplotlib, which is not installed; pip install 'sknatgrad[plots]'."
        raise ImportError(message) from error


def axes(ax: Any, caller: str, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return the figure and the axes to draw into: those given, or new ones of this size in inches."""
    plt = pyplot(caller)
    if ax is None:
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        return figure, ax
    check_axes(ax)
    return ax.figure, ax


def check_axes(ax: Any) -> None:
    """Refuse what is no one Axes."""
    if not (hasattr(ax, "plot") and hasattr(ax, "set_xlabel")):
        message = f"ax is a {type(ax).__name__}; it must be one matplotlib Axes, or None for a figure of its own."
        raise ValueError(message)


def style(number: int) -> dict[str, Any]:
    """Return colour and dashes of a series: each alone tells the first five apart."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def marker(number: int) -> str:
    """Return the marker of a series."""
    return MARKERS[number % len(MARKERS)]


def text(label: Any, width: int = LINE) -> str:
    """Return a label as it can be drawn: on at most two lines, with nothing taken for a formula."""
    lines = textwrap.wrap(str(label), width) or [""]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1][: width - 1].rstrip() + "…"]
    return "\n".join(lines).replace("$", r"\$")


def height(labels: list[Any], least: float) -> float:
    """Return the inches that a figure needs for a legend of these labels beside its axes, and no less than `least`."""
    return max(least, 1.3 + 0.23 * sum(1 + text(label, NAME).count("\n") for label in labels))


def percent(level: float) -> str:
    """Return a level as text."""
    return f"{100 * level:g} %"


def faint(ax: Any) -> dict[str, Any]:
    """Return the style of what is there for reference: in the colour of the axes' text, dark or light, but paler."""
    return {"color": ax.xaxis.label.get_color(), "alpha": 0.45, "linewidth": 1.0, "zorder": 1}


def legend(ax: Any, handles: list[Any], *, title: str | None = None, beside: bool = False) -> Any:
    """Return the legend of the axes: within them, or `beside` them where the figure's layout makes room for it."""
    labels = [text(handle.get_label(), NAME) for handle in handles]
    # matplotlib leaves out what begins with an underscore
    labels = [f" {label}" if label.startswith("_") else label for label in labels]
    place: dict[str, Any] = {"loc": "best"}
    if beside and ax.figure.get_layout_engine() is not None:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    return ax.legend(handles, labels, title=title, **place)


def class_places(label: Any, classes: Any) -> list[int]:
    """Return the index of the class asked for; for None all, but of two the second alone, as the other mirrors it."""
    labels = np.asarray(classes).tolist()
    if label is None:
        return [1] if len(labels) == 2 else list(range(len(labels)))  # noqa: PLR2004 - two classes have one logit
    label = label.item() if isinstance(label, np.generic) else label
    if label not in labels:
        message = f"class_of_interest={label!r} is not among the estimator's classes {labels}."
        raise ValueError(message)
    return [labels.index(label)]


def logit_rows(label: Any, classes: Any, n_logits: int) -> list[int]:
    """Return the rows of `coef_` that belong to the classes asked for; of two classes only the second has one."""
    places = class_places(label, classes)
    if n_logits > 1:
        return places
    if places != [1]:
        message = f"class_of_interest={label!r} has no coefficients of its own; of two classes only the second has any."
        raise ValueError(message)
    return [0]
