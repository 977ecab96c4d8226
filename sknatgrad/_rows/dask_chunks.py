"""Rows that live in the chunks of a Dask collection, on whatever workers: kernels go to them, sums come back.

Sums are merged by a tree whose shape depends on the number of chunks alone, in their order: neither the number of
workers nor which of them was faster changes a bit.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import reduce
from itertools import count
from typing import TYPE_CHECKING, Any

import dask
import numpy as np

from sknatgrad._rows.matrices import pick_rows, vstack
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.sampling import quotas, reweighted, spread_in_classes
from sknatgrad._rows.source import LabelledRows
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sknatgrad._rows.source import Kernel
    from sknatgrad._typing import Array, Codes, Result

# how many sums a task merges
BRANCHES = 8


class ChunkError(ValueError):
    """What is wrong with a chunk, in one sentence that names it. One argument, so that it travels."""


@dataclass(frozen=True)
class Chunk:
    """A run of rows that is still to be had."""

    make: Callable[..., LabelledRows]  # of the parts, once they are there
    parts: tuple[Any, ...]  # delayed, or as they are
    number: int  # of the block
    first: int  # index of its first row in the whole data


@dataclass(frozen=True)
class ClusterSource:
    """Chunks of rows where they live."""

    chunks: tuple[Chunk, ...]
    n_logits: int
    counts: Codes  # (chunks, K), rows that have weight
    totals: Array  # (K,), of their weights
    passes: Iterator[int] = field(default_factory=count, compare=False)

    out_of_core = True  # each pass fetches the rows anew

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every chunk where it lives, and merge in order."""
        next(self.passes)
        # as it is, not taken apart: one copy goes to each worker
        sent = dask.delayed(kernel, traverse=False)
        sums = [_total(sent, chunk.make, chunk.first, self.n_logits, *chunk.parts) for chunk in self.chunks]
        while len(sums) > 1:
            sums = [_merge(sent, sums[first : first + BRANCHES]) for first in range(0, len(sums), BRANCHES)]
        result: Result = computed(sums, self._blocks())[0]
        return result

    def sample(self, n_rows: int) -> MemorySource:
        """Return a source of about `n_rows` of the rows, brought here; each class weighs in it what it weighs there.

        They are few: a pass over as many where they live would take longer to ask for than to compute.
        """
        wanted = quotas(self.counts, n_rows)
        picked = [
            _sample(chunk.make, quota, chunk.first, *chunk.parts)
            for chunk, quota in zip(self.chunks, wanted, strict=True)
            if quota.any()
        ]
        parts = computed(picked, self._blocks())
        codes = np.concatenate([part.codes for part in parts])
        weight = np.concatenate([part.weight for part in parts])
        X = vstack([part.X for part in parts])
        return MemorySource(X, codes, reweighted(codes, weight, self.totals), self.n_logits)

    def _blocks(self) -> list[tuple[int, tuple[Any, ...]]]:
        return [(chunk.number, chunk.parts) for chunk in self.chunks]

    def rounded(self) -> ClusterSource:
        """Return the same: nothing of rows that are far is kept rounded."""
        return self


@dask.delayed(pure=False)
def _total(kernel: Any, make: Callable[..., LabelledRows], first: int, n_logits: int, *parts: Any) -> Any:
    # a worker has as many threads as Dask gave it, for other chunks
    with Workers(most=1) as workers:
        return MemorySource(*make(*parts), n_logits, workers, first=first).total(kernel)


@dask.delayed(pure=False)
def _merge(kernel: Any, sums: list[Any]) -> Any:
    return reduce(kernel.merge, sums)


@dask.delayed(pure=False)
def _sample(make: Callable[..., LabelledRows], quota: Codes, first: int, *parts: Any) -> LabelledRows:
    X, codes, weight = make(*parts)
    rows = spread_in_classes(codes, weight, quota, seed=first)
    return LabelledRows(pick_rows(X, rows), codes[rows], weight[rows])


@dask.delayed(pure=False)
def _here(*parts: Any) -> bool:  # noqa: ARG001 - that they could be had is the answer
    return True


def computed(tasks: Sequence[Any], blocks: Iterable[tuple[int, Sequence[Any]]]) -> tuple[Any, ...]:
    """Return the results of tasks; if there are none, say why: `blocks` are what they need, with their numbers."""
    client = _client()
    try:
        results: tuple[Any, ...] = dask.compute(*tasks)
    except ChunkError as error:
        raise ValueError(str(error)) from None
    except BaseException as error:
        if _is_gone(client, error):
            message = (
                "The Dask client was closed, or its work cancelled, before the fit had ended; the estimator is as it "
                "was: connect a new client, and fit again."
            )
            raise ConnectionError(message) from error
        if isinstance(error, Exception):
            _find_failing(blocks)
        raise
    return results


def _client() -> Any:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def _is_gone(client: Any, error: BaseException) -> bool:
    cancelled = "Cancelled" in type(error).__name__ or "CommClosed" in type(error).__name__
    return client is not None and (cancelled or client.status in {"closed", "closing"})


def _find_failing(blocks: Iterable[tuple[int, Sequence[Any]]]) -> None:
    """Ask for one block after the other, and raise an error that names the first that cannot be had."""
    for number, parts in blocks:
        try:
            dask.compute(_here(*parts))
        except Exception as error:
            message = f"block {number} could not be computed: {type(error).__name__}: {error}"
            raise ValueError(message) from error
