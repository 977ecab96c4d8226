"""Wald, likelihood-ratio, score and information-matrix tests against brute force and statsmodels."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from problems import (
    as_kinds,
    fisher_by_outer_products,
    fit_problem,
    infer_problem,
    make_problem,
    score_of,
    with_intercept_last,
)
from scipy import stats

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._rows.threads import Workers
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.inference._hypothesis_tests.information_matrix import IndicatorKernel
from sknatgrad.inference._row_sums.rows import InMemoryRows, OutOfCoreRows


def test_likelihood_ratio_and_wald_tests(spector):
    X, y = spector.exog.to_numpy(), spector.endog.to_numpy()
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
    # a constraint that is given twice counts once
    assert larger.wald_test(np.vstack([rows, rows]), [0.5, 1.0, 0.5, 1.0]) == pytest.approx(test, rel=1e-8)
    assert larger.wald_test(["x0", "x1"]) == pytest.approx(larger.wald_test(np.eye(4)[:2]))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_more_constraints_than_the_covariance_of_clusters_has_rank_are_refused(n_classes):
    """The scores of G groups add up to 0, so their covariance has a rank of G - 1; with more tested it is no test."""
    problem = make_problem(n_classes, n_rows=300, n_features=6)
    model, n_contrasts = fit_problem(problem), n_classes - 1
    settings = {"sample_weight": problem.weight, "covariance": "cluster"}
    names = [f"x{j}" for j in range(6)]
    for n_groups in (2, 4, 5):
        with pytest.warns(InferenceWarning, match="groups are few"):
            result = infer(model, problem.X, problem.codes, groups=np.arange(300) % n_groups, **settings)
        message = (
            rf"has {{}} linearly independent rows, but their .* of {n_groups} groups\) has rank {n_groups - 1}, so"
        )
        for n_tested in range(1, 7):
            if n_tested * n_contrasts < n_groups:
                assert result.wald_test(names[:n_tested]).dof == n_tested * n_contrasts
                continue
            with pytest.raises(ValueError, match=message.format(n_tested * n_contrasts)):
                result.wald_test(names[:n_tested])
        # of one contrast in several forms
        rows = np.vstack([np.eye(7 * n_contrasts)[0], 2 * np.eye(7 * n_contrasts)[0]])
        assert result.wald_test(rows).dof == 1


def test_more_scores_than_groups_are_refused():
    problem = make_problem(2, n_rows=300, n_features=6)
    part = problem._replace(X=problem.X[:, :2])
    settings = {"sample_weight": problem.weight, "covariance": "cluster", "groups": np.arange(300) % 4}
    with pytest.warns(InferenceWarning, match="groups are few"):
        result = infer(fit_problem(part), part.X, part.codes, **settings)
    assert result.score_test(problem.X[:, 2:5]).dof == 3
    # a copy is no further coefficient
    assert result.score_test(problem.X[:, [2, 3, 4, 4]]).dof == 3
    with pytest.raises(ValueError, match=r"X_extra has 4 coefficients to test, but .* of 4 groups\) has rank 3, so"):
        result.score_test(problem.X[:, 2:])


def test_a_column_far_from_zero_counts_as_a_constraint():
    """Its coefficient and the intercept have a correlation of -1 up to 1e-12."""
    rng = np.random.default_rng(0)
    year, y = 1e6 + rng.normal(size=200), rng.integers(0, 2, 200)
    far, near = (
        infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y) for X in (year[:, None], year[:, None] - 1e6)
    )
    test = far.wald_test(["x0", "(Intercept)"])
    moved = near.wald_test([[1.0, 0.0], [-1e6, 1.0]])
    assert test.dof == moved.dof == 2
    assert test.statistic == pytest.approx(moved.statistic, rel=1e-3)


def test_constraints_of_every_kind():
    problem = make_problem(2, n_rows=90)
    model = fit_problem(problem)
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
    with pytest.raises(ValueError, match=r"level='0\.9' is not a coverage"):
        result.conf_int("0.9")


def test_invalid_arguments_of_the_methods_of_a_result():
    problem = make_problem(3, n_rows=60)
    shrunk = infer_problem(problem, fit_problem(problem, 1.0), "fisher")
    result = infer_problem(problem, fit_problem(problem), "fisher")
    for call, message in [
        (lambda: result.conf_int(95), "level=95 is not a coverage"),
        (lambda: result.wald_test("age"), r"constraint names \['age'\]"),
        (lambda: result.wald_test([]), "constraint names"),
        (lambda: result.wald_test([[1.0, 2.0]]), r"constraint has shape \(1, 2\)"),
        (lambda: result.wald_test(np.zeros((1, 8))), "not all zero"),
        (lambda: result.lr_test(result), "other must be smaller"),
        (lambda: shrunk.score_test(problem.X), "penalised"),
        (lambda: result.score_test(problem.X[1:]), "X_extra has 59 rows, but the fit had 60"),
        (lambda: result.score_test(np.full((60, 1), np.nan)), "NaN"),
        (lambda: result.marginal_effects().conf_int(0.0), "level=0.0 is not a coverage"),
        (lambda: result.lr_test(infer_problem(problem, fit_problem(problem, 1.0), "fisher")), "penalised"),
        (
            lambda: result.lr_test(infer_problem(problem, fit_problem(problem), "robust", weights="sampling")),
            "wald_test",
        ),
        (
            lambda: result.lr_test(infer_problem(make_problem(2), fit_problem(make_problem(2)), "fisher")),
            "only on the same rows",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def lr_cases():
    problem = make_problem(2, n_rows=90)
    result = infer_problem(problem, fit_problem(problem), "fisher")

    def other(X=problem.X[:, :1], codes=problem.codes, weight=problem.weight, **settings):
        of_other = problem._replace(X=X, codes=codes, weight=weight)
        return infer_problem(of_other, fit_problem(of_other, **settings), "fisher")

    yield result, fit_problem(problem), "other is a NaturalGradientLogisticRegression; it must be the result of infer"
    yield result, other(codes=problem.codes[::-1]), "compared only on the same rows"
    yield result, other(weight=problem.weight[::-1].copy()), "compared only on the same rows"
    # not among its columns, and better
    noise = np.random.default_rng(0).normal(size=(90, 2))
    yield (
        infer_problem(problem._replace(X=noise), fit_problem(problem._replace(X=noise)), "fisher"),
        other(),
        "larger log-likelihood",
    )


@pytest.mark.parametrize("case", range(4))
def test_models_that_are_not_nested_are_refused(case):
    result, other, message = list(lr_cases())[case]
    with pytest.raises(ValueError, match=message):
        result.lr_test(other)


def test_rows_in_memory_and_elsewhere_are_not_compared():
    problem = make_problem(2, n_rows=90)
    rows = InMemoryRows(problem.X, problem.codes, problem.weight)
    elsewhere = OutOfCoreRows(rows.source(1, Workers(), Limits()), rows.counts(2), rows.shape(1, 4))
    assert not rows.has_labels_and_weights_of(elsewhere)
    assert not elsewhere.has_labels_and_weights_of(rows)
    assert elsewhere.has_labels_and_weights_of(elsewhere)


def test_score_test_as_in_statsmodels(spector):
    X, y = spector.exog.to_numpy(), spector.endog.to_numpy()
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
    model = fit_problem(problem)
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
    projection = fisher[np.ix_(new, old)] @ np.linalg.inv(fisher[np.ix_(old, old)])
    rows = scores[:, new] - scores[:, old] @ projection.T
    total = problem.weight @ rows
    model_based = fisher[np.ix_(new, new)] - projection @ fisher[np.ix_(old, new)]
    meat = model_based if kind == "fisher" else np.einsum("i,ij,ik->jk", problem.weight, rows, rows)
    test = infer_problem(problem, model, kind).score_test(as_kinds(extra)[stored])
    assert test.dof == 2 * (n_classes - 1)
    assert test.statistic == pytest.approx(total @ np.linalg.solve(meat, total), rel=1e-8)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_score_test_is_near_wald_and_likelihood_ratio(n_classes):
    """The three agree to first order if the further columns have small effects."""
    problem = make_problem(n_classes, n_rows=4000, zero_weights=False)
    part = problem._replace(X=problem.X[:, :2])
    noise = np.random.default_rng(3).normal(size=(4000, 2))
    whole = part._replace(X=np.column_stack([part.X, noise]))
    smaller, larger = (
        infer_problem(part, fit_problem(part), "fisher"),
        infer_problem(whole, fit_problem(whole), "fisher"),
    )
    score = smaller.score_test(noise)
    assert score.dof == 2 * (n_classes - 1)
    assert score.statistic == pytest.approx(larger.lr_test(smaller).statistic, rel=0.02)
    assert score.statistic == pytest.approx(larger.wald_test(["x2", "x3"]).statistic, rel=0.02)


@pytest.mark.parametrize("kind", ["fisher", "robust"])
def test_scales_of_columns_change_no_test(kind):
    problem = make_problem(3, n_rows=200)
    extra = np.random.default_rng(3).normal(size=(200, 2))
    scaled = problem._replace(X=problem.X * [1e-7, 1.0, 1e7])
    plain, other = (infer_problem(each, fit_problem(each), kind) for each in (problem, scaled))
    np.testing.assert_allclose(other.z, plain.z, rtol=1e-7)
    assert other.score_test(extra * [1e7, 1e-7]) == pytest.approx(plain.score_test(extra), rel=1e-7)
    assert other.wald_test(["x0", "x2"]) == pytest.approx(plain.wald_test(["x0", "x2"]), rel=1e-7)


def test_a_column_that_is_in_the_model_already_has_nothing_to_test():
    problem = make_problem(2, n_rows=90)
    result = infer_problem(problem, fit_problem(problem), "fisher")
    with pytest.raises(ValueError, match="X_extra has only linear combinations of the columns of the model"):
        result.score_test(problem.X[:, :1] * 3.0)
    more = np.random.default_rng(0).normal(size=(90, 1))
    both = result.score_test(np.column_stack([problem.X[:, 0], more]))
    assert both.dof == 1
    assert both.statistic == pytest.approx(result.score_test(more).statistic, rel=1e-8)


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
    model = fit_problem(problem)
    theta = np.column_stack([model.coef_, model.intercept_])
    statistic, dof = white_by_brute_force(problem, theta, every)
    found = infer_problem(problem, model, "fisher").information_matrix_test(every=every)
    np.testing.assert_allclose(found.statistic, statistic, rtol=1e-7)
    assert found.dof == dof == (10 if every else 4)
    np.testing.assert_allclose(found.p_value, stats.chi2.sf(statistic, dof), rtol=1e-6)


@pytest.mark.parametrize("every", [False, True])
def test_white_of_several_classes_is_the_difference_of_the_matrices(every, limits):
    """δ is the difference of the sums of squared scores that empirical and true Fisher information have."""
    problem = make_problem(3, n_rows=120)
    model = fit_problem(problem)
    row_sums = infer_problem(problem, model, "fisher").row_sums
    kernel = IndicatorKernel.of(row_sums.theta, row_sums.contrasts, 2**22, np.arange(4), np.zeros(4), every=every)
    observed, _ = row_sums.total(kernel)
    difference = row_sums.squared_scores(1) - row_sums.in_contrasts().fisher
    blocks = difference.reshape(2, 4, 2, 4)
    for index, ((a, b), (j, m)) in enumerate(product(kernel.classes, kernel.columns)):
        if a > 0:
            np.testing.assert_allclose(observed[8 + index], blocks[a - 1, j, b - 1, m], atol=1e-10)
    tests = [
        infer_problem(problem, model, "fisher", reference=k).information_matrix_test(every=every) for k in range(3)
    ]
    np.testing.assert_allclose([test.statistic for test in tests], tests[0].statistic, rtol=1e-6)
    assert len({test.dof for test in tests}) == 1
    limits(row_bytes=1)
    again = infer_problem(problem, model, "fisher").information_matrix_test(every=every)
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


def test_white_is_refused_for_penalties_and_sampling_weights():
    problem = make_problem(2, n_rows=90)
    with pytest.raises(ValueError, match="information_matrix_test needs maximum likelihood"):
        infer_problem(problem, fit_problem(problem, 1.0), "fisher").information_matrix_test()
    with pytest.raises(ValueError, match="needs weights='frequency'"):
        infer_problem(problem, fit_problem(problem), "robust", weights="sampling").information_matrix_test()
