"""The memory allocator of a process that is told to give memory back at once, held to something else during a fit."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

# glibc's variables (mallopt(3)); Dask sets the first for its workers
TRIM, MMAP = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
# the numbers of these parameters, and the second's value where nothing is said
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_DEFAULT = 2**17
# bytes of free memory that stay in the process; and of the largest piece that is taken from them, the most that can be
KEPT, LARGEST = 2**28, 2**25


def raise_trim_threshold() -> tuple[int, int] | None:
    """Use memory again that has been freed, where the process is told to give it back at once; return its limits.

    Each block has a dozen temporaries. Given back to the system, they come from it again page by page, each page
    filled with zeros.
    """
    if not _told():
        return None
    before = _limits()
    _set(KEPT, LARGEST)
    return before


def restore_thresholds(before: tuple[int, int] | None) -> None:
    """Put the limits back. What was kept is given back with whatever is freed first after this."""
    if before is not None:
        _set(*before)


def _told() -> bool:
    return os.environ.get(TRIM, "").isdigit() and _mallopt() is not None


def _limits() -> tuple[int, int]:
    mmap = os.environ.get(MMAP, "")
    return int(os.environ[TRIM]), int(mmap) if mmap.isdigit() else MMAP_DEFAULT


@cache
def _mallopt() -> Any:
    """Return glibc's function, or None where there is no such."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None


def _set(trim: int, mmap: int) -> None:
    mallopt = _mallopt()
    mallopt(M_TRIM_THRESHOLD, trim)
    mallopt(M_MMAP_THRESHOLD, mmap)
