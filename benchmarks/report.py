"""Output of the tables to the terminal."""

from rich.table import Table as RichTable

from benchmarks import growth
from benchmarks.contestants import METRICS, OURS
from benchmarks.environment import describe
from benchmarks.tables import machines, markdown, metrics_table, summary_table, workload_table


def print_workload(record, console):
    """Print the results of one workload."""
    if record.skipped is not None:
        console.print(f"{record.name} skipped: {record.skipped}", markup=False)
        return
    _show(workload_table(record), console)


def print_summary(records, console):
    """Print the comparison over all workloads, the growth series, and the machines."""
    compared = [record for record in records if any(entry.name in METRICS for entry in record.entries)]
    if compared:
        _show(metrics_table(compared), console)
        # for the table in docs/choosing_a_metric.md
        console.print(markdown(metrics_table(compared)), markup=False, highlight=False, soft_wrap=True)
    if any(record.series is None for record in records if record not in compared):
        _show(summary_table(records), console)
    for table in growth.tables(records):
        _show(table, console)
    for letter, environment in machines(records).values():
        console.print(f"{letter}: {describe(environment)}", markup=False, highlight=False)


def _show(table, console):
    shown = RichTable(title=table.title, title_justify="left")
    for index, header in enumerate(table.headers):
        shown.add_column(header, justify="right" if index else "left")
    for row in table.rows:
        shown.add_row(*row, style="bold" if row[0] == OURS else None)
    console.print(shown)
