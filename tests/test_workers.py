"""Threads: the same bits whoever is faster, BLAS as it was found, errors where they belong."""

import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from problems import make_problem
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import allocator as _allocator
from sknatgrad._rows import memory
from sknatgrad._rows.threads import Workers, single_threaded_blas


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks of few rows, so that there is something to share."""
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)
    monkeypatch.setattr(memory, "MIN_BLOCK_ROWS", 50)


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_results_are_merged_in_order_whoever_is_first(n_threads):
    """Words do not commute: late or early, they come out as they went in."""
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


def test_blas_is_held_during_a_fit_and_put_back_after(small_blocks):
    X, y = load_digits(return_X_y=True)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with single_threaded_blas() as allowed:
            assert set(blas_threads()) == {1}
            assert allowed == 2
        assert blas_threads() == before
        NaturalGradientLogisticRegression(C=1e-4, tol=1e-3).fit(X, y)
        assert blas_threads() == before


def test_blas_is_put_back_after_an_error(small_blocks):
    X, y = load_digits(return_X_y=True)
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(ValueError, match="overflow"):
            NaturalGradientLogisticRegression().fit(1e300 * X, y)
        assert blas_threads() == before


def test_the_last_of_several_holders_puts_blas_back():
    with threadpool_limits(2, user_api="blas"):
        before, inside, leave = blas_threads(), threading.Event(), threading.Event()
        allowed = []

        def hold():
            with single_threaded_blas() as threads:
                allowed.append(threads)
                inside.set()
                leave.wait()

        other = threading.Thread(target=hold)
        with single_threaded_blas():
            other.start()
            inside.wait()
        # the first is gone, the second still there
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
        # and the threads are as good as new
        assert workers.map_reduce(int, int.__add__, list(range(10))) == 45


def test_results_that_wait_for_a_slow_block_are_few():
    """The first block takes long; the others may not all pile up behind it."""
    waiting, most = set(), []

    def work(item):
        if item == 0:
            time.sleep(0.05)
        waiting.add(item)
        most.append(len(waiting))
        return {item}

    def merge(left, right):
        waiting.difference_update(left | right)
        return left | right

    with threadpool_limits(2, user_api="blas"), Workers() as workers:
        assert workers.map_reduce(work, merge, list(range(50))) == set(range(50))
    assert max(most) <= 6


def test_threads_end_with_the_fit(small_blocks):
    before = threading.active_count()
    X, y = load_digits(return_X_y=True)
    with threadpool_limits(4, user_api="blas"):
        NaturalGradientLogisticRegression(C=1e-4, tol=1e-3).fit(X, y)
    assert threading.active_count() == before


def test_overflow_in_a_block_is_as_quiet_in_a_thread(small_blocks):
    """What numpy does about overflow is kept by thread, and warnings are errors here."""
    problem = make_problem(2, n_rows=400)
    with threadpool_limits(4, user_api="blas"), np.errstate(over="ignore", invalid="ignore"):
        measured = problem.objective("true").measure(np.full(problem.theta.shape, 1e308))
    assert not np.isfinite(measured.gradient).all() or not np.isfinite(measured.loss)


@pytest.fixture
def limits(monkeypatch):
    """Takes note of what the allocator is told, in a process that is told to give memory back at once."""
    told = []
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setattr(_allocator, "_mallopt", lambda: lambda parameter, value: told.append((parameter, value)))
    return told


# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
PATIENT, AS_TOLD = [(-1, 2**28), (-3, 2**25)], [(-1, 65536), (-3, 2**17)]


def test_the_allocator_is_patient_during_a_fit_and_as_it_was_told_afterwards(limits):
    X, y = load_digits(return_X_y=True)
    NaturalGradientLogisticRegression().fit(X, y)
    assert limits == PATIENT + AS_TOLD
    limits.clear()
    with pytest.raises(ValueError, match="NaN"):
        NaturalGradientLogisticRegression().fit(X * np.nan, y)
    assert limits == PATIENT + AS_TOLD


def test_of_several_fits_the_last_to_end_restores_the_allocator(limits):
    with Workers():
        with Workers():
            pass
        assert limits == PATIENT
    assert limits == PATIENT + AS_TOLD


def test_an_allocator_that_is_told_nothing_is_left_alone(limits, monkeypatch):
    for value in (None, "", "soon"):
        monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
        if value is not None:
            monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", value)
        with Workers():
            pass
    assert not limits


FAULTS = """
import resource, threading
import numpy as np
from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import allocator as _allocator
if {alone}:
    _allocator._told = lambda: False
random = np.random.default_rng(0)
X = random.normal(size=(200_000, 20))
y = X[:, 0] + random.logistic(size=200_000) > 0
def fit():
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    NaturalGradientLogisticRegression().fit(X, y)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin
fit()
print(fit())
"""


@pytest.mark.skipif(_allocator._mallopt() is None, reason="there is no mallopt(3): memory is not glibc's")
def test_a_process_that_is_told_to_give_memory_back_does_not_pay_for_it_block_by_block():
    faults = []
    for alone in (False, True):
        done = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-c", FAULTS.format(alone=alone)],
            env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        faults.append(int(done.stdout))
    patient, impatient = faults
    assert patient < 0.2 * impatient
