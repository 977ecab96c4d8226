"""Samples of a sparse X by the influence of its rows, and the fits that take their metric from one."""

import numpy as np
import pytest
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.prior import Prior
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import plan as plan_module
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.warm_up import column_squares


def one_hot(n_rows=24_000, scale=1.0, seed=0):
    """Four categories of 8, whose rarest values have a few rows, and eight numbers; two classes."""
    rng = np.random.default_rng(seed)
    share = 3.0 ** -np.arange(8)
    codes = [rng.choice(8, size=n_rows, p=share / share.sum()) for _ in range(4)]
    X = np.hstack([np.eye(8)[each] for each in codes] + [rng.lognormal(size=(n_rows, 8))])
    logits = X @ rng.normal(size=40) - 1.0
    X[:, :32] *= scale ** np.tile(np.arange(8) / 8.0, 4)
    return sparse.csr_array(X), (rng.logistic(size=n_rows) < logits).astype(int)


def test_a_sample_by_influence_has_the_rows_of_rare_values():
    X, y = one_hot()
    weight = np.random.default_rng(1).uniform(0.5, 2.0, y.size)
    weight[::7] = 0.0
    X = sparse.csr_array(sparse.hstack([X, np.arange(y.size)[:, None] < 5]))
    source = MemorySource(X.astype(np.float64), y, weight)
    sample, again = source.sample(3000), source.sample(3000)
    np.testing.assert_array_equal(sample.X.toarray(), again.X.toarray())
    assert 2000 < sample.codes.size < 3300
    assert (sample.weight > 0).all()
    for k in range(2):
        assert sample.weight[sample.codes == k].sum() == pytest.approx(weight[y == k].sum())
    # the first five rows, less the one without weight
    assert sample.X.toarray()[:, -1].sum() == 4


def test_columns_of_a_sample_by_influence_have_the_variance_that_the_metric_relies_on():
    X, y = one_hot(6000)
    X = X[:, np.flatnonzero(X.sum(axis=0))]
    squares = X.power(2).sum(axis=0)
    # a tiny change of all values gives other samples
    samples = [MemorySource(X * (1.0 + seed * 1e-12), y, np.ones(y.size)).sample(1000) for seed in range(40)]
    errors = np.array([sample.X.power(2).T @ sample.weight / squares - 1.0 for sample in samples])
    assert ((errors**2).mean(axis=0) < 1.5 * 2.0 * 42 / 1000).all()
    assert abs(errors.mean(axis=0)).max() < 0.25


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_sparse_fits_take_the_metric_from_a_sample_and_reach_the_same_optimum(scale):
    X, y = one_hot(scale=scale)
    plan = choose_plan("true", Shape.of(X, 1, 41))
    assert plan.quasi_newton
    assert plan.sample_plans[-1].float32_metric
    order = np.random.default_rng(0).permutation(y.size)
    model = NaturalGradientLogisticRegression().fit(X, y)
    permuted = NaturalGradientLogisticRegression().fit(X[order], y[order])
    exact = NaturalGradientLogisticRegression(tol=1e-12).fit(X.toarray(), y)
    size = abs(exact.coef_).max()
    np.testing.assert_allclose(permuted.coef_, model.coef_, rtol=0, atol=1e-8 * size)
    # 1e-11 of the loss is left
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_other_types_of_a_sparse_table_give_the_same_coefficients(dtype, limits):
    limits(min_sampled_values=2**10)
    X, y = one_hot(12_000)
    X = X[:, :32]
    expected = NaturalGradientLogisticRegression().fit(X, y)
    found = NaturalGradientLogisticRegression().fit(X.astype(dtype), y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-9)


def test_many_columns_do_not_take_their_metric_from_a_sample():
    """F of a sample costs more than products with few values in a row."""
    assert not choose_plan("true", Shape(10**6, 1, 2001, 11.0)).quasi_newton
    assert choose_plan("true", Shape(50_000, 1, 109, 13.0)).quasi_newton


def test_sparse_fits_without_a_penalty_take_no_metric_from_a_sample(limits):
    """The coefficient of a rare value then has no finite optimum if its rows are of one class."""
    limits(min_sampled_values=2**10)
    X, y = one_hot(12_000)
    # one value of each category is the reference, and the rarest are left out
    X = X[:, [8 * category + value for category in range(4) for value in range(1, 4)]]
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    reference = NaturalGradientLogisticRegression(C=np.inf, tol=1e-12).fit(X.toarray(), y)
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=0, atol=1e-6)


def test_dense_columns_with_few_entries_are_sampled_by_influence(monkeypatch):
    """A uniform sample is drawn again if it has few rows of some column."""
    X, y = one_hot()
    drawn, sample = [], MemorySource.sample

    def recorded(source, n_rows, *, by_influence=False):
        drawn.append(by_influence)
        return sample(source, n_rows, by_influence=by_influence)

    monkeypatch.setattr(MemorySource, "sample", recorded)
    monkeypatch.setattr(plan_module, "_plane_search_pays", lambda _shape, _limits: False)
    monkeypatch.setattr(plan_module, "_quasi_newton_pays", lambda _shape, _sampled, *, direct: True)  # noqa: ARG005
    model = NaturalGradientLogisticRegression().fit(X.toarray(), y)
    assert drawn.count(True) == 1
    assert model.n_iter_[0] < 12
    exact = NaturalGradientLogisticRegression(tol=1e-12).fit(X, y)
    size = abs(exact.coef_).max()
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=1e-5 * size)
    order = np.random.default_rng(0).permutation(y.size)
    permuted = NaturalGradientLogisticRegression().fit(X.toarray()[order], y[order])
    np.testing.assert_allclose(permuted.coef_, model.coef_, rtol=0, atol=1e-8 * size)
    # without a penalty, rare values may be separated
    drawn.clear()
    NaturalGradientLogisticRegression(C=np.inf).fit(X.toarray()[:, 32:], y)
    assert True not in drawn


def test_columns_that_a_sample_determines_are_not_sampled_by_influence():
    source = MemorySource(np.random.default_rng(0).normal(size=(1000, 3)), np.arange(1000) % 2, np.ones(1000))
    plan = choose_plan("true", Shape(10**5, 1, 4, 4.0))
    objective = make_objective(source, Prior(np.ones(4)), plan)
    assert not objective.redraws(column_squares(source, 4))
    assert objective.accepts(column_squares(source, 4))
    source.X[:, 0] = np.arange(1000) < 5
    assert objective.redraws(column_squares(source, 4))
    assert objective.accepts(column_squares(source, 4))
    # once only
    assert not objective.redraws(column_squares(source, 4))
    for squares in (np.full((2, 4), np.inf), np.full((2, 4), np.nan)):
        other = make_objective(source, Prior(np.ones(4)), plan)
        assert not other.redraws(squares)
        other.accepts(squares)
        assert not other.memory.usable
