"""`fit_batches`: a fit to rows that are read in batches, as often as a pass over them is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._array import canonical, stored_bytes_per_row
from sknatgrad._parameters import logits_for
from sknatgrad._problem import Problem, of_rows
from sknatgrad._sklearn import fit_context
from sknatgrad._sources import Batch, BatchSource, MemorySource, Reserve
from sknatgrad._strategy import SAMPLE_BYTES, Shape
from sknatgrad._validation import (
    MIN_CLASSES,
    check_batch_rows,
    check_class_weights,
    check_weights,
    codes_among,
    encode,
    known_classes,
    largest_value,
    refuse_infinite,
    totals_of_all,
    unchanged_on_error,
)
from sknatgrad._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sknatgrad._typing import Array, Codes, Matrix


class BatchesMixin:
    """Fitting to more rows than memory holds."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit_batches(self: Any, batches: Any, classes: Any = None) -> Any:
        """Fit the model to rows that are read in batches, over and over: the same optimum as that of `fit`.

        The first pass checks all batches, counts classes and keeps up to 256 MiB of the rows. If that is all of them,
        they are fitted in memory; otherwise the fit begins at the optimum of that sample, and takes few more passes:
        with ``fisher='true'`` and as many as a few hundred columns, three or four as a rule. The next batch is read
        while one is worked on, and there are never more than two at a time.

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
        >>> model.coef_.round(1)
        array([[1., 0., 0.]])
        """
        with unchanged_on_error(self), Workers() as workers:
            reader = _Reader(self, batches)
            problem = reader.surveyed(None if classes is None else known_classes(classes), workers)
            self._fit(problem)
            self.n_passes_ = reader.n_passes
        return self


class _Reader:
    """Begins passes, and checks what they give."""

    def __init__(self, estimator: Any, batches: Any) -> None:
        if not callable(batches) and (not hasattr(batches, "__iter__") or iter(batches) is batches):
            message = (
                f"batches is a {type(batches).__name__}, which cannot be read more than once; pass a list of batches, "
                "or a function that begins a new pass, such as lambda: reader(path)."
            )
            raise ValueError(message)
        self.estimator, self.batches = estimator, batches
        self.n_passes = 0
        self.n_rows = 0
        self.factors: Array | None = None  # (K,), of the classes' rows

    def _passing(self) -> Iterator[tuple[Matrix, Any, Array]]:
        """Yield rows, labels and sample weights of the batches of one pass that have any."""
        given = self.batches() if callable(self.batches) else self.batches
        first = self.n_passes == 0
        self.n_passes += 1
        for number, batch in enumerate(given):
            if not isinstance(batch, (tuple, list)) or len(batch) not in {2, 3}:
                message = (
                    f"batches gave a {type(batch).__name__} as batch {number}; each must be (X, y) or "
                    "(X, y, sample_weight)."
                )
                raise ValueError(message)
            X, y, *weights = batch
            if len(y) == 0:
                # of a file that was filtered while it was read
                continue
            try:
                checked, labels = check_batch_rows(self.estimator, X, y, reset=first)
                weight = check_weights(weights[0] if weights else None, len(labels), some=False)
                if self.factors is None:
                    refuse_infinite(self.estimator, checked)
            except ValueError as error:
                message = f"batch {number}: {error}"
                raise ValueError(message) from error
            first = False
            yield canonical(checked), labels, weight

    def surveyed(self, classes: Any, workers: Workers) -> Problem:
        """Read through all batches once, and return the problem that they pose."""
        survey = _Survey(classes)
        for X, labels, weight in self._passing():
            survey.see(X, labels, weight)
        found, (X, codes, weight) = survey.found()
        if survey.reserve.complete:
            return of_rows(self.estimator, X, found, codes, weight, workers)
        self.n_rows = survey.reserve.n_rows
        totals = survey.totals
        self.factors = check_class_weights(self.estimator.class_weight, found, totals)
        here = totals_of_all(codes, weight, totals.size)
        weight *= np.divide(self.factors * totals, here, out=np.zeros_like(here), where=here > 0)[codes]
        n_logits = logits_for(len(found))
        reserve = MemorySource(X, codes, weight, n_logits, workers)
        source = BatchSource(lambda: self._weighted(found), reserve, n_logits, workers)
        shape = Shape(
            self.n_rows, n_logits, X.shape[1] + self.estimator.fit_intercept, survey.stored / self.n_rows, far=True
        )
        return Problem(
            source, source, shape, found, totals, X.dtype, survey.largest, survey.heaviest * self.factors.max()
        )

    def _weighted(self, classes: Any) -> Iterator[Batch]:
        """Yield the batches of one more pass, with their labels as codes and the weight of each row."""
        count = 0
        for X, labels, weight in self._passing():
            codes = codes_among(classes, labels)
            count += len(codes)
            yield Batch(X, codes, weight * self.factors[codes])  # type: ignore[index]  # there are, once surveyed
        if count != self.n_rows:
            message = (
                f"batches gave {count:,} rows in pass {self.n_passes} and {self.n_rows:,} in the first; each pass must "
                "give the same rows: nothing may change what is read before the fit has ended."
            )
            raise ValueError(message)


class _Survey:
    """What a first pass finds out."""

    def __init__(self, classes: Any) -> None:
        self.classes = classes
        self.reserve = Reserve(SAMPLE_BYTES)
        self.totals = np.zeros(0)
        self.stored = 0.0  # values of X
        self.largest = self.heaviest = 0.0
        self._codes: dict[Any, int] = {}  # in the order that labels appear in
        self._found: list[Any] = []

    def see(self, X: Matrix, labels: Any, weight: Array) -> None:
        """Take note of a batch."""
        codes = self._code(labels)
        more = len(self._codes) - self.totals.size
        self.totals = np.append(self.totals, np.zeros(more))
        self.totals += totals_of_all(codes, weight, self.totals.size)
        self.stored += stored_bytes_per_row(X) / 8.0 * len(codes)
        self.largest = max(self.largest, largest_value(X))
        self.heaviest = max(self.heaviest, float(weight.max()))
        self.reserve.add(X, codes, weight)

    def _code(self, labels: Any) -> Codes:
        if self.classes is not None:
            codes_among(self.classes, labels)
        found, codes = encode(labels)
        known = [self._codes.setdefault(label, len(self._codes)) for label in found.tolist()]
        self._found.append(found)
        return np.array(known, dtype=np.intp)[codes]

    def found(self) -> tuple[Any, tuple[Matrix, Codes, Array]]:
        """Return the classes, sorted, and the rows in reserve; and sort `totals` likewise."""
        if not self._found:
            message = "batches gave no rows; a fit needs rows of two classes or more."
            raise ValueError(message)
        classes = np.unique(np.concatenate(self._found)) if self.classes is None else self.classes
        absent = [label for label in classes.tolist() if label not in self._codes]
        if absent:
            message = f"classes holds {absent[0]!r}, which no batch has; leave it out: nothing can be learnt of it."
            raise ValueError(message)
        if len(classes) < MIN_CLASSES:
            message = f"y holds only one class, {classes[0]!r}; a classifier needs rows of two classes or more."
            raise ValueError(message)
        place = np.empty(len(classes), dtype=np.intp)
        order = [self._codes[label] for label in classes.tolist()]
        place[order] = np.arange(len(classes))
        self.totals = self.totals[order]
        X, codes, weight = self.reserve.rows()
        return classes, (X, place[codes], weight)
