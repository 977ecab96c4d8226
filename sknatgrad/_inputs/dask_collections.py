"""Dask collections as blocks of rows: brought together, checked, and counted where they live."""

from __future__ import annotations

import warnings
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import dask.array as da
import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sknatgrad._inputs.checks import codes_among, refuse_infinite, weighted
from sknatgrad._inputs.row_statistics import RowStatistics, check_part, error_label, is_empty
from sknatgrad._model.parameters import logits_for
from sknatgrad._rows.dask_chunks import Chunk, ChunkError, ClusterSource, computed
from sknatgrad._rows.source import Rows

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes, Matrix

MATRIX = 2  # dimensions


class Block(NamedTuple):
    """A run of rows in three parts, still to be computed; weights may be None, or one number."""

    X: Any
    y: Any
    weight: Any


def any_collection(*given: Any) -> bool:
    return any(dask.is_dask_collection(each) for each in given)


def is_frame(collection: Any) -> bool:
    meta = getattr(collection, "_meta", None)
    return bool(dask.utils.is_dataframe_like(meta) or dask.utils.is_series_like(meta))


def blocks_of(X: Any, y: Any, sample_weight: Any) -> list[Block]:
    """Return the blocks of rows of X with their labels and weights."""
    if not (isinstance(X, da.Array) or is_frame(X)):
        message = (
            f"X is a {type(X).__name__}; beside Dask collections it must be one too, an array or dataframe: "
            "see dask.array.from_array."
        )
        raise ValueError(message)
    if X.ndim != MATRIX:
        message = f"X has {X.ndim} dimensions; it must have 2, rows and columns."
        raise ValueError(message)
    if isinstance(X, da.Array) and X.numblocks[1] > 1:
        _warn_of_cuts("X is cut along its columns", "X.rechunk({1: -1})")
        X = X.rechunk({1: -1})
    lengths = lengths_of(X)
    parts = [parts_of(X)]
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        parts.append(_like(name, given, lengths, X))
    return [Block(*block) for block in zip(*parts, strict=True)]


def _warn_of_cuts(what: str, remedy: str) -> None:
    warnings.warn(
        f"{what}, and is cut anew in every pass: {remedy}.persist() does that once.", UserWarning, stacklevel=6
    )


def lengths_of(collection: Any) -> Array:
    """Return the length of each block, NaN where it is not known."""
    if isinstance(collection, da.Array):
        return np.array(collection.chunks[0], dtype=np.float64)
    return np.full(collection.npartitions, np.nan)


def parts_of(collection: Any) -> list[Any]:
    delayed = collection.to_delayed()
    return list(np.asarray(delayed, dtype=object).ravel())


def _column(name: str, given: Any) -> Any:
    """Return labels or weights, refusing what is not one value a row."""
    if is_frame(given):
        if given.ndim == MATRIX and len(given.columns) != 1:
            message = f"{name} is a DataFrame of {len(given.columns)} columns; it must have one."
            raise ValueError(message)
        return given
    if not isinstance(given, da.Array):
        if dask.is_dask_collection(given):
            message = (
                f"{name} is a {type(given).__name__}; it must be a Dask array or series, or in memory: call compute(), "
                "or see dask.array.from_delayed."
            )
            raise ValueError(message)
        given = da.from_array(np.asarray(given), chunks=-1)
    if given.ndim == 0:
        message = f"{name} is a Dask array of one number, not yet computed; it must hold one value a row"
        message += ", or be a number: pass sample_weight.compute()." if name == "sample_weight" else "."
        raise ValueError(message)
    if given.ndim == MATRIX and given.shape[1] == 1:
        return given[:, 0]
    if given.ndim > 1:
        message = f"{name} has shape {given.shape}; it must be 1-dimensional, with one value a row of X."
        raise ValueError(message)
    return given


def _like(name: str, given: Any, lengths: Array, X: Any) -> list[Any]:
    """Return the parts of labels or weights that go with the blocks of X."""
    quietly = not dask.is_dask_collection(given)
    if quietly and np.ndim(given) == 0:
        if name == "y":
            message = f"y is {given!r}; it must hold one label a row of X."
            raise ValueError(message)
        return [given] * lengths.size
    known = bool(np.isfinite(lengths).all())
    given = _column(name, given)
    remedy = "make an array of it first, X.to_dask_array(lengths=True)"
    remedy = remedy if is_frame(X) else "call X.compute_chunk_sizes() first"
    if quietly and not known:
        message = (
            f"{name} is in memory, and the lengths of the blocks of X are not known; pass it as a Dask collection "
            f"in the same blocks, or {remedy}."
        )
        raise ValueError(message)
    own = lengths_of(given)
    both = known and bool(np.isfinite(own).all())
    if both and own.sum() != lengths.sum():
        message = f"{name} has {own.sum():,.0f} rows and X has {lengths.sum():,.0f}; they must have the same."
        raise ValueError(message)
    if both and not np.array_equal(own, lengths):
        if not quietly:
            _warn_of_cuts(f"{name} is not in the chunks of X", f"{name}.rechunk(X.chunks[0])")
        given = given.rechunk((tuple(lengths.astype(int).tolist()),))
    elif own.size != lengths.size:
        message = (
            f"{name} is in {own.size} blocks and X in {lengths.size}, and not all of their lengths are known, so that "
            f"they cannot be brought together; make both from the same partitions, or arrays of known lengths: "
            "see to_dask_array(lengths=True) and compute_chunk_sizes()."
        )
        raise ValueError(message)
    return parts_of(given)


