"""Columns far from zero: blocks subtract their centres, and every result is that of columns near zero."""

import pickle
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from problems import FISHERS, in_batches, in_chunks, needed, partial_fits, remaining_decrease
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, merge
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import (
    BlockInformation,
    DenseInformation,
    DiagonalInformation,
    IdentityInformation,
    KroneckerInformation,
)
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.layout import fitted_theta
from sknatgrad._model.recentring import recentred_covariance, recentred_theta
from sknatgrad._rows import centring
from sknatgrad._rows.centring import SAMPLE_ROWS, centred, centres_of, merged_samples, sample_of
from sknatgrad._rows.memory import MemorySource

# the typical deviation of the first two columns of `near`
SPREAD = 250.0
# 3e6 to 1e15 in units of it, and a ratio that no digit is lost with
FAR = [3e4, 1e9, 1e12, 1e15]


def near(n_classes=2, n_rows=600, seed=0):
    """Two columns of integers, which are exact whatever is added to them, and two of normal numbers."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(-500, 500, size=(n_rows, 2)), rng.normal(size=(n_rows, 2))])
    noise = rng.gumbel(size=(n_rows, n_classes))
    logits = X @ rng.normal(size=(4, n_classes)) / [SPREAD / 2, SPREAD / 2, 1.0, 1.0][:n_classes]
    return X, (np.tanh(logits) * 2 + noise).argmax(axis=1)


def far(X, offset):
    return X + np.array([offset, -3 * offset, 0.0, 0.0])


def assert_same(model, reference, X, X0, within=1e-8):
    """The same coefficients and predictions, each for its own rows."""
    scale = abs(reference.coef_).max(axis=0)
    np.testing.assert_allclose(model.coef_ / scale, reference.coef_ / scale, atol=within)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X0), atol=within)


def spy(function, calls):
    """The function, whose arguments are recorded."""

    def recorded(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return recorded


class TestCentres:
    COLUMNS: ClassVar = {
        "normal": (lambda rng: rng.normal(size=500), 0.0),
        "zeros": (lambda _: np.zeros(500), 0.0),
        "ones": (lambda _: np.ones(500), 1.0),
        "indicator": (lambda rng: rng.random(500) < 0.9, 0.0),
        "indicator of nearly all rows": (lambda _: np.arange(500) != 201, 0.0),
        "heavy tails": (lambda rng: rng.pareto(0.5, size=500), 0.0),
        "years": (lambda rng: rng.integers(1990, 2025, size=500), 2008.0),
        "one other value": (lambda _: 1e9 + (np.arange(500) == 201), 1e9),
        "two values": (lambda rng: 1e6 + (rng.random(500) < 0.1), 1e6),
        "an outlier at zero": (lambda rng: np.where(np.arange(500) == 8, 0, 1e9 + rng.integers(9, size=500)), 1e9 + 4),
        "negative": (lambda rng: -1e15 + rng.integers(9, size=500), -1e15 + 4),
        "nan": (lambda _: np.full(500, np.nan), 0.0),
        "infinite": (lambda _: np.full(500, np.inf), 0.0),
    }

    @pytest.mark.parametrize("name", COLUMNS)
    @pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
    def test_columns_far_from_zero_have_one(self, name, scale):
        column, expected = self.COLUMNS[name]
        values = column(np.random.default_rng(0)) * scale
        centres = centres_of(np.column_stack([values, np.arange(500.0) - 250]), 100.0)
        if expected:
            np.testing.assert_allclose(centres, [expected * scale, 0.0], rtol=2e-3 if name == "years" else 1e-8)
            assert centres[0] in values
        else:
            assert centres is None

    @pytest.mark.parametrize("seed", range(20))
    def test_quartiles_decide_as_all_deviations_do(self, seed):
        """Columns whose quartiles are near each other, equal, far apart or not finite, in samples of every size."""
        random = np.random.default_rng(seed)
        n_rows = int(random.integers(1, 40))
        sizes, offsets = 10.0 ** random.integers(-4, 5, 60), 10.0 ** random.integers(-2, 5, 60)
        sample = offsets + sizes * random.normal(size=(n_rows, 60))
        sample[random.random(sample.shape) < 0.3] = random.choice([0.0, 1.0, 1e3])
        sample[0, random.random(60) < 0.1] = random.choice([np.nan, np.inf, -np.inf])
        middle = np.sort(sample, axis=0)[n_rows // 2]
        far = centring._are_far(middle, sample, 100.0)
        centres = centring.centres_of_sample(sample, 100.0)
        found = np.zeros(60) if centres is None else centres
        np.testing.assert_array_equal(found, np.where(far, middle, 0.0))

    @pytest.mark.parametrize("n_others", [0, 1, 3, 40, 900])
    @pytest.mark.parametrize("away", [1.0, 1e6, np.nan])
    def test_rare_values_decide_about_a_column_that_is_constant_otherwise(self, n_others, away, monkeypatch):
        """Those of some rows, where these have enough of them; else those of all rows."""
        n_rows, value = 50_000, 1e3
        others = np.random.default_rng(n_others).permutation(n_rows)
        others = others[others % centring.sample_step(n_rows) != 0][:n_others]
        column = np.full(n_rows, value)
        column[others] += away * np.random.default_rng(0).choice([-1.0, 1.0], size=n_others)
        X = np.column_stack([column, np.arange(float(n_rows))])
        far_from_zero = n_others == 0 or away == 1.0
        looked_at = []
        monkeypatch.setattr(centring, "_are_far", spy(centring._are_far, looked_at))
        centres = centres_of(X, 100.0)
        assert (centres is not None and centres[0] == value) == far_from_zero
        if 0 < n_others <= 3:
            assert looked_at[-1][1].shape == (n_others, 1)
        if n_others == 900:
            assert centring.MIN_OTHERS <= len(looked_at[-1][1]) < 300

    def test_sparse_columns_have_none(self):
        assert centres_of(sparse.csr_array(np.full((9, 2), 1e9)), 100.0) is None
        assert merged_samples((np.ones((2, 2)), 2), (sample_of(sparse.csr_array(np.ones((2, 2)))), 2)) is None

    def test_few_rows_are_sampled_however_many_there_are(self):
        assert SAMPLE_ROWS // 2 < len(sample_of(np.arange(100_000.0)[:, None])) <= SAMPLE_ROWS

    def test_a_merged_sample_has_rows_of_every_part(self):
        sample, n_rows = np.zeros((0, 1)), 0
        for part in range(1, 21):
            rows = np.full((100 * part, 1), part)
            sample = merged_samples((sample, n_rows), (sample_of(rows), len(rows))) if n_rows else sample_of(rows)
            n_rows += len(rows)
        assert len(sample) <= 2 * SAMPLE_ROWS
        shares = np.bincount(sample[:, 0].astype(int), minlength=21)[1:] / len(sample)
        np.testing.assert_allclose(shares, np.arange(1, 21) / 210, atol=0.03)

    @pytest.mark.parametrize("order", "CF")
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint64, np.int16, bool], ids=str)
    def test_differences_are_rounded_once(self, dtype, order):
        centre = {8: 2.0**60, 4: 2.0**20, 2: 20_000.0, 1: 1.0}[np.dtype(dtype).itemsize]
        steps = np.random.default_rng(0).integers(0, 2, size=(7, 2))
        rows = np.asarray(centre, dtype=dtype) - steps.astype(dtype) if dtype is not bool else steps.astype(bool)
        rows = np.asarray(rows, dtype=dtype, order=order)
        exact = [[float(Fraction(value) - Fraction(centre)) for value in row] for row in rows.tolist()]
        found = centred(rows, np.array([centre, centre]))
        assert found.tolist() == exact
        assert found.dtype == np.float64
        assert centred(rows, np.array([centre, centre]), np.float32).dtype == np.float32

    def test_integers_too_far_from_the_centre_are_rounded(self):
        rows = np.array([[-(2**63)], [2**62 + 1], [2**62]])
        np.testing.assert_array_equal(centred(rows, np.array([2.0**62])), [[-(2.0**63) - 2.0**62], [1], [0]])


class TestRecentring:
    def test_predictions_and_their_variances_stay(self):
        rng = np.random.default_rng(0)
        before, after = rng.normal(size=(2, 3))
        theta, root = rng.normal(size=(2, 4)), rng.normal(size=(8, 8))
        covariance = (root @ root.T).reshape(2, 4, 2, 4)
        rows = rng.normal(size=(5, 3))
        old, new = (np.column_stack([rows - c, np.ones(5)]) for c in (before, after))
        np.testing.assert_allclose(new @ recentred_theta(theta, before, after).T, old @ theta.T)
        moved = recentred_covariance(covariance, before, after)
        expected = np.einsum("mj,kjla,ma->mkl", old, covariance, old)
        np.testing.assert_allclose(np.einsum("mj,kjla,ma->mkl", new, moved, new), expected)

    @pytest.mark.parametrize("n_logits", [1, 3])
    @pytest.mark.parametrize(
        "structure", [DenseInformation, KroneckerInformation, BlockInformation, IdentityInformation]
    )
    def test_information_is_that_of_other_rows(self, structure, n_logits):
        X, y = near(max(n_logits, 2))
        X /= SPREAD
        shift, theta = np.array([3.0, -2.0, 0.5, 0.0]), np.random.default_rng(1).normal(size=(n_logits, 5))

        def information(centres, theta):
            source = MemorySource(X, y, np.ones(len(y)), n_logits, centres=centres)
            return source.total(MeasureKernel(theta, TrueExpectation(), structure)).information

        found = information(None, theta).recentred(shift).dense()
        expected = information(shift, recentred_theta(theta, None, shift)).dense()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())

    def test_a_diagonal_takes_the_mean_to_be_zero(self):
        X = np.array([[-1.0], [1.0], [-1.0], [1.0]])
        information, moved = (
            MemorySource(X, np.zeros(4, dtype=int), np.ones(4), 1, centres=centres)
            .total(MeasureKernel(np.zeros((1, 2)), TrueExpectation(), DiagonalInformation))
            .information
            for centres in (None, np.array([5.0]))
        )
        np.testing.assert_allclose(information.recentred(np.array([5.0])).dense(), moved.dense())


class TestFits:
    @pytest.mark.parametrize("offset", FAR)
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_are_those_of_columns_near_zero(self, offset, n_classes, C):
        X0, y = near(n_classes)
        X = far(X0, offset)
        settings = {"C": C, "tol": 1e-12, "store_covariance": True}
        model, reference = (NaturalGradientLogisticRegression(**settings).fit(rows, y) for rows in (X, X0))
        assert model.converged_
        assert_same(model, reference, X, X0)
        assert model.loss_curve_[-1] == pytest.approx(reference.loss_curve_[-1], rel=1e-12)
        np.testing.assert_allclose(model.decision_function_std(X), reference.decision_function_std(X0), rtol=1e-8)
        np.testing.assert_allclose(
            model.predict_proba_interval(X), reference.predict_proba_interval(X0), rtol=1e-7, atol=1e-12
        )
        np.testing.assert_allclose(
            model.predict_proba_averaged(X), reference.predict_proba_averaged(X0), rtol=1e-7, atol=1e-12
        )
        errors, expected = (np.sqrt(np.diag(each.covariance_)).reshape(-1, 5) for each in (model, reference))
        np.testing.assert_allclose(errors[:, :4], expected[:, :4], rtol=1e-8)
        # the intercept is the logit where all columns are 0, far away
        covariance = reference.covariance_.reshape(errors.shape * 2)
        moved = recentred_covariance(covariance, far(np.zeros(4), offset), None)
        assert remaining_decrease(X, y, model, C) <= 1e-12
        np.testing.assert_allclose(errors[:, 4] ** 2, np.einsum("kjkj->kj", moved)[:, 4], rtol=1e-6)

    @pytest.mark.parametrize("fisher", FISHERS)
    def test_of_every_metric(self, fisher):
        X0, y = near(3)
        X = far(X0, 1e12)
        settings = {"fisher": fisher, "max_iter": 3000, "tol": 1e-10}
        scaled = X0 / [SPREAD, SPREAD, 1.0, 1.0]
        # plain gradient descent needs columns of one scale
        rows, far_rows = (scaled, scaled + np.array([1e6, -1e6, 0, 0])) if fisher == "identity" else (X0, X)
        model = NaturalGradientLogisticRegression(**settings).fit(far_rows, y)
        assert model.converged_
        assert_same(model, NaturalGradientLogisticRegression(tol=1e-12).fit(rows, y), far_rows, rows, within=1e-4)

    @pytest.mark.parametrize("kind", ["Fortran", "int64", "float32", "list"])
    def test_of_every_storage(self, kind):
        X0, y = near()
        X0 = X0.round()
        X = far(X0, 1e6 if kind == "float32" else 1e15)
        stored = {
            "Fortran": np.asfortranarray,
            "int64": lambda X: X.astype(np.int64),
            "float32": lambda X: X.astype(np.float32),
            "list": np.ndarray.tolist,
        }[kind](X)
        model = NaturalGradientLogisticRegression(C=np.inf).fit(stored, y)
        reference = NaturalGradientLogisticRegression(C=np.inf).fit(X0, y)
        assert_same(model, reference, stored, X0, within=1e-6 if kind == "float32" else 1e-8)

    def test_of_a_memory_map(self, tmp_path):
        X0, y = near()
        X = far(X0, 1e12)
        mapped = np.memmap(tmp_path / "rows", dtype=np.float64, mode="w+", shape=X.shape)
        mapped[:] = X
        mapped.flush()
        rows = np.memmap(tmp_path / "rows", dtype=np.float64, mode="r", shape=X.shape)
        model = NaturalGradientLogisticRegression().fit(rows, y)
        assert_same(model, NaturalGradientLogisticRegression().fit(X0, y), rows, X0)

    @pytest.mark.parametrize("sampled", [True, False])
    def test_of_batches(self, set_capacity, sampled):
        X0, y = near(3, n_rows=3000)
        X = far(X0, 1e12)
        if sampled:
            set_capacity(2000)
        model = NaturalGradientLogisticRegression().fit_batches(in_batches(X, y))
        assert_same(model, NaturalGradientLogisticRegression().fit(X0, y), X, X0)

    def test_of_dask_collections(self):
        needed("dask", "Dask is not installed")
        estimator = needed("sknatgrad.dask", "Dask is not installed").DaskNaturalGradientLogisticRegression
        X0, y = near(3, n_rows=3000)
        X = far(X0, 1e12)
        chunks = in_chunks(X, y)
        model = estimator().fit(*chunks)
        assert_same(model, NaturalGradientLogisticRegression().fit(X0, y), X, X0)
        np.testing.assert_allclose(model.predict_proba(chunks[0]).compute(), model.predict_proba(X))

    def test_timestamps_in_nanoseconds(self):
        """As int64 they are exact, and a minute is 6e10 of 1.7e18."""
        rng = np.random.default_rng(0)
        minutes = rng.integers(0, 1000, size=800)
        y = (minutes / 200 - 2.5 + rng.logistic(size=800) > 0).astype(int)
        X = (1_700_000_000_000_000_000 + 60_000_000_000 * minutes)[:, None]
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
        reference = NaturalGradientLogisticRegression(C=np.inf).fit(minutes[:, None], y)
        np.testing.assert_allclose(6e10 * model.coef_, reference.coef_, rtol=1e-8)
        np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(minutes[:, None]), rtol=1e-8)

    def test_what_float64_cannot_tell_apart_has_no_effect(self):
        """1e16 + 1 is 1e16 in float64; as integers the two differ."""
        y = np.tile([0, 1, 1, 0, 1, 0], 20)
        other = np.tile([0, 1, 1, 1], 30)
        as_integers = np.column_stack([10**16 + other, np.arange(120) % 7])
        model = NaturalGradientLogisticRegression().fit(as_integers.astype(np.float64), y)
        assert model.coef_[0, 0] == 0.0
        model.fit(as_integers, y)
        reference = NaturalGradientLogisticRegression().fit(np.column_stack([other, np.arange(120) % 7]), y)
        np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-8)

    def test_a_warm_start_is_at_the_optimum(self):
        X0, y = near(3)
        X = far(X0, 1e12)
        model = NaturalGradientLogisticRegression(warm_start=True).fit(X, y)
        assert model.fit(X, y).n_iter_[0] <= 1
        shifted = X + np.array([0.0, 1e6, 0.0, 0.0])
        assert model.fit(shifted, y).n_iter_[0] > 0
        assert_same(model, NaturalGradientLogisticRegression().fit(X0, y), shifted, X0)


class TestFittedModels:
    def test_are_stored_and_cloned(self):
        X0, y = near(3)
        X = far(X0, 1e12)
        model = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
        again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(again.predict_proba_interval(X), model.predict_proba_interval(X))
        assert not hasattr(clone(model), "_centres")

    def test_predict_by_coefficients_that_are_set(self):
        X0, y = near()
        X = far(X0, 3e4)
        model = NaturalGradientLogisticRegression().fit(X, y)
        model.coef_ = model.coef_ * [[1.0, 0.0, 1.0, 1.0]]
        model.intercept_ = np.array([-3e4 * model.coef_[0, 0]])
        logits = X0[:, [0, 2, 3]] @ model.coef_[0, [0, 2, 3]]
        np.testing.assert_allclose(model.decision_function(X), logits, atol=1e-9)

    def test_predict_sparse_rows(self):
        X0, y = near(3)
        X = far(X0, 1e9)
        model = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
        rows = sparse.csr_array(X)
        np.testing.assert_allclose(model.predict_proba(rows), model.predict_proba(X), rtol=1e-12)
        np.testing.assert_allclose(model.decision_function_std(rows), model.decision_function_std(X), rtol=1e-12)

    def test_draw_coefficients(self):
        X0, y = near()
        X = far(X0, 1e9)
        model = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
        coef, intercept = model.sample_coef(2000, random_state=0)
        logits = np.einsum("sqj,mj->msq", coef, X[:5]) + intercept
        np.testing.assert_allclose(logits.std(axis=1)[:, 0], model.decision_function_std(X[:5]), rtol=0.1)

    @pytest.mark.parametrize("kind", FISHERS)
    def test_have_the_fisher_information_of_the_rows(self, kind, limits):
        X0, y = near(3)
        X = far(X0, 3e4)
        model = NaturalGradientLogisticRegression(tol=1e-12).fit(X, y)
        assert model._centres is not None
        found = fisher_information(model, X, y, kind=kind, random_state=0)
        limits(far_ratio=np.inf)
        reference = NaturalGradientLogisticRegression(tol=1e-12).fit(X, y)
        expected = fisher_information(reference, X, y, kind=kind, random_state=0)
        units = np.sqrt(np.maximum(expected.diagonal(), 1e-300))
        np.testing.assert_allclose(found / units / units[:, None], expected / units / units[:, None], atol=1e-7)

    def test_convert_to_onnx(self):
        convert = needed("skl2onnx", "skl2onnx is not installed").to_onnx
        needed("sknatgrad.onnx", "skl2onnx is not installed").register_converter()
        X0, y = near(3)
        X = far(X0, 1e15)
        model = NaturalGradientLogisticRegression().fit(X, y)
        graph = convert(model, X[:1], options={"zipmap": False})
        evaluator = needed("onnx.reference", "ONNX is not installed").ReferenceEvaluator(graph)
        _, proba = evaluator.run(None, {"X": X})
        np.testing.assert_allclose(proba, model.predict_proba(X), rtol=1e-9)


class TestPriors:
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize(
        "prior",
        [
            (0.001, 1.0),
            (np.array([0.001, 0.002, 0.5, -0.5]), np.array([1e4, 2e4, 1.0, 3.0])),
            (np.array([0.001, 0.002, 0.5, -0.5, 2.0]), np.array([1e4, 2e4, 1.0, 3.0, 0.5])),
        ],
        ids=["numbers", "features", "intercept"],
    )
    def test_are_of_the_coefficients_of_the_rows(self, prior, n_classes, limits):
        X0, y = near(n_classes)
        X = far(X0, 3e4)
        settings = {"prior": prior, "tol": 1e-13, "store_covariance": True}
        model = NaturalGradientLogisticRegression(**settings).fit(X, y)
        stream = NaturalGradientLogisticRegression(**settings).partial_fit(X, y, np.arange(n_classes))
        limits(far_ratio=np.inf)
        reference = NaturalGradientLogisticRegression(**settings).fit(X, y)
        assert model._centres is not None
        assert reference._centres is None
        assert_same(model, reference, X, X, within=1e-6)
        assert_same(stream, model, X, X, within=1e-2)
        np.testing.assert_allclose(model.decision_function_std(X), reference.decision_function_std(X), rtol=1e-5)

    @pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
    @pytest.mark.parametrize("intercept", [0.0, 0.5])
    def test_are_earlier_models_of_other_centres(self, fisher, intercept):
        X0, y = near(n_rows=1000)
        X, later = far(X0, 1e9), far(X0 + np.array([60_000.0, 0, 0, 0]), 1e9)
        settings = {"fisher": fisher, "store_covariance": True}
        earlier = NaturalGradientLogisticRegression(prior=(0.0, np.append(np.ones(4), intercept)), **settings)
        if intercept:
            # the logit at 1e9 is known to be near 0: so is the coefficient
            X, later = X / 1e9, later / 1e9
        earlier.fit(X, y)
        model = NaturalGradientLogisticRegression(prior=FrozenEstimator(earlier), **settings).fit(X, y)
        np.testing.assert_allclose(model.coef_, earlier.coef_, rtol=0.3, atol=abs(earlier.coef_).max() * 0.05)
        assert NaturalGradientLogisticRegression(prior=FrozenEstimator(earlier), **settings).fit(later, y).converged_


class TestStreams:
    @pytest.mark.parametrize("fisher", ["true", "kronecker"])
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_are_those_of_columns_near_zero(self, fisher, n_classes):
        X0, y = near(n_classes, n_rows=3000)
        X = far(X0, 1e12)
        settings = {"fisher": fisher, "store_covariance": True, "tol": 1e-12}
        model = partial_fits(NaturalGradientLogisticRegression(**settings), X, y, classes=np.arange(n_classes))
        reference = partial_fits(NaturalGradientLogisticRegression(**settings), X0, y, classes=np.arange(n_classes))
        assert_same(model, reference, X, X0, within=1e-3)
        np.testing.assert_allclose(model.decision_function_std(X), reference.decision_function_std(X0), rtol=1e-3)

    def test_follow_a_column_that_drifts(self, limits):
        """A clock: each batch is far from the first ones, by no more than float64 represents uncentred."""
        rng = np.random.default_rng(0)
        batches = []
        for batch in range(20):
            X = rng.normal(size=(200, 2))
            y = (X[:, 0] + X[:, 1] + rng.logistic(size=200) > 0).astype(int)
            batches.append((X + np.array([1e4 + 5e3 * batch, 0.0]), y))
        models = []
        for far_ratio in (100.0, np.inf):
            limits(far_ratio=far_ratio)
            models.append(NaturalGradientLogisticRegression(forgetting=0.999, tol=1e-12))
            for X, y in batches:
                models[-1].partial_fit(X, y, classes=[0, 1])
        model, reference = models
        assert abs(model._centres[0] - X[:, 0].mean()) < 5e3
        assert_same(model, reference, X, X, within=1e-3)

    def test_begin_with_single_rows(self):
        X0, y = near(n_rows=400)
        X = far(X0, 1e12)
        model = partial_fits(NaturalGradientLogisticRegression(), X, y, size=1, classes=[0, 1])
        reference = partial_fits(NaturalGradientLogisticRegression(), X0, y, size=1, classes=[0, 1])
        assert_same(model, reference, X, X0, within=1e-2)

    def test_take_sparse_batches(self):
        X0, y = near(n_rows=2000)
        X = far(X0, 1e9)
        model = NaturalGradientLogisticRegression().partial_fit(X[:1000], y[:1000], [0, 1])
        again = clone(model).partial_fit(X[:1000], y[:1000], [0, 1])
        model.partial_fit(X[1000:], y[1000:])
        again.partial_fit(sparse.csr_array(X[1000:]), y[1000:])
        np.testing.assert_allclose(again.coef_, model.coef_, rtol=1e-12)

    @pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
    @pytest.mark.parametrize("with_rows", [True, False])
    def test_are_merged_though_their_centres_differ(self, fisher, with_rows):
        X0, y = near(3, n_rows=2000)
        X = far(X0, 1e12)
        settings = {"fisher": fisher, "store_covariance": True}
        shards = [slice(start, None, 2) for start in range(2)]
        models = [NaturalGradientLogisticRegression(**settings).fit(X[shard], y[shard]) for shard in shards]
        assert not np.array_equal(models[0]._centres, models[1]._centres)
        references = [NaturalGradientLogisticRegression(**settings).fit(X0[shard], y[shard]) for shard in shards]
        rows = (X, y) if with_rows else ()
        merged = merge(models, *rows)
        assert_same(merged, merge(references, *((X0, y) if with_rows else ())), X, X0, within=0.05)
        if fisher == "true":
            assert_same(merged, NaturalGradientLogisticRegression().fit(X0, y), X, X0, within=0.02)

    def test_are_not_merged_with_a_prior_of_the_intercept(self):
        X, y = near(n_rows=2000)
        prior = (0.0, np.array([1.0, 1.0, 1.0, 1.0, 0.5]))
        models = [
            NaturalGradientLogisticRegression(prior=prior, store_covariance=True).fit(far(X, 1e5)[shard], y[shard])
            for shard in (slice(0, 1000), slice(1000, 2000))
        ]
        with pytest.raises(ValueError, match="a precision of the intercept where columns are far from zero"):
            merge(models)


@pytest.mark.parametrize("door", ["fit", "fit_batches", "partial_fit"])
def test_a_large_prior_of_the_intercept_leaves_the_columns_as_they_are(door, limits):
    """It would need a matrix of all coefficients."""
    X, y = near()
    X = far(X, 3e4)
    limits(decrement_bytes=0)
    model = NaturalGradientLogisticRegression(prior=(0.0, np.array([1.0, 1.0, 1.0, 1.0, 0.5])))
    data = ([(X, y)],) if door == "fit_batches" else (X, y, [0, 1]) if door == "partial_fit" else (X, y)
    assert getattr(model, door)(*data)._centres is None
    limits(decrement_bytes=8 * 5**2)
    assert getattr(clone(model), door)(*data)._centres is not None


def test_coefficients_of_another_size_are_not_centred():
    X, y = near()
    model = NaturalGradientLogisticRegression().fit(far(X, 1e5), y)
    model.coef_ = model.coef_[:, :2]
    assert fitted_theta(model, intercept=True)[1] is None
