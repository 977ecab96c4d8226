"""Speeds of this machine beside the constants of the cost model: ``python -m benchmarks.calibrate``.

Each figure is measured on one thread and on as many as BLAS may use, as a fit computes: threads share blocks of rows,
and BLAS has one thread in each. The constants are those of ``sknatgrad/_solver/cost_model.py`` and of
``sknatgrad/_limits.py``; only ratios of them matter. A constant that has no figure here was found by timing fits, which
the comment beside it describes.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.environment import BUSY_LOAD, available_cores, describe, load_average, with_libraries
from benchmarks.readings import core_cache_bytes
from sknatgrad import NaturalGradientLogisticRegression, _limits
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import IdentityInformation
from sknatgrad._model.information.symmetric import factorise
from sknatgrad._model.kernels import FisherProductKernel, MeasureKernel, StoredScores
from sknatgrad._rows.design import Design, _scratch
from sknatgrad._rows.memory import MemorySource, block_bounds
from sknatgrad._rows.threads import Workers
from sknatgrad._solver import cost_model

# seconds for which each figure is measured, after a first call; the shortest time counts, as load only adds to it
SECONDS = 2.0
# rows x columns: a matrix of products, whose cost is arithmetic, and products with a vector, whose cost is memory
ARITHMETIC_SHAPE, MEMORY_SHAPE = (20_000, 500), (200_000, 100)
# logits of a product that is bound by arithmetic, where one of the matrices is thin
THIN_LOGITS = 10
# rows of a table whose arithmetic takes no time
SMALL_ROWS = 100
# steps by which two fits to it differ
FURTHER_STEPS = 50
# unknowns of the matrix that is factorised
FACTORISED = 500
# bytes of the file that is read
FILE_BYTES = 2**28


@dataclass(frozen=True)
class Figure:
    """A constant of the code, and the function of the number of threads that measures it."""

    name: str
    unit: str
    in_code: float | None
    measure: Callable[[int], float]
    threads_matter: bool = True


def shortest(call):
    """Return the shortest time of a call."""
    call()
    times, end = [], time.perf_counter() + SECONDS
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def blocks_seconds(function, X, n_threads, n_logits=1):
    """Return the shortest time in which threads apply a function to all blocks of X."""
    blocks = [X[start:stop] for start, stop in block_bounds(X, n_logits)]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(n_threads) as pool:
        return shortest(lambda: list(pool.map(function, blocks)))


def _rows(shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape, dtype=dtype)


def _gram(block):
    # numpy computes one triangle of the product with the transpose
    return np.dot(block.T, block)


def _both_products(block, coefficients):
    """Multiply a block with coefficients, ``(d, q)``, and its transpose with the result, as a product F v does."""
    return np.dot(block.T, np.dot(block, coefficients))


def flops(n_threads):
    """Return the n d² additions and multiplications of one triangle of XᵀX a second."""
    X = _rows(ARITHMETIC_SHAPE)
    return X.size * X.shape[1] / blocks_seconds(_gram, X, n_threads)


def thin_flops(n_threads):
    """Return the 4 n d q additions and multiplications of two products with q columns a second."""
    X = _rows(ARITHMETIC_SHAPE)
    coefficients = _rows((X.shape[1], THIN_LOGITS))
    function = partial(_both_products, coefficients=coefficients)
    return 4 * X.size * THIN_LOGITS / blocks_seconds(function, X, n_threads, THIN_LOGITS)


def bandwidth(n_threads):
    """Return the bytes of X a second in two products with one column, between which a block may stay in a cache."""
    X = _rows(MEMORY_SHAPE)
    function = partial(_both_products, coefficients=_rows((X.shape[1], 1))[:, 0])
    return X.nbytes / blocks_seconds(function, X, n_threads)


def weighting(n_threads):
    """Return the seconds in which one value of X is multiplied by the weight of its row, into memory that exists."""
    X = _rows(ARITHMETIC_SHAPE)

    def weigh(block):
        return Design(block, intercept=False).scaled_rows(block[:, :1], _scratch)

    return blocks_seconds(weigh, X, n_threads) / X.size


def call(n_threads, n_blocks=1):
    """Return the seconds of a product F v with a few rows in each block."""
    theta, n_rows = np.zeros((1, 3)), 16 * n_blocks
    limits = _limits.Limits(block_bytes=1, min_block_rows=16)
    with Workers(n_threads) as workers:
        source = MemorySource(_rows((n_rows, 2)), np.arange(n_rows) % 2, np.ones(n_rows), 1, workers, limits=limits)
        sums = source.total(MeasureKernel(theta, TrueExpectation(), IdentityInformation, store_scores=True))
        kernel = FisherProductKernel(StoredScores(tuple(each.true for each in sums.scores)), theta[None] + 1.0)
        return shortest(lambda: source.total(kernel))


def likelihood(n_threads):
    """Return the seconds of likelihood, residual and score of one logit of a row."""
    n_rows = MEMORY_SHAPE[0]
    logits, codes = _rows((n_rows, 1)), np.arange(n_rows) % 2

    def evaluate(rows):
        prediction = predict(logits[rows])
        prediction.loss_and_residual(codes[rows])
        prediction.scores()

    parts = [slice(start, stop) for start, stop in block_bounds(logits, 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        return shortest(lambda: list(pool.map(evaluate, parts))) / n_rows


def iteration(_n_threads):
    """Return the seconds of a step on a few rows, less those that are in `call`."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SMALL_ROWS, 4))
    y = rng.random(SMALL_ROWS) < 0.5 + 0.4 * np.sign(X[:, 0])
    # short steps, which do not arrive
    models = [NaturalGradientLogisticRegression(tol=0.0, max_kl=1e-6, max_iter=1 + more) for more in (0, FURTHER_STEPS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, more = (shortest(partial(model.fit, X, y)) for model in models)
    return (more - one) / FURTHER_STEPS - call(1)


def file_bandwidth(_n_threads):
    """Return the bytes a second of reading a file that is in the page cache, in pieces of a block."""
    buffer = bytearray(_limits.Limits().block_bytes)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.write_bytes(bytes(FILE_BYTES))

        def read():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

        return FILE_BYTES / shortest(read)


def float32_speed(n_threads):
    """Return the time of one triangle of XᵀX in float64, divided by that in float32."""
    times = [blocks_seconds(_gram, _rows(ARITHMETIC_SHAPE, dtype), n_threads) for dtype in (np.float64, np.float32)]
    return times[0] / times[1]


def float32_product_speed(n_threads):
    """Return the time of two products with one column in float64, divided by that in float32."""
    times = []
    for dtype in (np.float64, np.float32):
        X = _rows(MEMORY_SHAPE, dtype)
        function = partial(_both_products, coefficients=_rows((X.shape[1], 1), dtype)[:, 0])
        times.append(blocks_seconds(function, X, n_threads))
    return times[0] / times[1]


def cholesky(_n_threads):
    """Return 2 k³ / 3 a second, twice the operations, of the factorisation of a matrix of k unknowns, on one thread."""
    rows = _rows((4 * FACTORISED, FACTORISED))
    matrix = rows.T @ rows
    with threadpool_limits(1, "blas"):
        return 2.0 * FACTORISED**3 / 3.0 / shortest(lambda: factorise(matrix))


def two_core_caches(_n_threads):
    """Return twice the second-level cache of one core, in bytes."""
    return 2.0 * core_cache_bytes()


def _of_cost_model(name):
    """Return a constant of the cost model, or None if it has none of this name."""
    return getattr(cost_model, name, None)


FIGURES = (
    Figure("FLOPS", "flops/s", _of_cost_model("FLOPS"), flops),
    Figure("THIN_FLOPS", "flops/s", _of_cost_model("THIN_FLOPS"), thin_flops),
    Figure("BANDWIDTH", "bytes/s", _of_cost_model("BANDWIDTH"), bandwidth),
    Figure("WEIGHTING", "s a value", _of_cost_model("WEIGHTING"), weighting),
    Figure("CALL, one block", "s", _of_cost_model("CALL"), call, threads_matter=False),
    Figure("CALL, eight blocks", "s", _of_cost_model("CALL"), partial(call, n_blocks=8)),
    Figure("LIKELIHOOD", "s a logit", _of_cost_model("LIKELIHOOD"), likelihood),
    Figure("ITERATION, one block", "s", _of_cost_model("ITERATION"), iteration, threads_matter=False),
    Figure(
        *("OUT_OF_CORE_BANDWIDTH, page cache", "bytes/s", _of_cost_model("OUT_OF_CORE_BANDWIDTH"), file_bandwidth),
        threads_matter=False,
    ),
    Figure("FLOAT32_SPEED, matrix", "", _of_cost_model("FLOAT32_SPEED"), float32_speed),
    Figure("FLOAT32_SPEED, product", "", _of_cost_model("FLOAT32_SPEED"), float32_product_speed),
    Figure("CHOLESKY_FLOPS", "flops/s", _of_cost_model("CHOLESKY_FLOPS"), cholesky, threads_matter=False),
    Figure("Limits.block_bytes", "bytes", _limits.Limits().block_bytes, two_core_caches, threads_matter=False),
)


def main(arguments=None):
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate", description=__doc__.partition("\n")[0])
    names = [figure.name for figure in FIGURES]
    parser.add_argument("--figures", nargs="+", choices=names, default=names, metavar="NAME", help=f"among {names}")
    parser.add_argument("--threads", type=int, default=available_cores(), help="largest number (default: all cores)")
    options = parser.parse_args(arguments)
    print(f"{describe(with_libraries())}\n")
    if load_average() > BUSY_LOAD:
        print(f"Load average {load_average():.1f}: another process slows the figures down.\n")
    print(f"| constant | unit | in the code | 1 thread | {options.threads} threads | code / measured |")
    print("|---|---|---|---|---|---|", flush=True)
    for figure in (figure for figure in FIGURES if figure.name in options.figures):
        single = figure.measure(1)
        many = figure.measure(options.threads) if figure.threads_matter and options.threads > 1 else single
        in_code, ratio = "-", "-"
        if figure.in_code is not None:
            in_code, ratio = f"{figure.in_code:.2g}", f"{figure.in_code / many:.2f}"
        shown = f"{many:.3g}" if figure.threads_matter else ""
        print(f"| {figure.name} | {figure.unit} | {in_code} | {single:.3g} | {shown} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
