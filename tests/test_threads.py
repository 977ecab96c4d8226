"""Threads: equal bits at any number of threads, limits of BLAS restored, errors passed on."""

import subprocess
import sys
import threading
import time
import warnings
import weakref
from itertools import count

import dask
import dask.array as da
import numpy as np
import pytest
from problems import ROOT, TIMEOUT, blas_threads, make_problem
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, merge
from sknatgrad._limits import Limits
from sknatgrad._rows.threads import Workers, _ProcessSettings, single_threaded_blas
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.inference import infer


@pytest.fixture
def small_blocks(limits):
    """Many blocks of few rows, so that several threads have work."""
    limits(block_bytes=1, min_block_rows=50)


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_results_are_merged_in_order_whichever_is_first(n_threads):
    """Concatenation does not commute: the results are merged in the order of the items."""
    items = list(range(60))
    delays = np.random.default_rng(0).uniform(0, 2e-3, size=60)

    def slow(item):
        time.sleep(delays[item])
        return f"{item} "

    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        assert workers.map_reduce(slow, str.__add__, items) == "".join(f"{item} " for item in items)


@pytest.mark.parametrize("n_threads", [1, 2, 8])
@pytest.mark.parametrize("fisher", ["true", "empirical", "diagonal", "kronecker", "monte_carlo"])
def test_same_bits_at_any_number_of_threads(n_threads, fisher, small_blocks):
    X, y = load_digits(return_X_y=True)
    X, y = X[y < 3], y[y < 3]

    def fit():
        model = NaturalGradientLogisticRegression(fisher=fisher, random_state=0, max_iter=5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(X, y)

    with threadpool_limits(1, user_api="blas"):
        alone = fit()
    with threadpool_limits(n_threads, user_api="blas"):
        together = [fit(), fit()]
    for model in together:
        np.testing.assert_array_equal(model.coef_, alone.coef_)
        assert model.loss_curve_ == alone.loss_curve_


def test_blas_is_limited_during_a_fit_and_restored_after_it(small_blocks):
    X, y = load_digits(return_X_y=True)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with single_threaded_blas() as allowed:
            assert set(blas_threads()) == {1}
            assert allowed == 2
        assert blas_threads() == before
        NaturalGradientLogisticRegression(C=1e-4, tol=1e-3).fit(X, y)
        assert blas_threads() == before


def test_blas_is_restored_after_an_error(small_blocks):
    X, y = load_digits(return_X_y=True)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(ValueError, match="overflow"):
            NaturalGradientLogisticRegression().fit(1e300 * X, y)
        assert blas_threads() == before


def test_the_last_of_several_contexts_restores_blas():
    with threadpool_limits(2, user_api="blas"):
        before, inside, leave = blas_threads(), threading.Event(), threading.Event()
        allowed = []

        def limit():
            with single_threaded_blas() as threads:
                allowed.append(threads)
                inside.set()
                leave.wait()

        other = threading.Thread(target=limit)
        with single_threaded_blas():
            other.start()
            inside.wait()
        # the first context has ended, the second has not
        assert set(blas_threads()) == {1}
        leave.set()
        other.join()
        assert blas_threads() == before
        assert allowed == [2]


def test_four_fits_in_four_threads_are_right(small_blocks):
    X, y = load_digits(return_X_y=True)
    problems = [(X[y < k], y[y < k]) for k in (2, 3, 4, 5)]
    alone = [NaturalGradientLogisticRegression().fit(*problem) for problem in problems]
    together = [NaturalGradientLogisticRegression() for _ in problems]
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        threads = [
            threading.Thread(target=model.fit, args=problem) for model, problem in zip(together, problems, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert blas_threads() == before
    for model, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(model.coef_, expected.coef_)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_one_block_ends_the_pass(n_threads, error):
    done = []

    def fail(item):
        if item == 5:
            raise error
        done.append(item)
        return item

    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        with pytest.raises(error):
            workers.map_reduce(fail, int.__add__, list(range(1000)))
        assert len(done) < 100
        # the threads then work as before
        assert workers.map_reduce(int, int.__add__, list(range(10))) == 45


def test_few_results_wait_for_a_slow_block():
    """The first block takes long; only a few results may wait for it."""
    waiting, counts = set(), []

    def work(item):
        if item == 0:
            time.sleep(0.05)
        waiting.add(item)
        counts.append(len(waiting))
        return {item}

    def merge(left, right):
        waiting.difference_update(left | right)
        return left | right

    with threadpool_limits(2, user_api="blas"), Workers() as workers:
        assert workers.map_reduce(work, merge, list(range(50))) == set(range(50))
    assert max(counts) <= 6


def test_threads_end_with_the_fit(small_blocks):
    before = threading.active_count()
    X, y = load_digits(return_X_y=True)
    with threadpool_limits(4, user_api="blas"):
        NaturalGradientLogisticRegression(C=1e-4, tol=1e-3).fit(X, y)
    assert threading.active_count() == before


def test_overflow_in_a_block_is_as_quiet_in_a_thread():
    """numpy keeps its handling of overflow by thread, and warnings are errors in this suite."""
    problem = make_problem(2, n_rows=400)._replace(limits=Limits(block_bytes=1, min_block_rows=50))
    with threadpool_limits(4, user_api="blas"), np.errstate(over="ignore", invalid="ignore"):
        measured = problem.objective("true").measure(np.full(problem.theta.shape, 1e308))
    assert not np.isfinite(measured.gradient).all() or not np.isfinite(measured.loss)


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_groups_are_merged_in_order_whichever_is_first(n_threads):
    """Concatenation does not commute. With more than one thread, some items wait until the next one is done."""
    done = [threading.Event() for _ in range(60)]

    def work(item):
        if n_threads > 1 and item % 4 == 0:
            assert done[item + 1].wait(TIMEOUT)
        done[item].set()
        return f"{item} "

    groups = [list(range(start, start + 10)) for start in range(0, 60, 10)]
    # two groups are empty
    groups[2:2] = [[]]
    groups.append([])
    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        joined = workers.map_reduce_groups(work, str.__add__, iter([[], *groups]))
    assert joined == "".join(f"{item} " for item in range(60))
    assert all(event.is_set() for event in done)


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_a_group_is_read_while_the_one_before_is_worked_on_by_other_threads(n_threads):
    together, reader, workers_of_items = threading.Barrier(2), threading.get_ident(), []

    def groups():
        for index in range(5):
            if index:
                together.wait(TIMEOUT)
            assert threading.get_ident() == reader
            yield [index]

    def work(item):
        workers_of_items.append(threading.get_ident())
        if item < 4:
            together.wait(TIMEOUT)
        return [item]

    with threadpool_limits(n_threads, user_api="blas"), Workers() as workers:
        assert workers.map_reduce_groups(work, list.__add__, groups()) == list(range(5))
    assert reader not in workers_of_items


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
    """An object that a weak reference can watch."""


def test_a_thread_without_work_keeps_no_item():
    """Two threads share the first group; only one of them has work in the second."""
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
            together.wait(TIMEOUT)
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
            # the threads then work as before
            assert workers.map_reduce_groups(int, int.__add__, [[1, 2], [3]]) == 6
            assert set(blas_threads()) == {1}
        assert blas_threads() == blas
    assert threading.active_count() == before


def test_a_group_that_is_read_after_an_error_is_discarded():
    failed, done = threading.Event(), []

    def groups():
        yield [0]
        failed.wait(TIMEOUT)
        # until the thread that failed has ended the pass
        time.sleep(0.05)
        yield [1]

    def work(item):
        done.append(item)
        failed.set()
        raise ZeroDivisionError

    with threadpool_limits(1, user_api="blas"), Workers() as workers, pytest.raises(ZeroDivisionError):
        workers.map_reduce_groups(work, int.__add__, groups())
    assert done == [0]


def test_an_error_in_the_reader_waits_for_work_in_progress():
    """When the error is raised, no work continues in the background."""
    begun, over = threading.Event(), []

    def groups():
        yield [0]
        begun.wait(TIMEOUT)
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
    """numpy keeps its handling of overflow by thread, and warnings are errors in this suite."""
    large = np.full(3, 1e300)
    with threadpool_limits(2, user_api="blas"), Workers() as workers, np.errstate(over="ignore"):
        products = workers.map_reduce_groups(lambda item: large * item, np.add, [[1e300], [1.0]])
    assert np.isinf(products).all()


# workers of Dask's pools, as many as no other test has
NUMBERS = count(100)


def coefficients(model):
    return np.hstack([model.coef_, model.intercept_[:, None]])


def fit_in_memory(X, y):
    return coefficients(NaturalGradientLogisticRegression(max_iter=3).fit(X, y))


def fit_memmap(X, y):
    return coefficients(NaturalGradientLogisticRegression(max_iter=3, fisher="kronecker").fit(X, y))


def fit_in_batches(X, y):
    batches = [(X[start : start + 100], y[start : start + 100]) for start in range(0, len(y), 100)]
    model = NaturalGradientLogisticRegression(max_iter=3).fit_batches(batches)
    assert model.n_passes_ > 1
    return coefficients(model)


def fit_stream(X, y):
    return coefficients(NaturalGradientLogisticRegression().partial_fit(X, y, np.unique(y)))


def fit_chunks(X, y):
    chunks = da.from_array(np.asarray(X), chunks=(100, -1)), da.from_array(y, chunks=100)
    # a number of workers not used before makes Dask start a pool
    with dask.config.set(num_workers=next(NUMBERS)):
        return coefficients(DaskNaturalGradientLogisticRegression(max_iter=3).fit(*chunks))


def merged(X, y):
    halves = [
        NaturalGradientLogisticRegression(store_covariance=True, max_iter=3).fit(X[half::2], y[half::2])
        for half in (0, 1)
    ]
    return coefficients(merge(halves, X, y))


def information(X, y):
    return fisher_information(NaturalGradientLogisticRegression(max_iter=3).fit(X, y), X)


def inferred(X, y):
    return infer(NaturalGradientLogisticRegression().fit(X, y), X, y, covariance="robust").covariance


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sknatgrad.exceptions.InferenceWarning")
@pytest.mark.parametrize("n_startable", [0, 1])
@pytest.mark.parametrize(
    "compute", [fit_in_memory, fit_memmap, fit_in_batches, fit_stream, fit_chunks, merged, information, inferred]
)
def test_same_bits_if_no_more_threads_start(compute, n_startable, limits, monkeypatch, tmp_path):
    """WebAssembly and some sandboxes start no thread; a system at its limit starts some of them."""
    limits(block_bytes=1, min_block_rows=50, sample_bytes=8 * 2000)
    X, y = load_digits(n_class=3, return_X_y=True)
    if compute is fit_memmap:
        np.save(tmp_path / "rows.npy", X)
        X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    with threadpool_limits(3, user_api="blas"):
        expected = compute(X, y)
        starting, started = threading.Thread.start, []

        def start(thread):
            if len(started) >= n_startable:
                message = "can't start new thread"
                raise RuntimeError(message)
            started.append(thread)
            starting(thread)

        monkeypatch.setattr(threading.Thread, "start", start)
        found = compute(X, y)
    assert len(started) == n_startable
    np.testing.assert_array_equal(found, expected)


def test_without_other_threads_the_reader_works_on_each_group_before_it_reads_the_next(monkeypatch):
    """At most two groups exist, as with other threads: the one that is read, and the one before."""

    def refuse(_):
        raise RuntimeError

    done, watched = [], []

    def groups():
        for index in range(4):
            assert [item() for item in watched[:-3]] == [None] * len(watched[:-3])
            assert len(done) == 3 * index
            items = [Item() for _ in range(3)]
            watched.extend(weakref.ref(item) for item in items)
            yield items
            del items

    def work(_):
        done.append(threading.get_ident())
        return 1

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with threadpool_limits(2, user_api="blas"), Workers() as workers:
        assert workers.map_reduce_groups(work, int.__add__, groups()) == 12
        with pytest.raises(ZeroDivisionError):
            workers.map_reduce_groups(lambda item: 1 / item, int.__add__, [[1, 0], [1]])
    assert set(done) == {threading.get_ident()}


def test_threads_of_workers_without_a_context_end_with_them():
    before = threading.active_count()
    with threadpool_limits(4, user_api="blas"):
        workers = Workers()
        assert workers.map_reduce(int, int.__add__, list(range(10))) == 45
        threads = set(threading.enumerate())
        assert len(threads) > before
        del workers
    for thread in threads - {threading.current_thread()}:
        if thread.name.startswith("sknatgrad"):
            thread.join(TIMEOUT)
    assert threading.active_count() == before


LATE_FITS = """
import atexit, multiprocessing, sys, threading
import dask.array as da
import numpy as np
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info, threadpool_limits
from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.dask import DaskNaturalGradientLogisticRegression

NaturalGradientLogisticRegression._limits = NaturalGradientLogisticRegression._limits._replace(
    block_bytes=1, min_block_rows=50, sample_bytes=16_000
)
threadpool_limits(2, user_api="blas")
X, y = load_digits(n_class=3, return_X_y=True)
rows = slice(0, 250), slice(250, None)
main, reading, read_on = threading.main_thread(), threading.Event(), threading.Event()


def fits(batches=lambda: ((X[part], y[part]) for part in rows)):
    models = [
        NaturalGradientLogisticRegression(C=0.01).fit(X, y),
        NaturalGradientLogisticRegression(C=0.01).fit_batches(batches),
    ]
    # Dask itself stops in a process that is forked after its scheduler has started threads
    if multiprocessing.parent_process() is None:
        chunks = da.from_array(X, chunks=(100, -1)), da.from_array(y, 100)
        models.append(DaskNaturalGradientLogisticRegression(C=0.01).fit(*chunks))
    return [model.coef_ for model in models]


def check(where, found):
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)
    print(where, flush=True)


def batches_that_wait():
    for part in rows:
        reading.set()
        read_on.wait(60)
        yield X[part], y[part]


def until_the_main_thread_ends():
    main.join()
    read_on.set()


def outlive():
    # the main thread ends while this fit reads
    check("during", fits(batches_that_wait))
    check("after", fits())


def forked():
    check("forked", fits())
    assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {2}


expected = fits()
atexit.register(lambda: check("atexit", fits()))
threading.Thread(target=outlive).start()
reading.wait(60)
# a process is forked while another thread fits
child = multiprocessing.get_context("fork").Process(target=forked)
child.start()
child.join(60)
assert child.exitcode == 0, child.exitcode
threading.Thread(target=until_the_main_thread_ends).start()


def batches_that_never_come():
    yield X[rows[0]], y[rows[0]]
    blocked.set()
    threading.Event().wait()


def fit_for_ever():
    batches = [(X[part], y[part]) for part in rows]
    passes = iter([batches, batches_that_never_come()])
    NaturalGradientLogisticRegression(C=0.01).fit_batches(lambda: next(passes))


# a fit in a daemon thread, with threads of its own, does not keep the process
blocked = threading.Event()
threading.Thread(target=fit_for_ever, daemon=True).start()
blocked.wait(60)
"""


def test_a_forked_process_has_the_settings_of_before_the_fits_of_its_parent():
    with threadpool_limits(2, user_api="blas"):
        before, settings = blas_threads(), _ProcessSettings()
        settings.change()
        settings.lock.acquire()
        settings.restore_in_child()
        assert blas_threads() == before
        # a fit of the parent, unwound in the child, ends no other
        settings.restore()
        assert settings.change() == 2
        assert set(blas_threads()) == {1}
        settings.restore()
        assert blas_threads() == before
        settings.lock.acquire()
        settings.restore_in_child()
        assert blas_threads() == before


def test_fits_at_the_end_of_a_process_have_the_same_bits():
    """In a thread that outlives the main thread, in `atexit`, and in a process that is forked during a fit.

    A daemon thread that fits does not keep the process.
    """
    run = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-W", "error", "-c", LATE_FITS],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=6 * TIMEOUT,
    )  # fmt: skip
    assert run.stderr == ""
    assert run.stdout.split() == ["forked", "during", "after", "atexit"]


@pytest.mark.parametrize(("n_rows", "n_columns", "n_classes"), [(100, 4, 2), (128, 63, 2), (1600, 5, 30), (250, 32, 8)])
def test_tables_with_few_values_have_the_same_bits_for_any_number_of_threads(n_rows, n_columns, n_classes):
    """BLAS is left as it is only where it takes one thread: many classes make large matrices of few values."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns))
    y = np.arange(n_rows) % n_classes
    models = []
    for n_threads in (1, 4):
        with threadpool_limits(n_threads):
            models.append(NaturalGradientLogisticRegression(max_iter=3, tol=0.5).fit(X, y))
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


@pytest.mark.parametrize(("n_columns", "limits_it"), [(4, False), (40, True)])
def test_blas_is_limited_where_it_would_take_several_threads(n_columns, limits_it, monkeypatch):
    changed = []
    monkeypatch.setattr(_ProcessSettings, "change", lambda _: changed.append(1) or 1)
    monkeypatch.setattr(_ProcessSettings, "restore", lambda _: None)
    X = np.random.default_rng(0).normal(size=(500, n_columns))
    NaturalGradientLogisticRegression().fit(X, np.arange(500) % 2)
    assert bool(changed) == limits_it
