"""Leverages, residuals, Cook's distances and leave-one-out losses, against R, statsmodels and fits without a row."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from problems import in_chunks, make_problem, needed
from scipy import sparse
from scipy.special import log_softmax
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._solver import leave_one_out
from sknatgrad._solver.many_models import Descended
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer, influence

# R 4.2.2, d <- iris[51:150, ], y <- d$Species == "virginica", fit <- glm(y ~ ., binomial, d[1:4], weights = w,
# control = glm.control(epsilon = 1e-14, maxit = 50)), for weights of 1 and of 1, 2, 3, 1, ...; of rows 21, 34, 28, 84,
# 89 and 1: hatvalues, cooks.distance, residuals of type deviance, rstandard, residuals of type pearson, rstandard of
# type pearson, residuals of type working, and influence(fit)$coefficients with the intercept last, which R computes
# with deviance residuals in place of those of type pearson
ROWS = np.array([21, 34, 28, 84, 89, 1]) - 1
R_OF_UNIT_WEIGHTS = """
5.21769361529e-01 3.10370200501e-01 -1.01874608658e+00 -1.47315096739e+00 -8.24751511377e-01 -1.19262640892e+00
-1.68021505552e+00 1.12581029714e+00 -4.89740530155e+00 1.72035798484e+00 4.97672622593e+00 -1.04507870914e+01
1.91035909221e-01 3.82675888934e-01 -2.01104621057e+00 -2.23592601014e+00 -2.56019055615e+00 -2.84647693589e+00
-7.55457568379e+00 1.45941918249e+00 7.59956514627e-01 -3.52281007476e+00 -1.82178722444e-01 6.04807293420e+00
4.00049620893e-01 8.47652484280e-02 -8.03802384539e-01 -1.03774732883e+00 -6.17521840414e-01 -7.97250235519e-01
-1.38133322339e+00 -1.51661607107e+00 -6.49827852514e-01 1.20522915907e+00 4.85701229064e-01 4.06004299252e+00
4.03163759287e-01 8.78516769858e-01 1.78065146938e+00 2.30489597395e+00 1.97003741047e+00 2.55003933897e+00
4.88104739867e+00 -5.87988662250e-01 4.82374466095e+00 -3.61051354906e-01 -1.43169041003e+01 1.64947503525e+01
2.24210333974e-01 3.68400389311e-02 8.96390864223e-01 1.01771324472e+00 7.03171434705e-01 7.98342454138e-01
1.49445006658e+00 -6.70872848182e-02 2.61121888936e-01 -3.50320929902e-01 1.34227163417e+00 -5.64799261217e-01
3.12008696385e-04 7.31608886280e-10 -4.84082451760e-03 -4.84157988404e-03 -3.42298986953e-03 -3.42352399583e-03
-1.00001171686e+00 -7.66079109405e-05 -2.85872044998e-04 3.01760932083e-04 6.90995141636e-04 -1.37601218301e-03
"""
R_OF_WEIGHTS = """
7.72718277193e-01 4.75648881153e+00 -1.59732571629e+00 -3.35051238274e+00 -1.26090440584e+00 -2.64484305369e+00
-1.52995997356e+00 -7.19386650229e-01 -1.93551839030e+01 2.07748293683e+01 2.53323908187e+01 -8.57259479593e+01
7.06108869243e-02 9.98948795808e-01 -2.87358167878e+00 -2.98074452992e+00 -7.81660855341e+00 -8.10810890121e+00
-6.20993692772e+01 1.66413481022e+00 2.33768586208e+00 -6.83692265359e+00 -5.19011161461e+00 2.51414547660e+01
3.05584203847e-01 5.33139413222e-02 -8.37989587183e-01 -1.00560824728e+00 -6.48574004620e-01 -7.78304859625e-01
-1.42064823947e+00 -1.34404232111e+00 -4.31960579140e-01 1.83217130535e+00 2.62888162125e-01 -1.14551085340e-01
8.51846058792e-01 2.18104478785e+01 1.99142328924e+00 5.17376832017e+00 1.67629304861e+00 4.35505194555e+00
1.93665279494e+00 -1.18595367787e+01 3.92964140048e+00 4.20745083395e+01 -1.97091983686e+01 -1.08075526577e+02
2.28749867592e-01 7.59615347906e-02 1.26701629946e+00 1.44272838387e+00 9.93794739612e-01 1.13161596989e+00
1.49381399224e+00 1.97033623877e-01 -9.32423192312e-02 -4.76629962329e-01 1.96691908832e+00 -1.59023646873e+00
2.18348533224e-05 2.09515905765e-12 -9.79543720961e-04 -9.79554415233e-04 -6.92642090548e-04 -6.92649652541e-04
-1.00000047975e+00 -8.75605645193e-06 -1.58398635024e-05 3.77703328495e-05 3.79404816826e-05 -1.49537111440e-04
"""
# Leave-one-out log losses of this package's fits without each row, tol=1e-12, at C of 0.01, 0.1, 1, 10 and 100.
BRUTE_FORCE = {
    load_iris: (0.61357, 0.30959, 0.12963, 0.07241, 0.07392),
    load_wine: (0.26944, 0.13802, 0.09872, 0.11506, 0.15487),
    load_breast_cancer: (0.12214, 0.12184, 0.11303, 0.10505, 0.09525),
}


def influence_of(model, X, y, sample_weight=None):
    """Return the influence without the warnings of standard errors, which are not asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        return influence(model, X, y, sample_weight=sample_weight)


