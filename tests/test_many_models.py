"""Several models in one reading of the rows: their sums, and their descents together."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._model import many_models
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.layout import fitted_theta, prior_precision
from sknatgrad._model.many_models import (
    GroupKernel,
    ManyInformationKernel,
    ManyMeasureKernel,
    PointsKernel,
    ScoreKernel,
)
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.training_sets import CountedSets, RowGroups, StoredNumbers
from sknatgrad._solver.many_models import Ending, ManyModels, Start, descend_together
from sknatgrad._solver.path import Path

SMALL_BLOCKS = Limits()._replace(block_bytes=2**12, min_block_rows=7)


def problem(n_classes=2, n_rows=200, *, stored_sparse=False, seed=0):
    """Rows, and five training sets: all rows, two folds, weights of 0 to 2, and other weights of the classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4)) * (rng.random((n_rows, 4)) < 0.6)
    codes = (X[:, :1] + rng.logistic(size=(n_rows, n_classes))).argmax(axis=1)
    counts = np.ones((5, n_rows), dtype=np.uint8)
    counts[1, ::2], counts[2, 1::2], counts[3] = 0, 0, rng.integers(3, size=n_rows)
    factors = np.ones((5, n_classes))
    factors[4] = rng.random(n_classes) + 0.5
    sets = CountedSets(counts, factors)
    X = sparse.csr_array(X) if stored_sparse else X
    return MemorySource(X, codes, rng.exponential(size=n_rows), max(n_classes, 2), limits=SMALL_BLOCKS), sets


def of_set(source, sets, number):
    """Return the rows of one training set, as a source of its own."""
    weight = source.weight * sets.counts[number] * sets.factors[number][source.codes]
    return MemorySource(source.X, source.codes, weight, source.n_logits)


def thetas(n_classes, n_models=5, seed=1):
    n_logits = 1 if n_classes == 2 else n_classes
    return np.random.default_rng(seed).normal(size=(n_logits, n_models, 5))


