"""The evidence by Laplace's approximation, against quadrature, and what it does not depend on."""

import numpy as np
import pytest
from problems import fit_problem, infer_problem, make_problem
from scipy.integrate import dblquad, quad
from scipy.special import log_softmax

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import infer

C = 2.0


def table(n_rows, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 1))
    logits = np.arange(n_classes) * X + rng.gumbel(size=(n_rows, n_classes))
    return X, logits.argmax(axis=1)


def evidence(X, y, **parameters):
    model = NaturalGradientLogisticRegression(C=C, tol=1e-12, **parameters).fit(X, y)
    return model, infer(model, X, y).log_evidence


def log_likelihood(logits, y):
    return log_softmax(logits, axis=1)[np.arange(len(y)), y].sum()


def quadrature_1d(model, X, y):
    """One coefficient with a prior of variance C, no intercept."""
    best, width = model.coef_[0, 0], 10.0 / np.sqrt(len(y))

    def density(w):
        logits = np.column_stack([np.zeros(len(y)), w * X[:, 0]])
        return log_likelihood(logits, y) - 0.5 * w**2 / C - 0.5 * np.log(2.0 * np.pi * C)

    return density(best) + np.log(quad(lambda w: np.exp(density(w) - density(best)), best - width, best + width)[0])


def quadrature_2d(density, best, width):
    def scaled(b, a):
        return np.exp(density(a, b) - density(*best))

    low, high = np.subtract(best, width), np.add(best, width)
    return density(*best) + np.log(dblquad(scaled, low[0], high[0], low[1], high[1], epsabs=1e-10)[0])


@pytest.mark.parametrize("n_rows", [100, 400])
def test_one_coefficient(n_rows):
    X, y = table(n_rows, 2)
    model, found = evidence(X, y, fit_intercept=False)
    assert abs(found - quadrature_1d(model, X, y)) < 2.0 / n_rows


def test_a_coefficient_and_an_intercept_of_density_one():
    X, y = table(200, 2)
    model, found = evidence(X, y)

    def density(w, b):
        logits = np.column_stack([np.zeros(200), w * X[:, 0] + b])
        return log_likelihood(logits, y) - 0.5 * w**2 / C - 0.5 * np.log(2.0 * np.pi * C)

    expected = quadrature_2d(density, (model.coef_[0, 0], model.intercept_[0]), 1.2)
    assert abs(found - expected) < 2.0 / 200


def test_two_contrasts_of_three_classes():
    """The prior of contrasts of coefficients that sum to zero has the precision (I - 11ᵀ/3) / C."""
    X, y = table(200, 3)
    model, found = evidence(X, y, fit_intercept=False)
    precision = (np.eye(2) - 1.0 / 3.0) / C

    def density(a, b):
        w = np.array([a, b])
        logits = np.column_stack([np.zeros(200), a * X[:, 0], b * X[:, 0]])
        constant = 0.5 * np.linalg.slogdet(precision / (2.0 * np.pi))[1]
        return log_likelihood(logits, y) - 0.5 * w @ precision @ w + constant

    best = (model.coef_[1:, 0] - model.coef_[0, 0]).tolist()
    assert abs(found - quadrature_2d(density, best, 1.5)) < 2.0 / 200


@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_does_not_depend_on_reference_order_or_splitting_of_weights(n_classes):
    problem = make_problem(n_classes, n_rows=90)
    model = fit_problem(problem, C=1.0, tol=1e-12)
    expected = infer_problem(problem, model, "fisher").log_evidence
    other = infer(model, problem.X, problem.codes, sample_weight=problem.weight, reference=1).log_evidence
    assert other == pytest.approx(expected, rel=1e-9)
    twice = problem._replace(
        X=np.vstack([problem.X, problem.X]),
        codes=np.tile(problem.codes, 2),
        weight=0.5 * np.tile(problem.weight, 2),
    )
    again = fit_problem(twice, C=1.0, tol=1e-12)
    assert infer_problem(twice, again, "fisher").log_evidence == pytest.approx(expected, rel=1e-9)
    # the same model, shifted columns
    moved = problem._replace(X=problem.X + 1000.0)
    shifted = fit_problem(moved, C=1.0, tol=1e-12)
    assert infer_problem(moved, shifted, "fisher").log_evidence == pytest.approx(expected, rel=1e-7)


def test_it_is_unknown_without_a_penalty_or_with_some_columns_or_sampling_weights():
    problem = make_problem(2, n_rows=90)
    free, penalised = fit_problem(problem, C=np.inf), fit_problem(problem, C=1.0)
    weight = {"sample_weight": problem.weight}
    assert np.isnan(infer(free, problem.X, problem.codes, **weight).log_evidence)
    assert np.isnan(infer(penalised, problem.X, problem.codes, **weight, features=[0]).log_evidence)
    robust = infer(penalised, problem.X, problem.codes, **weight, weights="sampling", covariance="robust")
    assert np.isnan(robust.log_evidence)
