"""The allocator: thresholds that are raised during a fit and restored after it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import allocator as _allocator
from sknatgrad._rows.threads import Workers


@pytest.fixture
def limits(monkeypatch):
    """Record the calls of mallopt, with an environment that returns freed memory to the system early."""
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
    _allocator._mallopt = lambda: None
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
