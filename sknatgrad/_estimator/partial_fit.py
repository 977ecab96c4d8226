"""The steps of `partial_fit`: check a batch, plan, objective, update of the stream, attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._estimator.fit import check_stored_covariance, floating_type
from sknatgrad._estimator.publish import posterior_attributes
from sknatgrad._estimator.stream import RowsToSolve, StreamState, centres_for, empty_stream, rows_to_solve
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.configuration import descent_options, layout_of, seed_of
from sknatgrad._inputs.labels import check_known_classes, codes_among
from sknatgrad._inputs.prior import absorbs_centres, configured_prior
from sknatgrad._inputs.rows import check_rows_and_labels
from sknatgrad._inputs.training_data import explain_overflow
from sknatgrad._inputs.weights import check_sample_weight, class_factors, totals_of_all, weighted
from sknatgrad._model.class_labels import label_keys, label_names
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.metrics import STRUCTURES
from sknatgrad._model.recentring import recentred_theta
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.source import LabelledRows
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.records import Outcome
from sknatgrad._solver.recursive import update
from sknatgrad._solver.stopping import FinalTolerance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Labels, Matrix
    from sknatgrad._inputs.configuration import Configuration
    from sknatgrad._model.layout import Layout
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.threads import Workers
    from sknatgrad._solver.objective import Objective
    from sknatgrad._solver.problem import DescentOptions

# A stream begins with the information of a mean row at even probabilities, times this share. Without it, a class not
# seen yet, or a column that only one class has, would have no finite optimum. 1e-5 to 1e-2 give the same distance
# to a fit to all rows; 1 gives a squared distance 4 to 8 times as large (2,000 x 10).
INITIAL_SHARE = 1e-3


class StreamBatch(NamedTuple):
    """A batch of a stream, checked."""

    rows: LabelledRows  # their weight is sample weight times class weight times age
    layout: Layout  # without centres
    stream: StreamState  # of the batches before, with the totals of the classes after this one
    share: float  # factor on the weights of all earlier rows
    notices: list[Warning]


class UpdatePlan(NamedTuple):
    """How an estimator updates its stream: prior, options of the descent, seed, and the rows to solve for."""

    prior: Prior
    options: DescentOptions
    seed: int  # of drawn labels
    to_solve: RowsToSolve | None  # None if no row of the batch has weight
    centres: Array | None  # (p,), of the rows to solve for; of earlier ones, if there are none


def check_batch(
    estimator: Configuration, X: Matrix, y: ArrayLike, classes: ArrayLike | None, sample_weight: ArrayLike | None
) -> StreamBatch:
    """Check a batch; the first one sets the feature attributes of the estimator."""
    stream: StreamState | None = getattr(estimator, "_stream", None)
    begins = stream is None
    notices = _notices_of_new_stream(estimator) if begins and classes is None else []
    X, labels = check_rows_and_labels(estimator, X, y, reset=begins)
    known = _check_classes(estimator, classes, begins=begins)
    codes = codes_among(known, labels)
    layout = layout_of(estimator, known)
    stream = _begin_stream(estimator, layout) if stream is None else stream
    _check_same_stream(estimator, stream, layout)
    weight = check_sample_weight(sample_weight, codes.size, positive=False)
    totals = stream.totals + totals_of_all(codes, weight, len(known))
    weight = weighted(weight, class_factors(estimator.class_weight, known, totals), codes)
    share = estimator.forgetting**codes.size
    if share < 1.0:
        weight = weight * estimator.forgetting ** np.arange(codes.size - 1.0, -1.0, -1.0)
    return StreamBatch(LabelledRows(X, codes, weight), layout, stream._replace(totals=totals), share, notices)


def _notices_of_new_stream(estimator: Configuration) -> list[Warning]:
    """Return the warning that a new stream does not continue the earlier fit; refuse a first call without classes."""
    if not hasattr(estimator, "classes_"):
        message = "classes=None in the first call of partial_fit; pass all classes that may ever appear."
        raise ValueError(message)
    message = (
        "partial_fit begins afresh: fit without store_covariance=True stores nothing from which a stream could "
        "continue; pass classes to begin a new stream without this warning."
    )
    return [UserWarning(message)]


def _check_classes(estimator: Configuration, classes: ArrayLike | None, *, begins: bool) -> Labels:
    """Return the classes of the stream, sorted."""
    if classes is None:
        return estimator.classes_
    known = check_known_classes(classes)
    if begins:
        return known
    if label_keys(known) != label_keys(estimator.classes_):
        message = (
            f"classes={label_names(known)} differ from those of the first call, {label_names(estimator.classes_)}."
        )
        raise ValueError(message)
    return estimator.classes_


def _begin_stream(estimator: Configuration, layout: Layout) -> StreamState:
    """Return the state before the first batch; refuse information that would be too large."""
    if STRUCTURES[estimator.fisher] is DenseInformation:
        n_params, remedy = layout.n_logits * layout.n_columns, "use fisher='diagonal' or 'kronecker', which keep less"
        check_covariance_size(n_params, remedy, estimator._limits)  # noqa: SLF001 - a parameter
    check_stored_covariance(estimator, layout)
    return empty_stream(estimator.fisher, layout)


def _check_same_stream(estimator: Configuration, stream: StreamState, layout: Layout) -> None:
    if stream.fisher != estimator.fisher or stream.quadratic.theta.shape != layout.shape:
        message = (
            f"fisher={estimator.fisher!r} and fit_intercept={estimator.fit_intercept} are not those that the stream "
            "began with; restore them, or begin another stream with a clone."
        )
        raise ValueError(message)


def plan_update(estimator: Configuration, batch: StreamBatch) -> UpdatePlan:
    """Return the prior, the options of the descent, and the rows to solve for."""
    to_solve, centres = None, batch.stream.centres
    if batch.rows.weight.any():
        limits = estimator._limits  # noqa: SLF001 - a parameter
        to_solve = rows_to_solve(batch.stream, batch.rows, batch.share, limits)
        if absorbs_centres(estimator, batch.layout):
            centres = centres_for(batch.stream, to_solve, limits.far_ratio)
    prior = configured_prior(estimator, batch.layout.classes, centres)
    # steps are adaptive: a fixed `learning_rate` applies to `fit` only
    options = descent_options(estimator, prior)._replace(penalised=True, learning_rate=None)
    seed = 0 if to_solve is None else seed_of(estimator) + batch.stream.n_batches
    return UpdatePlan(prior, options, seed, to_solve, centres)


def batch_objective(
    estimator: Configuration, batch: StreamBatch, update_plan: UpdatePlan, workers: Workers
) -> Objective | None:
    """Return the function to minimise: the loss of the rows to solve for plus an approximation to that of others."""
    if update_plan.to_solve is None:
        return None
    rows, earlier, _ = update_plan.to_solve
    limits = estimator._limits  # noqa: SLF001 - a parameter
    source = MemorySource(*rows, batch.layout.n_logits, workers, limits=limits, centres=update_plan.centres)
    metric = choose_plan(estimator.fisher, Shape.of(rows.X, *batch.layout.shape), limits, adaptive=False)
    if earlier is None:
        kernel = MeasureKernel(np.zeros(batch.layout.shape), TrueExpectation(), metric.structure)
        even = source.total(kernel).information
        earlier = update_plan.prior.initial_quadratic(even.scaled(INITIAL_SHARE / rows.codes.size))
    else:
        earlier = earlier.recentred(batch.stream.centres, update_plan.centres)
    prior = update_plan.prior._replace(quadratic=earlier)
    return make_objective(source, prior, metric, update_plan.seed, FinalTolerance.of(update_plan.options.tol))


def run_update(
    estimator: Configuration, batch: StreamBatch, update_plan: UpdatePlan, objective: Objective | None
) -> StreamState:
    """Return the state of the stream after the batch."""
    stream = batch.stream
    if objective is None or update_plan.to_solve is None:
        return stream
    rows, earlier, first_rows = update_plan.to_solve
    limits = estimator._limits  # noqa: SLF001 - a parameter
    start = recentred_theta(stream.quadratic.theta, stream.centres, update_plan.centres)
    quadratic, step = update(objective, start, update_plan.options, limits)
    if step.outcome is Outcome.overflow:
        raise ValueError(explain_overflow(estimator, rows))
    return stream._replace(
        quadratic=quadratic,
        n_batches=stream.n_batches + 1,
        first_rows=first_rows,
        n_solved=len(rows.codes) if earlier is None else stream.n_solved,
        centres=update_plan.centres,
    )


def stream_attributes(
    estimator: Configuration, batch: StreamBatch, update_plan: UpdatePlan, stream: StreamState
) -> dict[str, object]:
    """Return the attributes of an estimator after a batch."""
    theta, information = stream.quadratic.theta, stream.quadratic.information
    layout = batch.layout._replace(centres=stream.centres)
    attributes = layout.attributes(theta, floating_type(batch.rows.X.dtype)) | {"_stream": stream}
    if estimator.store_covariance:
        attributes |= posterior_attributes(theta, information, update_plan.prior.precision, stream.centres)
    return attributes
