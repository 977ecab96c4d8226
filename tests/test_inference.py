"""Standard errors, tests and intervals against brute-force sums, statsmodels and R."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from problems import as_kinds, fisher_by_outer_products, make_problem, random_text, score_of
from scipy import optimize, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.inference._high_dimension import inflation
from sknatgrad.inference._separation import may_be_separable, separation
from sknatgrad.inference._white import IndicatorKernel

KINDS = ["fisher", "frequentist", "robust", "HC1", "cluster"]


def fitted(problem, C=np.inf, **settings):
    """A fit of the problem's rows, their weights included."""
    model = NaturalGradientLogisticRegression(C=C, **settings)
    return model.fit(problem.X, problem.codes, sample_weight=problem.weight)


def groups_of(problem, n_groups=71):
    """Some 30 groups of uneven size, in no order."""
    return np.random.default_rng(1).integers(0, n_groups, size=len(problem.codes)) ** 2 % n_groups


def ask(problem, model, kind, **more):
    groups = groups_of(problem) if kind == "cluster" else None
    return infer(model, problem.X, problem.codes, sample_weight=problem.weight, covariance=kind, groups=groups, **more)


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
    model = fitted(problem, C)
    expected = by_brute_force(problem, model, kind, weights, C)
    result = ask(problem, model, kind, weights=weights)
    np.testing.assert_allclose(result.covariance, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(result.standard_errors.ravel() ** 2, expected.diagonal(), rtol=1e-10)


def test_scores_of_groups_are_summed_whatever_the_runs_of_rows(monkeypatch):
    problem = make_problem(3, n_rows=120)
    model = fitted(problem)
    expected = ask(problem, model, "cluster").covariance
    for n_bytes in (1, 800, 8 * 8 * 7):
        monkeypatch.setattr("sknatgrad.inference._sums.SCORE_BYTES", n_bytes)
        np.testing.assert_allclose(ask(problem, model, "cluster").covariance, expected, rtol=1e-12)


SPECTOR = sm.datasets.spector.load_pandas()
ANES = sm.datasets.anes96.load_pandas()


def with_intercept_last(X):
    return np.column_stack([X, np.ones(len(X))])


@pytest.mark.parametrize("kind", [("fisher", "nonrobust"), ("robust", "HC0"), ("cluster", "cluster")])
def test_two_classes_as_in_statsmodels(kind):
    ours, theirs = kind
    X, y = SPECTOR.exog.to_numpy(), SPECTOR.endog.to_numpy()
    groups = np.arange(len(y)) % 21 if ours == "cluster" else None
    more = {} if groups is None else {"cov_kwds": {"groups": groups}}
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0, cov_type=theirs, **more)
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    result = infer(model, X, y, covariance=ours, groups=groups)
    _assert_equal(result, peer)
    family = sm.families.Binomial()
    glm = sm.GLM(y, with_intercept_last(X), family=family).fit(cov_type=theirs, tol=1e-14, **more)
    np.testing.assert_allclose(result.covariance, glm.cov_params(), rtol=1e-7)


def test_hc1_has_the_factor_that_its_name_stands_for():
    """n / (n - k): statsmodels' models by maximum likelihood take the name for HC0."""
    X, y = SPECTOR.exog.to_numpy(), SPECTOR.endog.to_numpy()
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0, cov_type="HC0")
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    found = infer(model, X, y, covariance="HC1").covariance
    np.testing.assert_allclose(found, peer.cov_params() * 32 / 28, rtol=1e-8)


def test_several_classes_as_in_statsmodels():
    X, y = ANES.exog.to_numpy(), ANES.endog.to_numpy()
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


# Motor Trend 1974, by Henderson and Velleman (1981), "Building multiple regression models interactively",
# Biometrics 37: the columns disp, hp and am of R's `mtcars`
DISP = """160 160 108 258 360 225 360 146.7 140.8 167.6 167.6 275.8 275.8 275.8 472 460 440 78.7 75.7 71.1 120.1 318 304
350 400 79 120.3 95.1 351 145 301 121"""
HP = """110 110 93 110 175 105 245 62 95 123 123 180 180 180 205 215 230 66 52 65 97 150 150 245 175 66 91 113 264 175
335 109"""
AM = "1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 0 0 0 0 0 1 1 1 1 1 1 1"


def cars():
    columns = [np.array(column.split(), dtype=float) for column in (DISP, HP, AM)]
    return np.column_stack(columns[:2]), columns[2].astype(int)


def test_summary_holds_the_figures_that_r_prints():
    """summary(glm(am ~ disp + hp, binomial, mtcars)): https://www.statology.org/interpret-glm-output-in-r/."""
    X, y = cars()
    result = infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y)
    assert result.params.round(5).tolist() == [[-0.09518, 0.12170, 1.40342]]
    assert result.standard_errors.round(5).tolist() == [[0.04800, 0.06777, 1.36757]]
    assert result.z.round(3).tolist() == [[-1.983, 1.796, 1.026]]
    assert result.p_values.round(4).tolist() == [[0.0474, 0.0725, 0.3048]]
    assert round(-2 * result.loglik_null, 3) == 43.230
    assert round(-2 * result.loglik, 3) == 16.713
    text = str(result.summary())
    for figures in ("(Intercept)    1.4034       1.368    1.026     0.305", "0.0474  *", "43.23 on 31", "16.713 on 29"):
        assert figures in text, text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_frequency_weights_are_repeated_rows(kind, n_classes):
    problem = make_problem(n_classes, n_rows=90)
    times = np.random.default_rng(0).integers(0, 4, size=90)
    weighted = problem._replace(weight=times.astype(float))
    model = fitted(weighted, C=2.0)
    groups = groups_of(problem) if kind == "cluster" else None
    ours = ask(weighted, model, kind)
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
    model = fitted(problem, C)
    first, last = (ask(problem, model, kind, reference=label) for label in (0, 2))
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
    model = fitted(problem, 1.0)
    first, last = (ask(problem, model, "robust", reference=label) for label in (0, 1))
    np.testing.assert_array_equal(last.params, -first.params)
    np.testing.assert_allclose(last.covariance, first.covariance, rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_any_storage_gives_the_same_answer(n_classes):
    problem = make_problem(n_classes, n_rows=60)
    model = fitted(problem, 1.0)
    expected = {kind: ask(problem, model, kind).covariance for kind in ("robust", "cluster")}
    for name, X in as_kinds(problem.X).items():
        for kind, covariance in expected.items():
            found = ask(problem._replace(X=X), model, kind).covariance
            np.testing.assert_allclose(found, covariance, rtol=1e-11, err_msg=f"{name}, {kind}")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [0.5, np.inf])
