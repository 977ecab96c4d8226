"""Tables of results as text, for the terminal and for the page."""

import math
from dataclasses import dataclass

from benchmarks.contestants import METRICS, OURS
from benchmarks.results import GAPS, HEADLINE, relative_gap

# relative gap at which the metrics are compared
METRIC_GAP = 1e-6


# columns beside the times
RESOURCES = ("passes", "readings of X", "iterations", "peak MiB", "smallest gap")


@dataclass(frozen=True)
class Table:
    """A table of text with a title and headers."""

    title: str
    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Ratio:
    """Time of the fastest peer divided by ours: a bound if only one reached the gap, None if neither did."""

    value: float | None
    bound: str = ""
    peer: str = ""

    def __str__(self):
        """Return '12x', '> 12x' or '-'."""
        return "-" if self.value is None else f"{self.bound}{' ' if self.bound else ''}{number(self.value)}x"


def number(value):
    """Return a number with three significant digits, without an exponent between 0.001 and 100,000."""
    if value == 0 or not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def seconds(value):
    """Return a time in seconds or milliseconds."""
    return f"{number(value)} s" if value >= 1 else f"{number(1000 * value)} ms"


def ratio(record, gap):
    """Return the ratio at a gap; above the headline gap only if the peers ran all of their rungs."""
    if gap != HEADLINE and not all(entry.whole for entry in record.entries if entry.name != OURS):
        return Ratio(None)
    times = {entry.name: record.time_of(entry, gap) for entry in record.entries}
    ours = times.pop(OURS, None)
    reached = {name: time for name, time in times.items() if time is not None}
    if reached:
        peer = min(reached, key=reached.get)
        if ours is not None:
            return Ratio(reached[peer] / ours, peer=peer)
        stopped = any(entry.name == OURS and entry.timed_out for entry in record.entries)
        return Ratio(reached[peer] / record.limit, "<", peer) if stopped else Ratio(None, peer=peer)
    # only peers that the limit stopped give a bound: the others ended their ladders without reaching the gap
    stopped = any(entry.timed_out for entry in record.entries if entry.name != OURS)
    return Ratio(record.limit / ours, ">") if ours is not None and stopped else Ratio(None)


def machines(records):
    """Return a letter and the environment for each distinct environment, in order of appearance."""
    letters = {}
    for record in records:
        letters.setdefault(_key(record.environment), (chr(ord("A") + len(letters)), record.environment))
    return letters


def letter_of(record, letters):
    """Return the letter of a record's environment."""
    return letters[_key(record.environment)][0]


def _key(environment):
    # the date, the load, and the order in which libraries were loaded do not distinguish machines
    kept = {key: value for key, value in environment.items() if key not in {"date", "load", "libraries"}}
    return repr((kept, sorted(set(environment.get("libraries", ())))))


def workload_table(record):
    """Return a table with one row per contestant, the fastest at the headline gap first."""
    headers = ("contestant", *(f"gap {gap:.0e}" for gap in GAPS), *RESOURCES)
    order = sorted(record.entries, key=lambda entry: [record.time_of(entry, gap) or math.inf for gap in GAPS])
    shape = f"{record.rows:,} x {record.columns:,}, {record.classes:,} classes, {record.stored}"
    rows = [_row(record, entry) for entry in order]
    return Table(f"{record.name}: {record.description} ({shape})", headers, rows)


def _row(record, entry):
    if entry.refusal is not None:
        return (entry.name, entry.refusal[:60], *[""] * (len(GAPS) + len(RESOURCES) - 1))
    times = [_time_cell(record, entry, gap) for gap in GAPS]
    headline = record.rung_of(entry, HEADLINE)
    passes = iterations = "-"
    if headline is not None:
        passes = number(headline.time / record.pass_seconds)
        iterations = "-" if headline.iterations is None else f"{headline.iterations:,}"
    readings = "-" if entry.readings is None else f"{entry.readings:.1f}"
    peak = "-" if entry.peak_mib is None else number(entry.peak_mib)
    gaps = [relative_gap(rung.objective, record.best) for rung in entry.finished()]
    return (entry.name, *times, passes, readings, iterations, peak, f"{min(gaps):.0e}" if gaps else "-")


def _time_cell(record, entry, gap):
    time = record.time_of(entry, gap)
    if time is not None:
        return seconds(time)
    if entry.timed_out:
        return f"not reached (limit {record.limit:g} s)"
    failures = [rung.failure for rung in entry.rungs if rung.failure]
    return f"not reached ({failures[-1].partition(':')[0]})" if failures else "not reached"


def summary_table(records):
    """Return a table with one row per workload, the geometric mean of the ratios, and the smallest ratio.

    If the limit stopped every peer, the ratio is at least the limit divided by our time, and the mean includes this
    bound. If it stopped ours, the mean omits the workload.
    """
    letters = machines(records)
    headers = (
        "workload",
        "ours",
        "readings of X",
        "best peer",
        "its time",
        *(f"ratio at {gap:.0e}" for gap in GAPS),
        "machine",
    )
    shown = [record for record in records if record.series is None]
    rows = [_summary_row(record, letter_of(record, letters)) for record in shown]
    for name, reduce in (("geometric mean", _geometric_mean), ("smallest", min)):
        cells = []
        for gap in GAPS:
            known = [item for item in (ratio(record, gap) for record in shown) if item.value and item.bound != "<"]
            value = reduce([item.value for item in known]) if known else None
            at_least = any(item.bound for item in known) and reduce is _geometric_mean
            cells.append(f"{'> ' if at_least else ''}{number(value)}x of {len(known)}" if known else "-")
        rows.append((name, "", "", "", "", *cells, ""))
    return Table("Best peer's time over ours", headers, rows)


def _summary_row(record, letter):
    if record.skipped is not None:
        return (record.name, f"skipped: {record.skipped}", *[""] * (len(GAPS) + 3), letter)
    by_name = {entry.name: entry for entry in record.entries}
    ours = record.time_of(by_name[OURS], HEADLINE) if OURS in by_name else None
    ratios = [ratio(record, gap) for gap in GAPS]
    peer = ratios[0].peer
    theirs = record.time_of(by_name[peer], HEADLINE) if peer else None
    cells = [seconds(time) if time is not None else "not reached" for time in (ours, theirs)]
    readings = by_name[OURS].readings if OURS in by_name else None
    shown = "-" if readings is None else f"{readings:.1f}"
    return (record.name, cells[0], shown, peer or "-", cells[1], *map(str, ratios), letter)


def metrics_table(records):
    """Return a table with one row per workload and one column per metric: time and iterations to gap 1e-6."""
    rows = []
    for record in records:
        entries = {entry.name: entry for entry in record.entries}
        cells = [_metric_cell(record, entries[name]) if name in entries else "-" for name in METRICS]
        rows.append((record.name, *cells))
    headers = ("workload", *(name.removeprefix("fisher=") for name in METRICS))
    return Table(f"Time and iterations to gap {METRIC_GAP:.0e}", headers, rows)


def _metric_cell(record, entry):
    rung = record.rung_of(entry, METRIC_GAP)
    if rung is not None:
        return f"{seconds(rung.time)} ({rung.iterations:,})"
    return f"over {record.limit:g} s" if entry.timed_out else "over 1,000 iterations"


def markdown(table):
    """Return a table in Markdown."""

    def line(cells):
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(table.headers), "|---" * len(table.headers) + "|", *map(line, table.rows)]) + "\n"


def _geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))
