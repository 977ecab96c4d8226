"""Newton-CG: when a preconditioner is built, and which directions are recycled."""

import re

import numpy as np
import pytest

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.information import DiagonalInformation
from sknatgrad._solver.krylov import MIN_RECYCLED, RecycledDirections
from sknatgrad._solver.penalised_loss import PenalisedLoss
from sknatgrad._solver.preconditioning import FactorCache, LowRank, PreconditionerOption, PreconditionerPolicy


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


@pytest.mark.parametrize(
    ("entries", "rank", "by_prior"),
    [
        (np.full(5, 6.9), 100, True),  # no column is determined by the rows
        (np.full(5, 7.1), 100, False),
        (np.full(40, 1e3), 20, True),  # 40 columns that 20 rows seem to determine
        (np.full(40, 1e3), 40, False),
        (np.append(np.full(40, 1e3), np.zeros(1000)), 40, False),  # columns without values do not count
    ],
)
def test_the_prior_preconditions_where_the_rows_are_few(entries, rank, by_prior):
    """With an intercept, which has no prior, and so the diagonal of F."""
    prior = np.append(np.full(entries.size, 2.0), 0.0)
    information = DiagonalInformation(2.0 * np.append(entries, 50.0)[None])
    cache = FactorCache(low_rank=LowRank.of(rank, prior))
    cache.install(information, 1.0)
    shift = prior + 0.01  # damped
    diagonal = np.append(np.zeros(entries.size), 100.0) + shift if by_prior else information.entries + shift
    np.testing.assert_array_equal(cache.precision(information, shift).entries.ravel(), diagonal.ravel())


def test_columns_of_a_weak_prior_have_the_diagonal():
    prior = np.array([1e-4, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(LowRank.of(1, prior).penalised, [False, True, True, False])
    # without any prior no column has one
    assert not LowRank.of(1, np.zeros(3)).penalised.any()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_rows_of_many_columns_take_few_products(n_classes, capsys):
    """Columns far from zero: 38 products for two classes and 73 for three, by the diagonal of F 217 and 302."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4000)) + 5.0 * rng.normal(size=4000)
    logits = X[:, :n_classes] - X[:, :n_classes].mean(axis=0)
    y = (logits + rng.normal(size=logits.shape)).argmax(axis=1)
    model = NaturalGradientLogisticRegression(C=0.1, verbose=2).fit(X, y)
    assert model.converged_
    assert sum(map(int, re.findall(r"(\d+) products by", capsys.readouterr().out))) < 40 * n_classes
