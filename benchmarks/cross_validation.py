"""Time of a cross-validation over C, ours and scikit-learn's: ``python -m benchmarks.cross_validation``.

Ten values of C and five folds. `LogisticRegressionCV` runs with each solver at growing accuracy, until every model is
within a relative gap of 1e-6 of the lowest objective that any contestant reached for its training rows. The solver
that takes the least time is the peer. `NaturalGradientLogisticRegressionCV` and `GridSearchCV` of ours run at their
defaults. Ratios are the other time divided by ours: above 1, ours is faster. Peers run once, each in a process of its
own, and are stopped after a limit; ours is a median.
"""

import argparse
import multiprocessing
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.environment import describe, with_libraries
from benchmarks.objective import mean_objective
from benchmarks.results import relative_gap
from benchmarks.tables import number, seconds
from benchmarks.workloads import WORKLOADS, Problem

CS = np.logspace(-4, 4, 10)
FOLDS = 5
GAP = 1e-6
# tolerances of each solver, from the loosest to the tightest
SOLVERS = {
    "newton-cholesky": (1e-4, 1e-6, 1e-8),
    "newton-cg": (1e-4, 1e-6, 1e-8),
    "lbfgs": (1e-4, 1e-6, 1e-8),
}
NAMES = ["breast_cancer", "digits", "adult_dense_standardised", "adult_dense_raw", "tall_20"]


def ours(n_folds=FOLDS):
    """Return our estimator with cross-validation."""
    from sknatgrad import NaturalGradientLogisticRegressionCV

    return NaturalGradientLogisticRegressionCV(Cs=CS, cv=n_folds)


def single():
    """Return our estimator of one model."""
    from sknatgrad import NaturalGradientLogisticRegression

    return NaturalGradientLogisticRegression()


def objectives(problem, paths):
    """Return the objective of each model on its training rows, (folds, Cs)."""
    values = np.empty(paths.shape[:3:2])
    for fold, (train, _) in enumerate(StratifiedKFold(FOLDS).split(problem.X, problem.codes)):
        rows = Problem(problem.X[train], problem.codes[train])
        for place, C in enumerate(CS):
            theta = paths[fold, 0, place]
            values[fold, place] = mean_objective(rows, theta[:, :-1], theta[:, -1], C)
    return values


def _peer(pipe, name, folder, settings, threads):
    """Fit a peer in this process, and send its seconds and its coefficients."""
    warnings.simplefilter("ignore")
    problem = WORKLOADS[name].make(folder)
    with threadpool_limits(threads):
        model = LogisticRegressionCV(
            Cs=CS, cv=FOLDS, scoring="neg_log_loss", l1_ratios=(0.0,), use_legacy_attributes=False, **settings
        )
        start = time.perf_counter()
        model.fit(problem.X, problem.codes)
        pipe.send((time.perf_counter() - start, model.coefs_paths_))


def run_peer(name, folder, settings, options):
    """Return the seconds and the coefficients of a peer, or None if it takes longer than the limit."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_peer, args=(theirs, name, folder, settings, options.threads), daemon=True)
    process.start()
    theirs.close()
    try:
        return pipe.recv() if pipe.poll(options.limit) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


def best_peer(name, folder, problem, lowest, options):
    """Return the seconds and the label of the fastest setting that is accurate enough, and the lowest objectives."""
    found, shortest = "none within the gap", np.inf
    for solver, tolerances in SOLVERS.items():
        for tol in tolerances:
            answer = run_peer(name, folder, {"solver": solver, "tol": tol, "max_iter": 10**5}, options)
            if answer is None:
                break
            spent, paths = answer
            values = objectives(problem, paths)
            lowest = np.minimum(lowest, values)
            gaps = [relative_gap(*pair) for pair in zip(values.ravel(), lowest.ravel(), strict=True)]
            print(f"  {name}: {solver}, tol={tol:g}: {seconds(spent)}, largest gap {max(gaps):.0e}", flush=True)
            if max(gaps) <= GAP:
                if spent < shortest:
                    shortest, found = spent, f"{solver}, tol={tol:g}"
                break
            if spent > shortest:
                break
    return shortest, found, lowest


def timed(call, repeats):
    """Return the median seconds of some calls, after one that is not counted, and the last result."""
    result, times = call(), []
    for _ in range(repeats):
        time.sleep(0.2)
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def line(name, folder, options):
    """Return the result of a workload as a line of the table."""
    problem = WORKLOADS[name].make(folder)
    X, y = problem.X, problem.codes
    mine, model = timed(lambda: ours().fit(X, y), options.repeats)
    more_folds, _ = timed(lambda: ours(2 * FOLDS).fit(X, y), options.repeats)
    one_fit, _ = timed(lambda: single().fit(X, y), options.repeats)
    grid, _ = timed(lambda: GridSearchCV(single(), {"C": CS}, cv=FOLDS, scoring="neg_log_loss").fit(X, y), 1)
    values = objectives(problem, model.coefs_paths_)
    theirs, label, lowest = (
        (np.inf, "not run", values) if options.no_peers else best_peer(name, folder, problem, values, options)
    )
    gap = max(relative_gap(*pair) for pair in zip(values.ravel(), lowest.ravel(), strict=True))
    ratio = number(theirs / mine) if np.isfinite(theirs) else f"> {number(options.limit / mine)}"
    ours_alone = f"{seconds(mine)} | {mine / one_fit:.1f} | {gap:.0e} | {more_folds / mine:.2f}"
    return f"| {name} | {ours_alone} | {number(grid / mine)} | {ratio} | {label} |"


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cross_validation", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add("--workloads", nargs="+", choices=list(WORKLOADS), default=NAMES, metavar="NAME", help=f"default: {NAMES}")
    add("--repeats", type=int, default=5, help="runs of ours (default: 5)")
    add("--limit", type=float, default=120.0, help="seconds that a peer may take (default: 120)")
    add("--no-peers", action="store_true", help="run ours alone")
    add("--threads", type=int, help="threads of BLAS and OpenMP")
    add("--data", default=os.environ.get("SKNATGRAD_DATA"), help="folder of adult.csv.gz and mnist_5k.csv.gz")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Print the table as Markdown."""
    options = _options(arguments)
    warnings.simplefilter("ignore")
    print(f"{describe(with_libraries())}\n")
    print(
        "| workload | ours | in single fits | largest gap | 10 folds | our GridSearchCV | scikit-learn | its setting |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    folder = Path(options.data) if options.data else None
    with threadpool_limits(options.threads):
        for name in options.workloads:
            print(line(name, folder, options), flush=True)


if __name__ == "__main__":
    main()