@pytest.mark.parametrize("stored_sparse", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_sums_of_each_model_are_those_of_its_own_rows(n_classes, stored_sparse):
    source, sets = problem(n_classes, stored_sparse=stored_sparse)
    assert len(source._blocks) > 1
    theta, numbers = thetas(n_classes), np.arange(5)
    sums = source.total(ManyMeasureKernel(theta, sets, numbers))
    matrices = source.total(ManyInformationKernel(theta, sets, numbers))
    for number in numbers:
        kernel = MeasureKernel(theta[:, number], TrueExpectation(), DenseInformation)
        expected = of_set(source, sets, number).total(kernel)
        assert sums.loss[number] == pytest.approx(expected.loss, rel=1e-13)
        np.testing.assert_allclose(sums.gradient[:, number], expected.gradient, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(matrices[number].dense(), expected.information.dense(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_at_several_points_are_those_at_each(weighted, intercept):
    source, _ = problem()
    weight = source.weight * (np.arange(200) % 3 > 0) if weighted else np.ones(200)
    source = replace(source, weight=weight)
    theta = 3.0 * thetas(2)[:, :, : 4 + intercept]
    points = source.total(PointsKernel(theta)).of_each()
    for place, sums in enumerate(points):
        expected = source.total(MeasureKernel(theta[:, place], TrueExpectation(), DenseInformation))
        assert sums.loss == pytest.approx(expected.loss, rel=1e-13)
        assert sums.weight == pytest.approx(expected.weight, rel=1e-14)
        assert sums.max_loss == pytest.approx(expected.max_loss, rel=1e-13)
        np.testing.assert_allclose(sums.gradient, expected.gradient, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(sums.information.dense(), expected.information.dense(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stored_sparse", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_block_is_measured_for_models_whose_sets_have_rows_in_it(n_classes, stored_sparse, weighted, monkeypatch):
    source, _ = problem(n_classes, n_rows=210, stored_sparse=stored_sparse)
    source = replace(source, limits=Limits()._replace(block_bytes=1, min_block_rows=7))
    if not weighted:
        source = replace(source, weight=np.ones(210))
    fold = np.arange(210) // 70
    counts = np.stack([fold != number for number in range(3)]).astype(np.uint8)
    sets, numbers, theta = CountedSets(counts, np.ones((3, n_classes))), np.array([2, 0, 1, 0, 2]), thetas(n_classes)
    measured, predictions = [], many_models.predictions

    def counted(block, theta):
        measured.append(block.codes.size * theta.shape[1])
        return predictions(block, theta)

    monkeypatch.setattr(many_models, "predictions", counted)
    sums = source.total(ManyMeasureKernel(theta, sets, numbers))
    # one block lies in two folds
    assert 140 * 5 <= sum(measured) <= 140 * 5 + 2 * max(stop - start for start, stop in source._bounds) * 2
    matrices = source.total(ManyInformationKernel(theta, sets, numbers))
    for place, number in enumerate(numbers):
        kernel = MeasureKernel(theta[:, place], TrueExpectation(), DenseInformation)
        expected = of_set(source, sets, number).total(kernel)
        assert sums.loss[place] == pytest.approx(expected.loss, rel=1e-13)
        np.testing.assert_allclose(sums.gradient[:, place], expected.gradient, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(matrices[place].dense(), expected.information.dense(), rtol=1e-11, atol=1e-12)


def test_a_block_of_one_group_is_not_copied():
    source, _ = problem(n_rows=28)
    source = replace(source, limits=Limits()._replace(block_bytes=1, min_block_rows=7))
    seen = []

    class Blocks:
        def __call__(self, block):
            seen.append(block.X)
            return 0

        def merge(self, left, right):
            return 0

    source.total(GroupKernel(Blocks(), RowGroups(StoredNumbers(np.arange(28) // 14), np.eye(2))))
    assert len(seen) == 4
    assert all(np.shares_memory(X, source.X) for X in seen)


@pytest.mark.parametrize("stored_sparse", [False, True])
def test_sums_of_groups_add_up_to_those_of_training_sets(stored_sparse):
    source, sets = problem(3, stored_sparse=stored_sparse)
    # the weights of classes differ in the last
    assert sets.grouped() is None
    folds = CountedSets(sets.counts[:3], sets.factors[:3])
    groups = folds.grouped()
    assert groups.size == 2
    theta = thetas(3)[:, 0]
    sums = Path(source, groups, np.ones(groups.size)).measure(theta)
    for number in range(3):
        of_groups = sums.weighted(groups.counts[number])
        expected = of_set(source, sets, number).total(MeasureKernel(theta, TrueExpectation(), DenseInformation))
        assert of_groups.loss == pytest.approx(expected.loss, rel=1e-13)
        np.testing.assert_allclose(of_groups.gradient, expected.gradient, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(of_groups.information.dense(), expected.information.dense(), rtol=1e-11, atol=1e-12)


def test_a_group_without_rows_in_some_blocks():
    source, _ = problem(n_rows=60)
    numbers = np.zeros(60, dtype=np.intp)
    numbers[-3:] = 1
    theta = thetas(2)[:, 0]
    path = Path(source, RowGroups(StoredNumbers(numbers), np.ones((1, 2))), np.ones(2))
    sums, kernel = path.measure(theta), MeasureKernel(theta, TrueExpectation(), DenseInformation)
    last = MemorySource(source.X[-3:], source.codes[-3:], source.weight[-3:]).total(kernel)
    assert sums.loss[1] == pytest.approx(last.loss, rel=1e-13)
    assert sums.weight.sum() == pytest.approx(source.weight.sum(), rel=1e-13)
    # a group of no rows at all counts nothing
    empty = Path(source, RowGroups(StoredNumbers(np.zeros(60, dtype=np.intp)), np.ones((1, 2))), np.ones(2)).measure(
        theta
    )
    assert empty.loss[1] == 0.0
    assert not empty.information[1].any()


def test_many_patterns_of_counts_are_not_grouped():
    counts = np.random.default_rng(0).integers(2, size=(4, 300)).astype(np.uint8)
    assert CountedSets(counts, np.ones((4, 2))).grouped() is None


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores(n_classes):
    source, _ = problem(n_classes)
    theta = thetas(n_classes)
    theta[:, 0] *= 100.0
    sums = source.total(ScoreKernel(theta, (1e-3, 5.0)))
    design = np.column_stack([source.X, np.ones(len(source.X))])
    for number in range(5):
        logits = design @ theta[:, number].T
        logits = np.hstack([np.zeros_like(logits), logits]) if n_classes == 2 else logits
        log_proba = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        own = -log_proba[np.arange(len(design)), source.codes]
        assert sums.loss[number] == pytest.approx(source.weight @ np.clip(own, 1e-3, 5.0), rel=1e-12)
        assert sums.correct[number] == pytest.approx(source.weight @ (logits.argmax(axis=1) == source.codes), rel=1e-12)


def many(source, sets, Cs):
    """Return the models of each training set at each C, a start for all, and the factors of all rows there."""
    n_sets = len(sets.counts)
    numbers = np.tile(np.arange(n_sets), len(Cs))
    precisions = [prior_precision(C, 4, intercept=True) for C in Cs]
    models = ManyModels(source, sets, numbers, np.repeat(precisions, n_sets, axis=0))
    n_logits = source.n_logits if source.n_logits > 2 else 1
    start = np.zeros((n_logits, numbers.size, 5))
    path = Path(source, RowGroups.single(), np.ones(1))
    sums = path.measure(start[:, 0]).weighted(np.ones(1))
    return models, start, [sums.penalised(precision).factor for precision in models.precision]


# Newton steps only, or as few as possible
@pytest.mark.parametrize("steps_per_matrix", [0.0, np.inf])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_models_end_where_single_fits_end(n_classes, steps_per_matrix):
    source, sets = problem(n_classes)
    Cs = [0.1, 1.0, 10.0]
    models, start, factors = many(source, sets, Cs)
    ended = descend_together(models, [Start(start)], factors, Ending(1e-20, steps_per_matrix))
    assert ended.converged.all()
    for place, number in enumerate(models.numbers):
        rows = of_set(source, sets, number)
        C = Cs[place // len(sets.counts)]
        single = NaturalGradientLogisticRegression(C=C, tol=1e-14).fit(rows.X, rows.codes, rows.weight)
        expected = fitted_theta(single, intercept=True)[0]
        np.testing.assert_allclose(ended.theta[:, place], expected, rtol=0, atol=1e-8 * abs(expected).max())


def test_a_matrix_is_computed_where_chord_steps_are_slow(monkeypatch):
    source, sets = problem()
    models, start, factors = many(source, sets, [1.0])
    computed, method = [], ManyModels.factors
    monkeypatch.setattr(ManyModels, "factors", lambda *arguments: computed.append(1) or method(*arguments))
    assert descend_together(models, [Start(start)], factors, Ending(1e-3, 6.0)).converged.all()
    assert not computed
    # steps of a quarter of their length
    sums = Path(source, RowGroups.single(), np.ones(1)).measure(start[:, 0]).weighted(np.ones(1))
    factors = [sums.information.scaled(4.0).precision(precision) for precision in models.precision]
    assert descend_together(models, [Start(start)], factors, Ending(1e-17, 6.0)).converged.all()
    assert computed


def test_a_model_without_an_optimum_is_left():
    # one class in the second half of the rows, where the intercept has no optimum; the first half has both
    source, sets = problem()
    source.codes[1::2] = 0
    models, start, factors = many(source, CountedSets(sets.counts[:3], sets.factors[:3]), [1.0])
    ended = descend_together(models, [Start(start)], factors, Ending(1e-17, 6.0))
    np.testing.assert_array_equal(ended.converged, [True, False, True])


def test_values_that_are_not_finite_end_a_descent():
    source, sets = problem()
    models, start, factors = many(source, sets, [1.0])
    start[0, 2] = np.inf
    ended = descend_together(models, [Start(start)], factors, Ending(1e-17, 6.0))
    np.testing.assert_array_equal(ended.converged, [True, True, False, True, True])


def test_groups_of_one_block_in_one_call():
    source, _ = problem()
    whole = MemorySource(source.X, source.codes, source.weight)
    kernel = GroupKernel(MeasureKernel(thetas(2)[:, 0], TrueExpectation(), DenseInformation), RowGroups.single())
    (single,) = whole.total(kernel)
    assert single.loss == whole.total(kernel.kernel).loss
