"""Threads that share the blocks of a pass, with BLAS limited to one thread meanwhile.

Threads take blocks in order, and results are merged in order, left to right. So a sum has the same bits for any number
of threads, in whatever order they finish.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from sknatgrad._rows.allocator import raise_trim_threshold, restore_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from threadpoolctl import LibController

    from sknatgrad._rows.allocator import Thresholds

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _blas() -> ThreadpoolController:
    # finding the libraries takes milliseconds, setting their threads microseconds
    return ThreadpoolController().select(user_api="blas")


def _set_threads(library: LibController, n_threads: int) -> None:
    # In newer versions of threadpoolctl only the thread that first set the number of threads of OpenBLAS may set it
    # again. If several threads fit models, that one may end before the others, so every thread may set it here.
    clear = getattr(library, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    library.set_num_threads(n_threads)
    if clear is not None:
        clear(force=True)


class _ProcessSettings:
    """BLAS with one thread and an allocator that keeps freed memory, while any fit runs.

    Both are settings of the process. If several threads fit models, the first fit changes them, and the last to end
    restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_fits = 0
        self._before: list[tuple[LibController, int]] = []
        self._thresholds: Thresholds | None = None  # of the allocator

    def change(self) -> int:
        """Change the settings, or count one more fit; return the number of BLAS threads before."""
        with self._lock:
            if self._n_fits == 0:
                self._before = [(library, library.num_threads or 1) for library in _blas().lib_controllers]
                self._thresholds = raise_trim_threshold()
            self._n_fits += 1
            self.limit_this_thread()
            return max((n_threads for _, n_threads in self._before), default=1)

    def limit_this_thread(self) -> None:
        """Limit BLAS in this thread: with OpenMP, each thread has a number of its own."""
        for library, _ in self._before:
            if library.num_threads != 1:
                _set_threads(library, 1)

    def restore(self) -> None:
        """Count one fit less, and restore the settings after the last."""
        with self._lock:
            self._n_fits -= 1
            if self._n_fits == 0:
                for library, n_threads in self._before:
                    if library.num_threads != n_threads:
                        _set_threads(library, n_threads)
                restore_thresholds(self._thresholds)


_SETTINGS = _ProcessSettings()


@contextmanager
def single_threaded_blas() -> Iterator[int]:
    """Limit BLAS to one thread, and raise the allocator's thresholds; gives the number of BLAS threads before."""
    n_threads = _SETTINGS.change()
    try:
        yield n_threads
    finally:
        _SETTINGS.restore()


@dataclass
class Workers:
    """Threads for one fit, as many as BLAS may use, started with the first pass over several blocks.

    Inside its context BLAS has one thread, because more make products of small matrices slower. Leaving the context
    ends the threads.
    """

    max_threads: int | None = None  # None: as many as BLAS may use
    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)
    _settings: ExitStack = field(default_factory=ExitStack, repr=False)

    def map_reduce(
        self, function: Callable[[Item], Result], merge: Callable[[Result, Result], Result], items: Sequence[Item]
    ) -> Result:
        """Return merge(merge(f(a), f(b)), f(c)), and so on."""
        if len(items) == 1:
            return function(items[0])
        with single_threaded_blas() as allowed:
            n_threads = min(allowed, self.max_threads or allowed, len(items))
            job = _Job(function, merge, max_unmerged=2 * n_threads)
            job.feed(items)
            with self._helping(job, n_threads - 1, allowed):
                job.close()
                job.work()
            return job.result()

    def map_reduce_groups(
        self,
        function: Callable[[Item], Result],
        merge: Callable[[Result, Result], Result],
        groups: Iterable[Sequence[Item]],
    ) -> Result:
        """Return the same over the items of all groups, each read while the previous one is processed.

        This thread reads, others work. At most two groups exist at a time.
        """
        with single_threaded_blas() as allowed:
            job = _Job(function, merge, max_unmerged=2 * allowed)
            with self._helping(job, allowed, allowed):
                fed = 0
                for items in groups:
                    job.feed(items)
                    job.wait_until_merged(fed)
                    fed += len(items)
                job.close()
                job.wait_until_merged(fed)
            return job.result()

    @contextmanager
    def _helping(self, job: _Job[Item, Result], n_helpers: int, allowed: int) -> Iterator[None]:
        """Run a job in `n_helpers` other threads inside this context, and wait for them when it ends or fails."""
        # numpy handles floating-point errors by settings of each thread
        handling = np.geterr()

        def work() -> None:
            _SETTINGS.limit_this_thread()
            with np.errstate(**handling):
                job.work()

        helpers = [self._start(allowed).submit(work) for _ in range(n_helpers)]
        try:
            yield
        finally:
            job.stop()
            for helper in helpers:
                helper.exception()

    def _start(self, n_threads: int) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="sknatgrad")
        return self._pool

    def __enter__(self) -> Self:
        """Limit BLAS to one thread, and raise the allocator's thresholds."""
        self._settings.enter_context(single_threaded_blas())
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and restore BLAS and the allocator."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._settings.close()


class _Job(Generic[Item, Result]):
    """One pass: each thread takes the next item, and merges the results that are next in order."""

    def __init__(
        self, function: Callable[[Item], Result], merge: Callable[[Result, Result], Result], max_unmerged: int
    ) -> None:
        self._function, self._merge, self._max_unmerged = function, merge, max_unmerged
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._closed = False
        self._n_taken = 0
        self._n_merged = 0
        self._unmerged: dict[int, Result] = {}
        self._total: Result | None = None
        self._error: BaseException | None = None

    def feed(self, items: Sequence[Item]) -> None:
        """Add items."""
        with self._changed:
            if not self._closed:
                self._items.extend(items)
            self._changed.notify_all()

    def close(self) -> None:
        """Declare that no more items follow."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_until_merged(self, count: int) -> None:
        """Wait until the results of the first `count` items are merged; raise the error of any item."""
        with self._changed:
            while self._n_merged < count and self._error is None:
                self._changed.wait()
        if self._error is not None:
            raise self._error

    def work(self) -> None:
        """Take items until none is left, or a thread has failed."""
        try:
            while (taken := self._take()) is not None:
                index, item = taken
                result = self._function(item)
                # memory of rows that were read for this item is freed before the next
                del taken, item
                self._put(index, result)
        except BaseException as error:  # noqa: BLE001 - raised again in `result`, by the thread that waits for it
            with self._changed:
                self._error = self._error or error
            self.stop()

    def stop(self) -> None:
        """Discard the items that are left."""
        with self._changed:
            self._items.clear()
            self._closed = True
            self._changed.notify_all()

    def result(self) -> Result:
        """Return the merged result, or raise the first error."""
        if self._error is not None:
            raise self._error
        return self._total  # type: ignore[return-value]  # there is at least one item

    def _take(self) -> tuple[int, Item] | None:
        with self._changed:
            # results that wait for a slow block take memory
            while self._n_taken >= self._n_merged + self._max_unmerged if self._items else not self._closed:
                self._changed.wait()
            if not self._items:
                return None
            self._n_taken += 1
            return self._n_taken - 1, self._items.popleft()

    def _put(self, index: int, result: Result) -> None:
        with self._changed:
            self._unmerged[index] = result
            while self._n_merged in self._unmerged:
                following = self._unmerged.pop(self._n_merged)
                self._total = following if self._n_merged == 0 else self._merge(self._total, following)  # type: ignore[arg-type]
                self._n_merged += 1
            self._changed.notify_all()
