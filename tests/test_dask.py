"""Rows in Dask collections, on a real cluster of two processes and on Dask's own scheduler."""

import os
import signal
import threading
import time
import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, Future, LocalCluster
from problems import FISHERS
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._inputs.dask_collections import Table
from sknatgrad._rows.sampling import LEAST_OF_A_CLASS
from sknatgrad._solver import plan as _strategy
from sknatgrad.dask import DaskNaturalGradientLogisticRegression, infer
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer as infer_in_memory

TIGHT = 1e-12


def make(n_classes=2, n_rows=20_000, n_features=6, seed=0):
    """Raw columns of unlike scales, labels of a model, uneven weights."""
    random = np.random.default_rng(seed)
    scales = 10.0 ** random.integers(-3, 4, n_features)
    X = random.normal(size=(n_rows, n_features)) * scales
    theta = 2.0 * random.normal(size=(n_classes, n_features)) / scales / np.sqrt(n_features)
    y = (X @ theta.T + random.gumbel(size=(n_rows, n_classes))).argmax(axis=1)
    weight = random.uniform(0.1, 3.0, size=n_rows)
    weight[::7] = 0.0
    return X, y, weight


def in_chunks(*arrays, rows=2_500):
    return [da.from_array(array, chunks=(rows, *array.shape[1:])) for array in arrays]


def same(model, other, within=1e-10):
    size = abs(other.coef_).max()
    np.testing.assert_allclose(model.coef_ / size, other.coef_ / size, rtol=0, atol=within)
    np.testing.assert_allclose(
        model.intercept_, other.intercept_, rtol=0, atol=within * max(1, abs(other.intercept_).max())
    )
    assert model.classes_.tolist() == other.classes_.tolist()


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        # sockets that it leaves to the collector of garbage
        warnings.simplefilter("ignore", ResourceWarning)
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
            yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", [name for name in FISHERS if name != "identity"])
def test_on_two_processes_it_is_the_fit_in_memory(n_classes, fisher, client):
    X, y, weight = make(n_classes)
    options = {"fisher": fisher, "tol": TIGHT, "random_state": 0, "class_weight": "balanced"}
    expected = NaturalGradientLogisticRegression(**options).fit(X, y, weight)
    model = DaskNaturalGradientLogisticRegression(**options).fit(*in_chunks(X, y, weight))
    same(model, expected)
    assert model.converged_
    assert all(isinstance(value, np.ndarray) for value in (model.coef_, model.intercept_, model.classes_))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_at_the_defaults_it_is_the_fit_in_memory(n_classes, client, monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", np.inf)
    X, y, _ = make(n_classes)
    same(DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y)), NaturalGradientLogisticRegression().fit(X, y))


@pytest.mark.parametrize(
    "labels", [np.array(["no", "yes", "maybe"]), np.array([False, True]), np.array([-1.0, 7.0, 8.0])]
)
def test_labels_of_any_kind(labels):
    X, y, _ = make(len(labels))
    y = labels[y]
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(*in_chunks(X, y))
    same(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y))
    assert model.predict(in_chunks(X)[0]).compute().dtype == labels.dtype


def test_conjugate_gradients_go_to_the_chunks(monkeypatch):
    monkeypatch.setattr(_strategy, "DIRECT_PRICE", 0.0)
    X, y, weight = make(3)
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(*in_chunks(X, y, weight))
    same(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y, weight))


def test_an_iteration_is_one_pass_over_the_blocks(monkeypatch):
    """Beside the survey and the start; this small, no sample is drawn first."""
    X, y, _ = make()
    seen = []

    def counted(block):
        seen.append(len(block))
        return block

    lazy = in_chunks(X)[0].map_blocks(counted, dtype=float, meta=np.empty((0, 0)))
    model = DaskNaturalGradientLogisticRegression().fit(lazy, in_chunks(y)[0])
    assert sum(seen) == model.n_passes_ * len(X)
    assert model.n_passes_ == 2 + model.n_iter_[0]


