"""Threads that share the blocks of a pass, with BLAS held to one thread meanwhile.

Blocks are handed out in order and their results merged in order, left to right, so the bits of a sum do not depend on
how many threads worked on it, nor on which was faster.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    """The process's BLAS at one thread for as long as anyone asks for it: the last to leave puts it back.

    BLAS threads are a setting of the process, so of several fits in several threads no one may restore it alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before: list[tuple[Any, int]] = []

    def enter(self) -> int:
        with self._lock:
            if self._holders == 0:
                self._before = [(library, library.num_threads or 1) for library in _blas().lib_controllers]
            self._holders += 1
            self.here()
            return max((n_threads for _, n_threads in self._before), default=1)

    def here(self) -> None:
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


_HOLD = _Hold()


@contextmanager
def single_threaded_blas() -> Iterator[int]:
    """Hold BLAS to one thread; gives the number it had before, which is how many threads may work instead."""
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

    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)
    _hold: ExitStack = field(default_factory=ExitStack, repr=False)

    def map_reduce(
        self, function: Callable[[Item], Result], merge: Callable[[Result, Result], Result], items: Sequence[Item]
    ) -> Result:
        """Return merge(merge(f(a), f(b)), f(c)), and so on."""
        if len(items) == 1:
            return function(items[0])
        with single_threaded_blas() as allowed:
            n_threads = min(allowed, len(items))
            job = _Job(function, merge, items, ahead=2 * n_threads)
            # numpy keeps what it does about overflow by thread
            work = _as_here(np.geterr(), job.work)
            others = [self._start(n_threads).submit(work) for _ in range(n_threads - 1)]
            try:
                job.work()
            finally:
                job.stop()
                for other in others:
                    other.exception()
            return job.result()

    def _start(self, n_threads: int) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(n_threads - 1, thread_name_prefix="sknatgrad")
        return self._pool

    def __enter__(self) -> Self:
        """Hold BLAS."""
        self._hold.enter_context(single_threaded_blas())
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads, and let go of BLAS."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._hold.close()


def _as_here(handling: Any, work: Callable[[], None]) -> Callable[[], None]:
    def working() -> None:
        _HOLD.here()
        with np.errstate(**handling):
            work()

    return working


class _Job(Generic[Item, Result]):
    """One pass: whoever works takes the next item, and merges what has become next in order."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        merge: Callable[[Result, Result], Result],
        items: Sequence[Item],
        ahead: int,
    ) -> None:
        self._function, self._merge, self._items, self._ahead = function, merge, items, ahead
        self._turn = threading.Condition()
        self._taken = 0
        self._merged = 0
        self._waiting: dict[int, Result] = {}
        self._total: Result | None = None
        self._error: BaseException | None = None

    def work(self) -> None:
        """Take items until there are none left, or anyone has failed."""
        try:
            while (index := self._take()) is not None:
                self._put(index, self._function(self._items[index]))
        except BaseException as error:  # noqa: BLE001 - raised again in `result`, by the thread that asked for it
            with self._turn:
                self._error = self._error or error
            self.stop()

    def stop(self) -> None:
        """Hand out no more items."""
        with self._turn:
            self._taken = len(self._items)
            self._turn.notify_all()

    def result(self) -> Result:
        """Return the merged result, or raise what went wrong."""
        if self._error is not None:
            raise self._error
        return self._total  # type: ignore[return-value]  # there is at least one item

    def _take(self) -> int | None:
        with self._turn:
            # results that wait for a slow block take memory
            while self._merged + self._ahead <= self._taken < len(self._items):
                self._turn.wait()
            if self._taken == len(self._items):
                return None
            self._taken += 1
            return self._taken - 1

    def _put(self, index: int, result: Result) -> None:
        with self._turn:
            self._waiting[index] = result
            while self._merged in self._waiting:
                following = self._waiting.pop(self._merged)
                self._total = following if self._merged == 0 else self._merge(self._total, following)  # type: ignore[arg-type]
                self._merged += 1
            self._turn.notify_all()
