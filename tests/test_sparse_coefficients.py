"""`sparsify` and `densify`: all methods work with sparse coefficients, with the same bits."""

import pickle

import dask.array as da
import numpy as np
import pytest
from problems import make_problem, needed
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence, merge
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.inference import infer
from sknatgrad.plots import CoefficientDisplay, FisherEllipseDisplay, ProbabilityIntervalDisplay


@pytest.fixture(scope="module", params=[(2, np.float64), (3, np.float64), (3, np.float32)], ids=str)
def rows(request):
    """Rows with columns of zeros, whose coefficients are zero."""
    n_classes, dtype = request.param
    problem = make_problem(n_classes, n_rows=120)
    X = np.hstack([problem.X, np.zeros((120, 5))]).astype(dtype)
    return X, problem.codes


@pytest.fixture
def models(rows):
    """A model, and the same with sparse coefficients."""
    settings = {"store_covariance": True, "warm_start": True}
    dense = NaturalGradientLogisticRegression(**settings).fit(*rows)
    return dense, NaturalGradientLogisticRegression(**settings).fit(*rows).sparsify()


def test_coefficients_are_a_sparse_array_and_dense_again(models):
    dense, sparsified = models
    assert sparse.issparse(sparsified.coef_)
    assert sparsified.coef_.format == "csr"
    assert sparsified.coef_.shape == dense.coef_.shape
    assert sparsified.coef_.dtype == dense.coef_.dtype
    assert sparsified.coef_.nnz < dense.coef_.size
    assert sparsified.sparsify() is sparsified
    assert sparsified.densify() is sparsified
    assert isinstance(sparsified.coef_, np.ndarray)
    np.testing.assert_array_equal(sparsified.densify().coef_, dense.coef_)
    for method in ("sparsify", "densify"):
        with pytest.raises(NotFittedError):
            getattr(NaturalGradientLogisticRegression(), method)()


def predictions(model, X, y):
    return (
        model.decision_function(X),
        model.predict(X),
        model.predict_proba(X),
        model.predict_log_proba(X),
        model.score(X, y),
        model.decision_function_std(X),
        model.predict_proba_interval(X),
        model.predict_proba_averaged(X),
        model.predict_proba_averaged(X, "monte_carlo", n_draws=5, random_state=0),
        *model.sample_coef(2, random_state=0),
    )


def geometry(model, X, y):
    other = clone(model).set_params(max_iter=3, tol=1.0).fit(X, y)
    return fisher_information(model, X), kl_divergence(model, other, X)


def inference(model, X, y):
    result = infer(model, X, y)
    return result.params, result.covariance, result.marginal_effects().effects, result.loglik


def pickled(model, X, _):
    return pickle.loads(pickle.dumps(model)).predict_proba(X), clone(model).get_params()["C"]  # noqa: S301 - our own


def further_fits(model, X, y):
    """They make the coefficients dense."""
    warm = pickle.loads(pickle.dumps(model)).fit(X, y)  # noqa: S301 - our own
    stream = pickle.loads(pickle.dumps(model)).partial_fit(X[:60], y[:60])  # noqa: S301 - our own
    batches = pickle.loads(pickle.dumps(model)).fit_batches([(X[::2], y[::2]), (X[1::2], y[1::2])])  # noqa: S301
    assert not any(sparse.issparse(each.coef_) for each in (warm, stream, batches))
    later = NaturalGradientLogisticRegression(prior=model).fit(X, y)
    other = NaturalGradientLogisticRegression(store_covariance=True, warm_start=True).fit(X, y)
    return warm.coef_, stream.coef_, batches.coef_, later.coef_, merge([model, other]).coef_


def chunks(model, X, y):
    lazy = DaskNaturalGradientLogisticRegression(**model.get_params())
    vars(lazy).update(vars(model))
    blocks = da.from_array(X, chunks=(50, -1)), da.from_array(y, chunks=50)
    return lazy.predict_proba(blocks[0]).compute(), lazy.score(*blocks), lazy.predict(blocks[0]).compute()


def graph(model, X, _):
    skl2onnx = needed("skl2onnx", "skl2onnx is not installed: pip install '.[test]'")
    needed("sknatgrad.onnx", "").register_converter()
    return (skl2onnx.to_onnx(model, X[:1]).SerializeToString(),)


@pytest.mark.filterwarnings("ignore::sknatgrad.exceptions.InferenceWarning")
@pytest.mark.parametrize("compute", [predictions, geometry, inference, pickled, further_fits, chunks, graph])
def test_same_results_with_sparse_coefficients(compute, models, rows):
    dense, sparsified = models
    for found, expected in zip(compute(sparsified, *rows), compute(dense, *rows), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::sknatgrad.exceptions.InferenceWarning")
def test_plots_of_sparse_coefficients(models, rows, closed_figures):
    X, y = rows
    dense, sparsified = models
    bars = [CoefficientDisplay.from_estimator(each, X, y).estimates for each in models]
    np.testing.assert_array_equal(*bars)
    curves = [ProbabilityIntervalDisplay.from_estimator(each, X, feature=0).proba for each in (dense, sparsified)]
    np.testing.assert_array_equal(*curves)
    FisherEllipseDisplay.from_estimator(sparsified, X)


def test_inference_of_a_sparsified_model_of_scikit_learn(rows):
    X, y = rows
    model = LogisticRegression(max_iter=1000).fit(X.astype(np.float64), y)
    expected = infer(model, X, y, covariance="frequentist").covariance
    np.testing.assert_array_equal(infer(model.sparsify(), X, y, covariance="frequentist").covariance, expected)
