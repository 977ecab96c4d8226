"""Rows of an array, a sparse matrix or a memory map, in blocks that fit into a cache."""

from __future__ import annotations

import math
import operator
from dataclasses import field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._limits import Limits
from sknatgrad._rows.centring import centres_of, centres_of_sample, take_centred
from sknatgrad._rows.design import Design
from sknatgrad._rows.matrices import as_float32, is_sparse, pick_rows, stored_bytes_per_row, take_rows
from sknatgrad._rows.memmap import MemmapRows
from sknatgrad._rows.sampling import (
    DIGEST_COLUMNS,
    are_representative,
    class_totals,
    digest_factors,
    influential_probability,
    is_constant,
    reweighted,
    row_digests,
    some_columns,
    stratified_indices,
    uniform_probability,
)
from sknatgrad._rows.source import LabelledRows, RowBlock
from sknatgrad._rows.threads import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._definitions import Array, Codes, Matrix, Result
    from sknatgrad._rows.source import Kernel

# numbers that exist at a time for each row and logit of a block: logits, probabilities, residuals and their temporaries
TEMPORARIES = 8
# Values that a block of a sparse matrix stores for each column, at least, because each block's sums have d numbers. A
# gradient of 40,000 x 100,000 with 30 values a row takes 8 to 10 ms with 1 to 32.
STORED_PER_COLUMN = 8
# Values of a sparse matrix up to which its blocks are made dense, 1 MiB, and values for each stored one at most. Dense
# products take fewer calls: fits to 1,000 x 5, three values in ten stored, and to 300 x 100, one in twenty, take 0.8 of
# the time, to one-hot columns of 500 to 5,000 rows 0.90 to 0.96.
MAX_SMALL_VALUES, MAX_VALUES_PER_STORED = 2**17, 32


