"""`fit_batches`: a fit to rows that are read in batches, as often as a pass over them is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._inputs.checks import codes_among, known_classes, refuse_infinite, unchanged_on_error, weighted
from sknatgrad._inputs.row_statistics import RowStatistics, check_part, error_label, is_empty
from sknatgrad._inputs.training_data import of_rows, streamed_rows
from sknatgrad._limits import Limits
from sknatgrad._rows.batches import BatchSource
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.reservoir import StratifiedReservoir
from sknatgrad._rows.sampling import reweighted
from sknatgrad._rows.source import Rows
from sknatgrad._rows.threads import Workers
from sknatgrad._sklearn import fit_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._typing import Array, Matrix


class BatchesMixin:
    """Fitting to more rows than memory holds."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit_batches(self: Any, batches: Any, classes: Any = None) -> Any:
        """Fit the model to rows that are read in batches, over and over: the same optimum as that of `fit`.

        The first pass checks all batches, counts classes and keeps up to 256 MiB of the rows. If that is all of them,
        they are fitted in memory; otherwise the fit begins at the optimum of that sample, and takes few more passes:
        with ``fisher='true'`` and as many as a few hundred columns, five to eight as a rule. The next batch is read
        while one is worked on, so an array must not be filled again once it was given; there are never more than two
        at a time.

        Parameters
        ----------
        batches : iterable or callable
            Gives ``(X, y)`` or ``(X, y, sample_weight)``, each as for `fit`, with some thousand rows or more at a
            time: a list, or any object that can be iterated over anew for each pass; or a function of no arguments
            that begins a pass. Each pass must give the same rows in the same order. It is iterated over in the thread
            that called.

        classes : array-like of shape (n_classes,) or None, default=None
            The class labels, to have others refused; None takes those that the batches hold.

        Returns
        -------
        self : NaturalGradientLogisticRegression
            The fitted estimator, with `n_passes_` besides what `fit` leaves. If anything fails, in reading or in
            fitting, the estimator stays as it was.

        Raises
        ------
        ValueError
            If batches can be read only once, a batch is not what is allowed, or a later pass gives other rows.

        Warns
        -----
        ConvergenceWarning, SeparationWarning
            As `fit` does.

        See Also
        --------
        partial_fit : Sees each row once, and is done when the rows are.

        Examples
        --------
        >>> import numpy as np
        >>> from sknatgrad import NaturalGradientLogisticRegression
        >>> def batches():  # a reader of files would do the same
        ...     draws = np.random.default_rng(0)
        ...     for _ in range(10):
        ...         X = draws.normal(size=(1000, 3))
        ...         yield X, draws.random(1000) < 1 / (1 + np.exp(-X[:, 0]))
        >>> model = NaturalGradientLogisticRegression().fit_batches(batches)
        >>> bool(abs(model.coef_ - [1, 0, 0]).max() < 0.1)
        True
        """
        monitor = FitMonitor(self)
        with unchanged_on_error(self), Workers() as workers:
            reader = _Reader(self, batches)
            data = reader.training_data(None if classes is None else known_classes(classes), workers)
            self._fit(data, monitor)
            self.n_passes_ = reader.n_passes
        return self


class _Reader:
    """Begins passes, and checks what they give."""

    def __init__(self, estimator: Any, batches: Any) -> None:
        if not callable(batches) and (not hasattr(batches, "__iter__") or hasattr(batches, "__next__")):
            message = (
                f"batches is a {type(batches).__name__}, which cannot be read more than once; pass a list of batches, "
                "or a function that begins a new pass, such as lambda: reader(path)."
            )
            raise ValueError(message)
        self.estimator, self.batches = estimator, batches
        self.n_passes = 0

    def _passing(self) -> Iterator[tuple[str, tuple[Matrix, Any, Array]]]:
        """Yield rows, labels and sample weights of the batches of one pass that have any, with what to call them."""
        given = self.batches() if callable(self.batches) else self.batches
        if not hasattr(given, "__iter__"):
            message = (
                f"batches() gave a {type(given).__name__}; it must begin a pass over batches, as a generator does."
            )
            raise ValueError(message)
        begins = self.n_passes == 0
        self.n_passes += 1
        for number, batch in enumerate(given):
            if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
                message = (
                    f"batches gave a {type(batch).__name__} as batch {number}; each must be (X, y) or "
                    "(X, y, sample_weight)."
                )
                raise ValueError(message)
            X, y, *weights = batch
            if is_empty(X, y):
                continue
            name = f"batch {number}"
            with error_label(name):
                part = check_part(self.estimator, X, y, weights[0] if weights else None, reset=begins)
            begins = False
            yield name, part

    def training_data(self, classes: Any, workers: Workers) -> TrainingData:
        """Read through all batches once, and return the problem that they pose."""
        statistics: RowStatistics | None = None
        capacity = getattr(self.estimator, "_limits", Limits()).sample_bytes
        reservoir, appeared = StratifiedReservoir(capacity), dict[Any, int]()
        for name, (X, labels, weight) in self._passing():
            with error_label(name):
                refuse_infinite(self.estimator, X)
                if classes is not None:
                    codes_among(classes, labels)
                new, codes = RowStatistics.of(X, labels, weight)
                statistics = new if statistics is None else statistics.merge(new)
            # numbered as they appear: what other labels there are is not known yet
            numbers = [appeared.setdefault(label, len(appeared)) for label in new.labels.tolist()]
            reservoir.add(X, np.array(numbers, dtype=np.min_scalar_type(len(appeared)))[codes], weight)
        if statistics is None:
            message = "batches gave no rows; a fit needs rows of two classes or more."
            raise ValueError(message)
        statistics.check_classes(classes)
        X, numbered, weight = reservoir.rows()
        order = [appeared[label] for label in statistics.labels.tolist()]
        codes = np.argsort(order)[numbered]
        if reservoir.complete:
            return of_rows(self.estimator, X, statistics.labels, codes, weight, workers)
        source = self._source(statistics, Rows(X, codes, weight), workers)
        return streamed_rows(self.estimator, statistics, source, self._check_finite, capacity)

    def _check_finite(self) -> None:
        for name, (X, _, _) in self._passing():
            with error_label(name):
                refuse_infinite(self.estimator, X)

    def _source(
        self, statistics: RowStatistics, reservoir: Rows, workers: Workers
    ) -> Callable[[Array, int], BatchSource]:
        def source(factors: Array, n_logits: int) -> BatchSource:
            weight = reweighted(reservoir.codes, reservoir.weight, factors * statistics.totals)
            sample = MemorySource(reservoir.X, reservoir.codes, weight, n_logits, workers)
            return BatchSource(lambda: self._weighted(statistics, factors), sample, n_logits, workers)

        return source

    def _weighted(self, statistics: RowStatistics, factors: Array) -> Iterator[Rows]:
        """Yield the batches of one more pass, with their labels as codes and the weight of each row."""
        count = 0
        for name, (X, labels, weight) in self._passing():
            with error_label(name):
                codes = codes_among(statistics.labels, labels)
            count += len(codes)
            yield Rows(X, codes, weighted(weight, factors, codes))
        if count != statistics.n_rows:
            message = (
                f"batches gave {count:,} rows in pass {self.n_passes} and {statistics.n_rows:,} in the first; each "
                "pass must give the same rows: nothing may change what is read before the fit has ended."
            )
            raise ValueError(message)
