"""The steps of a fit: plan, objective, descent, and the attributes that follow from its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknatgrad._estimator.history import advice
from sknatgrad._estimator.publish import delete_results, posterior_attributes
from sknatgrad._estimator.separation import (
    FitEnd,
    has_unpenalised_features,
    search_of,
    separation_notices,
)
from sknatgrad._estimator.stream import StreamState
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.configuration import descent_options, layout_of, seed_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.layout import WarmStart, fitted_theta
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._solver.descent import descend
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.records import Outcome
from sknatgrad._solver.stopping import FinalTolerance
from sknatgrad._solver.warm_up import starting_point, warm_up
from sknatgrad.exceptions import SeparationWarning

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._estimator.callbacks import FitMonitor
    from sknatgrad._estimator.history import History
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._model.layout import Layout
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import PooledInformation
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.problem import DescentOptions, State


# outcomes of a descent at which some rows may be separated, although it did not say so
MAY_BE_SEPARATED = {Outcome.converged, Outcome.exhausted, Outcome.stalled, Outcome.unbounded}
# outcomes of which the reason is separation
WITHOUT_MAXIMUM = {Outcome.separable, Outcome.unbounded}


class FitPlan(NamedTuple):
    """How an estimator fits some data: prior, options of the descent, method, seed and start."""

    prior: Prior  # of all columns
    options: DescentOptions
    metric: Plan
    seed: int  # of drawn labels
    start: Array | None  # (q, d), the coefficients of an earlier fit, where this one starts from them


class FitResult(NamedTuple):
    """The fitted attributes, and the warnings to issue."""

    attributes: dict[str, object]
    notices: list[Warning]


def plan_fit(estimator: Configuration, data: TrainingData) -> FitPlan:
    """Return the prior, the options of the descent, and the method; refuse a covariance that is too large."""
    check_stored_covariance(estimator, data.layout)
    prior = configured_prior(estimator, data.layout.classes, data.layout.centres)
    options = descent_options(estimator, prior)
    # fits without steps, or whose steps are bounded, start at zero
    subsample = options.max_kl is None and options.max_iter > 0
    limits = estimator._limits  # noqa: SLF001 - a parameter
    metric = choose_plan(estimator.fisher, data.cost_shape, limits, adaptive=options.adaptive, subsample=subsample)
    return FitPlan(prior, options, metric, seed_of(estimator), _warm_start(estimator, data.layout))


def check_stored_covariance(estimator: Configuration, layout: Layout) -> None:
    """Refuse to store a covariance that is too large; columns without entries have a variance too."""
    if estimator.store_covariance:
        remedy = "fit with store_covariance=False, or fewer columns"
        check_covariance_size(layout.n_params, remedy, estimator._limits)  # noqa: SLF001 - a parameter


def _warm_start(estimator: Configuration, layout: Layout) -> Array | None:
    if not estimator.warm_start or not hasattr(estimator, "coef_"):
        return None
    theta, centres = fitted_theta(estimator, intercept=estimator.fit_intercept)
    earlier = layout_of(estimator, estimator.classes_)._replace(n_features=estimator.coef_.shape[1], centres=centres)
    return WarmStart(theta, earlier).transfer(layout)


def build_objective(data: TrainingData, fit_plan: FitPlan) -> Objective:
    """Return the function to minimise, of the columns that θ has."""
    prior = fit_plan.prior._replace(precision=data.layout.restrict_precision(fit_plan.prior.precision))
    tolerance = FinalTolerance.of(fit_plan.options.tol)
    return make_objective(data.source, prior, fit_plan.metric, fit_plan.seed, tolerance)


def run_descent(
    estimator: Configuration, data: TrainingData, fit_plan: FitPlan, objective: Objective, monitor: FitMonitor
) -> FitResult:
    """Run the descent and the passes after it, and return the attributes and the warnings of its end."""
    history = monitor.begin(objective.plan)
    # callbacks receive copies of the estimator, which must not have results of an earlier fit
    delete_results(estimator)
    theta, options = fit_plan.start, fit_plan.options
    if theta is None:
        theta, options = warm_up(objective, options)
    prior = objective.penalised_loss.prior
    search = search_of(estimator, data, prior)
    if has_unpenalised_features(prior, intercept=data.layout.intercept):
        options = options._replace(rows_are_separated=search.found)
    iterates = descend(objective, starting_point(objective, theta), options)
    end, step = monitor.follow(iterates, history, objective, lambda state: fitted_attributes(data, state, history))
    if step.outcome is Outcome.overflow:
        raise ValueError(data.explain_overflow())
    converged = step.outcome is Outcome.converged
    attributes = fitted_attributes(data, end, history) | {"converged_": converged}
    notices: list[Warning] = []
    separation: list[Warning] = []
    with monitor.unless_interrupted(notices):
        if estimator.store_covariance:
            attributes |= information_attributes(estimator, data, fit_plan.prior, end.theta)
        # nothing is said of coefficients that are still those of the start
        if step.outcome in MAY_BE_SEPARATED and history.n_iter > 0:
            separation = separation_notices(estimator, data, search, FitEnd(end, prior, converged))
    if not separation and step.outcome not in {Outcome.converged, Outcome.stopped}:
        category = SeparationWarning if step.outcome in WITHOUT_MAXIMUM else ConvergenceWarning
        notices.insert(0, category(advice(step, estimator.fisher, fit_plan.options, history)))
    notices += separation
    if data.n_passes is not None:
        attributes["n_passes_"] = data.n_passes()
    return FitResult(attributes, notices)


def fitted_attributes(data: TrainingData, state: State, history: History) -> dict[str, object]:
    """Return the attributes of an estimator that is fitted to a state of the descent."""
    return {
        **data.layout.attributes(state.theta, floating_type(data.dtype)),
        "n_iter_": np.array([history.n_iter], dtype=np.int32),
        "loss_curve_": list(history.loss_curve),
        "kl_curve_": list(history.kl_curve),
        "time_curve_": list(history.time_curve),
        "converged_": False,
    }


def floating_type(dtype: object) -> type[np.float32 | np.float64]:
    """Return the type of the coefficients of a fit to rows of this type."""
    return np.float32 if dtype == np.float32 else np.float64


def information_attributes(
    estimator: Configuration, data: TrainingData, prior: Prior, theta: Array
) -> dict[str, object]:
    """Return the covariance of the coefficients, and the state from which `partial_fit` continues.

    Both or, if a pass is interrupted, neither.
    """
    theta = data.layout.expand(theta)
    true = data.all_columns.total(MeasureKernel(theta, TrueExpectation(), DenseInformation))
    information: PooledInformation = true.information
    if estimator.fisher != "true":
        expectation = expectation_of(estimator.fisher, seed_of(estimator))
        information = data.all_columns.total(
            MeasureKernel(theta, expectation, STRUCTURES[estimator.fisher])
        ).information
    quadratic = prior.pooled(QuadraticApproximation(theta, true.gradient, information))
    posterior = prior.pooled(QuadraticApproximation(theta, true.gradient, true.information))
    return {
        **posterior_attributes(theta, posterior.information, prior.precision, data.layout.centres),
        "_stream": StreamState(estimator.fisher, quadratic, data.totals, n_batches=1, centres=data.layout.centres),
    }