def test_models_of_scikit_learn_are_as_good(n_classes, C):
    problem = make_problem(n_classes, n_rows=90, zero_weights=False)
    peer = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12)
    peer.fit(problem.X, problem.codes, sample_weight=problem.weight)
    ours = ask(problem, fitted(problem, C), "fisher")
    theirs = ask(problem, peer, "fisher")
    np.testing.assert_allclose(theirs.params, ours.params, rtol=1e-7)
    np.testing.assert_allclose(theirs.covariance, ours.covariance, rtol=1e-7)


def test_an_intercept_that_liblinear_penalises_counts_as_penalised():
    problem = make_problem(2, n_rows=90)
    peer = LogisticRegression(solver="liblinear", intercept_scaling=0.5, C=0.1, tol=1e-10, max_iter=10_000)
    peer.fit(problem.X, problem.codes, sample_weight=problem.weight)
    theta = np.column_stack([peer.coef_, peer.intercept_])
    prior = np.diag([10.0, 10.0, 10.0, 40.0])
    fisher = fisher_by_outer_products(problem.design, problem.codes, problem.weight, theta)
    found = ask(problem, peer, "fisher").covariance
    np.testing.assert_allclose(found, np.linalg.inv(fisher + prior), rtol=1e-9)


def test_a_model_without_an_intercept():
    problem = make_problem(3, n_rows=90, intercept=False)
    model = fitted(problem, fit_intercept=False)
    result = ask(problem, model, "fisher")
    assert result.params.shape == (2, 3)
    assert result.feature_names == ("x0", "x1", "x2")
    # without features, and without an intercept, all classes are equally probable
    assert result.loglik_null == pytest.approx(-problem.weight.sum() * np.log(3))
    assert "(Intercept)" not in str(result.summary())


def test_class_weights_of_the_estimator_count():
    problem = make_problem(3, n_rows=90)
    factors = {0: 1.0, 1: 2.0, 2: 0.5}
    model = fitted(problem, class_weight=factors)
    by_hand = problem._replace(weight=problem.weight * np.array([1.0, 2.0, 0.5])[problem.codes])
    expected = by_brute_force(by_hand, model, "robust", "sampling", np.inf)
    found = ask(problem, model, "robust", weights="sampling").covariance
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_effective_degrees_of_freedom_fall_with_the_penalty():
    problem = make_problem(3, n_rows=90)
    found = [ask(problem, fitted(problem, C), "fisher").effective_dof for C in (1e-6, 1.0, 1e6, np.inf)]
    assert found == sorted(found)
    # the intercepts are not penalised
    assert found[0] == pytest.approx(2.0, abs=1e-3)
    assert found[-2] == pytest.approx(8.0, abs=1e-3)
    assert found[-1] == 8.0


def test_likelihood_ratio_and_wald_tests():
    X, y = SPECTOR.exog.to_numpy(), SPECTOR.endog.to_numpy()
    whole = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    part = NaturalGradientLogisticRegression(C=np.inf).fit(X[:, :1], y)
    larger, smaller = infer(whole, X, y), infer(part, X[:, :1], y)
    test = larger.lr_test(smaller)
    statistic = 2 * (
        sm.Logit(y, with_intercept_last(X)).fit(disp=0).llf - sm.Logit(y, with_intercept_last(X[:, :1])).fit(disp=0).llf
    )
    assert test.statistic == pytest.approx(statistic, rel=1e-9)
    assert test.dof == 2
    assert test.p_value == pytest.approx(stats.chi2.sf(statistic, 2), rel=1e-9)
    rows = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0).wald_test((rows, [0.5, 1.0]), scalar=True)
    test = larger.wald_test(rows, [0.5, 1.0])
    assert test.statistic == pytest.approx(float(peer.statistic), rel=1e-8)
    assert test.p_value == pytest.approx(float(peer.pvalue), rel=1e-8)
    # a hypothesis said twice is one
    assert larger.wald_test(np.vstack([rows, rows]), [0.5, 1.0, 0.5, 1.0]) == pytest.approx(test, rel=1e-8)
    assert larger.wald_test(["x0", "x1"]) == pytest.approx(larger.wald_test(np.eye(4)[:2]))


def test_odds_ratios_are_exponentials():
    problem = make_problem(3, n_rows=90)
    result = ask(problem, fitted(problem), "fisher")
    ratios = result.odds_ratios(0.8)
    np.testing.assert_allclose(np.log(ratios.ratio), result.params)
    np.testing.assert_allclose(np.log(np.stack(ratios[1:], axis=-1)), result.conf_int(0.8), rtol=1e-9)


def test_names_reach_the_tables():
    model = NaturalGradientLogisticRegression(C=np.inf).fit(ANES.exog, ANES.endog)
    result = infer(model, ANES.exog, ANES.endog, reference=3.0)
    assert result.feature_names == (*ANES.exog.columns, "(Intercept)")
    frame = result.to_frame(0.9)
    assert frame.index.names == ["class", "feature"]
    assert frame.loc[6.0, "selfLR"]["estimate"] == result.params[-1, 1]
    assert frame.loc[6.0, "selfLR"]["ci_high"] == result.conf_int(0.9)[-1, 1, 1]
    text, html = str(result.summary()), result.summary()._repr_html_()
    for part in ("Log-odds of 6.0 against 3.0", "selfLR", "F⁻¹, the inverse Fisher information"):
        assert part in text
        assert part in html
    assert "&lt;2e-16" in html


@pytest.mark.parametrize(("kind", "words"), [("fisher", "posterior"), ("frequentist", "about their mean")])
def test_the_summary_of_a_penalised_fit_says_so(kind, words):
    problem = make_problem(2, n_rows=90)
    text = str(ask(problem, fitted(problem, 1.0), kind).summary())
    assert "shrunk" in text
    assert "(F + Λ)⁻¹" in text
    assert words in text


