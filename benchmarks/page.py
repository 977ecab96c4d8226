"""The page of results in Markdown, with its pictures."""

from pathlib import Path

from benchmarks import growth, pictures
from benchmarks.contestants import PEERS
from benchmarks.environment import describe
from benchmarks.tables import letter_of, machines, markdown, summary_table, workload_table

INTRODUCTION = """\
# Benchmarks

This page is written by `python -m benchmarks --page`. The [README](../benchmarks/README.md) of the suite describes how
to run it and defines each number. Every contestant (solver) fits the same objective, with C = 1 and an unpenalised
intercept, at several settings of its own tolerance; each setting is a rung. The time at a gap is that of the cheapest
rung whose objective is within that relative gap of the lowest objective that any contestant reached. Fits at equal
`tol` would not be comparable, because the stopping rules differ. At gap 1e-8, `sknatgrad` runs at its defaults.
"""
READING_HINT = """\
The peers are the contestants other than `sknatgrad`. The ratio is the time of the best peer divided by ours; above 1,
ours is faster. `>` and `<` mark bounds, where the limit stopped one of the two. The geometric mean takes a lower bound
as the ratio, so it is a lower bound too.
"""
COLUMNS_HINT = """\
The limit is the time that one fit may take. Passes are the time at gap 1e-8 in units of one `X @ W` and one `X.T @ R`;
peak MiB is the growth of memory during one fit; the smallest gap is that of the most accurate rung.
"""


def write_page(records, path, notes=""):
    """Write the page, and its pictures into the same folder, with names that begin with that of the page.

    `notes` is Markdown on how the runs were made, which the records do not contain.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    letters = machines(records)
    parts = [INTRODUCTION, _machine_list(records, letters)] + ([notes] if notes else [])
    if any(record.series is None for record in records):
        parts += ["## Summary\n", markdown(summary_table(records)), READING_HINT]
        parts += _picture(pictures.grid(records), path, "gaps", "Objective gap against time, one line per contestant")
    parts += ["## Each workload\n", COLUMNS_HINT]
    parts += [_section(record, letters) for record in records if record.series is None]
    series = growth.tables(records)
    if series:
        parts.append("## Growth\n")
        parts += [f"{table.title}.\n\n{markdown(table)}" for table in series]
        parts += _picture(pictures.growth_series(records), path, "growth", "Time against size")
    parts += ["## Contestants\n", "\n".join(f"- **{item.name}**: {item.description}." for item in PEERS.values())]
    path.write_text("\n".join(parts) + "\n")


def _machine_list(records, letters):
    lines = []
    for letter, environment in letters.values():
        dates = sorted({record.environment["date"] for record in records if letter_of(record, letters) == letter})
        lines.append(f"- **{letter}** ({' to '.join(dict.fromkeys([dates[0], dates[-1]]))}): {describe(environment)}")
    return "\n".join(lines) + "\n"


def _section(record, letters):
    if record.skipped is not None:
        return f"### {record.name}\n\nSkipped: {record.skipped}\n"
    table = workload_table(record)
    _, _, description = table.title.partition(": ")
    return f"### {record.name}\n\n{description}; machine {letter_of(record, letters)}.\n\n{markdown(table)}"


def _picture(figure, page, kind, text):
    name = f"{page.stem}_{kind}.png"
    pictures.save(figure, Path(page.parent) / name)
    return [f"![{text}]({name})\n"]
