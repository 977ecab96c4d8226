"""A fit to a file: how fast, how often read, in how much memory: ``python -m benchmarks.larger_than_memory``.

Writes float64 rows and their labels to a scratch folder, 12 GB unless told otherwise, and removes them again. The file
is read once from end to end, then fitted: through a memory map by `fit`, and in batches by `fit_batches`. "cold" keeps
the file out of the system's cache all the while, so that every pass comes from the disk; "warm" has it there before.
"""

import argparse
import os
import resource
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.environment import describe, with_libraries

CHUNK = 100_000  # rows written, or given to fit_batches, at a time
READ = 2**22  # bytes read at a time
GIB, MIB = 2**30, 2**20


def write(folder, n_rows, n_features):
    """Write rows of unlike scales, and labels of a logistic model."""
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
    """Have the system forget the file over and over."""
    over = threading.Event()
    file = path.open("rb")

    def forget():
        while not over.wait(0.1):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    thread = threading.Thread(target=forget)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        file.close()


def read_through(path):
    """Return the seconds that reading the file takes."""
    buffer = bytearray(READ)
    begin = perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return perf_counter() - begin


def fitted(folder, n_features, door):
    """Print seconds, bytes read, growth of the resident memory and steps of one fit, in this process."""
    from sknatgrad import NaturalGradientLogisticRegression
    from sknatgrad._rows.memmap import MemmapRows

    X = np.memmap(folder / "X", dtype=np.float64, mode="r").reshape(-1, n_features)
    y = np.memmap(folder / "y", dtype=np.int8, mode="r")
    model = NaturalGradientLogisticRegression()
    read, counted = [], MemmapRows.read

    def counting(self, start, stop):
        rows = counted(self, start, stop)
        read.append(rows.nbytes)
        return rows

    def batches():
        with (folder / "X").open("rb") as file:
            for start in range(0, len(y), CHUNK):
                rows = np.fromfile(file, count=CHUNK * n_features).reshape(-1, n_features)
                yield rows, y[start : start + CHUNK]

    # threads, BLAS and all that is loaded late
    model.fit(np.random.default_rng(0).normal(size=(20_000, n_features)), y[:20_000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    MemmapRows.read = counting
    begin = perf_counter()
    if door == "memmap":
        model.fit(X, y)
        n_bytes = sum(read)
    else:
        model.fit_batches(batches)
        n_bytes = model.n_passes_ * X.nbytes
    seconds = perf_counter() - begin
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, n_bytes, grown * 1024, model.n_iter_[0], float(model.converged_), model.coef_.sum())


def _asked(folder, n_features, door):
    command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--inside", str(folder)]
    command += ["--features", str(n_features), "--door", door]
    return [float(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]  # noqa: S603 - itself


def main():
    """Run it all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--features", type=int, default=75)
    parser.add_argument("--folder", type=Path, default=None, help="where to make the scratch folder")
    parser.add_argument("--inside", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--door", default="memmap", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        fitted(given.inside, given.features, given.door)
        return
    print(describe(with_libraries()))
    with TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write(folder, given.rows, given.features)
        path = folder / "X"
        size = path.stat().st_size
        print(f"\n{given.rows:,} x {given.features}, {size / 1e9:.1f} GB\n")
        print("| | read GB/s | door | seconds | passes | fit GB/s | share | grown MiB | steps |")
        print("|---|---|---|---|---|---|---|---|---|")
        for state in ("cold", "warm"):
            for door in ("memmap", "batches"):
                with kept_out_of_cache(path) if state == "cold" else open(os.devnull):  # noqa: PTH123 - nothing
                    seconds = min(read_through(path) for _ in range(1 if state == "cold" else 3))
                    taken, n_bytes, grown, steps, *_ = _asked(folder, given.features, door)
                speed, pace = size / seconds / 1e9, n_bytes / taken / 1e9
                print(
                    f"| {state} | {speed:.2f} | {door} | {taken:.1f} | {n_bytes / size:.1f} | {pace:.2f} "
                    f"| {pace / speed:.0%} | {grown / MIB:,.0f} | {steps:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
