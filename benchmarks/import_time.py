"""Time of imports in new processes: ``python -m benchmarks.import_time``.

The imports alternate. The second column is the median of the differences to `sklearn.linear_model` of the same round.
"""

import argparse
import statistics
import subprocess
import sys

REFERENCE = "sklearn.linear_model"
MODULES = (REFERENCE, "sknatgrad", "sknatgrad.inference")
CODE = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"


def import_seconds(module):
    """Return the seconds of one import in a new process."""
    command = [sys.executable, "-c", CODE.format(module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603 - this code


def main(arguments=None):
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="imports of each module (default: 15)")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="the first is the reference")
    options = parser.parse_args(arguments)
    for module in options.modules:
        # the first import compiles, and reads files that the later ones find in the page cache
        import_seconds(module)
    times = [[import_seconds(module) for module in options.modules] for _ in range(options.repeats)]
    reference = statistics.median(row[0] for row in times)
    print(f"| import | seconds | more than {options.modules[0]} | |\n|---|---|---|---|")
    for index, module in enumerate(options.modules):
        median = statistics.median(row[index] for row in times)
        more = statistics.median(row[index] - row[0] for row in times)
        print(f"| {module} | {median:.3f} | {more:.3f} | {more / reference:.1%} |")


if __name__ == "__main__":
    main()
