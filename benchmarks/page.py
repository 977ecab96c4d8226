"""The page of results in Markdown, with its pictures beside it."""

from pathlib import Path

from benchmarks import growth, pictures
from benchmarks.contestants import PEERS
from benchmarks.environment import describe
from benchmarks.tables import letter_of, machines, markdown, summary_table, workload_table

INTRODUCTION = """\
# Benchmarks

Written by `python -m benchmarks --page`; [its README](../benchmarks/README.md) says how to run it and how each number
is defined. Every contestant fits the same objective (C = 1, intercept unpenalised) over a ladder of its own tolerances.
Its time at a gap is that of its cheapest rung whose objective lies within that relative gap of the best objective any
contestant found; equal `tol` would compare nothing, as the rules differ. At gap 1e-8, `sknatgrad` stands at its
defaults.
"""


def write_page(records, path):
    """Write the page; pictures go into the same folder, named after it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    letters = machines(records)
    parts = [INTRODUCTION, _machine_list(records, letters)]
    if any(record.series is None for record in records):
        parts += ["## Summary\n", markdown(summary_table(records)), _reading_hint()]
        parts += _picture(pictures.grid(records), path, "gaps", "Objective gap against time, one line a contestant")
    parts += ["## Each workload\n"] + [_section(record, letters) for record in records if record.series is None]
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


def _reading_hint():
    return (
        "A ratio above 1 means that ours is faster. `>` and `<` are bounds, where one of the two was cut short by the "
        "limit. In the geometric mean a lower bound counts as it stands, so that the mean is one too.\n"
    )


def _section(record, letters):
    if record.skipped is not None:
        return f"### {record.name}\n\nSkipped: {record.skipped}\n"
    table = workload_table(record)
    _, _, about = table.title.partition(": ")
    return f"### {record.name}\n\n{about}; machine {letter_of(record, letters)}.\n\n{markdown(table)}"


def _picture(figure, page, kind, text):
    name = f"{page.stem}_{kind}.png"
    pictures.save(figure, Path(page.parent) / name)
    return [f"![{text}]({name})\n"]
