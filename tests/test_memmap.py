"""Fits to memory maps: the results of arrays, read block by block from the file."""

import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from problems import FISHER_METRICS, MIB, assert_same_fit, assert_same_optimum, model_of, rows_of, unchanged
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._rows.memmap import MemmapRows
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.threads import Workers
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.plan import choose_plan

DESCRIPTORS = Path("/proc/self/fd")


def written(path, X):
    """Write an array and return a map of it."""
    X.tofile(path)
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


def behind_a_header(path, X):
    path.write_bytes(b"odd" + X.tobytes())
    return np.memmap(path, dtype=X.dtype, mode="r", offset=3, shape=X.shape)


def saved(path, X):
    path = path.with_suffix(".npy")
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def in_order_of_columns(path, X):
    path.write_bytes(X.tobytes(order="F"))
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape, order="F")


def between_others(path, X):
    """The first columns of a table whose rows are longer than a page."""
    whole = np.ones((len(X), 700), dtype=X.dtype)
    whole[:, : X.shape[1]] = X
    return written(path, whole)[:, : X.shape[1]]


# how the map is made, what is done to map and array alike, and whether blocks are read from the file
MAPS = {
    "C": (written, lambda X: X, True),
    "an array on top": (written, np.asarray, True),
    "a column left out": (written, lambda X: X[:, :-1], True),
    "the first column left out": (written, lambda X: X[:, 1:], True),
    "every other column": (written, lambda X: X[:, ::2], True),
    "one column": (written, lambda X: X[:, 2:3], True),
    "every other row": (written, lambda X: X[::2], True),
    "the last rows": (written, lambda X: X[100:], True),
    "a view of a view": (written, lambda X: X[100:][::3][:, 1:], True),
    "a vector, reshaped": (written, lambda X: X.ravel().reshape(-1, X.shape[1]), True),
    "np.load": (saved, lambda X: X, True),
    "rows far apart": (between_others, lambda X: X, True),
    "values far apart": (between_others, lambda X: X[:, ::3], True),
    "few rows, far apart": (between_others, lambda X: X[5::100, 1:], True),
    "an odd offset": (behind_a_header, lambda X: X, True),
    "rows after an odd offset": (behind_a_header, lambda X: X[7:, 1:], True),
    "rows from the last to the first": (written, lambda X: X[::-1], False),
    "columns from the last to the first": (written, lambda X: X[:, ::-1], False),
    "Fortran order": (in_order_of_columns, lambda X: X, False),
}


# with 'true', a fit in memory corrects its final step more often, as that takes less time than a pass over a file
SAME_STEPS = {"fisher": "empirical"}


@pytest.mark.parametrize("name", list(MAPS))
def test_a_map_is_fitted_like_the_array(name, tmp_path, shared_blocks):
    make, view, is_read = MAPS[name]
    X, y = rows_of(3, n_rows=2500)
    given = view(make(tmp_path / "X", X))
    y = y[: len(given)]
    assert (MemmapRows.from_map(given) is not None) == is_read
    assert_same_fit(model_of(**SAME_STEPS).fit(given, y), model_of(**SAME_STEPS).fit(view(X), y))


@pytest.fixture
def bytes_read(monkeypatch):
    """Count the bytes that are read from files."""
    total, read = [0], os.preadv

    def counting(descriptor, buffers, offset):
        count = read(descriptor, buffers, offset)
        total[0] += count
        return count

    monkeypatch.setattr(os, "preadv", counting)
    return total


@pytest.mark.parametrize(
    ("view", "times"),
    [
        (np.s_[:, :3], 1),
        (np.s_[::100], 1),
        (np.s_[::100, 7:9], 1),
        (np.s_[:, :500:400], 401 / 2),
        (np.s_[:, ::400], 1000 / 3),
    ],
)
def test_gaps_between_rows_are_not_read_and_take_no_memory(view, times, tmp_path, bytes_read):
    """Of 61 MiB; gaps within a row, and those of less than a page, are read, but a MiB at a time."""
    whole = np.random.default_rng(0).normal(size=(8000, 1000))
    X = written(tmp_path / "X", whole)[view]
    rows = MemmapRows.from_map(X)
    bytes_read[0] = 0
    tracemalloc.start()
    try:
        found = rows.read(0, len(X))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, whole[view])
    assert bytes_read[0] <= times * X.size * X.itemsize
    # the values, and what they are picked from
    assert peak < X.size * X.itemsize + 1.1 * MIB


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int16, np.uint8, bool, ">f8"])
def test_a_map_of_any_type_is_fitted_like_the_array(dtype, tmp_path, shared_blocks):
    X, y = rows_of(2, n_rows=2500)
    X = abs(X).astype(dtype)
    mapped = written(tmp_path / "X", X)
    assert MemmapRows.from_map(mapped) is not None
    assert_same_fit(model_of(**SAME_STEPS).fit(mapped, y), model_of(**SAME_STEPS).fit(X, y))


