"""A fit on a Dask cluster, beside dask-ml's: ``python -m benchmarks.cluster``.

A LocalCluster of two processes with one thread each holds standard normal rows. One table has each solver of dask-ml
(dask-glm) and ours: seconds, passes over the blocks, and how far the objective is above its minimum. The other has ours
on one process and on two. Needs the extra ``dask``, and for the first table dask-ml, which is not among the extras.
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

# what dask-ml is asked for: each solver as it comes, and with the settings that bring it closer or there sooner
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


class FreeIntercept(Regularizer):
    """Half the squares of all coefficients but the last: the penalty of scikit-learn, and ours."""

    name = "free_intercept"

    @staticmethod
    def _penalised(beta):
        return np.append(np.ones(len(beta) - 1), 0.0)

    def f(self, beta):
        """Return its value."""
        return 0.5 * ((self._penalised(beta) * beta) ** 2).sum()

    def gradient(self, beta):
        """Return its gradient."""
        return self._penalised(beta) * beta

    def proximal_operator(self, beta, t):
        """Return the point that balances it with half the squared distance over t."""
        return beta / (1.0 + t * self._penalised(beta))


class Passes(SchedulerPlugin):
    """Counts the tasks that read blocks of X."""

    name = "passes"

    def __init__(self, keys, scheduler):
        self.keys, self.scheduler, self.reads = set(keys), scheduler, 0

    def transition(self, key, start, finish, *_, **__):
        """Take note of a task that has ended."""
        if start == "processing" and finish in {"memory", "released"}:
            task = self.scheduler.tasks.get(key)
            self.reads += task is not None and any(needed.key in self.keys for needed in task.dependencies)


def _block(part, n_rows, n_features, theta):
    random = np.random.default_rng([1, part])
    X = random.normal(size=(n_rows, n_features))
    y = (random.logistic(size=n_rows) < X @ theta + 0.5).astype(np.int64)
    return X, y


def made(n_rows, n_features, n_blocks):
    """Return rows and labels on the cluster, the blocks dealt evenly to its workers: Dask moves work, not rows."""
    client = default_client()
    workers = list(client.scheduler_info()["workers"])
    chunk = n_rows // n_blocks
    theta = 2.0 * np.random.default_rng(0).normal(size=n_features) / np.sqrt(n_features)
    parts = []
    for part in range(n_blocks):
        home = {"workers": workers[part % len(workers)], "pure": False}
        both = client.submit(_block, part, chunk, n_features, theta, **home)
        parts.append([client.submit(itemgetter(which), both, **home) for which in (0, 1)])
    wait(parts)
    X = da.concatenate([da.from_delayed(rows, (chunk, n_features), dtype=np.float64) for rows, _ in parts])
    y = da.concatenate([da.from_delayed(labels, (chunk,), dtype=np.int64) for _, labels in parts])
    return X.persist(), y.persist()


def gap(model, best, X, y):
    """Return how far the penalised loss is above that of `best`, relative to it."""
    away = X @ np.ravel(model.coef_) + float(np.ravel(model.intercept_)[0])
    least = X @ best.coef_[0] + best.intercept_[0]
    # row by row, so that what is next to nothing is not lost
    rise = np.logaddexp(0.0, away) - np.logaddexp(0.0, least) - y * (away - least)
    penalty = 0.5 * (np.sum(np.ravel(model.coef_) ** 2) - np.sum(best.coef_**2))
    return (rise.sum() + penalty) / (np.logaddexp(0.0, least) - xlogy(y, 1.0) - y * least).sum()


def side_by_side(n_rows, n_features, n_blocks, repeats):
    """Print the table of solvers."""
    from dask_ml.linear_model import LogisticRegression

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        X, y = made(n_rows, n_features, n_blocks)
        here, labels = X.compute(), y.compute()
        best = NaturalGradientLogisticRegression(tol=1e-14).fit(here, labels)
        passes = Passes(flatten(X.__dask_keys__()), cluster.scheduler)
        cluster.scheduler.add_plugin(passes)
        contestants = [("sknatgrad", "", DaskNaturalGradientLogisticRegression)]
        for name, note, settings in SOLVERS:
            options = {"solver": name.split(",")[0], **settings}
            if FREE in note:
                options["penalty"] = FreeIntercept()
                options["solver_kwargs"] = {"normalize": False, **settings.get("solver_kwargs", {})}
            contestants.append((name, note, partial(LogisticRegression, **options)))
        print(f"{n_rows:,} x {n_features} in {n_blocks} blocks\n")
        print("| | settings | seconds | passes | gap |")
        print("|---|---|---|---|---|")
        for name, note, make in contestants:
            seconds = []
            passes.reads = 0
            while len(seconds) < repeats and sum(seconds) < 60.0:
                model = make()
                begin = perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X, y)
                seconds.append(perf_counter() - begin)
            count = passes.reads / len(seconds) / n_blocks
            left = gap(model, best, here, labels)
            print(f"| {name} | {note} | {median(seconds):.2f} | {count:.1f} | {left:.1e} |", flush=True)


def scaling(n_rows, n_features, n_blocks, repeats):
    """Print seconds on one process and on two."""
    print(f"\n{n_rows:,} x {n_features} in {n_blocks} blocks\n")
    print("| processes | seconds | passes | a pass |")
    print("|---|---|---|---|")
    alone = None
    for n_workers in (1, 2):
        with (
            LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster),
        ):
            X, y = made(n_rows, n_features, n_blocks)
            seconds = []
            for _ in range(repeats):
                begin = perf_counter()
                model = DaskNaturalGradientLogisticRegression().fit(X, y)
                seconds.append(perf_counter() - begin)
            alone = alone or median(seconds)
            each = median(seconds) / model.n_passes_
            print(f"| {n_workers} | {median(seconds):.2f} | {model.n_passes_} | {each:.3f} |", flush=True)
    print(f"\nratio {alone / median(seconds):.2f}")


def overhead():
    """Print what a pass over blocks of next to nothing costs a block."""
    print("\n| blocks | milliseconds a block and pass |")
    print("|---|---|")
    for n_blocks in (16, 64, 256):
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
            X, y = made(20 * n_blocks, 5, n_blocks)
            DaskNaturalGradientLogisticRegression().fit(X, y)
            begin = perf_counter()
            model = DaskNaturalGradientLogisticRegression().fit(X, y)
            cost = (perf_counter() - begin) / model.n_passes_ / n_blocks
            print(f"| {n_blocks} | {1e3 * cost:.2f} |", flush=True)


def main():
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="leave dask-ml out")
    given = parser.parse_args()
    print(describe(with_libraries()))
    if not given.alone:
        side_by_side(1_000_000, 20, 8, given.repeats)
    scaling(10_000_000, 50, 32, given.repeats)
    overhead()


if __name__ == "__main__":
    main()
