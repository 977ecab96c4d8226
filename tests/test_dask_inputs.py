"""Dask collections as input: arrays, frames, sparse blocks, unknown lengths, and what is refused."""

from functools import partial

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from problems import TIGHT, assert_close, dask_frame, in_chunks, raw_rows
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.dask import DaskNaturalGradientLogisticRegression, infer


@pytest.mark.parametrize(
    "labels", [np.array(["no", "yes", "maybe"]), np.array([False, True]), np.array([-1.0, 7.0, 8.0])]
)
def test_labels_of_any_kind(labels):
    X, y, _ = raw_rows(len(labels), n_rows=15_000)
    y = labels[y]
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(*in_chunks(X, y))
    assert_close(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y))
    assert model.predict(in_chunks(X)[0]).compute().dtype == labels.dtype


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_blocks(kind):
    random = np.random.default_rng(0)
    X = np.where(random.random((6_000, 20)) < 0.1, random.normal(size=(6_000, 20)), 0.0)
    y = (X[:, 0] + random.logistic(size=6_000) > 0).astype(int)
    blocks = in_chunks(X, rows=1_000)[0].map_blocks(kind, dtype=float, meta=kind((0, 0)))
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(blocks, in_chunks(y, rows=1_000)[0])
    assert_close(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y))
    np.testing.assert_allclose(model.predict_proba(blocks).compute(), model.predict_proba(X))


def test_frames_of_unknown_lengths_keep_their_names():
    X, y, weight = raw_rows(3)
    table = dask_frame(X, y, weight)
    table = table[table["column 0"] > 0]
    columns = [name for name in table.columns if name.startswith("column")]
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(table[columns], table["label"], table["weight"])
    held = table.compute()
    expected = NaturalGradientLogisticRegression(tol=TIGHT).fit(held[columns], held["label"], held["weight"])
    assert_close(model, expected)
    assert model.feature_names_in_.tolist() == columns
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazily = getattr(model, method)(table[columns])
        assert isinstance(lazily, da.Array)
        now = getattr(model, method)(held[columns])
        if method == "predict":
            assert (lazily.compute() == now).all()
        else:
            np.testing.assert_allclose(lazily.compute(), now, rtol=1e-12, atol=1e-12)
    assert model.score(table[columns], table["label"]) == pytest.approx(expected.score(held[columns], held["label"]))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[columns[::-1]]).compute()


def test_arrays_of_unknown_lengths_and_empty_blocks():
    X, y, _ = raw_rows()
    dX, dy = in_chunks(X, y)
    keep = da.concatenate([dX[:2_500, 0] > np.inf, dX[2_500:, 0] > 0])
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(dX[keep], dy[keep])
    kept = np.append(np.zeros(2_500, bool), X[2_500:, 0] > 0)
    assert_close(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X[kept], y[kept]))


def test_labels_and_weights_may_be_in_memory_or_a_number():
    X, y, weight = raw_rows(n_rows=15_000)
    expected = NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y, weight)
    assert_close(DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(in_chunks(X)[0], y, weight), expected)
    doubled = NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y, 2.0)
    assert_close(DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(*in_chunks(X, y), 2.0), doubled)
    table = dask_frame(X, y, weight)
    measured = table[[name for name in table.columns if name.startswith("column")]].to_dask_array(lengths=True)
    assert_close(DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(measured, y, weight), expected)


def test_labels_as_a_frame_or_array_of_one_column():
    X, y, weight = raw_rows(3)
    table = dask_frame(X, y, weight)
    columns = [name for name in table.columns if name.startswith("column")]
    expected = DaskNaturalGradientLogisticRegression().fit(table[columns], table["label"])
    assert_close(DaskNaturalGradientLogisticRegression().fit(table[columns], table[["label"]]), expected)
    dX, dy = in_chunks(X, y)
    assert_close(
        DaskNaturalGradientLogisticRegression().fit(dX, dy[:, None]),
        DaskNaturalGradientLogisticRegression().fit(dX, dy),
    )


def test_other_chunks_are_rechunked_with_a_warning_on_the_line_of_the_user():
    X, y, _ = raw_rows(n_rows=15_000)
    expected = NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y)
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT)
    message = r"y is not in the chunks of X, and is rechunked in every pass: y\.rechunk"
    with pytest.warns(UserWarning, match=message) as rows:
        model.fit(in_chunks(X)[0], in_chunks(y, rows=999)[0])
    assert_close(model, expected)
    with pytest.warns(UserWarning, match="X has several chunks of columns") as columns:
        model.fit(da.from_array(X, chunks=(2_500, 2)), in_chunks(y)[0])
    assert_close(model, expected)
    with pytest.warns(UserWarning, match=message) as score:
        model.score(in_chunks(X)[0], in_chunks(y, rows=999)[0])
    with pytest.warns(UserWarning, match=message) as inference:
        infer(model, in_chunks(X)[0], in_chunks(y, rows=999)[0])
    assert {caught.filename for each in (rows, columns, score, inference) for caught in each} == {__file__}