@pytest.mark.parametrize("fisher", FISHER_METRICS)
def test_a_map_is_fitted_like_the_array_by_every_metric(fisher, tmp_path, shared_blocks):
    X, y = rows_of(3, n_rows=2500)
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    model = model_of(fisher=fisher).fit(written(tmp_path / "X", X), y, weight)
    assert_same = assert_same_optimum if fisher == "true" else assert_same_fit
    assert_same(model, model_of(fisher=fisher).fit(X, y, weight))


def test_labels_and_weights_may_be_maps_too(tmp_path, shared_blocks):
    X, y = rows_of(3, n_rows=2500)
    weight = np.random.default_rng(1).uniform(size=len(y))
    maps = [written(tmp_path / name, array) for name, array in (("X", X), ("y", y), ("weight", weight))]
    assert_same_fit(model_of(**SAME_STEPS).fit(*maps), model_of(**SAME_STEPS).fit(X, y, weight))


def test_values_changed_in_a_copy_on_write_are_fitted(tmp_path):
    X, y = rows_of()
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="c", shape=X.shape)
    for array in (mapped, X):
        array[1 : len(X) // 3, 0] *= -2.0
    assert_same_fit(model_of(**SAME_STEPS).fit(mapped, y), model_of(**SAME_STEPS).fit(X, y))


def test_values_changed_and_not_flushed_are_fitted(tmp_path):
    X, y = rows_of()
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="r+", shape=X.shape)
    for array in (mapped, X):
        array[1 : len(X) // 3, 0] *= -2.0
    assert MemmapRows.from_map(mapped) is not None
    assert_same_fit(model_of(**SAME_STEPS).fit(mapped, y), model_of(**SAME_STEPS).fit(X, y))


def test_arrays_computed_from_a_map_are_not_read_from_the_file(tmp_path):
    X, y = rows_of()
    mapped = written(tmp_path / "X", X)
    assert_same_fit(model_of().fit(2.0 * mapped - 1.0, y), model_of().fit(2.0 * X - 1.0, y))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_map_that_is_fitted_to_a_sample_first(n_classes, tmp_path):
    X, y = rows_of(n_classes, n_rows=60_000, n_features=6)
    assert choose_plan(
        "true", Shape.of(X, max(n_classes, 2) - (n_classes == 2), 7)._replace(out_of_core=True)
    ).sample_plans
    mapped = written(tmp_path / "X", X)
    assert_same_optimum(model_of().fit(mapped, y), model_of().fit(X, y), tol=1e-8)


@pytest.mark.parametrize("n_rows", [1, 100, 2500])
def test_a_sample_of_a_map_is_spread_over_its_rows(n_rows, tmp_path, shared_blocks):
    """Its rows are chosen by their positions: by their values, the file would be read once more."""
    X, y = rows_of(3, n_rows=6000)
    mapped, weight = written(tmp_path / "X", X), np.arange(3000) % 3.0
    with Workers() as workers:
        source = MemorySource(mapped[::2, 1:], y[::2], weight, 3, workers, limits=Limits(block_bytes=1))
        sample, rows = source.sample(n_rows), source.spread(n_rows)
    np.testing.assert_array_equal(sample.X, X[::2, 1:][rows])
    np.testing.assert_array_equal(sample.codes, y[::2][rows])
    assert len(rows) >= n_rows
    assert not sample.out_of_core
    assert not sample.drawn_by_digests


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_map_solved_by_conjugate_gradients(n_classes, tmp_path, limits):
    limits(direct_products=0.0)
    X, y = rows_of(n_classes, n_rows=6000, n_features=12)
    assert_same_optimum(model_of().fit(written(tmp_path / "X", X), y), model_of().fit(X, y), tol=1e-8)


def replaced_by_other_values(path, X):
    return written(path, X + 1.0)


def replaced_by_values_that_differ_in_the_middle(path, X):
    other = X.copy()
    other[1 : len(X) // 2 - 1] += 1.0
    return written(path, other)


def replaced_by_fewer_rows(path, X):
    return written(path, X[: len(X) // 2])


def replaced_by_a_folder(path, X):
    path.mkdir()


def replaced_by_nothing(path, X):
    assert not path.exists()


@pytest.mark.parametrize(
    "replace",
    [
        replaced_by_other_values,
        replaced_by_values_that_differ_in_the_middle,
        replaced_by_fewer_rows,
        replaced_by_a_folder,
        replaced_by_nothing,
    ],
)
def test_a_file_that_was_replaced_is_fitted_as_it_was_mapped(replace, tmp_path):
    X, y = rows_of()
    mapped = written(tmp_path / "X", X)
    # the map keeps the file, which has no name any more
    (tmp_path / "X").unlink()
    replace(tmp_path / "X", X)
    assert_same_fit(model_of().fit(mapped, y), model_of().fit(X, y))


def test_a_file_that_was_cut_short_is_an_error(tmp_path):
    X, y = rows_of()
    mapped = written(tmp_path / "X", X)
    model = model_of().fit(X[:500], y[:500])
    os.truncate(tmp_path / "X", X.nbytes - 8)
    with (
        unchanged(model),
        pytest.raises(ValueError, match=r"X is a memory map of X, which has .* bytes where .* truncated; write it"),
    ):
        model.fit(mapped, y)


@pytest.mark.parametrize("reads", [4, 12, 25])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_file_that_is_cut_short_in_mid_fit_is_an_error(reads, n_threads, tmp_path, monkeypatch, shared_blocks):
    X, y = rows_of()
    mapped = written(tmp_path / "X", X)
    model = model_of().fit(X[:500], y[:500])
    calls, read = count(1), MemmapRows.read

    def cutting(rows, start, stop):
        if next(calls) == reads:
            os.truncate(tmp_path / "X", 8)
        return read(rows, start, stop)

    monkeypatch.setattr(MemmapRows, "read", cutting)
    before = threading.active_count()
    with (
        threadpool_limits(n_threads, user_api="blas"),
        unchanged(model),
        pytest.raises(ValueError, match=r"X is a memory map of X, which has 8 bytes .* truncated; write it again"),
    ):
        model.fit(mapped, y)
    assert threading.active_count() == before


def test_a_file_that_is_cut_short_while_a_sample_is_taken_is_an_error(tmp_path, monkeypatch):
    X, y = rows_of(2, n_rows=60_000, n_features=6)
    mapped = written(tmp_path / "X", X)
    model, sample = model_of().fit(X[:500], y[:500]), MemorySource.sample

    def cutting(source, n_rows):
        if source.out_of_core:
            os.truncate(tmp_path / "X", X.nbytes // 2)
        return sample(source, n_rows)

    monkeypatch.setattr(MemorySource, "sample", cutting)
    with unchanged(model), pytest.raises(ValueError, match="truncated"):
        model.fit(mapped, y)


def test_error_names_a_value_that_is_not_finite_in_a_file(tmp_path):
    X, y = rows_of()
    X[1234, 2] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN at row 1234, column 2 \(1 in total\)"):
        model_of().fit(written(tmp_path / "X", X), y)


def test_a_map_is_not_copied(tmp_path):
    """92 MiB as it is, of which a sample takes an eighth."""
    X, y = rows_of(2, n_rows=60_000, n_features=10)
    mapped = written(tmp_path / "X", np.tile(X, (1, 20)))
    model = NaturalGradientLogisticRegression(tol=1e-4, C=1e-3)
    tracemalloc.start()
    try:
        model.fit(mapped, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        (tmp_path / "X").unlink()
    assert peak < mapped.nbytes / 2


RESIDENT = """
import sys
from pathlib import Path

import numpy as np

from sknatgrad import NaturalGradientLogisticRegression


def peak():
    # that of getrusage begins with the parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


X = np.memmap(sys.argv[1], dtype=np.float64, mode="r").reshape(-1, 40)
y = np.arange(len(X)) % 32_749 % 2
# all that is loaded late
NaturalGradientLogisticRegression().fit(np.random.default_rng(0).normal(size=(10_000, 40)), y[:10_000])
before = peak()
NaturalGradientLogisticRegression(tol=1e-4).fit(X, y)
fitted = peak()
X.sum()
print(fitted - before, peak() - fitted)
"""


def can_count_memory():
    status = Path("/proc/self/status")
    return status.exists() and "VmHWM:" in status.read_text()


@pytest.mark.skipif(not can_count_memory(), reason="the largest resident memory is read from /proc/self/status")
def test_a_file_does_not_become_resident(tmp_path):
    """210 MB, of which a sample takes an eighth; touching the map would bring in the rest."""
    random, path = np.random.default_rng(0), tmp_path / "X"
    chunk = random.normal(size=(65_536, 40))
    with path.open("wb") as file:
        for _ in range(10):
            file.write(chunk.tobytes())
    size = path.stat().st_size
    try:
        done = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-c", RESIDENT, str(path)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    finally:
        path.unlink()
    assert not done.returncode, done.stderr
    fitted, touched = (int(word) for word in done.stdout.split())
    assert fitted < size / 3
    # which shows that resident pages are counted
    assert touched > size / 2


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="open files are counted in /proc")
@pytest.mark.parametrize("direct_price", [np.inf, 0.0])
def test_files_are_closed_when_the_fit_is_over(direct_price, tmp_path, limits):
    limits(direct_products=direct_price)
    X, y = rows_of(2, n_rows=60_000, n_features=6)
    mapped = written(tmp_path / "X", X)
    model = NaturalGradientLogisticRegression()
    gc.collect()
    gc.disable()
    try:
        before = len(list(DESCRIPTORS.iterdir()))
        for _ in range(3):
            model.fit(mapped, y)
        assert len(list(DESCRIPTORS.iterdir())) == before
    finally:
        gc.enable()


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="open files are counted in /proc")
def test_files_are_closed_when_the_fit_has_failed(tmp_path):
    X, y = rows_of()
    mapped = written(tmp_path / "X", X)
    gc.collect()
    before = len(list(DESCRIPTORS.iterdir()))
    os.truncate(tmp_path / "X", 8)
    with pytest.raises(ValueError, match="truncated"):
        model_of().fit(mapped, y)
    # the traceback of the error refers to the rows
    gc.collect()
    assert len(list(DESCRIPTORS.iterdir())) == before