def figures_of(result, errors):
    columns = (
        result.leverage,
        result.cooks_distance,
        result.deviance_residuals,
        result.standardised_deviance_residuals,
        result.pearson_residuals,
        result.standardised_pearson_residuals,
        result.working_residuals,
        result.dfbetas()[:, 0] * errors,
    )
    return np.column_stack(columns)


@pytest.mark.parametrize(("printed", "weight"), [(R_OF_UNIT_WEIGHTS, [1.0]), (R_OF_WEIGHTS, [1.0, 2.0, 3.0])])
def test_as_in_r(printed, weight):
    X, y = load_iris(return_X_y=True)
    X, y, weight = X[50:], y[50:], np.resize(weight, 100)
    model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-14).fit(X, y, weight)
    errors = infer(model, X, y, sample_weight=weight).standard_errors[0]
    expected = np.array(printed.split(), dtype=float).reshape(len(ROWS), -1)
    expected[:, 7:] *= (expected[:, 4] / expected[:, 2])[:, None]
    found = figures_of(influence_of(model, X, y, weight), errors)[ROWS]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_as_in_statsmodels(spector):
    X, y = np.asarray(spector.exog)[:, :3], np.asarray(spector.endog)
    model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-14).fit(X, y)
    other = sm.GLM(y, np.column_stack([X, np.ones(len(y))]), family=sm.families.Binomial()).fit(tol=1e-14)
    expected, result = other.get_influence(), influence_of(model, X, y)
    np.testing.assert_allclose(result.leverage, expected.hat_matrix_diag, rtol=1e-8)
    np.testing.assert_allclose(result.cooks_distance, expected.cooks_distance[0], rtol=1e-8)
    np.testing.assert_allclose(result.standardised_pearson_residuals, expected.resid_studentized, rtol=1e-8)
    np.testing.assert_allclose(result.dfbetas()[:, 0] * other.bse, expected.d_params, rtol=1e-7, atol=1e-12)


def fit_of(problem, **parameters):
    model = NaturalGradientLogisticRegression(tol=1e-14, **parameters)
    return model.fit(problem.X, problem.codes, sample_weight=problem.weight)


def step_without(problem, prior, index):
    """Return the Newton step of the other rows from the fit, row by row, in the contrasts against class 0."""
    n_classes = len(problem.theta) + (len(problem.theta) == 1)
    theta = problem.theta if n_classes == 2 else problem.theta[1:] - problem.theta[:1]
    logits = np.column_stack([np.zeros(len(problem.X)), problem.design @ theta.T])
    p = np.exp(log_softmax(logits, axis=1))
    k, d = theta.shape
    shares = np.eye(k) if n_classes == 2 else np.eye(k) - 1.0 / n_classes
    gradient = (np.kron(shares, np.diag(prior)) @ theta.ravel()).reshape(k, d)
    information = np.kron(shares, np.diag(prior))
    for i, (x, s) in enumerate(zip(problem.design, problem.weight, strict=True)):
        if i != index:
            residual = p[i, 1:] - (np.arange(1, n_classes) == problem.codes[i])
            gradient = gradient + s * np.outer(residual, x)
            scores = np.diag(p[i, 1:]) - np.outer(p[i, 1:], p[i, 1:])
            information = information + s * np.kron(scores, np.outer(x, x))
    return -np.linalg.solve(information, gradient.ravel()).reshape(k, d), information


