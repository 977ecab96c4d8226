"""The command line of the benchmark suite."""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# characters: width of the tables where the output is not a terminal
LOG_WIDTH = 160


def _options():
    from benchmarks.contestants import CONTESTANTS, METRICS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--workloads", nargs="+", default=[], metavar="NAME", help="workloads or groups (default: all but growth)")
    add("--growth", action="store_true", help="also run the growth series in n, p and K")
    add("--contestants", nargs="+", choices=list(CONTESTANTS), metavar="NAME", help="default: all but --metrics")
    metrics = {"action": "store_const", "dest": "contestants", "const": list(METRICS)}
    add("--metrics", help="compare our metrics with each other, not with other solvers", **metrics)
    add("--repeats", type=int, default=5, help="interleaved repeats of the cheapest rungs (default: 5)")
    text = "the same for fits under 50 ms, unless --repeats is 0 or more than this (default: 30)"
    add("--short-repeats", type=int, default=30, help=text)
    add("--limit", type=float, default=60.0, help="seconds that one fit may take (default: 60)")
    add("--rungs", type=int, help="largest number of rungs of each ladder, the tightest included (default: all)")
    add("--threads", type=int, help="threads of BLAS and OpenMP (default: set by the libraries)")
    add("--data", default=os.environ.get("SKNATGRAD_DATA"), help="folder of adult.csv.gz and mnist_5k.csv.gz")
    add("--no-memory", dest="memory", action="store_false", help="do not measure peak memory")
    add("--output", type=Path, default=Path(__file__).parent / "results", help="folder for JSON and pictures")
    add("--page", type=Path, help="also write the results to this Markdown page, with pictures in its folder")
    add("--notes", type=Path, help="Markdown file on how the runs were made, which the page includes")
    add("--from", dest="sources", nargs="+", type=Path, metavar="JSON", help="show earlier results, run nothing")
    add("--list", action="store_true", help="list workloads and contestants")
    return parser.parse_args()


def _list(console):
    from benchmarks.contestants import CONTESTANTS
    from benchmarks.workloads import WORKLOADS

    for title, items in (("Workloads", WORKLOADS), ("Contestants", CONTESTANTS)):
        console.print(f"[bold]{title}[/bold]")
        for item in items.values():
            group = f" ({item.group})" if hasattr(item, "group") else ""
            console.print(f"  {item.name}{group}: {item.description}", highlight=False, markup=False)


def _run(options, console):
    """Run the chosen workloads, save the results after each, and return the records."""
    from benchmarks.contestants import PEERS
    from benchmarks.environment import BUSY_LOAD, load_average
    from benchmarks.report import print_workload
    from benchmarks.results import save
    from benchmarks.runner import Plan, run_workload
    from benchmarks.workloads import chosen

    if load_average() > BUSY_LOAD:
        console.print(f"Load average {load_average():.1f}: BLAS threads that wait for a core will distort the times.")
    workloads = chosen(options.workloads, growth=options.growth)
    plan = Plan(
        *(tuple(options.contestants or PEERS), options.repeats, options.short_repeats, options.limit),
        *(options.data, options.memory, options.rungs),
    )
    path = options.output / f"results-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    records, too_slow = [], {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        suite = progress.add_task("workloads", total=len(workloads))
        steps = progress.add_task("")
        for workload in workloads:
            progress.reset(steps)

            def report(remaining, text, name=workload.name):
                done = progress.tasks[steps].completed + 1
                progress.update(steps, description=f"{name}: {text}", completed=done, total=done + remaining)

            slow_in_series = too_slow.setdefault(workload.series or workload.name, set())
            records.append(run_workload(workload, plan, report, slow_in_series))
            save(path, records)
            print_workload(records[-1], console)
            progress.advance(suite)
    console.print(f"results: {path}", soft_wrap=True)
    return records


def main():
    """Run the workloads or read earlier results, then print and draw them."""
    options = _options()
    console = Console()
    if not console.is_terminal:
        # the default of 80 columns would break the lines of the tables
        console = Console(width=LOG_WIDTH)
    if options.list:
        _list(console)
        return
    if options.threads:
        from benchmarks.environment import THREAD_VARIABLES

        # the worker processes inherit the environment
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    options.output.mkdir(parents=True, exist_ok=True)
    records = _load(options, console) if options.sources else _run(options, console)
    _show(records, options, console)


def _load(options, console):
    """Read earlier results of the chosen contestants, print them, and return the records."""
    from benchmarks.report import print_workload
    from benchmarks.results import load

    records = load(options.sources)
    for record in records:
        if options.contestants:
            record.entries = [entry for entry in record.entries if entry.name in options.contestants]
        print_workload(record, console)
    return records


def _show(records, options, console):
    """Print the summary, draw the pictures, and write the page if one is asked for."""
    from benchmarks.page import write_page
    from benchmarks.pictures import draw_all
    from benchmarks.report import print_summary

    print_summary(records, console)
    draw_all(records, options.output)
    if options.page:
        notes = options.notes.read_text(encoding="utf-8") if options.notes else ""
        write_page(records, options.page, notes)
        console.print(f"page: {options.page}", soft_wrap=True)


if __name__ == "__main__":
    main()
