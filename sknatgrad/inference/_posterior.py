"""The normal approximation to the posterior of θ, and what it makes of the logits of rows (Laplace; MacKay 1992)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from sknatgrad._categorical import predict
from sknatgrad._design import Design
from sknatgrad._information._symmetric import factorise, root
from sknatgrad._parameters import BINARY
from sknatgrad._sources import cut
from sknatgrad.inference._contrasts import Contrasts
from sknatgrad.inference._normal import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._typing import Array, Matrix

# how much of what is computed of single rows is held at a time
ROW_BYTES = 2**22
# matrices of (K, K) a row on the way
TEMPORARIES = 6


def posterior_covariance(information: Array, prior: Array, n_classes: int) -> Array:
    """Return the covariance (F + Λ)⁻¹ of a θ that sums to zero over classes, ``(q d, q d)``.

    Where F + Λ is singular it is the pseudo-inverse in the units of the columns: rows that keep the collinearities of
    the data have the right variance.

    Parameters
    ----------
    information : ndarray of shape (q, d, q, d)
        F, the true Fisher information at θ.

    prior : ndarray of shape (d,)
        Diagonal of Λ for each class.

    n_classes : int
        K.
    """
    contrasts = Contrasts(n_classes, 0)
    precision = contrasts.matrix(information) + contrasts.prior(prior)
    inverse = factorise(precision).solve(np.eye(len(precision)))
    return contrasts.lifted(0.5 * (inverse + inverse.T))


class Logits(NamedTuple):
    """The normal distribution of the logits of some rows."""

    mean: Array  # (m, q)
    covariance: Array  # (m, q, q)

    def std(self) -> Array:
        """Return the standard deviation of each logit, ``(m, q)``."""
        # rounding must not make it the root of something negative
        return np.asarray(np.sqrt(np.maximum(np.einsum("mkk->mk", self.covariance), 0.0)))

    def by_class(self) -> Logits:
        """Return one logit a class: of a single one, half of it for the second and minus half for the first."""
        if self.mean.shape[1] > 1:
            return self
        halves = np.array([-0.5, 0.5])
        return Logits(self.mean * halves, self.covariance * np.outer(halves, halves))

    def interval(self, level: float) -> Array:
        """Return the ends of the interval of each class's probability, ``(m, K, 2)``.

        That of the log-odds of the class against all others together, by the delta method, carried to probabilities: a
        class's log-odds change by e_k - Σ_{l≠k} w_l e_l with the logits, w the other classes' shares of what the class
        leaves them. For two classes nothing is approximated beyond the posterior.
        """
        mean, covariance = self.by_class()
        others = np.repeat(mean[:, None, :], mean.shape[1], axis=1)
        own = np.arange(mean.shape[1])
        others[:, own, own] = -np.inf
        log_odds = mean - special.logsumexp(others, axis=2)
        slopes = -special.softmax(others, axis=2)
        slopes[:, own, own] = 1.0
        variance = np.einsum("mkl,mkl->mk", slopes @ covariance, slopes)
        return np.asarray(special.expit(interval(log_odds, np.sqrt(np.maximum(variance, 0.0)), level)))

    def averaged(self) -> Array:
        """Return probabilities averaged over the logits, ``(m, K)``, by probits in place of logistic functions.

        A pair of classes alone has the average σ(m / √(1 + π v / 8)), m and v the mean and variance of the difference
        of their logits; all pairs of a class make its odds against the rest.
        """
        mean, covariance = self.by_class()
        variances = np.einsum("mkk->mk", covariance)
        apart = variances[:, :, None] + variances[:, None, :] - 2.0 * covariance
        scaled = (mean[:, None, :] - mean[:, :, None]) / np.sqrt(1.0 + np.pi / 8.0 * np.maximum(apart, 0.0))
        return np.asarray(special.softmax(-special.logsumexp(scaled, axis=2), axis=1))


class Posterior(NamedTuple):
    """The normal distribution of θ."""

    theta: Array  # (q, d), its mean
    covariance: Array  # (q, d, q, d)

    @property
    def n_classes(self) -> int:
        """K."""
        return max(len(self.theta), BINARY)

    def of_rows(self, X: Matrix, of_logits: Callable[[Logits], Array]) -> Array:
        """Return what is asked of the logits of each row, so many rows at a time."""
        n_logits, n_columns = self.theta.shape
        return _by_rows(X, n_logits * n_columns + TEMPORARIES * self.n_classes**2, n_columns, self._reading(of_logits))

    def _reading(self, of_logits: Callable[[Logits], Array]) -> Callable[[Design], Array]:
        return lambda design: of_logits(Logits(design.logits(self.theta), self._logit_covariance(design)))

    def _logit_covariance(self, design: Design) -> Array:
        """Return the covariance of each row's logits, ``(m, q, q)``."""
        n_logits, n_columns = self.theta.shape
        dense = design.dense().T
        covariance = np.empty((dense.shape[1], n_logits, n_logits))
        for k in range(n_logits):
            # the classes before have been there
            images = design.logits(self.covariance[k:, :, k, :].reshape(-1, n_columns)).T
            images = images.reshape(n_logits - k, n_columns, -1)
            covariance[:, k:, k] = np.einsum("ljm,jm->ml", images, dense)
            covariance[:, k, k:] = covariance[:, k:, k]
        return covariance

    def draw(self, n_draws: int, random: np.random.RandomState) -> Array:
        """Return draws of θ, ``(n_draws, q, d)``."""
        spread = root(self.covariance.reshape(self.theta.size, self.theta.size))
        moves = random.standard_normal((n_draws, spread.shape[1])) @ spread.T
        return self.theta + moves.reshape(n_draws, *self.theta.shape)


def averaged_over(draws: Array, X: Matrix) -> Array:
    """Return the mean over draws of θ, ``(n_draws, q, d)``, of the probabilities of each row, ``(n, K)``."""
    n_draws, n_logits, n_columns = draws.shape
    flat = draws.reshape(-1, n_columns)

    def mean_of(design: Design) -> Array:
        logits = design.logits(flat).T.reshape(n_draws, n_logits, -1).transpose(0, 2, 1)
        each = predict(logits.reshape(-1, n_logits)).distribution()
        return np.asarray(each.reshape(n_draws, logits.shape[1], -1).mean(axis=0))

    return _by_rows(X, TEMPORARIES * n_draws * n_logits, n_columns, mean_of)


def _by_rows(X: Matrix, numbers: int, n_columns: int, ask: Callable[[Design], Array]) -> Array:
    """Return the answers for all rows, asked of so few at a time that `numbers` a row stay within `ROW_BYTES`."""
    answers = np.empty(0)
    for start, design in _designs(X, n_columns, max(ROW_BYTES // (8 * numbers), 1)):
        answer = ask(design)
        if start == 0:
            answers = np.empty((X.shape[0], *answer.shape[1:]))
        answers[start : start + len(answer)] = answer
    return answers


def _designs(X: Matrix, n_columns: int, size: int) -> Iterator[tuple[int, Design]]:
    """Yield the index of the first row, and the design, of `size` rows at a time."""
    for start, stop, rows in cut(X, 1):
        whole = Design.of(rows, n_columns)
        for first in range(0, stop - start, size):
            yield start + first, whole.rows(slice(first, first + size))
