"""The normal approximation to the posterior of θ, and the distribution of logits under it (Laplace; MacKay 1992)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from sknatgrad._limits import Limits
from sknatgrad._model.categorical import probabilities
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._model.information.symmetric import factorise, root
from sknatgrad._model.layout import classes_for
from sknatgrad._model.normal import interval
from sknatgrad._rows.design import Design
from sknatgrad._rows.memory import iter_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array, Mask, Matrix

# A row leaves the row space of the data if its product with an undetermined direction exceeds this share of the sum of
# absolute values in that product: far more than rounding, which is about 1e-15.
OUTSIDE_ROW_SPACE = 1e-6
# components of a unit vector that are set to zero: far more than the rounding of its singular value decomposition
MIN_COMPONENT = 1e-10
# arrays of numbers for each row that exist at a time: of shape (K, K), or one number per draw and logit
ARRAYS_PER_ROW = 6


class Posterior(NamedTuple):
    """The normal distribution of θ, around a mode that sums to zero over classes."""

    theta: Array  # (q, d)
    covariance: Array  # (q, d, q, d)
    undetermined: Array  # (j, d), a basis of the null space of collinear columns; rows of the fit are orthogonal to it
    centres: Array | None = None  # (p,), of the rows that θ is for

    @classmethod
    def of(cls, theta: Array, information: Array, prior: Array) -> Posterior:
        """Return the posterior with covariance (F + Λ)⁻¹.

        Where F + Λ is singular it is the pseudo-inverse in the units of the columns: rows in the row space of the data,
        which have the same collinearities, have the right variance.

        Parameters
        ----------
        theta : ndarray of shape (q, d)
            The mode.

        information : ndarray of shape (q, d, q, d)
            F, the true Fisher information there.

        prior : ndarray of shape (d,)
            Diagonal of Λ for each class.
        """
        contrasts = Contrasts(classes_for(len(theta)), 0)
        precision = contrasts.matrix(information) + contrasts.prior(prior)
        factor = factorise(precision)
        inverse = factor.solve(np.eye(len(precision)))
        covariance = contrasts.lifted(0.5 * (inverse + inverse.T)).reshape(information.shape)
        diagonal = precision.diagonal().reshape(-1, theta.shape[1])
        return cls(theta, covariance, _row_directions(factor.null_space(), diagonal))

    @property
    def n_classes(self) -> int:
        """K."""
        return classes_for(len(self.theta))

    def of_rows(self, X: Matrix, function: Callable[[Logits], Array], limits: Limits = Limits()) -> Array:
        """Return a function of the logits of each row."""
        n_logits, n_columns = self.theta.shape
        numbers = n_logits * n_columns + ARRAYS_PER_ROW * self.n_classes**2
        return self.by_rows(X, numbers, lambda design: function(self._logits(design)), limits)

    def by_rows(self, X: Matrix, numbers: int, function: Callable[[Design], Array], limits: Limits) -> Array:
        """Return a function of all rows, computed in parts that fill ``limits.row_bytes`` with `numbers` per row."""
        values = np.empty(0)
        size = max(limits.row_bytes // (8 * numbers), 1)
        for start, stop, rows in iter_blocks(X, 1, limits, self.centres):
            of_block = Design.of(rows, self.theta.shape[1])
            for first in range(0, stop - start, size):
                of_part = function(of_block.rows(slice(first, first + size)))
                if not values.size:
                    values = np.empty((X.shape[0], *of_part.shape[1:]))
                values[start + first : start + first + len(of_part)] = of_part
        return values

    def _logits(self, design: Design) -> Logits:
        with np.errstate(over="ignore", invalid="ignore"):
            covariance = logit_covariance(design, self.covariance)
        # a variance that overflows float64 is reported as an unknown one, infinite
        overflow = ~np.isfinite(covariance).all(axis=(1, 2))
        covariance[overflow] = 0.0
        unknown = overflow | leaves_row_space(design, self.undetermined)
        return Logits(design.logits(self.theta), covariance, unknown)

    def draw(self, n_draws: int, random: np.random.RandomState) -> Array:
        """Return draws of θ, ``(n_draws, q, d)``."""
        factor = root(self.covariance.reshape(self.theta.size, self.theta.size))
        moves = random.standard_normal((n_draws, factor.shape[1])) @ factor.T
        return self.theta + moves.reshape(n_draws, *self.theta.shape)


def logit_covariance(design: Design, covariance: Array) -> Array:
    """Return the covariance of the logits of each row, ``(m, q, q)``, from that of coefficients, ``(q, d, q, d)``."""
    n_logits, n_columns = covariance.shape[:2]
    dense = design.dense().T
    of_logits = np.empty((dense.shape[1], n_logits, n_logits))
    for k in range(n_logits):
        # symmetric: the pairs with classes before k are known
        images = design.logits(covariance[k:, :, k, :].reshape(-1, n_columns)).T
        images = images.reshape(n_logits - k, n_columns, -1)
        of_logits[:, k:, k] = np.einsum("ljm,jm->ml", images, dense)
        of_logits[:, k, k:] = of_logits[:, k:, k]
    return of_logits


class Logits(NamedTuple):
    """The normal distribution of the logits of some rows."""

    mean: Array  # (m, q)
    covariance: Array  # (m, q, q)
    unknown: Mask  # (m,), whether the variance is infinite

    def std(self) -> Array:
        """Return the standard deviation of each logit, ``(m, q)``."""
        # rounding may make a variance of zero negative
        std = np.sqrt(np.maximum(np.einsum("mkk->mk", self.covariance), 0.0))
        return np.where(self.unknown[:, None], np.inf, std)

    def by_class(self) -> Logits:
        """Return one logit per class; a single one is split into its halves, negative for class 0."""
        if self.mean.shape[1] > 1:
            return self
        halves = np.array([-0.5, 0.5])
        return self._replace(mean=self.mean * halves, covariance=self.covariance * np.outer(halves, halves))

    def interval(self, level: float) -> Array:
        """Return the ends of the interval of each class's probability, ``(m, K, 2)``.

        The interval of the log-odds of the class against all others together, by the delta method, transformed to
        probabilities. The gradient of these log-odds with respect to the logits is e_k - Σ_{l≠k} w_l e_l with
        w_l = p_l / (1 - p_k). For two classes the posterior is the only approximation.
        """
        mean, covariance, unknown = self.by_class()
        others = np.repeat(mean[:, None, :], mean.shape[1], axis=1)
        diagonal = np.arange(mean.shape[1])
        others[:, diagonal, diagonal] = -np.inf
        log_odds = mean - special.logsumexp(others, axis=2)
        gradient = -special.softmax(others, axis=2)
        gradient[:, diagonal, diagonal] = 1.0
        variance = np.einsum("mkl,mkl->mk", gradient @ covariance, gradient)
        std = np.where(unknown[:, None], np.inf, np.sqrt(np.maximum(variance, 0.0)))
        return np.asarray(special.expit(interval(log_odds, std, level)))

    def averaged(self) -> Array:
        """Return probabilities averaged over the logits, ``(m, K)``, with probits in place of logistic functions.

        For two classes the average is about σ(m / √(1 + π v / 8)), m and v the mean and variance of the difference of
        their logits. The odds of a class against all others are combined from those of its pairs.
        """
        mean, covariance, unknown = self.by_class()
        variances = np.einsum("mkk->mk", covariance)
        of_difference = variances[:, :, None] + variances[:, None, :] - 2.0 * covariance
        scaled = (mean[:, None, :] - mean[:, :, None]) / np.sqrt(1.0 + np.pi / 8.0 * np.maximum(of_difference, 0.0))
        return _equal_where_unknown(special.softmax(-special.logsumexp(scaled, axis=2), axis=1), unknown)


def averaged_over(draws: Array, posterior: Posterior, X: Matrix, limits: Limits = Limits()) -> Array:
    """Return the mean over draws of θ, ``(n_draws, q, d)``, of the probabilities of each row, ``(n, K)``.

    They are equal for all classes in rows whose logits are not determined.
    """
    n_draws, n_logits, n_columns = draws.shape
    flat = draws.reshape(-1, n_columns)

    def mean_of(design: Design) -> Array:
        logits = design.logits(flat).T.reshape(n_draws, n_logits, -1).transpose(0, 2, 1)
        each = probabilities(logits.reshape(-1, n_logits))
        unknown = leaves_row_space(design, posterior.undetermined)
        return _equal_where_unknown(each.reshape(n_draws, logits.shape[1], -1).mean(axis=0), unknown)

    return posterior.by_rows(X, ARRAYS_PER_ROW * n_draws * n_logits, mean_of, limits)


def _equal_where_unknown(proba: Array, unknown: Mask) -> Array:
    return np.asarray(np.where(unknown[:, None], 1.0 / proba.shape[1], proba))


def leaves_row_space(design: Design, undetermined: Array) -> Mask:
    """Return whether the product of each row with any direction of ``(j, d)`` is more than rounding, ``(m,)``."""
    if not len(undetermined):
        return np.zeros(design.X.shape[0], dtype=bool)
    sizes = design._replace(X=abs(design.X)).logits(abs(undetermined))
    leaves: Mask = abs(design.logits(undetermined)) > OUTSIDE_ROW_SPACE * sizes
    return np.asarray(leaves.any(axis=1))


def _row_directions(null_space: Array, diagonal: Array) -> Array:
    """Return row directions, ``(j, d)``, from null vectors of the information of contrasts, ``((K - 1) d, m)``."""
    total = diagonal.sum(axis=0)
    units = np.where(total > 0, np.sqrt(total), 1.0)
    stacked = null_space.T.reshape(-1, total.size) * units
    if not stacked.size:
        return stacked
    _, sizes, directions = np.linalg.svd(stacked, full_matrices=False)
    # a row that is zero in all other columns would otherwise seem to leave the row space
    directions[abs(directions) < MIN_COMPONENT] = 0.0
    return np.asarray(directions[sizes > OUTSIDE_ROW_SPACE * sizes[0]] / units)
