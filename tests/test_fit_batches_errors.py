"""Errors of fit_batches: messages that name the batch, and an estimator that stays as it was."""

import threading
from itertools import count

import numpy as np
import pytest
from problems import BATCHES, CODES, ROWS, assert_same_bits, blas_threads, counting, model_of, unchanged
from scipy import sparse
from threadpoolctl import threadpool_limits


def once(batches=BATCHES):
    yield from batches


def always_the_same():
    batches = once()
    return lambda: batches


def but(number, batch, from_pass=1, to_pass=np.inf):
    """Return a reader of the batches in which one is replaced or omitted, in some passes."""
    passes = count(1)

    def read():
        changed = from_pass <= next(passes) <= to_pass
        for index, each in enumerate(BATCHES):
            if not (changed and index == number):
                yield each
            elif batch is not None:
                yield batch

    return read


def with_value(value, row=17, column=2):
    X = ROWS[:500].copy()
    X[row, column] = value
    return X, CODES[:500]


def weighted(weight):
    return [(*batch, np.full(500, weight)) for batch in BATCHES]


X5, Y5 = ROWS[:500], CODES[:500]
ERRORS = {
    "an iterator": (lambda: iter(BATCHES), r"batches is a list_iterator, which cannot be read more than once; pass"),
    "a generator": (once, r"batches is a generator, which cannot be read more than once; pass a list of batches"),
    "a number": (lambda: 3, r"batches is a int"),
    "None": (lambda: None, r"batches is a NoneType"),
    "a function of no batches": (lambda: lambda: 3, r"batches\(\) gave a int; it must begin a pass over batches"),
    "one pair": (lambda: (ROWS, CODES), r"batches gave a ndarray as batch 0; each must be \(X, y\) or \(X, y, sam"),
    "no pair": (lambda: but(3, X5), r"batches gave a ndarray as batch 3; each must be \(X, y\)"),
    "four": (lambda: but(3, (X5, Y5, None, None)), r"batches gave a tuple as batch 3; each must be \(X, y\)"),
    "the same iterator": (
        always_the_same,
        r"batches gave 0 rows in pass 2 and 4,000 in the first; each pass must give",
    ),
    "columns": (lambda: but(3, (X5[:, :3], Y5)), r"batch 3: X has 3 features, but .* expecting 4"),
    "columns in pass 2": (lambda: but(3, (X5[:, :3], Y5), 2), r"batch 3: X has 3 features, but .* expecting 4"),
    "lengths": (lambda: but(3, (X5, Y5[:499])), r"batch 3: .*inconsistent numbers of samples: \[500, 499\]"),
    "labels without rows": (lambda: but(3, (X5[:0], Y5)), r"batch 3: Found array with 0 sample"),
    "rows without labels": (lambda: but(3, (X5, Y5[:0])), r"batch 3: .*inconsistent numbers of samples"),
    "no labels": (lambda: but(3, (X5, None)), r"batch 3: .*requires y to be passed"),
    "one label": (lambda: but(3, (X5, 1)), r"batch 3: y should be a 1d array"),
    "NaN": (lambda: but(3, with_value(np.nan)), r"batch 3: .*X contains NaN at row 17, column 2 \(1 such"),
    "infinity": (lambda: but(3, with_value(np.inf)), r"batch 3: .*X contains infinity at row 17, column 2"),
    "NaN, sparse": (
        lambda: but(3, (sparse.csr_array(with_value(np.nan)[0]), Y5)),
        r"batch 3: .*X contains NaN at row 17, column 2",
    ),
    "NaN in pass 2": (lambda: but(3, with_value(np.nan), 2), r"batch 3: .*X contains NaN at row 17, column 2"),
    "NaN in y": (lambda: but(3, (X5, np.where(Y5 == 1, np.nan, Y5))), r"batch 3: y contains NaN .*at row"),
    "fewer rows": (lambda: but(3, None, 2), r"batches gave 3,500 rows in pass 2 and 4,000 in the first; each pass"),
    "more rows": (
        lambda: but(3, (np.tile(X5, (2, 1)), np.tile(Y5, 2)), 3),
        r"batches gave 4,500 rows in pass 3 and 4,000 in the first; each pass must give the same rows",
    ),
    "a new label": (lambda: but(3, (X5, Y5 + 1), 2), r"y holds 3, which is not among .* \[0, 1, 2\]"),
    "words and numbers": (
        lambda: but(3, (X5, Y5.astype(str))),
        r"y holds labels of different kinds, such as 0 and '0'",
    ),
    "numbers in between": (lambda: but(3, (X5, Y5 + 0.5)), r"Unknown label type: continuous"),
    "no batches": (list, r"batches gave no rows; a fit needs rows of two classes or more"),
    "no rows": (lambda: [(X5[:0], Y5[:0])] * 3, r"batches gave no rows; a fit needs rows of two classes"),
    "one class": (lambda: [(X5, np.full(500, "a"))] * 8, r"y holds only one class, 'a'; a classifier needs"),
    "negative weights": (
        lambda: but(3, (X5, Y5, np.linspace(-1, 1, 500))),
        r"batch 3: sample_weight contains the negative value -1.0 at row 0; every weight must be >= 0",
    ),
    "NaN weights": (lambda: but(3, (X5, Y5, np.full(500, np.nan))), r"batch 3: sample_weight contains nan at row 0"),
    "few weights": (lambda: but(3, (X5, Y5, np.ones(3))), r"batch 3: sample_weight has shape \(3,\)"),
    "no weight": (lambda: weighted(0.0), r"sample_weight is zero for every row; at least one"),
    "one class with weight": (
        lambda: [(*batch, batch[1] == 1) for batch in BATCHES],
        r"leave only one class with a positive weight, 1;",
    ),
    "infinity in one pass alone": (
        lambda: but(3, with_value(np.inf), 2, 2),
        r"X gave sums that are not finite, though its values are at most .*: one pass held NaN, infinity or others",
    ),
    "huge values": (
        lambda: [*BATCHES, with_value(1e200)],
        r"X holds values so large, up to 1.0e\+200, that sums of their squares overflow float64; rescale",
    ),
    "huge weights": (
        lambda: [*BATCHES, (X5, Y5, np.full(500, 1e306))],
        r"sample_weight .* so large, up to 1.0e\+306, that weighted sums",
    ),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_an_error_says_what_is_wrong_and_leaves_the_estimator_as_it_was(name, small_capacity):
    given, message = ERRORS[name]
    model = model_of(store_covariance=True).fit(ROWS[::3], CODES[::3])
    before = threading.active_count()
    with unchanged(model), pytest.raises(ValueError, match=message) as caught:
        model.fit_batches(given())
    assert "\n" not in str(caught.value)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1], r"y holds 2, which is not among .* classes \[0, 1\]"),
        (["0", "1", "2"], r"y holds 0, which is not among .* classes \['0', '1', '2'\]"),
        ([0, 1, 2, 5], r"classes holds 5, which no .* has; leave it out: nothing can be learnt of it"),
        ([1], r"classes=\[1\] must hold two classes or more"),
        ([[0, 1, 2]], r"classes=.* must be a 1-dimensional list of labels that sort"),
    ],
)
def test_classes_that_are_known_hold_for_all_batches(classes, message, small_capacity):
    model = model_of().fit(ROWS[::3], CODES[::3])
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit_batches(BATCHES, classes)