def test_collinear_columns_are_named_and_have_no_standard_error():
    problem = make_problem(3, n_rows=90)
    doubled = problem._replace(X=np.column_stack([problem.X, 2.0 * problem.X[:, 0]]))
    model = fitted(doubled)
    with pytest.warns(InferenceWarning, match="collinear or constant columns, x0, x3, have") as caught:
        result = ask(doubled, model, "robust")
    assert len(caught) == 1
    assert np.isnan(result.standard_errors[:, [0, 3]]).all()
    # what is determined is as without the twin
    single = ask(problem, fitted(problem), "robust")
    np.testing.assert_allclose(result.standard_errors[:, [1, 2, 4]], single.standard_errors[:, 1:], rtol=1e-6)
    assert result.effective_dof == 8.0
    with pytest.raises(ValueError, match="constraint involves coefficients that the data do not determine"):
        result.wald_test("x0")


def test_a_fit_that_has_not_converged_is_told_by_how_much():
    problem = make_problem(3, n_rows=90)
    with pytest.warns(Warning, match="max_iter"):
        model = fitted(problem, max_iter=1)
    with pytest.warns(InferenceWarning, match=r"has not converged .* about [\d.]+ standard errors away") as caught:
        ask(problem, model, "fisher")
    assert len(caught) == 1


def _other_rows(problem):
    rng = np.random.default_rng(0)
    yield problem._replace(weight=np.ones(len(problem.weight)))
    yield problem._replace(weight=2.0 * problem.weight)
    yield problem._replace(codes=rng.permutation(problem.codes))
    yield problem._replace(X=problem.X[::-1])


@pytest.mark.parametrize("case", range(4))
def test_other_rows_labels_or_weights_than_those_of_the_fit_are_refused(case):
    problem = make_problem(2, n_rows=90)
    other = list(_other_rows(problem))[case]
    with pytest.raises(ValueError, match=r"are not those of the fit, which ended at a loss of 0\.\d+ nats"):
        ask(other, fitted(problem, C=1.0), "fisher")


def test_weights_with_the_same_loss_and_another_optimum_are_refused():
    problem = make_problem(2, n_rows=400, zero_weights=False)
    model = fitted(problem, C=1.0)
    loss = -model.predict_log_proba(problem.X)[np.arange(400), problem.codes]
    # moves neither the sum of the weights nor that of the losses
    change = np.random.default_rng(0).normal(size=400)
    basis = np.linalg.qr(np.column_stack([np.ones(400), loss]))[0]
    change -= basis @ (basis.T @ change)
    other = problem._replace(weight=problem.weight + 0.99 * change * np.min(problem.weight / np.abs(change)))
    ask(problem, model, "fisher")
    other = other._replace(weight=1e3 * other.weight)
    many = fitted(problem._replace(weight=1e3 * problem.weight), C=1e-3, tol=1e-10)
    with pytest.raises(ValueError, match=r"an optimum 2 standard errors away"):
        ask(other, many, "fisher")


def test_twice_the_weights_have_the_same_optimum_without_a_penalty():
    problem = make_problem(2, n_rows=90)
    model = fitted(problem)
    once, twice = (ask(problem._replace(weight=k * problem.weight), model, "fisher") for k in (1, 2))
    np.testing.assert_allclose(twice.covariance, once.covariance / 2, rtol=1e-9)


def test_of_other_fits_it_is_not_known_how_near_they_came():
    problem = make_problem(2, n_rows=90)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(problem.X, problem.codes, sample_weight=problem.weight)
    with pytest.warns(InferenceWarning, match="pass the data of the fit"):
        infer(model, problem.X, problem.codes)


def test_a_loose_tolerance_is_no_other_data():
    problem = make_problem(2, n_rows=3000)
    problem = problem._replace(weight=300.0 * problem.weight)
    model = fitted(problem, tol=0.05)
    assert model.converged_
    with pytest.warns(InferenceWarning, match="refit with a smaller tol") as caught:
        ask(problem, model, "fisher")
    off = float(str(caught[0].message).split("about ")[1].split()[0])
    assert off > 1.0


def test_the_estimator_is_left_alone():
    problem = make_problem(2, n_rows=90)
    model = fitted(problem)
    before = {name: np.copy(value) for name, value in vars(model).items()}
    ask(problem, model, "cluster")
    assert before.keys() == vars(model).keys()
    for name, value in before.items():
        np.testing.assert_array_equal(vars(model)[name], value)


def bad_inputs():
    problem = make_problem(3, n_rows=60)
    model, (X, y) = fitted(problem, 1.0), (problem.X, problem.codes)
    weight = problem.weight
    yield "covariance='HC3' is unknown", (model, X, y), {"covariance": "HC3"}
    yield "weights='probability' is unknown", (model, X, y), {"weights": "probability"}
    yield "do not go together", (model, X, y), {"weights": "sampling", "sample_weight": weight}
    yield "groups=None", (model, X, y), {"covariance": "cluster"}
    yield "groups were given", (model, X, y), {"groups": y}
    yield r"groups has shape \(59,\)", (model, X, y), {"covariance": "cluster", "groups": y[1:]}
    yield "one group only", (model, X, y), {"covariance": "cluster", "groups": np.ones(60)}
    yield "one group only", (model, X, y), {"covariance": "cluster", "groups": weight > 0, "sample_weight": weight}
    yield "reference='a' is not among", (model, X, y), {"reference": "a"}
    yield "X has 2 features", (model, X[:, :2], y), {}
    yield r"y has shape \(59,\)", (model, X, y[1:]), {}
    yield "y holds 7, which is not among", (model, X, np.where(y == 1, 7, y)), {}
    yield "sample_weight contains the negative", (model, X, y), {"sample_weight": -weight}
    yield "of a pipeline pass the last step", (make_pipeline(StandardScaler(), model).fit(X, y), X, y), {}
    yield "L1 penalty", (LogisticRegression(solver="saga", l1_ratio=1.0, penalty="elasticnet").fit(X, y), X, y), {}
    yield "not the softmax of its logits", (_one_against_rest(X, y), X, y), {}
    yield "features holds 'length', which is neither", (model, X, y), {"features": ["length"]}
    yield "features holds 9, which is neither", (model, X, y), {"features": [0, 9]}
    yield r"features=\[\] must name at least one", (model, X, y), {"features": []}
    yield "each only once", (model, X, y), {"features": [1, 1]}
    few = fitted(problem._replace(X=X[:8], codes=y[:8], weight=weight[:8]), 1.0)
    yield (
        "divides by n - k, but n = 6 and k = 8",
        (few, X[:8], y[:8]),
        {"sample_weight": weight[:8], "weights": "sampling", "covariance": "HC1"},
    )
    yield "unless all weights are 0 or 1", (model, X, y), {"weights": "sampling", "sample_weight": 3.0}
    yield "y and sample_weight leave only one class", (model, X, np.zeros(60, dtype=int)), {}
    yield "is not among the estimator's classes", (model, X, y), {"reference": np.array([1, 2])}
    yield "features holds 77", (model, X, y), {"features": 77}
    missing = np.where(np.arange(60) == 7, np.nan, 1.0)
    yield "groups holds nan at row 7", (model, X, y), {"covariance": "cluster", "groups": missing}
    yield "weights=a ndarray is unknown; .* go into sample_weight", (model, X, y), {"weights": weight}
    yield "does not say by a parameter C", (LinearDiscriminantAnalysis().fit(X, y), X, y), {}
    yield "of a search its best_estimator_", (GridSearchCV(model, {"C": [1.0]}).fit(X, y), X, y), {}
    yield "another C for each class", (_with_several_strengths(X, y), X, y), {}


