"""The reservoir: a stratified sample of bounded size from one pass over batches."""

import numpy as np
import pytest
from problems import in_batches, rows_of

from sknatgrad._rows.reservoir import StratifiedReservoir
from sknatgrad._rows.sampling import MIN_ROWS_PER_CLASS


def reserved(codes, room, size, weight=None, width=1):
    """Add rows whose first value is their index; return the reservoir, and the indices that it keeps."""
    codes = np.asarray(codes)
    weight = np.ones(len(codes)) if weight is None else weight
    X = np.repeat(np.arange(len(codes), dtype=float)[:, None], width, axis=1)
    reserve = StratifiedReservoir(8 * width * room)
    for batch in in_batches(X, codes, weight, size):
        reserve.add(*batch)
    kept, kept_codes, kept_weight = reserve.rows()
    rows = kept[:, 0].astype(int)
    np.testing.assert_array_equal(kept_codes, codes[rows])
    np.testing.assert_array_equal(kept_weight, weight[rows])
    return reserve, rows


@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_reserve_keeps_all_rows_in_order_while_there_is_room(size):
    weight = np.arange(300) % 2.0
    reserve, rows = reserved(np.arange(300) % 3, 300, size, weight, width=2)
    assert reserve.complete
    assert rows.tolist() == list(range(300))
    assert not reserved(np.arange(300) % 3, 299, size, weight, width=2)[0].complete


@pytest.mark.parametrize("room", [200, 1000, 5000])
def test_a_reserve_fills_its_room_by_half_and_no_more(room):
    reserve, rows = reserved(np.arange(20_000) % 2, room, 500)
    assert reserve.n_rows == 20_000
    assert 0.4 * room < len(rows) <= room
    assert (np.diff(rows) > 0).all()
    # from everywhere
    assert abs(rows.mean() / 10_000 - 1) < 0.2


def test_what_is_kept_of_common_classes_does_not_depend_on_the_batches():
    """Each row has one random number, and the rows with the smallest are kept, in classes above the minimum."""
    codes = np.random.default_rng(0).integers(0, 3, 20_000)
    draws = np.random.default_rng(0).random(20_000)
    kept = {size: reserved(codes, 1000, size)[1].tolist() for size in (50, 64, 1000, 20_000)}
    for rows in kept.values():
        assert rows == np.flatnonzero(draws <= draws[rows].max()).tolist()
        assert rows == kept[1000]


def test_only_of_rare_classes_may_more_be_kept_with_other_batches():
    random = np.random.default_rng(0)
    codes = np.where(random.random(40_000) < 0.01, 2, random.integers(0, 2, 40_000))
    kept = {size: reserved(codes, 1000, size)[1] for size in (64, 1000, 40_000)}
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
def test_a_reserve_keeps_some_rows_of_a_rare_class(n_rare, place, size):
    rows = np.random.default_rng(0).choice(40_000, n_rare, replace=False)
    codes = np.zeros(40_000, dtype=int)
    codes[{"first": slice(n_rare), "last": slice(-n_rare, None), "anywhere": rows}[place]] = 1
    _, kept = reserved(codes, 1000, size)
    assert np.count_nonzero(codes[kept]) >= min(n_rare, MIN_ROWS_PER_CLASS)
    assert len(kept) <= 1000


@pytest.mark.parametrize("size", [1000, 4000, 10_000])
@pytest.mark.parametrize("place", ["first", "anywhere"])
def test_rows_that_count_are_kept_of_a_class_of_which_most_do_not(place, size):
    """3,000 rows of a class, of which 100 have weight."""
    random = np.random.default_rng(0)
    rows = np.arange(3000) if place == "first" else np.sort(random.choice(200_000, 3000, replace=False))
    codes, weight = np.zeros(200_000, dtype=int), np.ones(200_000)
    codes[rows] = 1
    weight[random.permutation(rows)[:2900]] = 0.0
    _, kept = reserved(codes, 2000, size, weight)
    assert np.count_nonzero(codes[kept]) >= MIN_ROWS_PER_CLASS


def test_rows_without_weight_are_not_kept_once_there_is_no_room_for_all():
    weight = (np.arange(20_000) % 3 > 0).astype(float)
    reserve, rows = reserved(np.arange(20_000) % 2, 1000, 500, weight)
    assert not reserve.complete
    assert weight[rows].all()


def test_kept_rows_are_copies():
    X, y = rows_of()
    given = X.copy()
    reserve = StratifiedReservoir(X.nbytes)
    for part, codes in in_batches(given, y):
        reserve.add(part, codes, np.ones(len(codes)))
        part[:] = 0.0
    np.testing.assert_array_equal(reserve.rows()[0], X)
