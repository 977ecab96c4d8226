"""Growth of the time at the headline gap in n, p and K: tables and exponents."""

import numpy as np

from benchmarks.results import HEADLINE
from benchmarks.tables import Table, seconds

SERIES = ("n", "p", "K")


def points(records, series):
    """Return the sizes of a series and the (size, seconds) pairs of each contestant that has any."""
    members = sorted(
        (record for record in records if record.series == series and record.skipped is None),
        key=lambda record: record.size,
    )
    lines = {}
    for record in members:
        for entry in record.entries:
            time = record.time_of(entry, HEADLINE)
            if time is not None:
                lines.setdefault(entry.name, []).append((record.size, time))
    return [record.size for record in members], lines


def exponent(pairs):
    """Return the least-squares slope of log time against log size, or None for fewer than two sizes."""
    if len(pairs) < 2:
        return None
    sizes, times = np.log(np.array(pairs)).T
    return float(np.polyfit(sizes, times, 1)[0])


def upper_half(pairs, sizes):
    """Return the pairs at the larger half of the sizes, where fixed costs matter least."""
    larger = set(sizes[len(sizes) // 2 :])
    return [pair for pair in pairs if pair[0] in larger]


def tables(records):
    """Return a table for each growth series that was run."""
    return [_table(series, *points(records, series)) for series in SERIES if points(records, series)[0]]


def _table(series, sizes, lines):
    headers = ("contestant", *(f"{series} = {size:,}" for size in sizes), "exponent, upper half", "exponent, all")
    rows = []
    for name, pairs in lines.items():
        times = dict(pairs)
        cells = [seconds(times[size]) if size in times else "-" for size in sizes]
        slopes = [exponent(upper_half(pairs, sizes)), exponent(pairs)]
        rows.append((name, *cells, *("-" if slope is None else f"{slope:.2f}" for slope in slopes)))
    return Table(f"Growth in {series}: time to gap {HEADLINE:.0e}", headers, rows)
