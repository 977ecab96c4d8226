"""Time of a grid search, ours and scikit-learn's: ``python -m benchmarks.grid_search``.

`GridSearchCV` over ten C and five folds, with one and with two processes. Each solver of scikit-learn runs at the first
rung of its ladder that is within the gap of 1e-8 at a middle and at the largest C, on the training rows of the first
fold, and the one that is the fastest there is the peer. `sknatgrad` runs at its defaults. The ratio is the peer's time
divided by ours: above 1, ours is faster.
"""

import argparse
import os
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.contestants import PEERS
from benchmarks.environment import describe, with_libraries
from benchmarks.interleaved import burst, rounds
from benchmarks.objective import mean_objective
from benchmarks.results import HEADLINE, relative_gap
from benchmarks.tables import number, seconds
from benchmarks.workloads import WORKLOADS, Problem

CS = np.logspace(-4, 4, 10)
FOLDS = 5
SOLVERS = ("newton-cholesky", "newton-cg", "lbfgs", "liblinear")
# a solver is not tried further once its fits took so many times as long as those of the fastest one so far
PATIENCE = 3.0


def ours(**settings):
    """Return our estimator."""
    from sknatgrad import NaturalGradientLogisticRegression

    return NaturalGradientLogisticRegression(**settings)


def theirs(**settings):
    """Return scikit-learn's estimator."""
    return LogisticRegression(random_state=0, **settings)


def _timed(make, problem, some_cs):
    """Return the seconds of fits at some C, and their objectives."""
    start = time.perf_counter()
    fitted = [make(C=C).fit(problem.X, problem.codes) for C in some_cs]
    spent = time.perf_counter() - start
    return spent, [
        mean_objective(problem, model.coef_, model.intercept_, C) for model, C in zip(fitted, some_cs, strict=True)
    ]


def best_peer(problem):
    """Return the settings of the fastest solver of scikit-learn, and their label."""
    train, _ = next(StratifiedKFold(FOLDS).split(problem.X, problem.codes))
    first, some_cs = Problem(problem.X[train], problem.codes[train]), (CS[len(CS) // 2], CS[-1])
    _, best = _timed(ours, first, some_cs)
    found, shortest = None, np.inf
    for name in SOLVERS:
        contestant = PEERS[name]
        if contestant.refusal(stored_sparse=False, n_classes=int(problem.codes.max()) + 1):
            continue
        tried = 0.0
        for rung in contestant.ladder:
            spent, objectives = _timed(lambda rung=rung, **C: theirs(**rung.settings, **C), first, some_cs)
            tried += spent
            if all(relative_gap(*pair) <= HEADLINE for pair in zip(objectives, best, strict=True)):
                if spent < shortest:
                    shortest, found = spent, (rung.settings, f"{name}, {rung.label}")
                break
            if tried > PATIENCE * shortest:
                break
    return found


def search(estimator, problem, n_jobs):
    """Run the grid search and return it."""
    return GridSearchCV(estimator, {"C": CS}, cv=FOLDS, n_jobs=n_jobs).fit(problem.X, problem.codes)


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid_search", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    names = ["breast_cancer", "adult_dense_standardised"]
    add("--workloads", nargs="+", choices=list(WORKLOADS), default=names, metavar="NAME", help=f"default: {names}")
    add("--jobs", type=int, nargs="+", default=[1, 2], help="processes (default: 1 2)")
    add("--repeats", type=int, default=3, help="searches of each (default: 3)")
    add("--threads", type=int, help="threads of BLAS and OpenMP in this process")
    add("--data", default=os.environ.get("SKNATGRAD_DATA"), help="folder of adult.csv.gz")
    return parser.parse_args(arguments)


def _line(name, problem, peer, n_jobs, options):
    """Return the result of a workload and a number of processes as a line of the table."""
    settings, label = peer
    estimators = (ours(), theirs(**settings))
    best = [None, None]

    def run(index):
        best[index] = search(estimators[index], problem, n_jobs).best_params_["C"]

    measures = [partial(burst, partial(run, index)) for index in range(2)]
    times = rounds(measures, 0.0, (options.repeats, options.repeats), np.random.default_rng(0))
    mine, peers = np.median(times, axis=0)
    best_cs = " and ".join(number(C) for C in dict.fromkeys(best))
    ratio = number(float(np.median(times[:, 1] / times[:, 0])))
    return f"| {name} | {n_jobs} | {seconds(mine)} | {seconds(peers)} | {ratio} | {label} | {best_cs} |"


def main(arguments=None):
    """Print the table as Markdown."""
    options = _options(arguments)
    # the processes of joblib do not inherit the filters of this one
    os.environ["PYTHONWARNINGS"] = "ignore"
    warnings.simplefilter("ignore")
    print(f"{describe(with_libraries())}\n")
    print("| workload | processes | ours | scikit-learn | ratio | its setting | best C |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with threadpool_limits(options.threads):
        for name in options.workloads:
            problem = WORKLOADS[name].make(Path(options.data) if options.data else None)
            peer = best_peer(problem)
            for n_jobs in options.jobs if peer else ():
                print(_line(name, problem, peer, n_jobs, options), flush=True)
            if peer is None:
                print(f"| {name} | | | no solver reaches the gap | | | |", flush=True)


if __name__ == "__main__":
    main()