def _one_against_rest(X, y):
    model = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    model.C = 1.0
    return model


def _with_several_strengths(X, y):
    model = LogisticRegressionCV(Cs=[1.0], cv=2).fit(X, y)
    model.C_ = np.array([1.0, 2.0, 1.0])
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", range(30))
def test_bad_input_is_told_in_one_sentence(case):
    message, arguments, settings = list(bad_inputs())[case]
    with pytest.raises(ValueError, match=message) as caught:
        infer(*arguments, **settings)
    assert str(caught.value).count("\n") == 0


def test_too_many_coefficients_are_refused_before_any_work(monkeypatch):
    problem = make_problem(3, n_rows=60)
    monkeypatch.setattr("sknatgrad._inputs.checks.DENSE_BUDGET_BYTES", 100)
    with pytest.raises(ValueError, match=r"the covariance of 8 coefficients would take .* features=\[...\]"):
        ask(problem, fitted(problem), "fisher")


@pytest.mark.filterwarnings("ignore::sknatgrad.SeparationWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_program_that_is_too_large_is_said_to_be(n_classes, monkeypatch):
    monkeypatch.setattr("sknatgrad.inference._separation.PROGRAM_SIZE", 100)
    X, y = separated(n_classes, "quasi")
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    n_rows = np.count_nonzero(X[:, 3])
    for features, why in ((None, "the table is too large for it"), ([0, 1], "with features it is not asked")):
        said = f"a further step moves {n_rows} rows by up to 1 nats .* mostly by x3, .*{why}"
        with pytest.warns(InferenceWarning, match=said):
            infer(model, X, y, features=features)
    overlapping = make_problem(n_classes, n_rows=90)
    ask(overlapping, fitted(overlapping), "fisher")


@pytest.mark.parametrize("n_classes", [2, 3])
def test_blocks_of_rows_add_up(n_classes, monkeypatch):
    problem = make_problem(n_classes, n_rows=600)
    model = fitted(problem)
    whole = ask(problem, model, "robust")
    monkeypatch.setattr("sknatgrad._rows.memory.BLOCK_BYTES", 2**10)
    monkeypatch.setattr("sknatgrad._rows.memory.MIN_BLOCK_ROWS", 16)
    monkeypatch.setattr("sknatgrad.inference._doubts.FAR", -1.0)
    with pytest.warns(InferenceWarning, match="has not converged"):
        parts = ask(problem, model, "robust")
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-10)
    np.testing.assert_allclose(parts.totals.gram(), whole.totals.gram(), rtol=1e-12)
    ours, theirs = parts.marginal_effects(), whole.marginal_effects()
    np.testing.assert_allclose(ours.effects, theirs.effects, rtol=1e-10)
    np.testing.assert_allclose(ours.standard_errors, theirs.standard_errors, rtol=1e-10)


def test_bad_questions_to_a_result():
    problem = make_problem(3, n_rows=60)
    shrunk = ask(problem, fitted(problem, 1.0), "fisher")
    result = ask(problem, fitted(problem), "fisher")
    for question, message in [
        (lambda: result.conf_int(95), "level=95 is no coverage"),
        (lambda: result.wald_test("age"), r"constraint names \['age'\]"),
        (lambda: result.wald_test([]), "constraint names"),
        (lambda: result.wald_test([[1.0, 2.0]]), r"constraint has shape \(1, 2\)"),
        (lambda: result.wald_test(np.zeros((1, 8))), "not all zero"),
        (lambda: result.lr_test(result), "other must be smaller"),
        (lambda: shrunk.score_test(problem.X), "penalised"),
        (lambda: result.score_test(problem.X[1:]), "X_extra has 59 rows, but the fit had 60"),
        (lambda: result.score_test(np.full((60, 1), np.nan)), "NaN"),
        (lambda: result.marginal_effects().conf_int(0.0), "level=0.0 is no coverage"),
        (lambda: result.lr_test(ask(problem, fitted(problem, 1.0), "fisher")), "penalised"),
        (lambda: result.lr_test(ask(problem, fitted(problem), "robust", weights="sampling")), "wald_test"),
        (lambda: result.lr_test(ask(make_problem(2), fitted(make_problem(2)), "fisher")), "only on the same rows"),
    ]:
        with pytest.raises(ValueError, match=message):
            question()


def test_score_test_as_in_statsmodels():
    X, y = SPECTOR.exog.to_numpy(), SPECTOR.endog.to_numpy()
    part = NaturalGradientLogisticRegression(C=np.inf).fit(X[:, :1], y)
    test = infer(part, X[:, :1], y).score_test(X[:, 1:])
    peer = sm.GLM(y, with_intercept_last(X[:, :1]), family=sm.families.Binomial()).fit(tol=1e-14)
    statistic, p_value, *_ = peer.score_test(exog_extra=X[:, 1:])
    assert test.dof == 2
    assert test.statistic == pytest.approx(float(np.squeeze(statistic)), rel=1e-7)
    assert test.p_value == pytest.approx(float(np.squeeze(p_value)), rel=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ["fisher", "robust"])
