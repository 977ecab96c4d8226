"""Fits, predictions and inference of rows in Dask collections against the same rows in memory."""

import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from problems import TIGHT, assert_close, dask_frame, in_chunks, raw_rows
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._inputs.dask_collections import CheckedCollections
from sknatgrad._rows.sampling import MIN_ROWS_PER_CLASS
from sknatgrad.dask import DaskNaturalGradientLogisticRegression, infer
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer as infer_in_memory


def test_conjugate_gradients_go_to_the_chunks(limits):
    limits(direct_products=0.0)
    X, y, weight = raw_rows(3)
    model = DaskNaturalGradientLogisticRegression(tol=TIGHT).fit(*in_chunks(X, y, weight))
    assert_close(model, NaturalGradientLogisticRegression(tol=TIGHT).fit(X, y, weight))


def test_an_iteration_is_one_pass_over_the_blocks(limits):
    """Besides the first pass and the start, where no sample is drawn first."""
    limits(min_sampled_values=np.inf)
    X, y, _ = raw_rows()
    seen = []

    def counted(block):
        seen.append(len(block))
        return block

    lazy = in_chunks(X)[0].map_blocks(counted, dtype=float, meta=np.empty((0, 0)))
    model = DaskNaturalGradientLogisticRegression().fit(lazy, in_chunks(y)[0])
    assert sum(seen) == model.n_passes_ * len(X)
    assert model.n_passes_ == 2 + model.n_iter_[0]


def test_a_sample_first_saves_passes():
    X, y, _ = raw_rows(n_rows=60_000)
    plain = DaskNaturalGradientLogisticRegression(max_kl=10.0).fit(*in_chunks(X, y))
    model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y))
    assert_close(model, plain, within=1e-8)
    assert model.n_passes_ <= 6 < plain.n_passes_


def sampled(y, n_rows, rows, weight=None, factors=None):
    """A sample of `n_rows` rows, where X holds the index of each row."""
    X = np.arange(float(len(y)))[:, None]
    dX, dy = in_chunks(X, y, rows=rows)
    model = DaskNaturalGradientLogisticRegression()
    weight = None if weight is None else in_chunks(weight, rows=rows)[0]
    collections = CheckedCollections.of(model, dX, dy, weight, reset=True)
    labels = collections.statistics.labels
    return collections.source(labels, np.ones(len(labels)) if factors is None else factors).sample(n_rows)


