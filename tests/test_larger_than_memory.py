"""Fits to files behind memory maps, and to batches that are read in every pass: those of arrays, in less memory."""

import gc
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
import weakref
from contextlib import contextmanager
from itertools import count, pairwise, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning
from sknatgrad._estimator import fit_batches as _batches
from sknatgrad._estimator.fit_batches import _Reader
from sknatgrad._inputs.checks import totals_of_all
from sknatgrad._rows import batches as batch_source
from sknatgrad._rows import memory
from sknatgrad._rows.matrices import take_rows
from sknatgrad._rows.memmap import MemmapRows
from sknatgrad._rows.reservoir import StratifiedReservoir
from sknatgrad._rows.sampling import LEAST_OF_A_CLASS, class_totals
from sknatgrad._rows.threads import Workers
from sknatgrad._solver import plan as _strategy
from sknatgrad._solver.plan import Shape, plan

MIB = 2**20
FISHERS = ["true", "empirical", "diagonal", "kronecker", "monte_carlo"]
DESCRIPTORS = Path("/proc/self/fd")
# seconds until a wait for another thread is given up
PATIENCE = 20


def rows_of(n_classes=2, n_rows=4000, n_features=4, seed=0):
    """Rows of a logistic model, in columns of unlike sizes."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n_rows, n_features))
    theta = random.normal(size=(n_classes, n_features + 1))
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return X * 2.0 ** np.arange(n_features), (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def cut(X, y, sample_weight=None, size=500):
    """Batches of rows, one after the other."""
    parts = (X, y) if sample_weight is None else (X, y, sample_weight)
    return [tuple(part[start : start + size] for part in parts) for start in range(0, len(y), size)]


def model_of(**parameters):
    return NaturalGradientLogisticRegression(**{"tol": 1e-12, "max_iter": 2000, "random_state": 0, **parameters})


def coefficients(model):
    return np.column_stack([model.coef_, model.intercept_]) if model.fit_intercept else model.coef_


def assert_same_bits(model, reference):
    np.testing.assert_array_equal(model.coef_, reference.coef_)
    np.testing.assert_array_equal(model.intercept_, reference.intercept_)
    np.testing.assert_array_equal(model.classes_, reference.classes_)
    assert model.loss_curve_ == reference.loss_curve_
    assert model.coef_.dtype == reference.coef_.dtype
    assert model.classes_.dtype == reference.classes_.dtype


def assert_same_fit(model, reference):
    """The same steps on the same blocks; in other memory, BLAS may round otherwise."""
    size = abs(coefficients(reference)).max()
    np.testing.assert_allclose(coefficients(model), coefficients(reference), rtol=0, atol=1e-12 * size)
    np.testing.assert_array_equal(model.classes_, reference.classes_)
    np.testing.assert_allclose(model.loss_curve_, reference.loss_curve_, rtol=1e-12)
    assert model.coef_.dtype == reference.coef_.dtype
    assert model.classes_.dtype == reference.classes_.dtype


def assert_same_optimum(model, reference, tol=1e-9):
    np.testing.assert_array_equal(model.classes_, reference.classes_)
    assert model.coef_.dtype == reference.coef_.dtype
    expected = coefficients(reference)
    np.testing.assert_allclose(coefficients(model), expected, rtol=0, atol=tol * abs(expected).max())


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@contextmanager
def unchanged(model):
    """Whatever happens, the estimator stays as it was, down to the last bit."""
    before = pickle.dumps(vars(model))
    yield
    assert pickle.dumps(vars(model)) == before


@pytest.fixture
def room_for(monkeypatch):
    """Sets how many values of X are kept in the first pass."""

    def values(n_values):
        monkeypatch.setattr(_batches, "SAMPLE_BYTES", 8 * n_values)

    return values


@pytest.fixture
def little_room(room_for):
    """Room for so few rows that batches are read in every pass."""
    room_for(2000)


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of a few thousand rows, shared by two threads."""
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)
    with threadpool_limits(2, user_api="blas"):
        yield


# Memory maps


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


@pytest.mark.parametrize("name", list(MAPS))
def test_a_map_is_fitted_like_the_array(name, tmp_path, small_blocks):
    make, view, is_read = MAPS[name]
    X, y = rows_of(3, n_rows=2500)
    given = view(make(tmp_path / "X", X))
    y = y[: len(given)]
    assert (MemmapRows.behind(given) is not None) == is_read
    assert_same_fit(model_of().fit(given, y), model_of().fit(view(X), y))


@pytest.fixture
def bytes_read(monkeypatch):
    """Counts what is read from files."""
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
    rows = MemmapRows.behind(X)
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
def test_a_map_of_any_type_is_fitted_like_the_array(dtype, tmp_path, small_blocks):
    X, y = rows_of(2, n_rows=2500)
    X = abs(X).astype(dtype)
    mapped = written(tmp_path / "X", X)
    assert MemmapRows.behind(mapped) is not None
    assert_same_fit(model_of().fit(mapped, y), model_of().fit(X, y))


@pytest.mark.parametrize("fisher", FISHERS)
def test_a_map_is_fitted_like_the_array_by_every_metric(fisher, tmp_path, small_blocks):
    X, y = rows_of(3, n_rows=2500)
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    model = model_of(fisher=fisher).fit(written(tmp_path / "X", X), y, weight)
    assert_same_fit(model, model_of(fisher=fisher).fit(X, y, weight))


def test_labels_and_weights_may_be_maps_too(tmp_path, small_blocks):
    X, y = rows_of(3, n_rows=2500)
    weight = np.random.default_rng(1).uniform(size=len(y))
    maps = [written(tmp_path / name, array) for name, array in (("X", X), ("y", y), ("weight", weight))]
    assert_same_fit(model_of().fit(*maps), model_of().fit(X, y, weight))


