"""Fits on a distributed cluster of two processes: equal results, and failures in mid fit."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from distributed import Client, Future, LocalCluster
from problems import FISHER_METRICS, TIGHT, assert_close, in_chunks, raw_rows, standard_errors_apart

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.dask import DaskNaturalGradientLogisticRegression, DaskNaturalGradientLogisticRegressionCV


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        # sockets that it leaves to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
            yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", FISHER_METRICS)
def test_on_two_processes_it_is_the_fit_in_memory(n_classes, fisher, client):
    X, y, weight = raw_rows(n_classes)
    options = {"fisher": fisher, "tol": TIGHT, "random_state": 0, "class_weight": "balanced"}
    expected = NaturalGradientLogisticRegression(**options).fit(X, y, weight)
    model = DaskNaturalGradientLogisticRegression(**options).fit(*in_chunks(X, y, weight))
    # at any tol fits may leave 1e-20 of the loss: 1.6e-8 standard errors, each up to 1 % of a coefficient
    assert_close(model, expected, within=2e-10)
    assert model.converged_
    assert all(isinstance(value, np.ndarray) for value in (model.coef_, model.intercept_, model.classes_))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_at_the_defaults_it_is_the_fit_in_memory(n_classes, client, limits):
    limits(direct_products=np.inf)
    X, y, _ = raw_rows(n_classes)
    distributed = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y))
    in_memory = NaturalGradientLogisticRegression().fit(X, y)
    if n_classes == 2:
        # in memory, quasi-Newton steps for two classes end at 1e-11 of the loss
        excess = 1e-11 * len(y) * distributed.loss_curve_[-1]
        assert standard_errors_apart(in_memory, distributed, X, y) <= np.sqrt(2.0 * excess)
    else:
        assert_close(distributed, in_memory)


def test_clusters_of_one_and_two_processes_give_the_same_bits(client):
    X, y, weight = raw_rows(3, n_rows=60_000)
    data = in_chunks(X, y, weight)
    fits = [DaskNaturalGradientLogisticRegression().fit(*data)]
    # nine chunks, whose sums are merged by a tree of depth 2
    few = in_chunks(X[:4_500], y[:4_500], weight[:4_500], rows=500)
    searches = [DaskNaturalGradientLogisticRegressionCV(Cs=3, cv=3).fit(*few)]
    assert len(client.scheduler_info()["workers"]) == 2
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as one,
        Client(one, set_as_default=False) as alone,
        alone.as_current(),
    ):
        assert len(alone.scheduler_info()["workers"]) == 1
        fits.append(DaskNaturalGradientLogisticRegression().fit(*data))
        searches.append(DaskNaturalGradientLogisticRegressionCV(Cs=3, cv=3).fit(*few))
    assert (searches[0].coefs_paths_ == searches[1].coefs_paths_).all()
    assert (searches[0].scores_ == searches[1].scores_).all()
    assert (searches[0].coef_ == searches[1].coef_).all()
    for model in fits[1:]:
        assert (model.coef_ == fits[0].coef_).all()
        assert (model.intercept_ == fits[0].intercept_).all()
        assert model.loss_curve_ == fits[0].loss_curve_


def test_cancelled_work_leaves_the_estimator_as_it_was(client):
    X, y, _ = raw_rows()
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


def test_a_worker_killed_in_mid_fit_changes_nothing(client):
    X, y, weight = raw_rows(3)
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
    X, y, _ = raw_rows()
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
    X, y, _ = raw_rows()

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
