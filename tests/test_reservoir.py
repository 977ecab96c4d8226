"""The reservoir: a stratified sample of bounded size from one pass over batches."""

import numpy as np
import pytest
from problems import in_batches, rows_of

from sknatgrad._rows.reservoir import StratifiedReservoir
from sknatgrad._rows.sampling import MIN_ROWS_PER_CLASS


def sampled(codes, capacity, size, weight=None, width=1):
    """Add rows whose first value is their index; return the reservoir, and the indices that it stores."""
    codes = np.asarray(codes)
    weight = np.ones(len(codes)) if weight is None else weight
    X = np.repeat(np.arange(len(codes), dtype=float)[:, None], width, axis=1)
    reservoir = StratifiedReservoir(8 * width * capacity)
    for batch in in_batches(X, codes, weight, size):
        reservoir.add(*batch)
    (kept, kept_codes, kept_weight), indices = reservoir.rows()
    rows = kept[:, 0].astype(int)
    np.testing.assert_array_equal(indices, rows)
    np.testing.assert_array_equal(kept_codes, codes[rows])
    np.testing.assert_array_equal(kept_weight, weight[rows])
    return reservoir, rows


@pytest.mark.parametrize("size", [1, 7, 300])
def test_all_rows_are_stored_in_order_while_the_capacity_suffices(size):
    weight = np.arange(300) % 2.0
    reservoir, rows = sampled(np.arange(300) % 3, 300, size, weight, width=2)
    assert reservoir.complete
    assert rows.tolist() == list(range(300))
    assert not sampled(np.arange(300) % 3, 299, size, weight, width=2)[0].complete


@pytest.mark.parametrize("capacity", [200, 1000, 5000])
def test_the_sample_fills_half_of_the_capacity_and_no_more(capacity):
    reservoir, rows = sampled(np.arange(20_000) % 2, capacity, 500)
    assert reservoir.n_rows == 20_000
    assert 0.4 * capacity < len(rows) <= capacity
    assert (np.diff(rows) > 0).all()
    # from all parts of the rows
    assert abs(rows.mean() / 10_000 - 1) < 0.2


def test_rows_of_common_classes_do_not_depend_on_the_batches():
    """Each row has one random number, and the rows with the smallest are kept, in classes above the minimum."""
    codes = np.random.default_rng(0).integers(0, 3, 20_000)
    draws = np.random.default_rng(0).random(20_000)
    kept = {size: sampled(codes, 1000, size)[1].tolist() for size in (50, 64, 1000, 20_000)}
    for rows in kept.values():
        assert rows == np.flatnonzero(draws <= draws[rows].max()).tolist()
        assert rows == kept[1000]


def test_other_batches_may_store_more_rows_of_rare_classes_only():
    random = np.random.default_rng(0)
    codes = np.where(random.random(40_000) < 0.01, 2, random.integers(0, 2, 40_000))
    kept = {size: sampled(codes, 1000, size)[1] for size in (64, 1000, 40_000)}
    for rows in kept.values():
        np.testing.assert_array_equal(rows[codes[rows] < 2], kept[1000][codes[kept[1000]] < 2])
        rare = rows[codes[rows] == 2]
        assert len(rare) >= MIN_ROWS_PER_CLASS
    # the random numbers decide among them too
    smallest = kept[40_000][codes[kept[40_000]] == 2]
    assert all(set(smallest) <= set(rows) for rows in kept.values())


@pytest.mark.parametrize("size", [100, 2000, 40_000])
@pytest.mark.parametrize("place", ["first", "last", "anywhere"])
@pytest.mark.parametrize("n_rare", [5, 40, 400])
def test_some_rows_of_a_rare_class_are_stored(n_rare, place, size):
    rows = np.random.default_rng(0).choice(40_000, n_rare, replace=False)
    codes = np.zeros(40_000, dtype=int)
    codes[{"first": slice(n_rare), "last": slice(-n_rare, None), "anywhere": rows}[place]] = 1
    _, kept = sampled(codes, 1000, size)
    assert np.count_nonzero(codes[kept]) >= min(n_rare, MIN_ROWS_PER_CLASS)
    assert len(kept) <= 1000


@pytest.mark.parametrize("size", [1000, 4000, 10_000])
@pytest.mark.parametrize("place", ["first", "anywhere"])
def test_weighted_rows_are_stored_of_a_class_whose_rows_mostly_have_no_weight(place, size):
    """3,000 rows of a class, of which 100 have weight."""
    random = np.random.default_rng(0)
    rows = np.arange(3000) if place == "first" else np.sort(random.choice(200_000, 3000, replace=False))
    codes, weight = np.zeros(200_000, dtype=int), np.ones(200_000)
    codes[rows] = 1
    weight[random.permutation(rows)[:2900]] = 0.0
    _, kept = sampled(codes, 2000, size, weight)
    assert np.count_nonzero(codes[kept]) >= MIN_ROWS_PER_CLASS


def test_rows_without_weight_are_not_stored_once_all_exceed_the_capacity():
    weight = (np.arange(20_000) % 3 > 0).astype(float)
    reservoir, rows = sampled(np.arange(20_000) % 2, 1000, 500, weight)
    assert not reservoir.complete
    assert weight[rows].all()


def test_stored_rows_are_copies():
    X, y = rows_of()
    given = X.copy()
    reservoir = StratifiedReservoir(X.nbytes)
    for part, codes in in_batches(given, y):
        reservoir.add(part, codes, np.ones(len(codes)))
        part[:] = 0.0
    np.testing.assert_array_equal(reservoir.rows()[0].X, X)
