"""The quadratic model of a step: its length, or none where there is no curvature to choose it by."""

import numpy as np
import pytest

from sknatgrad._solver.step import best_coefficients


def model(seed=0, size=6):
    """Two moves, their products with a positive definite matrix, and a gradient."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    matrix, moves = root @ root.T, rng.normal(size=(2, 1, size))
    return matrix, moves, moves @ matrix, rng.normal(size=(1, size))


def test_coefficients_minimise_the_model_over_the_span():
    matrix, moves, images, gradient = model()
    coefficients, alone = best_coefficients(moves, images, gradient)
    step = (coefficients @ moves.reshape(2, -1)).reshape(gradient.shape)
    # the gradient of the model is orthogonal to both moves
    left = gradient + step @ matrix
    np.testing.assert_allclose([np.vdot(left, move) for move in moves], 0.0, atol=1e-12)
    assert best_coefficients(moves[:1], images[:1], gradient) == ([pytest.approx(alone)], pytest.approx(alone))


def test_a_parallel_second_move_is_dropped():
    _, moves, images, gradient = model()
    coefficients, alone = best_coefficients(
        np.stack([moves[0], 2.0 * moves[0]]), np.stack([images[0], 2.0 * images[0]]), gradient
    )
    np.testing.assert_array_equal(coefficients, [alone, 0.0])


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_products_that_overflow_give_no_step(value):
    _, moves, images, gradient = model()
    images[1] *= value
    with np.errstate(invalid="ignore"):
        coefficients, _ = best_coefficients(moves, images, gradient)
    np.testing.assert_array_equal(coefficients, 0.0)
