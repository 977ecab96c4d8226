"""The optima for many values of C: each is that of a fit, with the degrees of freedom and errors of its covariance."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from test_cv_classifier import TIGHT, counted, standardised

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning, logistic_path
from sknatgrad._estimator import path_end
from sknatgrad._rows.design import Design
from sknatgrad.inference import infer

CS = [0.01, 1.0, 100.0]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_each_point_is_that_of_a_fit(load, fit_intercept):
    X, y = standardised(load)
    weight = np.random.default_rng(0).integers(1, 4, size=y.size)
    path = logistic_path(
        X, y, Cs=CS, sample_weight=weight, fit_intercept=fit_intercept, tol=TIGHT, standard_errors=True
    )
    for place, C in enumerate(CS):
        single = NaturalGradientLogisticRegression(C=C, fit_intercept=fit_intercept, store_covariance=True, tol=TIGHT)
        single.fit(X, y, weight)
        largest = abs(single.coef_).max()
        np.testing.assert_allclose(path.coefs[place], single.coef_, rtol=0, atol=1e-8 * largest)
        np.testing.assert_allclose(path.intercepts[place], single.intercept_, rtol=0, atol=1e-8 * largest)
        assert path.losses[place] == pytest.approx(single.loss_curve_[-1], rel=1e-12)
        result = infer(single, X, y, sample_weight=weight, weights="frequency")
        assert path.effective_dof[place] == pytest.approx(result.effective_dof, rel=1e-8)
        assert path.log_likelihoods[place] == pytest.approx(result.loglik, rel=1e-8)
        assert path.log_evidences[place] == pytest.approx(result.log_evidence, rel=1e-8)
        errors = np.sqrt(single.covariance_.diagonal()).reshape(path.standard_errors[place].shape)
        np.testing.assert_allclose(path.standard_errors[place], errors, rtol=1e-7)


def test_a_hundred_values_take_few_matrices(monkeypatch):
    X, y = standardised(load_breast_cancer)
    fits = counted(monkeypatch)
    path = logistic_path(X, y)
    assert path.coefs.shape == (100, 1, 30)
    assert path.standard_errors is None
    assert not fits
    # the degrees of freedom, the loss and the size of the coefficients change in one direction
    assert (np.diff(path.effective_dof) > 0).all()
    assert (np.diff(path.losses) < 0).all()
    assert (np.diff(np.linalg.norm(path.coefs, axis=(1, 2))) > 0).all()


@pytest.mark.parametrize(("n_values", "max_columns", "n_products"), [(15, 30, 1), (14, 30, 0), (15, 29, 0)])
def test_what_follows_from_many_optima_is_what_follows_from_each(n_values, max_columns, n_products, monkeypatch):
    """From half as many values as columns the matrices of all are one product, unless there are many columns."""
    monkeypatch.setattr(path_end, "MAX_PRODUCT_COLUMNS", max_columns)
    X, y = standardised(load_breast_cancer)
    X, products, grams = X[:, :29], [], Design.grams
    monkeypatch.setattr(Design, "grams", lambda design, weights: products.append(1) or grams(design, weights))
    path = logistic_path(X, y, Cs=np.logspace(-2, 2, n_values), standard_errors=True, tol=TIGHT)
    assert len(products) == n_products
    for place in (0, 7, -1):
        alone = logistic_path(X, y, Cs=[path.Cs[place]], standard_errors=True, tol=TIGHT)
        assert path.effective_dof[place] == pytest.approx(alone.effective_dof[0], rel=1e-8)
        assert path.log_evidences[place] == pytest.approx(alone.log_evidences[0], rel=1e-8)
        assert path.losses[place] == pytest.approx(alone.losses[0], rel=1e-12)
        np.testing.assert_allclose(path.standard_errors[place], alone.standard_errors[0], rtol=1e-7)


def test_names_labels_far_columns_and_storage():
    X, y = load_iris(return_X_y=True)
    X = X + np.array([0.0, 0.0, 2000.0, 0.0])
    names = np.array(["red", "green", "blue"])[y]
    path = logistic_path(pd.DataFrame(X, columns=list("abcd")), names, Cs=[0.1, 1.0], tol=TIGHT, standard_errors=True)
    assert list(path.feature_names) == list("abcd")
    assert list(path.classes) == ["blue", "green", "red"]
    single = NaturalGradientLogisticRegression(store_covariance=True, tol=TIGHT).fit(X, names)
    np.testing.assert_allclose(path.coefs[1], single.coef_, atol=1e-8)
    np.testing.assert_allclose(path.intercepts[1], single.intercept_, rtol=1e-7)
    errors = np.sqrt(single.covariance_.diagonal()).reshape(3, 5)
    np.testing.assert_allclose(path.standard_errors[1], errors, rtol=1e-6)
    assert path.feature_names is not None
    stored = logistic_path(sparse.csr_array(X), y, Cs=[0.1, 1.0], tol=TIGHT)
    dense = logistic_path(X, y, Cs=[0.1, 1.0], tol=TIGHT)
    np.testing.assert_allclose(stored.coefs, dense.coefs, atol=1e-7)
    assert dense.feature_names is None


def test_more_columns_than_a_matrix_has_room_for(monkeypatch):
    limits = NaturalGradientLogisticRegression._limits
    X, y = standardised(load_wine)
    expected = logistic_path(X, y, Cs=CS, tol=TIGHT)
    monkeypatch.setattr(NaturalGradientLogisticRegression, "_limits", limits._replace(matrix_bytes=1000))
    fits = counted(monkeypatch)
    path = logistic_path(X, y, Cs=CS, tol=TIGHT)
    assert len(fits) == 3
    np.testing.assert_allclose(path.coefs, expected.coefs, atol=1e-7)
    assert np.isnan([path.effective_dof, path.log_evidences]).all()
    with pytest.raises(ValueError, match="pass standard_errors=False"):
        logistic_path(X, y, standard_errors=True)


def test_without_a_penalty():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    y = rng.integers(3, size=400)
    path = logistic_path(X, y, Cs=[1.0, np.inf], standard_errors=True)
    # two contrasts of three independent columns and the intercept
    assert path.effective_dof[1] == pytest.approx(8.0, abs=1e-6)
    assert path.effective_dof[0] < 8.0
    assert np.isfinite(path.log_evidences[0])
    assert np.isnan(path.log_evidences[1])
    separable = StandardScaler().fit_transform(load_iris().data)
    with pytest.warns(SeparationWarning):
        logistic_path(separable, load_iris().target, Cs=[1.0, np.inf])


def test_bad_arguments_get_one_sentence():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="Cs"):
        logistic_path(X, y, Cs=[])
    with pytest.raises(ValueError, match="tol"):
        logistic_path(X, y, tol=-1.0)
    with pytest.raises(ValueError, match="NaN"):
        logistic_path(np.where(X > 7.0, np.nan, X), y)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        logistic_path(X, y, Cs=[1.0], max_iter=1)
