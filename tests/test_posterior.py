"""Uncertainty of predictions against brute-force covariances, draws and quadrature."""

import tracemalloc

import numpy as np
import pytest
from problems import as_kinds, coefficients, fisher_by_outer_products, fit_problem, make_problem, probabilities
from scipy import integrate, stats
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.posterior import Logits
from sknatgrad.inference import infer

METHODS = ["decision_function_std", "predict_proba_interval", "predict_proba_averaged"]


def fit(problem, C=1.0, **settings):
    return fit_problem(problem, C, store_covariance=True, **settings)


def by_brute_force(problem, model, C):
    """(F + Λ)⁻¹ among coefficients that sum to zero over classes, in an orthonormal basis of those."""
    theta = coefficients(model)
    q, d = theta.shape
    prior = np.diag(np.append(np.full(d - model.fit_intercept, 1 / C), np.zeros(int(model.fit_intercept))))
    basis = np.eye(1) if q == 1 else np.linalg.svd(np.ones((1, q)))[2][1:].T
    basis = np.kron(basis, np.eye(d))
    fisher = fisher_by_outer_products(problem.design, problem.codes, problem.weight, theta)
    return basis @ np.linalg.inv(basis.T @ (fisher + np.kron(np.eye(q), prior)) @ basis) @ basis.T


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("fisher", ["true", "diagonal"])
def test_covariance_is_the_inverse_of_the_true_fisher_information(n_classes, C, intercept, fisher):
    problem = make_problem(n_classes, n_rows=120, intercept=intercept)
    model = fit(problem, C, fit_intercept=intercept, fisher=fisher)
    expected = by_brute_force(problem, model, C)
    np.testing.assert_allclose(model.covariance_, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_covariance_is_that_of_infer(n_classes):
    problem = make_problem(n_classes, n_rows=120)
    model = fit(problem)
    result = infer(model, problem.X, problem.codes, sample_weight=problem.weight)
    size = coefficients(model).shape[1]
    q = len(model.coef_)
    contrasts = np.eye(1) if q == 1 else np.column_stack([-np.ones(q - 1), np.eye(q - 1)])
    up = np.kron(contrasts, np.eye(size))
    np.testing.assert_allclose(up @ model.covariance_ @ up.T, result.covariance, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_layout_has_the_same_covariance(n_classes):
    problem = make_problem(n_classes, n_rows=80, n_features=4)
    X = np.where(np.abs(problem.X) < 0.4, 0.0, problem.X)
    reference = fit(problem._replace(X=X))
    for name, kind in as_kinds(X).items():
        model = fit(problem._replace(X=kind))
        for method in METHODS:
            expected = getattr(reference, method)(X)
            np.testing.assert_allclose(getattr(model, method)(kind), expected, rtol=1e-7, err_msg=f"{name} {method}")


def test_empty_columns_of_a_sparse_table_keep_their_prior():
    problem = make_problem(3, n_rows=12, n_features=30)
    X = np.zeros((12, 30))
    X[:, [2, 7]] = problem.X[:, [2, 7]]
    kinds = as_kinds(X)
    dense, sparse = (fit(problem._replace(X=kinds[name]), 2.0) for name in ("C", "csr_array"))
    np.testing.assert_allclose(sparse.covariance_, dense.covariance_, rtol=1e-8, atol=1e-9)
    # of three coefficients that sum to zero, each has 2/3 of the variance C of a free one
    np.testing.assert_allclose(sparse.covariance_[0, 0], 2.0 * 2 / 3)


def test_results_for_float32_rows_are_float32():
    problem = make_problem(3, n_rows=80)
    model, single = fit(problem), fit(problem._replace(X=problem.X.astype(np.float32)))
    for method in METHODS:
        found = getattr(single, method)(problem.X.astype(np.float32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(model, method)(problem.X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_std_is_that_of_the_linear_form(n_classes):
    problem = make_problem(n_classes, n_rows=120)
    model = fit(problem)
    q, d = coefficients(model).shape
    blocks = model.covariance_.reshape(q, d, q, d)
    expected = np.array([[np.sqrt(x @ blocks[k, :, k, :] @ x) for k in range(q)] for x in problem.design])
    found = model.decision_function_std(problem.X)
    assert found.shape == model.decision_function(problem.X).shape
    np.testing.assert_allclose(found, expected[:, 0] if q == 1 else expected, rtol=1e-10)


def test_interval_of_two_classes_is_that_of_the_log_odds():
    problem = make_problem(2, n_rows=120)
    model = fit(problem)
    logits, std = model.decision_function(problem.X), model.decision_function_std(problem.X)
    for level in (0.5, 0.95):
        z = stats.norm.ppf(0.5 + level / 2)
        found = model.predict_proba_interval(problem.X, level)
        expected = expit(np.stack([logits - z * std, logits + z * std], axis=-1))
        np.testing.assert_allclose(found[:, 1], expected, rtol=1e-10)
        np.testing.assert_allclose(found[:, 0], 1 - expected[:, ::-1], rtol=1e-8)


def test_interval_of_several_classes_is_the_delta_method_on_log_odds_against_the_rest():
    problem = make_problem(4, n_rows=200)
    model = fit(problem)
    theta = coefficients(model)

    def log_odds(flat, x):
        p = probabilities((x @ flat.reshape(theta.shape).T)[None])[0]
        return np.log(p) - np.log1p(-p)

    found = model.predict_proba_interval(problem.X[:20], 0.9)
    for row, x in zip(found, problem.design[:20], strict=True):
        steps = 1e-5 * np.eye(theta.size)
        slopes = np.array([(log_odds(theta.ravel() + h, x) - log_odds(theta.ravel() - h, x)) / 2e-5 for h in steps])
        std = np.sqrt(np.einsum("ik,ij,jk->k", slopes, model.covariance_, slopes))
        centre = log_odds(theta.ravel(), x)
        z = stats.norm.ppf(0.95)
        np.testing.assert_allclose(row, expit(np.column_stack([centre - z * std, centre + z * std])), rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_interval_agrees_with_posterior_draws(n_classes):
    problem = make_problem(n_classes, n_rows=400)
    model = fit(problem)
    draws = np.random.default_rng(0).multivariate_normal(
        coefficients(model).ravel(), model.covariance_, size=20_000, method="eigh"
    )
    rows = problem.design[:30]
    proba = np.array([probabilities(rows @ draw.reshape(coefficients(model).shape).T) for draw in draws])
    found = model.predict_proba_interval(problem.X[:30], 0.9)
    inside = ((found[..., 0] <= proba) & (proba <= found[..., 1])).mean(axis=0)
    # 0.9 within four standard errors of 20,000 draws; of several classes the log-odds are only about normal
    assert np.abs(inside - 0.9).max() < (0.0085 if n_classes == 2 else 0.02)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_intervals_contain_the_prediction_and_lie_between_0_and_1(n_classes):
    problem = make_problem(n_classes, n_rows=60)
    model = fit(problem)
    out_of_core = problem.X * 10.0 ** np.linspace(-3, 6, 60)[:, None]
    proba, found = model.predict_proba(out_of_core), model.predict_proba_interval(out_of_core)
    assert (found[..., 0] <= proba).all()
    assert (proba <= found[..., 1]).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert np.isfinite(model.predict_proba_averaged(out_of_core)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_huge_rows_have_no_nan(n_classes):
    problem = make_problem(n_classes, n_rows=60)
    model = fit(problem)
    for method in METHODS:
        assert not np.isnan(getattr(model, method)(problem.X * 1e200)).any()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.0, 2.0), (-3.0, 0.5), (4.0, 4.0)])
def test_probit_is_near_the_integral(mean, std):
    """MacKay's approximation is known to be within about 0.02."""
    expected, _ = integrate.quad(lambda z: expit(mean + std * z) * stats.norm.pdf(z), -12, 12)
    found = Logits(np.array([[mean]]), np.array([[[std**2]]]), np.array([False])).averaged()[0]
    assert abs(found[1] - expected) < 0.02
    np.testing.assert_allclose(found.sum(), 1.0)
    np.testing.assert_allclose(found[1], expit(mean / np.sqrt(1 + np.pi / 8 * std**2)))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_averages_agree_with_brute_force(n_classes):
    problem = make_problem(n_classes, n_rows=50)
    model = fit(problem)
    coef, intercept = model.sample_coef(400, random_state=0)
    copy = clone(model).fit(problem.X, problem.codes, sample_weight=problem.weight)
    total = 0.0
    for of_draw, alone in zip(coef, intercept, strict=True):
        copy.coef_, copy.intercept_ = of_draw, alone
        total = total + copy.predict_proba(problem.X)
    by_draws = model.predict_proba_averaged(problem.X, "monte_carlo", n_draws=400, random_state=0)
    np.testing.assert_allclose(by_draws, total / 400, rtol=1e-10)
    many = model.predict_proba_averaged(problem.X, "monte_carlo", n_draws=20_000, random_state=1)
    assert np.abs(model.predict_proba_averaged(problem.X) - many).max() < 0.02
    assert np.abs(model.predict_proba(problem.X) - many).max() > 0.02


def test_without_uncertainty_averages_are_the_prediction():
    problem = make_problem(3, n_rows=50)
    model = fit(problem)
    model.covariance_ = np.zeros_like(model.covariance_)
    expected = model.predict_proba(problem.X)
    for method in ("probit", "monte_carlo"):
        np.testing.assert_allclose(model.predict_proba_averaged(problem.X, method, n_draws=3), expected, rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba_interval(problem.X), np.stack([expected] * 2, axis=-1), rtol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_draws_have_the_mean_and_the_covariance(n_classes, intercept):
    problem = make_problem(n_classes, n_rows=60, intercept=intercept)
    problem = problem._replace(X=problem.X * [1e-6, 1.0, 1e6])
    model = fit(problem, np.inf, fit_intercept=intercept)
    n_draws = 50_000
    coef, intercepts = model.sample_coef(n_draws, random_state=0)
    q, p = model.coef_.shape
    assert coef.shape == (n_draws, q, p)
    assert intercepts.shape == (n_draws, q)
    draws = np.concatenate([coef, intercepts[:, :, None]], axis=2) if intercept else coef
    draws = draws.reshape(n_draws, -1)
    std = np.sqrt(model.covariance_.diagonal())
    assert np.abs((draws.mean(axis=0) - coefficients(model).ravel()) / std).max() < 5 / np.sqrt(n_draws)
    unit = np.cov(draws.T) / np.outer(std, std)
    assert np.abs(unit - model.covariance_ / np.outer(std, std)).max() < 8 / np.sqrt(n_draws)
    if q > 1:
        assert np.abs(coef.sum(axis=1)).max() < 1e-9 * np.abs(coef).max()
    if not intercept:
        assert not intercepts.any()
    again = model.sample_coef(n_draws, random_state=0)[0]
    np.testing.assert_array_equal(again, coef)


def test_collinear_columns_leave_predictions_determined():
    """Their coefficients are not, without a penalty; rows that keep the collinearity have the right spread."""
    problem = make_problem(3, n_rows=90)
    doubled = problem._replace(X=np.column_stack([problem.X, problem.X[:, 0]]))
    expected, found = fit(problem, np.inf), fit(doubled, np.inf)
    np.testing.assert_allclose(
        found.predict_proba_interval(doubled.X), expected.predict_proba_interval(problem.X), rtol=1e-6
    )
    assert np.isfinite(found.sample_coef(5)[0]).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("column", ["doubled", "empty", "one-hot"])
def test_rows_that_break_a_collinearity_have_infinite_variance(n_classes, column):
    problem = make_problem(n_classes, n_rows=90)
    kinds = np.eye(3)[np.random.default_rng(0).integers(0, 3, size=90)]
    more = {"doubled": 1e3 * problem.X[:, :1], "empty": np.zeros((90, 1)), "one-hot": kinds}[column]
    model = fit(problem._replace(X=np.column_stack([problem.X, more])), np.inf)
    known = np.column_stack([problem.X, more])[:10]
    other = known + np.append(np.zeros(known.shape[1] - 1), 0.5)
    assert np.isfinite(model.decision_function_std(known)).all()
    assert np.ptp(model.predict_proba_interval(known), axis=2).max() < 0.99
    assert np.isinf(model.decision_function_std(other)).all()
    np.testing.assert_array_equal(model.predict_proba_interval(other), np.tile([0.0, 1.0], (10, n_classes, 1)))
    for method in ("probit", "monte_carlo"):
        averaged = model.predict_proba_averaged(other, method, n_draws=3)
        np.testing.assert_allclose(averaged, 1 / n_classes)
    # a penalty determines every direction
    penalised = fit(problem._replace(X=np.column_stack([problem.X, more])), 1.0)
    assert np.isfinite(penalised.decision_function_std(other)).all()


def test_scales_do_not_matter():
    problem = make_problem(3, n_rows=90)
    scales = np.array([1e-7, 1.0, 1e7])
    scaled = problem._replace(X=problem.X * scales)
    for method in METHODS:
        expected = getattr(fit(problem, np.inf), method)(problem.X)
        np.testing.assert_allclose(getattr(fit(scaled, np.inf), method)(scaled.X), expected, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_parts_of_rows_change_nothing(n_classes, limits):
    problem = make_problem(n_classes, n_rows=70)
    model = fit(problem)
    calls = [
        lambda: model.decision_function_std(problem.X),
        lambda: model.predict_proba_interval(problem.X),
        lambda: model.predict_proba_averaged(problem.X),
        lambda: model.predict_proba_averaged(problem.X, "monte_carlo", n_draws=7, random_state=0),
    ]
    expected = [call() for call in calls]
    for n_bytes in (1, 3000):
        limits(row_bytes=n_bytes)
        for call, answer in zip(calls, expected, strict=True):
            np.testing.assert_allclose(call(), answer, rtol=1e-9)


@pytest.mark.parametrize("method", ["decision_function_std", "predict_proba_interval", "predict_proba_averaged", "mc"])
def test_many_rows_take_little_memory(method):
    """A million rows: the result and 40 MiB of intermediate arrays; X takes 38 MiB."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_000_000, 5))
    y = (X[:1000] @ rng.normal(size=(5, 3)) + rng.gumbel(size=(1000, 3))).argmax(axis=1)
    model = NaturalGradientLogisticRegression(store_covariance=True).fit(X[:1000], y)
    ask = {"mc": lambda rows: model.predict_proba_averaged(rows, "monte_carlo", n_draws=5, random_state=0)}.get(
        method, getattr(model, method, None)
    )
    tracemalloc.start()
    try:
        answer = ask(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(answer) == len(X)
    assert peak < answer.nbytes + 40 * 2**20
    np.testing.assert_allclose(answer[-100:], ask(X[-100:]), rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_several_classes_take_little_memory(method):
    """Each row has some thousand intermediate values, and all rows together 440 MiB."""
    problem = make_problem(20, n_rows=20_000, n_features=20)
    model = fit(problem._replace(X=problem.X[:2000], codes=problem.codes[:2000], weight=problem.weight[:2000]))
    tracemalloc.start()
    try:
        answer = getattr(model, method)(problem.X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < answer.nbytes + 24 * 2**20


@pytest.mark.parametrize("n_classes", [2, 3])
def test_averages_forecast_better_after_few_rows(n_classes):
    """Held-out log loss, over 60 samples of 30 rows; with a weak penalty."""
    rng = np.random.default_rng(0)
    gains = {"probit": [], "monte_carlo": []}
    for _ in range(60):
        truth = rng.normal(size=(n_classes, 4))
        X = rng.normal(size=(1030, 4))
        y = (X @ truth.T + rng.gumbel(size=(1030, n_classes))).argmax(axis=1)
        if len(np.unique(y[:30])) < n_classes:
            continue
        model = NaturalGradientLogisticRegression(C=10.0, store_covariance=True).fit(X[:30], y[:30])
        plain = log_loss(y[30:], model.predict_proba(X[30:]), labels=range(n_classes))
        for method, gain in gains.items():
            averaged = model.predict_proba_averaged(X[30:], method, random_state=0)
            gain.append(plain - log_loss(y[30:], averaged, labels=range(n_classes)))
    for gain in gains.values():
        assert np.mean(gain) > 3 * np.std(gain) / np.sqrt(len(gain))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_rows", [20, 60])
def test_averages_forecast_better_after_few_patients(n_classes, n_rows):
    """Progression of diabetes above the median, or by thirds; at the default penalty."""
    X, progression = load_diabetes(return_X_y=True)
    y = np.digitize(progression, np.quantile(progression, np.arange(1, n_classes) / n_classes))
    gains = []
    for train, test in StratifiedShuffleSplit(30, train_size=n_rows, random_state=0).split(X, y):
        scaler = StandardScaler().fit(X[train])
        model = NaturalGradientLogisticRegression(store_covariance=True).fit(scaler.transform(X[train]), y[train])
        rows = scaler.transform(X[test])
        ask = (model.predict_proba, model.predict_proba_averaged)
        plain, averaged = (log_loss(y[test], answer(rows)) for answer in ask)
        gains.append(plain - averaged)
    assert np.mean(gains) > 3 * np.std(gains) / np.sqrt(len(gains))


def bad_calls(model, X):
    yield "level=95 is not a coverage", lambda: model.predict_proba_interval(X, level=95)
    yield "method='laplace' is unknown", lambda: model.predict_proba_averaged(X, method="laplace")
    yield "n_draws=0 must be an integer", lambda: model.predict_proba_averaged(X, method="monte_carlo", n_draws=0)
    yield "n_draws=True must be an integer", lambda: model.sample_coef(True)
    yield "n_draws=2.5 must be an integer", lambda: model.sample_coef(2.5)
    yield "X has 2 features", lambda: model.decision_function_std(X[:, :2])


def test_bad_input_raises_an_error_of_one_sentence():
    problem = make_problem(3, n_rows=60)
    for message, call in bad_calls(fit(problem), problem.X):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("method", [*METHODS, "sample_coef"])
def test_error_without_the_covariance_names_the_remedy(method):
    problem = make_problem(2, n_rows=60)
    model = NaturalGradientLogisticRegression().fit(problem.X, problem.codes)
    arguments = (3,) if method == "sample_coef" else (problem.X,)
    with pytest.raises(ValueError, match="fit it with store_covariance=True"):
        getattr(model, method)(*arguments)


def test_a_later_fit_without_covariance_removes_the_old_one():
    problem = make_problem(2, n_rows=60)
    model = fit(problem)
    model.set_params(store_covariance=False).fit(problem.X, problem.codes)
    assert not hasattr(model, "covariance_")


def test_a_covariance_that_is_too_large_is_refused_before_any_work(limits):
    limits(matrix_bytes=8 * 8**2 - 1)
    problem = make_problem(3, n_rows=60)
    with pytest.raises(ValueError, match=r"the covariance of 8 coefficients would take .* store_covariance=False"):
        fit(problem)
    assert not hasattr(NaturalGradientLogisticRegression(), "covariance_")


def test_columns_without_entries_count_in_the_size_of_a_covariance(limits):
    limits(matrix_bytes=8 * 100**2)
    problem = make_problem(2, n_rows=12, n_features=300)
    X = np.zeros((12, 300))
    X[:, [2, 7]] = problem.X[:, [2, 7]]
    with pytest.raises(ValueError, match="the covariance of 301 coefficients would take"):
        fit(problem._replace(X=as_kinds(X)["csr_array"]))


def test_no_attribute_that_ends_in_an_underscore_computes_anything():
    """`dir()` and the HTML repr of notebooks read all of them."""
    names = [name for name in dir(NaturalGradientLogisticRegression) if name[0] != "_" and name.endswith("_")]
    assert names == []


def test_infer_does_not_depend_on_the_stored_covariance():
    problem = make_problem(2, n_rows=60)
    model = fit(problem, np.inf)
    plain = clone(model).set_params(store_covariance=False)
    plain.fit(problem.X, problem.codes, sample_weight=problem.weight)
    results = [infer(each, problem.X, problem.codes, sample_weight=problem.weight) for each in (model, plain)]
    np.testing.assert_array_equal(results[0].covariance, results[1].covariance)
