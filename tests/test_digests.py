"""Samples by the digests of rows: the same rows however they are ordered and stored, and as good as random."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.sampling import are_distinct, digest_factors, indices_by_digest, row_digests


def digests_of(X, codes=None, seed=0):
    codes = np.zeros(X.shape[0], dtype=np.intp) if codes is None else codes
    return row_digests(X, codes, digest_factors(X.shape[1], seed))


def table(kind="normal", n_rows=20_000, n_columns=12):
    rng = np.random.default_rng(0)
    return {
        "normal": lambda: rng.normal(size=(n_rows, n_columns)),
        "whole numbers": lambda: rng.integers(0, 100, size=(n_rows, n_columns)).astype(float),
        "a count": lambda: np.arange(n_rows, dtype=float)[:, None],
        "one column differs": lambda: np.hstack([np.ones((n_rows, 7)), rng.normal(size=(n_rows, 1))]),
    }[kind]()


@pytest.mark.parametrize("kind", ["normal", "whole numbers", "a count", "one column differs"])
def test_digests_are_uniform(kind):
    X = table(kind)
    digests = digests_of(X)
    counts = np.histogram(digests, bins=20, range=(0.0, 1.0))[0]
    # chi-squared with 19 degrees of freedom
    assert ((counts - 1000) ** 2 / 1000).sum() < 44
    assert abs(np.corrcoef(digests, X[:, -1])[0, 1]) < 4 / np.sqrt(len(X))
    assert abs(np.corrcoef(digests[1:], digests[:-1])[0, 1]) < 4 / np.sqrt(len(X))


def test_digests_depend_on_the_values_and_the_class_alone():
    X, codes = table("whole numbers"), np.arange(20_000) % 3
    expected = digests_of(X, codes)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(digests_of(X[order], codes[order]), expected[order])
    for other in (np.asfortranarray(X), X.astype(np.float32), X.astype(np.int16), np.repeat(X, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(digests_of(other, codes), expected)
    assert (digests_of(X, codes + 1) != expected).all()
    assert (digests_of(X, codes, seed=1) != expected).all()


def test_digests_of_sparse_rows_depend_on_their_values_and_columns():
    X = sparse.random(5000, 40, density=0.2, format="csr", random_state=0)
    expected = digests_of(X)
    order = np.random.default_rng(1).permutation(5000)
    np.testing.assert_array_equal(digests_of(X[order]), expected[order])
    stored = np.bincount(np.repeat(np.arange(5000), np.diff(X.indptr)), minlength=5000) > 0
    assert (digests_of(X[:, ::-1].tocsr()) != expected)[stored].mean() > 0.99
    assert np.unique(expected).size > 4980


def test_equal_rows_are_recognised():
    X = table()
    assert are_distinct(digests_of(X))
    assert not are_distinct(digests_of(np.repeat(X, 2, axis=0)))
    assert not are_distinct(digests_of(np.zeros((5000, 3))))
    # a few
    assert are_distinct(digests_of(np.vstack([X, X[:200]])))


def test_a_sample_of_a_sample_is_spread_over_it():
    """Its digests are others than those by which the rows were drawn."""
    X = table(n_rows=80_000)
    source = MemorySource(X, np.arange(80_000) % 2, np.ones(80_000))
    sample = source.sample(10_000)
    assert sample.drawn_by_digests
    smaller = sample.sample(1_000)
    assert smaller.drawn_by_digests
    assert len(smaller.codes) == pytest.approx(1_000, rel=0.15)
    assert smaller.weight.sum() == pytest.approx(80_000)


def test_rows_without_weight_are_not_drawn_and_rare_classes_have_more():
    digests, codes = digests_of(table()), (np.arange(20_000) % 400 == 0).astype(np.intp)
    weight = np.arange(20_000) % 2 + 0.0
    weight[codes == 1] = 1.0
    rows = indices_by_digest(digests, codes, weight, 1000)
    assert (np.diff(digests[rows]) > 0).all()
    assert (weight[rows] > 0).all()
    # 50 rows, of which 5 would be drawn
    assert 24 <= (codes[rows] == 1).sum() <= 40
    assert (codes[rows] == 0).sum() == pytest.approx(1000, rel=0.1)
    constant = np.broadcast_to(1.0, weight.shape)
    assert (codes[indices_by_digest(digests, codes, constant, 1000)] == 0).sum() == pytest.approx(1000, rel=0.1)


def test_centred_rows_are_sampled_by_position():
    """Their centres are values of single rows, which another order changes."""
    X = table()
    source = MemorySource(X, np.arange(20_000) % 2, np.ones(20_000))
    assert source.sample(500).drawn_by_digests
    sample = replace(source, centres=np.ones(12)).sample(500)
    assert not sample.drawn_by_digests
    np.testing.assert_array_equal(sample.X, X[source.spread(500)])
