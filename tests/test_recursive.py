"""The recursive objective: batches follow the Laplace recursion."""

from dataclasses import replace

import numpy as np
import pytest
from problems import coefficients, make_problem, partial_fits, probabilities, standard_errors_apart, standard_rows
from sklearn.utils import gen_batches

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._solver.recursive import RecursiveObjective


def recursion(X, y, size, C, n_classes):
    """The Laplace recursion in logits of all classes, by Newton's method on the whole matrix."""
    q, d = (1, X.shape[1] + 1) if n_classes == 2 else (n_classes, X.shape[1] + 1)
    design = np.column_stack([X, np.ones(len(X))])
    prior = np.tile(np.append(np.full(d - 1, 1 / C), 0.0), q)
    theta, slope = np.zeros(q * d), np.zeros(q * d)
    # a thousandth of a mean row of the first batch, at even probabilities
    even = np.array([[0.25]]) if q == 1 else np.eye(q) / q - 1 / q**2
    information = np.kron(even, 1e-3 * design[:size].T @ design[:size] / size)
    for batch in gen_batches(len(y), size):
        anchor, old, left = theta.copy(), information, slope
        for _ in range(50):
            p = probabilities(design[batch] @ theta.reshape(q, d).T)
            residual = (p - np.eye(n_classes)[y[batch]])[:, n_classes - q :]
            gradient = (residual.T @ design[batch]).ravel()
            p = p[:, n_classes - q :]
            fisher = np.einsum("mk,kl,mi,mj->kilj", p, np.eye(q), design[batch], design[batch])
            fisher = (fisher - np.einsum("mk,ml,mi,mj->kilj", p, p, design[batch], design[batch])).reshape(q * d, -1)
            total = gradient + left + old @ (theta - anchor) + prior * theta
            theta = theta - np.linalg.pinv(fisher + old + np.diag(prior), rcond=1e-12) @ total
        information, slope = old + fisher, left + gradient + old @ (theta - anchor)
    return theta.reshape(q, d), information


@pytest.mark.parametrize("n_classes", [2, 3])
def test_batches_follow_the_laplace_recursion(n_classes, limits):
    limits(batch_error_share=0.0, first_rows_bytes=0)
    X, y = standard_rows(n_classes, n_rows=400)
    model = partial_fits(NaturalGradientLogisticRegression(tol=1e-12, store_covariance=True), X, y, 50)
    theta, information = recursion(X, y, 50, 1.0, n_classes)
    np.testing.assert_allclose(coefficients(model), theta, rtol=1e-5, atol=1e-7)
    precision = information + np.diag(np.tile(np.append(np.ones(4), 0.0), len(theta)))
    to_zero_sum = np.kron(np.eye(3) - 1 / 3, np.eye(5)) if n_classes > 2 else np.eye(5)
    covariance = to_zero_sum @ np.linalg.pinv(precision, rcond=1e-12) @ to_zero_sum
    np.testing.assert_allclose(model.covariance_, covariance, rtol=1e-5, atol=1e-8)


def test_what_a_short_descent_leaves_over_is_remembered(limits):
    """One step per batch: the remaining gradient enters the next batch."""
    limits(first_rows_bytes=0)
    X, y = standard_rows(3, n_rows=4000)
    short = partial_fits(NaturalGradientLogisticRegression(max_iter=1), X, y, 50)
    assert standard_errors_apart(short, NaturalGradientLogisticRegression().fit(X, y), X, y) < 0.7


@pytest.mark.parametrize("n_classes", [2, 3])
def test_products_know_of_the_past(n_classes):
    problem = make_problem(n_classes)
    batch = problem.objective("diagonal")
    point = batch.measure(problem.theta)
    past = QuadraticApproximation(0.5 * problem.theta, np.ones_like(problem.theta), point.information)
    prior = batch.penalised_loss.prior._replace(quadratic=past)
    stream = RecursiveObjective(replace(batch, penalised_loss=replace(batch.penalised_loss, prior=prior)))
    moves = np.random.default_rng(0).normal(size=(2, *problem.theta.shape))
    expected = batch.fisher_products(point, moves) + np.array([past.information.matvec(move) for move in moves])
    np.testing.assert_allclose(stream.fisher_products(stream.measure(problem.theta), moves), expected)
    # its gradient is the slope of its loss
    step = 1e-6 * moves[0]
    rise = stream.measure(problem.theta + step).loss - stream.measure(problem.theta - step).loss
    slope = np.vdot(stream.measure(problem.theta).gradient, step)
    np.testing.assert_allclose(rise, 2.0 * slope, rtol=1e-4)
