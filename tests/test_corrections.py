"""Corrections of the final step: chord steps by the factor of its Newton step."""

import sys

import numpy as np
import pytest
from problems import coefficients, make_problem
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.kernels import MeasureKernel, ShiftKernel
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import corrections, descent
from sknatgrad._solver.corrections import contraction_of, correct

LOADERS = [load_iris, load_wine]


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
    assert len(structures) > n_matrices
    exact = NaturalGradientLogisticRegression(tol=1e-14).fit(X, y)
    size = abs(coefficients(exact)).max(axis=0)
    np.testing.assert_allclose(coefficients(model) / size, coefficients(exact) / size, rtol=0, atol=1e-10)


def test_the_last_correction_is_not_measured_where_the_fall_of_decrements_says_what_it_leaves(structures):
    """Its bound alone asks for one more, as it counts with rows that the whole step moves."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 10))
    y = X @ rng.standard_normal(10) + rng.logistic(size=1000) > 0
    model = NaturalGradientLogisticRegression().fit(X, y)
    # the end of the final step, and not that of its first correction
    assert structures[model.n_iter_[0] :] == ["IdentityInformation"]
    exact = NaturalGradientLogisticRegression(tol=1e-14).fit(X, y)
    size = abs(coefficients(exact)).max()
    np.testing.assert_allclose(coefficients(model) / size, coefficients(exact) / size, rtol=0, atol=1e-10)


def test_corrections_that_do_not_reach_tol_are_taken_back(monkeypatch):
    X, y = load_iris(return_X_y=True)
    usual = NaturalGradientLogisticRegression().fit(X, y)

    def fails(problem, point, newton, contraction):
        corrected = correct(problem, point, newton, contraction)
        return corrected._replace(last=newton._replace(decrement=np.inf))

    monkeypatch.setattr(descent, "correct", fails)
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert model.converged_
    # the next final step begins where the decrement is within tol already
    assert model.n_iter_[0] > usual.n_iter_[0]
    np.testing.assert_allclose(model.coef_, usual.coef_, rtol=1e-7)


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
    corrected = correct(objective, end, newton, contraction_of(objective.shift(newton.move)))
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
        lambda _self, theta, *, final: end._replace(theta=theta, loss=loss),  # noqa: ARG005 - the signature of `measure`
    )
    corrected = correct(objective, end, newton, 0.01)
    assert corrected.point is end


@pytest.mark.parametrize("well_conditioned", [False, True])
def test_a_correction_that_is_rounding_of_a_nearly_singular_matrix_is_not_taken(final_step, well_conditioned):
    """Where F has vanished along a direction, a gradient of rounding may be followed by a step of 1e8."""
    objective, newton, end = final_step
    vanished = np.zeros_like(newton.move)
    vanished[0, 0] = 1e8

    def resolve(gradient):
        # orthogonal to the gradient, so that the decrement is that of the correction without it
        return newton.resolve(gradient) + vanished

    end = end._replace(gradient=np.where(vanished > 0.0, 0.0, end.gradient))
    flawed = newton._replace(resolve=resolve, well_conditioned=well_conditioned, squared_error=0.0)
    # a factor that is accurate in every direction is believed without a pass
    assert (correct(objective, end, flawed).theta is None) is not well_conditioned


def test_a_correction_that_moves_logits_less_than_its_step_is_taken(final_step):
    """As a chord step along a direction that is nearly separated, whose matrix is ill-conditioned too."""
    objective, newton, end = final_step
    correction = np.zeros_like(newton.move)
    # the same shift of the intercept, and a coefficient that the step leaves alone
    correction[0, -1], correction[0, 0] = 0.3, 1e-3
    step = np.zeros_like(newton.move)
    step[0, -1] = 2.0

    def resolve(gradient):
        return correction - gradient * (np.vdot(gradient, correction) + 1e-12) / np.vdot(gradient, gradient)

    flawed = newton._replace(move=step, resolve=resolve, well_conditioned=False, squared_error=0.0)
    assert correct(objective, end, flawed).theta is not None
    # no longer once it moves them further
    assert correct(objective, end, flawed._replace(move=0.01 * step)).theta is None


def test_rows_without_weight_do_not_count_in_a_shift():
    X, weight = np.array([[1.0], [1e9], [-2.0]]), np.array([1.0, 0.0, 0.5])
    for n_logits, shift in ((1, 2.0), (3, 4.0)):
        move = np.array([[1.0], [-1.0], [0.0]])[:n_logits]
        source = MemorySource(X, np.arange(3) % 2, weight, n_logits)
        assert source.total(ShiftKernel(move)) == shift


def test_a_step_on_one_block_makes_few_calls(monkeypatch):
    """At most 100 functions of Python besides those of numpy, which take longer than the arithmetic of small tables."""
    X, y = load_breast_cancer(return_X_y=True)
    counts, advance = [], descent.advance

    def counted(*arguments):
        calls = [0]

        def count(frame, event, _argument):
            # how many functions of numpy are written in Python depends on its version
            calls[0] += event == "call" and "numpy" not in frame.f_code.co_filename

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            return advance(*arguments)
        finally:
            sys.setprofile(before)
            counts.append(calls[0])

    monkeypatch.setattr(descent, "advance", counted)
    NaturalGradientLogisticRegression().fit(X, y)
    # the last ones also try the final step
    assert 0 < max(counts[:4]) <= 100


@pytest.mark.parametrize("kind", ["outlier", "rare value", "lognormal"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_directions_of_few_rows_are_corrected_too(kind, n_classes, seed):
    """Along them F changes by much in a step that is small in all others."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1000, 6))
    if kind == "outlier":
        X[rng.integers(1000), 0] = 10 ** rng.uniform(1, 4)
    elif kind == "rare value":
        X[:, 0] = np.arange(1000) < rng.integers(2, 6)
    else:
        X[:, :3] = np.exp(2.5 * X[:, :3])
    y = (X[:, 5] + rng.logistic(size=1000) > 0).astype(int) + (n_classes == 3) * (rng.random(1000) < 0.3)
    model = NaturalGradientLogisticRegression(C=30.0).fit(X, y)
    exact = NaturalGradientLogisticRegression(C=30.0, tol=1e-13).fit(X, y)
    assert model.loss_curve_[-1] <= exact.loss_curve_[-1] * (1 + 1e-11)
    size = abs(coefficients(exact)).max()
    np.testing.assert_allclose(coefficients(model) / size, coefficients(exact) / size, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_logits", [1, 3])
def test_a_shift_bounds_the_change_of_the_information(n_logits):
    problem = make_problem(max(n_logits, 2))
    objective = problem.objective("true", C=1.0)
    move = 0.3 * np.random.default_rng(0).normal(size=problem.theta.shape)
    shift = objective.shift(move)
    before, after = (objective.measure(theta).information.dense() for theta in (problem.theta, problem.theta + move))
    for direction in np.random.default_rng(1).normal(size=(200, len(before))):
        ratio = (direction @ after @ direction) / (direction @ before @ direction)
        assert abs(np.log(ratio)) <= shift