def test_a_sample_of_many_chunks_and_classes_is_as_small_as_was_asked():
    n_classes = 50
    y = np.random.default_rng(0).permutation(np.arange(40_000) % n_classes)
    sample = sampled(y, 4_000, rows=200)
    assert len(sample.codes) == 4_000
    assert np.bincount(sample.codes).tolist() == [80] * n_classes
    np.testing.assert_allclose(np.bincount(sample.codes, sample.weight), 800.0)
    assert len(np.unique(sample.X)) == 4_000
    assert np.bincount((sample.X[:, 0] // 200).astype(int), minlength=200).min() > 0


@pytest.mark.parametrize("n_rare", [1, 20, 32, 45, 400])
def test_a_rare_class_has_its_rows_in_the_whole_sample_not_in_each_chunk(n_rare):
    random = np.random.default_rng(n_rare)
    y = np.zeros(60_000, dtype=int)
    y[random.choice(60_000, n_rare, replace=False)] = 1
    weight = random.uniform(0.5, 2.0, 60_000)
    weight[:30_000:3] = 0.0
    sample = sampled(y, 600, 300, weight, np.array([1.0, 3.0]))
    kept = int(np.count_nonzero((y == 1) & (weight > 0)))
    counts = np.bincount(sample.codes, minlength=2)
    assert counts[1] == min(kept, MIN_ROWS_PER_CLASS)
    assert abs(counts[0] - 600) <= 6
    assert len(np.unique(sample.X)) == len(sample.codes)
    rows = sample.X[:, 0].astype(int)
    assert (weight[rows] > 0).all()
    assert (y[rows] == sample.codes).all()
    np.testing.assert_allclose(
        np.bincount(sample.codes, sample.weight, minlength=2), np.bincount(y, weight, minlength=2) * [1.0, 3.0]
    )


def test_a_class_that_counts_for_nothing_is_not_in_the_sample():
    y = np.arange(9_000) % 3
    sample = sampled(y, 100, 300, factors=np.array([1.0, 0.0, 2.0]))
    assert np.bincount(sample.codes).tolist() == [50, 0, 50]
    np.testing.assert_allclose(np.bincount(sample.codes, sample.weight), [3_000.0, 0.0, 6_000.0])


PREDICTIONS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "decision_function_std",
    "predict_proba_interval",
    "predict_proba_averaged",
)


@pytest.mark.parametrize("method", PREDICTIONS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_of_empty_blocks_are_empty(n_classes, method):
    X, y, weight = raw_rows(n_classes, n_rows=1_000)
    table = dask_frame(X, y, weight)
    columns = [name for name in table.columns if name.startswith("column")]
    held = table.compute()
    model = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(held[columns], held["label"])
    some = table[(table["column 0"] > 0) & (table.index >= 200)]
    expected = getattr(model, method)(some.compute()[columns])
    nameless = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(
        held[columns].to_numpy(), held["label"].to_numpy()
    )
    for lazily in (getattr(model, method)(some[columns]), getattr(nameless, method)(some[columns].to_dask_array())):
        if method == "predict":
            assert (lazily.compute() == expected).all()
        else:
            np.testing.assert_allclose(lazily.compute(), expected, rtol=1e-12)
    nothing = getattr(model, method)(table[table["column 0"] == np.inf][columns])
    assert nothing.compute().shape == (0, *expected.shape[1:])
    assert nothing.compute().dtype == nothing.dtype == expected.dtype


@pytest.mark.parametrize("method", PREDICTIONS)
@pytest.mark.parametrize("types", ["float32", "float64", "mixed", "Float32", "integers"])
def test_predictions_of_frames_have_the_type_that_they_declare(method, types):
    X, y, _ = raw_rows(3, n_rows=400, n_features=2)
    held = pd.DataFrame({"a": X[:, 0] / abs(X[:, 0]).max(), "b": X[:, 1] / abs(X[:, 1]).max()})
    small = held.astype("float32")
    model = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(small, y)
    asked = {
        "float32": small,
        "float64": held,
        "mixed": small.assign(b=held["b"]),
        "Float32": small.astype("Float32"),
        "integers": (4 * held).astype("int32"),
    }[types]
    lazily, now = getattr(model, method)(dd.from_pandas(asked, npartitions=3)), getattr(model, method)(asked)
    assert lazily.dtype == lazily.compute().dtype == now.dtype
    if method != "predict":
        assert (lazily.dtype == np.float32) == (types == "float32")


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_number_of_workers_changes_no_bit(n_workers):
    X, y, weight = raw_rows(3)
    with dask.config.set(scheduler="threads", num_workers=n_workers):
        model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y, weight))
    with dask.config.set(scheduler="synchronous"):
        alone = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y, weight))
    assert (model.coef_ == alone.coef_).all()
    assert model.loss_curve_ == alone.loss_curve_


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_prior_is_the_same_as_in_memory(n_classes):
    X, y, weight = raw_rows(n_classes)
    earlier = NaturalGradientLogisticRegression(store_covariance=True).fit(X[:2_500], y[:2_500], weight[:2_500])
    rest = X[2_500:], y[2_500:], weight[2_500:]
    without = NaturalGradientLogisticRegression(tol=TIGHT).fit(*rest)
    for prior in (earlier, (earlier.coef_[0], 1e3 / X.std(axis=0) ** -2)):
        expected = NaturalGradientLogisticRegression(tol=1e-14, prior=prior).fit(*rest)
        model = DaskNaturalGradientLogisticRegression(tol=1e-14, prior=prior).fit(*in_chunks(*rest))
        assert_close(model, expected)
        assert abs(model.coef_ - without.coef_).max() > 1e-4 * abs(without.coef_).max()


