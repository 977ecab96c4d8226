"""`partial_fit`, and what an estimator keeps of the rows that went by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._inputs.checks import (
    check_batch,
    check_batch_weights,
    check_covariance_size,
    largest_value,
    overflow_advice,
    refuse_infinite,
    unchanged_on_error,
)
from sknatgrad._inputs.configuration import descent_options, seed_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.categorical import TrueExpectation
from sknatgrad._model.information import DenseInformation, IdentityInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._model.parameters import logits_for
from sknatgrad._model.posterior import Posterior
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._rows.matrices import stored_bytes_per_row, vstack
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.threads import Workers
from sknatgrad._sklearn import fit_context
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import plan
from sknatgrad._solver.records import Outcome
from sknatgrad._solver.recursive import update
from sknatgrad._solver.stopping import FinalTolerance

if TYPE_CHECKING:
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.source import RowSource
    from sknatgrad._typing import Array, Codes, Matrix


# The first rows are kept, and solved for together, until there are so many at all and for each coefficient, and so many
# of each class seen for each of its own; or until they take so many bytes. A quadratic model is as good as the point it
# is made at: with batches of 100 rows from the first on, strong effects, and 20,000 rows in all, coefficients were off
# by 1.5 times the squared error of a fit to all rows.
LEAST_ROWS = 1000
ROWS_A_COEFFICIENT = 50
OF_EACH_CLASS = 5
KEPT_BYTES = 2**22
GROWTH = 1.1
# What a stream begins with: the information of so much of a mean row, at even probabilities. Without it, a class not
# seen yet, or a column that one class alone has, would be taken to infinity; with a whole row, strong effects would
# shrink.
FOUNDATION = 1e-3


class Rows(NamedTuple):
    """Rows that are kept for a while."""

    X: Matrix  # (n, p)
    codes: Codes  # (n,)
    weight: Array  # (n,)

    def copied(self) -> Rows:
        """Return the same in memory of their own: the caller may use his again."""
        return Rows(self.X.copy(), self.codes.copy(), np.array(self.weight))

    def then(self, more: Rows, share: float) -> Rows:
        """Return these, at so much of their weight, and more."""
        return Rows(
            vstack([self.X, more.X]),
            np.concatenate([self.codes, more.codes]),
            np.concatenate([share * self.weight, more.weight]),
        )

    def enough(self, shape: tuple[int, int]) -> bool:
        """Say whether they tell where coefficients ``(q, d)`` are, or are too many to keep."""
        n_rows, (n_logits, n_columns) = len(self.codes), shape
        seen = np.bincount(self.codes)
        many = n_rows >= max(LEAST_ROWS, ROWS_A_COEFFICIENT * n_logits * n_columns)
        of_each = bool(seen[seen > 0].min() >= OF_EACH_CLASS * n_columns)
        return (many and of_each) or n_rows * stored_bytes_per_row(self.X) > KEPT_BYTES


class StreamState(NamedTuple):
    """What is known after some batches."""

    fisher: str  # how the information is kept
    quadratic: QuadraticApproximation  # of all rows, those kept included
    totals: Array  # (K,), sum of the sample weights of each class
    n_batches: int = 0
    kept: Rows | None = None
    solved: int = 0  # how many of those kept were last solved for together

    def taking(self, new: Rows, share: float) -> tuple[Rows, QuadraticApproximation | None, Rows | None]:
        """Return the rows to solve for, what is remembered of others at so much of their weight, and the rows to keep.

        Those kept are solved for anew, without the memory of them, whenever there are a few more of them.
        """
        begins = self.n_batches == 0
        if self.kept is None and not begins:
            return new, self.quadratic.discounted(share), None
        kept = new.copied() if self.kept is None else self.kept.then(new, share)
        full = kept.enough(self.quadratic.theta.shape)
        if full or len(kept.codes) >= GROWTH * self.solved:
            return kept, None, None if full else kept
        return new, self.quadratic.discounted(share), kept


class StreamingMixin:
    """Learning from batches of rows, each seen once."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self: Any, X: Matrix, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        r"""Learn from one more batch of rows, and remember it by its Fisher information.

        The coefficients become the optimum of the batch's loss plus a quadratic model of all batches before,
        :math:`\frac{1}{2} (\theta - \theta_0)^T F_0 (\theta - \theta_0)`, with :math:`\theta_0` the coefficients so far
        and :math:`F_0` the Fisher information of all rows seen, each at the coefficients of its time: the Laplace
        approximation to the posterior, taken a batch at a time, which is the extended Kalman filter (Ollivier 2018
        [1]_). There is no learning rate to tune, and `learning_rate` plays no part. The first rows, 1,000 or
        more (50 for each coefficient, and 5 of each class for each of its own) or 4 MiB, are kept and solved for
        together, as a quadratic model is only as good as the point it is made at. After one pass the
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
            stream: StreamState | None = getattr(self, "_stream", None)
            X, codes = check_batch(self, X, y, classes, begins=stream is None)
            shape = (logits_for(len(self.classes_)), X.shape[1] + self.fit_intercept)
            stream = self._begun(shape) if stream is None else stream
            self._check_unchanged(stream, shape)
            weight, totals = check_batch_weights(sample_weight, self.class_weight, self.classes_, codes, stream.totals)
            prior = configured_prior(self, self.classes_)
            share = self.forgetting ** len(codes)
            if share < 1.0:
                weight = weight * self.forgetting ** np.arange(codes.size - 1.0, -1.0, -1.0)
            if weight.any():
                rows, past, kept = stream.taking(Rows(X, codes, weight), share)
                source = MemorySource(rows.X, rows.codes, rows.weight, shape[0], workers)
                solved = stream.solved if past is not None else len(rows.codes)
                quadratic = self._learnt(source, prior, stream, past)
                stream = stream._replace(quadratic=quadratic, n_batches=stream.n_batches + 1, kept=kept, solved=solved)
            self._forget_fit()
            self._stream = stream._replace(totals=totals)
            theta = stream.quadratic.theta
            self._publish(theta, self.classes_, np.float32 if X.dtype == np.float32 else np.float64)
            self._keep_posterior(theta, stream.quadratic.information, prior.precision)
        return self

    def _begun(self: Any, shape: tuple[int, int]) -> StreamState:
        """Return what is known before any row; refuse what would be too large."""
        n_logits, n_columns = shape
        if STRUCTURES[self.fisher] is DenseInformation:
            check_covariance_size(n_logits * n_columns, "use fisher='diagonal' or 'kronecker', which keep less")
        self._check_room(len(self.classes_))
        nothing = QuadraticApproximation(np.zeros(shape), np.zeros(shape), IdentityInformation(0.0, shape))
        return StreamState(self.fisher, nothing, np.zeros(len(self.classes_)))

    def _check_unchanged(self: Any, stream: StreamState, shape: tuple[int, int]) -> None:
        if stream.fisher != self.fisher or stream.quadratic.theta.shape != shape:
            message = (
                f"fisher={self.fisher!r} and fit_intercept={self.fit_intercept} are not those that the stream began "
                "with; set them back, or begin another one with a clone."
            )
            raise ValueError(message)

    def _learnt(
        self: Any, source: MemorySource, prior: Prior, stream: StreamState, past: QuadraticApproximation | None
    ) -> QuadraticApproximation:
        chosen = plan(
            self.fisher, Shape.of(source.X, source.n_logits, prior.precision.size), self._limits, adaptive=False
        )
        if past is None:
            nowhere = np.zeros_like(stream.quadratic.theta)
            at_even = source.total(MeasureKernel(nowhere, TrueExpectation(), chosen.structure)).information
            past = prior.initial_quadratic(at_even.scaled(FOUNDATION / source.codes.size))
        seed, final_tolerance = seed_of(self) + stream.n_batches, FinalTolerance.of(self.tol)
        batch = make_objective(source, prior._replace(quadratic=past), chosen, seed, final_tolerance)
        # steps have their own length: a number is for the textbook
        options = descent_options(self, prior)._replace(penalised=True, learning_rate=None)
        quadratic, step = update(batch, stream.quadratic.theta, options, self._limits)
        if step.outcome is Outcome.overflow:
            refuse_infinite(self, source.X)
            raise ValueError(overflow_advice(largest_value(source.X), float(source.weight.max()), self.C))
        return quadratic

    def _check_room(self: Any, n_classes: int) -> None:
        """Refuse a covariance that is to be stored and too large, of all features: empty ones have a variance too."""
        if self.store_covariance:
            n_params = (n_classes - 1) * (self.n_features_in_ + self.fit_intercept)
            check_covariance_size(n_params, "fit with store_covariance=False, or fewer columns")

    def _forget_fit(self: Any) -> None:
        """Take away what an earlier fit, or stream, has left."""
        for name in (
            "covariance_",
            "_undetermined",
            "_stream",
            "n_iter_",
            "loss_curve_",
            "kl_curve_",
            "time_curve_",
            "converged_",
            "n_passes_",
        ):
            if hasattr(self, name):
                delattr(self, name)

    def _keep_information(self: Any, theta: Array, source: RowSource, totals: Array, prior: Prior) -> None:
        """Keep the covariance, and what a stream could go on from."""
        own = true = source.total(MeasureKernel(theta, TrueExpectation(), DenseInformation))
        if self.fisher != "true":
            own = source.total(
                MeasureKernel(theta, expectation_of(self.fisher, seed_of(self)), STRUCTURES[self.fisher])
            )
        quadratic = prior.pooled(QuadraticApproximation(theta, true.gradient, own.information))
        # after all passes: one that is interrupted leaves neither
        self._keep_posterior(
            theta,
            prior.pooled(QuadraticApproximation(theta, true.gradient, true.information)).information,
            prior.precision,
        )
        self._stream = StreamState(self.fisher, quadratic, totals, n_batches=1)

    def _keep_posterior(self: Any, theta: Array, information: Any, prior: Array) -> None:
        if self.store_covariance:
            posterior = Posterior.of(theta, information.dense().reshape(*theta.shape, *theta.shape), prior)
            self.covariance_ = posterior.covariance.reshape(theta.size, theta.size)
            self._undetermined = posterior.free