def test_values_changed_in_a_copy_on_write_are_seen(tmp_path):
    X, y = rows_of()
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="c", shape=X.shape)
    for array in (mapped, X):
        array[1 : len(X) // 3, 0] *= -2.0
    assert_same_fit(model_of().fit(mapped, y), model_of().fit(X, y))


def test_values_changed_and_not_flushed_are_seen(tmp_path):
    X, y = rows_of()
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="r+", shape=X.shape)
    for array in (mapped, X):
        array[1 : len(X) // 3, 0] *= -2.0
    assert MemmapRows.behind(mapped) is not None
    assert_same_fit(model_of().fit(mapped, y), model_of().fit(X, y))


def test_what_is_computed_of_a_map_is_not_sought_in_the_file(tmp_path):
    X, y = rows_of()
    mapped = written(tmp_path / "X", X)
    assert_same_fit(model_of().fit(2.0 * mapped - 1.0, y), model_of().fit(2.0 * X - 1.0, y))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_map_of_so_many_rows_that_a_sample_comes_first(n_classes, tmp_path):
    X, y = rows_of(n_classes, n_rows=60_000, n_features=6)
    assert plan("true", Shape.of(X, max(n_classes, 2) - (n_classes == 2), 7)._replace(out_of_core=True)).samples
    mapped = written(tmp_path / "X", X)
    assert_same_optimum(model_of().fit(mapped, y), model_of().fit(X, y), tol=1e-8)


@pytest.mark.parametrize("n_rows", [1, 100, 2500])
def test_a_sample_of_a_map_is_that_of_the_array(n_rows, tmp_path, small_blocks):
    X, y = rows_of(3, n_rows=6000)
    mapped, samples = written(tmp_path / "X", X), []
    for rows in (mapped[::2, 1:], X[::2, 1:]):
        with Workers() as workers:
            source = memory.MemorySource(rows, y[::2], np.arange(len(rows)) % 3.0, 3, workers)
            samples.append(source.sample(n_rows))
    for name in ("X", "codes", "weight"):
        np.testing.assert_array_equal(*(getattr(sample, name) for sample in samples))
    assert len(samples[0].codes) >= n_rows
    assert not samples[0].out_of_core


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_map_solved_by_conjugate_gradients(n_classes, tmp_path, monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", 0.0)
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
        pytest.raises(ValueError, match=r"X is a memory map of X, which has .* bytes where .* cut short; write it"),
    ):
        model.fit(mapped, y)


@pytest.mark.parametrize("reads", [4, 12, 25])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_file_that_is_cut_short_in_mid_fit_is_an_error(reads, n_threads, tmp_path, monkeypatch, small_blocks):
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
        pytest.raises(ValueError, match=r"X is a memory map of X, which has 8 bytes .* cut short; write it again"),
    ):
        model.fit(mapped, y)
    assert threading.active_count() == before


def test_a_file_that_is_cut_short_while_a_sample_is_taken_is_an_error(tmp_path, monkeypatch):
    X, y = rows_of(2, n_rows=60_000, n_features=6)
    mapped = written(tmp_path / "X", X)
    model, sample = model_of().fit(X[:500], y[:500]), memory.MemorySource.sample

    def cutting(source, n_rows):
        if source.out_of_core:
            os.truncate(tmp_path / "X", X.nbytes // 2)
        return sample(source, n_rows)

    monkeypatch.setattr(memory.MemorySource, "sample", cutting)
    with unchanged(model), pytest.raises(ValueError, match="cut short"):
        model.fit(mapped, y)


def test_what_is_not_finite_in_a_file_is_named(tmp_path):
    X, y = rows_of()
    X[1234, 2] = np.nan
    with pytest.raises(ValueError, match=r"X contains NaN at row 1234, column 2 \(1 such in all\)"):
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
    # which shows that it would have been seen
    assert touched > size / 2


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="open files are counted in /proc")
@pytest.mark.parametrize("direct_price", [np.inf, 0.0])
def test_files_are_closed_when_the_fit_is_over(direct_price, tmp_path, monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", direct_price)
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
    with pytest.raises(ValueError, match="cut short"):
        model_of().fit(mapped, y)
    # the error knew of the rows
    gc.collect()
    assert len(list(DESCRIPTORS.iterdir())) == before


# Batches


def assert_batches_like_fit(X, y, sample_weight=None, *, size=500, **parameters):
    """Fit both ways, and return the one that was fitted to batches."""
    reference = model_of(**parameters).fit(X, y, sample_weight)
    model = model_of(**parameters).fit_batches(cut(X, y, sample_weight, size))
    assert_same_optimum(model, reference)
    assert model.converged_
    assert model.n_passes_ > 1
    assert model.n_features_in_ == reference.n_features_in_
    return model


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", FISHERS)
def test_batches_are_fitted_like_the_array(fisher, n_classes, little_room):
    assert_batches_like_fit(*rows_of(n_classes), fisher=fisher)


WEIGHTS = np.random.default_rng(1).integers(0, 4, 4000) * np.random.default_rng(2).uniform(size=4000)
OPTIONS = {
    "weights": ({}, WEIGHTS),
    "balanced": ({"class_weight": "balanced"}, None),
    "balanced weights": ({"class_weight": "balanced"}, WEIGHTS),
    "class weights": ({"class_weight": {0: 3.0, 1: 0.5}}, None),
    "class weights and weights": ({"class_weight": {0: 3.0, 1: 0.5}}, WEIGHTS),
    "no intercept": ({"fit_intercept": False}, None),
    "no penalty": ({"C": np.inf}, None),
    "much penalty": ({"C": 1e-4}, None),
    "short steps": ({"max_kl": 0.05}, None),
    "fixed steps": ({"learning_rate": 0.5}, None),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", list(OPTIONS))
def test_options_hold_for_batches(name, n_classes, little_room):
    parameters, weight = OPTIONS[name]
    assert_batches_like_fit(*rows_of(n_classes), weight, **parameters)


def table_of(X, y):
    return pd.DataFrame(X, columns=list("abcd")).assign(y=np.array(["no", "yes", "perhaps"])[y])


def from_parquet(path, table):
    table.to_parquet(path, row_group_size=700)
    scan = {"batch_size": 300, "fragment_scan_options": ds.ParquetFragmentScanOptions(pre_buffer=False)}
    return lambda: (
        (batch.select(list("abcd")).to_pandas(), batch["y"].to_numpy(zero_copy_only=False))
        for batch in ds.dataset(path).to_batches(**scan)
    )


def from_csv(path, table):
    table.to_csv(path, index=False)
    return lambda: ((chunk[list("abcd")], chunk["y"]) for chunk in pd.read_csv(path, chunksize=300))


@pytest.mark.parametrize("reader", [from_parquet, from_csv])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_files_are_read_a_few_times(reader, n_classes, little_room, tmp_path):
    table = table_of(*rows_of(n_classes))
    model = model_of().fit_batches(reader(tmp_path / "rows", table))
    assert model.n_passes_ > 1
    assert model.feature_names_in_.tolist() == list("abcd")
    assert_same_optimum(model, model_of().fit(table[list("abcd")], table["y"]))


def test_one_weight_for_all_rows_of_a_batch(little_room):
    X, y = rows_of()
    weighted = [(*batch, 0.5 + index) for index, batch in enumerate(cut(X, y))]
    weight = np.repeat([each for *_, each in weighted], 500)
    assert_same_optimum(model_of().fit_batches(weighted), model_of().fit(X, y, weight))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32])
