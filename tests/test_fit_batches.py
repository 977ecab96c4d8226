"""fit_batches: the optimum of fit, in few passes over the batches."""

import pickle
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from problems import (
    BATCHES,
    FISHER_METRICS,
    WEIGHTS,
    assert_same_bits,
    assert_same_fit,
    assert_same_optimum,
    counting,
    in_batches,
    model_of,
    rows_of,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning


def assert_batches_like_fit(X, y, sample_weight=None, *, size=500, agreement=1e-9, **parameters):
    """Fit both ways, to agree to a share of the largest coefficient; return the one that was fitted to batches."""
    reference = model_of(**parameters).fit(X, y, sample_weight)
    model = model_of(**parameters).fit_batches(in_batches(X, y, sample_weight, size))
    assert_same_optimum(model, reference, agreement)
    assert model.converged_
    assert model.n_passes_ > 1
    assert model.n_features_in_ == reference.n_features_in_
    return model


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", FISHER_METRICS)
def test_batches_are_fitted_like_the_array(fisher, n_classes, small_capacity):
    assert_batches_like_fit(*rows_of(n_classes), fisher=fisher)


OPTIONS = {
    "weights": ({}, WEIGHTS),
    "balanced": ({"class_weight": "balanced"}, None),
    "balanced weights": ({"class_weight": "balanced"}, WEIGHTS),
    "class weights": ({"class_weight": {0: 3.0, 1: 0.5}}, None),
    "class weights and weights": ({"class_weight": {0: 3.0, 1: 0.5}}, WEIGHTS),
    "no intercept": ({"fit_intercept": False}, None),
    "no penalty": ({"C": np.inf}, None),
    "much penalty": ({"C": 1e-4}, None),
    "short steps": ({"max_kl": 0.05}, None),
    "fixed steps": ({"learning_rate": 0.5}, None),
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", list(OPTIONS))
def test_options_hold_for_batches(name, n_classes, small_capacity):
    parameters, weight = OPTIONS[name]
    assert_batches_like_fit(*rows_of(n_classes), weight, **parameters)


def table_of(X, y):
    return pd.DataFrame(X, columns=list("abcd")).assign(y=np.array(["no", "yes", "perhaps"])[y])


def from_parquet(path, table):
    table.to_parquet(path, row_group_size=700)
    scan = {"batch_size": 300, "fragment_scan_options": ds.ParquetFragmentScanOptions(pre_buffer=False)}
    return lambda: (
        (batch.select(list("abcd")).to_pandas(), batch["y"].to_numpy(zero_copy_only=False))
        for batch in ds.dataset(path).to_batches(**scan)
    )


def from_csv(path, table):
    table.to_csv(path, index=False)
    return lambda: ((chunk[list("abcd")], chunk["y"]) for chunk in pd.read_csv(path, chunksize=300))


@pytest.mark.parametrize("reader", [from_parquet, from_csv])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_files_are_read_a_few_times(reader, n_classes, small_capacity, tmp_path):
    table = table_of(*rows_of(n_classes))
    model = model_of().fit_batches(reader(tmp_path / "rows", table))
    assert model.n_passes_ > 1
    assert model.feature_names_in_.tolist() == list("abcd")
    assert_same_optimum(model, model_of().fit(table[list("abcd")], table["y"]))


def test_one_weight_for_all_rows_of_a_batch(small_capacity):
    X, y = rows_of()
    weighted = [(*batch, 0.5 + index) for index, batch in enumerate(in_batches(X, y))]
    weight = np.repeat([each for *_, each in weighted], 500)
    assert_same_optimum(model_of().fit_batches(weighted), model_of().fit(X, y, weight))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32])
def test_batches_of_any_type(dtype, small_capacity):
    X, y = rows_of()
    assert_batches_like_fit(abs(X).astype(dtype), y)


def test_batches_of_float32_give_coefficients_of_float32(small_capacity):
    X, y = rows_of()
    assert assert_batches_like_fit(X.astype(np.float32), y).coef_.dtype == np.float32
    mixed = [(X.astype(np.float32), y), (X, y)]
    for batches in (mixed, mixed[::-1]):
        assert model_of().fit_batches(batches).coef_.dtype == np.float64


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array, np.asfortranarray])
def test_batches_in_any_container(container, small_capacity):
    X, y = rows_of(3)
    X = np.where(X > 0, X, 0.0)
    model = model_of().fit_batches([(container(part), labels) for part, labels in in_batches(X, y)])
    assert model.n_passes_ > 1
    assert_same_optimum(model, model_of().fit(X, y))


