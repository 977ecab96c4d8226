"""The allocator: thresholds that are raised during a fit and restored after it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import allocator
from sknatgrad._rows.threads import Workers


@pytest.fixture
def thresholds(monkeypatch):
    """Record the calls of mallopt, with an environment that returns freed memory to the system early."""
    calls = []
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.setattr(allocator, "_mallopt", lambda: lambda parameter, value: calls.append((parameter, value)))
    return calls


# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
RAISED, RESTORED = [(-1, 2**28), (-3, 2**25)], [(-1, 65536), (-3, 2**17)]


def test_thresholds_are_raised_during_a_fit_and_restored_after_it(thresholds):
    X, y = load_digits(return_X_y=True)
    NaturalGradientLogisticRegression().fit(X, y)
    assert thresholds == RAISED + RESTORED
    thresholds.clear()
    with pytest.raises(ValueError, match="NaN"):
        NaturalGradientLogisticRegression().fit(X * np.nan, y)
    assert thresholds == RAISED + RESTORED


def test_of_several_fits_the_last_to_end_restores_the_thresholds(thresholds):
    with Workers():
        with Workers():
            pass
        assert thresholds == RAISED
    assert thresholds == RAISED + RESTORED


def test_thresholds_are_not_changed_where_the_environment_sets_none(thresholds, monkeypatch):
    for value in (None, "", "soon"):
        monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
        if value is not None:
            monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", value)
        with Workers():
            pass
    assert not thresholds


FAULTS = """
import resource, threading
import numpy as np
from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import allocator
if {unchanged}:
    allocator._mallopt = lambda: None
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


@pytest.mark.skipif(allocator._mallopt() is None, reason="there is no mallopt(3): the allocator is not that of glibc")
def test_raised_thresholds_save_page_faults_where_the_environment_sets_low_ones():
    faults = []
    for unchanged in (False, True):
        done = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-c", FAULTS.format(unchanged=unchanged)],
            env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        faults.append(int(done.stdout))
    raised, low = faults
    assert raised < 0.2 * low


LEARNT = """
import resource
import numpy as np
from sknatgrad._rows import allocator
if {raised}:
    allocator.raise_thresholds()
def faults():
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    vectors = [np.ones(2**17) for _ in range(16)]
    del vectors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin
faults()
print(sum(faults() for _ in range(10)))
"""


@pytest.mark.skipif(allocator._mallopt() is None, reason="there is no mallopt(3): the allocator is not that of glibc")
def test_a_freed_piece_of_memory_saves_page_faults_where_the_environment_sets_no_thresholds():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    faults = []
    for raised in (True, False):
        code = LEARNT.format(raised=raised)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)  # noqa: S603
        faults.append(int(done.stdout))
    assert 10 * faults[0] < faults[1], faults


def test_a_process_without_memory_keeps_its_thresholds(monkeypatch):
    def fails(*_arguments, **_options):
        raise MemoryError

    monkeypatch.setattr(allocator.np, "empty", fails)
    allocator._raise_by_freeing.__wrapped__()
