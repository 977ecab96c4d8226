"""Rows of a memory map, read from its file a block at a time.

Pages of a map that have been accessed count as memory of the process, and access beyond the end of a truncated file
kills the process. Reading avoids both: a block is read into a buffer that the next block overwrites, and a file that is
too short raises an error. Gaps between rows that are wider than a page are not read.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._rows.centring import sample_step

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Matrix

# rows that are compared, to verify that the file is the one that is mapped: the first, the middle and the last
COMPARED_ROWS = 3
# A block is used with its gaps, and not copied, if a row with its gaps has at most this multiple of the bytes of its
# values. Passes over 400,000 rows of 8, 13 and 20 of 40 columns take 21 to 33 ms with 1 to 8, without a common trend.
MAX_SPREAD = 2
# Bytes of a page, the least that the system reads. Wider gaps are skipped by one call per row, which takes a
# microsecond, as long as copying about this many bytes. Narrower gaps would be read from the disk anyway.
PAGE_BYTES = 2**12
# Bytes of values with gaps that are read at a time, to be copied without gaps. 400,000 rows of 8 of 40 columns: 24 to
# 26 ms with 2**18 to 2**22, 33 with 2**16.
GAPPED_BYTES = 2**20


@record
class MemmapRows:
    """A table in a file, row after row, with or without gaps."""

    array: Array  # the map: its shape, strides and type
    offset: int  # of its first value in the file, bytes
    name: str  # of the file
    descriptor: int
    _thread: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Close the file when this object is deleted."""
        weakref.finalize(self, os.close, self.descriptor)

    @classmethod
    def from_map(cls, X: Matrix) -> MemmapRows | None:
        """Return the rows of the file that X maps, or None if X is no memory map, or not stored row after row."""
        mapped = _map_of(X)
        # the file does not have the changes of a map that copies on write
        if mapped is None or mapped.mode == "c" or not _is_row_after_row(X) or not hasattr(os, "preadv"):
            return None
        offset = mapped.offset + X.__array_interface__["data"][0] - mapped.__array_interface__["data"][0]
        with suppress(OSError):
            path = Path(mapped.filename)
            rows = cls(X, offset, path.name, os.open(path, os.O_RDONLY))
            # the file that is mapped may have been replaced by another one of the same name
            if not _is_mapped(os.fstat(rows.descriptor).st_ino, X.__array_interface__["data"][0]):
                return None
            rows.check()
            compared = np.linspace(0, X.shape[0] - 1, COMPARED_ROWS).astype(int).tolist()
            if all(rows.read(row, row + 1).tobytes() == X[row : row + 1].tobytes() for row in compared):
                return rows
        return None

    @property
    def _row_bytes(self) -> int:
        """Bytes from the first value of a row to the end of its last one."""
        return int((self.array.shape[1] - 1) * self.array.strides[1] + self.array.itemsize)

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the position of rows in the file, and how many bytes they take, with gaps."""
        row = self.array.strides[0]
        return self.offset + start * row, (stop - start - 1) * row + self._row_bytes

    def check(self) -> None:
        """Raise an error if the file is too short."""
        begin, length = self._span(0, self.array.shape[0])
        size = os.fstat(self.descriptor).st_size
        if size < begin + length:
            message = (
                f"X is a memory map of {self.name}, which has {size:,} bytes where the {self.array.shape[0]:,} rows "
                f"need {begin + length:,}: the file has been truncated; write it again, and map it again."
            )
            raise ValueError(message)

    def sample(self) -> Array:
        """Return some rows in float64, spread evenly over the file."""
        return np.concatenate(
            [
                self.read(row, row + 1).astype(np.float64)
                for row in range(0, self.array.shape[0], sample_step(self.array.shape[0]))
            ]
        )

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``start:stop``, in memory that the next call in the same thread overwrites."""
        shape, itemsize = (stop - start, self.array.shape[1]), self.array.itemsize
        if self.array.strides[0] <= MAX_SPREAD * shape[1] * itemsize:
            return self._read_with_gaps(start, stop)
        buffer = self._buffer("values", shape[0] * shape[1] * itemsize)
        rows: Array = np.ndarray(shape, self.array.dtype, buffer)
        size = max(GAPPED_BYTES // self._pitch, 1)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            rows[first - start : last - start] = self._read_with_gaps(first, last)
        return rows

    @property
    def _pitch(self) -> int:
        """Bytes from row to row in memory: as in the file, or without the gap between them."""
        row = self.array.strides[0]
        return row if row - self._row_bytes < PAGE_BYTES else self._row_bytes

    def _read_with_gaps(self, start: int, stop: int) -> Array:
        """Return rows as a view of a buffer that has the gaps between their values too."""
        pitch, (row, value) = self._pitch, self.array.strides
        view = self._buffer("gaps", (stop - start - 1) * pitch + self._row_bytes)
        if pitch == row:
            self._fill(view, self.offset + start * row)
        else:
            for index in range(stop - start):
                begin = index * pitch
                self._fill(view[begin : begin + pitch], self.offset + (start + index) * row)
        rows: Array = np.ndarray((stop - start, self.array.shape[1]), self.array.dtype, view, strides=(pitch, value))
        return rows

    def _buffer(self, name: str, length: int) -> memoryview:
        """Return memory of this thread."""
        buffer = getattr(self._thread, name, None)
        if buffer is None or len(buffer) < length:
            buffer = bytearray(length)
            setattr(self._thread, name, buffer)
        return memoryview(buffer)[:length]

    def _fill(self, view: memoryview, begin: int) -> None:
        """Read bytes from a position in the file until the view is full."""
        done = 0
        while done < len(view):
            count = os.preadv(self.descriptor, [view[done:]], begin + done)
            if not count:
                self.check()
            done += count


def _map_of(X: Matrix) -> Matrix:
    """Return the memory map that X is, or is a view of, or None."""
    while isinstance(X, np.ndarray):
        # a view of a map has its class and file name, but not an offset of its own
        if isinstance(X, np.memmap) and not isinstance(X.base, np.ndarray):
            return X if X.filename is not None else None
        X = X.base
    return None


def _is_mapped(inode: int, address: int) -> bool:
    """Say whether the file of this number is mapped to an address; True on systems that do not list maps."""
    with suppress(OSError, ValueError), Path("/proc/self/maps").open(encoding="utf-8") as maps:
        for line in maps:
            span, _, _, _, number, *_ = line.split()
            first, last = (int(end, 16) for end in span.split("-"))
            if first <= address < last:
                return int(number) == inode
    return True


def _is_row_after_row(X: Array) -> bool:
    if X.ndim != 2 or not X.size:  # noqa: PLR2004 - a table
        return False
    row, value = X.strides
    return bool(value > 0 and value * (X.shape[1] - 1) + X.itemsize <= row)
