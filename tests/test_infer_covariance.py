"""Covariances of the coefficients against sums over rows, statsmodels and scikit-learn."""

import numpy as np
import pytest
import statsmodels.api as sm
from problems import (
    as_kinds,
    fisher_by_outer_products,
    fit_problem,
    groups_of,
    infer_problem,
    make_problem,
    random_text,
    score_of,
    with_intercept_last,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer

KINDS = ["fisher", "frequentist", "robust", "HC1", "cluster"]


def by_brute_force(problem, model, kind, weights, C):
    """Covariance of the contrasts against class 0, row by row."""
    theta = np.column_stack([model.coef_, model.intercept_])
    q, d = theta.shape
    prior = np.diag(np.append(np.full(d - 1, 1 / C), 0.0))
    if q == 1:
        up = np.eye(1)
    else:
        # from contrasts to coefficients that sum to zero over classes
        up = np.vstack([np.zeros(q - 1), np.eye(q - 1)])
        up = up - up.mean(axis=0)
    up = np.kron(up, np.eye(d))
    fisher = up.T @ fisher_by_outer_products(problem.design, problem.codes, problem.weight, theta) @ up
    penalty = up.T @ np.kron(np.eye(q), prior) @ up
    inverse = np.linalg.inv(fisher + penalty)
    scores = (
        np.array([np.kron(score_of(theta @ x, k), x) for x, k in zip(problem.design, problem.codes, strict=True)]) @ up
    )
    n = problem.weight.sum() if weights == "frequency" else np.count_nonzero(problem.weight)
    k = len(inverse)
    power = 1 if weights == "frequency" else 2
    meat = np.einsum("i,ij,ik->jk", problem.weight**power, scores, scores)
    if kind == "cluster":
        groups = groups_of(problem)
        sums = [(problem.weight[groups == g, None] * scores[groups == g]).sum(axis=0) for g in np.unique(groups)]
        meat = sum(np.outer(u, u) for u in sums) * len(sums) / (len(sums) - 1) * (n - 1) / (n - k)
    if kind == "HC1":
        meat *= n / (n - k)
    return {"fisher": inverse, "frequentist": inverse @ fisher @ inverse}.get(kind, inverse @ meat @ inverse)


@pytest.mark.parametrize(
    ("kind", "weights"), [(kind, "frequency") for kind in KINDS] + [(kind, "sampling") for kind in KINDS[2:]]
)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_covariance_is_that_of_the_formula(kind, weights, n_classes, C):
    problem = make_problem(n_classes, n_rows=120)
    model = fit_problem(problem, C)
    expected = by_brute_force(problem, model, kind, weights, C)
    result = infer_problem(problem, model, kind, weights=weights)
    np.testing.assert_allclose(result.covariance, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(result.standard_errors.ravel() ** 2, expected.diagonal(), rtol=1e-10)


def test_scores_of_groups_do_not_depend_on_the_runs_of_rows(limits):
    problem = make_problem(3, n_rows=120)
    model = fit_problem(problem)
    expected = infer_problem(problem, model, "cluster").covariance
    for n_bytes in (1, 800, 8 * 8 * 7):
        limits(row_bytes=n_bytes)
        np.testing.assert_allclose(infer_problem(problem, model, "cluster").covariance, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [("fisher", "nonrobust"), ("robust", "HC0"), ("cluster", "cluster")])
def test_two_classes_as_in_statsmodels(kind, spector):
    ours, theirs = kind
    X, y = spector.exog.to_numpy(), spector.endog.to_numpy()
    groups = np.arange(len(y)) % 21 if ours == "cluster" else None
    more = {} if groups is None else {"cov_kwds": {"groups": groups}}
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0, cov_type=theirs, **more)
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    result = infer(model, X, y, covariance=ours, groups=groups)
    _assert_equal(result, peer)
    family = sm.families.Binomial()
    glm = sm.GLM(y, with_intercept_last(X), family=family).fit(cov_type=theirs, tol=1e-14, **more)
    np.testing.assert_allclose(result.covariance, glm.cov_params(), rtol=1e-7)


def test_hc1_has_its_small_sample_factor(spector):
    """n / (n - k): statsmodels' models by maximum likelihood take the name for HC0."""
    X, y = spector.exog.to_numpy(), spector.endog.to_numpy()
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0, cov_type="HC0")
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    found = infer(model, X, y, covariance="HC1").covariance
    np.testing.assert_allclose(found, peer.cov_params() * 32 / 28, rtol=1e-8)


