"""Several training sets of the same rows: those of the folds of a cross-validation, and all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array, Codes

# Groups of rows, for each training set, up to which sums are kept for each group: k folds and all rows have k groups.
# Each is a part of every block, which costs a few calls.
MAX_GROUPS_PER_SET = 2


class SetWeights(Protocol):
    """Training sets of the same rows."""

    def weights(self, block: RowBlock) -> Array:
        """Return the weight of each row of a block in each set, ``(T, m)``."""
        ...


class TrainingSets(NamedTuple):
    """How often each row counts in each of T training sets, and the factor of the weights of each class there."""

    counts: Codes  # (T, n), of an unsigned type
    factors: Array  # (T, K), relative to the weights of all rows

    @property
    def same_factors(self) -> bool:
        """Whether the weights of the classes are those of all rows in each set."""
        return bool((self.factors == 1.0).all())

    def weights(self, block: RowBlock) -> Array:
        """Return the weight of each row of a block in each set, ``(T, m)``."""
        counts = self.counts[:, block.start : block.start + block.codes.size]
        weights: Array = counts * block.weight
        return weights if self.same_factors else weights * self.factors[:, block.codes]

    def grouped(self) -> RowGroups | None:
        """Return the groups of rows that count alike in every set; None if there are many."""
        if not self.same_factors:
            return None
        # one number for each pattern of counts, unique up to 2⁻⁶⁴ per pair
        multipliers = 2 * np.random.default_rng(0).integers(2**63, size=len(self.counts), dtype=np.uint64) + 1
        digests = np.zeros(self.counts.shape[1], dtype=np.uint64)
        for count, multiplier in zip(self.counts, multipliers, strict=True):
            digests += count.astype(np.uint64) * multiplier
        _, first, numbers = np.unique(digests, return_index=True, return_inverse=True)
        if first.size > MAX_GROUPS_PER_SET * len(self.counts):
            return None
        return RowGroups(numbers.astype(np.intp, copy=False), self.counts[:, first].astype(np.float64))


class RowGroups(NamedTuple):
    """The group of each row, and how often the rows of a group count in each training set."""

    numbers: Codes  # (n,), of the group of each row
    counts: Array  # (T, G)

    @classmethod
    def single(cls, n_rows: int) -> RowGroups:
        """Return one group of all rows, and one set that has them once."""
        return cls(np.zeros(n_rows, dtype=np.intp), np.ones((1, 1)))

    @classmethod
    def of_each_row(cls, n_rows: int) -> RowGroups:
        """Return a group of each row, and no training set."""
        return cls(np.arange(n_rows), np.empty((0, n_rows)))

    @property
    def size(self) -> int:
        """Number of groups G."""
        return int(self.counts.shape[1])
