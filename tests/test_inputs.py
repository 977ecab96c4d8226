"""What fit accepts: layouts, containers, types, labels, weights and warm starts."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from problems import DATASETS, FISHERS, as_kinds, counts
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad._inputs.labels import encode

KINDS = list(as_kinds(np.eye(2)))


def fit(X, y, sample_weight=None, **parameters):
    parameters = {"random_state": 0, "max_iter": 2000, **parameters}
    return NaturalGradientLogisticRegression(**parameters).fit(X, y, sample_weight)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_layout_and_container_change_nothing(fisher, kind, n_classes):
    X, y = counts(n_classes)
    plain = fit(X, y, fisher=fisher)
    given = as_kinds(X)[kind]
    model = fit(given, y, fisher=fisher)
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(model.predict_proba(given), plain.predict_proba(X), atol=1e-10)


DTYPES = [bool, np.uint8, np.int8, np.int32, np.int64, np.float32, np.longdouble]


@pytest.mark.parametrize(
    ("dtype", "container"),
    # scipy has no sparse arrays of half precision
    [(dtype, container) for dtype in DTYPES for container in (np.asarray, sparse.csr_array)]
    + [(np.float16, np.asarray)],
)
def test_type_changes_nothing_but_the_type_of_coefficients(dtype, container):
    X, y = counts()
    if dtype is bool:
        X = np.minimum(X, 1)
    plain = fit(X, y)
    given = container(X.astype(dtype))
    model = fit(given, y)
    expected = np.float32 if dtype is np.float32 else np.float64
    assert model.coef_.dtype == model.intercept_.dtype == expected
    assert model.decision_function(given).dtype == expected
    assert model.predict_proba(given).dtype == expected
    assert model.predict_log_proba(given).dtype == expected
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-6 if expected is np.float32 else 1e-9)
    np.testing.assert_allclose(model.predict_proba(given).sum(axis=1), 1, rtol=4 * np.finfo(expected).eps)


def test_duplicate_sparse_entries_count_as_their_sum():
    X, y = counts()
    rows, columns = np.nonzero(X)
    values = X[rows, columns]
    data = np.concatenate([0.25 * values, 0.75 * values])
    order = np.lexsort((np.tile(columns, 2), np.tile(rows, 2)))
    indptr = np.concatenate([[0], np.cumsum(2 * np.bincount(rows, minlength=len(X)))])
    doubled = sparse.csr_array((data[order], np.tile(columns, 2)[order], indptr), shape=X.shape)
    assert doubled.nnz == 2 * np.count_nonzero(X)
    for fisher in ("true", "diagonal", "kronecker"):
        np.testing.assert_allclose(fit(doubled, y, fisher=fisher).coef_, fit(X, y, fisher=fisher).coef_, rtol=1e-8)
    model = fit(X, y)
    for kind in ("true", "diagonal"):
        information = fisher_information(model, doubled, kind=kind)
        np.testing.assert_allclose(information, fisher_information(model, X, kind=kind), rtol=1e-12, atol=1e-12)
    assert doubled.nnz == 2 * np.count_nonzero(X)  # the user's matrix is unchanged


def test_read_only_memory_map(tmp_path):
    X, y = counts()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(fit(mapped, y).coef_, fit(X, y).coef_)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames_give_feature_names(frame):
    X, y = counts()
    table = frame({f"column {j}": X[:, j] for j in range(X.shape[1])})
    model = fit(table, y)
    assert list(model.feature_names_in_) == [f"column {j}" for j in range(X.shape[1])]
    np.testing.assert_allclose(model.coef_, fit(X, y).coef_, rtol=1e-10)
    np.testing.assert_allclose(model.predict_proba(table), fit(X, y).predict_proba(X), rtol=1e-9)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


def test_mixed_frame_of_numbers_and_booleans():
    X, y = counts()
    table = pd.DataFrame({"float": X[:, 0], "int": X[:, 1].astype(np.int8), "bool": X[:, 2] > 0})
    plain = np.column_stack([X[:, 0], X[:, 1], X[:, 2] > 0])
    np.testing.assert_allclose(fit(table, y).coef_, fit(plain, y).coef_, rtol=1e-10)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes", "perhaps"]),
        np.array(["no", "yes", "perhaps"], dtype=object),
        np.array([-7, 3, 0]),
        np.array([2.0, -1.0, 5.0]),
        np.array([False, True]),
    ],
    ids=["strings", "objects", "negative ints", "floats", "bools"],
)
@pytest.mark.parametrize("container", [np.asarray, list, pd.Series])
def test_labels_of_any_kind(labels, container):
    X, y = counts(len(labels))
    named = labels[y]
    model = fit(X, container(named))
    np.testing.assert_array_equal(model.classes_, np.unique(named))
    order = [list(model.classes_).index(label) for label in labels]
    np.testing.assert_allclose(model.predict_proba(X)[:, order], fit(X, y).predict_proba(X), atol=1e-9)
    assert set(model.predict(X)) <= set(labels)
    assert model.predict(X).dtype == model.classes_.dtype


@pytest.mark.parametrize("fisher", [fisher for fisher in FISHERS if fisher != "monte_carlo"])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weight_is_repetition(fisher, C, n_classes):
    X, y = counts(n_classes)
    weight = np.random.default_rng(3).integers(0, 4, len(y))
    weighted = fit(X, y, weight, fisher=fisher, C=C)
    repeated = fit(np.repeat(X, weight, axis=0), np.repeat(y, weight), fisher=fisher, C=C)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7, atol=1e-9)
    scalar = fit(X, y, 2.0, fisher=fisher, C=C)
    twice = fit(np.vstack([X, X]), np.tile(y, 2), fisher=fisher, C=C)
    np.testing.assert_allclose(scalar.predict_proba(X), twice.predict_proba(X), rtol=1e-7, atol=1e-9)


def test_drawn_labels_find_the_same_optimum_for_weights_and_repetition():
    X, y = counts(3)
    weight = np.random.default_rng(3).integers(0, 4, len(y))
    weighted = fit(X, y, weight, fisher="monte_carlo")
    repeated = fit(np.repeat(X, weight, axis=0), np.repeat(y, weight), fisher="monte_carlo")
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7, atol=1e-9)


def test_class_weight_is_sample_weight():
    X, y = counts(3)
    by_class = {0: 0.5, 1: 2.0, 2: 1.0}
    weight = np.array([by_class[label] for label in y])
    extra = np.random.default_rng(0).uniform(size=len(y))
    for sample_weight in (None, extra):
        total = weight if sample_weight is None else weight * sample_weight
        model = fit(X, y, sample_weight, class_weight=by_class)
        np.testing.assert_allclose(model.coef_, fit(X, y, total).coef_, rtol=1e-9)


def test_balanced_follows_scikit_learn():
    X, y = counts(3)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    for sample_weight in (None, weight):
        model = fit(X, y, sample_weight, class_weight="balanced")
        kept = slice(None) if sample_weight is None else sample_weight > 0
        reference = LogisticRegression(class_weight="balanced", tol=1e-12, max_iter=10_000)
        # rows of weight zero count as absent
        reference.fit(X[kept], y[kept], None if sample_weight is None else sample_weight[kept])
        repeated = X, y
        if sample_weight is not None:
            repeated = (np.repeat(X, weight.astype(int), axis=0), np.repeat(y, weight.astype(int)))
        np.testing.assert_allclose(
            model.predict_proba(X), fit(*repeated, class_weight="balanced").predict_proba(X), rtol=1e-7
        )
        if sample_weight is None:
            np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-5)


def test_balanced_with_a_class_that_has_no_weight():
    X, y = counts(3)
    model = NaturalGradientLogisticRegression(class_weight="balanced", C=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, sample_weight=(y != 1).astype(float))
    assert np.isfinite(model.coef_).all()
    assert 1 not in model.predict(X)


def test_users_arrays_are_not_written_to():
    X, y = counts()
    weight = np.ones(len(y))
    for array in (X, y, weight):
        array.flags.writeable = False
    fit(X, y, weight, class_weight="balanced")
    fit(as_kinds(X)["csr_array"], y, weight)


@pytest.mark.parametrize("fisher", FISHERS)
def test_warm_start_at_the_optimum_stays_there(fisher):
    X, y = counts(3)
    model = fit(X, y, fisher=fisher, warm_start=True)
    coef, n_iter = model.coef_.copy(), model.n_iter_[0]
    model.fit(X, y)
    assert model.n_iter_[0] == 1
    assert n_iter > 1
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-7, atol=1e-9)


def test_warm_start_maps_coefficients_by_label():
    X, y = counts(3)
    names = np.array(["ash", "beech", "oak"])[y]
    whole = fit(X, names, warm_start=True)
    start = dict(zip(whole.classes_, whole.coef_, strict=True))
    whole.set_params(learning_rate=1e-12, max_iter=1, tol=0.0)
    # three classes to two, without beech
    kept = names != "beech"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole.fit(X[kept], names[kept])
        np.testing.assert_allclose(whole.coef_[0], start["oak"] - start["ash"], atol=1e-9)
        # two classes to three, one of them new: it starts at zero
        renamed = np.where(names == "beech", "yew", names)
        whole.fit(X, renamed)
    half = 0.5 * (start["oak"] - start["ash"])
    np.testing.assert_allclose(whole.coef_, [-half, half, 0 * half], atol=1e-9)


def test_warm_start_saves_iterations_along_a_path():
    X, y = DATASETS["breast_cancer"](return_X_y=True)
    model = NaturalGradientLogisticRegression(warm_start=True).fit(X, y)
    cold = NaturalGradientLogisticRegression(C=1.2).fit(X, y)
    model.set_params(C=1.2).fit(X, y)
    assert model.n_iter_ < cold.n_iter_
    np.testing.assert_allclose(model.coef_, cold.coef_, rtol=1e-5)


def test_warm_start_without_earlier_fit():
    X, y = counts()
    np.testing.assert_array_equal(fit(X, y, warm_start=True).coef_, fit(X, y).coef_)


@pytest.mark.parametrize("fisher", FISHERS)
def test_blocks_change_nothing(fisher, limits):
    X, y = counts(3, n_rows=300)
    whole = fit(X, y, fisher=fisher)
    limits(block_bytes=1, min_block_rows=17)
    for kind in ("C", "F", "csr_array"):
        model = fit(as_kinds(X)[kind], y, fisher=fisher)
        np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(X), rtol=1e-8)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_matrix_free_reaches_the_same_coefficients(fisher, n_classes, C, limits):
    X, y = counts(n_classes)
    direct = fit(X, y, fisher=fisher, C=C, tol=1e-12)
    # a Kronecker factor may still fit where the whole matrix does not
    q, d = (1 if n_classes == 2 else n_classes), X.shape[1] + 1
    limits(matrix_bytes=8 * max(q, d) ** 2 + (0 if q > 1 else -1))
    if fisher == "kronecker" and q == 1:
        with pytest.raises(ValueError, match="fisher='kronecker' would need a 6 x 6 factor"):
            fit(X, y, fisher=fisher, C=C)
        return
    free = fit(X, y, fisher=fisher, C=C, tol=1e-12)
    assert free.converged_
    np.testing.assert_allclose(free.coef_, direct.coef_, rtol=1e-5, atol=1e-7)


def test_float32_answers_stay_finite():
    X, y = counts(3)
    model = fit(X.astype(np.float32), y)
    out_of_core = np.full((1, 5), 3e38, dtype=np.float32)
    assert np.isfinite(model.decision_function(out_of_core)).all()
    assert np.isfinite(model.predict_log_proba(out_of_core)).all()
    # coefficients of columns this small are beyond float32
    tiny = fit((X * 1e-42).astype(np.float32), y, C=np.inf)
    assert np.isfinite(tiny.coef_).all()


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, 1, 0]),
        np.array([-128, 127, 0, 127], dtype=np.int8),
        np.array([2**64 - 1, 2**64 - 3, 2**64 - 1], dtype=np.uint64),
        np.array([-(2**63), -(2**63) + 5, -(2**63)], dtype=np.int64),
        np.array([7, 4000, 7, 300], dtype=np.uint16),
        np.array([10**9, -(10**9), 10**9]),  # too far apart for a table
        np.array([True, False, True]),
        np.array([1.5, -2.0, 1.5]) * 2,
        np.array(["b", "a", "b"]),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_are_encoded_as_by_unique(labels):
    classes, codes = encode(np.tile(labels, 50_000))
    expected, expected_codes = np.unique(np.tile(labels, 50_000), return_inverse=True)
    np.testing.assert_array_equal(classes, expected)
    assert classes.dtype == expected.dtype
    np.testing.assert_array_equal(codes, expected_codes)
    assert codes.itemsize == 1


@pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_words_that_never_occur_change_nothing(fisher, C):
    X, y = counts(3, n_rows=60)
    places = np.arange(5, 30, 5)
    among_empty = sparse.lil_array((len(y), 120))
    among_empty[:, places] = X
    narrow = fit(sparse.csr_array(X), y, fisher=fisher, C=C)
    wide = fit(among_empty.tocsr(), y, fisher=fisher, C=C)
    np.testing.assert_allclose(wide.coef_[:, places], narrow.coef_, rtol=1e-7, atol=1e-9)
    assert abs(np.delete(wide.coef_, places, axis=1)).max() < 1e-30
    assert wide.n_features_in_ == 120
    before = wide.coef_.copy()
    again = wide.set_params(warm_start=True).fit(among_empty.tocsr(), y)
    np.testing.assert_allclose(again.coef_, before, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_single_precision_data_give_the_same_probabilities(n_classes):
    X, y = counts(n_classes, n_rows=2000)
    double, single = fit(X, y), fit(X.astype(np.float32), y)
    np.testing.assert_allclose(single.predict_proba(X.astype(np.float32)), double.predict_proba(X), rtol=0, atol=1e-5)
    assert single.coef_.dtype == np.float32
