"""Time of imports in new processes: ``python -m benchmarks.import_time``.

The imports alternate. The second column is the median of the differences to `sklearn.linear_model` of the same round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

REFERENCE = "sklearn.linear_model"
MODULES = (REFERENCE, "sknatgrad", "sknatgrad.inference")
CODE = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"


def import_seconds(module, cache):
    """Return the seconds of one import in a new process, with compiled modules in the folder `cache`."""
    command = [sys.executable, "-X", f"pycache_prefix={cache}", "-c", CODE.format(module)]
    # an installed package is compiled, whatever the variable says
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603 - this code
    return float(run.stdout)


def main(arguments=None):
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="imports of each module (default: 15)")
    parser.add_argument("--modules", nargs="+", default=MODULES, help="the first is the reference")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as cache:
        for module in options.modules:
            # the first import compiles, and reads files that the later ones find in the page cache
            import_seconds(module, cache)
        times = [[import_seconds(module, cache) for module in options.modules] for _ in range(options.repeats)]
    reference = statistics.median(row[0] for row in times)
    print(f"| import | seconds | more than {options.modules[0]} | |\n|---|---|---|---|")
    for index, module in enumerate(options.modules):
        median = statistics.median(row[index] for row in times)
        more = statistics.median(row[index] - row[0] for row in times)
        print(f"| {module} | {median:.3f} | {more:.3f} | {more / reference:.1%} |")


if __name__ == "__main__":
    main()