def test_warnings_of_other_chunks_point_at_the_callers_line():
    X, y, _ = raw_rows(n_rows=4_000)
    (dX,), (dy,), (other,) = in_chunks(X), in_chunks(y), in_chunks(y, rows=999)
    model = DaskNaturalGradientLogisticRegression().fit(dX, dy)
    for call in (model.fit, model.score, partial(infer, model)):
        for rows, labels in ((dX, other), (dX.rechunk((2_500, 2)), dy)):
            with pytest.warns(UserWarning, match="is rechunked in every pass") as caught:
                call(rows, labels)
            assert {each.filename for each in caught} == {__file__}


def test_a_collection_whose_rows_change_in_mid_fit_is_refused():
    X, _, _ = raw_rows()
    calls = []

    def changing(rows):
        def change(block, block_info=None):
            if block_info[None]["chunk-location"][0] == 3:
                calls.append(block)
                return block[: len(block) if len(calls) < 3 else rows]
            return block

        return change

    for rows in (2_400, 0):
        calls.clear()
        # X and y change together, as in a file that is written meanwhile
        with dask.config.set(scheduler="synchronous"):
            lost = in_chunks(X)[0].map_blocks(changing(rows), dtype=float, meta=np.empty((0, 0)))
            labels = lost.map_blocks(lambda block: (block[:, 0] > 0).astype(int), dtype=int, drop_axis=1)
            model = DaskNaturalGradientLogisticRegression()
            message = rf"block 3: it has {rows:,} rows in this pass, and had 2,500 in the first; .*persist\(\)"
            with pytest.raises(ValueError, match=message):
                model.fit(lost, labels)
            assert not hasattr(model, "coef_")


def worded(kind):
    X, y, _ = raw_rows(n_rows=400)
    table = pd.DataFrame({"a": X[:, 0], "town": np.array(["Bath", "Ely"])[(X[:, 1] > 0).astype(int)], "y": y})
    return table.astype({"town": kind})


@pytest.mark.parametrize("kind", ["object", "category", "string"])
def test_a_column_of_words_is_named_with_its_block(kind):
    table = worded(kind)
    lazy = dd.from_pandas(table, npartitions=2)
    said = r"could not convert string to float: '(Bath|Ely)'; column 'town' of X, of type \w+.*, must hold numbers"
    with pytest.raises(ValueError, match="block 0: " + said):
        DaskNaturalGradientLogisticRegression().fit(lazy[["a", "town"]], lazy["y"])
    batches = [(part[["a", "town"]], part["y"]) for part in (table[:200], table[200:])]
    with pytest.raises(ValueError, match="batch 0: " + said):
        NaturalGradientLogisticRegression().fit_batches(batches)


def test_dates_are_named_and_categories_of_numbers_are_numbers():
    table = worded("object")
    dates = table.assign(town=pd.to_datetime("2020-01-01"))
    lazy = dd.from_pandas(dates, npartitions=2)
    with pytest.raises(ValueError, match=r"^column 'town' of X, of type datetime64\[\w+\], holds dates or times"):
        DaskNaturalGradientLogisticRegression().fit(lazy[["a", "town"]], lazy["y"])
    numbers = table.assign(town=pd.Categorical(np.arange(400) % 3))
    lazy = dd.from_pandas(numbers, npartitions=2)
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(lazy[["a", "town"]], lazy["y"])
    assert_close(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(numbers[["a", "town"]], numbers["y"]))


def with_value(array, row, value):
    array = array.copy()
    array[row] = value
    return array


BAD = {
    "NaN": (lambda X, y: (with_value(X, (6_000, 1), np.nan), y), r"block 2: .*NaN at row 1000, column 1"),
    "missing label": (lambda X, y: (X, with_value(y.astype(float), 3_000, np.nan)), "block 1: y contains NaN"),
    "one class": (lambda X, y: (X, 0 * y), "y holds only one class, 0; a classifier needs"),
    "continuous": (lambda X, _: (X, X[:, 0]), "block 0: Unknown label type: continuous"),
    "huge": (lambda X, y: (1e200 * X, y), "X holds values so large"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_named_with_their_block(case):
    change, message = BAD[case]
    X, y, _ = raw_rows()
    with pytest.raises(ValueError, match=message):
        DaskNaturalGradientLogisticRegression().fit(*in_chunks(*change(X, y)))


def test_collections_without_rows():
    X, y, _ = raw_rows(n_rows=2_000)
    dX, dy = in_chunks(X, y, rows=500)
    none = dX[dX[:, 0] > np.inf]
    with pytest.raises(ValueError, match="X has no rows; a fit needs rows of two classes or more"):
        DaskNaturalGradientLogisticRegression().fit(none, dy[dX[:, 0] > np.inf])
    model = DaskNaturalGradientLogisticRegression().fit(dX, dy)
    kept = da.concatenate([none, dX], allow_unknown_chunksizes=True)
    labels = da.concatenate([dy[dX[:, 0] > np.inf], dy], allow_unknown_chunksizes=True)
    assert model.score(kept, labels) == model.score(dX, dy)


def test_predictions_of_several_chunks_of_columns():
    X, y, _ = raw_rows(n_rows=2_000)
    model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y, rows=500))
    proba = model.predict_proba(da.from_array(X, chunks=(500, 2)))
    np.testing.assert_allclose(proba.compute(), model.predict_proba(X), rtol=1e-12)


