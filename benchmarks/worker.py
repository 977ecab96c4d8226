"""The process that fits: it loads one workload and answers what it is asked over a pipe.

A process of its own can be stopped at the time limit whatever native code it is in, and its memory is its own.
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
from benchmarks.environment import total_memory, with_libraries
from benchmarks.objective import mean_objective
from benchmarks.workloads import WORKLOADS, DataUnavailableError

# shorter fits are called several times, and the median counts
SHORT_SECONDS = 0.02
SHORT_CALLS = 9
PASS_CALLS = 7
PAUSE = 0.1
# more address space than this share of the machine is refused, before the machine starts to swap or kill
MEMORY_SHARE = 0.85


def serve(pipe, workload_name, data_folder):
    """Load the workload, say what it is, then answer ``(verb, *arguments)`` until None comes.

    Each answer is ``(kind, value)``: 'loaded', 'skipped', 'started', 'seconds', 'fitted', 'value' or 'failed'.
    """
    warnings.simplefilter("ignore")
    _silence()
    limit = int(MEMORY_SHARE * total_memory())
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        X, codes = WORKLOADS[workload_name].make(Path(data_folder) if data_folder else None)
    except (DataUnavailableError, MemoryError) as error:
        pipe.send(("skipped", str(error) or "out of memory"))
        return
    pipe.send(("loaded", _facts(X, codes)))
    verbs = {"warm": _warm, "fit": _fit, "pass": _equivalent_pass, "peak": _peak}
    while (request := pipe.recv()) is not None:
        verb, *arguments = request
        try:
            verbs[verb](pipe, X, codes, *arguments)
        except Exception as error:  # noqa: BLE001 - a contestant that fails is a result, not the end
            pipe.send(("failed", f"{type(error).__name__}: {error}"[:300]))


def _silence():
    # native code writes to the descriptors, past sys.stdout
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(quiet, stream.fileno())


def _facts(X, codes):
    stored_sparse = sparse.issparse(X)
    return {
        "rows": X.shape[0],
        "columns": X.shape[1],
        "classes": int(codes.max()) + 1,
        "stored": f"CSR, {X.nnz:,} entries" if stored_sparse else "dense",
        "stored_sparse": stored_sparse,
        "environment": with_libraries(),
    }


def _warm(pipe, X, codes, name):
    CONTESTANTS[name].fit(
        *tiny_problem(stored_sparse=sparse.issparse(X), n_classes=int(codes.max()) + 1),
        **CONTESTANTS[name].ladder[0].settings,
    )
    pipe.send(("value", None))


def _timed_fit(X, codes, contestant, rung):
    gc.collect()
    # threads of the contestant before may still wait for work with a core each
    time.sleep(PAUSE)
    start = time.perf_counter()
    fitted = contestant.fit(X, codes, **rung.settings)
    return time.perf_counter() - start, fitted


def _fit(pipe, X, codes, name, label):
    contestant = CONTESTANTS[name]
    rung = contestant.rung(label)
    seconds, fitted = _timed_fit(X, codes, contestant, rung)
    if seconds < SHORT_SECONDS:
        more = [_timed_fit(X, codes, contestant, rung)[0] for _ in range(SHORT_CALLS - 1)]
        seconds = statistics.median([seconds, *more])
    # the time limit is on the fit, not on judging it
    pipe.send(("seconds", seconds))
    objective = mean_objective(X, codes, fitted.coef, fitted.intercept)
    pipe.send(("fitted", (seconds, objective if np.isfinite(objective) else float("inf"), fitted.iterations)))


def _equivalent_pass(pipe, X, codes):
    """Send the time of one ``X @ W`` and one ``X.T @ R``, the least that an exact gradient costs."""
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


def _peak(pipe, X, codes, name, label):
    """Send by how many MiB the process grew at most during a fit, beyond X, y and the imports."""
    contestant = CONTESTANTS[name]
    gc.collect()
    linux = Path("/proc/self/clear_refs")
    if linux.exists():
        # what loading left free but unreturned would hide what the fit takes
        ctypes.CDLL(None).malloc_trim(0)
        linux.write_text("5")
        before = _status("VmRSS")
        contestant.fit(X, codes, **contestant.rung(label).settings)
        grown = _status("VmHWM") - before
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        contestant.fit(X, codes, **contestant.rung(label).settings)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        # macOS counts bytes
        grown /= 1024 if sys.platform == "darwin" else 1
    pipe.send(("value", max(0.0, grown / 1024)))


def _status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(key + ":"))
