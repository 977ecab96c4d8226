"""The optima of all rows along a sequence of penalties."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.layout import fitted_theta, prior_precision
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.training_sets import RowGroups
from sknatgrad._solver import path as path_module
from sknatgrad._solver.path import Path


def follow(X, y, Cs):
    source = MemorySource(X, y, np.ones(len(y)), max(len(np.unique(y)), 2))
    n_logits = 1 if len(np.unique(y)) == 2 else len(np.unique(y))
    precisions = [prior_precision(C, X.shape[1], intercept=True) for C in Cs]
    path = Path(source, RowGroups.single(), np.ones(1))
    return list(path.points(precisions, np.zeros((n_logits, X.shape[1] + 1)))), precisions


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_points_are_near_the_optima(load):
    X, y = load(return_X_y=True)
    Cs = np.logspace(-4, 4, 10)
    points, precisions = follow(X, y, Cs)
    assert all(point.near for point in points)
    # a few steps from the optimum before
    assert sum(point.n_steps for point in points) <= 4 * len(Cs)
    for C, point, precision in zip(Cs, points, precisions, strict=True):
        single = NaturalGradientLogisticRegression(C=C).fit(X, y)
        theta = fitted_theta(single, intercept=True)[0]
        penalised = point.sums.weighted(np.ones(1)).penalised(precision)
        optimum = single.loss_curve_[-1] * len(y)
        # the decrement estimates the excess of the loss
        assert penalised.loss - optimum <= 2.0 * path_module.NEAR_OPTIMUM * theta.size
        assert penalised.decrement <= path_module.NEAR_OPTIMUM_SHARE * penalised.loss


def test_steps_to_another_penalty_are_predicted():
    """From an optimum, the Newton step for another λ is −(F + λ'P)⁻¹ (λ' − λ) P θ."""
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    single = NaturalGradientLogisticRegression(C=1.0, tol=1e-14).fit(X, y)
    theta = np.column_stack([single.coef_, single.intercept_])
    path = Path(MemorySource(X, y, np.ones(len(y))), RowGroups.single(), np.ones(1))
    sums, precision = path.measure(theta).weighted(np.ones(1)), prior_precision(0.5, 30, intercept=True)
    move = sums.penalised(precision).move
    matrix = sums.information.dense() + np.diag(precision)
    expected = -np.linalg.solve(matrix, (precision - prior_precision(1.0, 30, intercept=True)) * theta[0])
    np.testing.assert_allclose(move[0], expected, rtol=1e-6)


def test_steps_that_raise_the_loss_are_shortened():
    # from far out, where probabilities have saturated, a Newton step overshoots
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    source, precision = MemorySource(X, y, np.ones(len(y))), prior_precision(1.0, 30, intercept=True)
    path = Path(source, RowGroups.single(), np.ones(1))
    start = np.full((1, 31), 1.0)
    (point,) = path.points([precision], start)
    first = path.measure(start).weighted(np.ones(1)).penalised(precision)
    whole = path.measure(start + first.move).weighted(np.ones(1)).penalised(precision)
    assert whole.loss > first.loss
    assert point.near


def test_a_path_that_fails_is_reported(monkeypatch):
    monkeypatch.setattr(path_module, "MAX_STEPS", 1)
    X, y = load_breast_cancer(return_X_y=True)
    points, _ = follow(X, y, [1e-4, 1e4])
    assert not any(point.near for point in points)


def test_a_step_that_is_not_finite_ends_the_path():
    X, y = load_breast_cancer(return_X_y=True)
    points, _ = follow(X * 1e200, y, [1.0])
    assert not points[0].near
