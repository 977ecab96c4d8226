"""Priors: penalties by feature, means other than zero, and earlier models."""

import numpy as np
import pytest
from problems import FISHER_METRICS
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sknatgrad import NaturalGradientLogisticRegression, merge
from sknatgrad.inference import infer

N_FEATURES = 4


def make(n_classes, n_rows=300, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n_rows, N_FEATURES))
    theta = np.random.default_rng(99).normal(size=(n_classes, N_FEATURES))
    return X, (X @ theta.T + random.gumbel(size=(n_rows, n_classes))).argmax(axis=1)


def coefficients(model):
    theta = np.column_stack([model.coef_, model.intercept_])
    return theta if len(theta) == 1 else theta - theta.mean(axis=0)


def minimised(X, y, n_classes, mean, precision, C):
    """The optimum by another minimiser, of the objective written out over all q logits."""
    design = np.column_stack([X, np.ones(len(X))])
    shape = (1 if n_classes == 2 else n_classes, design.shape[1])
    rows = np.arange(len(y))

    def objective(flat):
        logits = design @ flat.reshape(shape).T
        if n_classes == 2:
            logits = np.column_stack([np.zeros(len(X)), logits])
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        residual = odds / odds.sum(axis=1, keepdims=True)
        loss = (np.log(odds.sum(axis=1)) - logits[rows, y]).sum()
        residual[rows, y] -= 1.0
        deviation = flat - mean.ravel()
        slope = (residual[:, -shape[0] :].T @ design).ravel() + precision @ deviation / C
        return loss + 0.5 * deviation @ precision @ deviation / C, slope

    found = minimize(objective, np.zeros(shape[0] * shape[1]), jac=True, method="BFGS", options={"gtol": 1e-8})
    theta = found.x.reshape(shape)
    return theta if n_classes == 2 else theta - theta.mean(axis=0)


def spread(values, shape):
    values = np.asarray(values, dtype=float)
    whole = np.zeros(shape)
    whole[:, : N_FEATURES if values.ndim == 0 else values.shape[-1]] = values
    return whole


KINDS = {
    "numbers": lambda *_: (0.5, 3.0),
    "by feature": lambda random, _: (random.normal(size=N_FEATURES), random.uniform(0, 5, N_FEATURES)),
    "with the intercept": lambda random, _: (
        random.normal(size=N_FEATURES + 1),
        random.uniform(0.1, 5, N_FEATURES + 1),
    ),
    "by class": lambda random, q: (
        random.normal(size=(q, N_FEATURES + 1)),
        random.uniform(0.1, 5, (q, N_FEATURES + 1)),
    ),
    "a matrix": lambda random, q: (random.normal(size=(q, N_FEATURES)), _matrix(random, q * (N_FEATURES + 1))),
}


def _matrix(random, size):
    root = random.normal(size=(size, size))
    return root @ root.T


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", FISHER_METRICS)
@pytest.mark.parametrize("direct", [True, False])
def test_the_optimum_is_that_of_the_objective_written_out(kind, n_classes, fisher, direct, limits):
    limits(direct_products=np.inf if direct else 0.0)
    X, y = make(n_classes)
    shape = (1 if n_classes == 2 else 3, N_FEATURES + 1)
    mean, precision = KINDS[kind](np.random.default_rng(1), shape[0])
    matrix = precision if kind == "a matrix" else np.diag(spread(precision, shape).ravel())
    model = NaturalGradientLogisticRegression(C=2.0, prior=(mean, precision), fisher=fisher, random_state=0).fit(X, y)
    expected = minimised(X, y, n_classes, spread(mean, shape), matrix, 2.0)
    assert model.converged_
    np.testing.assert_allclose(coefficients(model), expected, rtol=0, atol=1e-6)


def test_a_precision_by_class_is_a_matrix_and_refused_where_that_is_too_large():
    X, y = np.random.default_rng(0).normal(size=(30, 12_000)), np.arange(30) % 3
    precision = np.random.default_rng(1).uniform(1, 2, (3, 12_000))
    model = NaturalGradientLogisticRegression(prior=(0.0, precision))
    with pytest.raises(ValueError, match=r"36,003 coefficients .* the same for all classes\.$"):
        model.fit(X, y)
    assert not hasattr(model, "coef_")
    assert model.set_params(prior=(0.0, precision[0])).fit(X, y).converged_


