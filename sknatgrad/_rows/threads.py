"""Threads that share the blocks of a pass, with BLAS held to one thread meanwhile.

Blocks are handed out in order and their results merged in order, left to right, so the bits of a sum do not depend on
how many threads worked on it, nor on which was faster.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from sknatgrad._rows.allocator import raise_trim_threshold, restore_thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _blas() -> Any:
    # finding the libraries takes milliseconds, setting their threads microseconds
    return ThreadpoolController().select(user_api="blas")


def _set_threads(library: Any, n_threads: int) -> None:
    # Newer versions of threadpoolctl let only the thread that was first set the threads of OpenBLAS. Of several fits in
    # several threads the first may end before the others, so here each may, one at a time.
    clear = getattr(library, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    library.set_num_threads(n_threads)
    if clear is not None:
        clear(force=True)


class _Hold:
    """The process's BLAS at one thread, and its allocator patient, for as long as anyone asks: the last puts them back.

    They are settings of the process, so of several fits in several threads no one may restore them alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before: list[tuple[Any, int]] = []
        self._limits: tuple[int, int] | None = None  # of the allocator

    def enter(self) -> int:
        with self._lock:
            if self._holders == 0:
                self._before = [(library, library.num_threads or 1) for library in _blas().lib_controllers]
                self._limits = raise_trim_threshold()
            self._holders += 1
            self.point()
            return max((n_threads for _, n_threads in self._before), default=1)

    def point(self) -> None:
        """Hold BLAS in this thread: where it uses OpenMP, each thread has a number of its own."""
        for library, _ in self._before:
            if library.num_threads != 1:
                _set_threads(library, 1)

    def leave(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for library, n_threads in self._before:
                    if library.num_threads != n_threads:
                        _set_threads(library, n_threads)
                restore_thresholds(self._limits)


_HOLD = _Hold()


@contextmanager
def single_threaded_blas() -> Iterator[int]:
    """Hold BLAS to one thread, and the allocator; gives the number before, which is how many may work instead."""
    n_threads = _HOLD.enter()
    try:
        yield n_threads
    finally:
        _HOLD.leave()


@dataclass
class Workers:
    """Threads for one fit, started when there is something to share; leaving its context ends them.

    BLAS is held to one thread from the first to the last, as its own threads cost small matrices more than they gain.
    """

    most: int | None = None  # threads; None: as many as BLAS may use
    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)
    _hold: ExitStack = field(default_factory=ExitStack, repr=False)

    def map_reduce(
        self, function: Callable[[Item], Result], merge: Callable[[Result, Result], Result], items: Sequence[Item]
    ) -> Result:
        """Return merge(merge(f(a), f(b)), f(c)), and so on."""
        if len(items) == 1:
            return function(items[0])
        with single_threaded_blas() as allowed:
            n_threads = min(allowed, self.most or allowed, len(items))
            job = _Job(function, merge, ahead=2 * n_threads)
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
        """Return the same over all items of groups that come one after the other, read while the last is worked on.

        They are read in this thread, and worked on in others; there are never more than two groups at a time.
        """
        with single_threaded_blas() as allowed:
            job = _Job(function, merge, ahead=2 * allowed)
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
    def _helping(self, job: _Job[Any, Any], n_helpers: int, allowed: int) -> Iterator[None]:
        """Have so many other threads at work on a job; whatever happens, none is when it is over."""
        # numpy keeps what it does about overflow by thread
        work = _as_here(np.geterr(), job.work)
        others = [self._start(allowed).submit(work) for _ in range(n_helpers)]
        try:
            yield
        finally:
            job.stop()
            for other in others:
                other.exception()

    def _start(self, n_threads: int) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="sknatgrad")
        return self._pool

    def __enter__(self) -> Self:
        """Hold BLAS and the allocator."""
        self._hold.enter_context(single_threaded_blas())
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and let go of BLAS and the allocator."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._hold.close()


def _as_here(handling: Any, work: Callable[[], None]) -> Callable[[], None]:
    def working() -> None:
        _HOLD.point()
        with np.errstate(**handling):
            work()

    return working


class _Job(Generic[Item, Result]):
    """One pass: whoever works takes the next item, and merges what has become next in order."""

    def __init__(
        self, function: Callable[[Item], Result], merge: Callable[[Result, Result], Result], ahead: int
    ) -> None:
        self._function, self._merge, self._ahead = function, merge, ahead
        self._turn = threading.Condition()
        self._items: deque[Item] = deque()
        self._closed = False
        self._taken = 0
        self._merged = 0
        self._waiting: dict[int, Result] = {}
        self._total: Result | None = None
        self._error: BaseException | None = None

    def feed(self, items: Sequence[Item]) -> None:
        """Hand in more items."""
        with self._turn:
            if not self._closed:
                self._items.extend(items)
            self._turn.notify_all()

    def close(self) -> None:
        """Say that no more items come."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def wait_until_merged(self, count: int) -> None:
        """Wait for the first so many items to be done; raise what went wrong with any."""
        with self._turn:
            while self._merged < count and self._error is None:
                self._turn.wait()
        if self._error is not None:
            raise self._error

    def work(self) -> None:
        """Take items until there are none left, or anyone has failed."""
        try:
            while (turn := self._take()) is not None:
                index, item = turn
                result = self._function(item)
                # rows that were read for this alone need not wait for the next
                del turn, item
                self._put(index, result)
        except BaseException as error:  # noqa: BLE001 - raised again in `result`, by the thread that asked for it
            with self._turn:
                self._error = self._error or error
            self.stop()

    def stop(self) -> None:
        """Hand out no more items."""
        with self._turn:
            self._items.clear()
            self._closed = True
            self._turn.notify_all()

    def result(self) -> Result:
        """Return the merged result, or raise what went wrong."""
        if self._error is not None:
            raise self._error
        return self._total  # type: ignore[return-value]  # there is at least one item

    def _take(self) -> tuple[int, Item] | None:
        with self._turn:
            # results that wait for a slow block take memory
            while self._taken >= self._merged + self._ahead if self._items else not self._closed:
                self._turn.wait()
            if not self._items:
                return None
            self._taken += 1
            return self._taken - 1, self._items.popleft()

    def _put(self, index: int, result: Result) -> None:
        with self._turn:
            self._waiting[index] = result
            while self._merged in self._waiting:
                following = self._waiting.pop(self._merged)
                self._total = following if self._merged == 0 else self._merge(self._total, following)  # type: ignore[arg-type]
                self._merged += 1
            self._turn.notify_all()
