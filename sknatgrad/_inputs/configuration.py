"""What the parameters of an estimator ask of a descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from sknatgrad._limits import Limits
from sknatgrad._model.parameters import columns_of
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import plan
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.stopping import FinalTolerance

if TYPE_CHECKING:
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._model.prior import Prior
    from sknatgrad._solver.objective import Objective


def descent_options(estimator: Any, prior: Prior) -> DescentOptions:
    """Return the rule of the loop."""
    return DescentOptions(
        damping=float(estimator.damping),
        learning_rate=None if estimator.learning_rate == "auto" else float(estimator.learning_rate),
        max_kl=estimator.max_kl,
        max_iter=estimator.max_iter,
        tol=estimator.tol,
        penalised=prior.proper,
    )


def objective_of(estimator: Any, data: TrainingData, prior: Prior, options: DescentOptions) -> Objective:
    """Return what is to be minimised, of the columns that are kept."""
    prior = prior._replace(precision=columns_of(prior.precision[None], data.kept, estimator.n_features_in_)[0])
    limits, subsample = getattr(estimator, "_limits", Limits()), options.max_kl is None
    chosen = plan(estimator.fisher, data.shape, limits, adaptive=options.adaptive, subsample=subsample)
    seed, final_tolerance = seed_of(estimator), FinalTolerance.of(options.tol)
    return make_objective(data.source, prior, chosen, seed, final_tolerance)


def seed_of(estimator: Any) -> int:
    """Return what labels are drawn by."""
    if estimator.fisher != "monte_carlo":
        # the global generator is not touched where nothing is drawn
        return 0
    return int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max // 2))
