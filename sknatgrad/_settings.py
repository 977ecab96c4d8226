"""What the parameters of an estimator ask of a descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from sknatgrad._descent import Rule
from sknatgrad._objective import Objective
from sknatgrad._parameters import columns_of
from sknatgrad._stopping import LastError
from sknatgrad._strategy import plan

if TYPE_CHECKING:
    from sknatgrad._prior import Prior
    from sknatgrad._problem import Problem


def rule_of(estimator: Any, prior: Prior) -> Rule:
    """Return the rule of the loop."""
    return Rule(
        damping=float(estimator.damping),
        learning_rate=None if estimator.learning_rate == "auto" else float(estimator.learning_rate),
        max_kl=estimator.max_kl,
        max_iter=estimator.max_iter,
        tol=estimator.tol,
        penalised=prior.proper,
    )


def objective_of(estimator: Any, problem: Problem, prior: Prior, rule: Rule) -> Objective:
    """Return what is to be minimised, of the columns that are kept."""
    precision = columns_of(prior.precision[None], problem.kept, estimator.n_features_in_)[0]
    chosen = plan(estimator.fisher, problem.shape, adaptive=rule.adaptive, leap=rule.max_kl is None)
    seed, last_error = seed_of(estimator), LastError.of(rule.tol)
    return Objective(problem.source, precision, chosen, seed, last_error, prior.mean, prior.past)


def seed_of(estimator: Any) -> int:
    """Return what labels are drawn by."""
    if estimator.fisher != "monte_carlo":
        # the global generator is not touched where nothing is drawn
        return 0
    return int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max // 2))