def test_a_sample_first_saves_passes(monkeypatch):
    X, y, _ = make(n_rows=60_000)
    plain = DaskNaturalGradientLogisticRegression(max_kl=10.0).fit(*in_chunks(X, y))
    model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y))
    same(model, plain, within=1e-8)
    assert model.n_passes_ <= 6 < plain.n_passes_


def sampled(y, n_rows, rows, weight=None, factors=None):
    """What comes of asking for so many rows; X holds the index of each."""
    X = np.arange(float(len(y)))[:, None]
    dX, dy = in_chunks(X, y, rows=rows)
    model = DaskNaturalGradientLogisticRegression()
    table = Table.of(model, dX, dy, None if weight is None else in_chunks(weight, rows=rows)[0], reset=True)
    factors = np.ones(len(table.statistics.labels)) if factors is None else factors
    return table.source(table.statistics.labels, factors).sample(n_rows)


def test_a_sample_of_many_chunks_and_classes_is_as_small_as_was_asked():
    n_classes = 50
    y = np.random.default_rng(0).permutation(np.arange(40_000) % n_classes)
    sample = sampled(y, 4_000, rows=200)
    assert len(sample.codes) == 4_000
    assert np.bincount(sample.codes).tolist() == [80] * n_classes
    np.testing.assert_allclose(np.bincount(sample.codes, sample.weight), 800.0)
    assert len(np.unique(sample.X)) == 4_000
    assert np.bincount((sample.X[:, 0] // 200).astype(int), minlength=200).min() > 0


@pytest.mark.parametrize("n_rare", [1, 20, 32, 45, 400])
def test_a_rare_class_has_its_rows_in_the_whole_sample_not_in_each_chunk(n_rare):
    random = np.random.default_rng(n_rare)
    y = np.zeros(60_000, dtype=int)
    y[random.choice(60_000, n_rare, replace=False)] = 1
    weight = random.uniform(0.5, 2.0, 60_000)
    weight[:30_000:3] = 0.0
    sample = sampled(y, 600, 300, weight, np.array([1.0, 3.0]))
    kept = int(np.count_nonzero((y == 1) & (weight > 0)))
    counts = np.bincount(sample.codes, minlength=2)
    assert counts[1] == min(kept, LEAST_OF_A_CLASS)
    assert abs(counts[0] - 600) <= 6
    assert len(np.unique(sample.X)) == len(sample.codes)
    rows = sample.X[:, 0].astype(int)
    assert (weight[rows] > 0).all()
    assert (y[rows] == sample.codes).all()
    np.testing.assert_allclose(
        np.bincount(sample.codes, sample.weight, minlength=2), np.bincount(y, weight, minlength=2) * [1.0, 3.0]
    )


def test_a_class_that_counts_for_nothing_is_not_in_the_sample():
    y = np.arange(9_000) % 3
    sample = sampled(y, 100, 300, factors=np.array([1.0, 0.0, 2.0]))
    assert np.bincount(sample.codes).tolist() == [50, 0, 50]
    np.testing.assert_allclose(np.bincount(sample.codes, sample.weight), [3_000.0, 0.0, 6_000.0])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_blocks(kind):
    random = np.random.default_rng(0)
    X = np.where(random.random((6_000, 20)) < 0.1, random.normal(size=(6_000, 20)), 0.0)
    y = (X[:, 0] + random.logistic(size=6_000) > 0).astype(int)
    blocks = in_chunks(X, rows=1_000)[0].map_blocks(kind, dtype=float, meta=kind((0, 0)))
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(blocks, in_chunks(y, rows=1_000)[0])
    same(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y))
    np.testing.assert_allclose(model.predict_proba(blocks).compute(), model.predict_proba(X))


def frames(X, y, weight, npartitions=5):
    table = pd.DataFrame(X, columns=[f"column {j}" for j in range(X.shape[1])])
    table["label"], table["weight"] = np.array(["b", "a", "c"])[y], weight
    return dd.from_pandas(table, npartitions=npartitions)


def test_frames_of_unknown_lengths_keep_their_names():
    X, y, weight = make(3)
    table = frames(X, y, weight)
    table = table[table["column 0"] > 0]
    columns = [name for name in table.columns if name.startswith("column")]
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(table[columns], table["label"], table["weight"])
    held = table.compute()
    expected = NaturalGradientLogisticRegression(tol=TIGHT).fit(held[columns], held["label"], held["weight"])
    same(model, expected)
    assert model.feature_names_in_.tolist() == columns
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazily = getattr(model, method)(table[columns])
        assert isinstance(lazily, da.Array)
        now = getattr(model, method)(held[columns])
        if method == "predict":
            assert (lazily.compute() == now).all()
        else:
            np.testing.assert_allclose(lazily.compute(), now, rtol=1e-12, atol=1e-12)
    assert model.score(table[columns], table["label"]) == pytest.approx(expected.score(held[columns], held["label"]))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[columns[::-1]]).compute()


