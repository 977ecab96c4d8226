"""Separation: what fits and infer say of it, against an independent linear program, and its parts."""

import warnings
from dataclasses import replace
from fractions import Fraction

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, sparse
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning
from sknatgrad._limits import Limits
from sknatgrad._model import exact_arithmetic, rational_direction, separating_pairs, separation_search
from sknatgrad._model.exact_arithmetic import exact_direction, exact_signs
from sknatgrad._model.separation import StepKernel, StepStatistics
from sknatgrad._model.separation_search import SeparationSearch
from sknatgrad._rows.memory import MemorySource
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer

FISHERS = ["true", "empirical", "diagonal", "kronecker", "monte_carlo"]


def pairs_of(X, y):
    """The rows whose products with a direction are its margins, in units of their largest entries."""
    design, codes = np.column_stack([X, np.ones(len(X))]), np.unique(y, return_inverse=True)[1]
    pairs = []
    for row, own in zip(design, codes, strict=True):
        for other in set(range(codes.max() + 1)) - {own}:
            pair = np.zeros((codes.max() + 1, len(row)))
            pair[own], pair[other] = row, -row
            pairs.append(pair[1:].ravel())
    pairs = np.array(pairs)
    pairs = pairs[:, pairs.any(axis=0)]
    for axis in (0, 1, 0, 1):
        pairs = pairs / abs(pairs).max(axis=axis, keepdims=True)
    return pairs


def is_separated(X, y):
    """Stiemke's alternative: a direction exists if and only if no positive combination of the pairs is zero."""
    pairs = pairs_of(X, y)
    solved = optimize.linprog(np.zeros(len(pairs)), A_eq=pairs.T, b_eq=-pairs.sum(axis=0), method="highs")
    assert solved.status in {0, 2}
    return solved.status == 2


def random_column(rng, n):
    kind = rng.integers(5)
    if kind == 0:
        return [rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)]
    if kind == 1:
        return [np.exp(4 * rng.normal(size=n))]
    if kind == 2:
        return [np.round(10 * (rng.pareto(0.6, n) + 1))]
    if kind == 3:
        return [rng.poisson(rng.choice([0.3, 2.0, 8.0]), n)]
    groups = rng.choice(4, n, p=rng.dirichlet(np.full(4, 0.7)))
    return [groups == group for group in range(rng.integers(2), 4)]


