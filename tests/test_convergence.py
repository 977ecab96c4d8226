"""Every metric reaches the optimum of scikit-learn's newton-cholesky on raw data, or says by how much it has not."""

import re
import warnings
from functools import cache

import numpy as np
import pytest
from problems import DATASETS, FISHERS
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression


def objective(X, y, model, C):
    """J/S of any fitted model with these classes, by its log-probabilities."""
    codes = np.searchsorted(model.classes_, y)
    logits = X @ model.coef_.T + model.intercept_
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    logits = logits - logits.max(axis=1, keepdims=True)
    log_proba = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = -log_proba[np.arange(len(y)), codes].sum()
    return (loss + 0.5 / C * (model.coef_**2).sum()) / len(y)


@cache
def oracle(name, C):
    X, y = DATASETS[name](return_X_y=True)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # it complains of its own rounding at this tolerance
        warnings.simplefilter("ignore")
        reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=10_000).fit(X, y)
    return objective(X, y, reference, C)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("name", list(DATASETS))
@pytest.mark.parametrize("fisher", FISHERS)
def test_optimum_on_unscaled_data(fisher, name, C):
    X, y = DATASETS[name](return_X_y=True)
    model = NaturalGradientLogisticRegression(fisher=fisher, C=C, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    gap = objective(X, y, model, C) / oracle(name, C) - 1
    assert gap > -1e-12
    assert model.loss_curve_[-1] == pytest.approx(objective(X, y, model, C), rel=1e-10)
    if fisher == "true":
        assert model.converged_
        assert model.n_iter_ <= 20
    if model.converged_:
        assert not caught
        assert gap <= 1e-8
    else:
        assert [warning.category for warning in caught] == [ConvergenceWarning]
        message = str(caught[0].message)
        assert "raise max_iter or use fisher='true'" in message
        assert f"{model.n_iter_[0]} iterations" in message
        # the estimate of what is left is one of the right order, once the model is near enough to be quadratic
        left = float(re.search(r"estimates it, ([\d.e+-]+)", message).group(1))
        if gap < 1e-2:
            assert left == pytest.approx(gap * oracle(name, C), rel=0.2)


@pytest.mark.parametrize(
    ("fisher", "name", "C"),
    [
        ("diagonal", "wine", 1.0),
        ("diagonal", "breast_cancer", 0.01),
        ("kronecker", "iris", 100.0),
        ("monte_carlo", "wine", 100.0),
        ("identity", "iris", 1.0),
        ("identity", "iris", 0.01),
    ],
)
def test_slow_metrics_get_there_with_more_iterations(fisher, name, C):
    X, y = DATASETS[name](return_X_y=True)
    model = NaturalGradientLogisticRegression(fisher=fisher, C=C, max_iter=5000, random_state=0).fit(X, y)
    assert model.converged_
    assert abs(objective(X, y, model, C) / oracle(name, C) - 1) <= 1e-8


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("fisher", FISHERS)
def test_coefficients_are_those_of_scikit_learn(fisher, C):
    X, y = DATASETS["wine"](return_X_y=True)
    rng = np.random.default_rng(0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = np.where(rng.uniform(size=len(y)) < 0.3, rng.integers(0, 3, len(y)), y)
    model = NaturalGradientLogisticRegression(fisher=fisher, C=C, max_iter=5000, random_state=0).fit(X, y)
    reference = LogisticRegression(C=C, solver="lbfgs", tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(model.coef_, reference.coef_ - reference.coef_.mean(axis=0), atol=1e-5)
