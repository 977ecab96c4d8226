"""The metric of quasi-Newton steps: the Fisher information of a sample of the rows, and how far it is from that of all.

Both come from the information of two halves of the sample. Each is an independent estimate of the other, so how well
one half predicts the other says how much of a matrix is noise, for a matrix of any condition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.information.symmetric import equilibrate
from sknatgrad._model.kernels import HalvesKernel, MeasureKernel

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._model.prior import Prior
    from sknatgrad._model.protocols import PooledInformation
    from sknatgrad._rows.source import RowSource


# Largest relative variance of the sum of s x² of a column in a sample of m rows drawn by influence, in units of d / m:
# half of the probability of a row is in proportion to its influence.
INFLUENCE_VARIANCE = 2.0


class SampledMetric(NamedTuple):
    """An approximation of F, and the share of the error that a step of it leaves."""

    information: PooledInformation
    # Expected square of a relative error of the metric along a random direction, in the norm of the metric. A step of
    # length 1 multiplies the error of the loss by it. Infinite if a half is singular.
    contraction: float


def sampled_metric(source: RowSource, theta: Array, prior: Prior) -> SampledMetric:
    """Return the metric at θ by the rows of a sample, whose classes have the weight of all rows.

    Where the entries off the diagonal are mostly noise, they are shrunk: by the factor at which the expected error of
    the matrix is least (Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
    matrices"). A norm of all entries overlooks that a nearly singular matrix must not be shrunk, so it is only if that
    predicts the other half better in the norm of the metric itself.
    """
    # values that are not finite are reported by the descent
    with np.errstate(over="ignore", invalid="ignore"):
        halves = source.total(HalvesKernel(theta))
    first, second = (2.0 * half.dense() for half in halves)
    whole, shift = 0.5 * (first + second), np.tile(prior.precision, len(theta))
    noise = _squared_error(first, second, shift)
    shrinkage = _shrinkage(first, second)
    if noise < np.inf and _squared_error(_shrunk(first, shrinkage), second, shift) < noise:
        # the curvature along θ itself, one number, is known well
        whole = _updated(_shrunk(whole, shrinkage), theta.ravel(), whole @ theta.ravel())
    information = prior.merged(DenseInformation(whole.reshape(*theta.shape, *theta.shape)))
    # the difference of the halves has twice the variance of either, which has twice that of the whole
    return SampledMetric(information, 0.25 * noise)


def influence_sampled_information(source: RowSource, theta: Array, prior: Prior) -> PooledInformation:
    """Return the metric at θ by the rows of a sample drawn by influence, summed in float32.

    Rows that alone determine a column are all in the sample, so halves of it would say less than the sample does.
    """
    kernel = MeasureKernel(theta, TrueExpectation(), DenseInformation, float32=True)
    return prior.merged(source.total(kernel).information)


def _shrinkage(first: Array, second: Array) -> float:
    """Return the share of noise in the squares of the entries off the diagonal, each in units of its columns."""
    scale = equilibrate(first + second)
    first, second = (scale[:, None] * half * scale for half in (first, second))
    whole = 0.5 * (first + second)
    common, total = ((a * b).sum() - a.diagonal() @ b.diagonal() for a, b in ((first, second), (whole, whole)))
    return float(min(max(1.0 - common / total, 0.0), 1.0)) if total > 0.0 else 0.0


def _shrunk(matrix: Array, shrinkage: float) -> Array:
    shrunk = (1.0 - shrinkage) * matrix
    np.fill_diagonal(shrunk, matrix.diagonal())
    return shrunk


def _updated(matrix: Array, step: Array, image: Array) -> Array:
    """Return the matrix after a BFGS update, by which it maps the step to its image."""
    before, along = matrix @ step, float(step @ image)
    curvature = float(step @ before)
    if not min(along, curvature) > 0.0:
        return matrix
    updated: Array = matrix - np.outer(before, before) / curvature + np.outer(image, image) / along
    return updated


def _squared_error(metric: Array, other: Array, shift: Array) -> float:
    """Return the mean square of the relative error of a metric along a direction, if `other` is the exact one."""
    if not metric.diagonal().all():
        # no row informs a column, whatever its prior
        return np.inf
    scale = equilibrate(metric + np.diag(shift))
    shifted = scale[:, None] * metric * scale + np.diag(scale**2 * shift)
    try:
        lower = linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        return np.inf
    error = scale[:, None] * (other - metric) * scale
    for _ in range(2):
        error = linalg.solve_triangular(lower, error.T, lower=True, overwrite_b=True, check_finite=False)
    squared = float((error**2).sum()) / len(error)
    return squared if np.isfinite(squared) else np.inf