def random_table(seed):
    """Columns with heavy tails, indicators and counts; noise, an effect, an indicator of a class, or a rare class."""
    rng = np.random.default_rng(seed)
    n, n_classes = int(np.exp(rng.uniform(np.log(20), np.log(300)))), int(rng.integers(2, 5))
    X = np.column_stack([column for _ in range(rng.integers(1, 5)) for column in random_column(rng, n)]).astype(float)
    y, kind = rng.integers(0, n_classes, n), rng.integers(4)
    if kind == 1:
        z = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-300)
        y = (z @ rng.normal(size=(X.shape[1], n_classes)) + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    if kind == 2:
        X = np.column_stack([X, (y == 0) & (rng.random(n) < 0.1)])
    if kind == 3:
        y[y == n_classes - 1] = 0
        y[: int(rng.integers(1, 4))] = n_classes - 1
    y[:n_classes] = np.arange(n_classes)
    return X, y


def told(X, y, **parameters):
    """Fit without a penalty; say whether separation was told, and return the fit."""
    model = NaturalGradientLogisticRegression(**{"C": np.inf, "random_state": 0, **parameters})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return any(each.category is SeparationWarning for each in caught), model


def search(X, y, **rows):
    codes = np.unique(y, return_inverse=True)[1].astype(np.intp)
    n_classes = int(codes.max()) + 1
    weight = rows.get("weight", np.ones(len(y)))
    source = MemorySource(X, codes, weight, 1 if n_classes == 2 else n_classes, limits=rows.get("limits", Limits()))
    return SeparationSearch(source, np.zeros(X.shape[1] + 1), n_classes, has_intercept=True, program_size=2**22)


@pytest.mark.parametrize("part", range(2))
def test_fits_and_infer_tell_what_a_linear_program_decides(part):
    found = []
    for seed in range(40 * part, 40 * part + 40):
        X, y = random_table(seed)
        separated = is_separated(X, y)
        for tol in (1e-4, 1e-8, 1e-12):
            fit_told, model = told(X, y, tol=tol)
            assert fit_told == separated, (seed, tol)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            infer(model, X, y)
        assert any("are separated" in str(each.message) for each in caught) == separated, seed
        found.append(separated)
    assert 10 < sum(found) < 30


@pytest.mark.parametrize("fisher", [*FISHERS, "matrix-free"])
def test_every_metric_tells_what_a_linear_program_decides(fisher, limits):
    if fisher == "matrix-free":
        limits(direct_products=0.0)
    for seed in range(25):
        X, y = random_table(seed)
        fit_told, model = told(X, y, fisher="true" if fisher == "matrix-free" else fisher, tol=1e-6)
        assert fit_told == is_separated(X, y), seed
        assert abs(model.coef_).max() < 1e8


def test_a_heavy_column_that_holds_most_of_the_decrement_hides_nothing():
    rng = np.random.default_rng(237)
    heavy, y = np.round(10 * (rng.pareto(0.6, 120) + 1)), rng.integers(0, 2, 120)
    member = (y == 0) & (rng.random(120) < 0.3)
    with pytest.warns(SeparationWarning, match=rf"in part, {member.sum()} rows along a direction of x1: with C=inf"):
        NaturalGradientLogisticRegression(C=np.inf).fit(np.column_stack([heavy, member]), y)


@pytest.mark.parametrize("one_hot", [False, True])
def test_separation_is_not_called_collinearity_and_ends_soon(one_hot):
    """Three classes, one of two rows, and a raw year; with all indicators of groups F has no full rank either."""
    n_separated = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.integers(1990, 2024, 40), rng.normal(size=(40, 2)), rng.integers(0, 2, 40)])
        y = rng.integers(0, 2, 40)
        y[:2] = 2
        if one_hot:
            X = np.column_stack([X, np.eye(4)[rng.integers(0, 4, 40)]])
        # the same rows to the last bit
        separated = is_separated(X - [2000.0, *np.zeros(X.shape[1] - 1)], y)
        n_separated += separated
        model = NaturalGradientLogisticRegression(C=np.inf)
        if not separated:
            model.fit(X, y)
            continue
        with pytest.warns(SeparationWarning, match="The classes are separated in part"):
            model.fit(X, y)
        assert model.n_iter_[0] <= 25
        assert max(abs(model.coef_).max(), abs(model.intercept_).max()) < 1e7
    assert n_separated > 15


