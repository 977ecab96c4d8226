"""The leave-one-out scores of the fits to all rows with several values of C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from sknatgrad._estimator.cv_scores import DEFAULT_SCORING, FROM_SUMS, LOSS_BOUNDS, Scores, known_scoring
from sknatgrad._estimator.cv_task import hardly_penalises
from sknatgrad._estimator.path_end import PathEnd
from sknatgrad._model.categorical import predict
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._model.influence import concatenated, largest_responses, omitted_from_mean, rows_without_others
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.leave_one_out import LeaveOneOutFits

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._estimator.cv_task import CrossValidation, FoldFits
    from sknatgrad._rows.memory import MemorySource

# the value of `cv`
LEAVE_ONE_OUT = "loo"


def check_row_scoring(scoring: Any) -> None:
    """Refuse a score that is not a mean over rows."""
    if known_scoring(scoring) not in FROM_SUMS:
        message = (
            f"scoring={scoring!r:.60} is not a mean over single rows, as cv='loo' needs it; pass 'neg_log_loss' or "
            "'accuracy', or another cv."
        )
        raise ValueError(message)


class LeaveOneOut(NamedTuple):
    """How fits to all rows are scored on each row by the fit without it."""

    task: CrossValidation
    scoring: str
    weight: Array  # (n,), of the scores

    def of(self, fits: FoldFits) -> Scores:
        """Return the mean scores, and their standard errors, as those of one split."""
        scores = [self._of_rows(theta, float(C)) for theta, C in zip(fits.theta[0], self.task.Cs, strict=True)]
        means, errors = zip(*(self._mean(each) for each in scores), strict=True)
        return Scores(np.array([means]), np.array(errors))

    def _of_rows(self, theta: Array, C: float) -> Array:
        """Return the score of each row by the fit without it, ``(n,)``."""
        source = cast("MemorySource", self.task.data.all_columns)
        contrasts = Contrasts(len(self.task.data.layout.classes), 0)
        end = PathEnd.of(self.task, theta, C)
        if hardly_penalises(C) and end.separates:
            # as coefficients grow, the loss without a row tends to 0 or to infinity
            return np.full(source.codes.size, np.nan)
        row_bytes = source.limits.row_bytes
        kernel = end.influence_kernel(row_bytes)
        rows = concatenated(source.total(kernel))
        without = contrasts.theta(rows.without.T).T
        losses, _ = predict(without).loss_and_residual(source.codes)
        responses = largest_responses(source.total, rows, source.weight, kernel.inverse, row_bytes)
        fitted = np.where(source.weight > 0.0, self.weight, 0.0)
        alone = rows_without_others(source.codes, source.weight, contrasts.n_classes)
        alone &= self.task.data.layout.intercept and end.prior.precision[-1] == 0.0
        doubtful = omitted_from_mean(rows.loss_errors(losses, responses), fitted) & ~alone
        fits = LeaveOneOutFits(source, self._shape, source.limits, end.prior, theta)
        without[doubtful] = fits.logits(np.flatnonzero(doubtful), rows.leverage[doubtful])
        prediction = predict(without)
        if self.scoring == DEFAULT_SCORING:
            losses, _ = prediction.loss_and_residual(source.codes)
            losses[alone] = np.inf
            return np.asarray(-np.clip(losses, *LOSS_BOUNDS))
        correct = (prediction.log_proba().argmax(axis=1) == source.codes) & ~alone
        return np.asarray(correct, dtype=np.float64)

    @property
    def _shape(self) -> Shape:
        """The sizes of the rows of all columns."""
        layout = self.task.data.layout._replace(groups=None)
        shape = Shape.of(self.task.rows.X, *layout.shape)
        return shape._replace(out_of_core=self.task.data.source.out_of_core, centred=layout.centres is not None)

    def _mean(self, scores: Array) -> tuple[float, float]:
        """Return the mean over rows, and its standard error (Cochran 1977, section 6.3)."""
        shares = self.weight / max(float(self.weight.sum()), np.finfo(np.float64).tiny)
        n_rows = int(np.count_nonzero(self.weight))
        if n_rows < 2:  # noqa: PLR2004 - a variance needs two rows
            return float("nan"), 0.0
        mean = float(shares @ scores)
        variance = float(((shares * (scores - mean)) ** 2).sum()) * n_rows / (n_rows - 1)
        return mean, float(np.sqrt(variance))