def check_columns(estimator: Any, X: Any, *, reset: bool) -> None:
    """Set the estimator's feature attributes, or hold X to them, without computing anything."""
    # Dask's name for an empty block
    like = X._meta if is_frame(X) else np.empty((0, X.shape[1]))  # noqa: SLF001 - as said
    validate_data(estimator, like, reset=reset, skip_check_array=True)


def type_of(X: Any) -> Any:
    """Return the type that the values of a block have once they are an array."""
    if not is_frame(X):
        return X.dtype
    empty = check_array(X._meta, dtype="numeric", ensure_min_samples=0)  # noqa: SLF001 - as above
    return empty.dtype if empty.dtype.kind in "biuf" else np.dtype(np.float64)


class Table(NamedTuple):
    """Collections that have been checked and read through once."""

    bare: Any  # delayed: an estimator that knows the columns, for blocks to be held to
    blocks: list[tuple[int, Block]]  # that have rows, with their numbers
    sizes: list[int]
    counts: Codes  # (blocks, L), rows of each label that have weight
    statistics: RowStatistics

    @classmethod
    def of(cls, estimator: Any, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Table:
        """Check the collections; sets the estimator's feature attributes, or holds X to them."""
        blocks = blocks_of(X, y, sample_weight)
        check_columns(estimator, X, reset=reset)
        bare = dask.delayed(bare_of(estimator), traverse=False)
        surveys = _statistics_of(bare, list(enumerate(blocks)))
        found = [(block, *each) for block, each in zip(enumerate(blocks), surveys, strict=True) if each]
        if not found:
            message = "X has no rows; a fit needs rows of two classes or more."
            raise ValueError(message)
        statistics = reduce(RowStatistics.merge, (part for _, part, _ in found))
        counts = np.zeros((len(found), len(statistics.labels)), dtype=np.int64)
        for row, (_, part, counted) in zip(counts, found, strict=True):
            row[codes_among(statistics.labels, part.labels)] = counted
        return cls(bare, [block for block, _, _ in found], [part.n_rows for _, part, _ in found], counts, statistics)

    def check(self) -> None:
        """Look at every block once more."""
        _statistics_of(self.bare, self.blocks)

    def totals(self, classes: Any) -> Array:
        """Return the sum of the weights of each class, ``(K,)``, of those that no row has too."""
        totals = np.zeros(len(classes))
        totals[codes_among(classes, self.statistics.labels)] = self.statistics.totals
        return totals

    def source(self, classes: Any, factors: Array) -> ClusterSource:
        """Return the rows where they live, each weighted by the factor of its class."""
        counts = np.zeros((len(self.blocks), len(classes)), dtype=np.int64)
        counts[:, codes_among(classes, self.statistics.labels)] = self.counts
        like = dask.delayed((classes, factors), traverse=False)
        firsts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        chunks = [
            Chunk(_batch, (self.bare, like, (number, size), *block), number, first)
            for (number, block), first, size in zip(self.blocks, firsts, self.sizes, strict=True)
        ]
        totals = factors * self.totals(classes)
        return ClusterSource(tuple(chunks), logits_for(len(classes)), counts * (factors > 0), totals)


def bare_of(estimator: Any) -> Any:
    """Return an estimator that knows the columns and nothing else."""
    bare = type(estimator)()
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            setattr(bare, name, getattr(estimator, name))
    return bare


def part_of(bare: Any, X: Any, y: Any, weight: Any) -> tuple[Matrix, Any, Array]:
    """Return rows, labels and weights of a block."""
    labels = np.asarray(y)
    # those of a frame of one column
    labels = labels[:, 0] if labels.ndim == MATRIX and labels.shape[1] == 1 else labels
    return check_part(bare, X, labels, weight, reset=False)


def _statistics_of(bare: Any, blocks: list[tuple[int, Block]]) -> list[tuple[RowStatistics, Codes] | None]:
    """Return what each block holds, and how many rows of each label; None where it has none. Raise the first error."""
    tasks = [_block_statistics(bare, number, *block) for number, block in blocks]
    surveys = computed(tasks, blocks)
    bad = [str(statistics) for statistics in surveys if isinstance(statistics, ChunkError)]
    if bad:
        raise ValueError(bad[0])
    return list(surveys)


@dask.delayed(pure=False)
def _block_statistics(
    bare: Any, number: int, X: Any, y: Any, weight: Any
) -> tuple[RowStatistics, Codes] | ChunkError | None:
    if is_empty(X, y):
        return None
    try:
        with error_label(f"block {number}", ChunkError):
            part = part_of(bare, X, y, weight)
            refuse_infinite(bare, part[0])
            statistics, codes = RowStatistics.of(*part)
            return statistics, np.bincount(codes[part[2] > 0], minlength=len(statistics.labels))
    except ChunkError as error:
        # raised by the client, the first of all blocks, not of those that were faster
        return error


@dask.delayed(pure=False)
def head_of(bare: Any, X: Any, y: Any, weight: Any, n_rows: int) -> Matrix:
    """Return the first `n_rows` rows of a block that has some."""
    return part_of(bare, X, y, weight)[0][:n_rows].copy()


def _batch(  # noqa: PLR0913, PLR0917 - what there is of a block
    bare: Any, like: tuple[Any, Array], known: tuple[int, int], X: Any, y: Any, weight: Any
) -> Rows:
    classes, factors = like
    number, n_rows = known
    with error_label(f"block {number}", ChunkError):
        if X.shape[0] != n_rows:
            message = (
                f"it has {X.shape[0]:,} rows in this pass, and had {n_rows:,} in the first; each pass must give the "
                "same rows: nothing may change what is read before the fit has ended, or call persist() first."
            )
            raise ValueError(message)
        rows, labels, weights = part_of(bare, X, y, weight)
        codes = codes_among(classes, labels)
        return Rows(rows, codes, weighted(weights, factors, codes))
