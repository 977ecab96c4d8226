"""Gaussian priors on the coefficients; the negative log density of a prior is the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sknatgrad._model.information import DenseInformation, DiagonalInformation, restructured
from sknatgrad._model.layout import zero_sum
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._model.recentring import recentred_theta

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import PooledInformation

PRIOR_FORMS = (
    "pass (mean, precision), each a number or an array of shape (n_features,), (d,) with the intercept, or (q, d), or "
    "for the precision a matrix (q * d, q * d); or pass an earlier fitted model"
)
# Asymmetry of a precision matrix, and size of a negative eigenvalue, relative to its largest entry, up to which they
# count as the rounding of the code that computed it: float64 has an epsilon of 2e-16.
MATRIX_ROUNDING = 1e-10


class Prior(NamedTuple):
    """½ (θ − μ)ᵀ (I ⊗ diag(λ) + F₀) (θ − μ)."""

    precision: Array  # (d,), λ, the same for all classes
    mean: Array | None = None  # (q, d), μ; None is 0
    quadratic: QuadraticApproximation | None = None  # with F₀, where there is one

    @property
    def proper(self) -> bool:
        """Whether there is a penalty on any coefficient."""
        return bool(self.precision.any()) or self.quadratic is not None

    def deviation(self, theta: Array) -> Array:
        """Return θ − μ."""
        return theta if self.mean is None else theta - self.mean

    def value(self, theta: Array) -> float:
        """Return the negative log density at θ, up to a constant."""
        value = 0.5 * float((self.precision * self.deviation(theta) ** 2).sum())
        return value if self.quadratic is None else value + self.quadratic.value(theta)

    def gradient(self, theta: Array) -> Array:
        """Return the gradient of the negative log density at θ, ``(q, d)``."""
        gradient: Array = self.precision * self.deviation(theta)
        return gradient if self.quadratic is None else gradient + self.quadratic.gradient_at(theta)

    def value_and_gradient(self, theta: Array) -> tuple[float, Array]:
        """Return both."""
        if self.quadratic is not None:
            return self.value(theta), self.gradient(theta)
        deviation = theta if self.mean is None else theta - self.mean
        gradient: Array = self.precision * deviation
        return 0.5 * float(np.vdot(gradient, deviation)), gradient

    def merged(self, information: PooledInformation) -> PooledInformation:
        """Return the Fisher information of rows together with F₀, in the structure of the rows."""
        if self.quadratic is None:
            return information
        return information.merge(restructured(self.quadratic.information, type(information)))

    def pooled(self, quadratic: QuadraticApproximation) -> QuadraticApproximation:
        """Return the quadratic approximation of rows plus that of F₀, in the structure of the rows."""
        if self.quadratic is None:
            return quadratic
        gradient = quadratic.gradient + self.quadratic.gradient_at(quadratic.theta)
        return QuadraticApproximation(quadratic.theta, gradient, self.merged(quadratic.information))

    def initial_quadratic(self, information: PooledInformation) -> QuadraticApproximation:
        """Return a quadratic with this information, centred at the prior mean, plus that of F₀."""
        zero = np.zeros(information.diagonal().shape)
        return self.pooled(QuadraticApproximation(zero if self.mean is None else self.mean, zero, information))

    def recentred(self, centres: Array | None) -> Prior:
        """Return the same prior for the coefficients of rows less the centres, ``(p,)``.

        A precision of the intercept, the logit where all columns are 0, becomes one of a sum of all coefficients.
        """
        if centres is None or self.mean is None:
            # without a mean the intercept has no precision, and the other coefficients are the same
            return self
        mean = recentred_theta(self.mean, None, centres)
        features = np.append(self.precision[:-1], 0.0)
        prior = Prior(features, mean, None if self.quadratic is None else self.quadratic.recentred(None, centres))
        if self.precision[-1] == 0.0:
            return prior
        # the intercept is the product of θ with (−c, 1)
        direction = np.append(-centres, 1.0)
        of_intercept = _of_matrix(mean, np.kron(np.eye(len(mean)), self.precision[-1] * np.outer(direction, direction)))
        return prior._replace(quadratic=prior.pooled(cast("QuadraticApproximation", of_intercept.quadratic)))


def gaussian_prior(
    given: tuple[ArrayLike, ArrayLike],
    C: float,
    shape: tuple[int, int],
    *,
    intercept: bool,
    check_size: Callable[[int], None],
) -> Prior:
    """Return the prior of a mean and a precision, the latter over C."""
    mean = zero_sum(_broadcast("mean", given[0], shape, intercept=intercept))
    precision = _finite_numbers("precision", given[1])
    if precision.shape == (mean.size, mean.size) and mean.size > 1:
        return _of_matrix(mean, precision / C)
    diagonal = _broadcast("precision", precision, shape, intercept=intercept) / C
    if (diagonal < 0).any():
        message = f"prior has the negative precision {float(diagonal.min()) * C:g}; each must be >= 0."
        raise ValueError(message)
    if (diagonal == diagonal[0]).all():
        return Prior(diagonal[0], mean)
    # the Schur complement in `_of_matrix` has entries off the diagonal
    check_size(mean.size)
    return _of_matrix(mean, np.diag(diagonal.ravel()))


def posterior_prior(
    quadratic: QuadraticApproximation, before: Prior, C: float, check_size: Callable[[int], None]
) -> Prior:
    """Return the posterior of an earlier model as a prior: the approximation of its rows plus its prior `before`."""
    mean, information = quadratic.theta, quadratic.information.scaled(1.0 / C)
    precision = before.precision / C
    if len(mean) > 1 and isinstance(information, DiagonalInformation):
        # unlike other structures, it has curvature along equal moves of all classes
        check_size(mean.size)
        return _of_matrix(mean, information.dense())._replace(precision=precision)
    return Prior(precision, mean, QuadraticApproximation(mean, np.zeros_like(mean), information))


def _finite_numbers(name: str, given: ArrayLike) -> Array:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if not np.isfinite(values).all():
        message = f"prior has a {name} that is not made of finite numbers; {PRIOR_FORMS}."
        raise ValueError(message)
    return values


def _broadcast(name: str, given: ArrayLike, shape: tuple[int, int], *, intercept: bool) -> Array:
    """Return one number a coefficient, ``(q, d)``; 0 for an intercept if only features are given."""
    values = _finite_numbers(name, given)
    n_logits, n_columns = shape
    n_features = n_columns - intercept
    if values.ndim <= 2 and (values.ndim == 0 or values.shape[-1] in {n_features, n_columns}):  # noqa: PLR2004 - (q, d)
        features = n_features if values.ndim == 0 else values.shape[-1]
        if values.ndim < 2 or values.shape[0] in {1, n_logits}:  # noqa: PLR2004 - (q, d)
            full = np.zeros(shape)
            full[:, :features] = values
            return full
    message = (
        f"prior has a {name} of shape {values.shape}, where there are {n_features} features"
        f"{', an intercept' * intercept} and {n_logits} logits; {PRIOR_FORMS}."
    )
    raise ValueError(message)


def _of_matrix(mean: Array, matrix: Array) -> Prior:
    """Return the prior of a precision matrix ``(qd, qd)``.

    Equal moves of all classes change no prediction, so the optimum minimises the penalty along them. What remains of
    the matrix is its Schur complement.
    """
    n_logits, n_columns = mean.shape
    size = abs(matrix).max(initial=0.0)
    definite = np.linalg.eigvalsh(matrix).min(initial=0.0) >= -MATRIX_ROUNDING * size
    if abs(matrix - matrix.T).max(initial=0.0) > MATRIX_ROUNDING * size or not definite:
        message = "prior has a precision matrix that is not symmetric and positive semi-definite; it must be both."
        raise ValueError(message)
    if n_logits > 1:
        equal = np.tile(np.eye(n_columns), (n_logits, 1))
        image = matrix @ equal
        matrix = matrix - image @ np.linalg.pinv(equal.T @ image, hermitian=True) @ image.T
    blocks = (0.5 * (matrix + matrix.T)).reshape(n_logits, n_columns, n_logits, n_columns)
    quadratic = QuadraticApproximation(mean, np.zeros_like(mean), DenseInformation(blocks))
    return Prior(np.zeros(n_columns), mean, quadratic)