def test_arrays_of_unknown_lengths_and_empty_blocks():
    X, y, _ = make()
    dX, dy = in_chunks(X, y)
    keep = da.concatenate([dX[:2_500, 0] > np.inf, dX[2_500:, 0] > 0])
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(dX[keep], dy[keep])
    kept = np.append(np.zeros(2_500, bool), X[2_500:, 0] > 0)
    same(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X[kept], y[kept]))


PREDICTIONS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "decision_function_std",
    "predict_proba_interval",
    "predict_proba_averaged",
)


@pytest.mark.parametrize("method", PREDICTIONS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_of_empty_blocks_are_empty(n_classes, method):
    X, y, weight = make(n_classes, n_rows=1_000)
    table = frames(X, y, weight)
    columns = [name for name in table.columns if name.startswith("column")]
    held = table.compute()
    model = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(held[columns], held["label"])
    some = table[(table["column 0"] > 0) & (table.index >= 200)]
    expected = getattr(model, method)(some.compute()[columns])
    nameless = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(
        held[columns].to_numpy(), held["label"].to_numpy()
    )
    for lazily in (getattr(model, method)(some[columns]), getattr(nameless, method)(some[columns].to_dask_array())):
        if method == "predict":
            assert (lazily.compute() == expected).all()
        else:
            np.testing.assert_allclose(lazily.compute(), expected, rtol=1e-12)
    nothing = getattr(model, method)(table[table["column 0"] == np.inf][columns])
    assert nothing.compute().shape == (0, *expected.shape[1:])
    assert nothing.compute().dtype == nothing.dtype == expected.dtype


@pytest.mark.parametrize("method", PREDICTIONS)
@pytest.mark.parametrize("types", ["float32", "float64", "mixed", "Float32", "integers"])
def test_predictions_of_frames_have_the_type_that_they_declare(method, types):
    X, y, _ = make(3, n_rows=400, n_features=2)
    held = pd.DataFrame({"a": X[:, 0] / abs(X[:, 0]).max(), "b": X[:, 1] / abs(X[:, 1]).max()})
    small = held.astype("float32")
    model = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(small, y)
    asked = {
        "float32": small,
        "float64": held,
        "mixed": small.assign(b=held["b"]),
        "Float32": small.astype("Float32"),
        "integers": (4 * held).astype("int32"),
    }[types]
    lazily, now = getattr(model, method)(dd.from_pandas(asked, npartitions=3)), getattr(model, method)(asked)
    assert lazily.dtype == lazily.compute().dtype == now.dtype
    if method != "predict":
        assert (lazily.dtype == np.float32) == (types == "float32")


def test_a_collection_whose_rows_change_in_mid_fit_is_refused():
    X, _, _ = make()
    calls = []

    def changing(rows):
        def change(block, block_info=None):
            if block_info[None]["chunk-location"][0] == 3:
                calls.append(block)
                return block[: len(block) if len(calls) < 3 else rows]
            return block

        return change

    for rows in (2_400, 0):
        calls.clear()
        # both change together, as those of a file that is written to
        with dask.config.set(scheduler="synchronous"):
            lost = in_chunks(X)[0].map_blocks(changing(rows), dtype=float, meta=np.empty((0, 0)))
            labels = lost.map_blocks(lambda block: (block[:, 0] > 0).astype(int), dtype=int, drop_axis=1)
            model = DaskNaturalGradientLogisticRegression()
            message = rf"block 3: it has {rows:,} rows in this pass, and had 2,500 in the first; .*persist\(\)"
            with pytest.raises(ValueError, match=message):
                model.fit(lost, labels)
            assert not hasattr(model, "coef_")


def worded(kind):
    X, y, _ = make(n_rows=400)
    table = pd.DataFrame({"a": X[:, 0], "town": np.array(["Bath", "Ely"])[(X[:, 1] > 0).astype(int)], "y": y})
    return table.astype({"town": kind})


@pytest.mark.parametrize("kind", ["object", "category", "string"])
def test_a_column_of_words_is_named_with_its_block(kind):
    table = worded(kind)
    lazy = dd.from_pandas(table, npartitions=2)
    said = r"could not convert string to float: '(Bath|Ely)'; column 'town' of X, of type \w+.*, must hold numbers"
    with pytest.raises(ValueError, match="block 0: " + said):
        DaskNaturalGradientLogisticRegression().fit(lazy[["a", "town"]], lazy["y"])
    batches = [(part[["a", "town"]], part["y"]) for part in (table[:200], table[200:])]
    with pytest.raises(ValueError, match="batch 0: " + said):
        NaturalGradientLogisticRegression().fit_batches(batches)


def test_dates_are_named_and_categories_of_numbers_are_numbers():
    table = worded("object")
    dates = table.assign(town=pd.to_datetime("2020-01-01"))
    lazy = dd.from_pandas(dates, npartitions=2)
    with pytest.raises(ValueError, match=r"^block 0: column 'town' of X, of type datetime64\[\w+\], must hold numbers"):
        DaskNaturalGradientLogisticRegression().fit(lazy[["a", "town"]], lazy["y"])
    numbers = table.assign(town=pd.Categorical(np.arange(400) % 3))
    lazy = dd.from_pandas(numbers, npartitions=2)
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(lazy[["a", "town"]], lazy["y"])
    same(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(numbers[["a", "town"]], numbers["y"]))


def test_labels_and_weights_may_be_in_memory_or_a_number():
    X, y, weight = make()
    expected = NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y, weight)
    same(DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(in_chunks(X)[0], y, weight), expected)
    doubled = NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y, 2.0)
    same(DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(*in_chunks(X, y), 2.0), doubled)
    table = frames(X, y, weight)
    measured = table[[name for name in table.columns if name.startswith("column")]].to_dask_array(lengths=True)
    same(DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(measured, y, weight), expected)


