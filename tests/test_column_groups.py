"""Columns of a sparse X with a single entry: those of one row are one column, and the optimum is the same."""

import numpy as np
import pytest
from problems import random_text
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows.column_groups import grouped_columns


def texts(dtype=np.float64, *, n_rows=60, n_words=500):
    """Few texts, three of them empty; most of the words that occur do so once, and some of the entries are 0."""
    X, weight = random_text(n_rows, n_words, 6)
    X = sparse.csr_array(sparse.vstack([X, sparse.csr_array((3, n_words))]))
    X.data = (20.0 * X.data).astype(dtype)
    X.data[::9] = 0
    y = np.random.default_rng(0).logistic(size=n_rows + 3) < X.astype(np.float64) @ weight
    return X, y.astype(int)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
@pytest.mark.parametrize("equal_penalty", [False, True])
def test_groups_rotate_the_coefficients(dtype, equal_penalty):
    X, _ = texts(dtype)
    grouped, groups = grouped_columns(X, equal_penalty=equal_penalty)
    counts = np.bincount(X.indices, minlength=X.shape[1])
    in_one_row = np.unique(X.tocoo().row[counts[X.indices] == 1]).size
    assert grouped.shape[1] == (np.sum(counts > 1) + in_one_row if equal_penalty else np.sum(counts > 0))
    rotation = groups.expand(np.eye(groups.size)).T
    tol = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(groups.size), atol=tol)
    np.testing.assert_allclose(X @ rotation, grouped.toarray(), atol=10 * tol)
    # what R does not reach changes no logit
    theta = np.random.default_rng(1).normal(size=(3, X.shape[1]))
    np.testing.assert_allclose(grouped @ groups.restrict(theta).T, X @ theta.T, atol=100 * tol)
    first = groups.first_columns()
    assert (groups.group[first] == np.arange(groups.size)).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", ["true", "diagonal", "empirical", "kronecker"])
def test_the_optimum_is_that_of_all_columns(fisher, n_classes):
    X, y = texts()
    y = y if n_classes == 2 else (y + np.arange(y.size)) % 3
    weight = np.random.default_rng(2).uniform(0.0, 2.0, y.size).round(1)
    settings = {"fisher": fisher, "C": 3.0, "tol": 1e-12, "max_iter": 1000}
    grouped = NaturalGradientLogisticRegression(**settings).fit(X, y, weight)
    # a prior keeps all columns
    reference = NaturalGradientLogisticRegression(prior=(0.0, 1.0), **settings).fit(X, y, weight)
    np.testing.assert_allclose(grouped.coef_, reference.coef_, atol=1e-6)
    np.testing.assert_allclose(grouped.intercept_, reference.intercept_, atol=1e-6)
    again = grouped.set_params(warm_start=True).fit(X, y, weight)
    assert again.n_iter_[0] <= 2
    np.testing.assert_allclose(again.coef_, reference.coef_, atol=1e-6)


def test_orders_of_the_rows_give_the_same_coefficients():
    X, y = texts(n_rows=400, n_words=20_000)
    order = np.random.default_rng(0).permutation(y.size)
    first, second = (NaturalGradientLogisticRegression().fit(X[rows], y[rows]) for rows in (slice(None), order))
    assert first.n_iter_[0] > 1
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=0, atol=1e-8 * abs(first.coef_).max())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_where_they_are(value):
    X, y = texts()
    counts = np.bincount(X.indices, minlength=X.shape[1])
    place = np.flatnonzero(counts[X.indices] == 1)[3]
    X.data[place] = value
    with pytest.raises(ValueError, match=f"column {X.indices[place]}"):
        NaturalGradientLogisticRegression().fit(X, y)


@pytest.mark.parametrize("n_entries", [0, 1])
def test_a_table_with_hardly_any_entry(n_entries):
    X = sparse.csr_array((np.ones(n_entries), ([2] * n_entries, [7] * n_entries)), shape=(6, 40))
    model = NaturalGradientLogisticRegression().fit(X, [0, 1, 1, 0, 1, 0])
    assert np.flatnonzero(model.coef_[0]).tolist() == [7] * n_entries


def test_columns_are_kept_where_grouping_saves_little():
    # three entries in each column
    X = sparse.csr_array((np.ones(120), (np.arange(120) % 50, np.arange(120) // 3)), shape=(50, 40))
    found, groups = grouped_columns(X, equal_penalty=True)
    assert found is X
    assert groups is None