def test_at_the_default_tolerance_many_columns_agree_as_far_as_it_says():
    """Both losses are within a relative tol of the optimum; the coefficients may differ by as much as that allows."""
    random = np.random.default_rng(0)
    X = random.normal(size=(30_000, 60))
    y = (X @ random.normal(size=60) / 8.0 + random.logistic(size=30_000) > 0).astype(int)
    model = DaskNaturalGradientLogisticRegression().fit(*in_chunks(X, y))
    expected = NaturalGradientLogisticRegression().fit(X, y)
    best = NaturalGradientLogisticRegression(tol=1e-14).fit(X, y)
    assert model.converged_
    left = model.tol * best.loss_curve_[-1]
    assert model.loss_curve_[-1] - best.loss_curve_[-1] <= left
    # two points with at most this remaining decrease are at most four times as far apart in the metric, in nats per row
    logits = model.decision_function(X) - expected.decision_function(X)
    proba = best.predict_proba(X)
    apart = 0.5 * (proba.prod(axis=1) * logits**2).mean()
    assert apart <= 4.0 * left


@parametrize_with_checks([DaskNaturalGradientLogisticRegression()])
def test_contract(estimator, check):
    with warnings.catch_warnings():
        # separable data and a low max_iter in these checks are expected to warn
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", SkipTestWarning)
        check(estimator)


def test_predictions_are_lazy_and_those_in_memory():
    X, y, _ = raw_rows(3)
    model = DaskNaturalGradientLogisticRegression(store_covariance=True).fit(*in_chunks(X, y))
    plain = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
    np.testing.assert_allclose(
        model.covariance_, plain.covariance_, rtol=1e-6, atol=1e-12 * abs(plain.covariance_).max()
    )
    dX = in_chunks(X)[0]
    for method in PREDICTIONS:
        lazily = getattr(model, method)(dX)
        now = getattr(model, method)(X)
        assert isinstance(lazily, da.Array)
        assert lazily.shape == now.shape
        assert lazily.dtype == now.dtype
        if method == "predict":
            assert (lazily.compute() == now).all()
        else:
            np.testing.assert_allclose(lazily.compute(), now, rtol=1e-12, atol=1e-12)
    assert model.score(dX, in_chunks(y)[0]) == pytest.approx(model.score(X, y))


def test_lazy_predictions_are_those_of_the_fit_they_were_asked_of():
    X, y, _ = raw_rows()
    dX, dy = in_chunks(X, y)
    model = DaskNaturalGradientLogisticRegression().fit(dX, dy)
    expected, lazily = model.decision_function(X), model.decision_function(dX)
    model.fit(dX, 1 - dy)
    np.testing.assert_allclose(lazily.compute(), expected, rtol=1e-12, atol=1e-12)


def test_in_memory_it_is_the_plain_estimator():
    X, y, weight = raw_rows(3, n_rows=500)
    model = clone(DaskNaturalGradientLogisticRegression(C=2.0)).fit(X, y, weight)
    plain = NaturalGradientLogisticRegression(C=2.0).fit(X, y, weight)
    assert (model.coef_ == plain.coef_).all()
    assert model.score(X, y) == plain.score(X, y)
    with pytest.raises(TypeError, match=r"predict\(\) missing 1 required positional argument: 'X'"):
        model.predict()
    with pytest.raises(TypeError, match=r"predict\(\) takes 2 positional arguments but 3 were given"):
        model.predict(X, y)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 reached") as caught:
        model.set_params(max_iter=1).fit(X, y)
    assert caught[0].filename == __file__


