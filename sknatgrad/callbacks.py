"""Callbacks for fits: early stopping on held-out rows, and a monitor of the descent. Needs scikit-learn 1.9.

They follow scikit-learn's protocol (``sklearn.callback``): ``estimator.set_callbacks(...)`` sets them, and clones keep
them. On a model that is part of a pipeline or a search they follow each of its fits.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sknatgrad._estimator.callbacks import ITERATION
from sknatgrad._inputs.labels import check_labels, codes_and_unknown
from sknatgrad._model.class_labels import label_name, label_names
from sknatgrad._model.layout import sum_zero
from sknatgrad._rows.floating_point import ignoring_underflow, underflow_ignored

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Labels, Matrix
    from sknatgrad._estimator.callbacks import Iteration
    from sknatgrad._inputs.configuration import Configuration

    Scoring: TypeAlias = str | Callable[..., float] | None

__all__ = ["EarlyStopping", "FisherMonitor"]


class EarlyStopping:
    """Stops a fit once its predictions of held-out rows no longer improve, and keeps the best iterate.

    The result is that of a fit with `max_iter` set to that iteration: `coef_`, `n_iter_`, `loss_curve_` and, where it
    is stored, `covariance_` are those of the best iterate; `converged_` is False, and there is no warning. The same
    holds for a fit that ends without an optimum after its best iterate. A fit that converges before it is stopped stays
    at the optimum.

    Parameters
    ----------
    X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
        Held-out rows, which the fit must not use, with the columns that the estimator itself is fitted to.

    y : array-like of shape (n_samples,)
        Labels of the rows.

    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the rows.

    scoring : str, callable or None, default=None
        The score to maximise: the name of a scorer, or a callable ``scorer(estimator, X, y)``, see
        :func:`sklearn.metrics.get_scorer_names`. None is minus the mean log loss, in nats.

    n_iter_no_change : int, default=1
        Number of iterations without a new best after which the fit is stopped.

    tol : float, default=0.0
        Increase over the best score so far that counts as an improvement, >= 0.

    Attributes
    ----------
    scores_ : list of float
        The score after each iteration of the last fit.

    best_iteration_ : int
        The iteration with the best score, counted from 1.

    Raises
    ------
    ValueError
        If an argument is invalid, or X, y and sample_weight have different lengths.

    Notes
    -----
    In a search that uses other processes it stops the fits there, but `scores_` and `best_iteration_` are not returned.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import train_test_split
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.callbacks import EarlyStopping
    >>> X, held_out, y, labels = train_test_split(*load_wine(return_X_y=True), random_state=0)
    >>> stopping = EarlyStopping(held_out, labels)
    >>> model = NaturalGradientLogisticRegression(C=1e6).set_callbacks(stopping).fit(X, y)
    >>> model.converged_, model.n_iter_[0] == stopping.best_iteration_
    (False, np.True_)
    """

    def __init__(  # noqa: PLR0913 - all but the rows are keywords
        self,
        X: Matrix,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        scoring: Scoring = None,
        n_iter_no_change: int = 1,
        tol: float = 0.0,
    ) -> None:
        if not isinstance(n_iter_no_change, Integral) or n_iter_no_change < 1:
            message = f"n_iter_no_change={n_iter_no_change!r} must be a whole number of iterations, 1 or more."
            raise ValueError(message)
        if not isinstance(tol, Real) or not tol >= 0.0:
            message = f"tol={tol!r} must be a number >= 0: the increase that counts as an improvement."
            raise ValueError(message)
        self.X: Matrix = X
        # labels may be a table of one column
        self.y: Labels = column_or_1d(check_labels(y))
        self.sample_weight: Any = sample_weight
        check_consistent_length(X, self.y, sample_weight)
        self.scoring: Scoring = scoring
        self.n_iter_no_change: int = n_iter_no_change
        self.tol: float = tol
        # all clones of an estimator share this instance, and may be fitted at the same time
        self._scores: dict[int, list[float]] = {}

    def setup(self, estimator: object, context: object) -> None:  # noqa: ARG002 - scikit-learn's protocol
        """Begin to follow a fit."""
        self._scores[id(estimator)] = []

    def teardown(self, estimator: object, context: object) -> None:  # noqa: ARG002 - scikit-learn's protocol
        """Set `scores_` and `best_iteration_`."""
        if id(estimator) not in self._scores:
            # this callback is set twice on the estimator
            return
        self.scores_ = self._scores.pop(id(estimator))
        self.best_iteration_ = 1 + self._best(self.scores_) if self.scores_ else 0

    def on_fit_task_begin(self, estimator: object, context: object) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: object, context: object, *, fitted_estimator: Any = None) -> bool:
        """Score the held-out rows after an iteration; return whether to stop."""
        iteration: Iteration | None = getattr(context, ITERATION, None)
        if iteration is None or iteration.step is None or not iteration.step.accepted:
            return False
        scores = self._scores[id(estimator)]
        # a callback that is set twice on an estimator is called twice for each iteration
        if len(scores) < iteration.number:
            scores.append(self._score(fitted_estimator))
        best = self._best(scores)
        iteration.keep = best == len(scores) - 1
        return len(scores) - 1 - best >= self.n_iter_no_change

    def _best(self, scores: list[float]) -> int:
        best = 0
        for index, score in enumerate(scores):
            # written so that NaN is never the best
            if score > scores[best] + self.tol or np.isnan(scores[best]):
                best = index
        return best

    def _score(self, fitted: Any) -> float:
        if self.scoring is not None:
            weight = {} if self.sample_weight is None else {"sample_weight": self.sample_weight}
            return float(check_scoring(fitted, self.scoring)(fitted, self.X, self.y, **weight))
        codes, unknown = codes_and_unknown(fitted.classes_, self.y)
        if unknown:
            message = (
                f"y of EarlyStopping holds {label_name(unknown[0])}, which no row of the fit has; hold out rows of its "
                f"classes {label_names(fitted.classes_)}, or pass a scoring that handles other labels."
            )
            raise ValueError(message)
        with underflow_ignored():
            log_proba = fitted.predict_log_proba(self.X)
            own = log_proba[np.arange(len(log_proba)), codes]
            return float(np.average(own, weights=self.sample_weight))


class FisherMonitor:
    r"""Records each iteration of a descent: the Newton decrement before it, its damping, and its length.

    It does not change the fit, but adds time to each iteration: for `decrement`, up to a pass over the rows and a
    factorisation, or a solve by conjugate gradients; for `condition_number`, one more of each.

    Parameters
    ----------
    decrement : bool, default=True
        Whether to compute the Newton decrement before each iteration.

    condition_number : bool, default=True
        Whether to compute the condition number, if the matrix takes at most 256 MiB: about 5,800 coefficients.

    Attributes
    ----------
    records_ : list of dict
        One dict for each iteration of each fit. `fit` is the number of the fit, from 0 in the order of their starts;
        `iteration` counts from 1; `seconds` is the time since the start of the fit, including the monitor; `loss` is
        the loss after the step, in nats per unit of weight. `kl` is the length of the step in nats, as in `kl_curve_`;
        `damping` its damping; `gain` the ratio of the actual to the predicted decrease. `decrement` is the Newton
        decrement before the step, :math:`\frac{1}{2} g^T (F + \Lambda)^{-1} g / S`, in nats per unit of weight, with
        the true Fisher information whatever the metric. `condition_number` is that of :math:`F + \Lambda` before the
        step, each column scaled by its diagonal, and centred if it is far from zero, on moves that change predictions:
        about 1 for two classes and uncorrelated columns, whatever their scales. A number that is not computed, or is
        lost in rounding, is NaN.

    Notes
    -----
    In a search that uses other processes, the records are not returned.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> from sknatgrad.callbacks import FisherMonitor
    >>> monitor = FisherMonitor()
    >>> model = NaturalGradientLogisticRegression().set_callbacks(monitor).fit(*load_iris(return_X_y=True))
    >>> [round(record["decrement"], 4) for record in monitor.records_[:4]]
    [0.5737, 0.1075, 0.0793, 0.0059]
    """

    def __init__(self, *, decrement: bool = True, condition_number: bool = True) -> None:
        self.decrement, self.condition_number = decrement, condition_number
        self.records_: list[dict[str, float]] = []
        self._n_fits = 0
        # of the fits that have not ended: their number, and the measurements at the current point
        self._running: dict[int, tuple[int, dict[str, float]]] = {}

    def setup(self, estimator: object, context: object) -> None:  # noqa: ARG002 - scikit-learn's protocol
        """Begin to follow a fit."""
        # it is followed already if this callback is set twice on the estimator
        if id(estimator) not in self._running:
            self._running[id(estimator)] = self._n_fits, {}
            self._n_fits += 1

    def teardown(self, estimator: object, context: object) -> None:  # noqa: ARG002 - scikit-learn's protocol
        """End the records of a fit."""
        self._running.pop(id(estimator), None)

    @ignoring_underflow
    def on_fit_task_begin(self, estimator: Configuration, context: object) -> None:
        """Measure the point from which an iteration starts."""
        iteration: Iteration | None = getattr(context, ITERATION, None)
        if iteration is None or iteration.point is None or iteration.objective is None:
            return
        point, objective = iteration.point, iteration.objective
        _, measured = self._running[id(estimator)]
        if measured:
            return
        measured.update(decrement=np.nan, condition_number=np.nan)
        if self.decrement:
            nats = objective.decrement(point) / point.weight
            measured["decrement"] = max(nats, 0.0) if np.isfinite(nats) else np.nan
        if self.condition_number and 8 * point.theta.size**2 <= estimator._limits.matrix_bytes:  # noqa: SLF001
            measured["condition_number"] = _condition_number(objective.matrix(point), point.theta.shape[0])

    def on_fit_task_end(self, estimator: object, context: object) -> None:
        """Record an iteration."""
        iteration: Iteration | None = getattr(context, ITERATION, None)
        if iteration is None or iteration.step is None or not iteration.step.accepted:
            return
        number, measured = self._running[id(estimator)]
        if not measured:
            return
        step = iteration.step
        self.records_.append(
            {
                "fit": number,
                "iteration": iteration.number,
                "seconds": iteration.seconds,
                "loss": step.loss,
                "kl": step.kl,
                "damping": step.damping,
                "gain": step.gain,
                **measured,
            }
        )
        # the next iteration, or another call for this one, finds nothing measured
        measured.clear()

    def to_dataframe(self) -> Any:
        """Return the records as a pandas DataFrame, one row per iteration.

        Returns
        -------
        table : DataFrame
            One column for each key of the records.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            message = "to_dataframe needs pandas, which is not installed; run pip install pandas, or use records_."
            raise ImportError(message) from error
        return pd.DataFrame(self.records_)


def _condition_number(matrix: Array, n_logits: int) -> float:
    """Return the condition number of F + Λ, ``(qd, qd)``, on moves that sum to zero over classes, in scaled columns.

    Each column is scaled by the square root of its diagonal, averaged over classes. NaN where the smallest eigenvalue
    is lost in rounding.
    """
    n_columns = matrix.shape[0] // n_logits
    scale = np.sqrt(matrix.diagonal().reshape(n_logits, n_columns).mean(axis=0))
    if not (np.isfinite(matrix).all() and scale.all()):
        return float("nan")
    by_column = np.tile(scale, n_logits)
    basis = np.kron(sum_zero(n_logits), np.eye(n_columns))
    values = np.linalg.eigvalsh(basis.T @ (matrix / by_column / by_column[:, None]) @ basis)
    resolved = values[0] > values[-1] * matrix.shape[0] * np.finfo(np.float64).eps
    return float(values[-1] / values[0]) if resolved else float("nan")
