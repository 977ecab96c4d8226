"""`fit_batches`: a fit to rows that are read in batches, as often as a pass over them is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._course import Course
from sknatgrad._problem import of_far_rows, of_rows
from sknatgrad._sklearn import fit_context
from sknatgrad._sources import Batch, BatchSource, MemorySource, Reserve
from sknatgrad._sources.sampling import reweighted
from sknatgrad._strategy import SAMPLE_BYTES
from sknatgrad._survey import Survey, check_part, is_empty, naming
from sknatgrad._validation import (
    codes_among,
    known_classes,
    refuse_infinite,
    unchanged_on_error,
    weighted,
)
from sknatgrad._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._problem import Problem
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
        course = Course(self)
        with unchanged_on_error(self), Workers() as workers:
            reader = _Reader(self, batches)
            problem = reader.surveyed(None if classes is None else known_classes(classes), workers)
            self._fit(problem, course)
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
            with naming(name):
                part = check_part(self.estimator, X, y, weights[0] if weights else None, reset=begins)
            begins = False
            yield name, part

    def surveyed(self, classes: Any, workers: Workers) -> Problem:
        """Read through all batches once, and return the problem that they pose."""
        survey: Survey | None = None
        reserve, appeared = Reserve(SAMPLE_BYTES), dict[Any, int]()
        for name, (X, labels, weight) in self._passing():
            with naming(name):
                refuse_infinite(self.estimator, X)
                if classes is not None:
                    codes_among(classes, labels)
                new, codes = Survey.of(X, labels, weight)
                survey = new if survey is None else survey.merge(new)
            # numbered as they appear: what other labels there are is not known yet
            numbers = [appeared.setdefault(label, len(appeared)) for label in new.labels.tolist()]
            reserve.add(X, np.array(numbers, dtype=np.min_scalar_type(len(appeared)))[codes], weight)
        if survey is None:
            message = "batches gave no rows; a fit needs rows of two classes or more."
            raise ValueError(message)
        survey.check_classes(classes)
        X, numbered, weight = reserve.rows()
        order = [appeared[label] for label in survey.labels.tolist()]
        codes = np.argsort(order)[numbered]
        if reserve.complete:
            return of_rows(self.estimator, X, survey.labels, codes, weight, workers)
        source = self._source(survey, Batch(X, codes, weight), workers)
        return of_far_rows(self.estimator, survey, source, self._check_finite, SAMPLE_BYTES)

    def _check_finite(self) -> None:
        for name, (X, _, _) in self._passing():
            with naming(name):
                refuse_infinite(self.estimator, X)

    def _source(self, survey: Survey, reserve: Batch, workers: Workers) -> Callable[[Array, int], BatchSource]:
        def source(factors: Array, n_logits: int) -> BatchSource:
            weight = reweighted(reserve.codes, reserve.weight, factors * survey.totals)
            sample = MemorySource(reserve.X, reserve.codes, weight, n_logits, workers)
            return BatchSource(lambda: self._weighted(survey, factors), sample, n_logits, workers)

        return source

    def _weighted(self, survey: Survey, factors: Array) -> Iterator[Batch]:
        """Yield the batches of one more pass, with their labels as codes and the weight of each row."""
        count = 0
        for name, (X, labels, weight) in self._passing():
            with naming(name):
                codes = codes_among(survey.labels, labels)
            count += len(codes)
            yield Batch(X, codes, weighted(weight, factors, codes))
        if count != survey.n_rows:
            message = (
                f"batches gave {count:,} rows in pass {self.n_passes} and {survey.n_rows:,} in the first; each pass "
                "must give the same rows: nothing may change what is read before the fit has ended."
            )
            raise ValueError(message)