def test_separation_is_warned_of():
    X = np.linspace(-1, 1, 400)[:, None]
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(ConvergenceWarning):
        DaskNaturalGradientLogisticRegression(C=np.inf).fit(*in_chunks(X, y, rows=100))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("asked", ["fisher", "frequentist", "robust", "HC1"])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_inference_is_that_in_memory(n_classes, asked, C):
    X, y, weight = raw_rows(n_classes, n_rows=3_000)
    model = DaskNaturalGradientLogisticRegression(C=C, class_weight={0: 2.0}).fit(*in_chunks(X, y, weight, rows=500))
    weights = "frequency" if asked in {"fisher", "frequentist"} else "sampling"
    options = {"covariance": asked, "weights": weights}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        dX, dy, dw = in_chunks(X, y, weight, rows=500)
        result = infer(model, dX, dy, sample_weight=dw, **options)
        expected = infer_in_memory(model, X, y, sample_weight=weight, **options)
        some = infer(model, dX, dy, sample_weight=dw, features=[0, 6], **options)
    np.testing.assert_allclose(result.standard_errors, expected.standard_errors, rtol=1e-9)
    np.testing.assert_allclose(some.standard_errors, expected.standard_errors[:, [0, 6]], rtol=1e-6)
    assert result.loglik == pytest.approx(expected.loglik, rel=1e-12)
    assert result.loglik_null == pytest.approx(expected.loglik_null, rel=1e-12)
    assert result.n == pytest.approx(expected.n)
    assert str(result.summary()) == str(expected.summary())
    effects, known = result.marginal_effects(), expected.marginal_effects()
    np.testing.assert_allclose(effects.standard_errors, known.standard_errors, rtol=1e-8)


def test_inference_of_rows_in_memory_is_the_plain_one():
    X, y, weight = raw_rows(n_rows=1_000)
    model = DaskNaturalGradientLogisticRegression().fit(X, y, weight)
    result = infer(model, X, y, sample_weight=weight)
    expected = infer_in_memory(model, X, y, sample_weight=weight)
    np.testing.assert_array_equal(result.covariance, expected.covariance)


def test_inference_says_what_it_cannot_do():
    X, y, _ = raw_rows(n_rows=1_000)
    dX, dy = in_chunks(X, y, rows=250)
    model = DaskNaturalGradientLogisticRegression(C=np.inf).fit(dX, dy)
    with pytest.raises(ValueError, match="covariance='cluster' needs rows one by one"):
        infer(model, dX, dy, covariance="cluster")
    with pytest.raises(ValueError, match=r"X is a Dask collection.* use sknatgrad\.dask\.infer"):
        infer_in_memory(model, dX, dy)
    with pytest.raises(ValueError, match="needs the rows of the fit one by one"):
        infer(model, dX, dy).score_test(X)
    with pytest.raises(ValueError, match="are not those of the fit"):
        infer(model, dX, 1 - dy)
    smaller = DaskNaturalGradientLogisticRegression(C=np.inf).fit(dX[:, :2], dy)
    larger, less = infer(model, dX, dy), infer(smaller, dX[:, :2], dy)
    expected = infer_in_memory(model, X, y).lr_test(infer_in_memory(smaller, X[:, :2], y))
    assert larger.lr_test(less).statistic == pytest.approx(expected.statistic, rel=1e-8)


def test_chunks_of_columns_are_joined_in_predictions():
    X, y, _ = raw_rows(3, n_rows=400)
    model = DaskNaturalGradientLogisticRegression().fit(X, y)
    lazily = model.predict_proba(da.from_array(X, chunks=(100, 2)))
    np.testing.assert_allclose(lazily.compute(), model.predict_proba(X), rtol=1e-12)


def test_a_score_omits_empty_blocks():
    X, y, weight = raw_rows(3, n_rows=1_000)
    table = dask_frame(X, y, weight)
    columns = [name for name in table.columns if name.startswith("column")]
    some = table[(table["column 0"] > 0) & (table.index >= 200)]
    assert 0 in some.map_partitions(len).compute().tolist()
    whole, held = table.compute(), some.compute()
    model = DaskNaturalGradientLogisticRegression().fit(whole[columns], whole["label"])
    expected = model.score(held[columns], held["label"])
    assert model.score(some[columns], some["label"]) == pytest.approx(expected)


def test_rows_in_memory_are_inferred_from_in_memory():
    X, y, weight = raw_rows()
    model = DaskNaturalGradientLogisticRegression(C=np.inf).fit(X, y, weight)
    result = infer(model, X, y, sample_weight=weight)
    expected = infer_in_memory(model, X, y, sample_weight=weight)
    np.testing.assert_array_equal(result.covariance, expected.covariance)
