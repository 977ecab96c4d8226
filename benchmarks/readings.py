"""Readings of X: how many times a fit reads all rows.

A product of the rows with coefficients (logits), a transposed product, and a matrix of products of columns are one
reading each. So a measured loss with its gradient is two readings, and so is a product of the Fisher information, or of
a Hessian, with a vector. A kernel's second reading of a block that fits into a core's own cache counts nothing, and so
does a product with coefficients that are all zero, which is not computed. Rows of a subsample, or of a copy in float32,
count as rows. The checks of X before a fit, which all contestants make, do not count.

`counting` installs the counters in the row source of sknatgrad and in the losses of scikit-learn, and removes them.
"""

import os
import threading
from contextlib import ExitStack, contextmanager
from functools import wraps
from inspect import isfunction
from unittest.mock import patch

from scipy import sparse

# contestants, besides ours, that call the losses of scikit-learn
COUNTED_PEERS = ("lbfgs", "newton-cholesky", "newton-cg")
# methods of Design that do not read the values of X
NOT_READING = ("rows",)
# bytes of a core's own cache where the system does not report them
DEFAULT_CACHE = 2**20


def is_counted(contestant):
    """Say whether the readings of a contestant can be counted."""
    return contestant.package == "sknatgrad" or contestant.name in COUNTED_PEERS


def core_cache_bytes():
    """Return the size of the second-level cache of one core."""
    names = getattr(os, "sysconf_names", {})
    size = os.sysconf("SC_LEVEL2_CACHE_SIZE") if "SC_LEVEL2_CACHE_SIZE" in names else 0
    return size if size > 0 else DEFAULT_CACHE


def stored_bytes(X):
    """Return the bytes of the values of a block, and of their column indices if it is sparse."""
    return X.data.nbytes + X.indices.nbytes if sparse.issparse(X) else X.nbytes


class Readings:
    """Counts rows that are read, as a share of the rows of the data."""

    def __init__(self, n_rows, cache_bytes):
        self._n_rows, self._cache_bytes = n_rows, cache_bytes
        self._rows = []  # appending is atomic, adding is not
        self._thread = threading.local()
        self._pass = 0  # number of the pass over the rows

    @property
    def total(self):
        """Number of readings of all rows."""
        return sum(self._rows) / self._n_rows

    def begin_pass(self):
        """Forget which blocks are in the caches."""
        self._pass += 1

    def add(self, X, times=1):
        """Count readings of a block, or of all rows."""
        in_cache = (self._pass, id(X))
        if stored_bytes(X) <= self._cache_bytes:
            times = min(times, 1)
            if getattr(self._thread, "in_cache", None) == in_cache:
                return
        self._thread.in_cache = in_cache
        self._rows.append(times * X.shape[0])

    def reading(self, function, matrix_of=lambda arguments: arguments[0].X):
        """Return a function that counts one reading, but not those of functions that it calls."""

        @wraps(function)
        def counted(*arguments, **keywords):
            if getattr(self._thread, "counted", False):
                return function(*arguments, **keywords)
            self._thread.counted = True
            try:
                return function(*arguments, **keywords)
            finally:
                self._thread.counted = False
                self.add(matrix_of(arguments))

        return counted


@contextmanager
def counting(n_rows, cache_bytes=None):
    """Count the readings of the fits inside this context; gives the `Readings`."""
    readings = Readings(n_rows, core_cache_bytes() if cache_bytes is None else cache_bytes)
    with ExitStack() as stack:
        for target, name, replacement in (*_of_sknatgrad(readings), *_of_scikit_learn(readings)):
            stack.enter_context(patch.object(target, name, replacement))
        yield readings


def _of_sknatgrad(readings):
    from sknatgrad._rows import memory
    from sknatgrad._rows.design import Design

    total, take = memory.MemorySource.total, memory.take_centred

    def counted_total(source, kernel):
        readings.begin_pass()
        return total(source, kernel)

    def counted_take(X, start, stop, centres, *dtype):
        rows = take(X, start, stop, centres, *dtype)
        # a view, or the rows of a sparse X, which are stored once
        if centres is not None or rows.dtype != X.dtype:
            readings.add(rows)
        return rows

    yield memory.MemorySource, "total", counted_total
    yield memory, "take_centred", counted_take
    # the digests of a block depend on some of its columns, but hardly any line of the cache has none of them
    yield memory, "row_digests", readings.reading(memory.row_digests, matrix_of=lambda arguments: arguments[0].X)
    for name, method in vars(Design).items():
        if isfunction(method) and not name.startswith("_") and name not in (*NOT_READING, "logits"):
            yield Design, name, readings.reading(method)
    logits, counted_logits = Design.logits, readings.reading(Design.logits)
    yield Design, "logits", lambda design, theta: (counted_logits if theta.any() else logits)(design, theta)


def _of_scikit_learn(readings):
    from sklearn.linear_model._linear_loss import LinearModelLoss

    def counted(name):
        method = getattr(LinearModelLoss, name)

        @wraps(method)
        def with_transposed_product(loss, coef, X, *arguments, **keywords):
            result = method(loss, coef, X, *arguments, **keywords)
            # the logits are counted where they are computed; a Hessian is one more
            readings.add(X, 2 if name == "gradient_hessian" else 1)
            if name != "gradient_hessian_product":
                return result
            gradient, product = result

            def counted_product(vector):
                readings.begin_pass()
                readings.add(X, 2)
                return product(vector)

            return gradient, counted_product

        return with_transposed_product

    raw = readings.reading(LinearModelLoss.weight_intercept_raw, matrix_of=lambda arguments: arguments[2])

    def counted_raw(loss, coef, X):
        # each evaluation begins with the logits
        readings.begin_pass()
        return raw(loss, coef, X)

    yield LinearModelLoss, "weight_intercept_raw", counted_raw
    for name in ("loss_gradient", "gradient", "gradient_hessian", "gradient_hessian_product"):
        yield LinearModelLoss, name, counted(name)