@pytest.mark.parametrize("n_classes", [2, 4])
def test_one_newton_step_without_a_row(n_classes):
    problem = make_problem(n_classes, n_rows=60)
    model = fit_of(problem, C=2.0)
    theta = np.column_stack([model.coef_, model.intercept_])
    problem = problem._replace(theta=theta)
    prior = np.append(np.full(theta.shape[1] - 1, 0.5), 0.0)
    result = influence_of(model, problem.X, problem.codes, problem.weight)
    errors = infer(model, problem.X, problem.codes, sample_weight=problem.weight).standard_errors
    changes = -result.dfbetas() * errors
    _, whole = step_without(problem, prior, None)
    for index in (0, 7, int(np.argmin(problem.weight)), 31):
        step, _ = step_without(problem, prior, index)
        np.testing.assert_allclose(changes[index], step, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            result.rows.without[index] - result.rows.logits[index], step @ problem.design[index], rtol=1e-6, atol=1e-9
        )
        distance = step.ravel() @ whole @ step.ravel() / step.size
        assert result.cooks_distance[index] == pytest.approx(distance, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_leverages_add_up_to_the_effective_number_of_coefficients(n_classes):
    problem = make_problem(n_classes, n_rows=80)
    model = fit_of(problem, C=0.3)
    result = influence_of(model, problem.X, problem.codes, problem.weight)
    expected = infer(model, problem.X, problem.codes, sample_weight=problem.weight).effective_dof
    assert result.leverage.sum() == pytest.approx(expected, rel=1e-10)


def test_residuals_of_several_classes():
    problem = make_problem(4, n_rows=80)
    model = fit_of(problem, C=0.3)
    result = influence_of(model, problem.X, problem.codes, problem.weight)
    p, observed = model.predict_proba(problem.X), np.eye(4)[problem.codes]
    roots = np.sqrt(problem.weight)[:, None]
    np.testing.assert_allclose(result.pearson_residuals, roots * (observed - p) / np.sqrt(p * (1 - p)), rtol=1e-9)
    assert (abs(result.standardised_pearson_residuals) >= abs(result.pearson_residuals)).all()
    for i, working in enumerate(result.working_residuals[:5]):
        scores = np.diag(p[i, 1:]) - np.outer(p[i, 1:], p[i, 1:])
        np.testing.assert_allclose(scores @ working, (observed - p)[i, 1:], rtol=1e-9, atol=1e-12)
    own = p[np.arange(80), problem.codes]
    np.testing.assert_allclose(result.deviance_residuals**2, -2.0 * problem.weight * np.log(own), rtol=1e-9)


@pytest.mark.parametrize("C", range(5), ids=["0.01", "0.1", "1", "10", "100"])
@pytest.mark.parametrize("loader", BRUTE_FORCE)
def test_the_leave_one_out_loss_is_that_of_fits_without_each_row(loader, C):
    X, y = loader(return_X_y=True)
    model = NaturalGradientLogisticRegression(C=(0.01, 0.1, 1.0, 10.0, 100.0)[C]).fit(X, y)
    result = influence_of(model, X, y)
    # the largest error is 2e-5
    assert abs(result.loo_loss - BRUTE_FORCE[loader][C]) < 5e-5
    assert result.n_refits < 60


def test_rows_that_change_much_are_fitted_without():
    X, y = load_wine(return_X_y=True)
    weight = np.resize([1.0, 1.0, 2.0, 0.0], len(y))
    model = NaturalGradientLogisticRegression(C=10.0, tol=1e-12).fit(X, y, weight)
    result = influence_of(model, X, y, weight)
    changed = np.flatnonzero((result.loo_logits != result.rows.without).any(axis=1))
    assert 5 < len(changed) <= result.n_refits
    for index in changed[:4]:
        without = weight.copy()
        without[index] = 0.0
        logits = NaturalGradientLogisticRegression(C=10.0, tol=1e-12).fit(X, y, without).decision_function(X[[index]])
        np.testing.assert_allclose(result.loo_logits[index], logits[0, 1:] - logits[0, 0], rtol=1e-4)


def test_rows_without_weight_are_not_in_the_fit():
    problem = make_problem(4, n_rows=60)
    model = fit_of(problem, C=1.0)
    result = influence_of(model, problem.X, problem.codes, problem.weight)
    absent = problem.weight == 0.0
    assert absent.any()
    for values in (result.leverage, result.cooks_distance, result.deviance_residuals, result.dfbetas()):
        assert not values[absent].any()
    np.testing.assert_array_equal(result.loo_logits[absent], result.rows.logits[absent])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_parts_of_rows_and_other_storage_have_the_same_influence(n_classes):
    problem = make_problem(n_classes, n_rows=90)
    model = fit_of(problem, C=1.0)
    whole = influence_of(model, problem.X, problem.codes, problem.weight)
    sparse_result = influence_of(model, sparse.csr_array(problem.X), problem.codes, problem.weight)
    model._limits = Limits(row_bytes=1, block_bytes=1, min_block_rows=13)
    in_parts = influence_of(model, problem.X, problem.codes, problem.weight)
    for other in (sparse_result, in_parts):
        np.testing.assert_allclose(other.leverage, whole.leverage, rtol=1e-9)
        np.testing.assert_allclose(other.loo_logits, whole.loo_logits, rtol=1e-9)
        np.testing.assert_allclose(other.dfbetas(), whole.dfbetas(), rtol=1e-7, atol=1e-12)


def test_columns_far_from_zero_and_aliased_ones():
    problem = make_problem(2, n_rows=90)
    model = NaturalGradientLogisticRegression(C=np.inf, tol=1e-14).fit(problem.X, problem.codes, problem.weight)
    expected = influence_of(model, problem.X, problem.codes, problem.weight)
    X = problem.X + np.array([1e3, 0.0, 0.0])
    far = np.column_stack([X, X[:, 0] - X[:, 1]])
    other = NaturalGradientLogisticRegression(C=np.inf, tol=1e-10).fit(far, problem.codes, problem.weight)
    found = influence_of(other, far, problem.codes, problem.weight)
    np.testing.assert_allclose(found.leverage, expected.leverage, rtol=1e-6)
    np.testing.assert_allclose(found.loo_losses, expected.loo_losses, rtol=1e-6)
    n_features = problem.X.shape[1]
    dfbetas, before = found.dfbetas()[:, 0], expected.dfbetas()[:, 0]
    np.testing.assert_allclose(dfbetas[:, :n_features], before[:, :n_features], rtol=1e-5, atol=1e-8)
    assert np.isnan(dfbetas[:, n_features]).all()
    # the intercept is the logit at columns of 0, far outside the rows
    assert np.isfinite(dfbetas[:, -1]).all()


def test_a_row_that_alone_determines_a_coefficient_is_fitted_without():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=80), np.zeros(80)])
    X[3, 1] = 1.0
    y = rng.integers(0, 2, size=80)
    model = NaturalGradientLogisticRegression(C=100.0).fit(X, y)
    result = influence_of(model, X, y)
    assert result.n_refits >= 1
    without = np.delete(np.arange(80), 3)
    refit = NaturalGradientLogisticRegression(C=100.0).fit(X[without], y[without])
    assert result.loo_logits[3, 0] == pytest.approx(refit.decision_function(X[[3]])[0], rel=1e-3)


