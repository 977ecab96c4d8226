"""Dask collections as blocks of rows: aligned, checked, and counted by the workers that hold them."""

from __future__ import annotations

import warnings
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import dask
import dask.array as da
import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sknatgrad._inputs.configuration import layout_of
from sknatgrad._inputs.labels import check_labels, codes_among
from sknatgrad._inputs.notices import stacklevel_of_user
from sknatgrad._inputs.prior import absorbs_centres
from sknatgrad._inputs.row_statistics import RowStatistics, check_part, error_label, is_empty
from sknatgrad._inputs.rows import refuse_infinite
from sknatgrad._inputs.tables import refuse_strings_and_dates
from sknatgrad._inputs.training_data import Passes, streamed_data
from sknatgrad._inputs.weights import check_class_weights, weighted
from sknatgrad._limits import Limits
from sknatgrad._model.layout import logits_for
from sknatgrad._rows.dask_chunks import Chunk, ChunkError, ClusterSource, Part, computed
from sknatgrad._rows.floating_point import underflow_ignored
from sknatgrad._rows.source import LabelledRows

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes, DType, Labels, Matrix
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._inputs.training_data import TrainingData

MATRIX = 2  # dimensions
# a Dask array, dataframe or series, which have no types that mypy can check; or an array in memory
Collection: TypeAlias = Any


class DelayedRows(NamedTuple):
    """One block of rows, labels and sample weights, still to be computed; the weight may be None, or one number."""

    X: Part
    y: Part
    weight: Part | float | None


def any_collection(*given: object) -> bool:
    """Say whether any argument is a Dask collection."""
    return any(dask.is_dask_collection(each) for each in given)


def is_frame(collection: object) -> bool:
    """Say whether a collection is a dataframe or a series."""
    meta = getattr(collection, "_meta", None)
    return bool(dask.utils.is_dataframe_like(meta) or dask.utils.is_series_like(meta))


def blocks_of(X: Collection, y: Collection, sample_weight: Collection) -> list[DelayedRows]:
    """Return the blocks of rows of X with their labels and weights."""
    if not (isinstance(X, da.Array) or is_frame(X)):
        message = (
            f"X is a {type(X).__name__}; with Dask collections X must be a Dask array or dataframe too: see "
            "dask.array.from_array."
        )
        raise ValueError(message)
    if X.ndim != MATRIX:
        message = f"X has {X.ndim} dimensions; it must have 2, rows and columns."
        raise ValueError(message)
    if isinstance(X, da.Array) and X.numblocks[1] > 1:
        _warn_of_rechunking("X has several chunks of columns", "X.rechunk({1: -1})")
        X = X.rechunk({1: -1})
    lengths = lengths_of(X)
    parts = [parts_of(X)]
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        parts.append(_aligned(name, given, lengths, X))
    return [DelayedRows(*block) for block in zip(*parts, strict=True)]


def _warn_of_rechunking(what: str, remedy: str) -> None:
    message = f"{what}, and is rechunked in every pass: {remedy}.persist() does it once."
    warnings.warn(message, UserWarning, stacklevel=stacklevel_of_user())


def lengths_of(collection: Collection) -> Array:
    """Return the length of each block, NaN where it is not known."""
    if isinstance(collection, da.Array):
        return np.array(collection.chunks[0], dtype=np.float64)
    return np.full(collection.npartitions, np.nan)


def parts_of(collection: Collection) -> list[Part]:
    """Return the blocks of a collection, delayed."""
    delayed = collection.to_delayed()
    return list(np.asarray(delayed, dtype=object).ravel())


def _one_value_per_row(name: str, given: Collection) -> Collection:
    """Return labels or weights; refuse a collection that does not have one value per row."""
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
        given = da.from_array(check_labels(given) if name == "y" else np.asanyarray(given), chunks=-1)
    if given.ndim == 0:
        message = f"{name} is a Dask array of one number, not yet computed; it must hold one value per row"
        message += ", or be a number: pass sample_weight.compute()." if name == "sample_weight" else "."
        raise ValueError(message)
    if given.ndim == MATRIX and given.shape[1] == 1:
        return given[:, 0]
    if given.ndim > 1:
        message = f"{name} has shape {given.shape}; it must be 1-dimensional, with one value per row of X."
        raise ValueError(message)
    return given


