"""Raises the thresholds at which glibc returns freed memory to the system.

glibc raises them by itself whenever it frees a piece of memory that was mapped on its own: pieces up to that size then
come from the heap, and twice as much freed memory is kept at its end. Until then, vectors of 128 KiB and more are
obtained from the system in each operation, page by page, each page filled with zeros. So one piece of the largest size
that glibc takes for this is obtained and freed, unwritten, before the first fit. In processes that have freed no such
piece before, a fit to 2,000 texts takes 10.9 ms of processor time instead of 14.7 (none and 1,900 page faults), digits
44.9 instead of 50.8, and 20,000 x 256 with 20 classes 321 instead of 341. Their peak memory grows by 0 to 3 MiB.

That has no effect in a process whose environment sets the thresholds, and often sets them low: there they are raised
during fits.

Dask starts its workers with ``MALLOC_TRIM_THRESHOLD_=65536``. glibc then returns the temporaries of each block to the
system when they are freed, and the next block obtains them again page by page, each page filled with zeros.

Measured with that variable set, thresholds unchanged and raised: a fit to 10⁶ x 20 in one thread takes 395 and 200 ms
(medians of five, 105,000 and 2 page faults); a Dask fit to 2·10⁶ x 20 on two workers 0.96 and 0.77 s (fastest of five,
270,000 to 290,000 and 60,000 faults). ``MALLOC_TRIM_THRESHOLD_=268435456`` with ``MALLOC_MMAP_THRESHOLD_=33554432`` in
the environment of the workers is as fast, 203 ms and 0.72 s. But it applies to all tasks of a worker at all times, and
a Dask fit by users who do not know of it would take 25 % longer.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# glibc's environment variables, mallopt(3)
TRIM_VARIABLE, MMAP_VARIABLE = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
# numbers of the two parameters in malloc.h, and the default of the second in bytes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
DEFAULT_MMAP_THRESHOLD = 2**17


# Bytes of the largest piece by which glibc raises its thresholds, 32 MiB with its header: DEFAULT_MMAP_THRESHOLD_MAX.
LARGEST_LEARNT = 2**25 - 2**16


class Thresholds(NamedTuple):
    """Two parameters of glibc's allocator, bytes."""

    trim: int  # free memory at the end of the heap above which it is returned to the system
    mmap: int  # size from which a piece of memory is mapped by itself, and returned when it is freed


# Blocks have about a dozen temporaries of 4 MiB or less in each thread. 2**25 is the largest that glibc takes for the
# second.
DURING_FITS = Thresholds(trim=2**28, mmap=2**25)


def raise_thresholds() -> Thresholds | None:
    """Keep freed memory in the process; return the thresholds before if its environment sets them."""
    if not os.environ.get(TRIM_VARIABLE, "").isdigit() or _mallopt() is None:
        _raise_by_freeing()
        return None
    _set(DURING_FITS)
    return _thresholds_of_environment()


def restore_thresholds(before: Thresholds | None) -> None:
    """Restore the thresholds. Memory kept so far is returned when memory is next freed."""
    if before is not None:
        _set(before)


def _thresholds_of_environment() -> Thresholds:
    mmap = os.environ.get(MMAP_VARIABLE, "")
    return Thresholds(int(os.environ[TRIM_VARIABLE]), int(mmap) if mmap.isdigit() else DEFAULT_MMAP_THRESHOLD)


@cache
def _raise_by_freeing() -> None:
    # where so much memory cannot be had, glibc keeps its thresholds
    with suppress(MemoryError):
        np.empty(LARGEST_LEARNT, dtype=np.uint8)


@cache
def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's function, or None in a process without it."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None


def _set(thresholds: Thresholds) -> None:
    mallopt: Any = _mallopt()
    mallopt(M_TRIM_THRESHOLD, thresholds.trim)
    mallopt(M_MMAP_THRESHOLD, thresholds.mmap)
