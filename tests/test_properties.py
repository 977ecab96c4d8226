"""Generated tables of any shape, scale, weights, type and container: no error, no NaN, a loss that never rises."""

import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import FISHERS, as_kinds
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression

settings.register_profile(
    "suite", deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@st.composite
def tables(draw):
    """X, y and weights: correlated, of wild scales, with ties, zeros and repeated columns."""
    n_classes = draw(st.integers(2, 5))
    n_rows = draw(st.integers(n_classes, 40))
    n_features = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n_rows, n_features))
    if draw(st.booleans()):
        X = X @ rng.normal(size=(n_features, n_features))
    if draw(st.booleans()):
        X = np.round(X)
    X = X * 10.0 ** rng.uniform(*draw(st.sampled_from([(0, 0), (-8, 8), (8, 8), (-8, -8)])), size=n_features)
    if draw(st.booleans()):
        X[:, -1] = X[:, 0]
    if draw(st.booleans()):
        X = X + 100 * X.std()
    y = rng.permutation(np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n_rows - n_classes)]))
    weight = draw(st.sampled_from(["none", "counts", "wild"]))
    if weight == "counts":
        weights = rng.integers(0, 4, n_rows).astype(float)
        weights[np.unique(y, return_index=True)[1]] = 1.0
        return X, y, weights
    return X, y, 10.0 ** rng.uniform(-6, 6, n_rows) if weight == "wild" else None


@given(
    table=tables(),
    fisher=st.sampled_from(FISHERS),
    C=st.sampled_from([1e-6, 1.0, 1e6, np.inf]),
    fit_intercept=st.booleans(),
    kind=st.sampled_from(["C", "F", "csr_matrix", "csr_array", "coo_array"]),
    dtype=st.sampled_from([np.float64, np.float32, np.int64]),
    damping=st.sampled_from([0.0, 1e-3, 10.0]),
    max_kl=st.sampled_from([None, 0.1]),
)
def test_any_table_is_fitted(table, fisher, C, fit_intercept, kind, dtype, damping, max_kl):
    X, y, weight = table
    X = as_kinds(X)[kind].astype(dtype)
    model = NaturalGradientLogisticRegression(
        fisher=fisher, C=C, fit_intercept=fit_intercept, damping=damping, max_kl=max_kl, max_iter=50, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, weight)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert np.isfinite(model.loss_curve_).all()
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert (np.array(model.kl_curve_) >= 0).all()
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=4 * np.finfo(proba.dtype).eps)
    assert np.isfinite(model.predict_log_proba(X)).all()
    assert set(model.predict(X)) <= set(y)