def quasi(n_rows=60):
    """An indicator that rows of class 0 alone have, beside a column without effect."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, n_rows)
    member = (y == 0) & (np.arange(n_rows) % 4 == 0)
    return np.column_stack([rng.normal(size=n_rows).round(2), member]), y, int(member.sum())


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("storage", ["float64", "float32", "sparse", "frame", "batches", "dask", "streamed"])
def test_every_storage_tells_it(storage, scale, small_capacity):
    X, y, n_rows = quasi(2000 if storage == "streamed" else 60)
    X = X * [1.0, scale]
    stored = {
        "float32": X.astype(np.float32),
        "sparse": sparse.csr_array(X),
        "frame": pd.DataFrame(X, columns=["x0", "x1"]),
        "dask": da.from_array(X, chunks=(20, 2)),
    }.get(storage, X)
    batches = [(X[start : start + 30], y[start : start + 30]) for start in range(0, len(y), 30)]
    labels = da.from_array(y, chunks=20) if storage == "dask" else y
    estimator = DaskNaturalGradientLogisticRegression if storage == "dask" else NaturalGradientLogisticRegression
    fit, given = estimator(C=np.inf).fit, (stored, labels)
    if storage in {"batches", "streamed"}:
        fit, given = estimator(C=np.inf).fit_batches, (batches,)
    with pytest.warns(SeparationWarning, match=rf"in part, {n_rows} rows along a direction of x1: with C=inf"):
        fit(*given)


def test_selected_features_do_not_hide_it():
    X, y, n_rows = quasi()
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning, match=rf"in part, {n_rows} rows along the direction -1 x1 for 1, so that"):
        infer(model, X, y, features=[0])


def test_only_rows_of_positive_weight_count():
    X, y, n_rows = quasi()
    against = np.flatnonzero(y == 1)[0]
    X[against, 1] = 1.0
    NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    weight = np.ones(60)
    weight[against] = 0.0
    for extra in ({}, {"class_weight": "balanced"}, {"warm_start": True}):
        with pytest.warns(SeparationWarning, match=f"in part, {n_rows} rows"):
            NaturalGradientLogisticRegression(C=np.inf, **extra).fit(X, y, sample_weight=weight)


def test_one_row_is_named_in_the_singular_and_the_intercept_never():
    """The groups a, b and the reference, which is pure: the intercept moves its row, and both indicators undo it."""
    rng = np.random.default_rng(0)
    groups = np.append(rng.integers(0, 2, 80), 2)
    X = pd.DataFrame({"a": groups == 0, "b": groups == 1, "noise": rng.normal(size=81)}).astype(float)
    y = np.append(rng.integers(0, 2, 80), 1)
    with pytest.warns(SeparationWarning, match=r"in part, 1 row along a direction of a, b: with") as caught:
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    assert "(Intercept)" not in str(caught[0].message)
    expected = r"in part, 1 row along the direction -1 a for 1, -1 b for 1, \+1 \(Intercept\) for 1, so"
    with pytest.warns(InferenceWarning, match=expected):
        infer(model, X, y)


def test_aliased_columns_do_not_enter_the_direction():
    """With all indicators, and a column twice, directions can be added that change no logit."""
    X, y, _ = quasi(90)
    groups = np.eye(3)[np.random.default_rng(1).integers(0, 3, 90)]
    X = np.column_stack([groups, X[:, :1], X[:, :1], X[:, 1:]])
    with pytest.warns(SeparationWarning, match="rows along a direction of x5: with"):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning, match=r"rows along the direction -1 x5 for 1, so that"):
        infer(model, X, y)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_far_outlier_is_no_separation(n_classes):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(300, 2)), rng.integers(0, n_classes, 300)
    X[17, 0] = 1e12
    assert search(X, y).direction is None
    assert not told(X, y)[0]
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X[:, 1:], y)
    model.coef_ = np.column_stack([np.zeros(len(model.coef_)), model.coef_])
    model.n_features_in_ = 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        infer(model.set_params(tol=1.0), X, y)
    assert not any("separated" in str(each.message) for each in caught)


def test_classes_that_overlap_by_one_unit_in_the_last_place_are_not_separated():
    x = np.array([-2.0, 0.5, 1.0, 1.0, 3.0, 4.0, 0.25, 5.0])
    y = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    assert search(x[:, None], y).direction.n_rows == 6
    x[2] = np.nextafter(1.0, 2.0)
    found = search(x[:, None], y)
    # the direction of the program separates to within its tolerance only
    assert found.direction is None
    assert not found.decided


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("separated", [True, False])
def test_long_tables_take_programs_of_few_rows(n_classes, separated, monkeypatch):
    monkeypatch.setattr(separation_search, "MIN_FIRST_ROWS", 20)
    rng = np.random.default_rng(n_classes + 1)
    X, y = rng.normal(size=(3000, 5)) * [1e-6, 1.0, 1.0, 1e6, 1.0], rng.integers(0, n_classes, 3000)
    # a column with entries in 8 rows, which the first program does not have
    X[:, 2] = 0.0
    X[np.flatnonzero(y == 1)[:8], 2] = rng.uniform(1.0, 2.0, 8)
    if not separated:
        X[[np.flatnonzero(y == k)[100] for k in range(n_classes) if k != 1], 2] = 1e-3
    sizes, program = [], separation_search.direction_of

    def counted(design, *args, **options):
        sizes.append(len(design))
        return program(design, *args, **options)

    monkeypatch.setattr(separation_search, "direction_of", counted)
    found = search(X, y)
    if separated:
        assert found.direction.n_rows == 8
        assert found.direction.columns(3, intercept=True) == ([2], 0)
    else:
        assert found.direction is None
        assert found.decided
    assert len(sizes) > 1
    assert max(sizes) < 300


def test_the_search_is_the_same_in_many_blocks(shared_blocks):
    for seed in range(12):
        X, y = random_table(seed)
        found = search(np.tile(X, (12, 1)), np.tile(y, 12))
        assert (found.direction is not None) == is_separated(X, y), seed


def test_strong_effects_are_not_called_separation_without_a_program(limits):
    """Probabilities of 1e-9 and less, at which conjugate gradients prove nothing."""
    limits(fit_program_size=100, program_size=100, direct_products=0.0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3)) * [8.0, 1.0, 1.0]
    y = (X[:, 0] + rng.logistic(size=2000) > 0).astype(int)
    for tol in (1e-8, 1e-2):
        model = NaturalGradientLogisticRegression(C=np.inf, tol=tol).fit(X, y)
        assert model.converged_
    infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y)


def test_a_search_that_needs_too_large_a_program_is_given_up(monkeypatch):
    monkeypatch.setattr(separation_search, "MIN_FIRST_ROWS", 20)
    X, y = np.random.default_rng(0).normal(size=(500, 2)), np.arange(500) % 2
    X = np.column_stack([X, np.arange(500) == 7])
    # the first program, of rows by position, does not have this one
    monkeypatch.setattr(MemorySource, "_rows_by_digests", lambda *_, **__: None)
    found = replace(search(X, y), program_size=48 * 4)
    assert found.direction is None
    assert not found.decided
    monkeypatch.setattr(separation_search, "MAX_PROGRAMS", 1)
    assert not search(X, y).decided


def test_rows_outside_the_span_of_others_are_found_in_many_blocks(monkeypatch):
    blocks = Limits(block_bytes=1, min_block_rows=8)
    monkeypatch.setattr(separation_search, "MIN_FIRST_ROWS", 20)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 5)), rng.integers(0, 2, 4000)
    for column, rows in ((3, [100, 2100]), (4, [900, 3900])):
        X[:, column] = 0.0
        X[rows, column] = [1.0, 2.0]
        y[rows] = [0, 1]
    found = search(X, y, limits=blocks)
    assert found.direction is None
    assert found.decided
    y[[100, 2100]] = 1
    assert search(X, y, limits=blocks).direction.columns(3, intercept=True) == ([3], 0)


def test_a_column_that_is_the_rounded_sum_of_others_hides_nothing():
    """A program with all columns has directions that cancel but for rounding, and may not be solved at all."""
    n_separated = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y = np.exp(4 * rng.normal(size=(24, 4))), rng.integers(0, 4, 24)
        X[:, 0] = 1e6 + rng.normal(size=24)
        X[:, 3] = y == 3 if seed % 2 else rng.integers(0, 2, 24)
        expected = search(X, y).direction is not None
        n_separated += expected
        for j in (0, 1):
            found = search(np.column_stack([X, X[:, j] + X[:, j + 1]]), y)
            assert (found.direction is not None) == expected
            assert found.decided
    assert 0 < n_separated < 5


def test_a_program_that_is_not_solved_decides_nothing(monkeypatch):
    X, y, n_rows = quasi()
    solve = separating_pairs._solved
    # without the simplest direction, that of the first program counts
    monkeypatch.setattr(rational_direction, "sparse_direction", lambda *_: None)
    assert search(X, y).direction.n_rows == n_rows
    attempts = []
    monkeypatch.setattr(separating_pairs, "_solved", lambda *given: attempts.append(given[-1]) or None)
    assert search(X, y).direction is None
    assert not search(X, y).decided
    assert len(set(attempts)) == 2
    # the second attempt is as good
    monkeypatch.setattr(separating_pairs, "_solved", lambda *given: None if given[-1] == 1e-7 else solve(*given))
    assert search(X, y).direction.n_rows == n_rows


def test_a_table_too_large_for_the_program_is_judged_by_a_step(limits):
    limits(fit_program_size=100, block_bytes=1, min_block_rows=8)
    X, y, n_rows = quasi()
    with pytest.warns(
        SeparationWarning, match=rf"seem to be separated in part: {n_rows} rows are moved by up to 1 nats"
    ):
        NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    X[np.flatnonzero(y == 1)[0], 1] = 1.0
    NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    # far from the optimum a step shows nothing
    with pytest.warns(ConvergenceWarning, match="max_iter=1 reached"):
        NaturalGradientLogisticRegression(C=np.inf, max_iter=1).fit(X, y)


@pytest.mark.parametrize("C", [1e9, 1e12])
@pytest.mark.parametrize("way", ["direct", "matrix-free"])
def test_a_penalty_that_hardly_penalises_is_told_where_rows_are_separated(C, way, limits):
    if way == "matrix-free":
        limits(direct_products=0.0)
    X, y, n_rows = quasi()
    message = rf"in part, {n_rows} rows along a direction of x1, and the penalty hardly penalises: .* and C=1e\+"
    with pytest.warns(SeparationWarning, match=message):
        model = NaturalGradientLogisticRegression(C=C).fit(X, y)
    with pytest.warns(InferenceWarning, match="x1 for 1, and the penalty, which alone keeps them finite, hardly"):
        infer(model, X, y)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_feature_without_a_penalty_is_separated_beside_others_that_have_one(n_classes):
    rng = np.random.default_rng(3)
    y = rng.integers(0, n_classes, 90)
    X = np.column_stack([rng.normal(size=90), y == 0, y == 1])
    X[::2, 1:] = 0.0
    model = NaturalGradientLogisticRegression(prior=(0.0, [1.0, 0.0, 1.0]))
    with pytest.warns(SeparationWarning, match="along a direction of x1: without a penalty these coefficients"):
        model.fit(X, y)
    with pytest.warns(InferenceWarning, match=r"along the direction .1 x1 for \d, so that the likelihood"):
        infer(model, X, y)
    NaturalGradientLogisticRegression(prior=(0.0, [0.0, 1.0, 1.0])).fit(X, y)
    # the intercept has a penalty too, so that no direction has it
    model = NaturalGradientLogisticRegression(prior=(0.0, [1.0, 0.0, 1.0, 1.0]))
    with pytest.warns(SeparationWarning, match="along a direction of x1: without"):
        model.fit(X + np.array([5.0, 0.0, 0.0]), y)


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4])
def test_a_column_that_is_not_separated_hides_no_weak_penalty(scale):
    """Its coefficient, and so its penalty, is large where its units are."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    y = (3 * z + rng.logistic(size=400) > 0).astype(int)
    X = np.column_stack([scale * z, (y == 0) & (rng.random(400) < 0.1)])
    with pytest.warns(SeparationWarning, match="of x1, and the penalty hardly penalises: .* C=1e"):
        NaturalGradientLogisticRegression(C=1e9).fit(X, y)
    with pytest.warns(SeparationWarning, match="of x1, and the penalty hardly penalises: .* the prior decides"):
        NaturalGradientLogisticRegression(prior=(0.0, [1.0, 1e-9])).fit(X, y)


