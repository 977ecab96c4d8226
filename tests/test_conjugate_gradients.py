"""Conjugate gradients, on matrices whose solution is known."""

import numpy as np
import pytest

from sknatgrad._model.information import DiagonalInformation
from sknatgrad._solver.conjugate_gradients import Status, conjugate_gradients
from sknatgrad._solver.krylov import KrylovBasis, RecycledPreconditioner


def problem(values, shape=(2, 3), seed=0):
    """A symmetric matrix of given eigenvalues, as a product on (q, d) arrays, and a right side."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(values),) * 2))[0]
    matrix = (basis * values) @ basis.T
    return matrix, lambda move: (matrix @ move.ravel()).reshape(shape), rng.normal(size=shape)


def solve(product, right, preconditioner, *, tolerance, basis=None, **options):
    """Solve until the residual, in the norm of the preconditioner, has fallen by `tolerance`."""
    target = tolerance**2 * float(np.vdot(right, preconditioner.solve(right)))

    def converged(solution):
        return solution.remaining <= target

    basis = basis or KrylovBasis(32, right.size)
    return conjugate_gradients(product, right, preconditioner, converged=converged, basis=basis, **options)


IDENTITY = DiagonalInformation(np.ones((2, 3))).precision(np.zeros(3))


def test_solves_in_as_many_products_as_there_are_eigenvalues():
    matrix, product, right = problem([1.0, 1.0, 10.0, 10.0, 10.0, 100.0])
    solution = solve(product, right, IDENTITY, tolerance=1e-10)
    assert solution.status is Status.converged
    assert solution.products == 3
    np.testing.assert_allclose(solution.x.ravel(), np.linalg.solve(matrix, right.ravel()), rtol=1e-9)


def test_exact_preconditioner_needs_one_product():
    scales = np.array([[1e-6, 1.0, 1e6], [2.0, 3.0, 4.0]])
    right = np.random.default_rng(0).normal(size=(2, 3))
    metric = DiagonalInformation(scales).precision(np.zeros(3))
    solution = solve(lambda move: scales * move, right, metric, tolerance=1e-10)
    assert solution.status is Status.converged
    assert solution.products == 1


def test_consistent_singular_system_is_solved_in_its_range():
    _, product, move = problem([0.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    right = product(move)
    solution = solve(product, right, IDENTITY, tolerance=1e-10)
    assert solution.status is Status.converged
    np.testing.assert_allclose(product(solution.x), right, atol=1e-9)


def test_inconsistent_system_is_not_called_solved():
    _, product, right = problem([0.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    solution = solve(product, right, IDENTITY, tolerance=1e-10, max_products=50)
    assert solution.status in {Status.breakdown, Status.exhausted}


def test_zero_matrix_is_not_called_solved():
    solution = solve(lambda move: 0.0 * move, np.ones((2, 3)), IDENTITY, tolerance=1e-2)
    assert solution.status is Status.breakdown
    assert solution.products == 1
    np.testing.assert_array_equal(solution.x, 0.0)


@pytest.mark.parametrize("max_products", [1, 2, 3])
def test_stops_when_told_with_a_direction_of_descent(max_products):
    _, product, right = problem(np.geomspace(1e-6, 1e6, 6))
    solution = solve(product, right, IDENTITY, tolerance=1e-12, max_products=max_products)
    assert solution.status is Status.exhausted
    assert solution.products == max_products
    assert np.vdot(right, solution.x) > 0


def test_metric_in_single_precision_leads_as_far():
    """Rounding makes it slightly unsymmetric; textbook conjugate gradients stall on that at 1e-7."""
    matrix, product, right = problem(np.geomspace(1e-4, 1.0, 6))
    inverse = np.linalg.inv(matrix + 1e-2 * np.diag(matrix.diagonal())).astype(np.float32)

    class Metric:
        def solve(self, gradient):
            return (inverse @ gradient.ravel().astype(np.float32)).reshape(gradient.shape).astype(np.float64)

    solution = solve(product, right, Metric(), tolerance=1e-13, max_products=60)
    assert solution.status is Status.converged
    np.testing.assert_allclose(product(solution.x), right, atol=1e-11)


def test_outliers_are_solved_once():
    """As many products as eigenvalues; without re-orthogonalisation, rounding brings the large ones back repeatedly."""
    _, product, right = problem(np.append(np.linspace(1.0, 30.0, 15), [1e4, 1e6, 1e7]), shape=(3, 6))
    metric = DiagonalInformation(np.ones((3, 6))).precision(np.zeros(6))
    assert solve(product, right, metric, tolerance=1e-8).products <= 18
    assert solve(product, right, metric, tolerance=1e-8, basis=KrylovBasis(0, 18), max_products=100).products > 25


def test_directions_beyond_the_memory_are_conjugate_to_the_last_one():
    matrix, product, right = problem(np.geomspace(1e-2, 1.0, 6))
    solution = solve(product, right, IDENTITY, tolerance=1e-10, basis=KrylovBasis(2, 6))
    assert solution.status is Status.converged
    np.testing.assert_allclose(solution.x.ravel(), np.linalg.solve(matrix, right.ravel()), rtol=1e-9)


def test_product_that_is_not_finite_ends_it_unsolved():
    solution = solve(lambda move: np.nan * move, np.ones((2, 3)), IDENTITY, tolerance=1e-2)
    assert solution.status is Status.breakdown
    np.testing.assert_array_equal(solution.x, 0.0)


def recycled(product, right, metric, rows=32):
    """The directions of a solve to 1e-8."""
    basis = KrylovBasis(rows, right.size)
    solve(product, right, metric, tolerance=1e-8, basis=basis)
    return basis


@pytest.mark.parametrize("scale", [1.0, 0.03])
def test_recycled_directions_shorten_the_next_solve(scale):
    """Eight small eigenvalues: the first solve finds their directions; the next, with a scaled matrix, uses them."""
    values = np.append(np.geomspace(1e-6, 1e-2, 8), np.linspace(0.8, 1.2, 52))
    _, product, right = problem(values, shape=(3, 20))
    metric = DiagonalInformation(np.ones((3, 20))).precision(np.zeros(20))
    basis = recycled(product, right, metric)
    other = np.random.default_rng(1).normal(size=(3, 20))

    def now(move):
        return scale * product(move)

    cold = solve(now, other, metric, tolerance=1e-6)
    warm = solve(now, other, RecycledPreconditioner(metric, basis, scale), tolerance=1e-6)
    assert warm.status is Status.converged
    assert warm.products < 0.5 * cold.products
    np.testing.assert_allclose(warm.x, cold.x, rtol=0, atol=1e-4 * abs(cold.x).max())


def test_a_recycled_preconditioner_is_exact_along_its_directions():
    _, product, right = problem(np.geomspace(1e-2, 1.0, 18), shape=(3, 6))
    metric = DiagonalInformation(np.ones((3, 6))).precision(np.zeros(6))
    recycling = RecycledPreconditioner(metric, recycled(product, right, metric, rows=5), 0.5)
    # the residuals of the first solve, hence its right side too, lie in the span of the directions' images
    krylov = [right]
    for _ in range(4):
        krylov.append(product(krylov[-1]))
    for vector in krylov:
        np.testing.assert_allclose(recycling.solve(0.5 * product(vector)), vector, rtol=1e-6)
