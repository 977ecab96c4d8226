"""Inference with columns far from zero is that of columns near zero."""

import numpy as np
import pytest
from problems import in_chunks, needed
from sklearn.linear_model import LogisticRegression
from test_centring import FAR, far, near

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer
from sknatgrad.plots import FisherEllipseDisplay

COVARIANCES = ["fisher", "frequentist", "robust", "HC1", "cluster"]


def pair(offset, n_classes=2, *, C=np.inf, n_rows=600, **kwargs):
    """The results for a table far from zero and near it."""
    X0, y = near(n_classes, n_rows=n_rows)
    model = NaturalGradientLogisticRegression(C=C, tol=1e-12)
    return [infer(model.fit(X, y), X, y, **kwargs) for X in (far(X0, offset), X0)]


def assert_same(found, expected):
    """All but the intercepts are the same."""
    np.testing.assert_allclose(found.params[:, :4], expected.params[:, :4], rtol=1e-8)
    np.testing.assert_allclose(found.standard_errors[:, :4], expected.standard_errors[:, :4], rtol=1e-8)
    assert found.loglik == pytest.approx(expected.loglik, rel=1e-12)
    assert found.effective_dof == pytest.approx(expected.effective_dof, rel=1e-9)
    assert found.warnings == expected.warnings == ()


class TestResults:
    @pytest.mark.parametrize("offset", FAR)
    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_are_those_of_columns_near_zero(self, offset, n_classes, C):
        found, expected = pair(offset, n_classes, C=C)
        assert_same(found, expected)
        effects, others = found.marginal_effects(), expected.marginal_effects()
        np.testing.assert_allclose(effects.effects, others.effects, rtol=1e-8, atol=1e-14)
        np.testing.assert_allclose(effects.standard_errors, others.standard_errors, rtol=1e-7)

    @pytest.mark.parametrize("covariance", COVARIANCES)
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_of_every_covariance(self, covariance, n_classes):
        groups = np.arange(600) % 50 if covariance == "cluster" else None
        found, expected = pair(1e12, n_classes, covariance=covariance, groups=groups)
        assert_same(found, expected)
        constraint = np.eye(5 * (n_classes - 1))[[0, 2]]
        assert found.wald_test(constraint).statistic == pytest.approx(
            expected.wald_test(constraint).statistic, rel=1e-7
        )

    def test_of_the_intercept(self):
        """It is the logit where all columns are 0, in exact arithmetic from the centred one."""
        found, expected = pair(3e4)
        T = np.eye(5)
        T[4, :4] = -far(np.zeros(4), 3e4)
        np.testing.assert_allclose(found.params[0], T @ expected.params[0], rtol=1e-8)
        np.testing.assert_allclose(found.covariance, T @ expected.covariance @ T.T, rtol=1e-7)
        np.testing.assert_allclose(found.covariance, found.covariance.T)

    @pytest.mark.parametrize("features", [[0, 3], ["x1", "(Intercept)"]])
    @pytest.mark.parametrize("C", [1.0, np.inf])
    def test_of_selected_columns(self, features, C):
        X0, y = near(3)
        X = far(X0, 3e4)
        model = NaturalGradientLogisticRegression(C=C, tol=1e-12).fit(X, y)
        found, whole = infer(model, X, y, features=features), infer(model, X, y)
        columns = [whole.feature_names.index(name) for name in found.feature_names]
        np.testing.assert_allclose(found.params, whole.params[:, columns], rtol=1e-9)
        np.testing.assert_allclose(found.standard_errors, whole.standard_errors[:, columns], rtol=1e-6)

    def test_of_models_of_scikit_learn(self):
        """lbfgs does not converge on such a table: the coefficients of a centred fit are set."""
        X0, y = near()
        X = far(X0, 3e4)
        peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000, solver="newton-cholesky").fit(X0, y)
        expected = infer(peer, X0, y)
        peer.intercept_ = peer.intercept_ - peer.coef_ @ far(np.zeros(4), 3e4)
        found = infer(peer, X, y)
        np.testing.assert_allclose(found.standard_errors[:, :4], expected.standard_errors[:, :4], rtol=1e-8)

    def test_of_an_intercept_with_a_penalty(self):
        """The penalty refers to the rows themselves, so they are not centred."""
        X0, y = near()
        X = far(X0, 3e4)
        model = NaturalGradientLogisticRegression(prior=(0.0, np.array([1.0, 1.0, 1.0, 1.0, 0.5])), tol=1e-12)
        found = infer(model.fit(X, y), X, y)
        assert found.fitted.centres is None
        T = np.eye(5)
        T[4, :4] = -far(np.zeros(4), 3e4)
        reference = np.linalg.inv(infer(model.set_params(prior=None).fit(X0, y), X0, y).covariance)
        assert np.isfinite(reference).all()
        assert np.isfinite(found.standard_errors).all()

    def test_of_dask_collections(self):
        needed("dask", "Dask is not installed")
        dask_infer = needed("sknatgrad.dask", "Dask is not installed").infer
        X0, y = near(3, n_rows=3000)
        X = far(X0, 1e12)
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12)
        expected = infer(model.fit(X0, y), X0, y)
        assert_same(dask_infer(model.fit(X, y), *in_chunks(X, y)), expected)
        # without the centres of the fit
        model._centres = None
        near_enough = dask_infer(model.fit(far(X0, 3e4), y), *in_chunks(far(X0, 3e4), y))
        assert_same(near_enough, expected)