def _aligned(name: str, given: Collection, lengths: Array, X: Collection) -> list[Part]:
    """Return the labels or weights of each block of X."""
    in_memory = not dask.is_dask_collection(given)
    if in_memory and np.ndim(given) == 0:
        if name == "y":
            message = f"y is {given!r}; it must hold one label per row of X."
            raise ValueError(message)
        return [given] * lengths.size
    known = bool(np.isfinite(lengths).all())
    given = _one_value_per_row(name, given)
    remedy = "make an array of it first, X.to_dask_array(lengths=True)"
    remedy = remedy if is_frame(X) else "call X.compute_chunk_sizes() first"
    if in_memory and not known:
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
        if not in_memory:
            _warn_of_rechunking(f"{name} is not in the chunks of X", f"{name}.rechunk(X.chunks[0])")
        given = given.rechunk((tuple(lengths.astype(int).tolist()),))
    elif own.size != lengths.size:
        message = (
            f"{name} is in {own.size} blocks and X in {lengths.size}, and not all of their lengths are known, so that "
            f"they cannot be aligned; make both from the same partitions, or arrays of known lengths: "
            "see to_dask_array(lengths=True) and compute_chunk_sizes()."
        )
        raise ValueError(message)
    return parts_of(given)


def check_columns(estimator: object, X: Collection, *, reset: bool) -> None:
    """Set the feature attributes of the estimator, or compare X with them, without computing anything."""
    # without rows: `_meta` is Dask's name for an empty block
    empty = X._meta if is_frame(X) else np.empty((0, X.shape[1]), X.dtype)  # noqa: SLF001
    refuse_strings_and_dates(empty)
    validate_data(estimator, empty, reset=reset, skip_check_array=True)


def type_of(X: Collection) -> DType:
    """Return the type of the values of a block as an array."""
    if not is_frame(X):
        declared: DType = X.dtype
        return declared
    empty = check_array(X._meta, dtype="numeric", ensure_min_samples=0)  # noqa: SLF001 - Dask's name for an empty block
    found: DType = empty.dtype
    return found if found.kind in "biuf" else np.dtype(np.float64)


def check_collections(
    estimator: Configuration, X: Collection, y: Collection, sample_weight: Collection
) -> TrainingData:
    """Read through the collections once, and return the training data; sets the feature attributes of the estimator."""
    return collections_data(estimator, CheckedCollections.of(estimator, X, y, sample_weight, reset=True))


def collections_data(estimator: Configuration, collections: CheckedCollections) -> TrainingData:
    """Return the training data of collections that have been read through once."""
    statistics = collections.statistics
    statistics.check_classes()
    factors = check_class_weights(estimator.class_weight, statistics.labels, statistics.totals)
    limits = estimator._limits  # noqa: SLF001 - a parameter
    layout = layout_of(estimator, statistics.labels)
    if absorbs_centres(estimator, layout):
        layout = layout._replace(centres=statistics.centres(limits.far_ratio))
    source = collections.source(statistics.labels, factors, limits, layout.centres)
    # the first pass counts too
    passes = Passes(statistics, factors, collections.verify, lambda: 1 + next(source.passes))
    return streamed_data(estimator, layout, source, passes, limits.sent_sample_bytes)