def test_labels_as_a_frame_or_array_of_one_column():
    X, y, weight = make(3)
    table = frames(X, y, weight)
    columns = [name for name in table.columns if name.startswith("column")]
    expected = DaskNaturalGradientLogisticRegression().fit(table[columns], table["label"])
    same(DaskNaturalGradientLogisticRegression().fit(table[columns], table[["label"]]), expected)
    dX, dy = in_chunks(X, y)
    same(
        DaskNaturalGradientLogisticRegression().fit(dX, dy[:, None]),
        DaskNaturalGradientLogisticRegression().fit(dX, dy),
    )


def test_other_chunks_are_cut_anew_with_a_word():
    X, y, _ = make()
    expected = NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y)
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT)
    with pytest.warns(UserWarning, match=r"y is not in the chunks of X, and is cut anew in every pass: y\.rechunk"):
        model.fit(in_chunks(X)[0], in_chunks(y, rows=999)[0])
    same(model, expected)
    with pytest.warns(UserWarning, match="X is cut along its columns"):
        model.fit(da.from_array(X, chunks=(2_500, 2)), in_chunks(y)[0])
    same(model, expected)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_number_of_workers_changes_no_bit(n_workers):
    X, y, weight = make(3)
    with dask.config.set(scheduler="threads", num_workers=n_workers):
        model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y, weight))
    with dask.config.set(scheduler="synchronous"):
        alone = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y, weight))
    assert (model.coef_ == alone.coef_).all()
    assert model.loss_curve_ == alone.loss_curve_