def test_several_classes_as_in_statsmodels(anes):
    X, y = anes.exog.to_numpy(), anes.endog.to_numpy()
    peer = sm.MNLogit(y, with_intercept_last(X)).fit(disp=0)
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    _assert_equal(infer(model, X, y), peer)


def _assert_equal(result, peer):
    def same(ours, theirs):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * np.abs(theirs).min())

    same(result.params.ravel(), np.asarray(peer.params).T.ravel())
    np.testing.assert_allclose(
        result.covariance, peer.cov_params(), rtol=1e-8, atol=1e-8 * np.abs(result.covariance.diagonal()).min()
    )
    same(result.standard_errors.ravel(), np.asarray(peer.bse).T.ravel())
    same(result.z.ravel(), np.asarray(peer.tvalues).T.ravel())
    same(result.p_values.ravel(), np.asarray(peer.pvalues).T.ravel())
    same(result.conf_int(0.9).ravel(), np.asarray(peer.conf_int(0.1)).ravel())
    same(result.loglik, peer.llf)
    same(result.loglik_null, peer.llnull)
    same(result.aic, peer.aic)
    same(result.bic, peer.bic)
    same(result.pseudo_r2, peer.prsquared)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_frequency_weights_are_repeated_rows(kind, n_classes):
    problem = make_problem(n_classes, n_rows=90)
    times = np.random.default_rng(0).integers(0, 4, size=90)
    weighted = problem._replace(weight=times.astype(float))
    model = fit_problem(weighted, C=2.0)
    groups = groups_of(problem) if kind == "cluster" else None
    ours = infer_problem(weighted, model, kind)
    repeated = infer(
        model,
        np.repeat(problem.X, times, axis=0),
        np.repeat(problem.codes, times),
        covariance=kind,
        groups=None if groups is None else np.repeat(groups, times),
    )
    np.testing.assert_allclose(ours.covariance, repeated.covariance, rtol=1e-9)
    for name in ("n", "loglik", "loglik_null", "aic", "bic", "effective_dof"):
        assert getattr(ours, name) == pytest.approx(getattr(repeated, name), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_any_reference_gives_the_same_tests(kind, C):
    problem = make_problem(3, n_rows=90)
    model = fit_problem(problem, C)
    first, last = (infer_problem(problem, model, kind, reference=label) for label in (0, 2))
    assert last.classes == (0, 1)
    # 0 against 2 is minus 2 against 0; 1 against 2 is 1 against 0 less 2 against 0
    change = np.kron(np.array([[0, -1], [1, -1]]), np.eye(4))
    np.testing.assert_allclose(last.params.ravel(), change @ first.params.ravel(), rtol=1e-9)
    np.testing.assert_allclose(last.covariance, change @ first.covariance @ change.T, rtol=1e-7, atol=1e-12)
    for result in (first, last):
        assert result.wald_test("x1") == pytest.approx(first.wald_test("x1"), rel=1e-9)
    assert first.effective_dof == pytest.approx(last.effective_dof, rel=1e-10)


def test_the_other_reference_of_two_classes_is_the_negative():
    problem = make_problem(2, n_rows=90)
    model = fit_problem(problem, 1.0)
    first, last = (infer_problem(problem, model, "robust", reference=label) for label in (0, 1))
    np.testing.assert_array_equal(last.params, -first.params)
    np.testing.assert_allclose(last.covariance, first.covariance, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_nearly_collinear_columns_lose_digits_once(kind, n_classes, limits):
    """A sum with a part of 1e-6 has the variances of the parts; F in float64 leaves four digits of them."""
    problem = make_problem(n_classes, n_rows=200)
    # x0 and x0 + 1e-6 x1 in place of x0 and x1
    parts = problem.X[:, :2] @ np.array([[1.0, 1.0], [0.0, 1e-6]])
    near = problem._replace(X=np.column_stack([parts, problem.X[:, 2]]))
    move = np.eye(4)
    move[:2, :2] = np.linalg.inv([[1.0, 1.0], [0.0, 1e-6]])
    move = np.kron(np.eye(n_classes - 1), move)
    joint = fit_problem(problem, tol=1e-12)
    plain = infer_problem(problem, joint, kind)
    expected = move @ plain.covariance @ move.T
    std = np.sqrt(expected.diagonal())
    limits(block_bytes=2**10, min_block_rows=16, row_bytes=2**10)
    for stored in ("C", "csr_array"):
        # the coefficients of the same predictions: how far a fit gets in these columns is not the question
        model = fit_problem(near, tol=1e-12)
        model.coef_ = np.column_stack(
            [joint.coef_[:, :2] @ np.linalg.inv([[1.0, 1.0], [0.0, 1e-6]]).T, joint.coef_[:, 2]]
        )
        model.intercept_ = joint.intercept_
        found = infer_problem(near._replace(X=as_kinds(near.X)[stored]), model, kind)
        np.testing.assert_allclose(found.covariance / np.outer(std, std), expected / np.outer(std, std), atol=1e-8)
        assert found.warnings == plain.warnings == ()


def test_nearly_collinear_columns_under_a_weak_penalty():
    """Against the triangular factor of the rows of H, which is not squared."""
    problem = make_problem(2, n_rows=200, zero_weights=False)
    near = problem._replace(X=np.column_stack([problem.X, problem.X[:, 0] + 1e-6 * problem.X[:, 1] ** 2]))
    model = fit_problem(near, C=1e12)
    proba = model.predict_proba(near.X)
    design = with_intercept_last(near.X)
    rows = np.sqrt(near.weight * proba[:, 0] * proba[:, 1])[:, None] * design
    factor = np.linalg.qr(np.vstack([rows, np.diag([1e-6] * 4 + [0.0])]), mode="r")
    inverse = np.linalg.inv(factor)
    result = infer_problem(near, model, "fisher")
    std = np.sqrt((inverse**2).sum(axis=1))
    np.testing.assert_allclose(result.standard_errors[0], std, rtol=1e-8)
    expected = 5.0 - 1e-12 * (std[:4] ** 2).sum()
    assert result.effective_dof == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_any_storage_gives_the_same_covariance(n_classes):
    problem = make_problem(n_classes, n_rows=60)
    model = fit_problem(problem, 1.0)
    expected = {kind: infer_problem(problem, model, kind).covariance for kind in ("robust", "cluster")}
    for name, X in as_kinds(problem.X).items():
        for kind, covariance in expected.items():
            found = infer_problem(problem._replace(X=X), model, kind).covariance
            np.testing.assert_allclose(found, covariance, rtol=1e-11, err_msg=f"{name}, {kind}")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [0.5, np.inf])
def test_models_of_scikit_learn_have_the_same_covariance(n_classes, C):
    problem = make_problem(n_classes, n_rows=90, zero_weights=False)
    peer = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12)
    peer.fit(problem.X, problem.codes, sample_weight=problem.weight)
    ours = infer_problem(problem, fit_problem(problem, C), "fisher")
    theirs = infer_problem(problem, peer, "fisher")
    np.testing.assert_allclose(theirs.params, ours.params, rtol=1e-7)
    np.testing.assert_allclose(theirs.covariance, ours.covariance, rtol=1e-7)


