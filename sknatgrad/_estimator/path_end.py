"""What follows from the coefficients of all rows at one value of C: loss, degrees of freedom, evidence and errors."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._model.evidence import log_evidence
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.influence import InfluenceKernel
from sknatgrad._model.information import DenseInformation, IdentityInformation
from sknatgrad._model.information.symmetric import factorise
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.many_models import PointsKernel, SeveralKernels
from sknatgrad._model.posterior import Posterior
from sknatgrad._model.recentring import recentred_covariance
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.penalised_loss import PenalisedLoss
from sknatgrad._solver.stopping import is_separated

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._estimator.cv_task import CrossValidation, FoldFits, FoldTask
    from sknatgrad._model.kernels import Sums
    from sknatgrad._model.layout import Layout
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import Structure
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.records import Measured


# Points, for each column of dense X, from which F of all of them is one product, and columns up to which: the pairs of
# columns of 128 rows then take 16 MiB. 100 points of 48,842 x 108: 1.2 s for 1.9, of 10⁵ x 50: 0.65 for 1.8; 25 points
# as long as one by one.
MIN_POINTS_PER_COLUMN, MAX_PRODUCT_COLUMNS = 0.5, 180
# Points for each logit whose temporaries the blocks allow for: with blocks of fewer rows for each of 100 points, the
# merges of their matrices take a tenth more.
POINTS_PER_LOGIT = 4


class PathEnd:
    """A fit to all rows with one value of C, and the Fisher information there, if it is small enough for a matrix."""

    def __init__(self, point: Measured, prior: Prior, layout: Layout) -> None:
        self._point, self._prior, self._layout = point, prior, layout

    @classmethod
    def of(cls, task: CrossValidation, theta: Array, C: float) -> PathEnd:
        """Measure θ ``(q, d)`` of all columns, by a pass."""
        return cls.of_each(task.with_Cs(np.array([C])), theta[None])[0]

    @classmethod
    def of_each(cls, task: FoldTask, thetas: Array) -> list[PathEnd]:
        """Measure θ of each value of C, ``(C, q, d)``, by a pass for as many as matrices fit into memory."""
        size, matrix_bytes = task.data.layout.n_params, task.model._limits.matrix_bytes  # noqa: SLF001 - a parameter
        structure = DenseInformation if 8 * size**2 <= matrix_bytes else IdentityInformation
        at_once = max(int(matrix_bytes / (8 * size**2)), 1)
        ends: list[PathEnd] = []
        for first in range(0, len(thetas), at_once):
            part = slice(first, first + at_once)
            sums = _sums(task.data.all_columns, thetas[part], structure)
            for theta, of_theta, C in zip(thetas[part], sums, task.Cs[part], strict=True):
                task.model.C = float(C)
                prior = configured_prior(task.model, task.data.layout.classes, task.data.layout.centres)
                point = PenalisedLoss(task.data.all_columns, prior).measured(theta, of_theta)
                ends.append(cls(point, prior, task.data.layout))
        return ends

    @property
    def prior(self) -> Prior:
        """The prior that C stands for."""
        return self._prior

    @property
    def separates(self) -> bool:
        """Whether each row's own class has more than half of the probability."""
        return is_separated(self._point)

    def influence_kernel(self, row_bytes: int) -> InfluenceKernel:
        """Return the kernel of the influence of each row; F has to be small enough for a matrix."""
        information = cast("DenseInformation", self._point.information)
        contrasts = Contrasts(len(self._layout.classes), 0)
        precision = contrasts.matrix(information.blocks) + contrasts.prior(self._prior.precision)
        inverse = factorise(precision).solve(np.eye(len(precision)))
        params = contrasts.params(self._point.theta)
        return InfluenceKernel(params, inverse.reshape(params.shape * 2), contrasts, row_bytes)

    @property
    def loss(self) -> float:
        """The penalised loss, nats for each unit of weight."""
        return self._point.loss / self._point.weight

    @property
    def log_likelihood(self) -> float:
        """The log-likelihood of all rows, nats."""
        return self._prior.value(self._point.theta) - self._point.loss

    @cached_property
    def _posterior(self) -> Posterior | None:
        information = self._point.information
        if not isinstance(information, DenseInformation):
            return None
        return Posterior.of(self._point.theta, information.blocks, self._prior.precision)

    @property
    def effective_dof(self) -> float:
        """tr((F + Λ)⁻¹F); NaN if F is too large."""
        posterior = self._posterior
        if posterior is None:
            return float("nan")
        n_contrasts = len(self._layout.classes) - 1
        n_determined = self._layout.n_params - len(posterior.undetermined) * n_contrasts
        variances = np.einsum("kjkj->kj", posterior.covariance)
        return n_determined - float((variances * self._prior.precision).sum())

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence, nats; NaN without a penalty, or if F is too large."""
        if not isinstance(self._point.information, DenseInformation):
            return float("nan")
        contrasts = Contrasts(len(self._layout.classes), 0)
        fisher = contrasts.matrix(self._point.information.blocks)
        return log_evidence(fisher, contrasts.prior(self._prior.precision), self._point.loss)

    @property
    def standard_errors(self) -> Array:
        """Square roots of the diagonal of (F + Λ)⁻¹ for the rows themselves, ``(q, d)``, if F is small enough."""
        posterior = cast("Posterior", self._posterior)
        covariance = recentred_covariance(posterior.covariance, self._layout.centres, None)
        errors: Array = np.sqrt(np.einsum("kjkj->kj", covariance))
        return errors


def _sums(source: RowSource, thetas: Array, structure: Structure) -> list[Sums[Any]]:
    """Return the sums over rows at each θ, ``(C, q, d)``, by a pass."""
    n_points, n_logits, n_columns = thetas.shape
    many = MIN_POINTS_PER_COLUMN * n_columns <= n_points and n_columns <= MAX_PRODUCT_COLUMNS
    two_classes = n_logits == 1 and structure is DenseInformation
    if many and two_classes and isinstance(source, MemorySource) and isinstance(source.X, np.ndarray):
        in_blocks = replace(source, n_logits=-(-n_points // POINTS_PER_LOGIT))
        return in_blocks.total(PointsKernel(thetas.swapaxes(0, 1))).of_each()
    kernels = [MeasureKernel(theta, TrueExpectation(), structure) for theta in thetas]
    return source.total(SeveralKernels(kernels))


def log_evidences(task: FoldTask, fits: FoldFits) -> Array:
    """Return the log-evidence of the fit to all rows with each value of C, ``(1, C)``, nats."""
    return np.array([[end.log_evidence for end in PathEnd.of_each(task, fits.theta[0])]])