class TestHypothesisTests:
    def test_information_matrix_of_every_entry(self):
        found, expected = (each.information_matrix_test(every=True) for each in pair(1e12, 3))
        assert found.dof == expected.dof
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_information_matrix_of_the_squares_of_the_columns_themselves(self, n_classes, limits):
        X0, y = near(n_classes)
        X = far(X0, 3e3)
        limits(far_ratio=5.0)
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12)
        found = infer(model.fit(X, y), X, y).information_matrix_test()
        assert model._centres is not None
        order = np.random.default_rng(0).permutation(len(y))
        permuted = infer(model.fit(X[order], y[order]), X[order], y[order]).information_matrix_test()
        limits(far_ratio=np.inf)
        expected = infer(model.fit(X, y), X, y).information_matrix_test()
        assert found.dof == permuted.dof == expected.dof
        assert found.statistic == pytest.approx(permuted.statistic, rel=1e-7)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)

    @pytest.mark.parametrize("offset", [0.0, 1e12])
    def test_score(self, offset):
        X0, y = near()
        extra = np.random.default_rng(5).integers(0, 100, size=(600, 2))
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12)
        expected = infer(model.fit(X0, y), X0, y).score_test(extra)
        X = far(X0, offset)
        found = infer(model.fit(X, y), X, y).score_test(extra + 1e12)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-7)

    def test_likelihood_ratio(self):
        X0, y = near()
        X = far(X0, 1e12)
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12)
        tests = []
        for rows in (X, X0):
            whole, less = (infer(model.fit(part, y), part, y) for part in (rows, rows[:, 1:]))
            tests.append(whole.lr_test(less))
        assert tests[0].dof == tests[1].dof == 1
        assert tests[0].statistic == pytest.approx(tests[1].statistic, rel=1e-9)


class TestAliasedColumns:
    def table(self):
        X, y = near()
        time = 1.7e9 + X[:, :1]
        return np.column_stack([X, time, 2.0 * time - X[:, 1:2], np.full(600, 3.0), time + 7.0]), y

    def test_are_combinations_of_the_columns_themselves(self):
        X, y = self.table()
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(X, y)
        with pytest.warns(UserWarning, match="4 of 9 columns depend linearly on the intercept or on earlier columns"):
            found = infer(model, X, y)
        expected = infer(model.fit(X[:, :4], y), X[:, :4], y)
        np.testing.assert_allclose(found.params[0, [0, 1, 2, 3, 8]], expected.params[0], rtol=1e-8)
        np.testing.assert_allclose(found.standard_errors[0, [0, 1, 2, 3, 8]], expected.standard_errors[0], rtol=1e-8)
        combinations = {each.name: each.combination for each in found.aliased}
        assert combinations == {
            "x4": {"x0": pytest.approx(1.0), "(Intercept)": pytest.approx(1.7e9)},
            "x5": {"x0": pytest.approx(2.0), "x1": pytest.approx(-1.0), "(Intercept)": pytest.approx(3.4e9)},
            "x6": {"(Intercept)": pytest.approx(3.0)},
            "x7": {"x0": pytest.approx(1.0), "(Intercept)": pytest.approx(1.7e9 + 7.0)},
        }

    def test_a_rounded_sum_is_aliased(self):
        """Of numbers that are not exact: the sum differs from its terms by the rounding of 1e12."""
        X0, y = near()
        X = far(X0 + np.random.default_rng(1).normal(size=X0.shape), 1e12)
        X = np.column_stack([X, X[:, 0] + 0.3 * X[:, 1]])
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(X, y)
        with pytest.warns(UserWarning, match=r"1 of 6 columns depends linearly .*: \{x0, x1, x4"):
            (rounded,) = infer(model, X, y).aliased
        assert {name: rounded.combination[name] for name in ("x0", "x1")} == {
            "x0": pytest.approx(1.0, rel=1e-5),
            "x1": pytest.approx(0.3, rel=1e-5),
        }

    def test_copies_have_no_intercept(self):
        X0, y = near()
        X = np.column_stack([far(X0, 1e12), far(X0, 1e12)[:, 1]])
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(X, y)
        with pytest.warns(UserWarning, match="1 of 6 columns"):
            (copy,) = infer(model, X, y).aliased
        assert copy.combination == {"x1": pytest.approx(1.0)}

    def test_of_nan(self):
        X, y = self.table()
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(X, y)
        with pytest.warns(UserWarning, match="collinear or constant"):
            found = infer(model, X, y, aliased="nan")
        assert np.isnan(found.standard_errors[0]).tolist() == [True, True, False, False, True, True, True, True, True]

    def test_a_constant_in_float64_is_aliased(self):
        X0, y = near()
        X = np.column_stack([X0, 1e16 + (X0[:, 0] > 0)])
        model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(X, y)
        with pytest.warns(UserWarning, match="aliased"):
            (constant,) = infer(model, X, y).aliased
        assert constant.combination == {"(Intercept)": 1e16}


@pytest.mark.parametrize("others", ["fixed", "free"])
def test_ellipses_of_columns_far_from_zero(others):
    X0, y = near(3)
    model = NaturalGradientLogisticRegression(tol=1e-12)
    metrics = []
    for X in (X0, far(X0, 1e12)):
        display = FisherEllipseDisplay.from_estimator(model.fit(X, y), X, y=y, features=[2, 3], others=others)
        metrics.append(display.metrics)
    for kind, metric in metrics[0].items():
        if kind != "diagonal":
            np.testing.assert_allclose(metrics[1][kind], metric, rtol=1e-7)