class CheckedCollections(NamedTuple):
    """Collections that have been checked and read through once."""

    schema: Part  # an estimator with the feature attributes that blocks are compared with
    blocks: list[tuple[int, DelayedRows]]  # that have rows, with their numbers
    sizes: list[int]
    counts: Codes  # (blocks, L), rows of each label that have weight
    statistics: RowStatistics

    @classmethod
    def of(
        cls, estimator: object, X: Collection, y: Collection, sample_weight: Collection, *, reset: bool
    ) -> CheckedCollections:
        """Check the collections; sets the feature attributes of the estimator, or compares X with them."""
        blocks = blocks_of(X, y, sample_weight)
        check_columns(estimator, X, reset=reset)
        schema = dask.delayed(schema_of(estimator), traverse=False)
        of_blocks = _statistics_of(schema, list(enumerate(blocks)))
        found = [(block, *each) for block, each in zip(enumerate(blocks), of_blocks, strict=True) if each]
        if not found:
            message = "X has no rows; a fit needs rows of two classes or more."
            raise ValueError(message)
        statistics = reduce(RowStatistics.merge, (part for _, part, _ in found))
        counts = np.zeros((len(found), len(statistics.labels)), dtype=np.int64)
        for row, (_, part, counted) in zip(counts, found, strict=True):
            row[codes_among(statistics.labels, part.labels)] = counted
        return cls(schema, [block for block, _, _ in found], [part.n_rows for _, part, _ in found], counts, statistics)

    def verify(self) -> None:
        """Check every block once more."""
        _statistics_of(self.schema, self.blocks)

    def totals(self, classes: Labels) -> Array:
        """Return the sum of the weights of each class, ``(K,)``; 0 for a class without rows."""
        totals = np.zeros(len(classes))
        totals[codes_among(classes, self.statistics.labels)] = self.statistics.totals
        return totals

    def source(
        self, classes: Labels, factors: Array, limits: Limits = Limits(), centres: Array | None = None
    ) -> ClusterSource:
        """Return the rows less the centres as a source, each weighted by the factor of its class."""
        counts = np.zeros((len(self.blocks), len(classes)), dtype=np.int64)
        counts[:, codes_among(classes, self.statistics.labels)] = self.counts
        encoding = dask.delayed((classes, factors), traverse=False)
        firsts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        chunks = [
            Chunk(_labelled_rows, (self.schema, encoding, (number, size), *block), number, first)
            for (number, block), first, size in zip(self.blocks, firsts, self.sizes, strict=True)
        ]
        totals = factors * self.totals(classes)
        return ClusterSource(tuple(chunks), logits_for(len(classes)), counts * (factors > 0), totals, limits, centres)


def schema_of(estimator: object) -> object:
    """Return an estimator that has the feature attributes of another one, and nothing else."""
    schema = type(estimator)()
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            setattr(schema, name, getattr(estimator, name))
    return schema


def check_block(schema: object, X: Matrix, y: Collection, weight: Collection) -> tuple[Matrix, Labels, Array]:
    """Return the rows, labels and weights of a block."""
    labels = check_labels(y)
    # labels of a frame with one column
    labels = labels[:, 0] if labels.ndim == MATRIX and labels.shape[1] == 1 else labels
    return check_part(schema, X, labels, weight, reset=False)


def _statistics_of(schema: Part, blocks: list[tuple[int, DelayedRows]]) -> list[tuple[RowStatistics, Codes] | None]:
    """Return the statistics of each block, and how many rows of each label have weight; None for one without rows.

    Raise the error of the first block that has one.
    """
    found = computed([_block_statistics(schema, number, *block) for number, block in blocks], blocks)
    bad = [str(statistics) for statistics in found if isinstance(statistics, ChunkError)]
    if bad:
        raise ValueError(bad[0])
    return list(found)


@dask.delayed(pure=False)
def _block_statistics(
    schema: object, number: int, X: Matrix, y: Collection, weight: Collection
) -> tuple[RowStatistics, Codes] | ChunkError | None:
    if is_empty(X, y):
        return None
    try:
        with underflow_ignored(), error_label(f"block {number}", ChunkError):
            checked, labels, weights = check_block(schema, X, y, weight)
            refuse_infinite(schema, checked)
            statistics, codes = RowStatistics.of(checked, labels, weights)
            return statistics, np.bincount(codes[weights > 0], minlength=len(statistics.labels))
    except ChunkError as error:
        # returned, so that the client raises the error of the first block, not that of the fastest worker
        return error


@dask.delayed(pure=False)
def first_rows_of(schema: object, X: Matrix, y: Collection, weight: Collection, n_rows: int) -> Matrix:
    """Return the first `n_rows` rows of a block."""
    return check_block(schema, X, y, weight)[0][:n_rows].copy()


def _labelled_rows(  # noqa: PLR0913, PLR0917 - the delayed parts of a block, and its number and size
    schema: object, encoding: tuple[Labels, Array], block: tuple[int, int], X: Matrix, y: Collection, weight: Collection
) -> LabelledRows:
    classes, factors = encoding
    number, n_rows = block
    with error_label(f"block {number}", ChunkError):
        if X.shape[0] != n_rows:
            message = (
                f"it has {X.shape[0]:,} rows in this pass, and had {n_rows:,} in the first; each pass must give the "
                "same rows: the data must not change before the fit has ended; or call persist() first."
            )
            raise ValueError(message)
        checked, labels, weights = check_block(schema, X, y, weight)
        codes = codes_among(classes, labels)
        return LabelledRows(checked, codes, weighted(weights, factors, codes))
