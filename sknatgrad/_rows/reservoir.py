"""A sample of rows that go by, as many as memory has room for, without knowing how many there will be."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._rows.matrices import pick_rows, stored_bytes_per_row, vstack
from sknatgrad._rows.sampling import LEAST_OF_A_CLASS

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes, Matrix


class Sample(NamedTuple):
    """Some rows, each with the number that was drawn for it."""

    X: Matrix  # (m, p)
    codes: Codes  # (m,)
    weight: Array  # (m,)
    draw: Array  # (m,), in [0, 1)

    def picked(self, rows: Codes) -> Sample:
        """Return a copy of some of them."""
        return Sample(pick_rows(self.X, rows), self.codes[rows], self.weight[rows], self.draw[rows])

    @property
    def size(self) -> float:
        """Bytes of X as float64."""
        return len(self.codes) * stored_bytes_per_row(self.X)


class StratifiedReservoir:
    """The rows with the smallest draws: of each class some, if it has them, and as many of all as there is room for.

    The draw of a row depends on its index alone. While there is room for all rows, all are kept.
    """

    def __init__(self, room: float) -> None:
        self.room = room  # bytes
        self.n_rows = 0  # that went by
        self._parts: list[Sample] = []
        self._size = 0.0  # bytes
        self._below = 1.0
        self._of_class = np.ones(0)  # (K,), the same for each class
        self._draws = np.random.default_rng(0)

    @property
    def complete(self) -> bool:
        """Whether every row is here."""
        return self._below == 1.0

    def add(self, X: Matrix, codes: Codes, weight: Array) -> None:
        """Let rows go by; those kept are copied."""
        draw = self._draws.random(len(codes))
        self.n_rows += len(codes)
        self._know(int(codes.max()) + 1)
        rows = Sample(X, codes, weight, draw)
        chosen = self._chosen(rows)
        if not chosen.size:
            return
        self._parts.append(rows.picked(chosen))
        self._size += self._parts[-1].size
        while self._size > self.room and self._subsample():
            pass

    def _subsample(self) -> bool:
        """Let about half of the rows go; say whether there were any to let go: a few may be larger than the room."""
        self._below /= 2.0
        self._of_class = self._rare()
        before = self._size
        thinned = [part.picked(self._chosen(part)) for part in self._parts]
        self._parts = [part for part in thinned if len(part.codes)]
        self._size = sum(part.size for part in self._parts)
        return self._size < before

    def _know(self, n_classes: int) -> None:
        # a class that has not been seen yet is rare
        missing = max(n_classes - self._of_class.size, 0)
        self._of_class = np.append(self._of_class, np.ones(missing))

    def _chosen(self, rows: Sample) -> Codes:
        return np.flatnonzero(
            ((rows.draw < self._below) | (rows.draw < self._of_class[rows.codes])) & self._counts(rows)
        )

    def _counts(self, rows: Sample) -> Any:
        # where all rows are kept they are those of a fit, which counts them
        return (rows.weight > 0) | self.complete

    def _rare(self) -> Array:
        """Return the draw up to which rows of each class are kept beyond the others, ``(K,)``."""
        counts = np.concatenate([part.weight for part in self._parts]) > 0
        codes = np.concatenate([part.codes for part in self._parts])[counts]
        draw = np.concatenate([part.draw for part in self._parts])[counts]
        order = np.lexsort((draw, codes))
        codes, draw = codes[order], draw[order]
        first = np.searchsorted(codes, np.arange(self._of_class.size + 1))
        bounds = self._of_class.copy()
        for k, (begin, end) in enumerate(pairwise(first.tolist())):
            if end - begin > LEAST_OF_A_CLASS:
                bounds[k] = draw[begin + LEAST_OF_A_CLASS]
        return bounds

    def rows(self) -> tuple[Matrix, Codes, Array]:
        """Return the rows kept, in order; the reserve is empty then."""
        parts, self._parts = self._parts, []
        codes = np.concatenate([part.codes for part in parts])
        weight = np.concatenate([part.weight for part in parts])
        X = parts[0].X
        if len(parts) > 1:
            X = vstack([part.X for part in parts])
        return X, codes, weight
