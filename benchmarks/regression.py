"""Times of two checkouts side by side: ``python -m benchmarks.regression BEFORE AFTER``.

BEFORE and AFTER are folders that contain the package ``sknatgrad``. Each has a process of its own, and the two
processes are timed in turn, in random order. The ratio is the median over the pairs of AFTER's time divided by
BEFORE's: above 1, AFTER is slower. Its spread is a bootstrap interval of 95 %, which resamples pairs of processes and
the pairs of times that each gave, because two processes of the same code differ too. A ratio has moved if its interval
excludes 1.

The exit status is 1 if a workload is slower beyond its spread and beyond the threshold, or if AFTER fails.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.environment import THREAD_VARIABLES
from benchmarks.interleaved import burst, rounds
from benchmarks.workloads import WORKLOADS, DataUnavailableError, chosen

# rows of a batch of partial_fit
BATCH_ROWS = 500
# pairs of times that each pair of processes gives: fewest and most
PAIRS = (3, 25)
# resamples of the bootstrap, and the proportions of its interval
RESAMPLES, INTERVAL = 2000, (0.025, 0.975)


def _fit(make, problem):
    return make().fit(problem.X, problem.codes, problem.weight).coef_


def _partial_fit(make, problem):
    model, classes = make(), np.arange(problem.codes.max() + 1)
    for start in range(0, len(problem.codes), BATCH_ROWS):
        rows = slice(start, start + BATCH_ROWS)
        weight = None if problem.weight is None else problem.weight[rows]
        model.partial_fit(problem.X[rows], problem.codes[rows], classes, weight)
    return model.coef_


def _predict_proba(make, problem):
    """Return the probabilities of a model that is fitted once; only later calls are timed."""
    if not hasattr(make, "fitted"):
        make.fitted = make().fit(problem.X, problem.codes, problem.weight)
    return make.fitted.predict_proba(problem.X)


CALLS = {"fit": _fit, "partial_fit": _partial_fit, "predict_proba": _predict_proba}


def _estimator_of(checkout):
    """Return a function that makes an estimator of the checkout's own package."""
    import sknatgrad

    if not Path(sknatgrad.__file__).is_relative_to(checkout):
        raise ImportError(f"{checkout} contains no package sknatgrad")
    return partial(sknatgrad.NaturalGradientLogisticRegression)


def serve(pipe, checkout, workload, call, data_folder):
    """Load the package of a checkout and a workload, then answer each number of calls with their median time."""
    warnings.simplefilter("ignore")
    # the checkout's own package, with the data of this suite
    sys.path.insert(0, checkout)
    try:
        make = _estimator_of(checkout)
        problem = WORKLOADS[workload].make(Path(data_folder) if data_folder else None)
        answer = CALLS[call](make, problem)
    except Exception as error:  # noqa: BLE001 - the failure of a checkout is a result
        skipped = isinstance(error, DataUnavailableError)
        pipe.send(("skipped" if skipped else "failed", f"{type(error).__name__}: {error}"[:300]))
        return
    pipe.send(("ready", np.asarray(answer)))
    while (n_calls := pipe.recv()) is not None:
        pipe.send(burst(partial(CALLS[call], make, problem), n_calls))


class Process:
    """Handle of the process of one checkout."""

    def __init__(self, checkout, workload, options):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, str(checkout), workload, options.call, options.data)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def wait(self):
        """Return 'ready', 'skipped' or 'failed' with the answer or the reason, once the data are loaded."""
        self.status, answer = self._pipe.recv()
        return self.status, answer

    def seconds(self, n_calls):
        """Return the median time of so many calls."""
        self._pipe.send(n_calls)
        return self._pipe.recv()

    def end(self):
        """End the process."""
        if self.status == "ready":
            self._pipe.send(None)
        self._process.join()
        self._pipe.close()


