"""Rows of an array that lies in a file: read a block at a time, not through the memory map.

What is touched of a map counts as memory of the process, and touching what a file no longer has ends it. Reading does
neither: a block comes into a buffer that the next one uses again, and a file that has shrunk is an error with a name.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._typing import Array

# rows that are compared between map and file, to see that they are the same
WITNESSES = 3


@dataclass(frozen=True)
class MappedRows:
    """A table in a file, each row after the one before, with or without gaps."""

    like: Array  # the map itself, for its shape, strides and type
    offset: int  # of its first value in the file, bytes
    name: str  # of the file
    descriptor: int
    _own: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Close the file when nobody reads it any more."""
        weakref.finalize(self, os.close, self.descriptor)

    @classmethod
    def behind(cls, X: Any) -> MappedRows | None:
        """Return the rows of the file that X is a map of, or None if X is no such map, or not row after row."""
        mapped = _map_of(X)
        # what was written to a copy on write is not in the file
        if mapped is None or mapped.mode == "c" or not _row_after_row(X) or not hasattr(os, "preadv"):
            return None
        offset = mapped.offset + X.__array_interface__["data"][0] - mapped.__array_interface__["data"][0]
        with suppress(OSError):
            path = Path(mapped.filename)
            rows = cls(X, offset, path.name, os.open(path, os.O_RDONLY))
            # the map may be of a file that has been replaced by another one of the same name
            if not _is_mapped(os.fstat(rows.descriptor).st_ino, X.__array_interface__["data"][0]):
                return None
            rows.check()
            witnesses = np.linspace(0, X.shape[0] - 1, WITNESSES).astype(int).tolist()
            if all(rows.read(row, row + 1).tobytes() == X[row : row + 1].tobytes() for row in witnesses):
                return rows
        return None

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """Return where in the file so many rows begin, and how many bytes they take."""
        row, value = self.like.strides
        length = (stop - start - 1) * row + (self.like.shape[1] - 1) * value + self.like.itemsize
        return self.offset + start * row, length

    def check(self) -> None:
        """Refuse a file that has become too short."""
        begin, length = self._span(0, self.like.shape[0])
        size = os.fstat(self.descriptor).st_size
        if size < begin + length:
            message = (
                f"X is a memory map of {self.name}, which has {size:,} bytes where the {self.like.shape[0]:,} rows "
                f"need {begin + length:,}: the file has been cut short; write it again, and map it anew."
            )
            raise ValueError(message)

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``start:stop``, in memory that the next call of the same thread uses again."""
        begin, length = self._span(start, stop)
        buffer = getattr(self._own, "buffer", None)
        if buffer is None or len(buffer) < length:
            buffer = self._own.buffer = bytearray(length)
        view = memoryview(buffer)[:length]
        done = 0
        while done < length:
            count = os.preadv(self.descriptor, [view[done:]], begin + done)
            if not count:
                self.check()
            done += count
        shape = (stop - start, self.like.shape[1])
        rows: Array = np.ndarray(shape, self.like.dtype, view, strides=self.like.strides)
        return rows


def _map_of(X: Any) -> Any:
    """Return the memory map that X is, or is a view of, as numpy made it; or None."""
    while isinstance(X, np.ndarray):
        # a view of a map is of its type too, with the file's name but not its own place in it
        if isinstance(X, np.memmap) and not isinstance(X.base, np.ndarray):
            return X if X.filename is not None else None
        X = X.base
    return None


def _is_mapped(inode: int, address: int) -> bool:
    """Say whether it is this file that is mapped to an address, as far as the system tells."""
    with suppress(OSError, ValueError), Path("/proc/self/maps").open(encoding="utf-8") as maps:
        for line in maps:
            span, _, _, _, number, *_ = line.split()
            first, last = (int(end, 16) for end in span.split("-"))
            if first <= address < last:
                return int(number) == inode
    return True


def _row_after_row(X: Array) -> bool:
    if X.ndim != 2 or not X.size:  # noqa: PLR2004 - a table
        return False
    row, value = X.strides
    return bool(value > 0 and value * (X.shape[1] - 1) + X.itemsize <= row)
