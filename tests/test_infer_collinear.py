"""Collinear columns, exact and near: what is said of them, and what holds for the others."""

import warnings

import numpy as np
import pytest
from problems import in_chunks, needed, quiet_fit
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows.memory import MemorySource
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.inference._result.aliased import AliasedColumn
from sknatgrad.inference._row_sums.aliased import LinearDependence, TriangularFactor
from sknatgrad.inference._row_sums.kernels import TriangularFactorKernel


def fit(X, y, **settings):
    return NaturalGradientLogisticRegression(C=np.inf, **settings).fit(X, y)


def silent_infer(*args, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        return infer(*args, **settings)


def with_coefficients(X, y, coef, intercept):
    """A model of scikit-learn, for which it is not checked whether its rows are those of the fit."""
    model = LogisticRegression(C=np.inf)
    model.classes_, model.coef_, model.intercept_, model.n_features_in_ = np.unique(y), coef, intercept, X.shape[1]
    return model


def dependent_table(seed, n_classes):
    """Indicators of two categories, one of them within the other, a sum and a multiple, beside columns of any size."""
    rng = np.random.default_rng(seed)
    n_rows = int(rng.integers(150, 500))
    x = rng.normal(size=(n_rows, 3)) * 10.0 ** rng.integers(-3, 4, 3)
    group = rng.integers(0, 4, n_rows)
    within = np.where(group == 0, 0, rng.integers(0, 3, n_rows))
    X = np.column_stack([x, np.eye(4)[group], np.eye(3)[within], x[:, 0] + 0.5 * x[:, 2], 1e6 * x[:, 1]])
    return X, rng.integers(0, n_classes, n_rows)


class TestSelectedColumns:
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("preconditioner_bytes", [0, 2**25])
    def test_hold_beside_collinear_columns(self, n_classes, preconditioner_bytes, limits):
        """The rounding of the gradient, divided by that of the curvature, was up to 17 standard errors."""
        limits(preconditioner_bytes=preconditioner_bytes)
        for seed in range(6):
            X, y = dependent_table(seed, n_classes)
            model = fit(X, y, tol=10.0 ** -(4 + seed))
            expected = silent_infer(model, X, y, aliased="nan").standard_errors
            free = np.flatnonzero(np.isfinite(expected).all(axis=0))
            # the intercept is the sum of the indicators
            assert set(range(X.shape[1] + 1)) - set(free) >= {0, 2, *range(3, 12)}
            chosen = [*free, *range(3, 6)]
            message = "^These standard errors are unreliable: collinear or constant columns, x3, x4, x5, have"
            with pytest.warns(InferenceWarning, match=message) as caught:
                found = infer(model, X, y, features=chosen)
            assert "converged" not in str(caught[0].message)
            np.testing.assert_allclose(found.standard_errors[:, : free.size], expected[:, free], rtol=1e-8)
            assert np.isnan(found.standard_errors[:, free.size :]).all()

    def test_that_are_determined_need_no_warning(self):
        rng = np.random.default_rng(0)
        x, group = rng.normal(size=300), rng.integers(0, 4, 300)
        y = (rng.random(300) < 1 / (1 + np.exp(-x))).astype(int)
        X = np.column_stack([x, np.eye(4)[group]])
        model = fit(X, y)
        expected = silent_infer(model, X, y).standard_errors[0, 0]
        assert infer(model, X, y, features=[0]).standard_errors[0, 0] == pytest.approx(expected, rel=1e-8)
        needed("dask", "Dask is not installed")
        dask_infer = needed("sknatgrad.dask", "Dask is not installed").infer
        found = dask_infer(model, *in_chunks(X, y), features=["x0"])
        assert found.standard_errors[0, 0] == pytest.approx(expected, rel=1e-8)

    def test_of_zeros_have_no_standard_error(self):
        rng = np.random.default_rng(0)
        X, y = np.column_stack([np.zeros(90), rng.normal(size=90)]), rng.integers(0, 3, 90)
        with pytest.warns(InferenceWarning, match="collinear or constant columns, x0, have"):
            found = infer(fit(X, y), X, y, features=[0, 1])
        assert np.isnan(found.standard_errors).tolist() == [[True, False]] * 2


def powers(n_classes):
    """Powers of a year, and of the year less 2000, labels, and the matrix of one set of coefficients by the other."""
    rng = np.random.default_rng(1)
    year = rng.integers(1990, 2024, 300).astype(float)
    t = year - 2000.0
    y = (rng.random(300) < 1 / (1 + np.exp(-0.08 * t))).astype(int) + (rng.random(300) < 0.3) * (n_classes == 3)
    # t, t², t³ in powers of the year
    transform = np.array(
        [
            [1.0, -4e3, 1.2e7, 0.0],
            [0.0, 1.0, -6e3, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [-2e3, 4e6, -8e9, 1.0],
        ]
    )
    return np.column_stack([year, year**2, year**3]), np.column_stack([t, t**2, t**3]), y, transform


class TestNearlyCollinearColumns:
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("covariance", ["fisher", "HC1"])
    def test_have_standard_errors_at_the_optimum(self, n_classes, covariance):
        """Although H of the powers of a year is singular in float64."""
        X, Z, y, transform = powers(n_classes)
        others = fit(Z, y, tol=1e-12)
        theta = np.column_stack([others.coef_, others.intercept_]) @ transform.T
        model = with_coefficients(X, y, theta[:, :3], theta[:, 3])
        near = infer(others, Z, y, covariance=covariance)
        whole = np.kron(np.eye(n_classes - 1), transform)
        expected = np.sqrt((whole @ near.covariance @ whole.T).diagonal()).reshape(n_classes - 1, -1)
        found = infer(model, X, y, covariance=covariance)
        np.testing.assert_allclose(found.standard_errors, expected, rtol=1e-6)
        assert found.aic == pytest.approx(near.aic, rel=1e-9)
        if covariance == "fisher":
            needed("dask", "Dask is not installed")
            chunked = needed("sknatgrad.dask", "Dask is not installed").infer(model, *in_chunks(X, y))
            np.testing.assert_allclose(chunked.standard_errors, expected, rtol=1e-6)

    def test_have_them_where_a_fit_of_this_package_finds_the_optimum(self):
        rng = np.random.default_rng(1)
        year = rng.integers(1990, 2024, int(rng.integers(50, 400))).astype(float)
        y = (rng.random(year.size) < 1 / (1 + np.exp(-0.08 * (year - 2007)))).astype(int)
        X = np.column_stack([year, year**2, year**3])
        model = quiet_fit(X, y, C=np.inf)
        if not model.converged_:
            pytest.skip("the rounding of this BLAS ends the fit before the optimum")
        found = infer(model, X, y)
        # R 4.2.2, restarted from its own coefficients: glm(y ~ year + I(year^2) + I(year^3), binomial, start = coef(f),
        # control = list(epsilon = 1e-14, maxit = 100)); vcov(f), AIC(f)
        of_r = [2.64706206068552e03, 1.31940381603414e00, 2.19212471614842e-04, 1.77020850790991e06]
        np.testing.assert_allclose(found.standard_errors[0], of_r, rtol=1e-5)
        assert found.aic == pytest.approx(271.714267264318, rel=1e-9)

    def test_that_the_fit_does_not_resolve_are_said_to_be_left_out(self):
        rng = np.random.default_rng(0)
        a = rng.normal(size=300)
        X = np.column_stack([a, a + 1e-8 * rng.normal(size=300)])
        y = (rng.random(300) < 1 / (1 + np.exp(-a))).astype(int)
        model = quiet_fit(X, y, C=np.inf)
        message = (
            r"nearly collinear columns, x0, x1, .* did not find the optimum along the differences, \S+ standard errors "
            r"away \(deviance and the other standard errors are those without the"
        )
        with pytest.warns(InferenceWarning, match=message):
            found = infer(model, X, y)
        assert np.isnan(found.standard_errors[0]).tolist() == [True, True, False]
        single = infer(fit(X[:, :1], y), X[:, :1], y)
        # as said
        assert found.standard_errors[0, 2] == pytest.approx(single.standard_errors[0, 1], rel=1e-6)
        assert found.loglik == pytest.approx(single.loglik, rel=1e-9)
        assert found.effective_dof == 3.0


class TestProbabilities:
    """They are blamed only where they leave no information along combinations of columns that are orthonormal."""

    def test_are_blamed_where_they_are_0_and_1(self, iris):
        X, y = iris
        ours = quiet_fit(X[:, :2], y, C=np.inf)
        model = with_coefficients(X[:, :2], y, 3.0 * ours.coef_, 3.0 * ours.intercept_)
        message = r"leave almost no information on the coefficients of x0, x1, \(Intercept\), whose columns"
        with pytest.warns(InferenceWarning, match=message):
            found = infer(model, X[:, :2], y)
        assert np.isnan(found.standard_errors).all()
        assert found.effective_dof == 6.0

    def test_are_not_blamed_for_nearly_collinear_columns(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(300, 3))
        X = np.column_stack([x, x[:, 0] + x[:, 1] + 1e-8 * rng.normal(size=300)])
        y = rng.integers(0, 3, 300)
        found = silent_infer(quiet_fit(X, y, C=np.inf), X, y)
        assert not any("probabilities" in text for text in found.warnings)

    @pytest.mark.parametrize("seed", [0, 3, 7, 8])
    def test_of_a_nearly_pure_category_beside_nearly_collinear_columns(self, seed):
        """Only the coefficients that the probabilities do not determine have no standard errors.

        Rounding decides whether H of these columns is singular, or inflates variances by 1e14.
        """
        X, Z, _, _ = powers(2)
        rng = np.random.default_rng(seed)
        pure = rng.random(300) < 0.1
        y = np.where(pure, 1, rng.integers(0, 2, 300))
        Z, X = np.column_stack([Z, pure]), np.column_stack([X, pure])
        others = fit(Z[~pure, :3], y[~pure], tol=1e-12)
        transform = powers(2)[3]
        theta = transform @ np.append(others.coef_[0], others.intercept_)
        model = with_coefficients(X, y, np.append(theta[:3], 40.0)[None], theta[3:])
        message = r"almost no information on the coefficients of x3, whose"
        with pytest.warns(InferenceWarning, match=message):
            found = infer(model, X, y)
        assert np.isnan(found.standard_errors[0]).tolist() == [False, False, False, True, False]
        expected = infer(others, Z[~pure, :3], y[~pure])
        errors = np.sqrt((transform @ expected.covariance @ transform.T).diagonal())
        np.testing.assert_allclose(found.standard_errors[0, [0, 1, 2, 4]], errors, rtol=1e-4)


def test_separation_of_dask_collections_is_the_reason(iris):
    needed("dask", "Dask is not installed")
    dask_infer = needed("sknatgrad.dask", "Dask is not installed").infer
    X, y = iris[0][:, :2], iris[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fit(X, y)
    for features in (None, [0]):
        with pytest.warns(InferenceWarning, match="classes (are|seem to be) separated in part"):
            dask_infer(model, *in_chunks(X, y), features=features)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("covariance", ["fisher", "robust", "HC1", "cluster"])
def test_a_model_without_any_column(n_classes, covariance, capfd):
    X, y = np.zeros((300, 2)), np.arange(300) % n_classes
    groups = np.arange(300) % 30 if covariance == "cluster" else None
    model = fit(X, y, fit_intercept=False)
    with pytest.warns(InferenceWarning, match=r"2 of 2 columns depend linearly .*: \{x0\} \(1 too many\), \{x1\}"):
        found = infer(model, X, y, covariance=covariance, groups=groups)
    assert np.isnan(found.params).all()
    assert np.isnan(found.covariance).all()
    assert found.effective_dof == 0.0
    assert found.loglik == pytest.approx(found.loglik_null)
    assert found.loglik == pytest.approx(-300 * np.log(n_classes))
    assert "Aliased: x0 = 0; x1 = 0." in str(found.summary())
    assert np.isnan(found.marginal_effects().effects).all()
    # the other coefficients are tested against no effect at all
    extra = np.random.default_rng(0).normal(size=(300, 1))
    assert found.score_test(extra).dof == n_classes - 1
    with pytest.raises(ValueError, match="constraint involves x0, whose"):
        found.wald_test("x0")
    with pytest.raises(ValueError, match="but all columns are aliased"):
        found.information_matrix_test()
    with pytest.warns(InferenceWarning, match=r"collinear or constant columns, \{x0\}"):
        assert np.isnan(infer(model, X, y, aliased="nan").standard_errors).all()
    assert capfd.readouterr().err == ""


class TestNan:
    def test_is_the_same_as_drop_without_aliased_columns(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
        model = fit(X, y)
        found, expected = infer(model, X, y, aliased="nan"), infer(model, X, y)
        np.testing.assert_array_equal(found.covariance, expected.covariance)
        assert found.warnings == expected.warnings == ()

    @pytest.mark.parametrize("covariance", ["HC1", "cluster"])
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_counts_coefficients_as_without_the_aliased_columns(self, covariance, n_classes):
        X, y = dependent_table(3, n_classes)
        groups = np.arange(len(y)) % 60 if covariance == "cluster" else None
        extra = np.random.default_rng(0).normal(size=(len(y), 2))
        model = fit(X, y, tol=1e-12)
        kept, left = (
            silent_infer(model, X, y, covariance=covariance, groups=groups, aliased=aliased)
            for aliased in ("drop", "nan")
        )
        np.testing.assert_allclose(left.score_test(extra), kept.score_test(extra), rtol=1e-9)
        determined = np.isfinite(left.standard_errors)
        np.testing.assert_array_equal(left.standard_errors[determined], kept.standard_errors[determined])

    @pytest.mark.parametrize("spread", [1.0, 3e3, 1e6, 1e7])
    def test_has_no_standard_error_of_any_column_of_a_set(self, spread):
        """However small the part of a column in the combination is."""
        rng = np.random.default_rng(0)
        time, small = (
            1.7e9 * (spread < 1e6) + spread * rng.integers(0, 1000, 300),
            rng.integers(0, 9, 300).astype(float),
        )
        X, y = np.column_stack([time, small, time + small]), rng.integers(0, 2, 300)
        model = fit(X, y, tol=1e-12)
        with pytest.warns(InferenceWarning, match=r"columns, \{x0, x1, x2\} \(1 too many\), have coefficients that"):
            found = infer(model, X, y, aliased="nan")
        assert np.isnan(found.standard_errors[0]).tolist() == [True, True, True, False]
        selected = silent_infer(model, X, y, features=[0, 1, 2])
        assert np.isnan(selected.standard_errors).all()
        (column,) = silent_infer(model, X, y).aliased
        assert column.combination == {"x0": pytest.approx(1.0), "x1": pytest.approx(1.0, rel=1e-4)}
        assert str(column) == "x2 = x0 + x1"


class TestSets:
    def test_a_column_of_ones_is_treated_as_the_intercept(self):
        rng = np.random.default_rng(0)
        levels = [np.eye(size)[rng.integers(0, size, 200)] for size in (3, 4)]
        y = rng.integers(0, 3, 200)
        X = np.column_stack([np.full(200, 2.0), *levels])
        message = r"\{x0, x1, x2 and 1 more\} \(1 too many: x3\), \{x0, x4, x5 and 2 more\} \(1 too many: x7\)"
        with pytest.warns(InferenceWarning, match=message):
            infer(fit(X, y, fit_intercept=False), X, y)
        needed("dask", "Dask is not installed")
        dask_infer = needed("sknatgrad.dask", "Dask is not installed").infer
        with pytest.warns(InferenceWarning, match=message):
            dask_infer(fit(X, y, fit_intercept=False), *in_chunks(X, y))

    def test_a_column_that_varies_by_little_is_not_constant(self):
        rng = np.random.default_rng(0)
        columns = np.column_stack(
            [np.full(60, 7.0), 1.0 + 1e-7 * rng.normal(size=60), np.zeros(60), rng.normal(size=60)]
        )
        kernel = TriangularFactorKernel(4, np.arange(4), 2**22, ones=True)
        weight = rng.integers(0, 3, 60).astype(float)
        factor = MemorySource(columns, np.zeros(60, dtype=int), weight).total(kernel)
        triangular = TriangularFactor(factor[:, :4], np.arange(4), np.zeros(4), ones=factor[:, 4])
        assert LinearDependence.of(triangular).constant.tolist() == [True, False, False, False]

    def test_the_summary_has_a_few_equations(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(30, 50)), rng.integers(0, 2, 30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = infer(fit(X, y), X, y)
        assert len(found.aliased) == 21
        for text in (" ".join(str(found.summary()).split()), found.summary()._repr_html_()):
            assert "16 more in result.aliased" in text
            assert text.count(" = ") == 5


def test_a_coefficient_that_prints_as_1_is_left_out():
    combination = {"x0": 1.0 - 2e-8, "x1": -1.0 - 3e-7, "x2": 1.001}
    assert str(AliasedColumn("x3", combination)) == "x3 = x0 - x1 + 1.001 x2"


def test_the_error_of_a_wald_test_names_the_columns():
    rng = np.random.default_rng(0)
    X, y = np.eye(6)[rng.integers(0, 6, 300)], rng.integers(0, 3, 300)
    names = [f"x{j}" for j in range(6)]
    with pytest.raises(ValueError, match="constraint involves x5, whose coefficients"):
        silent_infer(fit(X, y), X, y).wald_test(names)
    with pytest.raises(ValueError, match="constraint involves x0, x1, x2 and 3 more, whose coefficients"):
        silent_infer(fit(X, y), X, y, aliased="nan").wald_test(names)