def test_clusters_of_one_and_two_processes_give_the_same_bits(client):
    X, y, weight = make(3, n_rows=60_000)
    data = in_chunks(X, y, weight)
    fits = [DaskNaturalGradientLogisticRegression().fit(*data)]
    assert len(client.scheduler_info()["workers"]) == 2
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as one,
        Client(one, set_as_default=False) as alone,
        alone.as_current(),
    ):
        assert len(alone.scheduler_info()["workers"]) == 1
        fits.append(DaskNaturalGradientLogisticRegression().fit(*data))
    for model in fits[1:]:
        assert (model.coef_ == fits[0].coef_).all()
        assert (model.intercept_ == fits[0].intercept_).all()
        assert model.loss_curve_ == fits[0].loss_curve_


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_prior_is_the_same_as_in_memory(n_classes):
    X, y, weight = make(n_classes)
    earlier = NaturalGradientLogisticRegression(store_covariance=True).fit(X[:2_500], y[:2_500], weight[:2_500])
    rest = X[2_500:], y[2_500:], weight[2_500:]
    without = NaturalGradientLogisticRegression(tol=TIGHT).fit(*rest)
    for prior in (earlier, (earlier.coef_[0], 1e3 / X.std(axis=0) ** -2)):
        expected = NaturalGradientLogisticRegression(tol=1e-14, prior=prior).fit(*rest)
        model = DaskNaturalGradientLogisticRegression(tol=1e-14, prior=prior).fit(*in_chunks(*rest))
        same(model, expected)
        assert abs(model.coef_ - without.coef_).max() > 1e-4 * abs(without.coef_).max()


def test_at_the_default_tolerance_many_columns_agree_as_far_as_it_says():
    """What is left is at most the share tol of the loss, on both sides; coefficients may differ by what that allows."""
    random = np.random.default_rng(0)
    X = random.normal(size=(30_000, 60))
    y = (X @ random.normal(size=60) / 8.0 + random.logistic(size=30_000) > 0).astype(int)
    model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y))
    expected = NaturalGradientLogisticRegression().fit(X, y)
    best = NaturalGradientLogisticRegression(tol=1e-14).fit(X, y)
    assert model.converged_
    left = model.tol * best.loss_curve_[-1]
    assert model.loss_curve_[-1] - best.loss_curve_[-1] <= left
    # two points from which no more is left are so far apart in the metric, nats a row
    logits = model.decision_function(X) - expected.decision_function(X)
    proba = best.predict_proba(X)
    apart = 0.5 * (proba.prod(axis=1) * logits**2).mean()
    assert apart <= 4.0 * left


def test_cancelled_work_leaves_the_estimator_as_it_was(client):
    X, y, _ = make()
    model = DaskNaturalGradientLogisticRegression().fit(X[:100], y[:100])
    before = vars(model).copy()

    def slow(block):
        time.sleep(0.2)
        return block

    lazy = in_chunks(X)[0].map_blocks(slow, dtype=float, meta=np.empty((0, 0)))

    def cancel():
        while not client.futures:
            time.sleep(0.02)
        client.cancel([Future(key, client) for key in list(client.futures)])

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(ConnectionError, match=r"client was closed, or its work cancelled, .* fit again"):
        model.fit(lazy, in_chunks(y)[0])
    canceller.join()
    assert vars(model) == before