def test_batches_of_which_some_are_sparse(small_capacity):
    X, y = rows_of(3)
    X = np.where(X > 0, X, 0.0)
    batches = in_batches(X, y)
    batches[1::2] = [(sparse.csr_array(part), labels) for part, labels in batches[1::2]]
    assert_same_optimum(model_of().fit_batches(batches), model_of().fit(X, y))


def test_batches_of_a_wide_sparse_matrix_with_columns_that_are_empty(set_capacity):
    set_capacity(5000)
    X = sparse.random(4000, 250, density=0.02, format="csr", random_state=0)
    X = sparse.hstack([X, sparse.csr_matrix((4000, 50))], format="csr")
    y = np.asarray(X.sum(axis=1)).ravel() + np.random.default_rng(0).logistic(size=4000) > 3.0
    # an error of 1e-17 of the loss, 2,155 nats, is 2e-7 standard errors, which are 0.4 here
    model = assert_batches_like_fit(X, y, agreement=4e-8)
    assert not model.coef_[:, 250:].any()


def test_batches_of_frames_have_names(small_capacity):
    X, y = rows_of()
    frame = pd.DataFrame(X, columns=list("abcd"))
    labels = pd.Series(np.where(y, "yes", "no"))
    model = model_of().fit_batches([(frame[part], labels[part]) for part in (slice(0, 1500), slice(1500, None))])
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_passes_ > 1
    assert_same_optimum(model, model_of().fit(frame, labels))
    model.fit_batches(in_batches(X, y))
    assert not hasattr(model, "feature_names_in_")


LABELS = {
    "words": np.array(["c", "a", "bb"]),
    "objects": np.array(["c", "a", "bb"], dtype=object),
    "negative": np.array([3, -7, 0]),
    "whole floats": np.array([2.0, 0.0, 1.0]),
    "far apart": np.array([10**12, -3, 5]),
    "one byte": np.array([-128, 127, 0], dtype=np.int8),
}


@pytest.mark.parametrize("name", list(LABELS))
def test_labels_of_any_kind(name, small_capacity):
    X, y = rows_of(3)
    labels = LABELS[name][y]
    model = assert_batches_like_fit(X, labels)
    assert model.classes_.dtype == labels.dtype
    np.testing.assert_array_equal(model.predict(X), model_of().fit(X, labels).predict(X))


def test_boolean_labels(small_capacity):
    X, y = rows_of()
    assert assert_batches_like_fit(X, y == 1).classes_.dtype == bool


def test_words_of_many_classes_in_small_batches(small_capacity):
    """A batch may have as many classes as rows."""
    X, y = rows_of(30, n_rows=1500)
    assert_batches_like_fit(X, np.array([f"class {k}" for k in range(30)])[y], size=40)


def test_words_that_are_longer_in_later_batches(small_capacity):
    X, y = rows_of(3)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    labels = np.array(["a", "bbb", "ccccccc"])[y]
    ends = np.searchsorted(y, [0, 1, 2, 3])
    batches = [(X[a:b], labels[a:b].astype(f"U{len(labels[a])}")) for a, b in pairwise(ends.tolist())]
    model = model_of().fit_batches(batches)
    assert model.classes_.tolist() == ["a", "bbb", "ccccccc"]
    assert_same_optimum(model, model_of().fit(X, labels))


