"""The fits of a cross-validation: one model for each training set and value of C.

Models are fitted together where that costs less. Any other model is fitted to its rows as `fit` does it, from the
nearest coefficients that are known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.cv_task import FoldFits, ascending, hardly_penalises
from sknatgrad._estimator.cv_together import TogetherFits
from sknatgrad._estimator.fit import build_objective, plan_fit, run_descent
from sknatgrad._model.layout import WarmStart, join
from sknatgrad._model.recentring import recentred_theta

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._estimator.cv_task import FoldTask
    from sknatgrad._inputs.training_data import TrainingData

# Length of an extrapolation in log C at most, in units of the distance of the two values that it is made from.
MAX_EXTRAPOLATION = 1.0


def fit_folds(task: FoldTask, near: FoldFits | None = None) -> FoldFits:
    """Fit a model to each training set with each value of C; `near` are the fits to a C near all of these."""
    fits = FoldFits.none_yet(task)
    together = TogetherFits.of(task)
    if together is not None:
        together.run(fits, None if near is None else near.refit_start(0))
    for split in range(len(task.totals)):
        if not fits.known[split].all():
            _fit_in_turn(task, split, fits, None if near is None else near.theta[split, 0])
    return fits


def _fit_in_turn(task: FoldTask, split: int, fits: FoldFits, near: Array | None) -> None:
    """Fit the models of a training set that are not known yet, each from those of the values of C before.

    `near` are the coefficients at a C near the first.
    """
    model, layout = task.model, task.data.layout._replace(groups=None)
    before: list[int] = []
    data: TrainingData | None = None
    for place in ascending(task):
        if not fits.known[split, place]:
            model.C = float(task.Cs[place])
            start = _start(task, split, place, before, fits) if before or near is None else near
            # columns are grouped unless C hardly penalises them
            data = task.training_data(split) if data is None or hardly_penalises(model.C) else data
            attributes, notices = _fit_one(model, data, None if start is None else WarmStart(start, layout))
            theta = join(attributes["coef_"], attributes["intercept_"], with_intercept=layout.intercept)
            if attributes["_centres"] is not None:
                theta[:, -1] = attributes["_centred_intercept"]
            fits.theta[split, place] = recentred_theta(theta, attributes["_centres"], layout.centres)
            fits.known[split, place] = True
            fits.n_iter[split, place] = attributes["n_iter_"][0]
            fits.notices += notices
        before.append(int(place))


def _start(task: FoldTask, split: int, place: int, before: list[int], fits: FoldFits) -> Array | None:
    """Return where a descent starts: on the line in log C through the optima of the two values of C before.

    Coefficients of separable rows grow with log C. Digits take 1.75 s with it, 2.0 from the optimum of the C before,
    and 5.3 from that of all rows.
    """
    if hardly_penalises(task.Cs[place]):
        return None
    if not before:
        start: Array | None = fits.start[place] if fits.has_start[place] else None
        return start
    last: Array = fits.theta[split, before[-1]]
    logs = np.log(task.Cs[[*before[-2:], place]])
    if len(before) == 1 or not np.isfinite(logs).all() or logs[1] == logs[0]:
        return last
    length = min((logs[2] - logs[1]) / (logs[1] - logs[0]), MAX_EXTRAPOLATION)
    extrapolated: Array = last + length * (last - fits.theta[split, before[-2]])
    return extrapolated


def _fit_one(model: Any, data: TrainingData, start: WarmStart | None) -> tuple[dict[str, Any], list[Warning]]:
    """Return the attributes, in float64 whatever X is, and the warnings of one fit."""
    data = replace(data, dtype=np.dtype(np.float64))
    plan = plan_fit(model, data)._replace(start=None if start is None else start.transfer(data.layout))
    result = run_descent(model, data, plan, build_objective(data, plan), FitMonitor(model))
    return cast("dict[str, Any]", result.attributes), result.notices
