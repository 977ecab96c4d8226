"""The source of rows in batches: threads, memory, and the sample it keeps."""

import gc
import threading
import tracemalloc
import weakref
from itertools import count, permutations

import numpy as np
import pytest
from problems import BATCHES, CODES, MIB, ROWS, TIMEOUT, WEIGHTS, in_batches, model_of, needed, rows_of
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._estimator.fit_batches import check_batches
from sknatgrad._inputs.weights import totals_of_all
from sknatgrad._rows import batches as batch_source
from sknatgrad._rows.batches import BatchSource
from sknatgrad._rows.centring import take_centred
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.sampling import class_totals
from sknatgrad._rows.source import LabelledRows
from sknatgrad._rows.threads import Workers


def test_batches_are_read_in_the_thread_that_asked_for_the_fit(small_capacity):
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
def test_a_batch_is_read_while_the_one_before_is_worked_on(n_threads, small_capacity, monkeypatch):
    """The reader waits until the work has begun, and the work until the reader is at the next batch."""
    passes, met, together = count(1), [], threading.Barrier(2)

    def meet(who):
        together.wait(TIMEOUT)
        met.append(who)

    def read():
        number = next(passes)
        for index, batch in enumerate(BATCHES):
            if number == 2 and index == 4:
                meet("reader")
            yield batch

    def working(X, start, stop, centres):
        # of the batch before
        if (next(works) == 3) and not met:
            meet("work")
        return take_centred(X, start, stop, centres)

    works = count()
    monkeypatch.setattr(batch_source, "take_centred", working)
    with threadpool_limits(n_threads, user_api="blas"):
        model_of().fit_batches(read)
    assert sorted(met) == ["reader", "work"]


class Watched(np.ndarray):
    """An array that a finalizer can watch."""


@pytest.mark.parametrize("n_threads", [1, 2])
def test_there_are_never_more_than_two_batches(n_threads, small_capacity):
    alive, counts = set(), []
    names = count()

    def made(start):
        X = np.ascontiguousarray(ROWS[start : start + 250]).view(Watched)
        name = next(names)
        alive.add(name)
        weakref.finalize(X, alive.discard, name)
        counts.append(len(alive))
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
    assert max(counts) <= 2
    assert not alive


@pytest.mark.parametrize("fisher", ["true", "diagonal"])
def test_memory_does_not_grow_with_the_number_of_batches(fisher, small_capacity):
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


@pytest.mark.parametrize("n_rows", [150, 400, 10**6])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 2: 0.1}])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_each_class_weighs_in_a_sample_what_it_weighs_in_all(weight, class_weight, n_rows, small_capacity):
    with Workers() as workers:
        data = check_batches(model_of(class_weight=class_weight), in_batches(ROWS, CODES, weight), None, workers)
        sample = data.source.sample(n_rows)
    given = np.ones(len(CODES)) if weight is None else weight
    totals = class_totals(CODES, given)
    np.testing.assert_allclose(data.totals, totals)
    factors = {None: np.ones(3), "balanced": totals.sum() / (3 * totals)}
    expected = totals * (np.array([2.0, 1.0, 0.1]) if isinstance(class_weight, dict) else factors[class_weight])
    np.testing.assert_allclose(totals_of_all(sample.codes, sample.weight, 3), expected)
    assert len(sample.codes) <= len(CODES) / 4
    assert sample.weight.all()
    # with the rows' own labels
    index = {row.tobytes(): code for row, code in zip(ROWS, CODES, strict=True)}
    assert [index[row.tobytes()] for row in np.ascontiguousarray(sample.X)] == sample.codes.tolist()


@pytest.mark.parametrize("appearance", list(permutations([1, 5, 9])))
def test_labels_are_numbered_by_order_and_not_by_appearance(appearance, small_capacity):
    X, y = rows_of(3)
    order = np.argsort(y, kind="stable")
    X, labels = X[order], np.array(appearance)[y[order]]
    with Workers() as workers:
        data = check_batches(model_of(), in_batches(X, labels), None, workers)
    sample = data.source.reservoir
    assert data.layout.classes.tolist() == [1, 5, 9]
    np.testing.assert_allclose(data.totals, [np.count_nonzero(labels == label) for label in (1, 5, 9)])
    index = {row.tobytes(): label for row, label in zip(X, labels, strict=True)}
    expected = [index[row.tobytes()] for row in np.ascontiguousarray(sample.X)]
    assert data.layout.classes[sample.codes].tolist() == expected


def test_rows_out_of_core_are_not_stored_in_float32():
    needed("dask", "Dask is not installed")
    chunks = needed("sknatgrad._rows.dask_chunks", "Dask is not installed")
    sample = MemorySource(ROWS, CODES, np.ones(len(CODES)), 3)
    batches = BatchSource(lambda: iter([LabelledRows(ROWS, CODES, sample.weight)]), sample, 3, Workers())
    cluster = chunks.ClusterSource((), 3, np.zeros((0, 3), dtype=int), np.zeros(3))
    for source in (batches, cluster):
        assert source.out_of_core
        assert source.as_float32() is source