@pytest.mark.parametrize("stored", ["C", "csr_array"])
def test_score_test_is_that_of_the_efficient_scores(n_classes, kind, stored):
    problem = make_problem(n_classes, n_rows=200, zero_weights=False)
    extra = np.random.default_rng(3).normal(size=(200, 2))
    model = fitted(problem)
    theta = np.column_stack([model.coef_, np.zeros((len(model.coef_), 2)), model.intercept_])
    design = np.column_stack([problem.X, extra, np.ones(200)])
    scores = np.array([np.kron(score_of(theta @ x, k), x) for x, k in zip(design, problem.codes, strict=True)])
    fisher = fisher_by_outer_products(design, problem.codes, problem.weight, theta)
    new = np.zeros(theta.shape, dtype=bool)
    new[:, 3:5] = True
    kept = np.ones(theta.shape, dtype=bool)
    if n_classes > 2:
        kept[0] = False
    new, old = (new & kept).ravel(), (~new & kept).ravel()
    turn = fisher[np.ix_(new, old)] @ np.linalg.inv(fisher[np.ix_(old, old)])
    rows = scores[:, new] - scores[:, old] @ turn.T
    total = problem.weight @ rows
    by_model = fisher[np.ix_(new, new)] - turn @ fisher[np.ix_(old, new)]
    spread = by_model if kind == "fisher" else np.einsum("i,ij,ik->jk", problem.weight, rows, rows)
    test = ask(problem, model, kind).score_test(as_kinds(extra)[stored])
    assert test.dof == 2 * (n_classes - 1)
    assert test.statistic == pytest.approx(total @ np.linalg.solve(spread, total), rel=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_score_test_is_what_wald_and_likelihood_ratio_are_near(n_classes):
    """The three agree to first order, where the further columns matter little."""
    problem = make_problem(n_classes, n_rows=4000, zero_weights=False)
    part = problem._replace(X=problem.X[:, :2])
    noise = np.random.default_rng(3).normal(size=(4000, 2))
    whole = part._replace(X=np.column_stack([part.X, noise]))
    smaller, larger = ask(part, fitted(part), "fisher"), ask(whole, fitted(whole), "fisher")
    score = smaller.score_test(noise)
    assert score.dof == 2 * (n_classes - 1)
    assert score.statistic == pytest.approx(larger.lr_test(smaller).statistic, rel=0.02)
    assert score.statistic == pytest.approx(larger.wald_test(["x2", "x3"]).statistic, rel=0.02)


@pytest.mark.parametrize("kind", ["fisher", "robust"])
def test_scales_of_columns_change_no_test(kind):
    problem = make_problem(3, n_rows=200)
    extra = np.random.default_rng(3).normal(size=(200, 2))
    scaled = problem._replace(X=problem.X * [1e-7, 1.0, 1e7])
    plain, other = (ask(each, fitted(each), kind) for each in (problem, scaled))
    np.testing.assert_allclose(other.z, plain.z, rtol=1e-7)
    assert other.score_test(extra * [1e7, 1e-7]) == pytest.approx(plain.score_test(extra), rel=1e-7)
    assert other.wald_test(["x0", "x2"]) == pytest.approx(plain.wald_test(["x0", "x2"]), rel=1e-7)


@pytest.mark.parametrize("kind", ["fisher", "HC0"])
def test_marginal_effects_of_two_classes_as_in_statsmodels(kind):
    X, y = SPECTOR.exog.to_numpy(), SPECTOR.endog.to_numpy()
    peer = sm.Logit(y, with_intercept_last(X)).fit(disp=0, cov_type={"fisher": "nonrobust"}.get(kind, kind))
    margins = peer.get_margeff()
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    ours = infer(model, X, y, covariance={"HC0": "robust"}.get(kind, kind)).marginal_effects()
    assert ours.classes == (1.0,)
    np.testing.assert_allclose(ours.effects[0], margins.margeff, rtol=1e-8)
    np.testing.assert_allclose(ours.standard_errors[0], margins.margeff_se, rtol=1e-7)
    np.testing.assert_allclose(ours.p_values[0], margins.pvalues, rtol=1e-6)
    np.testing.assert_allclose(ours.conf_int()[0], margins.conf_int(), rtol=1e-6)


def test_marginal_effects_of_several_classes_as_in_statsmodels(monkeypatch):
    X, y = ANES.exog.to_numpy(), ANES.endog.to_numpy()
    margins = sm.MNLogit(y, with_intercept_last(X)).fit(disp=0).get_margeff()
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    for n_bytes, reference in ((2**22, None), (8 * 7 * 6 * 100, 4.0)):
        monkeypatch.setattr("sknatgrad.inference._margins.EFFECT_BYTES", n_bytes)
        ours = infer(model, X, y, reference=reference).marginal_effects()
        assert ours.classes == tuple(np.arange(7.0))
        np.testing.assert_allclose(ours.effects, margins.margeff.T, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(ours.standard_errors, margins.margeff_se.T, rtol=1e-6)


def test_marginal_effects_count_rows_by_their_weight():
    problem = make_problem(3, n_rows=60)
    times = np.random.default_rng(0).integers(0, 4, size=60)
    weighted = problem._replace(weight=times.astype(float))
    model = fitted(weighted)
    ours = ask(weighted, model, "fisher").marginal_effects()
    rows = np.repeat(np.arange(60), times)
    repeated = infer(model, problem.X[rows], problem.codes[rows]).marginal_effects()
    np.testing.assert_allclose(ours.effects, repeated.effects, rtol=1e-10)
    np.testing.assert_allclose(ours.standard_errors, repeated.standard_errors, rtol=1e-9)


def separated(n_classes, kind, seed=0):
    """Random rows, some of which a direction separates."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 3)) * [1e-3, 1.0, 1e3]
    y = rng.integers(0, n_classes, size=60)
    if kind == "quasi":
        # a column that only rows of the last class have
        X = np.column_stack([X, np.where((y == n_classes - 1) & (rng.uniform(size=60) < 0.4), 5.0, 0.0)])
    if kind == "complete":
        X[:, 1] += 20.0 * y
    return X, y


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ["quasi", "complete"])
@pytest.mark.parametrize("by", ["ours", "lbfgs"])
def test_separation_is_noticed_and_named(n_classes, kind, by):
    X, y = separated(n_classes, kind)
    if by == "ours":
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    else:
        model = LogisticRegression(C=np.inf).fit(X, y)
    how = {"quasi": r"in part, \d+ rows along the direction .* x3 for", "complete": "completely, 60 rows"}[kind]
    with pytest.warns(InferenceWarning, match=f"the classes are separated {how}") as caught:
        infer(model, X, y)
    assert len(caught) == 1


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_overlapping_classes_are_not_called_separated(n_classes):
    problem = make_problem(n_classes, n_rows=120)
    ask(problem, fitted(problem), "fisher")


def test_separated_rows_are_no_trouble_under_a_penalty():
    X, y = separated(2, "complete")
    infer(NaturalGradientLogisticRegression().fit(X, y), X, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_curvature_at_an_optimum_never_rules_out_a_separation_that_there_is(n_classes):
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(14 + seed % 12, 3)).round(1)
        y = rng.permutation(np.arange(len(X)) % n_classes)
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
        totals = infer(model, X, y).totals
        separable = separation(totals.rows, 4, n_classes) is not None
        possible = may_be_separable(totals.plain().fisher, totals.gram(), n_classes)
        assert possible or not separable
        found.append((separable, possible))
    # both happen, and the cheap question settles some
    assert {(True, True), (False, False)} <= set(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_some_columns_are_solved_for_as_all_are(kind, n_classes, C):
    problem = make_problem(n_classes, n_rows=150, n_features=5)
    problem = problem._replace(X=problem.X * [1e-4, 1.0, 1.0, 1.0, 1e4])
    model = fitted(problem, C)
    chosen = ["(Intercept)", 4, 0]
    for reference in (0, 1):
        whole = ask(problem, model, kind, reference=reference)
        found = ask(problem, model, kind, reference=reference, features=chosen)
        places = np.ravel(6 * np.arange(n_classes - 1)[:, None] + [5, 4, 0])
        std = whole.standard_errors.ravel()[places]
        expected = whole.covariance[np.ix_(places, places)] / np.outer(std, std)
        close = 1e-11 if kind == "fisher" else 1e-6
        np.testing.assert_allclose(found.covariance / np.outer(std, std), expected, atol=close)
        np.testing.assert_array_equal(found.params, whole.params[:, [5, 4, 0]])
        assert found.feature_names == ("(Intercept)", "x4", "x0")
        assert found.loglik == pytest.approx(whole.loglik)
        assert found.wald_test("x4").statistic == pytest.approx(whole.wald_test("x4").statistic, rel=1e-5)
        # by a few random vectors
        assert found.effective_dof == pytest.approx(whole.effective_dof, abs=2.0 if C == 1.0 else 1e-9)
        assert [line.name for line in found.summary().tables[0][1]] == ["(Intercept)", "x4", "x0"]
        with pytest.raises(ValueError, match="call infer without features"):
            found.marginal_effects()


def test_some_columns_of_a_sparse_table_too_wide_for_a_matrix():
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


def test_columns_that_nothing_determines_are_found_out_without_a_matrix():
    problem = make_problem(2, n_rows=90)
    doubled = problem._replace(X=np.column_stack([problem.X, problem.X[:, 0]]))
    with pytest.warns(InferenceWarning, match="collinear or constant columns, x0, have"):
        result = ask(doubled, fitted(doubled), "fisher", features=[0, 1])
    assert np.isnan(result.standard_errors[0, 0])
    expected = ask(problem, fitted(problem), "fisher").standard_errors[0, 1]
    np.testing.assert_allclose(result.standard_errors[0, 1], expected, rtol=1e-8)


def white_by_brute_force(problem, theta, every):
    """Orme's form, row by row, for two classes: indicators (y - p)(1 - 2p) x_j x_m beside the scores (y - p) x."""
    design, weight = problem.design, problem.weight
    p = 1 / (1 + np.exp(-design @ theta[0]))
    d = design.shape[1]
    pairs = [(j, m) for j in range(d) for m in range(j, d) if every or m == j]
    z = np.column_stack([design, *((1 - 2 * p) * design[:, j] * design[:, m] for j, m in pairs)])
    score = z.T @ (weight * (problem.codes - p))
    covariance = z.T @ (z * (weight * p * (1 - p))[:, None])
    b, e = slice(d), slice(d, None)
    shares = np.linalg.solve(covariance[b, b], covariance[b, e])
    own = covariance[e, e] - covariance[e, b] @ shares
    delta = score[e] - shares.T @ score[b]
    return delta @ np.linalg.pinv(own, rcond=1e-9, hermitian=True) @ delta, np.linalg.matrix_rank(own, tol=1e-9)


@pytest.mark.parametrize("every", [False, True])
def test_white_compares_the_two_fisher_informations(every):
    problem = make_problem(2, n_rows=120)
    model = fitted(problem)
    theta = np.column_stack([model.coef_, model.intercept_])
    statistic, dof = white_by_brute_force(problem, theta, every)
    found = ask(problem, model, "fisher").information_matrix_test(every=every)
    np.testing.assert_allclose(found.statistic, statistic, rtol=1e-7)
    assert found.dof == dof == (10 if every else 4)
    np.testing.assert_allclose(found.p_value, stats.chi2.sf(statistic, dof), rtol=1e-6)


@pytest.mark.parametrize("every", [False, True])
def test_white_of_several_classes_is_the_difference_of_the_matrices(every, monkeypatch):
    """δ beside the scores is that of the squares of the scores, summed as the empirical and the true Fisher are."""
    problem = make_problem(3, n_rows=120)
    model = fitted(problem)
    totals = ask(problem, model, "fisher").totals
    kernel = IndicatorKernel.of(totals.theta, totals.contrasts, every=every)
    observed, _ = totals.total(kernel)
    difference = totals.squared_scores(1) - totals.plain().fisher
    blocks = difference.reshape(2, 4, 2, 4)
    for index, ((a, b), (j, m)) in enumerate(product(kernel.classes, kernel.columns)):
        if a > 0:
            np.testing.assert_allclose(observed[8 + index], blocks[a - 1, j, b - 1, m], atol=1e-10)
    tests = [ask(problem, model, "fisher", reference=k).information_matrix_test(every=every) for k in range(3)]
    np.testing.assert_allclose([test.statistic for test in tests], tests[0].statistic, rtol=1e-6)
    assert len({test.dof for test in tests}) == 1
    monkeypatch.setattr("sknatgrad.inference._white.ROW_BYTES", 1)
    again = ask(problem, model, "fisher").information_matrix_test(every=every)
    np.testing.assert_allclose(again.statistic, tests[0].statistic, rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_white_rejects_true_models_as_often_as_it_says_and_wrong_ones_more(n_classes):
    rng = np.random.default_rng(0)
    rejected = {0.0: 0, 1.0: 0}
    for missing in rejected:
        for _ in range(200):
            X = rng.normal(size=(500, 2))
            logits = X @ (0.5 * rng.normal(size=(2, n_classes)))
            logits[:, 0] += missing * X[:, 0] ** 2
            y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
            model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
            rejected[missing] += infer(model, X, y).information_matrix_test().p_value < 0.05
    # 10 expected of 200, with a standard deviation of 3
    assert rejected[0.0] <= 20
    assert rejected[1.0] > 60


def test_white_is_refused_where_it_means_nothing():
    problem = make_problem(2, n_rows=90)
    with pytest.raises(ValueError, match="information_matrix_test asks about maximum likelihood"):
        ask(problem, fitted(problem, 1.0), "fisher").information_matrix_test()
    with pytest.raises(ValueError, match="needs weights='frequency'"):
        ask(problem, fitted(problem), "robust", weights="sampling").information_matrix_test()


def test_a_column_that_is_in_the_model_already_has_nothing_to_test():
    problem = make_problem(2, n_rows=90)
    result = ask(problem, fitted(problem), "fisher")
    with pytest.raises(ValueError, match="X_extra holds nothing beside the columns of the model"):
        result.score_test(problem.X[:, :1] * 3.0)
    more = np.random.default_rng(0).normal(size=(90, 1))
    both = result.score_test(np.column_stack([problem.X[:, 0], more]))
    assert both.dof == 1
    assert both.statistic == pytest.approx(result.score_test(more).statistic, rel=1e-8)


def test_inflation_solves_its_equations():
    """By Monte Carlo: E[Ψ²] = κ τ² and E[Ψ'] = κ, and τ²/b is what is returned."""
    z = np.random.default_rng(0).normal(size=200_000)
    for share in (0.1, 0.3):

        def moments(tau, b):
            low, high = tau * z - b, tau * z
            for _ in range(60):
                middle = 0.5 * (low + high)
                above = middle + b / (1 + np.exp(-middle)) > tau * z
                low, high = np.where(above, low, middle), np.where(above, middle, high)
            p = 1 / (1 + np.exp(-low))
            return np.mean((b * p) ** 2), np.mean(b * p * (1 - p) / (1 + b * p * (1 - p)))

        def off(logs, share=share):
            tau, b = np.exp(logs)
            square, slope = moments(tau, b)
            return square / tau**2 - share, slope - share

        tau, b = np.exp(optimize.fsolve(off, [0.0, 0.0]))
        assert inflation(share) == pytest.approx(tau**2 / b, rel=0.02)


@pytest.mark.parametrize("share", [0.3, 0.4])
def test_inflation_is_what_simulated_statistics_show(share):
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(4):
        X = rng.normal(size=(1000, int(1000 * share)))
        y = rng.integers(0, 2, size=1000)
        model = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
        with pytest.warns(InferenceWarning, match=f"high-dimensional theory expects .* at {share:.2f} columns"):
            squares.append(infer(model, X, y).z ** 2)
    # of some thousand squares, which hang together a little
    assert np.mean(squares) == pytest.approx(inflation(share), rel=0.12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_crowded_rows_are_said_to_be(n_classes):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 24)), rng.integers(0, n_classes, size=100)
    said = r"to be 1\.17 times too small at 0\.25 columns a row, and chi-squared statistics 1\.37 times too large"
    with pytest.warns(
        InferenceWarning, match=rf"{25 * (n_classes - 1)} coefficients .* for 100 observations: .* {said}"
    ):
        infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y)
    infer(NaturalGradientLogisticRegression(C=np.inf).fit(X[:, :18], y), X[:, :18], y)


def test_a_penalty_leaves_fewer_effective_coefficients():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 30)), rng.integers(0, 2, size=40)
    with pytest.warns(
        InferenceWarning, match=r"effective coefficients are many for 40 observations: .* separable from half"
    ):
        infer(NaturalGradientLogisticRegression(C=1e4).fit(X, y), X, y)
    infer(NaturalGradientLogisticRegression(C=1e-3).fit(X, y), X, y)