@pytest.mark.parametrize(
    ("C", "scale", "weight"), [(1e-6, 1.0, 1.0), (1.0, 1e-4, 1.0), (1.0, 1.0, 1e-6), (1e9, 1e-4, 1.0)]
)
def test_a_strong_penalty_is_not_called_a_weak_one(C, scale, weight):
    """Coefficients near zero have a penalty near zero too."""
    X, y, _ = quasi()
    weights = np.full(len(y), weight)
    model = NaturalGradientLogisticRegression(C=C).fit(scale * X, y, weights)
    if weight == 1.0:
        # other weights are few observations
        infer(model, scale * X, y, sample_weight=weights)


@pytest.mark.parametrize("seed", range(12))
def test_no_ridge_fit_is_told_and_no_fit_that_has_an_optimum(seed):
    X, y = random_table(seed)
    X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    for C in (0.01, 1.0, 1e4) if is_separated(X, y) else (1e-2, 1.0, 1e9):
        assert not told(X, y, C=C)[0]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_direction_separates_rows_that_a_newton_step_moves_by_less_than_one_nat(n_classes):
    """At any coefficients, not only near an optimum; the shift of a separated table is 1 nat or more."""
    shifts = {True: [], False: []}
    for seed in range(60):
        X, y = random_table(seed)
        if y.max() + 1 != n_classes:
            continue
        X = X / np.where(X.any(axis=0), abs(X).max(axis=0), 1.0)
        theta = np.random.default_rng(seed).normal(size=(1 if n_classes == 2 else n_classes, X.shape[1] + 1))
        design = np.column_stack([X, np.ones(len(X))])
        logits = design @ theta.T
        logits = np.column_stack([np.zeros(len(X)), logits]) if n_classes == 2 else logits
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        proba /= proba.sum(axis=1, keepdims=True)
        scores = (proba - np.eye(n_classes)[y])[:, 1:]
        covariance = proba[:, 1:, None] * (np.eye(n_classes)[1:, 1:] - proba[:, None, 1:])
        fisher = np.einsum("ikl,ij,im->kjlm", covariance, design, design).reshape(scores.shape[1] * design.shape[1], -1)
        step = -np.linalg.lstsq(fisher, np.einsum("ik,ij->kj", scores, design).ravel(), rcond=1e-13)[0]
        step = step.reshape(-1, design.shape[1])
        step = step if n_classes == 2 else np.vstack([np.zeros(design.shape[1]), step])
        source = MemorySource(X, y.astype(np.intp), np.ones(len(y)), len(theta))
        statistics = source.total(StepKernel(theta, step))
        shifts[is_separated(X, y)].append(statistics.max_shift)
    assert min(shifts[True]) > 1 - 1e-6
    assert len(shifts[True]) > 3
    assert len(shifts[False]) > 3


