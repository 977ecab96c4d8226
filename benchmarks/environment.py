"""The environment of a run: machine, cores, BLAS and versions."""

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import threadpoolctl

PACKAGES = (
    *("sknatgrad", "numpy", "scipy", "scikit-learn", "glum", "statsmodels", "snapml"),
    *("scikit-learn-intelex", "adelie"),
)
# average number of processes that want a core, above which times are distorted
BUSY_LOAD = 0.5
# the environment variables that set the threads of BLAS and OpenMP
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def with_libraries():
    """Return the environment of this process; only the libraries loaded so far are listed."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": available_cores(),
        "memory_gib": round(total_memory() / 2**30, 1),
        "load": round(load_average(), 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "libraries": [
            " ".join(filter(None, (item["internal_api"], item["version"], item.get("architecture"))))
            + f" ({item['num_threads']} threads)"
            for item in threadpoolctl.threadpool_info()
        ],
    }


def describe(environment):
    """Return the environment as one line of text."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    return (
        f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gib']} GiB, "
        f"{environment['system']}; "
        f"{', '.join(dict.fromkeys(environment['libraries']))}; Python {environment['python']}, {versions}"
    )


def available_cores():
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load_average():
    """Return the average number of processes that wanted a core in the last minute, or 0 if it is not known."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def total_memory():
    """Return the memory of the machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def version(name):
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
