"""One pass in batches, compared with a fit to all rows and with SGD: ``python -m benchmarks.streaming``.

Prints three tables in Markdown: the squared error of the coefficients, relative to that of maximum likelihood; rows per
second, early and late in a stream; and the held-out log loss on the unscaled adult data.
"""

import argparse
import os
import warnings
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.utils import gen_batches

from sknatgrad import NaturalGradientLogisticRegression

N_ROWS, N_FEATURES, BATCH = 20_000, 10, 100
GRID = [
    {"alpha": alpha, "average": average, **schedule}
    for alpha, average, schedule in product(
        (1e-6, 1e-5, 1e-4, 1e-3),
        (False, True),
        (
            {"learning_rate": "optimal"},
            *({"learning_rate": "invscaling", "eta0": eta0} for eta0 in (0.03, 0.3)),
            *({"learning_rate": "constant", "eta0": eta0} for eta0 in (1e-3, 1e-2)),
        ),
    )
]


def one_pass(model, X, y, classes, size=BATCH):
    """Update a model with all rows once, in batches."""
    for batch in gen_batches(len(y), size):
        model.partial_fit(X[batch], y[batch], classes=classes)
    return model


def simulated(n_classes, random):
    """Return rows, labels and the true coefficients, which sum to zero over classes."""
    X = random.normal(size=(N_ROWS, N_FEATURES))
    theta = 0.5 * random.normal(size=(n_classes, N_FEATURES + 1))
    theta -= theta.mean(axis=0)
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return X, (logits + random.gumbel(size=logits.shape)).argmax(axis=1), theta


def _error(model, theta):
    truth = theta if len(theta) > 2 else theta[1:] - theta[:1]
    return ((np.column_stack([model.coef_, model.intercept_]) - truth) ** 2).sum()


def efficiency(n_classes, repetitions, *, grid, seed=0):
    """Return the mean squared error of each method, divided by that of maximum likelihood.

    SGD is included only for two classes: with more it fits one class against the rest, a model with other coefficients.
    """
    random, classes = np.random.default_rng(seed), np.arange(n_classes)
    methods = {
        f"`fisher='{fisher}'`": lambda fisher=fisher: NaturalGradientLogisticRegression(fisher=fisher, random_state=0)
        for fisher in ("true", "empirical", "kronecker", "diagonal")
    }
    if n_classes == 2:
        methods["SGD, defaults"] = lambda: SGDClassifier(loss="log_loss", random_state=0)
        for index, settings in enumerate(grid):
            methods[f"grid {index}"] = lambda settings=settings: SGDClassifier("log_loss", random_state=0, **settings)
    errors = dict.fromkeys(methods, 0.0)
    reference = 0.0
    for _ in range(repetitions):
        X, y, theta = simulated(n_classes, random)
        reference += _error(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), theta)
        for name, make in methods.items():
            errors[name] += _error(one_pass(make(), X, y, classes), theta)
    ratios = {name: error / reference for name, error in errors.items()}
    return _with_best_of_grid(ratios, grid)


def _with_best_of_grid(scores, grid):
    """Return the scores by method, with those of the grid replaced by the lowest of them."""
    in_grid = {name: score for name, score in scores.items() if name.startswith("grid")}
    others = {name: score for name, score in scores.items() if name not in in_grid}
    if in_grid:
        best = min(in_grid, key=in_grid.get)
        others[f"SGD, best of {len(grid)}: {grid[int(best.split()[1])]}"] = in_grid[best]
    return others


def adult(folder):
    """Return the held-out log loss of each method on the unscaled adult data, averaged over five splits.

    The rows of each split are in random order.
    """
    from benchmarks.workloads import _adult

    X, y, _ = _adult(stored_sparse=False, standardised=False, folder=folder)
    methods = {
        "one pass, `fisher='true'`": lambda A, b: one_pass(NaturalGradientLogisticRegression(), A, b, [0, 1]),
        "SGD, defaults": lambda A, b: one_pass(SGDClassifier(loss="log_loss", random_state=0), A, b, [0, 1]),
    }
    for index, settings in enumerate(GRID):
        methods[f"grid {index}"] = lambda A, b, settings=settings: one_pass(
            SGDClassifier("log_loss", random_state=0, **settings), A, b, [0, 1]
        )
    losses = dict.fromkeys(["fit to all rows", *methods], 0.0)
    for split in range(5):
        order = np.random.default_rng(split).permutation(len(y))
        test, train = order[:10_000], order[10_000:]
        models = {"fit to all rows": NaturalGradientLogisticRegression().fit(X[train], y[train])}
        models.update({name: make(X[train], y[train]) for name, make in methods.items()})
        for name, model in models.items():
            losses[name] += log_loss(y[test], model.predict_proba(X[test])) / 5
    return _with_best_of_grid(losses, GRID)


def throughput(n_classes, size, n_features=20, n_batches=400):
    """Return rows per second in the second and the last quarter of a stream, as medians over batches."""
    random = np.random.default_rng(0)
    X = random.normal(size=(n_batches * size, n_features))
    theta = random.normal(size=(n_classes, n_features)) / n_features**0.5
    y = (X @ theta.T + random.gumbel(size=(len(X), n_classes))).argmax(axis=1)
    model, times = NaturalGradientLogisticRegression(), []
    for batch in gen_batches(len(y), size):
        start = perf_counter()
        model.partial_fit(X[batch], y[batch], classes=np.arange(n_classes))
        times.append(perf_counter() - start)
    quarter = n_batches // 4
    return tuple(size / np.median(times[k * quarter : (k + 1) * quarter]) for k in (1, 3))


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200, help="repetitions of each simulation (default: 200)")
    parser.add_argument("--data", default=os.environ.get("SKNATGRAD_DATA"), help="folder of adult.csv.gz")
    options = parser.parse_args()
    warnings.simplefilter("error")
    np.seterr(over="ignore")
    print("| one pass, batches of 100 | squared error / that of maximum likelihood, 2 classes | 3 classes |")
    print("|---|---|---|", flush=True)
    columns = [efficiency(n_classes, options.repetitions, grid=GRID) for n_classes in (2, 3)]
    for name, ratio in columns[0].items():
        print(
            f"| {name} | {ratio:.3f} | {columns[1][name]:.3f} |"
            if name in columns[1]
            else f"| {name} | {ratio:.3g} | |"
        )
    print("\n| classes | rows per batch | rows per second, 2nd quarter | last quarter |\n|---|---|---|---|", flush=True)
    for n_classes, size in product((2, 3), (100, 1000)):
        early, late = throughput(n_classes, size)
        print(f"| {n_classes} | {size:,} | {early:,.0f} | {late:,.0f} |", flush=True)
    print("\n| adult, raw, one-hot | held-out log loss |\n|---|---|", flush=True)
    for name, loss in adult(Path(options.data) if options.data else None).items():
        print(f"| {name} | {loss:.5f} |", flush=True)


if __name__ == "__main__":
    main()