@pytest.mark.parametrize("fisher", FISHER_METRICS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_stored_covariance_is_that_of_all_rows_and_a_stream_goes_on_from_it(fisher, n_classes, small_capacity):
    X, y = rows_of(n_classes, n_rows=5000)
    reference = model_of(fisher=fisher, store_covariance=True).fit(X[:4000], y[:4000])
    model = model_of(fisher=fisher, store_covariance=True).fit_batches(in_batches(X[:4000], y[:4000]))
    expected = reference.covariance_
    np.testing.assert_allclose(model.covariance_, expected, rtol=0, atol=1e-8 * abs(expected).max())
    for each in (reference, model):
        each.partial_fit(X[4000:], y[4000:])
    assert_same_optimum(model, reference, tol=1e-8)
    np.testing.assert_allclose(model.covariance_, reference.covariance_, rtol=0, atol=1e-8 * abs(expected).max())
    assert not hasattr(model, "n_passes_")


def test_a_warm_start_saves_passes(small_capacity):
    X, y = rows_of(3)
    cold = model_of().fit_batches(in_batches(X, y))
    warm = model_of(warm_start=True).fit_batches(in_batches(X[:3500], y[:3500]))
    warm.fit_batches(in_batches(X, y))
    assert warm.n_passes_ < cold.n_passes_
    assert_same_optimum(warm, cold)


@pytest.mark.parametrize("fisher", ["true", "monte_carlo"])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
@pytest.mark.parametrize("container", [np.asarray, np.asfortranarray, sparse.csr_array])
def test_rows_that_all_have_room_are_read_once_and_fitted_like_the_array(container, weight, fisher):
    X, y = rows_of(3)
    read, begun = counting(in_batches(container(X), y, weight))
    model = model_of(fisher=fisher, class_weight="balanced").fit_batches(read)
    assert_same_fit(model, model_of(fisher=fisher, class_weight="balanced").fit(container(X), y, weight))
    assert model.n_passes_ == len(begun) == 1


def test_the_room_is_that_of_all_rows_and_no_more(set_capacity):
    X, y = rows_of()
    set_capacity(X.size)
    assert model_of().fit_batches(in_batches(X, y)).n_passes_ == 1
    set_capacity(X.size - 1)
    assert model_of().fit_batches(in_batches(X, y)).n_passes_ > 1


@pytest.mark.parametrize("fisher", FISHER_METRICS)
@pytest.mark.parametrize("size", [97, 999, 4000])
def test_the_size_of_batches_changes_nothing(size, fisher, small_capacity):
    X, y = rows_of(3)
    model = model_of(fisher=fisher).fit_batches(in_batches(X, y, WEIGHTS, size=size))
    assert_same_optimum(model, model_of(fisher=fisher).fit_batches(in_batches(X, y, WEIGHTS)))


@pytest.mark.parametrize("fisher", FISHER_METRICS)
def test_two_fits_give_the_same_bits_at_any_number_of_threads(fisher, small_capacity, shared_blocks):
    X, y = rows_of(3)
    batches = in_batches(X, y, size=1000)
    with threadpool_limits(1, user_api="blas"):
        alone = model_of(fisher=fisher).fit_batches(batches)
    for n_threads in (1, 2, 8):
        with threadpool_limits(n_threads, user_api="blas"):
            assert_same_bits(model_of(fisher=fisher).fit_batches(batches), alone)


@pytest.mark.parametrize("place", [0, 3, 8])
@pytest.mark.parametrize("n_values", [2000, 10**6])
def test_batches_without_rows_are_skipped(place, n_values, set_capacity):
    set_capacity(n_values)
    X, y = rows_of()
    batches = in_batches(X, y, WEIGHTS)
    plain = model_of().fit_batches(batches)
    batches.insert(place, (X[:0], y[:0], WEIGHTS[:0]))
    assert_same_fit(model_of().fit_batches(batches), plain)


class Folder:
    """Can be iterated over once for each pass."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        """Begin a pass."""
        return iter(self.batches)


def test_batches_may_come_in_any_iterable_that_can_be_read_again(small_capacity):
    X, y = rows_of()
    batches = in_batches(X, y)
    plain = model_of().fit_batches(batches)
    as_lists = [list(batch) for batch in batches]
    for given in (tuple(batches), Folder(batches), lambda: iter(batches), lambda: batches, as_lists):
        model = model_of().fit_batches(given)
        assert_same_fit(model, plain)
        assert model.n_passes_ == plain.n_passes_


@pytest.mark.parametrize("name", ["sorted", "sorted the other way", "in turn"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_order_of_rows_changes_nothing(n_classes, name, small_capacity):
    X, y = rows_of(n_classes)
    order = np.argsort(y, kind="stable")
    if name == "sorted the other way":
        order = order[::-1]
    if name == "in turn":
        order = np.argsort(np.argsort(order) % 500, kind="stable")
    model = assert_batches_like_fit(X[order], y[order])
    assert_same_optimum(model, model_of().fit(X, y), tol=1e-8)


@pytest.mark.parametrize("place", ["first", "last", "anywhere"])
def test_a_rare_class_is_found_and_fitted(place, set_capacity):
    """40 rows of 50,000, where a simple random sample would have fewer than two."""
    set_capacity(4 * 1500)
    X, y = rows_of(2, n_rows=50_000)
    random = np.random.default_rng(3)
    rows = {"first": np.arange(40), "last": np.arange(-40, 0), "anywhere": random.choice(50_000, 40, replace=False)}
    y[rows[place]] = 2
    X[rows[place]] += [1.0, 0.0, 2.0, 0.0]
    # both leave up to 1e-17 of the loss: 8e-7 standard errors, which are 0.2 for the intercept of the rare class
    model = assert_batches_like_fit(X, y, size=5000, agreement=4e-8)
    assert model.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_batches_solved_by_conjugate_gradients(n_classes, set_capacity, limits):
    limits(direct_products=0.0)
    X, y = rows_of(n_classes, n_rows=6000, n_features=30)
    set_capacity(X.size // 4)
    X /= 2.0 ** np.arange(30)
    assert_batches_like_fit(X, y, size=1000)


@pytest.mark.parametrize(
    ("n_classes", "n_features", "n_rows"), [(2, 6, 50_000), (3, 6, 50_000), (2, 50, 200_000), (3, 50, 200_000)]
)
def test_passes_are_few_and_all_are_counted(n_classes, n_features, n_rows, set_capacity):
    X, y = rows_of(n_classes, n_rows=n_rows, n_features=n_features)
    X[:, 6:] /= 2.0 ** np.arange(6, n_features)
    set_capacity(X.size // 4)
    read, begun = counting(in_batches(X, y, size=5000))
    model = NaturalGradientLogisticRegression().fit_batches(read)
    assert 1 < model.n_passes_ <= 6
    assert model.n_passes_ == len(begun)


@pytest.mark.parametrize("fisher", FISHER_METRICS)
@pytest.mark.parametrize("parameters", [{}, {"store_covariance": True}, {"C": np.inf}, {"warm_start": True}])
def test_every_pass_is_counted(parameters, fisher, small_capacity):
    X, y = rows_of()
    read, begun = counting(in_batches(X, y))
    model = model_of(fisher=fisher, **parameters).fit_batches(read)
    assert model.n_passes_ == len(begun)
    # the same estimator again
    begun.clear()
    assert model.fit_batches(read).n_passes_ == len(begun)


def test_an_object_is_iterated_over_once_a_pass(small_capacity):
    begun = []

    class Opened(Folder):
        def __iter__(self):
            """Begin a pass."""
            begun.append(1)
            return super().__iter__()

    model = model_of().fit_batches(Opened(in_batches(*rows_of())))
    assert model.n_passes_ == len(begun)


def test_the_number_of_passes_goes_with_the_fit_it_belongs_to(small_capacity):
    X, y = rows_of()
    model = model_of().fit_batches(in_batches(X, y))
    assert hasattr(model, "n_passes_")
    assert not hasattr(model.fit(X, y), "n_passes_")
    assert not hasattr(model.fit_batches(in_batches(X, y)).partial_fit(X, y, classes=[0, 1]), "n_passes_")


def test_a_fitted_estimator_can_be_cloned_and_pickled(small_capacity):
    X, y = rows_of()
    read, _ = counting(in_batches(X, y))
    model = model_of(C=2.0).fit_batches(read)
    assert clone(model).get_params() == model.get_params() == model_of(C=2.0).get_params()
    assert not hasattr(clone(model), "n_passes_")
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
    assert_same_bits(copied, model)
    assert copied.n_passes_ == model.n_passes_


def test_classes_that_are_known_may_come_in_any_order(small_capacity):
    X, y = rows_of(3)
    labels = np.array(["a", "b", "c"])[y]
    batches = in_batches(X, labels)
    assert_same_bits(model_of().fit_batches(batches, classes=["c", "a", "b"]), model_of().fit_batches(batches))


def test_no_convergence_is_told_where_the_fit_was_asked_for(small_capacity):
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        model = model_of(max_iter=1).fit_batches(in_batches(*rows_of()))
    assert caught[0].filename == __file__
    assert not model.converged_
    assert model.n_passes_ > 1


def test_separation_is_told(small_capacity):
    X, _ = rows_of()
    with pytest.warns(SeparationWarning):
        model_of(C=np.inf, tol=1e-8).fit_batches(in_batches(X, X[:, 0] > 0))


def test_separation_in_part_names_the_column(small_capacity):
    X, y = rows_of()
    frame = pd.DataFrame(
        np.column_stack([X, np.where(y == 1, np.arange(len(y)) % 10 == 0, 0.0)]), columns=list("abcde")
    )
    frame["e"] = frame["e"].astype(float)
    with pytest.warns(SeparationWarning, match="along a direction of e:"):
        model_of(C=np.inf, tol=1e-8).fit_batches([(frame[:2000], y[:2000]), (frame[2000:], y[2000:])])


def test_nothing_is_warned_of_where_all_is_well(small_capacity):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NaturalGradientLogisticRegression().fit_batches(BATCHES)
