"""Time, passes and memory of fits to a large file: ``python -m benchmarks.larger_than_memory``.

The benchmark writes float64 rows and their labels to a temporary folder, 12 GB by default. It reads the file once from
end to end, fits it by `fit` through a memory map and by `fit_batches`, and then removes it. In the state "cold" the
file is kept out of the page cache, so every pass reads from the disk; in the state "warm" the file is in the cache.
"""

import argparse
import os
import resource
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.environment import describe, with_libraries

CHUNK = 100_000  # rows that are written, or passed to fit_batches, at a time
READ_BYTES = 2**22  # size of one read in the plain reading of the file
MIB = 2**20


def write(folder, n_rows, n_features):
    """Write rows with columns of different scales, and labels drawn from a logistic model."""
    random = np.random.default_rng(0)
    scales = 10.0 ** random.integers(-3, 4, n_features)
    theta = random.normal(size=n_features) / scales / np.sqrt(n_features)
    with (folder / "X").open("wb") as rows, (folder / "y").open("wb") as labels:
        for start in range(0, n_rows, CHUNK):
            X = random.normal(size=(min(CHUNK, n_rows - start), n_features)) * scales
            rows.write(X.tobytes())
            labels.write((X @ theta + random.logistic(size=len(X)) > 0.5).astype(np.int8).tobytes())
        rows.flush()
        os.fsync(rows.fileno())


@contextmanager
def kept_out_of_cache(path):
    """Remove the file from the page cache every 0.1 s."""
    finished = threading.Event()
    file = path.open("rb")

    def evict():
        while not finished.wait(0.1):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    thread = threading.Thread(target=evict)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        file.close()


def read_through(path):
    """Return the seconds of reading the file from end to end."""
    buffer = bytearray(READ_BYTES)
    start = perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return perf_counter() - start


def fit_in_this_process(folder, n_features, method):
    """Print the seconds, bytes read, memory growth in bytes, steps, convergence and sum of coefficients of one fit."""
    from sknatgrad import NaturalGradientLogisticRegression
    from sknatgrad._rows.memmap import MemmapRows

    X = np.memmap(folder / "X", dtype=np.float64, mode="r").reshape(-1, n_features)
    y = np.memmap(folder / "y", dtype=np.int8, mode="r")
    model = NaturalGradientLogisticRegression()
    bytes_read, read = [], MemmapRows.read

    def counting_read(self, start, stop):
        rows = read(self, start, stop)
        bytes_read.append(rows.nbytes)
        return rows

    def batches():
        with (folder / "X").open("rb") as file:
            for start in range(0, len(y), CHUNK):
                rows = np.fromfile(file, count=CHUNK * n_features).reshape(-1, n_features)
                yield rows, y[start : start + CHUNK]

    # a first fit starts the threads and loads BLAS and all other modules
    model.fit(np.random.default_rng(0).normal(size=(20_000, n_features)), y[:20_000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    MemmapRows.read = counting_read
    start = perf_counter()
    if method == "memmap":
        model.fit(X, y)
        n_bytes = sum(bytes_read)
    else:
        model.fit_batches(batches)
        n_bytes = model.n_passes_ * X.nbytes
    seconds = perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, n_bytes, grown * 1024, model.n_iter_[0], float(model.converged_), model.coef_.sum())


def fit_in_new_process(folder, n_features, method):
    """Return the numbers that `fit_in_this_process` prints, from a new process."""
    command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--fit-folder", str(folder)]
    command += ["--features", str(n_features), "--method", method]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - this module
    return [float(word) for word in output.split()]


def main():
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--features", type=int, default=75)
    parser.add_argument("--folder", type=Path, default=None, help="parent of the temporary folder")
    parser.add_argument("--fit-folder", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--method", default="memmap", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit_folder:
        fit_in_this_process(options.fit_folder, options.features, options.method)
        return
    print(describe(with_libraries()))
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write(folder, options.rows, options.features)
        path = folder / "X"
        size = path.stat().st_size
        print(f"\n{options.rows:,} x {options.features}, {size / 1e9:.1f} GB\n")
        print("| state | plain reading, GB/s | method | seconds | passes | fit, GB/s | ratio | memory, MiB | steps |")
        print("|---|---|---|---|---|---|---|---|---|")
        for state in ("cold", "warm"):
            for method in ("memmap", "batches"):
                with kept_out_of_cache(path) if state == "cold" else nullcontext():
                    reading = min(read_through(path) for _ in range(1 if state == "cold" else 3))
                    fitting, n_bytes, growth, steps, *_ = fit_in_new_process(folder, options.features, method)
                read_speed, fit_speed = size / reading / 1e9, n_bytes / fitting / 1e9
                print(
                    f"| {state} | {read_speed:.2f} | {method} | {fitting:.1f} | {n_bytes / size:.1f} | {fit_speed:.2f} "
                    f"| {fit_speed / read_speed:.0%} | {growth / MIB:,.0f} | {steps:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
