"""Rows of an array that lies in a file: read a block at a time, not through the memory map.

What is touched of a map counts as memory of the process, and touching what a file no longer has ends it. Reading does
neither: a block comes into a buffer that the next one uses again, and a file that has shrunk is an error with a name.
Nor are gaps between rows brought in, where they are wider than a page: each row is read by itself.
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
# A block is kept with its gaps, and not copied, if they take no more than as much again as the values.
GAPPY = 2
# What the system reads at a time. Wider gaps are not read: a call for each row costs a microsecond, in which about so
# many bytes are copied. Narrower ones would come from the disk anyway.
PAGE = 2**12
# of values and gaps at a time, bytes
AT_ONCE = 2**20


@dataclass(frozen=True)
class MemmapRows:
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
    def behind(cls, X: Any) -> MemmapRows | None:
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

    @property
    def _row_bytes(self) -> int:
        """Bytes from the first value of a row to the end of its last one."""
        return int((self.like.shape[1] - 1) * self.like.strides[1] + self.like.itemsize)

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """Return where in the file so many rows begin, and how many bytes they take, with gaps."""
        row = self.like.strides[0]
        return self.offset + start * row, (stop - start - 1) * row + self._row_bytes

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
        shape, itemsize = (stop - start, self.like.shape[1]), self.like.itemsize
        if self.like.strides[0] <= GAPPY * shape[1] * itemsize:
            return self._as_they_lie(start, stop)
        buffer = self._buffer("values", shape[0] * shape[1] * itemsize)
        rows: Array = np.ndarray(shape, self.like.dtype, buffer)
        size = max(AT_ONCE // self._pitch, 1)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            rows[first - start : last - start] = self._as_they_lie(first, last)
        return rows

    @property
    def _pitch(self) -> int:
        """Bytes from row to row in memory: as in the file, or without the gap between them."""
        row = self.like.strides[0]
        return row if row - self._row_bytes < PAGE else self._row_bytes

    def _as_they_lie(self, start: int, stop: int) -> Array:
        """Return rows with the gaps between their values."""
        pitch, (row, value) = self._pitch, self.like.strides
        view = self._buffer("gaps", (stop - start - 1) * pitch + self._row_bytes)
        if pitch == row:
            self._fill(view, self.offset + start * row)
        else:
            for index in range(stop - start):
                begin = index * pitch
                self._fill(view[begin : begin + pitch], self.offset + (start + index) * row)
        rows: Array = np.ndarray((stop - start, self.like.shape[1]), self.like.dtype, view, strides=(pitch, value))
        return rows

    def _buffer(self, name: str, length: int) -> memoryview:
        """Return memory of this thread's own."""
        buffer = getattr(self._own, name, None)
        if buffer is None or len(buffer) < length:
            buffer = bytearray(length)
            setattr(self._own, name, buffer)
        return memoryview(buffer)[:length]

    def _fill(self, view: memoryview, begin: int) -> None:
        """Read what lies there in the file."""
        done = 0
        while done < len(view):
            count = os.preadv(self.descriptor, [view[done:]], begin + done)
            if not count:
                self.check()
            done += count


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
