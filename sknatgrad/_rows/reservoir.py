"""A stratified sample of bounded size from one pass over rows whose number is not known."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._rows.matrices import stored_bytes_per_row
from sknatgrad._rows.sampling import MIN_ROWS_PER_CLASS
from sknatgrad._rows.source import LabelledRows, concatenated

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, Mask, Matrix


class Sample(NamedTuple):
    """Some rows, each with its random number."""

    rows: LabelledRows
    draw: Array  # (m,), in [0, 1)
    indices: Codes  # (m,), of the rows among all that were added

    def picked(self, indices: Codes) -> Sample:
        """Return a copy of the rows of these indices."""
        return Sample(self.rows.picked(indices), self.draw[indices], self.indices[indices])

    @property
    def size(self) -> float:
        """Bytes of X as float64."""
        return len(self.draw) * stored_bytes_per_row(self.rows.X)


class StratifiedReservoir:
    """The rows with the smallest random numbers: some of each class, and as many in total as the capacity allows.

    The random number of a row depends on its index alone. While the capacity suffices, all rows are stored.
    """

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity  # bytes
        self.n_rows = 0  # added so far
        self._parts: list[Sample] = []
        self._size = 0.0  # bytes
        self._bound = 1.0  # rows with a smaller number are stored
        self._class_bounds = np.ones(0)  # (K,), rows of a class with a number below its bound are stored too
        self._random = np.random.default_rng(0)

    @property
    def complete(self) -> bool:
        """Whether every row is stored."""
        return self._bound == 1.0

    def add(self, X: Matrix, codes: Codes, weight: Array) -> None:
        """Add rows; those stored are copied."""
        draw = self._random.random(len(codes))
        indices = np.arange(self.n_rows, self.n_rows + len(codes))
        self.n_rows += len(codes)
        self._add_classes(int(codes.max()) + 1)
        sample = Sample(LabelledRows(X, codes, weight), draw, indices)
        chosen = self._chosen(sample)
        if not chosen.size:
            return
        self._parts.append(sample.picked(chosen))
        self._size += self._parts[-1].size
        while self._size > self.capacity and self._subsample():
            pass

    def _subsample(self) -> bool:
        """Drop about half of the rows; say whether any were dropped: a few rows may exceed the capacity."""
        self._bound /= 2.0
        self._class_bounds = self._bounds_of_classes()
        before = self._size
        remaining = [part.picked(self._chosen(part)) for part in self._parts]
        self._parts = [part for part in remaining if len(part.draw)]
        self._size = sum(part.size for part in self._parts)
        return self._size < before

    def _add_classes(self, n_classes: int) -> None:
        # all rows of a new class are stored: it may be rare
        missing = max(n_classes - self._class_bounds.size, 0)
        self._class_bounds = np.append(self._class_bounds, np.ones(missing))

    def _chosen(self, sample: Sample) -> Codes:
        below = (sample.draw < self._bound) | (sample.draw < self._class_bounds[sample.rows.codes])
        return np.flatnonzero(below & self._counts(sample))

    def _counts(self, sample: Sample) -> Mask:
        # a complete sample is fitted in memory, where rows without weight count as rows
        counts: Mask = (sample.rows.weight > 0) | self.complete
        return counts

    def _bounds_of_classes(self) -> Array:
        """Return the number below which rows of each class are stored whatever the common bound, ``(K,)``."""
        counts = np.concatenate([part.rows.weight for part in self._parts]) > 0
        codes = np.concatenate([part.rows.codes for part in self._parts])[counts]
        draw = np.concatenate([part.draw for part in self._parts])[counts]
        order = np.lexsort((draw, codes))
        codes, draw = codes[order], draw[order]
        first = np.searchsorted(codes, np.arange(self._class_bounds.size + 1))
        bounds = self._class_bounds.copy()
        for k, (begin, end) in enumerate(pairwise(first.tolist())):
            if end - begin > MIN_ROWS_PER_CLASS:
                bounds[k] = draw[begin + MIN_ROWS_PER_CLASS]
        return bounds

    def rows(self) -> tuple[LabelledRows, Codes]:
        """Return the stored rows, in order, and their indices among all; empty the reservoir."""
        parts, self._parts = self._parts, []
        return concatenated([part.rows for part in parts]), np.concatenate([part.indices for part in parts])