@dataclass
class Comparison:
    """The times of one workload: for each pair of processes, the (before, after) pairs of seconds."""

    workload: str
    pairs: list[list[tuple[float, float]]] = field(default_factory=list)
    difference: float | None = None  # largest difference of the two answers, relative to the largest value
    failure: str | None = None
    skipped: bool = False

    @property
    def before(self):
        """Median seconds of BEFORE."""
        return statistics.median(before for pairs in self.pairs for before, _ in pairs)

    @property
    def after(self):
        """Median seconds of AFTER."""
        return statistics.median(after for pairs in self.pairs for _, after in pairs)

    @property
    def ratio(self):
        """Median of the paired ratios, AFTER's time over BEFORE's."""
        return statistics.median(after / before for pairs in self.pairs for before, after in pairs)

    def interval(self, seed=0):
        """Return the ends of the bootstrap interval of the ratio."""
        random = np.random.default_rng(seed)
        ratios = [np.array([after / before for before, after in pairs]) for pairs in self.pairs]
        medians = []
        for _ in range(RESAMPLES):
            launches = random.integers(len(ratios), size=len(ratios))
            medians.append(np.median(np.concatenate([random.choice(ratios[i], len(ratios[i])) for i in launches])))
        return tuple(np.quantile(medians, INTERVAL))

    def verdict(self, threshold):
        """Return 'slower', 'faster', 'slightly slower' within the threshold, or '' if the ratio has not moved."""
        low, high = self.interval()
        if low > 1.0:
            return "slower" if self.ratio > 1.0 + threshold else "slightly slower"
        return "faster" if high < 1.0 else ""


def compare(workload, options, random):
    """Time both checkouts on a workload, and return the `Comparison`."""
    comparison = Comparison(workload)
    for _ in range(options.processes):
        processes = [Process(checkout, workload, options) for checkout in (options.before, options.after)]
        try:
            # both start at the same time
            started = [process.wait() for process in processes]
            for name, (status, reason) in zip(("BEFORE", "AFTER"), started, strict=True):
                if status != "ready":
                    comparison.failure = f"{status} in {name}: {reason}"
                    comparison.skipped = status == "skipped" or name == "BEFORE"
                    return comparison
            answers = [answer for _, answer in started]
            largest = max(float(np.abs(answers[0]).max()), np.finfo(float).tiny)
            comparison.difference = float(np.abs(answers[1] - answers[0]).max()) / largest
            measures, budget = [process.seconds for process in processes], options.seconds / options.processes
            comparison.pairs.append([tuple(pair) for pair in rounds(measures, budget, PAIRS, random).tolist()])
        finally:
            for process in processes:
                process.end()
    return comparison


def line(comparison, threshold):
    """Return the result of a workload as a row of the table."""
    name = f"{comparison.workload:28s}"
    if comparison.failure:
        return f"{name} {comparison.failure}"
    low, high = comparison.interval()
    return (
        f"{name} {1e3 * comparison.before:10.2f} {1e3 * comparison.after:10.2f} {comparison.ratio:7.3f} "
        f"[{low:.3f}, {high:.3f}] {comparison.difference:9.0e}  {comparison.verdict(threshold)}"
    ).rstrip()


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("before", type=lambda text: Path(text).resolve(), metavar="BEFORE")
    add("after", type=lambda text: Path(text).resolve(), metavar="AFTER")
    add("--workloads", nargs="+", default=["small"], metavar="NAME", help="workloads, groups or sets (default: small)")
    add("--call", choices=list(CALLS), default="fit", help="the call that is timed (default: fit)")
    add("--threshold", type=float, default=0.03, help="slow-down that is an error (default: 0.03)")
    add("--seconds", type=float, default=10.0, help="seconds of calls for each workload (default: 10)")
    add("--processes", type=int, default=3, help="pairs of processes for each workload (default: 3)")
    add("--threads", type=int, help="threads of BLAS and OpenMP (default: set by the libraries)")
    add("--data", default=os.environ.get("SKNATGRAD_DATA"), help="folder of adult.csv.gz and mnist_5k.csv.gz")
    add("--seed", type=int, default=0, help="seed of the order in which the processes are timed (default: 0)")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Print a row for each workload; return the exit status."""
    options = _options(arguments)
    if options.threads:
        # the processes inherit the environment
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    random = np.random.default_rng(options.seed)
    print(f"{options.call}; before: {options.before}; after: {options.after}")
    print(f"{'workload':28s} {'before, ms':>10s} {'after, ms':>10s} {'ratio':>7s} {'95 % interval':14s} {'change':>9s}")
    wrong, ratios = [], []
    for workload in chosen(options.workloads, growth=False):
        comparison = compare(workload.name, options, random)
        print(line(comparison, options.threshold), flush=True)
        if comparison.failure is None:
            ratios.append(comparison.ratio)
        slower = comparison.failure is None and comparison.verdict(options.threshold) == "slower"
        if slower or (comparison.failure and not comparison.skipped):
            wrong.append(workload.name)
    if ratios:
        print(f"{'geometric mean':28s} {'':10s} {'':10s} {statistics.geometric_mean(ratios):7.3f}")
    if wrong:
        print(f"slower by more than {options.threshold:.0%} and their spread, or failed: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
