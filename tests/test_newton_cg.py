"""Newton-CG: when a preconditioner is built, and which directions are recycled."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.information import DiagonalInformation
from sknatgrad._solver.krylov import MIN_RECYCLED, RecycledDirections
from sknatgrad._solver.penalised_loss import PenalisedLoss
from sknatgrad._solver.preconditioning import PreconditionerOption, PreconditionerPolicy


def test_a_preconditioner_is_upgraded_only_when_the_rate_shows_the_need():
    policy = PreconditionerPolicy(options=[PreconditionerOption("true", "a matrix", 20.0)])
    goal = 1e-17
    # a factor of 0.1 per product and 17 to go: not worth 20
    assert not policy.upgrade_pays(products=10, first=1.0, remaining=1e-10, goal=goal)
    # a factor of 0.9 per product: 370 to go
    assert policy.upgrade_pays(products=10, first=1.0, remaining=0.9**10, goal=goal)
    # the same, but too few products to know the rate
    assert not policy.upgrade_pays(products=2, first=1.0, remaining=0.9**2, goal=goal)
    # or few products in terms of the cost
    assert not PreconditionerPolicy(options=[PreconditionerOption("true", "a matrix", 1000.0)]).upgrade_pays(
        products=10, first=1.0, remaining=0.99, goal=goal
    )
    policy.upgrade()
    assert policy.current.key == "true"
    assert not policy.upgrade_pays(products=10, first=1.0, remaining=1.0, goal=goal)


@pytest.mark.parametrize(("key", "follows"), [("true", True), ("blocks", True), ("kronecker", False)])
def test_one_that_is_as_good_as_the_matrix_is_computed_again_where_solves_are_long(key, follows):
    policy = PreconditionerPolicy(options=[PreconditionerOption(key, "one", 20.0)])
    policy.upgrade()
    policy.previous_products = 21
    assert policy.is_stale(0.9, 1.0) == follows
    # where the loss is the same, so is the matrix
    assert not policy.is_stale(1.0, 1.0)
    policy.previous_products = 19
    assert not policy.is_stale(0.9, 1.0)
    assert policy.is_stale(0.4, 1.0)


def test_correlated_classes_need_a_kronecker_factor(monkeypatch):
    """With the diagonal these take hundreds of products, and the fit builds a better preconditioner."""
    built = []
    information = PenalisedLoss.information
    monkeypatch.setattr(
        PenalisedLoss,
        "information",
        lambda self, scores, structure, **how: (
            built.append(structure.__name__) or information(self, scores, structure, **how)
        ),
    )
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4000, 60))
    X = (hidden * np.geomspace(1, 1e-2, 60)) @ np.linalg.qr(rng.normal(size=(60, 60)))[0]
    logits = hidden @ rng.normal(size=(60, 12)) / 4
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert NaturalGradientLogisticRegression().fit(X, y).converged_
    assert "KroneckerInformation" in built


def test_only_long_solves_are_recycled():
    directions = RecycledDirections(capacity=4)
    preconditioner = DiagonalInformation(np.ones((1, 6))).precision(np.zeros(6))
    directions.basis(6).add(np.ones(6), np.ones(6), 6.0)
    directions.record(MIN_RECYCLED - 1, 1.0)
    assert directions.applied_to(preconditioner, 1.0) is preconditioner
    directions.record(MIN_RECYCLED, 1.0)
    assert directions.applied_to(preconditioner, 0.5).scale == 0.5
    # a loss of zero says nothing about how the matrix has changed
    assert directions.applied_to(preconditioner, 0.0) is preconditioner


def test_the_order_of_centred_rows_changes_nothing():
    """Centres are values of single rows: with an error of 1e-11 of the loss these coefficients differ by 1e-6."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(266, 117)) + rng.normal(size=117) * 10.0 ** rng.uniform(0, 3, size=117)
    logits = X[:, :6] - np.median(X[:, :6], axis=0)
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    base = NaturalGradientLogisticRegression(C=0.9).fit(X, y)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(266)
        model = NaturalGradientLogisticRegression(C=0.9).fit(X[order], y[order])
        np.testing.assert_allclose(model.coef_, base.coef_, rtol=0, atol=1e-8 * abs(base.coef_).max())


@pytest.mark.parametrize("seed", [7, 14, 40])
def test_columns_that_are_nearly_constant_end_no_fit_early(seed, limits):
    """Their directions are those that matrices of classes in single precision cannot show."""
    rng = np.random.default_rng(seed)
    n_classes, n_rows, n_columns = 3 + seed % 3, int(rng.integers(800, 3000)), int(rng.integers(10, 40))
    X = rng.normal(size=(n_rows, n_columns))
    logits = X @ rng.normal(size=(n_columns, n_classes)) / np.sqrt(n_columns)
    y = (logits + rng.gumbel(size=(n_rows, n_classes))).argmax(axis=1)
    varies = rng.random((n_rows, n_columns)) < rng.uniform(2e-4, 0.02, size=n_columns)
    value = rng.choice([1, 5, 1e4], size=n_columns)
    X = np.where(varies, np.where(rng.random((n_rows, n_columns)) < 0.5, 0, value + X), value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NaturalGradientLogisticRegression().fit(sparse.csr_array(X), y)
    if model.converged_:
        limits(direct_products=np.inf, min_sampled_values=np.inf)
        least = NaturalGradientLogisticRegression(tol=1e-12).fit(X, y).loss_curve_[-1]
        assert model.loss_curve_[-1] <= least * (1 + 1e-7)
