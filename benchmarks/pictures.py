"""Pictures of the gap against time, and of the time against size, on logarithmic axes."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks import growth
from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.results import GAPS, HEADLINE, relative_gap

# smaller relative gaps are rounding errors
GAP_FLOOR = 1e-12
# the colour-blind safe palette of Okabe and Ito, with grey, olive, violet and brown added; markers also distinguish the
# contestants
COLOURS = (
    *("#D55E00", "#0072B2", "#009E73", "#56B4E9", "#999999", "#CC79A7", "#E69F00", "#000000", "#B8A800", "#5B2A86"),
    "#7A4A21",
)
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "d", "p")
COLUMNS = 3
# width of one legend entry in inches; figure sizes below are in inches, lines and markers in points
LEGEND_INCHES = 1.9


def grid(records):
    """Return a figure with one panel per workload."""
    shown = [record for record in records if record.series is None and record.best is not None]
    n_columns = min(COLUMNS, max(1, len(shown)))
    n_rows = max(1, math.ceil(len(shown) / n_columns))
    figure = Figure(figsize=(4.2 * n_columns, 3.2 * n_rows + 0.8), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis, record in zip(axes, shown, strict=False):
        _gaps(axis, record)
    for axis in axes[len(shown) :]:
        axis.remove()
    return _with_legend(figure)


def single(record):
    """Return the figure of one workload."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    _gaps(figure.subplots(), record)
    return _with_legend(figure)


def growth_series(records):
    """Return a figure with one panel per growth series."""
    run = [series for series in growth.SERIES if growth.points(records, series)[0]]
    figure = Figure(figsize=(4.6 * len(run), 4.4), layout="constrained")
    for axis, series in zip(figure.subplots(1, len(run), squeeze=False)[0], run, strict=True):
        _, lines = growth.points(records, series)
        for name, pairs in lines.items():
            axis.plot(*zip(*pairs, strict=True), label=name, **_style(name))
        axis.set(xscale="log", yscale="log", xlabel=series, ylabel=f"seconds to gap {HEADLINE:.0e}")
        axis.set_title(f"growth in {series}", fontsize="medium")
        axis.grid(alpha=0.3)
    return _with_legend(figure)


def draw_all(records, folder):
    """Save every picture for which the records have results."""
    shown = [record for record in records if record.best is not None]
    for record in shown:
        save(single(record), folder / f"{record.name}.png")
    if any(record.series is None for record in shown):
        save(grid(records), folder / "gaps.png")
    if any(record.series is not None for record in shown):
        save(growth_series(records), folder / "growth.png")


def save(figure, path):
    """Write a figure as PNG."""
    figure.savefig(path, dpi=110)


def _gaps(axis, record):
    for entry in record.entries:
        finished = [(rung.time, max(GAP_FLOOR, relative_gap(rung.objective, record.best))) for rung in entry.finished()]
        if finished:
            style = _style(entry.name)
            axis.plot(*zip(*finished, strict=True), **{**style, "linestyle": "none", "alpha": 0.4})
            axis.plot(*zip(*_frontier(finished), strict=True), label=entry.name, **style)
    for gap in GAPS:
        axis.axhline(gap, color="0.6", linewidth=0.7, linestyle=":")
    axis.set(xscale="log", yscale="log", xlabel="seconds", ylabel="relative objective gap")
    axis.set_ylim(bottom=GAP_FLOOR / 3)
    if math.log10(axis.get_xlim()[1] / axis.get_xlim()[0]) > 1.0:
        # on an axis of more than a decade the powers of ten are labels enough
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_title(record.name, fontsize="medium")


def _frontier(points):
    """Return the Pareto frontier of (time, gap) pairs: those with a smaller gap than every faster pair."""
    frontier = []
    for time, gap in sorted(points):
        if not frontier or gap < frontier[-1][1]:
            frontier.append((time, gap))
    return frontier


def _style(name):
    index = list(CONTESTANTS).index(name)
    ours = name == OURS
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 6 if ours else 4,
        "linewidth": 2.4 if ours else 1.2,
        "zorder": 3 if ours else 2,
    }


def _with_legend(figure):
    handles = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    order = [name for name in CONTESTANTS if name in handles]
    n_columns = max(1, int(figure.get_figwidth() / LEGEND_INCHES))
    figure.legend(
        [handles[name] for name in order],
        order,
        loc="outside lower center",
        ncols=n_columns,
        frameon=False,
    )
    return figure
