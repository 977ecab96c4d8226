"""Several training sets of the same rows: those of the folds of a cross-validation, and all rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, cast

import numpy as np

from sknatgrad._definitions import Result, record
from sknatgrad._rows.sampling import reweighted

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Bits, Codes
    from sknatgrad._rows.memory import MemorySource
    from sknatgrad._rows.source import Kernel, RowBlock, RowSource

# Groups of rows, for each training set, up to which sums are kept for each group: k folds and all rows have k groups.
# Each is a part of every block, which costs a few calls.
MAX_GROUPS_PER_SET = 2


class RowNumbers(Protocol):
    """The number of the group that each row is in, a function of the index of the row in the whole data."""

    def of(self, indices: Codes) -> Codes:
        """Return the numbers of the rows of these indices."""
        ...


class StoredNumbers(NamedTuple):
    """A given number of each row."""

    numbers: Codes  # (n,)

    def of(self, indices: Codes) -> Codes:
        """Return the numbers of the rows of these indices."""
        return self.numbers[indices].astype(np.intp, copy=False)


class HashedNumbers(NamedTuple):
    """A pseudo-random number of each row: a hash of its index."""

    n_groups: int  # at most 2³²

    def of(self, indices: Codes) -> Codes:
        """Return the numbers of the rows of these indices, each in ``range(n_groups)``.

        The upper 32 bits of the hash, as a fraction of 2³², times the number of groups.
        """
        upper = splitmix64(indices) >> np.uint64(32)
        numbers: Codes = ((upper * np.uint64(self.n_groups)) >> np.uint64(32)).astype(np.intp)
        return numbers


def splitmix64(indices: Codes) -> Bits:
    """Return 64 pseudo-random bits of each index: the number at this place of SplitMix64 with the seed 0.

    G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. The mixing function is
    that of Java's SplittableRandom, Stafford's variant 13.
    """
    bits = (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Bits = bits ^ (bits >> np.uint64(31))
    return mixed


class RowGroups(NamedTuple):
    """The group of each row, and how often the rows of a group count in each training set."""

    numbers: RowNumbers  # of the group of each row
    counts: Array  # (T, G)

    @classmethod
    def single(cls) -> RowGroups:
        """Return one group of all rows, and one set that has them once."""
        return cls(HashedNumbers(1), np.ones((1, 1)))

    @property
    def size(self) -> int:
        """Number of groups G."""
        return int(self.counts.shape[1])


class SetWeights(Protocol):
    """T training sets of the same rows."""

    def weights(self, block: RowBlock) -> Array:
        """Return the weight of each row of a block in each set, ``(T, m)``."""
        ...


class TrainingSets(SetWeights, Protocol):
    """T training sets, each of which may have other weights of the classes."""

    def grouped(self) -> RowGroups | None:
        """Return the groups of rows that count alike in every set; None if there are many."""
        ...


class CountedSets(NamedTuple):
    """Training sets by how often each row counts in each, and the factor of the weights of each class there."""

    counts: Codes  # (T, n), of an unsigned type
    factors: Array  # (T, K), relative to the weights of all rows

    def weights(self, block: RowBlock) -> Array:
        """Return the weight of each row of a block in each set, ``(T, m)``."""
        counts = self.counts[:, block.start : block.start + block.codes.size]
        weights: Array = counts * block.weight
        return weights if _all_one(self.factors) else weights * self.factors[:, block.codes]

    def grouped(self) -> RowGroups | None:
        """Return the groups of rows that count alike in every set; None if there are many."""
        if not _all_one(self.factors):
            return None
        # one number for each pattern of counts, unique up to 2⁻⁶⁴ per pair
        multipliers = 2 * np.random.default_rng(0).integers(2**63, size=len(self.counts), dtype=np.uint64) + 1
        digests = np.zeros(self.counts.shape[1], dtype=np.uint64)
        for count, multiplier in zip(self.counts, multipliers, strict=True):
            digests += count.astype(np.uint64) * multiplier
        _, first, numbers = np.unique(digests, return_index=True, return_inverse=True)
        if first.size > MAX_GROUPS_PER_SET * len(self.counts):
            return None
        return RowGroups(StoredNumbers(numbers.astype(np.intp, copy=False)), self.counts[:, first].astype(np.float64))


class GroupedSets(NamedTuple):
    """Training sets that consist of groups of rows; no number of a single row is stored unless the groups store it."""

    groups: RowGroups
    factors: Array  # (T, K), of the weights of each class in each set, relative to those of all rows

    def weights(self, block: RowBlock) -> Array:
        """Return the weight of each row of a block in each set, ``(T, m)``."""
        return self.weights_of(indices_of(block), block.codes, block.weight)

    def weights_of(self, indices: Codes, codes: Codes, weight: Array) -> Array:
        """Return the weight of rows in each set, ``(T, m)``, from their indices, classes and weights."""
        weights: Array = self.groups.counts[:, self.groups.numbers.of(indices)] * weight
        return weights if _all_one(self.factors) else weights * self.factors[:, codes]

    def grouped(self) -> RowGroups | None:
        """Return the groups of rows; None if the weights of classes differ between sets."""
        return self.groups if _all_one(self.factors) else None


def indices_of(block: RowBlock) -> Codes:
    """Return the index of each row of a block in the whole data."""
    return np.arange(block.start, block.start + block.codes.size)


def _all_one(factors: Array) -> bool:
    return bool((factors == 1.0).all())


class GroupTotals(NamedTuple):
    """Numbers of rows, and sums of weights by class, of each group."""

    n_rows: Codes  # (G,)
    weight: Array  # (G, K)

    def merge(self, other: GroupTotals) -> GroupTotals:
        """Pool two runs of rows."""
        return GroupTotals(self.n_rows + other.n_rows, self.weight + other.weight)


@record
class GroupTotalsKernel:
    """The totals of each group."""

    numbers: RowNumbers
    n_groups: int
    n_classes: int

    def __call__(self, block: RowBlock) -> GroupTotals:
        """Return those of one block."""
        return self.of_rows(indices_of(block), block.codes, block.weight)

    def of_rows(self, indices: Codes, codes: Codes, weight: Array) -> GroupTotals:
        """Return those of rows, from their indices, classes and weights."""
        numbers = self.numbers.of(indices)
        size = self.n_groups * self.n_classes
        weights = np.bincount(numbers * self.n_classes + codes, weights=weight, minlength=size)
        n_rows: Codes = np.bincount(numbers, minlength=self.n_groups)
        return GroupTotals(n_rows, weights.reshape(-1, self.n_classes).astype(np.float64))

    def merge(self, left: GroupTotals, right: GroupTotals) -> GroupTotals:
        """Pool two runs of rows."""
        return left.merge(right)


@record
class TrainingSetKernel(Generic[Result]):
    """Another kernel, of rows whose weights are those in one training set."""

    kernel: Kernel[Result]
    sets: SetWeights  # one

    def __call__(self, block: RowBlock) -> Result:
        """Apply the kernel to one block."""
        return self.kernel(block._replace(weight=self.sets.weights(block)[0]))

    def merge(self, left: Result, right: Result) -> Result:
        """Merge the results of two adjacent runs of rows."""
        return self.kernel.merge(left, right)


@record
class TrainingSetSource:
    """The rows of another source that is out of core, with their weights in one training set."""

    source: RowSource
    sets: GroupedSets  # one
    totals: Array  # (K,), weight of each class in the set

    out_of_core = True

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order."""
        return self.source.total(TrainingSetKernel(kernel, self.sets))

    def sample(self, n_rows: int) -> MemorySource:
        """Return the rows of the set in a sample of all rows; each class has the total weight that it has in the set.

        The search for separated rows takes all rows of a sample for rows of the source.
        """
        sample = cast("MemorySource", self.source.sample(n_rows))
        weight = self.sets.weights_of(cast("Codes", sample.indices), sample.codes, sample.weight)[0]
        rows = np.flatnonzero(weight > 0.0)
        picked = sample.picked(rows)
        return replace(picked, weight=reweighted(picked.codes, weight[rows], self.totals))

    def as_float32(self) -> TrainingSetSource:
        """Return the same source: rows that are read again are not stored in float32."""
        return self
