"""Every metric against brute force; the laws of merging, multiplying and solving."""

from itertools import pairwise

import numpy as np
import pytest
from problems import FISHERS, fisher_by_outer_products, make_problem, probabilities
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence
from sknatgrad._limits import Limits
from sknatgrad._model.categorical import predict
from sknatgrad._model.information import (
    BlockInformation,
    IdentityInformation,
    preconditioner_of,
    restructured,
    symmetric,
)
from sknatgrad._model.kernels import FisherProductKernel, InformationKernel, MeasureKernel, MetricScores
from sknatgrad._model.layout import prior_precision, split, zero_sum
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._rows.design import Design
from sknatgrad._rows.memory import block_bounds
from sknatgrad._solver.conjugate_gradients import Status

PROBLEMS = [(n_classes, intercept) for n_classes in (2, 4) for intercept in (True, False)]


def drawn_labels(problem, seed):
    """The labels of a seed: one uniform number per row, from Philox, compared with the cumulative probabilities."""
    draw = np.random.Generator(np.random.Philox(seed)).random(len(problem.X))
    p = probabilities(problem.design @ problem.theta.T)
    if len(problem.theta) == 1:
        return (draw < p[:, 1]).astype(int)
    return (draw[:, None] > p.cumsum(axis=1)).sum(axis=1)


def by_brute_force(problem, fisher, seed=0):
    design, codes, weight, theta = problem.design, problem.codes, problem.weight, problem.theta
    exact = fisher_by_outer_products(design, codes, weight, theta)
    if fisher == "true":
        return exact
    if fisher == "empirical":
        return fisher_by_outer_products(design, codes, weight, theta, labels="observed")
    if fisher == "monte_carlo":
        return fisher_by_outer_products(design, drawn_labels(problem, seed), weight, theta, labels="observed")
    if fisher == "diagonal":
        return np.diag(np.diag(exact))
    if fisher == "identity":
        return weight.sum() * np.eye(theta.size)
    q, d = theta.shape
    blocks = exact.reshape(q, d, q, d)
    features = np.einsum("kikj->ij", blocks)  # sum of the diagonal (d, d) blocks
    scores = np.zeros((q, q))
    for x, s in zip(design, weight, strict=True):
        p = probabilities((theta @ x)[None])[0]
        scores += s * (p[1] * (1 - p[1]) if q == 1 else np.diag(p) - np.outer(p, p))
    return np.kron(scores, features) / np.trace(scores)


def measured(problem, fisher, seed=0):
    kernel = MeasureKernel(problem.theta, expectation_of(fisher, seed), STRUCTURES[fisher])
    return problem.source.total(kernel)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize(("n_classes", "intercept"), PROBLEMS)
def test_metric_is_the_sum_of_outer_products(fisher, n_classes, intercept):
    problem = make_problem(n_classes, intercept=intercept)
    expected = by_brute_force(problem, fisher)
    dense = measured(problem, fisher).information.dense()
    np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_metric_is_a_relabelled_other(n_classes):
    problem = make_problem(n_classes)
    matrices = {fisher: measured(problem, fisher).information.dense() for fisher in FISHERS}
    for first in FISHERS:
        for second in FISHERS:
            if first == second or (n_classes == 2 and {first, second} == {"true", "kronecker"}):
                continue
            difference = abs(matrices[first] - matrices[second]).max() / abs(matrices["true"]).max()
            assert difference > 1e-3, (first, second)


