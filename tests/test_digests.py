"""Samples by the digests of rows: the same rows however they are ordered and stored, and as good as random."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import memory, sampling
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.sampling import are_representative, digest_factors, row_digests, some_columns, uniform_probability
from sknatgrad._rows.source import LabelledRows


def digests_of(X, codes=None, weight=None, n_columns=None):
    codes = np.zeros(X.shape[0], dtype=np.intp) if codes is None else codes
    rows = LabelledRows(X, codes, np.ones(X.shape[0]) if weight is None else weight)
    return row_digests(rows, digest_factors(X.shape[1]), some_columns(X.shape[1], n_columns))


def sample_of(X, n_rows=2000, weight=None):
    codes = np.arange(X.shape[0]) % 2
    return MemorySource(X, codes, np.ones(X.shape[0]) if weight is None else weight).sample(n_rows)


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


@pytest.mark.parametrize("values", ["0 and 1", "-20 to 20", "of float16"])
def test_rows_of_short_numbers_have_as_many_digests(values):
    """The lower bits of such numbers are all 0, and so are those of their multiples."""
    rng = np.random.default_rng(0)
    X = {
        "0 and 1": rng.integers(2, size=(20_000, 60)).astype(float),
        "-20 to 20": rng.integers(-20, 21, size=(20_000, 8)).astype(float),
        "of float16": rng.normal(size=(20_000, 8)).astype(np.float16).astype(float),
    }[values]
    assert np.unique(X, axis=0).shape[0] == 20_000
    assert np.unique(digests_of(X)).size == 20_000
    assert np.unique(digests_of(sparse.csr_array(X))).size == 20_000


def test_digests_depend_on_the_values_the_class_and_the_weight_alone():
    X, codes, weight = table("whole numbers"), np.arange(20_000) % 3, np.arange(20_000) % 5 + 1.0
    expected = digests_of(X, codes, weight)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(digests_of(X[order], codes[order], weight[order]), expected[order])
    minus = np.where(X == 0.0, -0.0, X)
    others = (np.asfortranarray(X), X.astype(np.float32), X.astype(np.int16), np.repeat(X, 2, axis=1)[:, ::2], minus)
    for other in others:
        np.testing.assert_array_equal(digests_of(other, codes, weight), expected)
    assert (digests_of(X, codes + 1, weight) != expected).all()
    assert (digests_of(X, codes, weight + 1.0) != expected).all()
    some = digests_of(X, codes, weight, 6)
    np.testing.assert_array_equal(digests_of(X, codes, n_columns=6), some)
    # the first, the last, and four between
    X[:, [1, 3, 5, 7, 9, 10]] = 0.0
    np.testing.assert_array_equal(digests_of(X, codes, n_columns=6), some)
    assert (digests_of(X, codes, weight) != expected).mean() > 0.9


def test_digests_of_sparse_rows_depend_on_their_values_and_columns():
    X = sparse.random(5000, 40, density=0.2, format="csr", random_state=0)
    expected = digests_of(X)
    order = np.random.default_rng(1).permutation(5000)
    np.testing.assert_array_equal(digests_of(X[order]), expected[order])
    stored = np.bincount(np.repeat(np.arange(5000), np.diff(X.indptr)), minlength=5000) > 0
    assert (digests_of(X[:, ::-1].tocsr()) != expected)[stored].mean() > 0.99
    assert np.unique(expected).size > 4980


@pytest.mark.parametrize("at_a_time", [1, 40, 2**15])
def test_digests_do_not_depend_on_how_many_are_computed_at_a_time(at_a_time, monkeypatch):
    X = table(n_rows=3000)
    factors = digest_factors(X.shape[1])
    monkeypatch.setattr(sampling, "BITS_AT_A_TIME", at_a_time)
    bits = X.view(np.uint64)
    expected = ((bits ^ (bits >> np.uint64(32))) * factors[4:]).sum(axis=1)
    np.testing.assert_array_equal(sampling._sums_of_bits(X, factors[4:]), expected)
    assert sampling._sums_of_bits(X[:0], factors[4:]).size == 0
    assert digests_of(X[:, :0]).size == 3000


def test_a_second_sample_of_the_same_rows_knows_their_digests(monkeypatch):
    """Also the order of its rows, if all of their values tell them apart."""
    X = table(n_columns=16)
    few = some_columns(16, 4)
    X[:, few] = X[:, few] > 0
    computed = []
    original = memory.row_digests
    monkeypatch.setattr(memory, "row_digests", lambda rows, *more: computed.append(1) or original(rows, *more))
    source = MemorySource(X, np.arange(20_000) % 2, np.ones(20_000))
    assert source.sample(2000).drawn_by_digests
    assert computed
    computed.clear()
    assert source.sample(2000, by_influence=True).drawn_by_digests
    assert not computed


def few_distinct(n_distinct, n_rows=30_000):
    return np.random.default_rng(n_distinct).normal(size=(n_distinct, 12))[np.arange(n_rows) % n_distinct]


@pytest.mark.parametrize("n_distinct", [1, 5, 10, 40, 300, 12_000])
def test_equal_rows_are_sampled_by_position(n_distinct):
    """They have equal digests, so all of them or none would be drawn."""
    for X in (few_distinct(n_distinct), sparse.csr_array(few_distinct(n_distinct))):
        sample = sample_of(X)
        assert not sample.drawn_by_digests
        assert len(sample.codes) == pytest.approx(2000, rel=0.1)


def test_a_value_that_many_rows_share_is_noticed():
    X = table()
    X[: len(X) // 5] = 1.0
    assert not sample_of(X).drawn_by_digests
    X = table()
    # a few equal rows do no harm
    X[:200] = X[200:400]
    assert sample_of(X).drawn_by_digests


def test_rows_that_differ_in_other_columns_are_told_apart():
    """At first a digest depends on some of the columns."""
    X = table(n_columns=16)
    X[:, ::2] = X[:, ::2] > 0
    sample, order = sample_of(X), np.random.default_rng(0).permutation(len(X))
    assert sample.drawn_by_digests
    permuted = MemorySource(X[order], order % 2, np.ones(len(X))).sample(2000)
    np.testing.assert_array_equal(permuted.X, sample.X)


@pytest.mark.parametrize("sparse_rows", [False, True])
def test_another_order_gives_the_same_sample_in_the_same_order(sparse_rows):
    """Also if rows are equal but for their weights, or but for columns by which they are not drawn."""
    X, codes = table("whole numbers"), np.arange(20_000) % 2
    X[:300], codes[:300] = X[300:600], codes[300:600]
    X[600:900, ::2], codes[600:900] = X[900:1200, ::2], codes[900:1200]
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 20_000)
    order = np.random.default_rng(1).permutation(20_000)
    X = sparse.csr_array(X) if sparse_rows else X
    sample = MemorySource(X, codes, weight).sample(4000)
    permuted = MemorySource(X[order], codes[order], weight[order]).sample(4000)
    assert sample.drawn_by_digests
    assert (permuted.X != sample.X).sum() == 0
    np.testing.assert_array_equal(permuted.codes, sample.codes)
    np.testing.assert_allclose(permuted.weight, sample.weight, rtol=1e-12)


def test_a_sample_of_a_sample_is_spread_over_it():
    """By positions, in an order that only the values determine."""
    X = table(n_rows=80_000)
    sample = sample_of(X, 10_000)
    smaller = sample.sample(1_000)
    assert smaller.drawn_by_digests
    assert len(smaller.codes) == 1_000
    assert smaller.weight.sum() == pytest.approx(80_000)


def test_rows_without_weight_are_not_drawn_and_rare_classes_have_more():
    codes, weight = (np.arange(20_000) % 400 == 0).astype(np.intp), np.arange(20_000) % 2 + 0.0
    weight[codes == 1] = 1.0
    probability = uniform_probability(codes, weight, 1000)
    assert not probability[weight == 0].any()
    # of 50 rows
    np.testing.assert_allclose(probability[codes == 1], 32 / 50)
    np.testing.assert_allclose(probability[(codes == 0) & (weight > 0)], 1000 / (weight > 0).sum())
    sample = MemorySource(table(), codes, weight).sample(1000)
    assert sample.drawn_by_digests
    assert 24 <= (sample.codes == 1).sum() <= 40
    np.testing.assert_allclose([sample.weight[sample.codes == k].sum() for k in range(2)], [weight.sum() - 50, 50])
    constant = uniform_probability(np.arange(20_000) % 2, np.broadcast_to(1.0, 20_000), 1000)
    assert constant.strides == (0,)
    assert constant[0] == 0.05


def test_a_rare_class_of_equal_rows_is_in_every_sample():
    X, codes = table(), (np.arange(20_000) % 400 == 0).astype(np.intp)
    for value in range(8):
        X[codes == 1] = value
        assert np.bincount(MemorySource(X, codes, np.ones(20_000)).sample(2000).codes).all()


def test_fewer_rows_than_expected_are_not_representative():
    probability = np.full(10_000, 0.1)
    assert are_representative(np.linspace(0.0, 0.1, 1000), probability)
    assert not are_representative(np.linspace(0.0, 0.1, 800), probability)
    assert not are_representative(np.empty(0), np.full(10, 0.1))


def test_centred_rows_are_sampled_by_position():
    """Their centres are values of single rows, which another order changes."""
    X = table()
    source = MemorySource(X, np.arange(20_000) % 2, np.ones(20_000))
    assert source.sample(500).drawn_by_digests
    sample = replace(source, centres=np.ones(12)).sample(500)
    assert not sample.drawn_by_digests
    np.testing.assert_array_equal(sample.X, X[source.spread(500)])


@pytest.mark.parametrize("kind", ["integers", "rounded", "indicators", "categories"])
def test_fits_do_not_depend_on_the_order_of_rows(kind):
    rng = np.random.default_rng(0)
    X = {
        "integers": lambda: rng.integers(-200, 201, size=(15_000, 12)).astype(float),
        "rounded": lambda: np.round(rng.normal(size=(15_000, 12)) * 50.0),
        "indicators": lambda: rng.integers(2, size=(15_000, 20)).astype(float),
        "categories": lambda: np.eye(5)[rng.integers(5, size=30_000)],
    }[kind]()
    y = (X @ rng.normal(size=X.shape[1]) / X.std() / 4 + rng.logistic(size=len(X)) > 0).astype(int)
    order = rng.permutation(len(y))
    model = NaturalGradientLogisticRegression().fit(X, y)
    permuted = NaturalGradientLogisticRegression().fit(X[order], y[order])
    np.testing.assert_allclose(permuted.coef_, model.coef_, rtol=0, atol=1e-8 * abs(model.coef_).max())
    other = NaturalGradientLogisticRegression().fit(np.where(X == 0.0, -0.0, X), y)
    np.testing.assert_allclose(other.coef_, model.coef_, rtol=0, atol=1e-12 * abs(model.coef_).max())