def test_an_error_names_the_block_that_cannot_be_computed():
    X, y, _ = raw_rows(n_rows=2_000)

    def failing(block, block_info=None):
        if block_info[None]["chunk-location"][0] == 2:
            message = "the disk is full"
            raise OSError(message)
        return block

    dX, dy = in_chunks(X, y, rows=500)
    dX = dX.map_blocks(failing, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match="block 2 could not be computed: OSError: the disk is full"):
        DaskNaturalGradientLogisticRegression().fit(dX, dy)


def test_what_does_not_fit_together_is_refused_before_any_work():
    X, y, weight = raw_rows()

    def never(block):
        pytest.fail("work was done")
        return block

    dX = in_chunks(X)[0].map_blocks(never, dtype=float, meta=np.empty((0, 0)))
    dy = in_chunks(y)[0]
    unknown = dX[dX[:, 0] > 0]
    table = dask_frame(X, y, weight).map_partitions(never, meta=dask_frame(X, y, weight)._meta)
    fit = DaskNaturalGradientLogisticRegression().fit
    cases = [
        ((dX, dy[:-1]), "y has 19,999 rows and X has 20,000; they must have the same"),
        ((dX, dy, weight[:-1]), "sample_weight has 19,999 rows and X has 20,000"),
        ((X, dy), "X is a ndarray; with Dask collections X must be a Dask array"),
        ((dX[:, 0], dy), "X has 1 dimensions; it must have 2"),
        ((unknown, y), "y is in memory, and the lengths of the blocks of X are not known"),
        ((unknown, in_chunks(y, rows=5_000)[0]), "y is in 4 blocks and X in 8, and not all of their lengths are known"),
        ((dX, None), "y is None; it must hold one label per row of X"),
        ((dX, da.stack([dy, dy], axis=1)), r"y has shape \(20000, 2\); .* 1-dimensional, with one value per row"),
        ((dX, np.stack([y, y], axis=1)), r"y has shape \(20000, 2\); it must be 1-dimensional"),
        ((dX, dy, da.stack([dy, dy], axis=1)), r"sample_weight has shape \(20000, 2\); it must be 1-dimensional"),
        ((dX, dX[:, 0], dX[:, :2][dX[:, 0] > 0]), "sample_weight has shape .*nan, 2.*; it must be 1-dimensional"),
        ((table[["column 0"]], table[["column 1", "label"]]), "y is a DataFrame of 2 columns; it must have one"),
        ((dX, dy, dy.mean()), "sample_weight is a Dask array of one number, not yet computed; .*compute"),
        ((dX, dy.sum()), "y is a Dask array of one number"),
        ((table[["column 0"]], table["label"], table["weight"].mean()), "sample_weight is a Scalar"),
        ((dX, dask.delayed(y)), r"y is a Delayed.*; it must be .*dask\.array\.from_delayed"),
        ((dX, dy, dask.delayed(weight)), r"sample_weight is a Delayed.*; .*dask\.array\.from_delayed"),
        ((dX, 1), "y is 1; it must hold one label per row of X"),
        ((table[["column 0"]], y), r"y is in memory, .*X\.to_dask_array\(lengths=True\)"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            fit(*given)
    with pytest.raises(ValueError, match="damping"):
        DaskNaturalGradientLogisticRegression(damping=-1.0).fit(dX, dy)


def test_rows_of_a_block_without_labels_are_refused():
    X, y, _ = raw_rows()
    dX, dy = in_chunks(X, y)
    with pytest.raises(ValueError, match=r"block 3: .*inconsistent numbers of samples"):
        DaskNaturalGradientLogisticRegression().fit(
            dX[dX[:, 0] > -np.inf],
            da.concatenate([dy[:7_500], dy[7_500:9_000], dy[10_000:]]).rechunk(
                ((2_500, 2_500, 2_500, 1_500, 2_500, 2_500, 2_500, 2_500),)
            ),
        )


def test_collections_without_rows_are_refused():
    X, y, _ = raw_rows(n_rows=100)
    table = pd.DataFrame(X).assign(label=y)
    empty = dd.from_pandas(table, npartitions=2)
    empty = empty[empty["label"] > 5]
    with pytest.raises(ValueError, match="X has no rows; a fit needs rows of two classes or more"):
        DaskNaturalGradientLogisticRegression().fit(empty.drop(columns="label"), empty["label"])
