"""Newton-CG: when a preconditioner is built, and which directions are recycled."""

import numpy as np

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.information import DiagonalInformation
from sknatgrad._solver.newton_cg import TELLING, Preconditioner
from sknatgrad._solver.objective import Objective
from sknatgrad._solver.plan import Offer


def test_an_offer_is_taken_only_when_the_rate_shows_the_need():
    known = Preconditioner(offers=[Offer("true", "a matrix", 20.0)])
    goal = 1e-17
    # a tenth a product, 17 to go: not worth 20
    assert not known.too_slow(count=10, first=1.0, size=1e-10, goal=goal)
    # 0.9 a product: 370 to go
    assert known.too_slow(count=10, first=1.0, size=0.9**10, goal=goal)
    # the same, but nothing is known yet
    assert not known.too_slow(count=2, first=1.0, size=0.9**2, goal=goal)
    # or nothing has been spent yet, in terms of the price
    assert not Preconditioner(offers=[Offer("true", "a matrix", 1000.0)]).too_slow(
        count=10, first=1.0, size=0.99, goal=goal
    )
    known.buy()
    assert known.structure == "true"
    assert not known.too_slow(count=10, first=1.0, size=1.0, goal=goal)


def test_correlated_classes_buy_a_kronecker_factor(monkeypatch):
    """With the diagonal these take hundreds of products, and the fit builds a better preconditioner."""
    built = []
    build = Objective._build
    monkeypatch.setattr(
        Objective,
        "_build",
        lambda self, scores, structure, **how: (
            built.append(structure.__name__) or build(self, scores, structure, **how)
        ),
    )
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4000, 60))
    X = (hidden * np.geomspace(1, 1e-2, 60)) @ np.linalg.qr(rng.normal(size=(60, 60)))[0]
    logits = hidden @ rng.normal(size=(60, 12)) / 4
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert NaturalGradientLogisticRegression().fit(X, y).converged_
    assert "KroneckerInformation" in built


def test_only_long_solves_are_remembered():
    known = Preconditioner(rows=4)
    metric = DiagonalInformation(np.ones((1, 6))).precision(np.zeros(6))
    known.basis(6).add(np.ones(6), np.ones(6), 6.0)
    known.remember(TELLING - 1, 1.0)
    assert known.remembering(metric, 1.0) is metric
    known.remember(TELLING, 1.0)
    assert known.remembering(metric, 0.5).shrunk == 0.5
    # at a loss of zero nothing is known of how the matrix has changed
    assert known.remembering(metric, 0.0) is metric