def test_batches_of_any_type(dtype, little_room):
    X, y = rows_of()
    assert_batches_like_fit(abs(X).astype(dtype), y)


def test_batches_of_float32_give_coefficients_of_float32(little_room):
    X, y = rows_of()
    assert assert_batches_like_fit(X.astype(np.float32), y).coef_.dtype == np.float32
    mixed = [(X.astype(np.float32), y), (X, y)]
    for batches in (mixed, mixed[::-1]):
        assert model_of().fit_batches(batches).coef_.dtype == np.float64


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array, np.asfortranarray])
def test_batches_in_any_container(container, little_room):
    X, y = rows_of(3)
    X = np.where(X > 0, X, 0.0)
    model = model_of().fit_batches([(container(part), labels) for part, labels in cut(X, y)])
    assert model.n_passes_ > 1
    assert_same_optimum(model, model_of().fit(X, y))


def test_batches_of_which_some_are_sparse(little_room):
    X, y = rows_of(3)
    X = np.where(X > 0, X, 0.0)
    batches = cut(X, y)
    batches[1::2] = [(sparse.csr_array(part), labels) for part, labels in batches[1::2]]
    assert_same_optimum(model_of().fit_batches(batches), model_of().fit(X, y))


def test_batches_of_a_wide_sparse_matrix_with_columns_that_are_empty(room_for):
    room_for(5000)
    X = sparse.random(4000, 250, density=0.02, format="csr", random_state=0)
    X = sparse.hstack([X, sparse.csr_matrix((4000, 50))], format="csr")
    y = np.asarray(X.sum(axis=1)).ravel() + np.random.default_rng(0).logistic(size=4000) > 3.0
    model = assert_batches_like_fit(X, y)
    assert not model.coef_[:, 250:].any()


def test_batches_of_frames_have_names(little_room):
    X, y = rows_of()
    frame = pd.DataFrame(X, columns=list("abcd"))
    labels = pd.Series(np.where(y, "yes", "no"))
    model = model_of().fit_batches([(frame[part], labels[part]) for part in (slice(0, 1500), slice(1500, None))])
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_passes_ > 1
    assert_same_optimum(model, model_of().fit(frame, labels))
    model.fit_batches(cut(X, y))
    assert not hasattr(model, "feature_names_in_")


LABELS = {
    "words": np.array(["c", "a", "bb"]),
    "objects": np.array(["c", "a", "bb"], dtype=object),
    "negative": np.array([3, -7, 0]),
    "whole floats": np.array([2.0, 0.0, 1.0]),
    "far apart": np.array([10**12, -3, 5]),
    "one byte": np.array([-128, 127, 0], dtype=np.int8),
}


@pytest.mark.parametrize("name", list(LABELS))
def test_labels_of_any_kind(name, little_room):
    X, y = rows_of(3)
    labels = LABELS[name][y]
    model = assert_batches_like_fit(X, labels)
    assert model.classes_.dtype == labels.dtype
    np.testing.assert_array_equal(model.predict(X), model_of().fit(X, labels).predict(X))


def test_boolean_labels(little_room):
    X, y = rows_of()
    assert assert_batches_like_fit(X, y == 1).classes_.dtype == bool


def test_words_of_many_classes_in_small_batches(little_room):
    """A batch of as many classes as rows is not suspicious."""
    X, y = rows_of(30, n_rows=1500)
    assert_batches_like_fit(X, np.array([f"class {k}" for k in range(30)])[y], size=40)


def test_words_that_are_longer_in_later_batches(little_room):
    X, y = rows_of(3)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    labels = np.array(["a", "bbb", "ccccccc"])[y]
    ends = np.searchsorted(y, [0, 1, 2, 3])
    batches = [(X[a:b], labels[a:b].astype(f"U{len(labels[a])}")) for a, b in pairwise(ends.tolist())]
    model = model_of().fit_batches(batches)
    assert model.classes_.tolist() == ["a", "bbb", "ccccccc"]
    assert_same_optimum(model, model_of().fit(X, labels))


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_stored_covariance_is_that_of_all_rows_and_a_stream_goes_on_from_it(fisher, n_classes, little_room):
    X, y = rows_of(n_classes, n_rows=5000)
    reference = model_of(fisher=fisher, store_covariance=True).fit(X[:4000], y[:4000])
    model = model_of(fisher=fisher, store_covariance=True).fit_batches(cut(X[:4000], y[:4000]))
    expected = reference.covariance_
    np.testing.assert_allclose(model.covariance_, expected, rtol=0, atol=1e-8 * abs(expected).max())
    for each in (reference, model):
        each.partial_fit(X[4000:], y[4000:])
    assert_same_optimum(model, reference, tol=1e-8)
    np.testing.assert_allclose(model.covariance_, reference.covariance_, rtol=0, atol=1e-8 * abs(expected).max())
    assert not hasattr(model, "n_passes_")


def test_a_warm_start_saves_passes(little_room):
    X, y = rows_of(3)
    cold = model_of().fit_batches(cut(X, y))
    warm = model_of(warm_start=True).fit_batches(cut(X[:3500], y[:3500]))
    warm.fit_batches(cut(X, y))
    assert warm.n_passes_ < cold.n_passes_
    assert_same_optimum(warm, cold)


# Passes


def counting(batches):
    """Return a reader of these, and the list of passes it began."""
    begun = []

    def read():
        begun.append(threading.get_ident())
        yield from batches

    return read, begun


