"""`partial_fit`, and what an estimator keeps of the rows that went by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._array import below, stored_bytes_per_row
from sknatgrad._categorical import TrueExpectation
from sknatgrad._evidence import Evidence
from sknatgrad._information import DenseInformation
from sknatgrad._measure import MeasureKernel, SquaresKernel
from sknatgrad._objective import LARGEST_VARIANCE, Objective
from sknatgrad._parameters import logits_for, prior_precision
from sknatgrad._recursion import learn
from sknatgrad._sklearn import fit_context
from sknatgrad._sources import MemorySource, class_totals
from sknatgrad._stopping import LastError
from sknatgrad._strategy import STRUCTURES, Shape, expectation_of, plan
from sknatgrad._typing import Outcome
from sknatgrad._validation import (
    check_batch,
    check_batch_weights,
    check_covariance_size,
    check_weights,
    overflow_advice,
    refuse_infinite,
    unchanged_on_error,
)
from sknatgrad._workers import Workers
from sknatgrad.inference._posterior import Posterior

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes, Matrix


# The first rows are kept, and solved for together, until there are so many for each coefficient, or they take so many
# bytes. A quadratic model is as good as the point it is made at: with batches of 100 rows from the first on, strong
# effects, and 20,000 rows in all, coefficients were off by 1.5 times the squared error of a fit to all rows.
ROWS_A_COEFFICIENT = 50
KEPT_BYTES = 2**22
GROWTH = 1.1


class Rows(NamedTuple):
    """Rows that are kept for a while."""

    X: Matrix  # (n, p)
    codes: Codes  # (n,)
    weight: Array  # (n,)

    def then(self, more: Rows, share: float) -> Rows:
        """Return these, at so much of their weight, and more."""
        return Rows(
            below(self.X, more.X),
            np.concatenate([self.codes, more.codes]),
            np.concatenate([share * self.weight, more.weight]),
        )

    def enough(self, n_params: int) -> bool:
        """Say whether they tell where the coefficients are, or are too many to keep."""
        n_rows = len(self.codes)
        return n_rows >= ROWS_A_COEFFICIENT * n_params or n_rows * stored_bytes_per_row(self.X) > KEPT_BYTES


class Stream(NamedTuple):
    """What is known after some batches."""

    evidence: Evidence | None  # of all rows, those kept included
    kept: Rows | None
    solved: int  # how many of those kept were last solved for together
    floor: Array  # (d,), precision of columns that nothing penalises: worth one row, so that no stream begins nowhere
    totals: Array  # (K,), sum of the sample weights of each class
    n_batches: int

    @classmethod
    def begin(cls, n_classes: int, n_columns: int) -> Stream:
        """Return what is known before any row."""
        return cls(None, None, 0, np.zeros(n_columns), np.zeros(n_classes), 0)

    def theta(self) -> Array:
        """Return the coefficients so far, ``(q, d)``."""
        if self.evidence is None:
            return np.zeros((logits_for(self.totals.size), self.floor.size))
        return self.evidence.theta

    def taking(self, new: Rows, share: float) -> tuple[Rows, Evidence | None, Rows | None]:
        """Return the rows to solve for, what is remembered of others at so much of their weight, and the rows to keep.

        Those kept are solved for anew, without the memory of them, whenever there are a few more of them.
        """
        past = None if self.evidence is None else self.evidence.faded(share)
        if past is not None and self.kept is None:
            return new, past, None
        kept = new if self.kept is None else self.kept.then(new, share)
        full = kept.enough(self.theta().size)
        if full or len(kept.codes) >= GROWTH * self.solved:
            return kept, None, None if full else kept
        return new, past, kept

    def founded(self, source: MemorySource, prior: Array) -> Stream:
        """Return the same with a floor for each column without a penalty that has entries now for the first time.

        It is the curvature that one row of the mean size may have at most. Without it a class not seen yet, or a
        column that one class alone has, would be taken to infinity.
        """
        bare = (prior == 0.0) & (self.floor == 0.0)
        if not bare.any():
            return self
        squares, of_squares = source.total(SquaresKernel(prior.size))
        if prior.size > source.X.shape[1]:
            squares[-1], of_squares[-1] = source.weight.sum(), (source.weight**2).sum()
        row = np.divide(of_squares, squares, out=np.zeros_like(squares), where=squares > 0)
        # what is not finite is found, and reported, by the descent
        row[~np.isfinite(row)] = 0.0
        return self._replace(floor=np.where(bare, LARGEST_VARIANCE * row, self.floor))


class StreamingMixin:
    """Learning from batches of rows, each seen once."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self: Any, X: Matrix, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        r"""Learn from one more batch of rows, and remember it by its Fisher information.

        The coefficients become the optimum of the batch's loss plus a quadratic model of all batches before,
        :math:`\frac{1}{2} (\theta - \theta_0)^T F_0 (\theta - \theta_0)`, with :math:`\theta_0` the coefficients so far
        and :math:`F_0` the Fisher information of all rows seen, each at the coefficients of its time: the Laplace
        approximation to the posterior, taken a batch at a time, which is the extended Kalman filter (Ollivier 2018
        [1]_). There is no learning rate to tune. The first rows, 50 for each coefficient or 4 MiB of them, are kept and
        solved for together, as a quadratic model is only as good as the point it is made at. After one pass the
        coefficients are about as good as those of a fit to all rows at once; beyond the first rows, time and memory do
        not grow with the rows seen.

        `fisher` says how the information is kept: ``'true'``, ``'empirical'`` and ``'monte_carlo'`` as a matrix,
        ``'diagonal'`` and ``'kronecker'`` as their names say, which is less exact. `forgetting` lets it fade.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            The rows of the batch; one will do.

        y : array-like of shape (n_samples,)
            Their labels; not every class needs to be among them.

        classes : array-like of shape (n_classes,) or None, default=None
            All classes that may ever appear; needed in the first call. After a `fit` with ``store_covariance=True``,
            the stream goes on from there; otherwise it begins afresh.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0. ``class_weight='balanced'`` goes by the totals so far.

        Returns
        -------
        self : NaturalGradientLogisticRegression
            The estimator; `coef_`, `intercept_`, `classes_` and, with ``store_covariance=True``, `covariance_` are up
            to date. If learning fails, the estimator stays as it was.

        Raises
        ------
        ValueError
            If X, y, the weights or the classes are not what is allowed, or the information is too large for a matrix.

        Warns
        -----
        UserWarning
            If the estimator was fitted by `fit` without ``store_covariance=True``, which keeps nothing of the rows to
            go on from, and `classes` do not say that a new stream is meant.

        References
        ----------
        .. [1] Y. Ollivier, "Online natural gradient as a Kalman filter", Electronic Journal of Statistics 12, 2018.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.utils import gen_batches, shuffle
        >>> from sknatgrad import NaturalGradientLogisticRegression
        >>> X, y = shuffle(*load_iris(return_X_y=True), random_state=0)
        >>> model = NaturalGradientLogisticRegression()
        >>> for batch in gen_batches(len(X), 10):
        ...     model = model.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
        >>> round(model.score(X, y), 2)
        0.97
        """
        with unchanged_on_error(self), Workers() as workers:
            X, codes = check_batch(self, X, y, classes, begins=not hasattr(self, "_stream"))
            n_columns = X.shape[1] + self.fit_intercept
            stream = getattr(self, "_stream", None) or Stream.begin(len(self.classes_), n_columns)
            weight, totals = check_batch_weights(sample_weight, self.class_weight, self.classes_, codes, stream.totals)
            share = self.forgetting ** len(codes)
            if share < 1.0:
                weight = weight * self.forgetting ** np.arange(codes.size - 1.0, -1.0, -1.0)
            rows, past, kept = stream.taking(Rows(X, codes, weight), share)
            source = MemorySource(rows.X, rows.codes, rows.weight, logits_for(len(self.classes_)), workers)
            prior = prior_precision(self.C, X.shape[1], intercept=self.fit_intercept)
            stream = stream.founded(source, prior)
            evidence = self._learnt(source, prior + stream.floor, stream, past)
            solved = stream.solved if past is not None else len(rows.codes)
            self._forget_fit()
            self._stream = Stream(evidence, kept, solved, stream.floor, totals, stream.n_batches + 1)
            self._publish(evidence.theta, self.classes_, np.float32 if X.dtype == np.float32 else np.float64)
            self._keep_posterior(evidence.theta, evidence.information, prior + stream.floor)
        return self

    def _learnt(self: Any, source: MemorySource, prior: Array, stream: Stream, past: Evidence | None) -> Evidence:
        shape = Shape.of(source.X, source.n_logits, prior.size)
        chosen = plan(self.fisher, shape, adaptive=False)
        if chosen.iterative:
            check_covariance_size(shape.size, "use fisher='diagonal' or 'kronecker', which keep less")
        batch = Objective(source, prior, chosen, self._seed() + stream.n_batches, LastError.of(self.tol))
        evidence, step = learn(batch, past, stream.theta(), self._rule()._replace(penalised=True))
        if step.outcome is Outcome.overflow:
            refuse_infinite(self, source.X)
            raise ValueError(overflow_advice(source.X, source.weight, self.C))
        return evidence

    def _forget_fit(self: Any) -> None:
        """Take away what an earlier fit, or stream, has left."""
        for name in ("covariance_", "_stream", "n_iter_", "loss_curve_", "kl_curve_", "converged_"):
            if hasattr(self, name):
                delattr(self, name)

    def _keep_information(self: Any, theta: Array, source: MemorySource, sample_weight: Any) -> None:
        """Keep the covariance, and what a stream could go on from."""
        true = source.total(MeasureKernel(theta, TrueExpectation(), DenseInformation))
        prior = prior_precision(self.C, self.n_features_in_, intercept=self.fit_intercept)
        self._keep_posterior(theta, true.information, prior)
        own = true
        if self.fisher != "true":
            own = source.total(MeasureKernel(theta, expectation_of(self.fisher, self._seed()), STRUCTURES[self.fisher]))
        totals = class_totals(source.codes, check_weights(sample_weight, source.codes.size))
        evidence = Evidence(theta, true.gradient, own.information)
        self._stream = Stream.begin(len(self.classes_), prior.size)._replace(evidence=evidence, totals=totals)

    def _keep_posterior(self: Any, theta: Array, information: Any, prior: Array) -> None:
        if self.store_covariance:
            posterior = Posterior.of(theta, information.dense().reshape(*theta.shape, *theta.shape), prior)
            self.covariance_ = posterior.covariance.reshape(theta.size, theta.size)
            self._free = posterior.free