def block_bounds(
    X: Matrix, n_logits: int, limits: Limits = Limits(), *, centred: bool = False
) -> list[tuple[int, int]]:
    """Return (start, stop) of each block: its rows and their temporaries fill ``limits.block_bytes``.

    Rows that are to be `centred` are dense.

    The bounds depend on the shape of X and the number of values that it stores, and on nothing else. So the sums over
    blocks do not depend on the number of threads.
    """
    n_rows, n_features = X.shape
    bytes_per_row = (8.0 * n_features if centred else stored_bytes_per_row(X)) + 8.0 * TEMPORARIES * n_logits
    size = max(int(limits.block_bytes / bytes_per_row), limits.min_block_rows)
    if is_sparse(X) and not centred:
        size = max(size, int(STORED_PER_COLUMN * n_features / max(X.nnz / max(n_rows, 1), 1.0)))
    # blocks of one size, a multiple of 4 in number: two or four threads end at the same time
    count = -(-n_rows // size)
    count = min(-(-count // 4) * 4, n_rows) if count > 1 else 1
    bounds = [n_rows * index // count for index in range(count + 1)]
    return list(pairwise(bounds))


def iter_blocks(
    X: Matrix, n_logits: int, limits: Limits = Limits(), centres: Array | None = None
) -> Iterator[tuple[int, int, Matrix]]:
    """Yield (start, stop, rows less the centres as float64) of each block."""
    for start, stop in block_bounds(X, n_logits, limits, centred=centres is not None):
        yield start, stop, take_centred(X, start, stop, centres)


def unconverted_blocks(
    codes: Codes, weight: Array, bounds: list[tuple[int, int]], first: int, number: int = 0
) -> list[RowBlock]:
    """Return blocks without X; `first` is the index of the first row, `number` that of the first block."""
    return [
        RowBlock(None, codes[start:stop], weight[start:stop], first + start, index)
        for index, (start, stop) in enumerate(bounds, number)
    ]


@record
class MemorySource:
    """Rows in memory. X keeps its type and order; each block is converted to float64 when it is used.

    In float32, a float64 X is converted once and stored. Blocks of a memory map are read from its file.
    """

    X: Matrix  # (n, p), dense or CSR
    codes: Codes  # (n,)
    weight: Array  # (n,)
    n_logits: int = 1
    workers: Workers = field(default_factory=Workers, compare=False)
    dtype: type = np.float64
    first: int = 0  # index of the first row, if these are a part of the data
    limits: Limits = field(default_factory=Limits)
    centres: Array | None = None  # (p,), subtracted from the rows of each block
    drawn_by_digests: bool = False  # whether these are a sample, in an order, that only the values of rows determine
    indices: Codes | None = None  # (n,), of these rows in the whole data, if they are a sample of rows out of core

    @cached_property
    def _file(self) -> MemmapRows | None:
        return MemmapRows.from_map(self.X)

    @property
    def out_of_core(self) -> bool:
        """Whether each pass reads the rows again: X is a memory map."""
        return self._file is not None

    @cached_property
    def _is_better_dense(self) -> bool:
        """Whether X is sparse and so small that its blocks are made dense."""
        X = self.X
        return is_sparse(X) and math.prod(X.shape) <= min(MAX_SMALL_VALUES, MAX_VALUES_PER_STORED * X.nnz)

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        return block_bounds(self.X, self.n_logits, self.limits, centred=self.centres is not None)

    @cached_property
    def _blocks(self) -> list[RowBlock]:
        """The blocks, converted if the result can be stored: views of X, or its copy in float32."""
        blocks = unconverted_blocks(self.codes, self.weight, self._bounds, self.first)
        if self.out_of_core:
            return blocks
        if self.X.dtype == self.dtype and self.centres is None:
            # views of a sparse matrix take time to make
            return [self._converted(block) for block in blocks]
        if self.X.dtype == np.float64 and self.dtype != np.float64:
            return self.workers.map_reduce(lambda block: [self._converted(block)], operator.add, blocks)
        return blocks

    def _converted(self, block: RowBlock) -> RowBlock:
        if block.X is not None:
            return block
        start = block.start - self.first
        stop = start + block.codes.size
        if self._file is None:
            X = take_centred(self.X, start, stop, self.centres, self.dtype)
        else:
            X = take_centred(self._file.read(start, stop), 0, block.codes.size, self.centres, self.dtype)
        return block._replace(X=X.toarray() if self._is_better_dense and is_sparse(X) else X)

    def centred(self) -> MemorySource:
        """Return the same rows, less the centres of the columns that are far from zero."""
        far_ratio = self.limits.far_ratio
        file = self._file
        centres = centres_of(self.X, far_ratio) if file is None else centres_of_sample(file.sample(), far_ratio)
        return self if centres is None else replace(self, centres=centres)

    def in_larger_blocks(self, factor: int) -> MemorySource:
        """Return the same rows, numbered from 0, in blocks of so many times as many bytes."""
        return replace(self, first=0, limits=self.limits._replace(block_bytes=factor * self.limits.block_bytes))

    def without_columns(self) -> MemorySource:
        """Return the rows without their values, numbered from 0, in blocks of more rows: for sums of known numbers."""
        return replace(self, X=np.empty((len(self.codes), 0)), centres=None, first=0)

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply `kernel` to every block and merge in block order."""
        blocks = self._blocks
        if len(blocks) == 1:
            block = blocks[0]
            return kernel(block if block.X is not None else self._converted(block))
        return self.workers.map_reduce(lambda block: kernel(self._converted(block)), kernel.merge, blocks)

    def sample(self, n_rows: int, *, by_influence: bool = False) -> MemorySource:
        """Return a source of copies of about `n_rows` rows; each class has the total weight that it has here.

        Rows of a sparse X, or all `by_influence`, are drawn with a probability in proportion to their influence.

        It is the same for any order of the rows, unless more than a few of them are equal, or X has centres, which are
        values of single rows, or is a memory map, which would be read once more.
        """
        by_influence |= is_sparse(self.X)
        by_values = not self.out_of_core and self.centres is None and not self.drawn_by_digests
        if by_influence:
            probability = influential_probability(self._influence(), n_rows)
        else:
            probability = uniform_probability(self.codes, self.weight, n_rows)
        rows = self._rows_by_digests(probability) if by_values else None
        # positions in an order that does not depend on that of the data do not either
        drawn_by_digests = self.drawn_by_digests or rows is not None
        if rows is None and by_influence:
            rows = np.flatnonzero(np.random.default_rng(0).random(len(self.codes)) < probability)
        sample = self.picked(self.spread(n_rows) if rows is None else rows)
        # each row stands for others: those of one class for equally many, unless they are drawn by influence
        weight = sample.weight / probability[rows] if by_influence else sample.weight
        weight = reweighted(sample.codes, weight, self._class_totals)
        return replace(sample, weight=weight, drawn_by_digests=drawn_by_digests)

    def _rows_by_digests(self, probability: Array) -> Codes | None:
        """Return the indices of rows that are drawn and ordered by their values; None where positions are to decide."""
        for n_columns in DIGEST_COLUMNS:
            digests = self._digests(n_columns)
            rows = np.flatnonzero(digests < probability)
            if self._has_all_classes(rows) and are_representative(digests[rows], probability):
                # rows that agree in some columns are ordered by all of their values
                by_all = digests[rows] if n_columns is None else self.picked(rows)._digests()  # noqa: SLF001 - its own
                ordered: Codes = rows[np.argsort(by_all)]
                return ordered
        return None

    def _has_all_classes(self, rows: Codes) -> bool:
        in_sample = class_totals(self.codes[rows], self.weight[rows]) if rows.size else np.zeros(1)
        return bool(np.count_nonzero(in_sample) == np.count_nonzero(self._class_totals))

    @cached_property
    def _known_digests(self) -> dict[int | None, Array]:
        """Digests by so many columns: a sample is drawn a second time if it lacks rows of some column."""
        return {}

    def _digests(self, n_columns: int | None = None) -> Array:
        """Return the digests of all rows, ``(n,)``, by `n_columns` of a dense X, or all and the weight."""
        if n_columns not in self._known_digests:
            self._known_digests[n_columns] = self._computed_digests(n_columns)
        return self._known_digests[n_columns]

    def _computed_digests(self, n_columns: int | None) -> Array:
        factors, columns = digest_factors(self.X.shape[1]), some_columns(self.X.shape[1], n_columns)

        def of_block(bounds: tuple[int, int]) -> list[Array]:
            part = slice(*bounds)
            rows = LabelledRows(take_rows(self.X, *bounds, self.X.dtype), self.codes[part], self.weight[part])
            return [row_digests(rows, factors, columns)]

        return np.concatenate(self.workers.map_reduce(of_block, operator.add, self._bounds))

    def spread(self, n_rows: int) -> Codes:
        """Return the indices of about `n_rows` rows, ascending and spread evenly, and more of rare classes."""
        return stratified_indices(self.codes, self.weight, n_rows)

    def picked(self, rows: Codes) -> MemorySource:
        """Return a source of copies of the rows of these indices; of a memory map, ascending ones."""
        X, codes, weight = self._picked(rows), self.codes[rows], self.weight[rows]
        picked = MemorySource(X, codes, weight, self.n_logits, self.workers, limits=self.limits, centres=self.centres)
        return picked if self.indices is None else replace(picked, indices=self.indices[rows])

    def _influence(self) -> Array:
        """Return Σ_j s_i x_ij² / Σ_k s_k x_kj² of each row i, plus its share of the weight of its class.

        Columns may have few entries, as most of a sparse X do, of which a uniform sample has hardly any. Drawn by
        influence, a sample of m rows has all rows with a share above 2d/m of any column, and the sum of s x² of each
        column has a relative variance of at most 2(d + K)/m.
        """

        def design(block: RowBlock) -> Design:
            return Design(self._converted(block).X, intercept=False)

        def column_sums(block: RowBlock) -> Array:
            return design(block).squared_transposed_product(block.weight[:, None])

        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sums = self.workers.map_reduce(column_sums, operator.add, self._blocks)
            inverse = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0.0)
            parts = self.workers.map_reduce(
                lambda block: [design(block).squared_logits(inverse)[:, 0]], operator.add, self._blocks
            )
            of_class = 1.0 / self._class_totals
            influence = self.weight * (np.concatenate(parts) + of_class[self.codes])
        # the descent reports values that are not finite
        return np.nan_to_num(influence, nan=0.0, posinf=0.0)

    def _picked(self, rows: Codes) -> Matrix:
        """Return a copy of the rows of these indices, of a memory map ascending, in X's own type."""
        file = self._file
        if file is None:
            return pick_rows(self.X, rows)
        picked = np.empty((rows.size, self.X.shape[1]), dtype=self.X.dtype)

        def pick(bounds: tuple[int, int]) -> None:
            start, stop = bounds
            first, last = np.searchsorted(rows, bounds)
            if first < last:
                picked[first:last] = file.read(start, stop)[rows[first:last] - start]

        self.workers.map_reduce(pick, lambda _, __: None, self._bounds)
        return picked

    @cached_property
    def _class_totals(self) -> Array:
        return class_totals(self.codes, self.weight)

    def as_float32(self) -> MemorySource:
        """Return the same blocks in float32; copies if X is float64."""
        weight = as_float32(self.weight[:1] if is_constant(self.weight) else self.weight)
        return replace(self, weight=np.broadcast_to(weight, self.weight.shape), dtype=np.float32)