def test_the_answer_shows_itself():
    problem = make_problem(2, n_rows=90)
    result = ask(problem, fitted(problem), "fisher")
    assert repr(result) == str(result.summary())
    assert result._repr_html_() == result.summary()._repr_html_()
    assert result != ask(problem, fitted(problem), "fisher")


def test_sampling_weights_have_no_likelihood():
    problem = make_problem(2, n_rows=90)
    result = ask(problem, fitted(problem), "robust", weights="sampling")
    assert np.isnan([result.aic, result.bic]).all()
    text = str(result.summary())
    assert "M = Σ s² u uᵀ over rows (HC0)" in text
    assert "deviance" not in text
    assert "AIC" not in text
    counted = str(ask(problem, fitted(problem), "robust").summary())
    assert "M = Σ s u uᵀ over rows (HC0)" in counted
    assert f"{problem.weight.sum():.2f} observations" in counted


def test_names_come_from_the_table_where_the_fit_was_told_none():
    problem = make_problem(2, n_rows=90)
    model = fitted(problem)
    table = pd.DataFrame(problem.X, columns=["age", "height", "weight"])
    result = infer(model, table, problem.codes, sample_weight=problem.weight, features=["height"])
    assert result.feature_names == ("height",)


def test_class_weights_are_no_frequencies():
    problem = make_problem(2, n_rows=200, zero_weights=False)
    model = NaturalGradientLogisticRegression(C=np.inf, class_weight={0: 1.0, 1: 3.0}).fit(problem.X, problem.codes)
    with pytest.warns(InferenceWarning, match="class_weight makes weights .* ask with weights='sampling'"):
        infer(model, problem.X, problem.codes)
    found = infer(model, problem.X, problem.codes, weights="sampling", covariance="robust")
    weighted = problem._replace(weight=np.where(problem.codes == 1, 3.0, 1.0))
    expected = by_brute_force(weighted, model, "robust", "sampling", np.inf)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-9)