def test_an_intercept_that_liblinear_penalises_counts_as_penalised():
    problem = make_problem(2, n_rows=90)
    peer = LogisticRegression(solver="liblinear", intercept_scaling=0.5, C=0.1, tol=1e-10, max_iter=10_000)
    peer.fit(problem.X, problem.codes, sample_weight=problem.weight)
    theta = np.column_stack([peer.coef_, peer.intercept_])
    prior = np.diag([10.0, 10.0, 10.0, 40.0])
    fisher = fisher_by_outer_products(problem.design, problem.codes, problem.weight, theta)
    found = infer_problem(problem, peer, "fisher").covariance
    np.testing.assert_allclose(found, np.linalg.inv(fisher + prior), rtol=1e-9)


def test_a_model_without_an_intercept():
    problem = make_problem(3, n_rows=90, intercept=False)
    model = fit_problem(problem, fit_intercept=False)
    result = infer_problem(problem, model, "fisher")
    assert result.params.shape == (2, 3)
    assert result.feature_names == ("x0", "x1", "x2")
    # without features, and without an intercept, all classes are equally probable
    assert result.loglik_null == pytest.approx(-problem.weight.sum() * np.log(3))
    assert "(Intercept)" not in str(result.summary())


def test_class_weights_of_the_estimator_count():
    problem = make_problem(3, n_rows=90)
    factors = {0: 1.0, 1: 2.0, 2: 0.5}
    model = fit_problem(problem, class_weight=factors)
    by_hand = problem._replace(weight=problem.weight * np.array([1.0, 2.0, 0.5])[problem.codes])
    expected = by_brute_force(by_hand, model, "robust", "sampling", np.inf)
    found = infer_problem(problem, model, "robust", weights="sampling").covariance
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_twice_the_weights_have_the_same_optimum_without_a_penalty():
    problem = make_problem(2, n_rows=90)
    model = fit_problem(problem)
    once, twice = (infer_problem(problem._replace(weight=k * problem.weight), model, "fisher") for k in (1, 2))
    np.testing.assert_allclose(twice.covariance, once.covariance / 2, rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_blocks_of_rows_add_up(n_classes, limits):
    problem = make_problem(n_classes, n_rows=600)
    with pytest.warns(ConvergenceWarning):
        model = fit_problem(problem, max_iter=1)
    with pytest.warns(InferenceWarning, match="has not converged"):
        whole = infer_problem(problem, model, "robust")
    limits(block_bytes=2**10, min_block_rows=16)
    with pytest.warns(InferenceWarning, match="has not converged"):
        parts = infer_problem(problem, model, "robust")
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-10)
    np.testing.assert_allclose(parts.row_sums.gram(), whole.row_sums.gram(), rtol=1e-12)
    assert parts.information_matrix_test() == pytest.approx(whole.information_matrix_test(), rel=1e-7)
    ours, theirs = parts.marginal_effects(), whole.marginal_effects()
    np.testing.assert_allclose(ours.effects, theirs.effects, rtol=1e-10)
    np.testing.assert_allclose(ours.standard_errors, theirs.standard_errors, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_selected_columns_have_the_covariance_of_all(kind, n_classes, C):
    problem = make_problem(n_classes, n_rows=150, n_features=5)
    problem = problem._replace(X=problem.X * [1e-4, 1.0, 1.0, 1.0, 1e4])
    model = fit_problem(problem, C)
    chosen = ["(Intercept)", 4, 0]
    for reference in (0, 1):
        whole = infer_problem(problem, model, kind, reference=reference)
        found = infer_problem(problem, model, kind, reference=reference, features=chosen)
        places = np.ravel(6 * np.arange(n_classes - 1)[:, None] + [5, 4, 0])
        std = whole.standard_errors.ravel()[places]
        expected = whole.covariance[np.ix_(places, places)] / np.outer(std, std)
        close = 1e-11 if kind == "fisher" else 1e-6
        np.testing.assert_allclose(found.covariance / np.outer(std, std), expected, atol=close)
        np.testing.assert_array_equal(found.params, whole.params[:, [5, 4, 0]])
        assert found.feature_names == ("(Intercept)", "x4", "x0")
        assert found.loglik == pytest.approx(whole.loglik)
        assert found.wald_test("x4").statistic == pytest.approx(whole.wald_test("x4").statistic, rel=1e-5)
        # estimated with a few random vectors
        assert found.effective_dof == pytest.approx(whole.effective_dof, abs=2.0 if C == 1.0 else 1e-9)
        assert [line.name for line in found.summary().tables[0][1]] == ["(Intercept)", "x4", "x0"]
        with pytest.raises(ValueError, match="call infer without features"):
            found.marginal_effects()


def test_selected_columns_of_a_sparse_table_too_wide_for_a_matrix():
    """30,000 columns, whose covariance would take 7 GB; checked by an inverse of 2,000 rows."""
    X, words = random_text(2000, 30_000, 20)
    y = (X @ words + np.random.default_rng(1).logistic(size=2000) > 0).astype(int)
    model = NaturalGradientLogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match=r"the covariance of 30,001 coefficients would take 6,867 MiB"):
        infer(model, X, y)
    with pytest.warns(InferenceWarning, match=r"effective coefficients are many for 2000 observations"):
        result = infer(model, X, y, features=[0, 5])
    variance = np.prod(model.predict_proba(X), axis=1)
    # (I + XᵀDX)⁻¹ = I - Xᵀ (D⁻¹ + XXᵀ)⁻¹ X, and what the intercept adds
    inner = np.linalg.inv(np.diag(1 / variance) + (X @ X.T).toarray())
    columns = X[:, [0, 5]].toarray()
    with_intercept = X.T @ variance
    solved = (with_intercept - X.T @ (inner @ (X @ with_intercept)))[[0, 5]]
    left = variance.sum() - with_intercept @ (with_intercept - X.T @ (inner @ (X @ with_intercept)))
    expected = np.eye(2) - columns.T @ inner @ columns + np.outer(solved, solved) / left
    np.testing.assert_allclose(result.covariance, expected, rtol=1e-9, atol=1e-11)
    # tr(H⁻¹F) = d - tr(H⁻¹Λ), of which the first 30,000 have Λ = 1
    corrected = X.T @ (inner @ (X @ with_intercept))
    trace = 30_000 - (inner * (X @ X.T).toarray()).sum() + np.sum((with_intercept - corrected) ** 2) / left
    assert result.effective_dof == pytest.approx(30_001 - trace, rel=0.03)