@pytest.mark.parametrize("fisher", ["true", "monte_carlo"])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("container", [np.asarray, np.asfortranarray, sparse.csr_array])
def test_rows_that_all_have_room_are_read_once_and_fitted_like_the_array(container, weight, fisher):
    X, y = rows_of(3)
    read, begun = counting(cut(container(X), y, weight))
    model = model_of(fisher=fisher, class_weight="balanced").fit_batches(read)
    assert_same_fit(model, model_of(fisher=fisher, class_weight="balanced").fit(container(X), y, weight))
    assert model.n_passes_ == len(begun) == 1


def test_the_room_is_that_of_all_rows_and_no_more(room_for):
    X, y = rows_of()
    room_for(X.size)
    assert model_of().fit_batches(cut(X, y)).n_passes_ == 1
    room_for(X.size - 1)
    assert model_of().fit_batches(cut(X, y)).n_passes_ > 1


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("size", [97, 999, 4000])
def test_the_size_of_batches_changes_nothing(size, fisher, little_room):
    X, y = rows_of(3)
    model = model_of(fisher=fisher).fit_batches(cut(X, y, WEIGHTS, size=size))
    assert_same_optimum(model, model_of(fisher=fisher).fit_batches(cut(X, y, WEIGHTS)))


@pytest.mark.parametrize("fisher", FISHERS)
def test_two_fits_give_the_same_bits_at_any_number_of_threads(fisher, little_room, small_blocks):
    X, y = rows_of(3)
    batches = cut(X, y, size=1000)
    with threadpool_limits(1, user_api="blas"):
        alone = model_of(fisher=fisher).fit_batches(batches)
    for n_threads in (1, 2, 8):
        with threadpool_limits(n_threads, user_api="blas"):
            assert_same_bits(model_of(fisher=fisher).fit_batches(batches), alone)


@pytest.mark.parametrize("place", [0, 3, 8])
@pytest.mark.parametrize("room", [2000, 10**6])
def test_batches_without_rows_are_skipped(place, room, room_for):
    room_for(room)
    X, y = rows_of()
    batches = cut(X, y, WEIGHTS)
    plain = model_of().fit_batches(batches)
    batches.insert(place, (X[:0], y[:0], WEIGHTS[:0]))
    assert_same_fit(model_of().fit_batches(batches), plain)