def test_models_of_scikit_learn_and_tables():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = (X - X.mean()) / X.std()
    model = LogisticRegression(tol=1e-10, max_iter=1000).fit(X, y)
    ours = NaturalGradientLogisticRegression().fit(X, y)
    frame, other = influence_of(ours, X, y).to_frame(), influence_of(model, X, y).to_frame()
    np.testing.assert_allclose(frame["loo_loss"], other["loo_loss"], rtol=1e-4, atol=1e-8)
    assert list(frame) == [
        "leverage",
        "cooks_distance",
        "deviance_residual",
        "standardised_deviance_residual",
        "loss",
        "loo_loss",
    ]
    # the loss of a row is larger without it
    assert (frame["loo_loss"] >= frame["loss"] - 1e-9).all()


def test_unreliable_fits_are_told():
    X, y = load_iris(return_X_y=True)
    model = NaturalGradientLogisticRegression(C=np.inf, max_iter=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[50:], y[50:])
    with pytest.warns(InferenceWarning, match=r"^These influences are unreliable: the fit has not converged"):
        influence(model, X[50:], y[50:])


def test_other_data_and_other_estimators_are_refused():
    X, y = load_iris(return_X_y=True)
    model = NaturalGradientLogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="are not those of the fit"):
        influence(model, X[:100], y[:100])
    with pytest.raises(ValueError, match="estimator is a str; it must be"):
        influence("model", X, y)
    with pytest.raises(ValueError, match=r"X has 3 features"):
        influence(model, X[:, :3], y)
    dask_array = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match=r"X is a Dask collection; pass it to sknatgrad\.dask\.influence"):
        influence(model, dask_array.from_array(X), y)


