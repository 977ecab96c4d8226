"""The normal approximation to the posterior of θ, and what it makes of the logits of rows (Laplace; MacKay 1992)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import special

from sknatgrad._model.categorical import predict
from sknatgrad._model.contrasts import Contrasts
from sknatgrad._model.information.symmetric import factorise, root
from sknatgrad._model.layout import classes_for
from sknatgrad._model.normal import interval
from sknatgrad._rows.design import Design
from sknatgrad._rows.memory import iter_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._typing import Array, Matrix

# how much of what is computed of single rows is held at a time
ROW_BYTES = 2**22
# of what a row holds along a direction, beside all of it, that is more than rounding
LEAVING = 1e-6
ROUNDING = 1e-10
# matrices of (K, K) a row on the way
TEMPORARIES = 6


class Posterior(NamedTuple):
    """The normal distribution of θ, around a mode that sums to zero over classes."""

    theta: Array  # (q, d)
    covariance: Array  # (q, d, q, d)
    # what rows must not move along, (j, d): nothing is known of those that do, as columns were collinear in the fit
    free: Array

    @classmethod
    def of(cls, theta: Array, information: Array, prior: Array) -> Posterior:
        """Return the posterior with covariance (F + Λ)⁻¹.

        Where F + Λ is singular it is the pseudo-inverse in the units of the columns: rows that keep the collinearities
        of the data have the right variance.

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
        return cls(theta, covariance, _undetermined(factor.null(), precision.diagonal().reshape(-1, theta.shape[1])))

    @property
    def n_classes(self) -> int:
        """K."""
        return classes_for(len(self.theta))

    def of_rows(self, X: Matrix, of_logits: Callable[[Logits], Array]) -> Array:
        """Return what is asked of the logits of each row, so many rows at a time."""
        n_logits, n_columns = self.theta.shape
        return _by_rows(X, n_logits * n_columns + TEMPORARIES * self.n_classes**2, n_columns, self._reading(of_logits))

    def _reading(self, of_logits: Callable[[Logits], Array]) -> Callable[[Design], Array]:
        def read(design: Design) -> Array:
            with np.errstate(over="ignore", invalid="ignore"):
                covariance = self._logit_covariance(design)
            # too large for float64 is as good as unknown
            beyond = ~np.isfinite(covariance).all(axis=(1, 2))
            covariance[beyond] = 0.0
            return of_logits(Logits(design.logits(self.theta), covariance, beyond | leaving(design, self.free)))

        return read

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


class Logits(NamedTuple):
    """The normal distribution of the logits of some rows."""

    mean: Array  # (m, q)
    covariance: Array  # (m, q, q)
    unknown: Any  # (m,), whether nothing is known of the row

    def std(self) -> Array:
        """Return the standard deviation of each logit, ``(m, q)``."""
        # rounding must not make it the root of something negative
        std = np.sqrt(np.maximum(np.einsum("mkk->mk", self.covariance), 0.0))
        return np.where(self.unknown[:, None], np.inf, std)

    def by_class(self) -> Logits:
        """Return one logit a class: of a single one, half of it for the second and minus half for the first."""
        if self.mean.shape[1] > 1:
            return self
        halves = np.array([-0.5, 0.5])
        return self._replace(mean=self.mean * halves, covariance=self.covariance * np.outer(halves, halves))

    def interval(self, level: float) -> Array:
        """Return the ends of the interval of each class's probability, ``(m, K, 2)``.

        That of the log-odds of the class against all others together, by the delta method, carried to probabilities: a
        class's log-odds change by e_k - Σ_{l≠k} w_l e_l with the logits, w the other classes' shares of what the class
        leaves them. For two classes nothing is approximated beyond the posterior.
        """
        mean, covariance, unknown = self.by_class()
        others = np.repeat(mean[:, None, :], mean.shape[1], axis=1)
        own = np.arange(mean.shape[1])
        others[:, own, own] = -np.inf
        log_odds = mean - special.logsumexp(others, axis=2)
        slopes = -special.softmax(others, axis=2)
        slopes[:, own, own] = 1.0
        variance = np.einsum("mkl,mkl->mk", slopes @ covariance, slopes)
        std = np.where(unknown[:, None], np.inf, np.sqrt(np.maximum(variance, 0.0)))
        return np.asarray(special.expit(interval(log_odds, std, level)))

    def averaged(self) -> Array:
        """Return probabilities averaged over the logits, ``(m, K)``, by probits in place of logistic functions.

        A pair of classes alone has the average σ(m / √(1 + π v / 8)), m and v the mean and variance of the difference
        of their logits; all pairs of a class make its odds against the rest.
        """
        mean, covariance, unknown = self.by_class()
        variances = np.einsum("mkk->mk", covariance)
        apart = variances[:, :, None] + variances[:, None, :] - 2.0 * covariance
        scaled = (mean[:, None, :] - mean[:, :, None]) / np.sqrt(1.0 + np.pi / 8.0 * np.maximum(apart, 0.0))
        return _or_even(special.softmax(-special.logsumexp(scaled, axis=2), axis=1), unknown)


def averaged_over(draws: Array, free: Array, X: Matrix) -> Array:
    """Return the mean over draws of θ, ``(n_draws, q, d)``, of the probabilities of each row, ``(n, K)``.

    Rows along `free`, ``(j, d)``, may have any.
    """
    n_draws, n_logits, n_columns = draws.shape
    flat = draws.reshape(-1, n_columns)

    def mean_of(design: Design) -> Array:
        logits = design.logits(flat).T.reshape(n_draws, n_logits, -1).transpose(0, 2, 1)
        each = predict(logits.reshape(-1, n_logits)).distribution()
        return _or_even(each.reshape(n_draws, logits.shape[1], -1).mean(axis=0), leaving(design, free))

    return _by_rows(X, TEMPORARIES * n_draws * n_logits, n_columns, mean_of)


def _or_even(proba: Any, unknown: Any) -> Array:
    """Return the probabilities, the same for all classes where nothing is known of the row."""
    return np.asarray(np.where(unknown[:, None], 1.0 / proba.shape[1], proba))


def leaving(design: Design, free: Array) -> Any:
    """Return whether each row moves along any of `free`, ``(j, d)``, by more than rounding."""
    if not len(free):
        return np.zeros(design.X.shape[0], dtype=bool)
    sizes = design._replace(X=abs(design.X)).logits(abs(free))
    along = design.logits(free)
    leaves: Any = abs(along) > LEAVING * sizes
    return leaves.any(axis=1)


def _undetermined(null: Array, diagonal: Array) -> Array:
    """Return the directions in the space of a row, ``(j, d)``, of null vectors of the contrasts, ``((K - 1) d, m)``."""
    total = diagonal.sum(axis=0)
    units = np.where(total > 0, np.sqrt(total), 1.0)
    stacked = null.T.reshape(-1, total.size) * units
    if not stacked.size:
        return stacked
    _, sizes, directions = np.linalg.svd(stacked, full_matrices=False)
    # what is rounding must not be all that a row has of a direction
    directions[abs(directions) < ROUNDING] = 0.0
    return np.asarray(directions[sizes > LEAVING * sizes[0]] / units)


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
    for start, stop, rows in iter_blocks(X, 1):
        whole = Design.of(rows, n_columns)
        for first in range(0, stop - start, size):
            yield start + first, whole.rows(slice(first, first + size))
