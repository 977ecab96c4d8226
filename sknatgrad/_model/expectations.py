"""The labels over which the metric takes its expectation: those of the model, those observed, or drawn ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.score_covariance import BinaryScores, LabelScores

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.categorical import Prediction
    from sknatgrad._model.protocols import Scores

# random numbers that Philox4x64 generates per value of its counter: Salmon et al. (2011)
VALUES_PER_COUNT = 4


class Expectation(Protocol):
    """How a metric takes E[r rᵀ]. It can be pickled, for Dask."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:
        """Return the scores of a block whose first row has index `start`."""
        ...


def label_scores(prediction: Prediction, codes: Codes) -> Scores:
    """Return r rᵀ of each row at the labels `codes`."""
    _, residual = prediction.loss_and_residual(codes)
    return BinaryScores(residual**2) if residual.shape[1] == 1 else LabelScores(residual)


@record
class TrueExpectation:
    """Labels as the model predicts them, in closed form."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - the protocol
        """Return the scores of a block."""
        return prediction.scores()


@record
class EmpiricalExpectation:
    """Labels as observed."""

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - the protocol
        """Return the scores of a block."""
        return label_scores(prediction, codes)


@record
class SampledExpectation:
    """One label per row, drawn from the model.

    The draw of a row depends only on `seed` and the index of the row, and not on the bounds of blocks or on the order
    in which they are computed: a Philox counter is advanced to the row.
    """

    seed: int

    def scores(self, prediction: Prediction, codes: Codes, start: int) -> Scores:  # noqa: ARG002 - the protocol
        """Return the scores of a block whose first row has index `start`."""
        return label_scores(prediction, self.labels(prediction, start))

    def labels(self, prediction: Prediction, start: int) -> Codes:
        """Return the drawn code of each row, ``(m,)``."""
        proba = prediction.proba
        draw = self._uniform(start, proba.shape[0])
        if proba.shape[1] == 1:
            return (draw < proba[:, 0]).astype(np.intp)
        below = draw[:, None] > proba.cumsum(axis=1)
        drawn: Codes = np.minimum(below.sum(axis=1), proba.shape[1] - 1)
        return drawn

    def _uniform(self, start: int, size: int) -> Array:
        philox = np.random.Philox(self.seed)
        philox.advance(start // VALUES_PER_COUNT)
        skipped = start % VALUES_PER_COUNT
        return np.random.Generator(philox).random(skipped + size)[skipped:]