def test_none_is_the_ridge():
    X, y = make(3)
    plain = NaturalGradientLogisticRegression().fit(X, y)
    model = NaturalGradientLogisticRegression(prior=(0.0, 1.0)).fit(X, y)
    assert (model.coef_ == plain.coef_).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
def test_an_earlier_model_counts_as_its_rows_would(n_classes, fisher):
    """To the error of its quadratic model: the two halves are within a tenth of what one half is off by."""
    X, y = make(n_classes, n_rows=4_000)
    earlier = NaturalGradientLogisticRegression(store_covariance=True).fit(X[:2_000], y[:2_000])
    model = NaturalGradientLogisticRegression(prior=earlier, fisher=fisher).fit(X[2_000:], y[2_000:])
    joint = NaturalGradientLogisticRegression().fit(X, y)
    off = abs(model.coef_ - joint.coef_).max()
    assert off < 0.1 * abs(earlier.coef_ - joint.coef_).max()
    alone = NaturalGradientLogisticRegression(prior=earlier, C=np.inf, fisher=fisher).fit(X[2_000:], y[2_000:])
    unpenalised = NaturalGradientLogisticRegression(C=np.inf).fit(X[2_000:], y[2_000:])
    np.testing.assert_allclose(alone.coef_, unpenalised.coef_, atol=1e-8)


@pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
def test_an_earlier_stream_will_do(fisher):
    X, y = make(3, n_rows=3_000)
    earlier = NaturalGradientLogisticRegression(fisher=fisher).partial_fit(X[:2_000], y[:2_000], classes=[0, 1, 2])
    model = NaturalGradientLogisticRegression(prior=earlier, fisher=fisher).fit(X[2_000:], y[2_000:])
    joint = NaturalGradientLogisticRegression().fit(X, y)
    assert abs(model.coef_ - joint.coef_).max() < 0.2
    assert model.converged_


def test_clones_need_a_frozen_model():
    X, y = make(2)
    earlier = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
    frozen = NaturalGradientLogisticRegression(prior=FrozenEstimator(earlier))
    expected = NaturalGradientLogisticRegression(prior=earlier).fit(X, y)
    assert (clone(frozen).fit(X, y).coef_ == expected.coef_).all()
    search = GridSearchCV(frozen, {"C": [0.1, 1.0, 10.0]}, cv=3).fit(X, y)
    assert search.best_estimator_.converged_
    with pytest.raises(ValueError, match=r"prior is a .* that is not fitted: .*FrozenEstimator\(model\)"):
        clone(NaturalGradientLogisticRegression(prior=earlier)).fit(X, y)


def test_a_column_without_entries_has_its_priors_mean():
    X, y = make(2)
    wide = sparse.csr_array(np.hstack([X, np.zeros((len(X), 300))]))
    mean = np.linspace(-1, 1, wide.shape[1])
    model = NaturalGradientLogisticRegression(prior=(mean, 1.0)).fit(wide, y)
    np.testing.assert_allclose(model.coef_[0, N_FEATURES:], mean[N_FEATURES:], atol=1e-8)


@pytest.mark.parametrize("given", [(0.5, 3.0), "model"])
def test_streams_begin_with_it(given):
    X, y = make(3, n_rows=3_000)
    if given == "model":
        given = NaturalGradientLogisticRegression(store_covariance=True).fit(*make(3, seed=5))
    joint = NaturalGradientLogisticRegression(prior=given, store_covariance=True).fit(X, y)
    stream = NaturalGradientLogisticRegression(prior=given, store_covariance=True)
    for start in range(0, 3_000, 500):
        stream.partial_fit(X[start : start + 500], y[start : start + 500], classes=[0, 1, 2])
    continued = NaturalGradientLogisticRegression(prior=given, store_covariance=True).fit(X[:2_000], y[:2_000])
    continued.partial_fit(X[2_000:], y[2_000:])
    for model in (stream, continued):
        np.testing.assert_allclose(model.coef_, joint.coef_, atol=0.02)
    # in one batch it is the fit, but for what streams begin with: a thousandth of a row
    at_once = NaturalGradientLogisticRegression(prior=given, store_covariance=True, tol=1e-12)
    at_once.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(at_once.coef_, joint.coef_, atol=1e-4)
    np.testing.assert_allclose(at_once.covariance_, joint.covariance_, atol=1e-5 * abs(joint.covariance_).max())


