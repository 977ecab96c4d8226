"""Predictions: block by block, from any storage, with values of X that are not finite found wherever they are."""

import numpy as np
import pytest
from problems import make_problem
from scipy import sparse, special

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.categorical import probabilities

METHODS = ["decision_function", "predict_proba", "predict_log_proba"]


def fitted(n_classes, dtype=np.float64):
    problem = make_problem(n_classes)
    X = problem.X.astype(dtype)
    return NaturalGradientLogisticRegression().fit(X, problem.codes), X


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, sparse.csr_array, np.float32])
def test_blocks_change_nothing(method, n_classes, convert, limits):
    model, X = fitted(n_classes)
    expected = getattr(model, method)(X)
    limits(block_bytes=1, min_block_rows=7)
    rtol, atol = (1e-5, 1e-6) if convert is np.float32 else (1e-12, 0)
    np.testing.assert_allclose(getattr(model, method)(convert(X)), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_values_that_are_not_finite_are_refused(method, value, convert, limits):
    model, X = fitted(2)
    limits(block_bytes=1, min_block_rows=7)
    X[-1, 1] = value
    with pytest.raises(ValueError, match=rf"contains (NaN|infinity) at row {len(X) - 1}, column 1 \(1 in total\)"):
        getattr(model, method)(convert(X))


def test_a_coefficient_of_zero_hides_no_nan():
    model, X = fitted(2)
    model.coef_[0, 1] = 0.0
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN at row 3, column 1"):
        model.predict_proba(X)


def test_an_array_after_a_table_of_other_names_has_no_names():
    pd = pytest.importorskip("pandas")
    model, X = fitted(2)
    named = NaturalGradientLogisticRegression().fit(pd.DataFrame(X).add_prefix("x"), model.predict(X))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        named.predict(X)
    named.fit(X, model.predict(X))
    assert not hasattr(named, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 1 features, but NaturalGradientLogisticRegression is expecting"):
        named.predict(X[:, :1])


@pytest.mark.parametrize("n_logits", [1, 3])
def test_probabilities_are_those_of_scipy(n_logits):
    logits = 20.0 * np.random.default_rng(0).normal(size=(500, n_logits))
    both = np.hstack([np.zeros_like(logits), logits]) if n_logits == 1 else logits
    np.testing.assert_allclose(probabilities(logits), special.softmax(both, axis=1), rtol=1e-13)


@pytest.mark.parametrize("size", [700.0, 720.0, 1e4, 1e308])
def test_probabilities_of_extreme_logits(size):
    proba = probabilities(np.array([[size], [-size]]))
    np.testing.assert_array_equal(proba, proba[::-1, ::-1])
    assert proba[0, 1] == 1.0
    assert proba[0, 0] == pytest.approx(np.exp(-size) if size < 709 else 0.0, rel=1e-13, abs=1e-308)
