"""The centred diagonal: F of uncorrelated columns, by brute force; and where the prior preconditions in its place."""

import re

import numpy as np
import pytest
from problems import make_problem, probabilities
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import CentredDiagonalInformation, DenseInformation, restructured
from sknatgrad._model.information.centred_diagonal import MIN_VARIANCE
from sknatgrad._model.kernels import InformationKernel, MetricScores
from sknatgrad._rows.design import Design
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.preconditioning import FactorCache, PriorShare


def information_of(problem, X=None):
    """Return the centred diagonal at the problem's θ, of its rows or of the same ones in another form."""
    source = MemorySource(problem.X if X is None else X, problem.codes, problem.weight, limits=problem.limits)
    scores = MetricScores.recomputed(problem.theta, TrueExpectation())
    return source.total(InformationKernel(scores.true, CentredDiagonalInformation, problem.theta.shape[1]))


def by_brute_force(problem):
    """Return W m mᵀ + diag(Σ w (x − m)²) of each class, row by row."""
    p = probabilities(problem.design @ problem.theta.T)
    p = p[:, 1:] if len(problem.theta) == 1 else p
    q, d = problem.theta.shape
    blocks = np.zeros((q, d, q, d))
    for k in range(q):
        w = problem.weight * p[:, k] * (1.0 - p[:, k])
        mean = (w @ problem.design) / w.sum()
        square = w @ problem.design**2
        variance = np.maximum(w @ (problem.design - mean) ** 2, MIN_VARIANCE * square)
        blocks[k, :, k] = w.sum() * np.outer(mean, mean) + np.diag(variance)
    return blocks.reshape(q * d, q * d)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_is_the_mean_row_and_the_variances(n_classes, intercept):
    problem = make_problem(n_classes, intercept=intercept)
    information, expected = information_of(problem), by_brute_force(problem)
    np.testing.assert_allclose(information.dense(), expected, rtol=1e-12, atol=1e-12)
    # the same of a sparse X, of many blocks, and after their weights are doubled
    np.testing.assert_allclose(information_of(problem, sparse.csr_array(problem.X)).dense(), expected, rtol=1e-12)
    parts = information_of(problem._replace(limits=Limits(block_bytes=1, min_block_rows=9)))
    np.testing.assert_allclose(parts.dense(), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(information.scaled(2.0).dense(), 2.0 * expected, rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_its_diagonal_is_that_of_f(n_classes):
    problem = make_problem(n_classes)
    scores = MetricScores.recomputed(problem.theta, TrueExpectation()).true
    dense = problem.source.total(InformationKernel(scores, DenseInformation, problem.theta.shape[1]))
    np.testing.assert_allclose(information_of(problem).diagonal(), dense.diagonal(), rtol=1e-13)
    # and that of a structure without a mean row, as of an earlier fit whose posterior is the prior
    of_dense = restructured(dense, CentredDiagonalInformation)
    np.testing.assert_array_equal(of_dense.dense(), np.diag(dense.diagonal().ravel()))
    merged = information_of(problem).merge(of_dense)
    np.testing.assert_allclose(merged.diagonal(), 2.0 * dense.diagonal(), rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_multiplies_and_solves_as_its_dense_form(n_classes, scale):
    problem = make_problem(n_classes)
    information = information_of(problem._replace(weight=scale * problem.weight))
    dense, shift = information.dense(), scale * np.linspace(0.0, 2.0, problem.theta.shape[1])
    move = np.random.default_rng(1).normal(size=problem.theta.shape)
    np.testing.assert_allclose(information.matvec(move).ravel(), dense @ move.ravel(), rtol=1e-11)
    matrix = dense + np.diag(np.tile(shift, len(move)))
    solution = information.precision(shift).solve(move)
    # the smallest variance is 1e-6 of its column, so as many digits are lost
    np.testing.assert_allclose(solution.ravel(), np.linalg.solve(matrix, move.ravel()), rtol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_recentred_rows_have_the_recentred_information(n_classes):
    problem = make_problem(n_classes)
    scores = predict(problem.design @ problem.theta.T).scores()
    shift = np.random.default_rng(2).normal(size=problem.X.shape[1])
    d = problem.theta.shape[1]
    rows, moved = (
        CentredDiagonalInformation.of_block(Design.of(X, d), scores, problem.weight)
        for X in (problem.X, problem.X - shift)
    )
    np.testing.assert_allclose(rows.recentred(shift).dense(), moved.dense(), rtol=1e-10, atol=1e-10)


def test_columns_without_values_have_no_step():
    information = CentredDiagonalInformation.of_diagonal(np.array([[2.0, 0.0, 1.0]]))
    precision = information.precision(np.zeros(3))
    np.testing.assert_array_equal(precision.solve(np.array([[2.0, 3.0, 1.0]])), [[1.0, 0.0, 1.0]])
    assert precision.norm_outside_range(np.array([[2.0, 3.0, 1.0]])) == np.inf
    assert precision.norm_outside_range(np.array([[2.0, 0.0, 1.0]])) == 0.0


@pytest.mark.parametrize(
    ("variances", "rank", "chosen"),
    [
        (np.full(5, 6.9), 100, "prior and mean"),  # no column is determined by the rows
        (np.full(5, 7.1), 100, "all"),
        (np.full(50, 100.0), 20, "prior"),  # 50 columns that 20 rows seem to determine: eigenvalues of 250
        (np.full(50, 50.0), 20, "prior and mean"),  # eigenvalues of 125
        (np.full(50, 100.0), 25, "all"),
        (np.append(np.full(40, 1e3), np.zeros(1000)), 40, "all"),  # columns without values do not count
    ],
)
def test_the_prior_preconditions_where_the_rows_are_few(variances, rank, chosen):
    """With an intercept, which has no prior."""
    prior = np.append(np.full(variances.size, 2.0), 0.0)
    totals, means = np.array([[4.0]]), np.append(np.linspace(0.0, 0.1, variances.size), 1.0)[None]
    squares = 2.0 * np.append(variances, 0.0)[None] + totals * means**2
    cache = FactorCache(prior=PriorShare.of(rank, prior))
    cache.install(CentredDiagonalInformation(squares, totals * means, totals), 1.0)
    variances = np.append(variances if chosen == "all" else np.zeros(variances.size), 2e-6)
    matrix = np.diag(2.0 * variances + prior)
    if chosen == "prior":
        matrix[-1, -1] = 4.0
    else:
        matrix += 4.0 * np.outer(means, means)
    move = np.random.default_rng(0).normal(size=prior.size)
    solution = cache.precision(cache.information, prior).solve(move[None])[0]
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, move), rtol=1e-6)


def test_columns_of_a_weak_prior_have_their_variance():
    prior = np.array([1e-4, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(PriorShare.of(1, prior).penalised, [False, True, True, False])
    # with several such columns, the others have their variances too
    information = CentredDiagonalInformation(np.ones((1, 4)), np.zeros((1, 4)), np.ones((1, 1)))
    cache = FactorCache(information, prior=PriorShare.of(1, prior))
    np.testing.assert_array_equal(cache.precision(information, prior).solve(np.ones((1, 4))), 1.0 / (1.0 + prior[None]))
    # without any prior no column has one
    assert not PriorShare.of(1, np.zeros(3)).penalised.any()


@pytest.mark.parametrize("n_free", [1, 2])
def test_columns_without_a_prior_have_the_diagonal_of_f(n_free):
    """The optimum that is found where it is not unique has the least norm in that metric."""
    prior = np.append(np.ones(4 - n_free), np.zeros(n_free))
    information = CentredDiagonalInformation(np.full((1, 4), 9.0), np.full((1, 4), 8.0), np.full((1, 1), 8.0))
    cache = FactorCache(information, prior=PriorShare.of(10, prior))
    solution = cache.precision(information, prior).solve(np.ones((1, 4)))
    assert np.allclose(solution, 1.0 / (9.0 + prior)) == (n_free == 2)


def products_of(out):
    """Return the number of products of a fit with ``verbose=2``."""
    return sum(map(int, re.findall(r"(\d+) products by", out)))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_rows_of_many_columns_take_few_products(n_classes, capsys):
    """Columns far from zero: 26 products for two classes and 52 for three; by the diagonal of F 217 and 302."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4000)) + 5.0 * rng.normal(size=4000)
    logits = X[:, :n_classes] - X[:, :n_classes].mean(axis=0)
    y = (logits + rng.normal(size=logits.shape)).argmax(axis=1)
    model = NaturalGradientLogisticRegression(C=0.1, verbose=2).fit(X, y)
    assert model.converged_
    assert products_of(capsys.readouterr().out) < 25 * n_classes
