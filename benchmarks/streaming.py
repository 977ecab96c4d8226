"""One pass in batches against a fit to all rows, and against SGD: ``python -m benchmarks.streaming``.

Three tables as Markdown: the squared error of coefficients, relative to that of maximum likelihood; rows a second,
early and late in a stream; and held-out log loss on the adult data as they come.
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
    """Show a model all rows once, in batches."""
    for batch in gen_batches(len(y), size):
        model.partial_fit(X[batch], y[batch], classes=classes)
    return model


def simulated(n_classes, random):
    """Return rows, labels and the coefficients that made them, which sum to zero over classes."""
    X = random.normal(size=(N_ROWS, N_FEATURES))
    theta = 0.5 * random.normal(size=(n_classes, N_FEATURES + 1))
    theta -= theta.mean(axis=0)
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return X, (logits + random.gumbel(size=logits.shape)).argmax(axis=1), theta


def _error(model, theta):
    truth = theta if len(theta) > 2 else theta[1:] - theta[:1]
    return ((np.column_stack([model.coef_, model.intercept_]) - truth) ** 2).sum()


def efficiency(n_classes, repetitions, *, grid, seed=0):
    """Return the mean squared error of each kind of model over that of maximum likelihood.

    SGD of several classes fits one class against the rest, which has other coefficients: it is left out there.
    """
    random, classes = np.random.default_rng(seed), np.arange(n_classes)
    kinds = {
        f"`fisher='{fisher}'`": lambda fisher=fisher: NaturalGradientLogisticRegression(fisher=fisher, random_state=0)
        for fisher in ("true", "empirical", "kronecker", "diagonal")
    }
    if n_classes == 2:
        kinds["SGD, defaults"] = lambda: SGDClassifier(loss="log_loss", random_state=0)
        for index, settings in enumerate(grid):
            kinds[f"grid {index}"] = lambda settings=settings: SGDClassifier("log_loss", random_state=0, **settings)
    errors = dict.fromkeys(kinds, 0.0)
    likelihood = 0.0
    for _ in range(repetitions):
        X, y, theta = simulated(n_classes, random)
        likelihood += _error(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), theta)
        for name, make in kinds.items():
            errors[name] += _error(one_pass(make(), X, y, classes), theta)
    ratios = {name: error / likelihood for name, error in errors.items()}
    tried = {name: ratio for name, ratio in ratios.items() if name.startswith("grid")}
    if tried:
        best = min(tried, key=tried.get)
        ratios[f"SGD, best of {len(grid)}: {grid[int(best.split()[1])]}"] = ratios[best]
    return {name: ratio for name, ratio in ratios.items() if name not in tried}


def adult(folder):
    """Return held-out log loss on adult, raw and one-hot, one pass in random order, over five splits."""
    from benchmarks.workloads import _adult

    X, y = _adult(stored_sparse=False, standardised=False, folder=folder)
    kinds = {
        "one pass, `fisher='true'`": lambda A, b: one_pass(NaturalGradientLogisticRegression(), A, b, [0, 1]),
        "SGD, defaults": lambda A, b: one_pass(SGDClassifier(loss="log_loss", random_state=0), A, b, [0, 1]),
    }
    for index, settings in enumerate(GRID):
        kinds[f"grid {index}"] = lambda A, b, settings=settings: one_pass(
            SGDClassifier("log_loss", random_state=0, **settings), A, b, [0, 1]
        )
    losses = dict.fromkeys(["a fit to all rows", *kinds], 0.0)
    for split in range(5):
        order = np.random.default_rng(split).permutation(len(y))
        test, train = order[:10_000], order[10_000:]
        models = {"a fit to all rows": NaturalGradientLogisticRegression().fit(X[train], y[train])}
        models.update({name: make(X[train], y[train]) for name, make in kinds.items()})
        for name, model in models.items():
            losses[name] += log_loss(y[test], model.predict_proba(X[test])) / 5
    best = min((name for name in losses if name.startswith("grid")), key=losses.get)
    losses[f"SGD, best of {len(GRID)}: {GRID[int(best.split()[1])]}"] = losses[best]
    return {name: loss for name, loss in losses.items() if not name.startswith("grid")}


def throughput(n_classes, size, n_features=20, n_batches=400):
    """Return rows a second in the second and the last quarter of a stream, medians over its batches."""
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
    parser.add_argument("--repetitions", type=int, default=200, help="of each simulation (default: 200)")
    parser.add_argument("--data", default=os.environ.get("SKNATGRAD_DATA"), help="folder of adult.csv.gz")
    options = parser.parse_args()
    warnings.simplefilter("error")
    np.seterr(over="ignore")
    print("| one pass, batches of 100 | squared error over that of maximum likelihood, 2 classes | 3 classes |")
    print("|---|---|---|", flush=True)
    columns = [efficiency(n_classes, options.repetitions, grid=GRID) for n_classes in (2, 3)]
    for name, ratio in columns[0].items():
        print(
            f"| {name} | {ratio:.3f} | {columns[1][name]:.3f} |"
            if name in columns[1]
            else f"| {name} | {ratio:.3g} | |"
        )
    print("\n| classes | rows a batch | rows a second, 2nd quarter | last quarter |\n|---|---|---|---|", flush=True)
    for n_classes, size in product((2, 3), (100, 1000)):
        early, late = throughput(n_classes, size)
        print(f"| {n_classes} | {size:,} | {early:,.0f} | {late:,.0f} |", flush=True)
    print("\n| adult, raw, one-hot | held-out log loss |\n|---|---|", flush=True)
    for name, loss in adult(Path(options.data) if options.data else None).items():
        print(f"| {name} | {loss:.5f} |", flush=True)


if __name__ == "__main__":
    main()
