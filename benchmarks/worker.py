"""The worker process, which loads one workload and answers requests over a pipe.

A separate process can be killed at the time limit even in native code, and its memory can be measured by itself.
"""

import ctypes
import gc
import os
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.contestants import CONTESTANTS, tiny_problem
from benchmarks.environment import THREAD_VARIABLES, total_memory, with_libraries
from benchmarks.objective import mean_objective
from benchmarks.readings import counting
from benchmarks.workloads import WORKLOADS, DataUnavailableError

# a fit shorter than this many seconds is repeated at once, because the first one after a pause takes longer
SHORT_SECONDS = 0.05
# measurements of the time of one pass, of which the median counts
PASS_CALLS = 7
# seconds before each timed fit, in which waiting threads of the previous one stop spinning; those of OpenBLAS take 0.1
PAUSE = 0.2
# largest address space, as a fraction of the memory of the machine, so that a fit fails before the machine swaps
MEMORY_SHARE = 0.85


def serve(pipe, workload_name, data_folder):
    """Load the workload, send its description, then answer requests ``(verb, *arguments)`` until None is received.

    Each answer is a pair ``(kind, value)``; the kinds are 'loaded', 'skipped', 'seconds', 'fitted', 'value' and
    'failed'.
    """
    warnings.simplefilter("ignore")
    _silence()
    limit = int(MEMORY_SHARE * total_memory())
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        problem = WORKLOADS[workload_name].make(Path(data_folder) if data_folder else None)
    except (DataUnavailableError, MemoryError) as error:
        pipe.send(("skipped", str(error) or "out of memory"))
        return
    pipe.send(("loaded", _facts(problem)))
    verbs = {"warm": _warm, "fit": _fit, "pass": _equivalent_pass, "peak": _peak, "readings": _readings}
    while (request := pipe.recv()) is not None:
        verb, *arguments = request
        try:
            verbs[verb](pipe, problem, *arguments)
        except Exception as error:  # noqa: BLE001 - the failure of a contestant is a result
            pipe.send(("failed", f"{type(error).__name__}: {error}"[:300]))


def _silence():
    # native code writes to the file descriptors, not to sys.stdout
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(null, stream.fileno())


def _facts(problem):
    X, codes, weight = problem
    stored_sparse = sparse.issparse(X)
    return {
        "rows": X.shape[0],
        "columns": X.shape[1],
        "classes": int(codes.max()) + 1,
        "stored": f"CSR, {X.nnz:,} entries" if stored_sparse else "dense",
        "stored_sparse": stored_sparse,
        "weighted": weight is not None,
        "environment": with_libraries(),
    }


def _warm(pipe, problem, name):
    tiny = tiny_problem(stored_sparse=sparse.issparse(problem.X), n_classes=int(problem.codes.max()) + 1)
    CONTESTANTS[name].fit(tiny, **CONTESTANTS[name].ladder[0].settings)
    # later collections pass over the objects of imported modules, which take 40 ms
    gc.collect()
    gc.freeze()
    pipe.send(("value", None))


def _timed_fit(problem, contestant, rung):
    start = time.perf_counter()
    fitted = contestant.fit(problem, **rung.settings)
    return time.perf_counter() - start, fitted


def _fit(pipe, problem, name, label, n_short):
    """Send the time of one fit; of a short one, the median time of the `n_short` fits that follow it at once."""
    contestant = CONTESTANTS[name]
    rung = contestant.rung(label)
    gc.collect()
    if any(os.environ.get(name) != "1" for name in THREAD_VARIABLES):
        # threads of the previous contestant may still occupy the cores while they wait for work
        time.sleep(PAUSE)
    seconds, fitted = _timed_fit(problem, contestant, rung)
    if seconds < SHORT_SECONDS:
        seconds = statistics.median(_timed_fit(problem, contestant, rung)[0] for _ in range(n_short))
    # the time limit applies to the fit, not to the computation of its objective
    pipe.send(("seconds", seconds))
    objective = mean_objective(problem, fitted.coef, fitted.intercept)
    pipe.send(("fitted", (seconds, objective if np.isfinite(objective) else float("inf"), fitted.iterations)))


def _equivalent_pass(pipe, problem):
    """Send the time of one ``X @ W`` and one ``X.T @ R``, the minimum cost of an exact gradient."""
    X, codes, _ = problem
    n_logits = 1 if codes.max() == 1 else int(codes.max()) + 1
    rng = np.random.default_rng(0)
    W, R = rng.standard_normal((X.shape[1], n_logits)), rng.standard_normal((X.shape[0], n_logits))
    times = []
    for _ in range(PASS_CALLS):
        start = time.perf_counter()
        X @ W
        X.T @ R
        times.append(time.perf_counter() - start)
    pipe.send(("value", statistics.median(times)))


def _readings(pipe, problem, name, label):
    """Send how many times a fit reads all rows."""
    contestant = CONTESTANTS[name]
    with counting(len(problem.codes)) as readings:
        contestant.fit(problem, **contestant.rung(label).settings)
    pipe.send(("value", readings.total))


def _peak(pipe, problem, name, label):
    """Send the largest growth of the resident memory during a fit in MiB, without X, y and imports."""
    contestant = CONTESTANTS[name]
    gc.collect()
    clear_refs = Path("/proc/self/clear_refs")  # exists only on Linux
    if clear_refs.exists():
        # return freed memory to the system first: otherwise the fit would reuse it, and the growth would be too small
        ctypes.CDLL(None).malloc_trim(0)
        clear_refs.write_text("5")  # resets VmHWM, the peak of the resident memory
        before = _status("VmRSS")
        contestant.fit(problem, **contestant.rung(label).settings)
        grown = _status("VmHWM") - before
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        contestant.fit(problem, **contestant.rung(label).settings)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        # macOS reports bytes, other systems KiB
        grown /= 1024 if sys.platform == "darwin" else 1
    pipe.send(("value", max(0.0, grown / 1024)))


def _status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(key + ":"))
