"""Fits on a Dask cluster, compared with dask-ml: ``python -m benchmarks.cluster``.

A LocalCluster of two processes with one thread each holds standard normal rows. The first table compares the solvers of
dask-ml (dask-glm) with ours: seconds, passes over the blocks, and the relative gap to the minimum of the objective. The
second table has the time of our fit on one process and on two, and the third the overhead per block. The benchmark
needs the extra ``dask`` and, for the first table, dask-ml, which none of the extras installs.
"""

import argparse
import warnings
from functools import partial
from operator import itemgetter
from statistics import median
from time import perf_counter

import dask.array as da
import numpy as np
from dask.core import flatten
from distributed import Client, LocalCluster, default_client, wait
from distributed.diagnostics.plugin import SchedulerPlugin
from scipy.special import xlogy

try:
    from dask_glm.regularizers import Regularizer
except ImportError:
    Regularizer = object
from benchmarks.environment import describe, with_libraries
from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.dask import DaskNaturalGradientLogisticRegression

# solvers of dask-ml, each at its defaults and, where they help, with settings that make it faster or more accurate
FREE = "free intercept"
SOLVERS = [
    ("admm", "", {}),
    ("admm", f"rho=12500, 1e-8, {FREE}", {"solver_kwargs": {"rho": 12_500.0, "abstol": 1e-8, "reltol": 1e-8}}),
    ("lbfgs", "", {}),
    ("lbfgs", FREE, {}),
    ("newton, no penalty", "", {}),
    ("newton, no penalty", "not standardised", {"solver_kwargs": {"normalize": False}}),
    ("gradient_descent, no penalty", "", {}),
    ("proximal_grad", "", {}),
    ("proximal_grad", f"tol=1e-14, {FREE}", {"tol": 1e-14, "max_iter": 1000}),
]


# seconds of all fits of one solver, after which it is not repeated
MAX_SECONDS = 60.0


class FreeIntercept(Regularizer):
    """Half the sum of squares of all coefficients but the last: the penalty of scikit-learn and of this package."""

    name = "free_intercept"

    @staticmethod
    def _penalised(beta):
        return np.append(np.ones(len(beta) - 1), 0.0)

    def f(self, beta):
        """Return the penalty."""
        return 0.5 * ((self._penalised(beta) * beta) ** 2).sum()

    def gradient(self, beta):
        """Return the gradient of the penalty."""
        return self._penalised(beta) * beta

    def proximal_operator(self, beta, t):
        """Return the minimiser of the penalty plus the squared distance from `beta` divided by 2 t."""
        return beta / (1.0 + t * self._penalised(beta))


class PassCounter(SchedulerPlugin):
    """Scheduler plugin that counts the tasks that read blocks of X."""

    name = "passes"

    def __init__(self, keys, scheduler):
        self.keys, self.scheduler, self.reads = set(keys), scheduler, 0

    def transition(self, key, start, finish, *_, **__):
        """Count a task that has finished if it depends on a block of X."""
        if start == "processing" and finish in {"memory", "released"}:
            task = self.scheduler.tasks.get(key)
            self.reads += task is not None and any(needed.key in self.keys for needed in task.dependencies)


def _block(part, n_rows, n_features, theta):
    random = np.random.default_rng([1, part])
    X = random.normal(size=(n_rows, n_features))
    y = (random.logistic(size=n_rows) < X @ theta + 0.5).astype(np.int64)
    return X, y


def simulated(n_rows, n_features, n_blocks):
    """Return rows and labels on the cluster, with the blocks distributed evenly over its workers."""
    client = default_client()
    workers = list(client.scheduler_info()["workers"])
    chunk = n_rows // n_blocks
    theta = 2.0 * np.random.default_rng(0).normal(size=n_features) / np.sqrt(n_features)
    parts = []
    for part in range(n_blocks):
        placement = {"workers": workers[part % len(workers)], "pure": False}
        both = client.submit(_block, part, chunk, n_features, theta, **placement)
        parts.append([client.submit(itemgetter(which), both, **placement) for which in (0, 1)])
    wait(parts)
    X = da.concatenate([da.from_delayed(rows, (chunk, n_features), dtype=np.float64) for rows, _ in parts])
    y = da.concatenate([da.from_delayed(labels, (chunk,), dtype=np.int64) for _, labels in parts])
    return X.persist(), y.persist()