@parametrize_with_checks([DaskNaturalGradientLogisticRegression()])
def test_contract(estimator, check):
    with warnings.catch_warnings():
        # the checks' separable data and low max_iter are meant to warn
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", SkipTestWarning)
        check(estimator)


def test_a_worker_killed_in_mid_fit_changes_nothing(client):
    X, y, weight = make(3)
    expected = DaskNaturalGradientLogisticRegression(fisher="diagonal").fit(*in_chunks(X, y, weight))

    def slow(block):
        time.sleep(0.02)
        return block

    pid = next(iter(client.run(os.getpid).values()))
    lazy = in_chunks(X)[0].map_blocks(slow, dtype=float, meta=np.empty((0, 0)))
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()
    begin = time.monotonic()
    model = DaskNaturalGradientLogisticRegression(fisher="diagonal").fit(lazy, *in_chunks(y, weight))
    assert time.monotonic() - begin > 0.5, "the fit ended before the worker did"
    killer.join()
    client.wait_for_workers(2)
    assert (model.coef_ == expected.coef_).all()
    assert model.loss_curve_ == expected.loss_curve_


def test_a_client_closed_in_mid_fit_leaves_the_estimator_as_it_was(cluster):
    X, y, _ = make()
    model = DaskNaturalGradientLogisticRegression().fit(X[:100], y[:100])
    before = vars(model).copy()

    def slow(block):
        time.sleep(0.2)
        return block

    client = Client(cluster)
    lazy = in_chunks(X)[0].map_blocks(slow, dtype=float, meta=np.empty((0, 0)))
    closer = threading.Timer(0.5, client.close)
    closer.start()
    with pytest.raises(ConnectionError, match=r"client was closed, or its work cancelled, .* fit again"):
        model.fit(lazy, in_chunks(y)[0])
    closer.join()
    assert vars(model) == before


def test_what_fails_lazily_names_its_block(client):
    X, y, _ = make()

    def broken(block, block_info=None):
        if block_info[None]["chunk-location"][0] == 5:
            message = "the disk is gone"
            raise OSError(message)
        return block

    lazy = in_chunks(X)[0].map_blocks(broken, dtype=float, meta=np.empty((0, 0)))
    model = DaskNaturalGradientLogisticRegression()
    with pytest.raises(ValueError, match="block 5 could not be computed: OSError: the disk is gone"):
        model.fit(lazy, in_chunks(y)[0])
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "n_features_in_")


def with_value(array, row, value):
    array = array.copy()
    array[row] = value
    return array