def test_pooled_models_share_it_once():
    X, y = make(2, n_rows=4_000)
    halves = [slice(0, 2_000), slice(2_000, 4_000)]
    options = {"prior": (1.0, 20.0), "store_covariance": True}
    models = [NaturalGradientLogisticRegression(**options).fit(X[half], y[half]) for half in halves]
    joint = NaturalGradientLogisticRegression(**options).fit(X, y)
    off = abs(models[0].coef_ - joint.coef_).max()
    assert abs(merge(models).coef_ - joint.coef_).max() < 0.1 * off
    models[1].set_params(prior=(1.0, 21.0))
    with pytest.raises(ValueError, match="models differ"):
        merge(models)
    models = [clone(model).set_params(prior=FrozenEstimator(joint)).fit(X, y) for model in models]
    with pytest.raises(ValueError, match="which would count once for each"):
        merge(models)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_inference_knows_of_mean_and_precision(n_classes):
    X, y = make(n_classes)
    random = np.random.default_rng(1)
    prior = (random.normal(size=N_FEATURES), random.uniform(0.1, 5, N_FEATURES))
    model = NaturalGradientLogisticRegression(prior=prior, store_covariance=True).fit(X, y)
    result = infer(model, X, y)
    if n_classes == 2:
        np.testing.assert_allclose(result.standard_errors[0], np.sqrt(model.covariance_.diagonal()), rtol=1e-8)
    np.testing.assert_allclose(infer(model, X, y, features=[0]).standard_errors[:, 0], result.standard_errors[:, 0])
    matrix = np.eye(model.covariance_.shape[0])
    with pytest.raises(ValueError, match="which infer does not support"):
        infer(NaturalGradientLogisticRegression(prior=(0.0, matrix)).fit(X, y), X, y)


X, Y = make(2)
EARLIER = NaturalGradientLogisticRegression(store_covariance=True).fit(X, Y)
BAD = {
    "three": ((0.0, 1.0, 2.0), "prior is a tuple of 3"),
    "shape": ((np.zeros(3), 1.0), r"prior has a mean of shape \(3,\), where there are 4 features, an intercept and 1 "),
    "matrix": ((0.0, np.eye(4)), r"prior has a precision of shape \(4, 4\)"),
    "NaN": ((0.0, np.nan), "prior has a precision that is not made of finite numbers"),
    "words": (("a", 1.0), "prior has a mean that is not made of finite numbers"),
    "negative": ((0.0, -1.0), "prior has the negative precision -1; each must be >= 0"),
    "indefinite": ((0.0, -np.eye(5)), "not symmetric and positive semi-definite"),
    "skew": ((0.0, np.triu(np.ones((5, 5))) + 5 * np.eye(5)), "not symmetric and positive semi-definite"),
    "forgetful": (NaturalGradientLogisticRegression().fit(X, Y), "keeps no information of its rows; fit it with"),
    "another kind": (LogisticRegression().fit(X, Y), "keeps no information of its rows"),
    "other classes": (
        clone(EARLIER).fit(X, Y + 1),
        r"prior is a model with classes \[1, 2\], but this fit has \[0, 1\]",
    ),
    "other features": (clone(EARLIER).fit(X[:, :2], Y), "prior is a model with features 2, but this fit has 4"),
    "no intercept": (clone(EARLIER).set_params(fit_intercept=False).fit(X, Y), "with fit_intercept False"),
    "a word": ("ridge", "The 'prior' parameter"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_prior_is_refused_in_one_sentence(case):
    given, message = BAD[case]
    model = NaturalGradientLogisticRegression(prior=given)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)
