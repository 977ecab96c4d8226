"""Rows in the chunks of a Dask collection: kernels are sent to the workers that hold them, and sums come back.

Sums are merged in the order of the chunks, by a tree whose shape depends on the number of chunks alone. So they have
the same bits for any number of workers, in whatever order these finish.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from functools import reduce
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import dask
import numpy as np

from sknatgrad._definitions import record
from sknatgrad._limits import Limits
from sknatgrad._rows.floating_point import as_caller, handling_for_tasks, underflow_ignored
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.sampling import allocated_indices, allocation, reweighted
from sknatgrad._rows.source import concatenated
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from distributed import Client

    from sknatgrad._definitions import Array, Codes, Result
    from sknatgrad._rows.floating_point import Handling
    from sknatgrad._rows.source import Kernel, LabelledRows

# sums that one task merges: a tree of depth 2 for 64 chunks; a fit to 64 chunks of 2,000 x 20 takes 0.29 s with 4,
# 0.28 with 8, 0.27 with 16
MERGED_PER_TASK = 8

# a part of a chunk: a delayed object of Dask, or a value
Part: TypeAlias = Any


class ChunkError(ValueError):
    """An error in a chunk, whose message names the chunk. It has one argument, so that it can be pickled."""


@record
class Chunk:
    """A run of consecutive rows, still to be computed."""

    make: Callable[..., LabelledRows]  # a function of the computed parts
    parts: tuple[Part, ...]
    number: int  # of the block
    first: int  # index of its first row in the whole data


@record
class ClusterSource:
    """Chunks of rows on the workers that hold them."""

    chunks: tuple[Chunk, ...]
    n_logits: int
    counts: Codes  # (chunks, K), rows that have weight
    totals: Array  # (K,), sums of their weights
    limits: Limits = field(default_factory=Limits)
    centres: Array | None = None  # (p,), subtracted from the rows of each block
    passes: Iterator[int] = field(default_factory=count, compare=False)  # its next number is the passes so far

    out_of_core = True

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every chunk on its worker, and merge in order."""
        next(self.passes)
        # Dask does not look for delayed objects inside the kernel, and sends one copy to each worker
        sent = dask.delayed(kernel, traverse=False)
        settings = self.n_logits, self.limits, self.centres, handling_for_tasks()
        sums = [_total(sent, chunk.make, chunk.first, settings, *chunk.parts) for chunk in self.chunks]
        while len(sums) > 1:
            starts = range(0, len(sums), MERGED_PER_TASK)
            sums = [_merge(sent, settings[-1], sums[start : start + MERGED_PER_TASK]) for start in starts]
        result: Result = computed(sums, self._blocks())[0]
        return result

    def sample(self, n_rows: int) -> MemorySource:
        """Return a source of about `n_rows` rows in memory; each class has the total weight that it has here.

        A pass over so few rows on the workers would take longer to schedule than to compute.
        """
        allocated = allocation(self.counts, n_rows)
        tasks = [
            _sample(chunk.make, of_chunk, chunk.first, *chunk.parts)
            for chunk, of_chunk in zip(self.chunks, allocated, strict=True)
            if of_chunk.any()
        ]
        parts, indices = zip(*computed(tasks, self._blocks()), strict=True)
        X, codes, weight = concatenated(parts)
        weight = reweighted(codes, weight, self.totals)
        sample = MemorySource(X, codes, weight, self.n_logits, limits=self.limits, centres=self.centres)
        return replace(sample, indices=np.concatenate(indices))

    def _blocks(self) -> list[tuple[int, tuple[Part, ...]]]:
        return [(chunk.number, chunk.parts) for chunk in self.chunks]

    def as_float32(self) -> ClusterSource:
        """Return the same source: chunks are not stored in float32."""
        return self


@dask.delayed(pure=False)
def _total(
    kernel: Kernel[Result],
    make: Callable[..., LabelledRows],
    first: int,
    settings: tuple[int, Limits, Array | None, Handling],
    *parts: Part,
) -> Result:
    n_logits, limits, centres, handling = settings
    # the other threads of the worker have chunks of their own
    with np.errstate(**handling), Workers(max_threads=1) as workers:  # type: ignore[arg-type]  # numpy's own values
        source = MemorySource(*make(*parts), n_logits, workers, first=first, limits=limits, centres=centres)
        return source.total(kernel)


@dask.delayed(pure=False)
def _merge(kernel: Kernel[Result], handling: Handling, sums: list[Result]) -> Result:
    with np.errstate(**handling):  # type: ignore[arg-type]  # numpy's own values
        return reduce(kernel.merge, sums)


@dask.delayed(pure=False)
def _sample(
    make: Callable[..., LabelledRows], allocated: Codes, first: int, *parts: Part
) -> tuple[LabelledRows, Codes]:
    with underflow_ignored():
        rows = make(*parts)
        indices = allocated_indices(rows.codes, rows.weight, allocated, seed=first)
        return rows.picked(indices), first + indices


@dask.delayed(pure=False)
def _computes(*parts: Part) -> bool:  # noqa: ARG001 - Dask computes them before the call
    return True


def computed(tasks: Sequence[Part], blocks: Iterable[tuple[int, Sequence[Part]]]) -> tuple[Any, ...]:
    """Return the results of tasks. If one fails, raise an error that names the first block that cannot be computed.

    `blocks` are the blocks that the tasks need, with their numbers.
    """
    client = _client()
    try:
        results = _compute(tasks, client)
    except ChunkError as error:
        raise ValueError(str(error)) from None
    except BaseException as error:
        if _is_gone(client, error):
            message = (
                "The Dask client was closed, or its work cancelled, before the fit had ended; the estimator is "
                "unchanged: connect a new client, and fit again."
            )
            raise ConnectionError(message) from error
        if isinstance(error, Exception):
            _find_failing(blocks, client)
        raise
    return results


def _compute(tasks: Sequence[Part], client: Client | None) -> tuple[Any, ...]:
    """Compute tasks; in this thread if Dask's own scheduler can start no others."""
    results: tuple[Any, ...]
    # a scheduler may compute in this thread what the user has made
    with as_caller():
        try:
            results = dask.compute(*tasks)
        except RuntimeError:
            if client is not None or _has_threads():
                raise
            results = dask.compute(*tasks, scheduler="synchronous")
    return results


def _has_threads() -> bool:
    """Say whether a pool of threads, as Dask's scheduler uses, takes tasks: not where none starts, nor at exit."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(int)
        except RuntimeError:
            return False
    return True


def _client() -> Client | None:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        client: Client | None = distributed.get_client()
    except ValueError:
        client = None
    return client


def _is_gone(client: Client | None, error: BaseException) -> bool:
    cancelled = "Cancelled" in type(error).__name__ or "CommClosed" in type(error).__name__
    return client is not None and (cancelled or client.status in {"closed", "closing"})


def _find_failing(blocks: Iterable[tuple[int, Sequence[Part]]], client: Client | None) -> None:
    """Compute one block after the other, and raise an error that names the first that fails."""
    for number, parts in blocks:
        try:
            _compute([_computes(*parts)], client)
        except Exception as error:
            message = f"block {number} could not be computed: {type(error).__name__}: {error}"
            raise ValueError(message) from error
