"""Time of `predict_proba`, ours and scikit-learn's: ``python -m benchmarks.prediction``.

Both models have the same coefficients. The ratio is scikit-learn's time divided by ours: above 1, ours is faster.
"""

import argparse
import statistics
import warnings
from itertools import product

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.environment import describe, with_libraries
from benchmarks.interleaved import burst, rounds
from benchmarks.tables import number, seconds

ROWS = (1, 1000, 10**6)
COLUMNS = (5, 20, 100)
CLASSES = (2, 3, 10)
STORAGE = ("float64", "float32", "sparse")
# share of the values that a sparse X stores
DENSITY = 0.1
# rounds in which the two are timed: fewest and most
ROUNDS = (5, 30)
QUARTILES = (0.25, 0.75)


def rows(n_rows, n_columns, storage, seed=0):
    """Return X in one of the `STORAGE` types."""
    random = np.random.default_rng(seed)
    if storage == "sparse":
        X = sparse.random(n_rows, n_columns, DENSITY, format="csr", random_state=seed)
        X.data = random.standard_normal(X.nnz)
        return sparse.csr_matrix(X)
    return random.standard_normal((n_rows, n_columns), dtype=storage)


def models(X, n_classes, seed=0):
    """Return our model and scikit-learn's, fitted to some rows of X's type, with the same random coefficients."""
    from sknatgrad import NaturalGradientLogisticRegression

    random = np.random.default_rng(seed)
    few = rows(10 * n_classes, X.shape[1], "sparse" if sparse.issparse(X) else X.dtype.name)
    codes = np.arange(10 * n_classes) % n_classes
    pair = (NaturalGradientLogisticRegression(), LogisticRegression(max_iter=10_000))
    for model in pair:
        model.fit(few, codes)
    coef, intercept = random.standard_normal(pair[1].coef_.shape), random.standard_normal(pair[1].intercept_.shape)
    for model in pair:
        model.coef_, model.intercept_ = coef.astype(model.coef_.dtype), intercept.astype(model.intercept_.dtype)
    return pair


def compared(X, n_classes, budget, random):
    """Return the (r, 2) times of ours and of scikit-learn, and the largest difference of the probabilities."""
    pair = models(X, n_classes)
    ours, theirs = (model.predict_proba(X) for model in pair)
    measures = [lambda n_calls, model=model: burst(lambda: model.predict_proba(X), n_calls) for model in pair]
    return rounds(measures, budget, ROUNDS, random), float(np.abs(ours - theirs).max())


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--rows", type=int, nargs="+", default=ROWS, metavar="N")
    add("--columns", type=int, nargs="+", default=COLUMNS, metavar="P")
    add("--classes", type=int, nargs="+", default=CLASSES, metavar="K")
    add("--storage", nargs="+", choices=STORAGE, default=STORAGE, help="sparse is float64, one value in ten stored")
    add("--seconds", type=float, default=3.0, help="seconds of calls for each row of the table (default: 3)")
    add("--threads", type=int, help="threads of BLAS and OpenMP in this process")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Print the table as Markdown."""
    options = _options(arguments)
    warnings.simplefilter("ignore")
    with threadpool_limits(options.threads):
        _print_table(options)


def _print_table(options):
    print(f"{describe(with_libraries())}\n")
    print("| X | rows | columns | classes | ours | scikit-learn | ratio | quartiles | difference |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    random, ratios = np.random.default_rng(0), []
    for storage, n_columns in product(options.storage, options.columns):
        X = rows(max(options.rows), n_columns, storage)
        for n_rows, n_classes in product(options.rows, options.classes):
            times, difference = compared(X[:n_rows], n_classes, options.seconds, random)
            ours, theirs = np.median(times, axis=0)
            paired = times[:, 1] / times[:, 0]
            ratios.append(float(np.median(paired)))
            low, high = np.quantile(paired, QUARTILES)
            print(
                f"| {storage} | {n_rows:,} | {n_columns} | {n_classes} | {seconds(ours)} | {seconds(theirs)} "
                f"| {number(ratios[-1])} | {low:.2f} to {high:.2f} | {difference:.0e} |",
                flush=True,
            )
    print(f"\ngeometric mean {statistics.geometric_mean(ratios):.2f}, smallest {min(ratios):.2f}")


if __name__ == "__main__":
    main()