def test_an_inexact_step_rules_out_only_what_its_error_allows():
    statistics = StepStatistics(max_shift=0.1, min_probability=1e-3, max_weight=1.0)
    assert statistics.rules_out_separation()
    assert statistics.rules_out_separation(1e-5)
    assert not statistics.rules_out_separation(1e-4)
    assert not statistics.rules_out_separation(np.inf)


def test_conjugate_gradients_that_miss_one_row_do_not_hide_it():
    """At the default `tol` the error of the step may exceed the decrease along the direction of one row."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 99))
    proba = np.exp(0.05 * X @ rng.normal(size=(99, 3)))
    y = ((proba / proba.sum(axis=1, keepdims=True)).cumsum(axis=1) < rng.random((3000, 1))).sum(axis=1)
    X = np.column_stack([X, np.arange(3000) == np.flatnonzero(y == 0)[0]])
    with pytest.warns(SeparationWarning, match="in part, 1 row along a direction of x99"):
        NaturalGradientLogisticRegression(C=np.inf).fit(X, y)


def test_signs_are_exact():
    rng = np.random.default_rng(0)
    rows = rng.integers(-3, 4, size=(200, 4)) * 10.0 ** rng.integers(-30, 30, size=(200, 1)) + rng.normal(size=(200, 4))
    rows[:50] = rng.integers(-2, 3, size=(50, 4)) * 0.1
    rows[50] = [5e-324, 0.0, 0.0, 0.0]
    rows[51] = [1e308, 1e308, 1e308, 1e308]
    for direction in ([1, 1, -1, -1], [Fraction(1, 3), 0, 0, -1], [0, 0, 0, 0], [Fraction(10) ** 400, 1, 1, 1]):
        exact = [sum(Fraction(x) * entry for x, entry in zip(row, direction, strict=True)) for row in rows.tolist()]
        expected = [(total > 0) - (total < 0) for total in exact]
        assert exact_signs(rows, [Fraction(entry) for entry in direction]).tolist() == expected


def test_the_exact_direction_is_orthogonal_to_rows_of_any_digits():
    """No simple ratio of entries is: the equations of the tied rows are solved in rational arithmetic."""
    rng = np.random.default_rng(1)
    tied = rng.normal(size=(3, 5))
    null = np.linalg.svd(tied)[2][3:]
    direction = null[0]
    pairs = np.vstack([tied, -tied, direction + 0.1 * null[1]])
    exact = exact_direction(pairs, direction)
    assert exact_signs(pairs, exact).tolist() == [0] * 6 + [1]
    np.testing.assert_allclose(np.array(exact, dtype=float), direction, atol=1e-12)
    # a row with the opposite sign
    assert exact_direction(np.vstack([pairs, -direction]), direction) is None
    # not even to within rounding
    assert exact_direction(np.array([[1.0], [-1.0]]), np.ones(1)) is None
    # rows of full rank: only 0 is orthogonal to all
    assert exact_direction(np.vstack([tied, null, null * -1]), direction) is None


def test_directions_that_cannot_be_made_exact_are_none(monkeypatch):
    """Too many equations, and tied rows of which one is not orthogonal to any direction near the given one."""
    tied = np.random.default_rng(1).normal(size=(3, 5))
    direction = np.linalg.svd(tied)[2][3]
    pairs = np.vstack([tied, -tied, direction])
    tilted = np.vstack([pairs, tied[0] - 1e-12 * direction, 1e-12 * direction - tied[0]])
    assert exact_direction(tilted, direction) is None
    monkeypatch.setattr(exact_arithmetic, "MAX_EQUATIONS", 2)
    assert exact_direction(pairs, direction) is None


def test_a_system_without_pivot_has_no_solution():
    one, two = Fraction(1), Fraction(2)
    assert exact_arithmetic._solved([[one, two], [two, 2 * two]], [one, one]) is None
    assert exact_arithmetic._solved([[Fraction(0), two], [one, one]], [one, one]) == [one / 2, one / 2]


def test_it_works_under_strict_floating_point():
    for seed in (0, 3, 5):
        X, y = random_table(seed)
        separated = is_separated(X, y)
        with np.errstate(all="raise"):
            assert told(X * 1e-200, y)[0] == separated
            assert told(X, y)[0] == separated


@pytest.mark.parametrize("n_present", [2, 3])
def test_classes_without_weight_are_no_classes(n_present):
    """Their intercepts have no optimum, and no feature is separated because of them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 2)), np.arange(120) % (n_present + 1)
    # the class in the middle
    weight = (y != 1).astype(float)
    rare = np.zeros(120)
    rare[np.flatnonzero(y == 0)[:3]] = 1.0
    for C in (np.inf, 1e9):
        model = NaturalGradientLogisticRegression(C=C).fit(X, y, sample_weight=weight)
        infer(model, X, y, sample_weight=weight)
    NaturalGradientLogisticRegression(C=np.inf, class_weight={1: 0.0}).fit(X, y)
    X = np.column_stack([X, rare])
    with pytest.warns(SeparationWarning, match="in part, 3 rows along a direction of x2: with C=inf"):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y, sample_weight=weight)
    with pytest.warns(InferenceWarning, match=r"in part, 3 rows along the direction .1 x2 for \d"):
        infer(model, X, y, sample_weight=weight)
    assert search(X, y, weight=(y == 1).astype(float)).decided