def test_few_groups_are_said_to_be():
    problem = make_problem(2, n_rows=200)
    with pytest.warns(InferenceWarning, match="8 groups are few: .* fewer than 20 to 50"):
        infer(
            fitted(problem),
            problem.X,
            problem.codes,
            sample_weight=problem.weight,
            covariance="cluster",
            groups=np.arange(200) % 8,
        )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_complete_separation_shows_without_a_program(n_classes, monkeypatch):
    monkeypatch.setattr("sknatgrad.inference._separation.PROGRAM_SIZE", 100)
    X, y = separated(n_classes, "complete")
    model = NaturalGradientLogisticRegression(C=np.inf)
    with pytest.warns(SeparationWarning):
        model.fit(X, y)
    with pytest.warns(InferenceWarning, match="separated completely, as each row") as caught:
        infer(model, X, y)
    assert "smaller tol" not in str(caught[0].message)


def test_the_column_that_separates_is_named_first():
    """Whatever its scale, and those of the others."""
    rng = np.random.default_rng(0)
    for scale in (1e-4, 1e4):
        X = rng.normal(size=(100, 4)) * [1.0, 1.0, scale, 1.0]
        y = rng.integers(0, 2, size=100)
        X[:, 2] = np.where((y == 1) & (rng.uniform(size=100) < 0.3), 1.0, 0.0) * scale
        with pytest.warns(SeparationWarning):
            model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
        with pytest.warns(InferenceWarning, match=r"along the direction \+\S+ x2 for"):
            infer(model, X, y)