BAD = {
    "NaN": (lambda X, y: (with_value(X, (6_000, 1), np.nan), y), r"block 2: .*NaN at row 1000, column 1"),
    "missing label": (lambda X, y: (X, with_value(y.astype(float), 3_000, np.nan)), "block 1: y contains NaN"),
    "one class": (lambda X, y: (X, 0 * y), "y holds only one class, 0; a classifier needs"),
    "continuous": (lambda X, _: (X, X[:, 0]), "block 0: Unknown label type: continuous"),
    "huge": (lambda X, y: (1e200 * X, y), "X holds values so large"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_named_with_their_block(case):
    change, message = BAD[case]
    X, y, _ = make()
    with pytest.raises(ValueError, match=message):
        DaskNaturalGradientLogisticRegression().fit(*in_chunks(*change(X, y)))


def test_what_does_not_fit_together_is_refused_before_any_work():
    X, y, weight = make()

    def never(block):
        pytest.fail("work was done")
        return block

    dX = in_chunks(X)[0].map_blocks(never, dtype=float, meta=np.empty((0, 0)))
    dy = in_chunks(y)[0]
    unknown = dX[dX[:, 0] > 0]
    table = frames(X, y, weight).map_partitions(never, meta=frames(X, y, weight)._meta)
    fit = DaskNaturalGradientLogisticRegression().fit
    cases = [
        ((dX, dy[:-1]), "y has 19,999 rows and X has 20,000; they must have the same"),
        ((dX, dy, weight[:-1]), "sample_weight has 19,999 rows and X has 20,000"),
        ((X, dy), "X is a ndarray; beside Dask collections it must be one too"),
        ((dX[:, 0], dy), "X has 1 dimensions; it must have 2"),
        ((unknown, y), "y is in memory, and the lengths of the blocks of X are not known"),
        ((unknown, in_chunks(y, rows=5_000)[0]), "y is in 4 blocks and X in 8, and not all of their lengths are known"),
        ((dX, None), "y is None; it must hold one label a row of X"),
        ((dX, da.stack([dy, dy], axis=1)), r"y has shape \(20000, 2\); it must be 1-dimensional, with one value a row"),
        ((dX, np.stack([y, y], axis=1)), r"y has shape \(20000, 2\); it must be 1-dimensional"),
        ((dX, dy, da.stack([dy, dy], axis=1)), r"sample_weight has shape \(20000, 2\); it must be 1-dimensional"),
        ((dX, dX[:, 0], dX[:, :2][dX[:, 0] > 0]), "sample_weight has shape .*nan, 2.*; it must be 1-dimensional"),
        ((table[["column 0"]], table[["column 1", "label"]]), "y is a DataFrame of 2 columns; it must have one"),
        ((dX, dy, dy.mean()), "sample_weight is a Dask array of one number, not yet computed; .*compute"),
        ((dX, dy.sum()), "y is a Dask array of one number"),
        ((table[["column 0"]], table["label"], table["weight"].mean()), "sample_weight is a Scalar"),
        ((dX, dask.delayed(y)), r"y is a Delayed.*; it must be .*dask\.array\.from_delayed"),
        ((dX, dy, dask.delayed(weight)), r"sample_weight is a Delayed.*; .*dask\.array\.from_delayed"),
        ((dX, 1), "y is 1; it must hold one label a row of X"),
        ((table[["column 0"]], y), r"y is in memory, .*X\.to_dask_array\(lengths=True\)"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            fit(*given)
    with pytest.raises(ValueError, match="damping"):
        DaskNaturalGradientLogisticRegression(damping=-1.0).fit(dX, dy)


def test_rows_of_a_block_without_labels_are_refused():
    X, y, _ = make()
    dX, dy = in_chunks(X, y)
    with pytest.raises(ValueError, match=r"block 3: .*inconsistent numbers of samples"):
        DaskNaturalGradientLogisticRegression().fit(
            dX[dX[:, 0] > -np.inf],
            da.concatenate([dy[:7_500], dy[7_500:9_000], dy[10_000:]]).rechunk(
                ((2_500, 2_500, 2_500, 1_500, 2_500, 2_500, 2_500, 2_500),)
            ),
        )


def test_predictions_are_lazy_and_those_in_memory():
    X, y, _ = make(3)
    model = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(*in_chunks(X, y))
    plain = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
    np.testing.assert_allclose(
        model.covariance_, plain.covariance_, rtol=1e-6, atol=1e-12 * abs(plain.covariance_).max()
    )
    dX = in_chunks(X)[0]
    for method in PREDICTIONS:
        lazily = getattr(model, method)(dX)
        now = getattr(model, method)(X)
        assert isinstance(lazily, da.Array)
        assert lazily.shape == now.shape
        assert lazily.dtype == now.dtype
        if method == "predict":
            assert (lazily.compute() == now).all()
        else:
            np.testing.assert_allclose(lazily.compute(), now, rtol=1e-12, atol=1e-12)
    assert model.score(dX, in_chunks(y)[0]) == pytest.approx(model.score(X, y))


def test_lazy_predictions_are_those_of_the_fit_they_were_asked_of():
    X, y, _ = make()
    dX, dy = in_chunks(X, y)
    model = DaskNaturalGradientLogisticRegression().fit(dX, dy)
    expected, lazily = model.decision_function(X), model.decision_function(dX)
    model.fit(dX, 1 - dy)
    np.testing.assert_allclose(lazily.compute(), expected, rtol=1e-12, atol=1e-12)


def test_in_memory_it_is_the_plain_estimator():
    X, y, weight = make(3, n_rows=500)
    model = clone(DaskNaturalGradientLogisticRegression(C=2.0)).fit(X, y, weight)
    plain = NaturalGradientLogisticRegression(C=2.0).fit(X, y, weight)
    assert (model.coef_ == plain.coef_).all()
    assert model.score(X, y) == plain.score(X, y)


def test_separation_is_warned_of():
    X = np.linspace(-1, 1, 400)[:, None]
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(ConvergenceWarning):
        DaskNaturalGradientLogisticRegression(C=np.inf).fit(*in_chunks(X, y, rows=100))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("asked", ["fisher", "frequentist", "robust", "HC1"])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_inference_is_that_in_memory(n_classes, asked, C):
    X, y, weight = make(n_classes, n_rows=3_000)
    model = DaskNaturalGradientLogisticRegression(C=C, class_weight={0: 2.0}).fit(*in_chunks(X, y, weight, rows=500))
    weights = "frequency" if asked in {"fisher", "frequentist"} else "sampling"
    options = {"covariance": asked, "weights": weights}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        dX, dy, dw = in_chunks(X, y, weight, rows=500)
        result = infer(model, dX, dy, sample_weight=dw, **options)
        expected = infer_in_memory(model, X, y, sample_weight=weight, **options)
        some = infer(model, dX, dy, sample_weight=dw, features=[0, 6], **options)
    np.testing.assert_allclose(result.standard_errors, expected.standard_errors, rtol=1e-9)
    np.testing.assert_allclose(some.standard_errors, expected.standard_errors[:, [0, 6]], rtol=1e-6)
    assert result.loglik == pytest.approx(expected.loglik, rel=1e-12)
    assert result.loglik_null == pytest.approx(expected.loglik_null, rel=1e-12)
    assert result.n == pytest.approx(expected.n)
    assert str(result.summary()) == str(expected.summary())
    effects, known = result.marginal_effects(), expected.marginal_effects()
    np.testing.assert_allclose(effects.standard_errors, known.standard_errors, rtol=1e-8)


def test_inference_says_what_it_cannot_do():
    X, y, _ = make(n_rows=1_000)
    dX, dy = in_chunks(X, y, rows=250)
    model = DaskNaturalGradientLogisticRegression(C=np.inf).fit(dX, dy)
    with pytest.raises(ValueError, match="covariance='cluster' needs rows one by one"):
        infer(model, dX, dy, covariance="cluster")
    with pytest.raises(ValueError, match=r"X is a Dask collection.* use sknatgrad\.dask\.infer"):
        infer_in_memory(model, dX, dy)
    with pytest.raises(ValueError, match="needs the rows of the fit one by one"):
        infer(model, dX, dy).score_test(X)
    with pytest.raises(ValueError, match="are not those of the fit"):
        infer(model, dX, 1 - dy)
    smaller = DaskNaturalGradientLogisticRegression(C=np.inf).fit(dX[:, :2], dy)
    larger, less = infer(model, dX, dy), infer(smaller, dX[:, :2], dy)
    expected = infer_in_memory(model, X, y).lr_test(infer_in_memory(smaller, X[:, :2], y))
    assert larger.lr_test(less).statistic == pytest.approx(expected.statistic, rel=1e-8)
