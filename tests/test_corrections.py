"""Corrections of the final step: chord steps by the factor of its Newton step."""

import sys

import numpy as np
import pytest
from problems import coefficients, make_problem
from sklearn.datasets import load_breast_cancer, load_wine

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import corrections, descent
from sknatgrad._solver.corrections import correct

LOADERS = [load_breast_cancer, load_wine]


@pytest.fixture
def structures(monkeypatch):
    """Names of the structures in which the metric is measured, in order."""
    seen, total = [], MemorySource.total

    def recorded(source, kernel):
        if isinstance(kernel, MeasureKernel):
            seen.append(kernel.structure.__name__)
        return total(source, kernel)

    monkeypatch.setattr(MemorySource, "total", recorded)
    return seen


@pytest.mark.parametrize("load", LOADERS)
def test_the_final_step_is_corrected_without_another_matrix(load, structures):
    X, y = load(return_X_y=True)
    model = NaturalGradientLogisticRegression().fit(X, y)
    # the start and each step but the final one; then that one and its corrections
    n_matrices = int(model.n_iter_[0])
    assert structures[:n_matrices] == ["DenseInformation"] * n_matrices
    assert set(structures[n_matrices:]) == {"IdentityInformation"}
    assert len(structures) > n_matrices + 1
    exact = NaturalGradientLogisticRegression(tol=1e-14).fit(X, y)
    size = abs(coefficients(exact)).max(axis=0)
    np.testing.assert_allclose(coefficients(model) / size, coefficients(exact) / size, rtol=0, atol=1e-10)


def test_corrections_that_do_not_reach_tol_are_taken_back(monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    usual = NaturalGradientLogisticRegression().fit(X, y)

    def fails(problem, point, newton):
        corrected = correct(problem, point, newton)
        return corrected._replace(last=newton._replace(decrement=np.inf))

    monkeypatch.setattr(descent, "correct", fails)
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert model.converged_
    # the next final step begins where the decrement is within tol already
    assert model.n_iter_[0] > usual.n_iter_[0]
    np.testing.assert_allclose(model.coef_, usual.coef_, rtol=1e-8)


@pytest.fixture
def final_step():
    """A problem near its optimum, the Newton step there, and its end."""
    problem = make_problem(2)
    objective = problem.objective("true", C=1.0)
    theta = np.zeros(problem.theta.shape)
    for _ in range(4):
        point = objective.measure(theta)
        newton = objective.newton_decrement(point)
        theta = theta + newton.move
    return objective, newton, objective.measure(theta, final=True)


def test_each_correction_lowers_the_decrement(final_step):
    objective, newton, end = final_step
    corrected = correct(objective, end, newton)
    assert corrected.last.decrement < newton.decrement
    exact = objective.newton_decrement(objective.measure(corrected.theta))
    assert exact.decrement <= objective.negligible_error * end.loss
    np.testing.assert_allclose(
        corrected.image, objective.measure(end.theta - newton.move).information.matvec(corrected.move)
    )


def test_a_step_that_is_no_correction_is_not_taken(final_step):
    objective, newton, end = final_step
    uphill = newton._replace(resolve=lambda gradient: -newton.resolve(gradient))
    corrected = correct(objective, end, uphill)
    assert corrected.theta is None
    assert corrected.point is end


@pytest.mark.parametrize("loss", [np.inf, 1e9])
def test_a_correction_that_raises_the_loss_is_not_measured_further(final_step, loss, monkeypatch):
    objective, newton, end = final_step
    monkeypatch.setattr(corrections, "NEGLIGIBLE_SHARE", 0.0)
    monkeypatch.setattr(
        type(objective),
        "measure",
        lambda _self, theta, *, final: end._replace(theta=theta, loss=loss),  # noqa: ARG005
    )
    corrected = correct(objective, end, newton)
    assert corrected.point is end


def test_a_step_on_one_block_makes_few_calls(monkeypatch):
    """At most 100 functions of Python, which take longer than the arithmetic of small tables."""
    X, y = load_breast_cancer(return_X_y=True)
    counts, advance = [], descent.advance

    def counted(*arguments):
        calls = [0]

        def count(_frame, event, _argument):
            calls[0] += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            return advance(*arguments)
        finally:
            sys.setprofile(before)
            counts.append(calls[0])

    monkeypatch.setattr(descent, "advance", counted)
    NaturalGradientLogisticRegression().fit(X, y)
    # the last one is the final step, with its corrections
    assert 0 < max(counts[:-1]) <= 100