def lr_cases():
    problem = make_problem(2, n_rows=90)
    result = ask(problem, fitted(problem), "fisher")

    def other(X=problem.X[:, :1], codes=problem.codes, weight=problem.weight, **settings):
        of_other = problem._replace(X=X, codes=codes, weight=weight)
        return ask(of_other, fitted(of_other, **settings), "fisher")

    yield result, fitted(problem), "other is a NaturalGradientLogisticRegression; it must be what infer"
    yield result, other(codes=problem.codes[::-1]), "compare only on the same rows"
    yield result, other(weight=problem.weight[::-1].copy()), "compare only on the same rows"
    # not among its columns, and better
    noise = np.random.default_rng(0).normal(size=(90, 2))
    yield ask(problem._replace(X=noise), fitted(problem._replace(X=noise)), "fisher"), other(), "larger log-likelihood"


@pytest.mark.parametrize("case", range(4))
def test_models_that_are_not_nested_are_refused(case):
    result, other, message = list(lr_cases())[case]
    with pytest.raises(ValueError, match=message):
        result.lr_test(other)


def test_constraints_of_every_kind():
    problem = make_problem(2, n_rows=90)
    model = fitted(problem)
    result = infer(model, pd.DataFrame(problem.X, columns=list("abc")), problem.codes, sample_weight=problem.weight)
    expected = result.wald_test(["b", "c"])
    assert result.wald_test(pd.Index(["b", "c"])) == expected
    rows = np.eye(4)[1:3]
    for matrix in (rows, rows.tolist(), pd.DataFrame(rows, columns=list("abcd"))):
        assert result.wald_test(matrix) == expected
    with pytest.raises(ValueError, match="value holds 3 numbers; it must be one, or one for each of 2"):
        result.wald_test(rows, value=[1, 2, 3])
    for wrong in (0, [[np.nan, 0, 0, 0]], [["a", 0, 0, 0]], np.ones((2, 3))):
        with pytest.raises(ValueError, match="constraint has shape"):
            result.wald_test(wrong)
    with pytest.raises(ValueError, match="contradict each other"):
        result.wald_test([[1, 0, 0, 0], [2, 0, 0, 0]], value=[0, 1])
    assert result.wald_test([[1, 0, 0, 0], [2, 0, 0, 0]], value=[1, 2]).dof == 1
    with pytest.raises(ValueError, match=r"level='0\.9' is no coverage"):
        result.conf_int("0.9")


def test_groups_may_be_of_any_kind():
    problem = make_problem(2, n_rows=200)
    numbers = np.arange(200) % 40
    mixed = np.array([str(k) if k % 2 else k for k in numbers.tolist()], dtype=object)
    model = fitted(problem)
    ask_by = {"sample_weight": problem.weight, "covariance": "cluster"}
    expected, found = (infer(model, problem.X, problem.codes, groups=g, **ask_by) for g in (numbers, mixed))
    np.testing.assert_array_equal(found.covariance, expected.covariance)


def test_weights_of_0_and_1_are_frequencies_and_samples():
    problem = make_problem(2, n_rows=200)
    problem = problem._replace(weight=(problem.weight > 1.0).astype(float))
    model = fitted(problem)
    expected, found = (ask(problem, model, "fisher", weights=kind) for kind in ("frequency", "sampling"))
    np.testing.assert_array_equal(found.covariance, expected.covariance)


@pytest.mark.parametrize("tol", [1e-5, 1e-2, 0.1])
@pytest.mark.parametrize("seed", range(8))
def test_the_data_of_a_loose_fit_are_known_again(tol, seed):
    """Rare dummies without a penalty, heavy tails, and several classes: the last step is long, and no Newton step."""
    rng = np.random.default_rng(seed)
    dummies = 1.0 * (rng.uniform(size=(200, 3)) < 0.1)
    heavy = rng.standard_cauchy(size=(500, 3))
    tables = [(dummies, np.inf, 2), (heavy, np.inf, 3), (np.exp(rng.normal(size=(200, 3))), 1.0, 2)]
    for X, C, n_classes in tables:
        logits = 2 * (X - X.mean(axis=0)).clip(-3, 3) @ rng.normal(size=(3, n_classes))
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = NaturalGradientLogisticRegression(C=C, tol=tol).fit(X, y)
            infer(model, X, y)


def test_a_fit_that_ran_out_of_iterations_at_the_optimum_is_no_reason_for_a_word():
    problem = make_problem(2, n_rows=200)
    with pytest.warns(ConvergenceWarning):
        model = fitted(problem, tol=0.0, max_iter=9)
    assert not model.converged_
    ask(problem, model, "fisher")


def test_light_rows_are_separated_too():
    """What is far is judged in units of the lightest row."""
    X, y = separated(2, "quasi")
    weight = np.full(60, 1 / 60)
    model = LogisticRegression(C=np.inf, tol=1e-2).fit(X[:, [1, 3]], y, sample_weight=weight)
    with pytest.warns(InferenceWarning, match="the classes are separated in part"):
        infer(model, X[:, [1, 3]], y, sample_weight=weight, weights="sampling", covariance="robust")


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e5])
def test_columns_far_from_zero_are_separated_too(shift):
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X + shift, y)
    with pytest.warns(InferenceWarning, match=r"separated completely, 200 rows along the direction \+\S+ x0"):
        infer(model, X + shift, y)