def gap(model, best, X, y):
    """Return the difference of the penalised loss from that of `best`, relative to the loss of `best`."""
    logits = X @ np.ravel(model.coef_) + float(np.ravel(model.intercept_)[0])
    best_logits = X @ best.coef_[0] + best.intercept_[0]
    # subtract row by row, because the difference of the sums would lose a small gap to rounding
    differences = np.logaddexp(0.0, logits) - np.logaddexp(0.0, best_logits) - y * (logits - best_logits)
    penalty = 0.5 * (np.sum(np.ravel(model.coef_) ** 2) - np.sum(best.coef_**2))
    best_loss = (np.logaddexp(0.0, best_logits) - xlogy(y, 1.0) - y * best_logits).sum()
    return (differences.sum() + penalty) / best_loss


def contestants():
    """Return the name, a note and a constructor of each solver."""
    from dask_ml.linear_model import LogisticRegression

    found = [("sknatgrad", "", DaskNaturalGradientLogisticRegression)]
    for name, note, settings in SOLVERS:
        options = {"solver": name.split(",")[0], **settings}
        if FREE in note:
            options["penalty"] = FreeIntercept()
            options["solver_kwargs"] = {"normalize": False, **settings.get("solver_kwargs", {})}
        found.append((name, note, partial(LogisticRegression, **options)))
    return found


def compare(n_rows, n_features, n_blocks, repeats):
    """Print the table of solvers."""
    solvers = contestants()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        X, y = simulated(n_rows, n_features, n_blocks)
        rows, labels = X.compute(), y.compute()
        best = NaturalGradientLogisticRegression(tol=1e-14).fit(rows, labels)
        passes = PassCounter(flatten(X.__dask_keys__()), cluster.scheduler)
        cluster.scheduler.add_plugin(passes)
        print(f"{n_rows:,} x {n_features} in {n_blocks} blocks\n")
        print("| | settings | seconds | passes | gap |")
        print("|---|---|---|---|---|")
        for name, note, make in solvers:
            seconds = []
            passes.reads = 0
            while len(seconds) < repeats and sum(seconds) < MAX_SECONDS:
                model = make()
                start = perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X, y)
                seconds.append(perf_counter() - start)
            count = passes.reads / len(seconds) / n_blocks
            relative_gap = gap(model, best, rows, labels)
            print(f"| {name} | {note} | {median(seconds):.2f} | {count:.1f} | {relative_gap:.1e} |", flush=True)


def scaling(n_rows, n_features, n_blocks, repeats):
    """Print the time of our fit on one process and on two."""
    print(f"\n{n_rows:,} x {n_features} in {n_blocks} blocks\n")
    print("| processes | seconds | passes | seconds per pass |")
    print("|---|---|---|---|")
    on_one = None
    for n_workers in (1, 2):
        with (
            LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster),
        ):
            X, y = simulated(n_rows, n_features, n_blocks)
            seconds = []
            for _ in range(repeats):
                start = perf_counter()
                model = DaskNaturalGradientLogisticRegression().fit(X, y)
                seconds.append(perf_counter() - start)
            on_one = on_one or median(seconds)
            per_pass = median(seconds) / model.n_passes_
            print(f"| {n_workers} | {median(seconds):.2f} | {model.n_passes_} | {per_pass:.3f} |", flush=True)
    print(f"\nratio {on_one / median(seconds):.2f}")


def overhead():
    """Print the cost per block of a pass over blocks of 20 rows, where the arithmetic is negligible."""
    print("\n| blocks | milliseconds per block and pass |")
    print("|---|---|")
    for n_blocks in (16, 64, 256):
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
            X, y = simulated(20 * n_blocks, 5, n_blocks)
            DaskNaturalGradientLogisticRegression().fit(X, y)
            start = perf_counter()
            model = DaskNaturalGradientLogisticRegression().fit(X, y)
            cost = (perf_counter() - start) / model.n_passes_ / n_blocks
            print(f"| {n_blocks} | {1e3 * cost:.2f} |", flush=True)


def main():
    """Run the three benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="omit the comparison with dask-ml")
    options = parser.parse_args()
    print(describe(with_libraries()))
    if not options.alone:
        compare(1_000_000, 20, 8, options.repeats)
    scaling(10_000_000, 50, 32, options.repeats)
    overhead()


if __name__ == "__main__":
    main()