def test_columns_that_nearly_depend_on_each_other():
    """H is formed for combinations of the columns; the changes are those of the columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = (X[:, 0] + rng.logistic(size=300) > 0).astype(int)
    near = np.column_stack([X[:, 0], X[:, 0] + 1e-5 * X[:, 1]])
    fits = [NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(each, y) for each in (X, near)]
    plain, of_near = (influence_of(fit, each, y) for fit, each in zip(fits, (X, near), strict=True))
    assert of_near.covariance.basis is not None
    assert of_near.classes == (0, 1)
    np.testing.assert_allclose(of_near.leverage, plain.leverage, rtol=1e-4)
    np.testing.assert_allclose(of_near.loo_losses, plain.loo_losses, rtol=1e-4)
    # the coefficient of the second column is that of the difference
    dfbetas, expected = of_near.dfbetas()[:, 0], plain.dfbetas()[:, 0]
    np.testing.assert_allclose(dfbetas[:, 1:], expected[:, 1:], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("kind", ["far", "collinear", "plain"])
def test_dask_collections_have_the_influence_of_rows_in_memory(n_classes, kind, monkeypatch):
    of_chunks = needed("sknatgrad.dask", "Dask is not installed").influence
    problem = make_problem(n_classes, n_rows=90)
    X = problem.X + np.array([1e4, 0.0, 0.0]) if kind == "far" else problem.X
    if kind == "collinear":
        X = np.column_stack([X, X[:, 0] + 1e-5 * np.random.default_rng(0).normal(size=90)])
    model = NaturalGradientLogisticRegression(C=np.inf if kind == "collinear" else 10.0, tol=1e-12)
    model.fit(X, problem.codes, problem.weight)
    expected = influence_of(model, X, problem.codes, problem.weight)
    chunks = in_chunks(X, problem.codes, problem.weight, rows=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        result = of_chunks(model, *chunks[:2], sample_weight=chunks[2])
    assert result.n_refits == expected.n_refits > 0
    atol = 1e-5 if kind == "collinear" else 1e-9
    for name in ("leverage", "cooks_distance", "loo_losses", "standardised_pearson_residuals"):
        np.testing.assert_allclose(getattr(result, name), getattr(expected, name), rtol=1e-6, atol=atol)
    np.testing.assert_allclose(result.dfbetas(), expected.dfbetas(), rtol=1e-4, atol=1e-4)
    # fits that do not go on together are descents of their own
    monkeypatch.setattr(leave_one_out, "descend_together", _unfinished)
    alone = of_chunks(model, *chunks[:2], sample_weight=chunks[2]) if kind == "plain" else result
    np.testing.assert_allclose(alone.loo_losses, expected.loo_losses, atol=1e-3 if kind == "plain" else atol)


def _unfinished(_models, starts, factors, _ending):
    """Return the ends of descents that do not converge."""
    theta, n_models = starts[0].theta, len(factors)
    return Descended(theta, np.zeros(n_models, dtype=int), np.zeros(n_models, dtype=bool), ())


def test_influence_of_dask_takes_what_the_function_in_memory_takes():
    of_chunks = needed("sknatgrad.dask", "Dask is not installed").influence
    X, y = load_iris(return_X_y=True)
    model = NaturalGradientLogisticRegression().fit(X, y)
    expected = influence(model, X, y)
    np.testing.assert_array_equal(of_chunks(model, X, y).loo_losses, expected.loo_losses)
    frame = of_chunks(model, *in_chunks(X, y, rows=40)).to_frame()
    np.testing.assert_allclose(frame.loo_loss, expected.loo_losses, rtol=1e-6)
    with pytest.raises(ValueError, match="are not those of the fit"):
        of_chunks(model, *in_chunks(X[:100], y[:100], rows=40))