def test_kronecker_is_exact_for_two_classes_and_not_for_more():
    for n_classes, same in [(2, True), (4, False)]:
        problem = make_problem(n_classes)
        true, kronecker = (measured(problem, fisher).information.dense() for fisher in ("true", "kronecker"))
        assert np.allclose(true, kronecker, rtol=1e-12) is same


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_merge_of_blocks_is_the_whole(fisher, n_classes):
    problem = make_problem(n_classes, n_rows=101)
    whole = measured(problem, fisher)
    limits = Limits(block_bytes=1, min_block_rows=9)
    assert len(block_bounds(problem.X, 1, limits)) == 12
    parts = measured(problem._replace(limits=limits), fisher)
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-13)
    np.testing.assert_allclose(parts.gradient, whole.gradient, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(parts.information.dense(), whole.information.dense(), rtol=1e-11, atol=1e-12)
    assert parts.max_loss == pytest.approx(whole.max_loss, rel=1e-14)
    assert parts.weight == pytest.approx(whole.weight, rel=1e-14)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_structured_form_is_its_dense_form(fisher, n_classes):
    problem = make_problem(n_classes)
    information = measured(problem, fisher).information
    dense = information.dense()
    move = np.random.default_rng(1).normal(size=problem.theta.shape)
    np.testing.assert_allclose(information.matvec(move).ravel(), dense @ move.ravel(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(information.diagonal().ravel(), np.diag(dense), rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_solve_after_matvec_is_the_identity(fisher, n_classes, scale):
    """On moves that sum to zero over classes, for prior and damping of any scale, one column without prior."""
    problem = make_problem(n_classes)
    columns = np.geomspace(1 / scale, scale, problem.X.shape[1])
    problem = problem._replace(X=problem.X * columns, theta=problem.theta / np.append(columns, 1.0))
    information = measured(problem, fisher).information
    # relative to the diagonal, as the damping is; the intercept has none
    shift = 1e-2 * information.diagonal().mean(axis=0) * np.append(np.ones(len(columns)), 0.0)
    move = zero_sum(np.random.default_rng(1).normal(size=problem.theta.shape)) / np.append(columns, 1.0)
    solved = information.precision(shift).solve(information.matvec(move) + shift * move)
    units = np.append(columns, 1.0)
    np.testing.assert_allclose(zero_sum(solved) * units, move * units, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("fisher", ["true", "empirical", "monte_carlo", "kronecker"])
def test_singular_metric_gives_the_least_solution_in_range(fisher):
    """More columns than rows and no damping: F x = g has solutions, and the one found is among them."""
    problem = make_problem(4, n_rows=6, n_features=10, zero_weights=False)
    information = measured(problem, fisher).information
    move = np.random.default_rng(1).normal(size=problem.theta.shape)
    right = information.matvec(move)
    solved = information.precision(np.zeros(problem.theta.shape[1])).solve(right)
    assert np.isfinite(solved).all()
    np.testing.assert_allclose(information.matvec(solved), right, atol=1e-9 * abs(right).max())


@pytest.mark.parametrize("fisher", ["true", "empirical", "monte_carlo"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_matrix_free_product_is_the_dense_product(fisher, n_classes):
    problem = make_problem(n_classes)
    moves = np.random.default_rng(1).normal(size=(3, *problem.theta.shape))
    expectation = expectation_of(fisher, 0)
    sums = problem.source.total(MeasureKernel(problem.theta, expectation, IdentityInformation, store_scores=True))
    products = problem.source.total(FisherProductKernel(MetricScores.stored(sums.scores).metric, moves))
    dense = measured(problem, fisher).information.dense()
    np.testing.assert_allclose(products.reshape(3, -1), moves.reshape(3, -1) @ dense, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("fisher", ["true", "empirical"])
@pytest.mark.parametrize(("n_classes", "intercept"), PROBLEMS)
def test_gradient_and_hessian_by_finite_differences(fisher, n_classes, intercept):
    problem = make_problem(n_classes, intercept=intercept)
    objective = problem.objective(fisher, C=0.5)
    point, step = objective.measure(problem.theta), 1e-5
    gradient, hessian = np.empty(problem.theta.size), np.empty((problem.theta.size,) * 2)
    for i in range(problem.theta.size):
        move = np.zeros(problem.theta.size)
        move[i] = step
        ahead, behind = (
            objective.measure(problem.theta + sign * move.reshape(problem.theta.shape)) for sign in (1, -1)
        )
        gradient[i] = (ahead.loss - behind.loss) / (2 * step)
        hessian[i] = (ahead.gradient - behind.gradient).ravel() / (2 * step)
    np.testing.assert_allclose(point.gradient.ravel(), gradient, atol=1e-7)
    if fisher == "true":
        prior = np.diag(np.tile(objective.prior_precision, len(problem.theta)))
        np.testing.assert_allclose(point.information.dense() + prior, hessian, atol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_monte_carlo_tends_to_true_as_one_over_root_draws(n_classes):
    problem = make_problem(n_classes)
    model = fitted_at(problem)
    exact = fisher_information(model, problem.X, sample_weight=problem.weight)
    draws = [4, 16, 64, 256, 1024]
    errors = []
    for n_draws in draws:
        repeats = [
            fisher_information(
                model,
                problem.X,
                kind="monte_carlo",
                sample_weight=problem.weight,
                n_draws=n_draws,
                random_state=repeat,
            )
            for repeat in range(8)
        ]
        errors.append(np.sqrt(np.mean((np.array(repeats) - exact) ** 2)))
    rate = np.polyfit(np.log(draws), np.log(errors), 1)[0]
    assert -0.6 < rate < -0.4, rate
    assert errors[-1] < 0.03 * abs(exact).max()


def fitted_at(problem, theta=None):
    """An estimator with given coefficients, as if fitted."""
    n_classes = max(len(problem.theta), 2)
    model = NaturalGradientLogisticRegression(max_iter=1, fit_intercept=problem.theta.shape[1] > problem.X.shape[1])
    model.classes_ = np.arange(n_classes)
    model.n_features_in_ = problem.X.shape[1]
    model.coef_, model.intercept_ = split(problem.theta if theta is None else theta, intercept=model.fit_intercept)
    return model


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize(("n_classes", "intercept"), PROBLEMS)
def test_public_fisher_information(fisher, n_classes, intercept):
    problem = make_problem(n_classes, intercept=intercept)
    labels = np.array(["ash", "beech", "oak", "yew"])[problem.codes]
    model = fitted_at(problem)
    model.classes_ = np.unique(labels)
    random_state = 5
    seed = np.random.RandomState(random_state).randint(np.iinfo(np.int32).max, size=1)[0]
    found = fisher_information(
        model, problem.X, labels, kind=fisher, sample_weight=problem.weight, random_state=random_state
    )
    expected = by_brute_force(problem, fisher, int(seed))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_fisher_is_the_hessian_of_kl(n_classes):
    problem = make_problem(n_classes)
    model, step = fitted_at(problem), 1e-3
    size = problem.theta.size

    def divergence(flat):
        other = fitted_at(problem, problem.theta + flat.reshape(problem.theta.shape))
        return kl_divergence(model, other, problem.X, sample_weight=problem.weight) * problem.weight.sum()

    hessian = np.empty((size, size))
    units = step * np.eye(size)
    for i in range(size):
        for j in range(size):
            corners = [divergence(a * units[i] + b * units[j]) * a * b for a in (1, -1) for b in (1, -1)]
            hessian[i, j] = sum(corners) / (4 * step**2)
    exact = fisher_information(model, problem.X, sample_weight=problem.weight)
    np.testing.assert_allclose(hessian, exact, atol=2e-6 * abs(exact).max())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_kl_differs_from_its_quadratic_by_the_third_power(n_classes):
    problem = make_problem(n_classes)
    model = fitted_at(problem)
    exact = fisher_information(model, problem.X, sample_weight=problem.weight) / problem.weight.sum()
    direction = np.random.default_rng(3).normal(size=problem.theta.shape)
    # short enough for the fourth power to be negligible
    sizes = np.geomspace(1e-2, 1e-5, 7)
    rest = []
    for size in sizes:
        move = size * direction
        other = fitted_at(problem, problem.theta + move)
        divergence = kl_divergence(model, other, problem.X, sample_weight=problem.weight)
        rest.append(abs(divergence - 0.5 * move.ravel() @ exact @ move.ravel()))
    orders = [
        np.log(less / more) / np.log(small / large)
        for (more, less), (large, small) in zip(pairwise(rest), pairwise(sizes), strict=True)
    ]
    assert all(2.8 < order < 3.2 for order in orders), orders


@pytest.mark.parametrize("n_classes", [2, 4])
def test_kl_is_the_mean_of_p_log_p_over_q(n_classes):
    problem = make_problem(n_classes)
    model, other = fitted_at(problem), fitted_at(problem, 3 * problem.theta[:, ::-1])
    p, q = model.predict_proba(problem.X), other.predict_proba(problem.X)
    expected = np.average((p * np.log(p / q)).sum(axis=1), weights=problem.weight)
    assert kl_divergence(model, other, problem.X, sample_weight=problem.weight) == pytest.approx(expected, rel=1e-12)
    assert kl_divergence(model, other, problem.X) == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-12)


def test_kl_of_certain_predictions_is_finite_where_logits_are():
    problem = make_problem(2)
    model, other = fitted_at(problem, 1e3 * problem.theta), fitted_at(problem, -1e3 * problem.theta)
    assert np.isfinite(kl_divergence(model, other, problem.X))
    assert kl_divergence(model, model, problem.X) == 0.0


@pytest.mark.parametrize("n_classes", [2, 4])
def test_kl_of_nearly_equal_models_keeps_its_digits(n_classes):
    """At moves of 1e-7 the divergence is 1e-14 nats: a plain sum of p log p/q would be only rounding."""
    problem = make_problem(n_classes)
    model = fitted_at(problem)
    exact = fisher_information(model, problem.X) / len(problem.X)
    move = 1e-7 * np.random.default_rng(3).normal(size=problem.theta.shape)
    quadratic = 0.5 * move.ravel() @ exact @ move.ravel()
    found = kl_divergence(model, fitted_at(problem, problem.theta + move), problem.X)
    assert found == pytest.approx(quadratic, rel=1e-5, abs=0)


@pytest.mark.parametrize("fisher", FISHERS)
def test_information_is_symmetric_to_the_last_bit(fisher):
    problem = make_problem(4, n_rows=500, n_features=20)
    dense = measured(problem, fisher).information.dense()
    np.testing.assert_array_equal(dense, dense.T)


def test_repeated_sparse_entries_count_as_their_sum_in_the_geometry():
    problem = make_problem(2)
    model = fitted_at(problem)
    rows, columns = problem.X.shape
    indices = np.tile(np.repeat(np.arange(columns), 2), rows)
    values = np.repeat(problem.X.ravel(), 2) * np.tile([0.25, 0.75], problem.X.size)
    twice = sparse.csr_matrix((values, indices, np.arange(rows + 1) * 2 * columns), shape=problem.X.shape)
    assert twice.nnz == 2 * problem.X.size
    for kind in ("true", "diagonal", "kronecker"):
        found = fisher_information(model, twice, kind=kind)
        np.testing.assert_allclose(found, fisher_information(model, problem.X, kind=kind), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n_features", [2, 6])  # fewer columns than classes, and more
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_class_blocks_are_those_of_the_true_information(C, n_features):
    problem = make_problem(4, n_rows=300, n_features=n_features)
    q, d = problem.theta.shape
    true = measured(problem, "true").information.dense().reshape(q, d, q, d)
    sums = problem.source.total(
        MeasureKernel(problem.theta, expectation_of("true"), IdentityInformation, store_scores=True)
    )
    scores = MetricScores.stored(sums.scores).true
    without_negligible_rows = problem.source.total(InformationKernel(scores, BlockInformation, d))
    design = Design.of(problem.X, d)
    exact_scores = predict(design.logits(problem.theta)).scores()
    information = BlockInformation.of_block(design, exact_scores, problem.weight, negligible_share=0.0)
    dense = information.dense()
    assert np.count_nonzero(dense) == q * d * d
    some = without_negligible_rows.dense().reshape(q, d, q, d)
    for k in range(q):
        np.testing.assert_allclose(dense.reshape(q, d, q, d)[k, :, k, :], true[k, :, k, :], rtol=1e-12, atol=1e-12)
        # the negligible rows that are omitted change little
        np.testing.assert_allclose(some[k, :, k, :], true[k, :, k, :], rtol=1e-2, atol=1e-2)
    move = np.random.default_rng(1).normal(size=(q, d))
    np.testing.assert_allclose(information.matvec(move).ravel(), dense @ move.ravel(), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(information.diagonal().ravel(), np.diag(dense), rtol=1e-13)
    shift = prior_precision(C, d - 1, intercept=True)
    solved = preconditioner_of(information, shift).solve(move)
    np.testing.assert_allclose(information.matvec(solved) + shift * solved, move, rtol=1e-6, atol=1e-7)


def test_class_blocks_without_rank_still_solve_and_measure_the_part_that_they_omit():
    information = BlockInformation(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), n_columns=2)
    metric = information.precision(np.zeros(2))
    right = np.ones((3, 2))
    assert np.isfinite(metric.solve(right)).all()
    assert metric.norm_outside_range(right) == np.inf
    right[1:] = 0.0
    assert metric.norm_outside_range(right) == 0.0
    np.testing.assert_allclose(metric.solve(right)[0].sum(), 1.0, rtol=1e-6)


@pytest.mark.parametrize("C", [1e-2, 1.0])
def test_product_of_factors_is_near_the_kronecker_metric(C):
    """Solving with the cheap factorisation and multiplying with the exact one gives back nearly what went in."""
    problem = make_problem(4, n_rows=300, zero_weights=False)
    q, d = problem.theta.shape
    information = measured(problem, "kronecker").information
    shift = prior_precision(C, d - 1, intercept=True)
    cheap, exact = preconditioner_of(information, shift), information.precision(shift)
    right = zero_sum(np.random.default_rng(1).normal(size=(q, d)))
    ratio = np.vdot(right, zero_sum(cheap.solve(right))) / np.vdot(right, exact.solve(right))
    assert 0.5 < ratio < 2.0
    assert cheap.norm_outside_range(right) == 0.0
    assert exact.norm_outside_range(right) < 1e-8


@pytest.mark.parametrize("fisher", ["true", "diagonal", "identity"])
def test_preconditioner_is_the_metric_where_there_is_no_cheaper_one(fisher):
    problem = make_problem(4)
    information = measured(problem, fisher).information
    shift = np.full(problem.theta.shape[1], 0.1)
    right = np.random.default_rng(1).normal(size=problem.theta.shape)
    np.testing.assert_array_equal(
        preconditioner_of(information, shift).solve(right), information.precision(shift).solve(right)
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_information_known_by_its_products_multiplies_and_solves_as_the_matrix(n_classes, limits):
    problem = make_problem(n_classes)
    dense = measured(problem, "true").information
    limits(direct_products=0.0)
    point = problem.objective("true", C=0.5).measure(problem.theta)
    move = zero_sum(np.random.default_rng(1).normal(size=problem.theta.shape))
    np.testing.assert_allclose(point.information.matvec(move), dense.matvec(move), rtol=1e-11, atol=1e-12)
    shift = prior_precision(0.5, problem.X.shape[1], intercept=True)
    solved = point.information.precision(shift).solution(point.gradient, final=True)
    expected = dense.precision(shift).solve(point.gradient)
    assert solved.status is Status.converged
    np.testing.assert_allclose(zero_sum(solved.x), zero_sum(expected), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_information_scales_with_the_weights(fisher, n_classes):
    problem = make_problem(n_classes)
    information = problem.objective(fisher).measure(problem.theta).information
    blocks = restructured(information, BlockInformation)
    for each in (information, blocks):
        np.testing.assert_allclose(each.scaled(0.3).dense(), 0.3 * each.dense())
        merged = each.merge(each.scaled(0.5))
        np.testing.assert_allclose(merged.dense(), 1.5 * each.dense())


@pytest.mark.parametrize("n_vectors", [None, 3])
@pytest.mark.parametrize("size", [1, 99, 100, 230])
def test_a_factor_solves_for_vectors_and_matrices(size, n_vectors, monkeypatch):
    """One vector of many unknowns is solved for by triangular solves of vectors, other right-hand sides by dpotrs."""
    calls, dpotrs = [], symmetric.lapack.dpotrs
    monkeypatch.setattr(
        symmetric.lapack, "dpotrs", lambda *args, **options: calls.append(1) or dpotrs(*args, **options)
    )
    rng = np.random.default_rng(0)
    scale = np.geomspace(1e-8, 1e8, size)
    rows = rng.normal(size=(2 * size + 1, size))
    matrix = (scale * rows).T @ (scale * rows)
    solution = rng.normal(size=size if n_vectors is None else (size, n_vectors))
    right = (rows.T @ rows) @ solution
    by_row = scale if n_vectors is None else scale[:, None]
    before = right.copy()
    solved = by_row * symmetric.factorise(matrix).solve(by_row * right)
    np.testing.assert_allclose(solved, solution, rtol=0, atol=1e-9 * abs(solution).max())
    np.testing.assert_array_equal(right, before)
    assert len(calls) == (0 if size >= 100 and n_vectors is None else 1)