def test_an_estimator_that_was_not_fitted_stays_so(small_capacity):
    model = model_of()
    with unchanged(model), pytest.raises(ValueError, match="batch 3: X has 3 features"):
        model.fit_batches(but(3, (X5[:, :3], Y5), 2))
    assert not hasattr(model, "n_features_in_")


def test_parameters_are_checked_before_anything_is_read():
    read, begun = counting(BATCHES)
    with pytest.raises(ValueError, match="'C' parameter"):
        model_of(C=-1.0).fit_batches(read)
    assert not begun


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("in_pass", [1, 2, 3])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_the_reader_raises_comes_out_as_it_is(n_threads, in_pass, kind, small_capacity):
    passes, error = count(1), kind("disk")

    def read():
        point = next(passes)
        for index, batch in enumerate(BATCHES):
            if (point, index) == (in_pass, 3):
                raise error
            yield batch

    model = model_of().fit(ROWS[::3], CODES[::3])
    before = threading.active_count()
    with threadpool_limits(n_threads, user_api="blas"):
        blas = blas_threads()
        with unchanged(model), pytest.raises(kind) as caught:
            model.fit_batches(read)
        assert blas_threads() == blas
    assert caught.value is error
    assert threading.active_count() == before
    # another fit then works
    assert_same_bits(model.fit_batches(BATCHES), model_of().fit_batches(BATCHES))