class Folder:
    """Can be iterated over anew for each pass."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        """Begin a pass."""
        return iter(self.batches)


def test_batches_may_come_in_any_iterable_that_can_be_read_again(little_room):
    X, y = rows_of()
    batches = cut(X, y)
    plain = model_of().fit_batches(batches)
    as_lists = [list(batch) for batch in batches]
    for given in (tuple(batches), Folder(batches), lambda: iter(batches), lambda: batches, as_lists):
        model = model_of().fit_batches(given)
        assert_same_fit(model, plain)
        assert model.n_passes_ == plain.n_passes_


@pytest.mark.parametrize("name", ["sorted", "sorted the other way", "in turn"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_order_of_rows_changes_nothing(n_classes, name, little_room):
    X, y = rows_of(n_classes)
    order = np.argsort(y, kind="stable")
    if name == "sorted the other way":
        order = order[::-1]
    if name == "in turn":
        order = np.argsort(np.argsort(order) % 500, kind="stable")
    model = assert_batches_like_fit(X[order], y[order])
    assert_same_optimum(model, model_of().fit(X, y), tol=1e-8)


@pytest.mark.parametrize("place", ["first", "last", "anywhere"])
def test_a_rare_class_is_found_and_fitted(place, room_for):
    """40 rows of 50,000, where fewer than two would be expected in reserve."""
    room_for(4 * 1500)
    X, y = rows_of(2, n_rows=50_000)
    random = np.random.default_rng(3)
    rows = {"first": np.arange(40), "last": np.arange(-40, 0), "anywhere": random.choice(50_000, 40, replace=False)}
    y[rows[place]] = 2
    X[rows[place]] += [1.0, 0.0, 2.0, 0.0]
    model = assert_batches_like_fit(X, y, size=5000)
    assert model.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_batches_solved_by_conjugate_gradients(n_classes, room_for, monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", 0.0)
    X, y = rows_of(n_classes, n_rows=6000, n_features=30)
    room_for(X.size // 4)
    X /= 2.0 ** np.arange(30)
    assert_batches_like_fit(X, y, size=1000)


@pytest.mark.parametrize(
    ("n_classes", "n_features", "n_rows"), [(2, 6, 50_000), (3, 6, 50_000), (2, 50, 200_000), (3, 50, 200_000)]
)
def test_passes_are_few_and_all_are_counted(n_classes, n_features, n_rows, room_for):
    X, y = rows_of(n_classes, n_rows=n_rows, n_features=n_features)
    X[:, 6:] /= 2.0 ** np.arange(6, n_features)
    room_for(X.size // 4)
    read, begun = counting(cut(X, y, size=5000))
    model = NaturalGradientLogisticRegression().fit_batches(read)
    assert 1 < model.n_passes_ <= 6
    assert model.n_passes_ == len(begun)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("parameters", [{}, {"store_covariance": True}, {"C": np.inf}, {"warm_start": True}])
def test_every_pass_is_counted(parameters, fisher, little_room):
    X, y = rows_of()
    read, begun = counting(cut(X, y))
    model = model_of(fisher=fisher, **parameters).fit_batches(read)
    assert model.n_passes_ == len(begun)
    # the same estimator again
    begun.clear()
    assert model.fit_batches(read).n_passes_ == len(begun)


def test_an_object_is_iterated_over_once_a_pass(little_room):
    begun = []

    class Opened(Folder):
        def __iter__(self):
            """Begin a pass, which may be dear."""
            begun.append(1)
            return super().__iter__()

    model = model_of().fit_batches(Opened(cut(*rows_of())))
    assert model.n_passes_ == len(begun)


def test_the_number_of_passes_goes_with_the_fit_it_belongs_to(little_room):
    X, y = rows_of()
    model = model_of().fit_batches(cut(X, y))
    assert hasattr(model, "n_passes_")
    assert not hasattr(model.fit(X, y), "n_passes_")
    assert not hasattr(model.fit_batches(cut(X, y)).partial_fit(X, y, classes=[0, 1]), "n_passes_")


def test_a_fitted_estimator_can_be_cloned_and_pickled(little_room):
    X, y = rows_of()
    read, _ = counting(cut(X, y))
    model = model_of(C=2.0).fit_batches(read)
    assert clone(model).get_params() == model.get_params() == model_of(C=2.0).get_params()
    assert not hasattr(clone(model), "n_passes_")
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
    assert_same_bits(copied, model)
    assert copied.n_passes_ == model.n_passes_


def test_classes_that_are_known_may_come_in_any_order(little_room):
    X, y = rows_of(3)
    labels = np.array(["a", "b", "c"])[y]
    batches = cut(X, labels)
    assert_same_bits(model_of().fit_batches(batches, classes=["c", "a", "b"]), model_of().fit_batches(batches))


@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("by", ["class_weight", "sample_weight"])
@pytest.mark.parametrize("door", ["fit", "fit_batches"])
def test_a_class_without_weight_is_no_obstacle_to_a_sample(door, by, absent, room_for):
    X, y = rows_of(3, n_rows=20_000)
    room_for(X.size // 2)
    kept = y != absent
    weight = kept.astype(float) if by == "sample_weight" else None
    parameters = {"C": 1.0, "class_weight": {absent: 0.0} if by == "class_weight" else None}
    model = model_of(**parameters)
    if door == "fit":
        model.fit(X, y, weight)
    else:
        model.fit_batches(cut(X, y, weight, size=2000))
    # what is left to tell apart are the two others
    other = sorted({0, 1, 2} - {absent})
    logits = model.decision_function(X)
    without = model_of(C=2.0).fit(X[kept], y[kept])
    difference = logits[:, other[1]] - logits[:, other[0]]
    np.testing.assert_allclose(difference, without.decision_function(X), atol=1e-6 * abs(difference).max())


def test_no_convergence_is_told_where_the_fit_was_asked_for(little_room):
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        model = model_of(max_iter=1).fit_batches(cut(*rows_of()))
    assert caught[0].filename == __file__
    assert not model.converged_
    assert model.n_passes_ > 1


def test_separation_is_told(little_room):
    X, _ = rows_of()
    with pytest.warns(SeparationWarning):
        model_of(C=np.inf, tol=1e-8).fit_batches(cut(X, X[:, 0] > 0))


def test_separation_in_part_names_the_column(little_room):
    X, y = rows_of()
    frame = pd.DataFrame(
        np.column_stack([X, np.where(y == 1, np.arange(len(y)) % 10 == 0, 0.0)]), columns=list("abcde")
    )
    frame["e"] = frame["e"].astype(float)
    with pytest.warns(SeparationWarning, match="mostly by e:"):
        model_of(C=np.inf, tol=1e-8).fit_batches([(frame[:2000], y[:2000]), (frame[2000:], y[2000:])])


# Errors


ROWS, CODES = rows_of(3)
BATCHES = cut(ROWS, CODES)


def once(batches=BATCHES):
    yield from batches


def always_the_same():
    batches = once()
    return lambda: batches


def but(number, batch, from_pass=1):
    """Return a reader of the batches, of which one is another from some pass on, or is left out."""
    passes = count(1)

    def read():
        changed = next(passes) >= from_pass
        for index, each in enumerate(BATCHES):
            if not (changed and index == number):
                yield each
            elif batch is not None:
                yield batch

    return read


def with_value(value, row=17, column=2):
    X = ROWS[:500].copy()
    X[row, column] = value
    return X, CODES[:500]


def weighted(weight):
    return [(*batch, np.full(500, weight)) for batch in BATCHES]


X5, Y5 = ROWS[:500], CODES[:500]
ERRORS = {
    "an iterator": (lambda: iter(BATCHES), r"batches is a list_iterator, which cannot be read more than once; pass"),
    "a generator": (once, r"batches is a generator, which cannot be read more than once; pass a list of batches"),
    "a number": (lambda: 3, r"batches is a int"),
    "None": (lambda: None, r"batches is a NoneType"),
    "one pair": (lambda: (ROWS, CODES), r"batches gave a ndarray as batch 0; each must be \(X, y\) or \(X, y, sam"),
    "no pair": (lambda: but(3, X5), r"batches gave a ndarray as batch 3; each must be \(X, y\)"),
    "four": (lambda: but(3, (X5, Y5, None, None)), r"batches gave a tuple as batch 3; each must be \(X, y\)"),
    "the same iterator": (
        always_the_same,
        r"batches gave 0 rows in pass 2 and 4,000 in the first; each pass must give",
    ),
    "columns": (lambda: but(3, (X5[:, :3], Y5)), r"batch 3: X has 3 features, but .* expecting 4"),
    "columns in pass 2": (lambda: but(3, (X5[:, :3], Y5), 2), r"batch 3: X has 3 features, but .* expecting 4"),
    "lengths": (lambda: but(3, (X5, Y5[:499])), r"batch 3: .*inconsistent numbers of samples: \[500, 499\]"),
    "labels without rows": (lambda: but(3, (X5[:0], Y5)), r"batch 3: Found array with 0 sample"),
    "rows without labels": (lambda: but(3, (X5, Y5[:0])), r"batch 3: .*inconsistent numbers of samples"),
    "no labels": (lambda: but(3, (X5, None)), r"batch 3: .*requires y to be passed"),
    "one label": (lambda: but(3, (X5, 1)), r"batch 3: y should be a 1d array"),
    "NaN": (lambda: but(3, with_value(np.nan)), r"batch 3: .*X contains NaN at row 17, column 2 \(1 such"),
    "infinity": (lambda: but(3, with_value(np.inf)), r"batch 3: .*X contains infinity at row 17, column 2"),
    "NaN, sparse": (
        lambda: but(3, (sparse.csr_array(with_value(np.nan)[0]), Y5)),
        r"batch 3: .*X contains NaN at row 17, column 2",
    ),
    "NaN in pass 2": (lambda: but(3, with_value(np.nan), 2), r"batch 3: .*X contains NaN at row 17, column 2"),
    "NaN in y": (lambda: but(3, (X5, np.where(Y5 == 1, np.nan, Y5))), r"batch 3: y contains NaN .*at row"),
    "fewer rows": (lambda: but(3, None, 2), r"batches gave 3,500 rows in pass 2 and 4,000 in the first; each pass"),
    "more rows": (
        lambda: but(3, (np.tile(X5, (2, 1)), np.tile(Y5, 2)), 3),
        r"batches gave 4,500 rows in pass 3 and 4,000 in the first; each pass must give the same rows",
    ),
    "a new label": (lambda: but(3, (X5, Y5 + 1), 2), r"y holds 3, which is not among .* \[0, 1, 2\]"),
    "words and numbers": (
        lambda: but(3, (X5, Y5.astype(str))),
        r"y holds labels of different kinds, such as 0 and '0'",
    ),
    "numbers in between": (lambda: but(3, (X5, Y5 + 0.5)), r"Unknown label type: continuous"),
    "no batches": (list, r"batches gave no rows; a fit needs rows of two classes or more"),
    "no rows": (lambda: [(X5[:0], Y5[:0])] * 3, r"batches gave no rows; a fit needs rows of two classes"),
    "one class": (lambda: [(X5, np.full(500, "a"))] * 8, r"y holds only one class, 'a'; a classifier needs"),
    "negative weights": (
        lambda: but(3, (X5, Y5, np.linspace(-1, 1, 500))),
        r"batch 3: sample_weight contains the negative value -1.0 at row 0; every weight must be >= 0",
    ),
    "NaN weights": (lambda: but(3, (X5, Y5, np.full(500, np.nan))), r"batch 3: sample_weight contains nan at row 0"),
    "few weights": (lambda: but(3, (X5, Y5, np.ones(3))), r"batch 3: sample_weight has shape \(3,\)"),
    "no weight": (lambda: weighted(0.0), r"sample_weight is zero for every row; at least one"),
    "one class with weight": (
        lambda: [(*batch, batch[1] == 1) for batch in BATCHES],
        r"leave only one class with a positive weight, 1;",
    ),
    "huge values": (
        lambda: [*BATCHES, with_value(1e200)],
        r"X holds values so large, up to 1.0e\+200, that sums of their squares overflow float64; rescale",
    ),
    "huge weights": (
        lambda: [*BATCHES, (X5, Y5, np.full(500, 1e306))],
        r"sample_weight .* so large, up to 1.0e\+306, that weighted sums",
    ),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_an_error_says_what_is_wrong_and_leaves_the_estimator_as_it_was(name, little_room):
    given, message = ERRORS[name]
    model = model_of(store_covariance=True).fit(ROWS[::3], CODES[::3])
    before = threading.active_count()
    with unchanged(model), pytest.raises(ValueError, match=message) as caught:
        model.fit_batches(given())
    assert "\n" not in str(caught.value)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1], r"y holds 2, which is not among .* classes \[0, 1\]"),
        (["0", "1", "2"], r"y holds 0, which is not among .* classes \['0', '1', '2'\]"),
        ([0, 1, 2, 5], r"classes holds 5, which no .* has; leave it out: nothing can be learnt of it"),
        ([1], r"classes=\[1\] must hold two classes or more"),
        ([[0, 1, 2]], r"classes=.* must be a 1-dimensional list of labels that sort"),
    ],
)
def test_classes_that_are_known_hold_for_all_batches(classes, message, little_room):
    model = model_of().fit(ROWS[::3], CODES[::3])
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit_batches(BATCHES, classes)


def test_an_estimator_that_was_not_fitted_stays_so(little_room):
    model = model_of()
    with unchanged(model), pytest.raises(ValueError, match="batch 3: X has 3 features"):
        model.fit_batches(but(3, (X5[:, :3], Y5), 2))
    assert not hasattr(model, "n_features_in_")


def test_parameters_are_checked_before_anything_is_read():
    read, begun = counting(BATCHES)
    with pytest.raises(ValueError, match="'C' parameter"):
        model_of(C=-1.0).fit_batches(read)
    assert not begun


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("in_pass", [1, 2, 3])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_the_reader_raises_comes_out_as_it_is(n_threads, in_pass, kind, little_room):
    passes, error = count(1), kind("disk")

    def read():
        here = next(passes)
        for index, batch in enumerate(BATCHES):
            if (here, index) == (in_pass, 3):
                raise error
            yield batch

    model = model_of().fit(ROWS[::3], CODES[::3])
    before = threading.active_count()
    with threadpool_limits(n_threads, user_api="blas"):
        blas = blas_threads()
        with unchanged(model), pytest.raises(kind) as caught:
            model.fit_batches(read)
        assert blas_threads() == blas
    assert caught.value is error
    assert threading.active_count() == before
    # and nothing stands in the way of another fit
    assert_same_bits(model.fit_batches(BATCHES), model_of().fit_batches(BATCHES))


# Reading


def test_batches_are_read_in_the_thread_that_asked_for_the_fit(little_room):
    seen = set()

    def read():
        for batch in BATCHES:
            seen.add(threading.get_ident())
            yield batch
        seen.add(threading.get_ident())

    with threadpool_limits(2, user_api="blas"):
        model_of().fit_batches(read)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_batch_is_read_while_the_one_before_is_worked_on(n_threads, little_room, monkeypatch):
    """The reader waits for the work to have begun, and the work for the reader to be about the next batch."""
    passes, met, together = count(1), [], threading.Barrier(2)

    def meet(who):
        together.wait(PATIENCE)
        met.append(who)

    def read():
        here = next(passes)
        for index, batch in enumerate(BATCHES):
            if here == 2 and index == 4:
                meet("reader")
            yield batch

    def working(X, start, stop):
        # of the batch before
        if (next(works) == 3) and not met:
            meet("work")
        return take_rows(X, start, stop)

    works = count()
    monkeypatch.setattr(batch_source, "take_rows", working)
    with threadpool_limits(n_threads, user_api="blas"):
        model_of().fit_batches(read)
    assert sorted(met) == ["reader", "work"]


class Watched(np.ndarray):
    """Rows whose end can be waited for."""


@pytest.mark.parametrize("n_threads", [1, 2])
def test_there_are_never_more_than_two_batches(n_threads, little_room):
    alive, most = set(), []
    names = count()

    def made(start):
        X = np.ascontiguousarray(ROWS[start : start + 250]).view(Watched)
        name = next(names)
        alive.add(name)
        weakref.finalize(X, alive.discard, name)
        most.append(len(alive))
        return X

    def read():
        for start in range(0, len(ROWS), 250):
            yield made(start), CODES[start : start + 250]

    gc.disable()
    try:
        with threadpool_limits(n_threads, user_api="blas"):
            model_of(store_covariance=True).fit_batches(read)
    finally:
        gc.enable()
    assert max(most) <= 2
    assert not alive


@pytest.mark.parametrize("fisher", ["true", "diagonal"])
def test_memory_does_not_grow_with_the_number_of_batches(fisher, little_room):
    def peak(n_batches):
        def read():
            random = np.random.default_rng(0)
            for _ in range(n_batches):
                X = random.normal(size=(2000, 10))
                yield X, X[:, 0] + random.logistic(size=2000) > 0

        tracemalloc.start()
        try:
            NaturalGradientLogisticRegression(fisher=fisher, tol=1e-3).fit_batches(read)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(3)
    assert peak(40) < peak(10) + MIB / 4


# Groups of blocks


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_groups_are_merged_in_order_whoever_is_first(n_threads):
    """Words do not commute. Every other one waits until the one after it is done, where there is anyone to do it."""
    done = [threading.Event() for _ in range(60)]

    def work(item):
        if n_threads > 1 and item % 4 == 0:
            assert done[item + 1].wait(PATIENCE)
        done[item].set()
        return f"{item} "

    groups = [list(range(start, start + 10)) for start in range(0, 60, 10)]
    # some without anything
    groups[2:2] = [[]]
    groups.append([])
    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        joined = workers.map_reduce_groups(work, str.__add__, iter([[], *groups]))
    assert joined == "".join(f"{item} " for item in range(60))
    assert all(event.is_set() for event in done)


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_a_group_is_read_while_the_one_before_is_worked_on_by_other_threads(n_threads):
    together, here, elsewhere = threading.Barrier(2), threading.get_ident(), []

    def groups():
        for index in range(5):
            if index:
                together.wait(PATIENCE)
            assert threading.get_ident() == here
            yield [index]

    def work(item):
        elsewhere.append(threading.get_ident())
        if item < 4:
            together.wait(PATIENCE)
        return [item]

    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        assert workers.map_reduce_groups(work, list.__add__, groups()) == list(range(5))
    assert here not in elsewhere


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_a_group_is_asked_for_only_when_the_one_before_the_last_is_done(n_threads):
    done = []

    def groups():
        for index in range(6):
            # two groups of 5 at most: the one that is read, and the one before
            assert len(done) >= 5 * (index - 1)
            yield [index] * 5

    def work(item):
        done.append(item)
        return 1

    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        assert workers.map_reduce_groups(work, int.__add__, groups()) == 30


class Item:
    """Something whose end can be seen."""


def test_a_thread_without_work_keeps_nothing_of_what_it_worked_on():
    """Two threads meet over the first group; only one of them has anything to do with the second."""
    together, of_first = threading.Barrier(2), []

    def groups():
        first = [Item(), Item()]
        of_first.extend(weakref.ref(item) for item in first)
        yield first
        del first
        yield [Item()]
        assert [item() for item in of_first] == [None, None]
        yield [Item()]

    def work(item):
        if any(each() is item for each in of_first):
            together.wait(PATIENCE)
        return 1

    with threadpool_limits(2, user_api="blas"), Workers() as workers:
        assert workers.map_reduce_groups(work, int.__add__, groups()) == 4


@pytest.mark.parametrize("n_threads", [1, 2, 8])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["reader", "function", "merge"])
def test_an_error_anywhere_ends_the_pass(where, error, n_threads):
    done = []

    def groups():
        for start in range(0, 1000, 10):
            if where == "reader" and start == 30:
                raise error
            yield list(range(start, start + 10))

    def work(item):
        if where == "function" and item == 25:
            raise error
        done.append(item)
        return item

    def merge(left, right):
        if where == "merge" and len(done) > 25:
            raise error
        return left + right

    before = threading.active_count()
    with threadpool_limits(n_threads, user_api="blas"):
        blas = blas_threads()
        with Workers() as workers:
            with pytest.raises(error):
                workers.map_reduce_groups(work, merge, groups())
            assert len(done) < 100
            # and the threads are as good as new
            assert workers.map_reduce_groups(int, int.__add__, [[1, 2], [3]]) == 6
            assert set(blas_threads()) == {1}
        assert blas_threads() == blas
    assert threading.active_count() == before


def test_an_error_in_the_reader_waits_for_work_in_progress():
    """Nothing goes on in the background when the error is seen."""
    begun, over = threading.Event(), []

    def groups():
        yield [0]
        begun.wait(PATIENCE)
        raise OSError

    def work(item):
        begun.set()
        threading.Event().wait(0.05)
        over.append(item)

    with threadpool_limits(2, user_api="blas"), Workers() as workers:
        with pytest.raises(OSError):  # noqa: PT011 - it has no words
            workers.map_reduce_groups(work, lambda left, _: left, groups())
        assert over == [0]


def test_overflow_is_as_quiet_in_a_thread():
    """What numpy does about overflow is kept by thread, and warnings are errors here."""
    large = np.full(3, 1e300)
    with threadpool_limits(2, user_api="blas"), Workers() as workers, np.errstate(over="ignore"):
        products = workers.map_reduce_groups(lambda item: large * item, np.add, [[1e300], [1.0]])
    assert np.isinf(products).all()


# The reserve


def reserved(codes, room, size, weight=None, width=1):
    """Let rows go by whose first value is their index; return the reserve, and what it keeps of them."""
    codes = np.asarray(codes)
    weight = np.ones(len(codes)) if weight is None else weight
    X = np.repeat(np.arange(len(codes), dtype=float)[:, None], width, axis=1)
    reserve = StratifiedReservoir(8 * width * room)
    for batch in cut(X, codes, weight, size):
        reserve.add(*batch)
    kept, kept_codes, kept_weight = reserve.rows()
    rows = kept[:, 0].astype(int)
    np.testing.assert_array_equal(kept_codes, codes[rows])
    np.testing.assert_array_equal(kept_weight, weight[rows])
    return reserve, rows


@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_reserve_keeps_all_rows_in_order_while_there_is_room(size):
    weight = np.arange(300) % 2.0
    reserve, rows = reserved(np.arange(300) % 3, 300, size, weight, width=2)
    assert reserve.complete
    assert rows.tolist() == list(range(300))
    assert not reserved(np.arange(300) % 3, 299, size, weight, width=2)[0].complete


@pytest.mark.parametrize("room", [200, 1000, 5000])
def test_a_reserve_fills_its_room_by_half_and_no_more(room):
    reserve, rows = reserved(np.arange(20_000) % 2, room, 500)
    assert reserve.n_rows == 20_000
    assert 0.4 * room < len(rows) <= room
    assert (np.diff(rows) > 0).all()
    # from everywhere
    assert abs(rows.mean() / 10_000 - 1) < 0.2


def test_what_is_kept_of_common_classes_does_not_depend_on_the_batches():
    """The rows with the smallest draws, one draw a row: of classes with more rows among them than each has at least."""
    codes = np.random.default_rng(0).integers(0, 3, 20_000)
    draws = np.random.default_rng(0).random(20_000)
    kept = {size: reserved(codes, 1000, size)[1].tolist() for size in (50, 64, 1000, 20_000)}
    for rows in kept.values():
        assert rows == np.flatnonzero(draws <= draws[rows].max()).tolist()
        assert rows == kept[1000]


def test_only_of_rare_classes_may_more_be_kept_with_other_batches():
    random = np.random.default_rng(0)
    codes = np.where(random.random(40_000) < 0.01, 2, random.integers(0, 2, 40_000))
    kept = {size: reserved(codes, 1000, size)[1] for size in (64, 1000, 40_000)}
    for rows in kept.values():
        np.testing.assert_array_equal(rows[codes[rows] < 2], kept[1000][codes[kept[1000]] < 2])
        rare = rows[codes[rows] == 2]
        assert len(rare) >= LEAST_OF_A_CLASS
    # the draws decide among them too
    smallest = kept[40_000][codes[kept[40_000]] == 2]
    assert all(set(smallest) <= set(rows) for rows in kept.values())


@pytest.mark.parametrize("size", [100, 2000, 40_000])
@pytest.mark.parametrize("place", ["first", "last", "anywhere"])
@pytest.mark.parametrize("n_rare", [5, 40, 400])
def test_a_reserve_keeps_some_rows_of_a_rare_class(n_rare, place, size):
    rows = np.random.default_rng(0).choice(40_000, n_rare, replace=False)
    codes = np.zeros(40_000, dtype=int)
    codes[{"first": slice(n_rare), "last": slice(-n_rare, None), "anywhere": rows}[place]] = 1
    _, kept = reserved(codes, 1000, size)
    assert np.count_nonzero(codes[kept]) >= min(n_rare, LEAST_OF_A_CLASS)
    assert len(kept) <= 1000


@pytest.mark.parametrize("size", [1000, 4000, 10_000])
@pytest.mark.parametrize("place", ["first", "anywhere"])
def test_rows_that_count_are_kept_of_a_class_of_which_most_do_not(place, size):
    """3,000 rows of a class, of which 100 have weight."""
    random = np.random.default_rng(0)
    rows = np.arange(3000) if place == "first" else np.sort(random.choice(200_000, 3000, replace=False))
    codes, weight = np.zeros(200_000, dtype=int), np.ones(200_000)
    codes[rows] = 1
    weight[random.permutation(rows)[:2900]] = 0.0
    _, kept = reserved(codes, 2000, size, weight)
    assert np.count_nonzero(codes[kept]) >= LEAST_OF_A_CLASS


def test_rows_without_weight_are_not_kept_once_there_is_no_room_for_all():
    weight = (np.arange(20_000) % 3 > 0).astype(float)
    reserve, rows = reserved(np.arange(20_000) % 2, 1000, 500, weight)
    assert not reserve.complete
    assert weight[rows].all()


def test_kept_rows_are_copies():
    X, y = rows_of()
    given = X.copy()
    reserve = StratifiedReservoir(X.nbytes)
    for part, codes in cut(given, y):
        reserve.add(part, codes, np.ones(len(codes)))
        part[:] = 0.0
    np.testing.assert_array_equal(reserve.rows()[0], X)


def surveyed(model, batches, workers):
    return _Reader(model, batches).training_data(None, workers)


@pytest.mark.parametrize("n_rows", [150, 400, 10**6])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 2: 0.1}])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_each_class_weighs_in_a_sample_what_it_weighs_in_all(weight, class_weight, n_rows, little_room):
    with Workers() as workers:
        problem = surveyed(model_of(class_weight=class_weight), cut(ROWS, CODES, weight), workers)
        sample = problem.source.sample(n_rows)
    given = np.ones(len(CODES)) if weight is None else weight
    totals = class_totals(CODES, given)
    np.testing.assert_allclose(problem.totals, totals)
    factors = {None: np.ones(3), "balanced": totals.sum() / (3 * totals)}
    expected = totals * (np.array([2.0, 1.0, 0.1]) if isinstance(class_weight, dict) else factors[class_weight])
    np.testing.assert_allclose(totals_of_all(sample.codes, sample.weight, 3), expected)
    assert len(sample.codes) <= len(CODES) / 4
    assert sample.weight.all()
    # with the rows' own labels
    index = {row.tobytes(): code for row, code in zip(ROWS, CODES, strict=True)}
    assert [index[row.tobytes()] for row in np.ascontiguousarray(sample.X)] == sample.codes.tolist()


@pytest.mark.parametrize("appearance", list(permutations([1, 5, 9])))
def test_labels_are_numbered_by_order_and_not_by_appearance(appearance, little_room):
    X, y = rows_of(3)
    order = np.argsort(y, kind="stable")
    X, labels = X[order], np.array(appearance)[y[order]]
    with Workers() as workers:
        problem = surveyed(model_of(), cut(X, labels), workers)
    sample = problem.source.reservoir
    assert problem.classes.tolist() == [1, 5, 9]
    np.testing.assert_allclose(problem.totals, [np.count_nonzero(labels == label) for label in (1, 5, 9)])
    index = {row.tobytes(): label for row, label in zip(X, labels, strict=True)}
    expected = [index[row.tobytes()] for row in np.ascontiguousarray(sample.X)]
    assert problem.classes[sample.codes].tolist() == expected


def test_nothing_is_warned_of_where_all_is_well(little_room):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NaturalGradientLogisticRegression().fit_batches(BATCHES)
