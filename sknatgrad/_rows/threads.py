"""Threads that share the blocks of a pass, with BLAS limited to one thread meanwhile.

Threads take blocks in order, and results are merged in order, left to right. So a sum has the same bits for any number
of threads, in whatever order they finish. If no other thread can be started, the calling thread computes alone.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from sknatgrad._rows.allocator import raise_thresholds, restore_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from threadpoolctl import LibController

    from sknatgrad._rows.allocator import Thresholds

# Additions and multiplications up to which OpenBLAS computes a product of matrices in one thread, 4 * 2**16; columns
# below which its limit for a product with a vector, 9,216 values, is the smaller one; and unknowns up to which it
# factorises in one thread, a third of its own limit. Setting the number of threads takes 6 us.
MAX_SMALL = 2**18
MIN_SMALL_COLUMNS = 32
MAX_SMALL_SIZE = 64

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
        # reentrant, because a signal handler may fork while this thread holds it
        self.lock = threading.RLock()
        self._n_fits = 0
        self._before: list[tuple[LibController, int]] = []
        self._thresholds: Thresholds | None = None  # of the allocator

    def change(self) -> int:
        """Change the settings, or count one more fit; return the number of BLAS threads before."""
        with self.lock:
            if self._n_fits == 0:
                self._before = [(library, library.num_threads or 1) for library in _blas().lib_controllers]
                self._thresholds = raise_thresholds()
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
        with self.lock:
            # a forked process that unwinds a fit of its parent counts none
            self._n_fits = max(self._n_fits - 1, 0)
            if self._n_fits == 0:
                self._restore_all()

    def restore_in_child(self) -> None:
        """Restore the settings in a forked process, in which the fits of the parent do not continue."""
        self.lock.release()
        if self._n_fits > 0:
            self._n_fits = 0
            self._restore_all()

    def _restore_all(self) -> None:
        for library, n_threads in self._before:
            if library.num_threads != n_threads:
                _set_threads(library, n_threads)
        restore_thresholds(self._thresholds)


_SETTINGS = _ProcessSettings()
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
    os.register_at_fork(
        before=_SETTINGS.lock.acquire, after_in_parent=_SETTINGS.lock.release, after_in_child=_SETTINGS.restore_in_child
    )


@contextmanager
def single_threaded_blas() -> Iterator[int]:
    """Limit BLAS to one thread, and raise the allocator's thresholds; gives the number of BLAS threads before."""
    n_threads = _SETTINGS.change()
    try:
        yield n_threads
    finally:
        _SETTINGS.restore()


class _Helpers:
    """Threads that run tasks until they are ended: fewer than asked for if the system starts no more.

    They are daemons: the thread that asked for them waits for their tasks, and the end of the process for that thread
    alone. `concurrent.futures` is of no use here, as its threads end, and it refuses tasks, with the main thread.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, n_threads: int) -> int:
        """Start threads until there are `n_threads`, or no further one can be started; return how many there are."""
        while len(self._threads) < n_threads:
            thread = threading.Thread(target=_run_tasks, args=(self._tasks,), name="sknatgrad", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # WebAssembly and some sandboxes have one thread, a system may be at its limit, and since Python 3.12
                # none starts in functions that `atexit` runs
                break
            self._threads.append(thread)
        return min(len(self._threads), n_threads)

    def run(self, task: Callable[[], None]) -> None:
        """Run a task in one of the threads."""
        self._tasks.put(task)

    def end(self) -> None:
        """End the threads after their tasks, and wait for them."""
        self._end_when_idle()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _end_when_idle(self) -> None:
        for _ in self._threads:
            self._tasks.put(None)

    def __del__(self) -> None:
        """End the threads of workers whose context was never entered."""
        self._end_when_idle()


def _run_tasks(tasks: SimpleQueue[Callable[[], None] | None]) -> None:
    # the thread does not refer to its `_Helpers`, so that these can be collected
    while (task := tasks.get()) is not None:
        task()
        del task  # with the rows that it refers to


@dataclass
class Workers:
    """Threads for one fit, as many as BLAS may use, started with the first pass over several blocks.

    Inside its context BLAS has one thread, because more make products of small matrices slower. Leaving the context
    ends the threads.
    """

    max_threads: int | None = None  # None: as many as BLAS may use
    limits_blas: bool = True  # whether the context limits BLAS from the start
    _limited: bool = field(default=False, repr=False)
    _helpers: _Helpers = field(default_factory=_Helpers, repr=False)
    _settings: ExitStack = field(default_factory=ExitStack, repr=False)

    def limit_blas_for(self, n_rows: int, size: int) -> None:
        """Limit BLAS in this context, unless products of `n_rows` rows with `size` unknowns take one thread anyway."""
        if size > MAX_SMALL_SIZE or n_rows * size * max(size, MIN_SMALL_COLUMNS) > MAX_SMALL:
            self._limit_blas()

    def _limit_blas(self) -> None:
        if not self._limited:
            self._settings.enter_context(single_threaded_blas())
            self._limited = True

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
            with self._helping(job, n_threads - 1):
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

        This thread reads, others work. At most two groups exist at a time. If no other thread can be started, this one
        reads and works in turn.
        """
        with single_threaded_blas() as allowed:
            job = _Job(function, merge, max_unmerged=2 * allowed)
            with self._helping(job, allowed) as n_helpers:
                fed = 0
                for items in groups:
                    job.feed(items)
                    if n_helpers == 0:
                        job.work(until_closed=False)
                    job.wait_until_merged(fed)
                    fed += len(items)
                job.close()
                job.wait_until_merged(fed)
            return job.result()

    @contextmanager
    def _helping(self, job: _Job[Item, Result], n_helpers: int) -> Iterator[int]:
        """Run a job in `n_helpers` other threads inside this context, and wait for them when it ends or fails.

        Gives the number of these threads: fewer, or 0, if the system starts no more.
        """
        # numpy handles floating-point errors by settings of each thread
        handling, callback = np.geterr(), np.geterrcall()
        finished = threading.Semaphore(0)

        def work() -> None:
            try:
                _SETTINGS.limit_this_thread()
                with np.errstate(call=callback, **handling):  # type: ignore[arg-type]  # numpy's stubs miss None
                    job.work()
            finally:
                finished.release()

        n_helpers = self._helpers.start(n_helpers)
        try:
            for _ in range(n_helpers):
                self._helpers.run(work)
            yield n_helpers
        finally:
            job.stop()
            for _ in range(n_helpers):
                finished.acquire()

    def __enter__(self) -> Self:
        """Limit BLAS to one thread, and raise the allocator's thresholds."""
        if self.limits_blas:
            self._limit_blas()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and restore BLAS and the allocator."""
        self._helpers.end()
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

    def work(self, *, until_closed: bool = True) -> None:
        """Take items until none is left and none follows, or a thread has failed; or until none is left for now."""
        try:
            while (taken := self._take(until_closed=until_closed)) is not None:
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

    def _take(self, *, until_closed: bool) -> tuple[int, Item] | None:
        with self._changed:
            # results that wait for a slow block take memory
            while (
                self._n_taken >= self._n_merged + self._max_unmerged
                if self._items
                else until_closed and not self._closed
            ):
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