def test_class_weights_are_no_frequencies():
    problem = make_problem(2, n_rows=200, zero_weights=False)
    model = NaturalGradientLogisticRegression(C=np.inf, class_weight={0: 1.0, 1: 3.0}).fit(problem.X, problem.codes)
    with pytest.warns(InferenceWarning, match="class_weight makes weights .* call infer with weights='sampling'"):
        infer(model, problem.X, problem.codes)
    found = infer(model, problem.X, problem.codes, weights="sampling", covariance="robust")
    weighted = problem._replace(weight=np.where(problem.codes == 1, 3.0, 1.0))
    expected = by_brute_force(weighted, model, "robust", "sampling", np.inf)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-9)


def test_groups_may_be_of_any_kind():
    problem = make_problem(2, n_rows=200)
    numbers = np.arange(200) % 40
    mixed = np.array([str(k) if k % 2 else k for k in numbers.tolist()], dtype=object)
    model = fit_problem(problem)
    ask_by = {"sample_weight": problem.weight, "covariance": "cluster"}
    expected, found = (infer(model, problem.X, problem.codes, groups=g, **ask_by) for g in (numbers, mixed))
    np.testing.assert_array_equal(found.covariance, expected.covariance)


def test_weights_of_0_and_1_are_frequencies_and_samples():
    problem = make_problem(2, n_rows=200)
    problem = problem._replace(weight=(problem.weight > 1.0).astype(float))
    model = fit_problem(problem)
    expected, found = (infer_problem(problem, model, "fisher", weights=kind) for kind in ("frequency", "sampling"))
    np.testing.assert_array_equal(found.covariance, expected.covariance)
