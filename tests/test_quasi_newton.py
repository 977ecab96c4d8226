"""Quasi-Newton steps by the Fisher information of a sample: the same optimum, in fewer readings, or handed over."""

import numpy as np
import pytest
from problems import needs_callbacks
from scipy import linalg, sparse
from test_plan import raw_table, shape

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._model.prior import Prior
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import plan as plan_module
from sknatgrad._solver import quasi_newton
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.quasi_newton import QuasiNewtonMemory
from sknatgrad._solver.sampled_metric import sampled_metric
from sknatgrad.callbacks import FisherMonitor
from sknatgrad.exceptions import SeparationWarning

SAMPLED = {"min_sampled_values": 0, "min_rows_per_parameter": 4}
DIRECT = {"direct_products": np.inf, "min_sampled_values": np.inf}
# what takes over where a sample is of no use
FALLBACKS = {"a matrix": {"direct_products": np.inf, **SAMPLED}, "products": {"direct_products": 0.0, **SAMPLED}}


@pytest.fixture
def forced(monkeypatch, limits):
    """Let quasi-Newton steps pay on small tables, with a fallback of FALLBACKS."""

    def force(fallback="a matrix", *, pays=True):
        limits(**FALLBACKS[fallback])
        monkeypatch.setattr(plan_module, "_plane_search_pays", lambda _shape, _limits: False)
        monkeypatch.setattr(plan_module, "_quasi_newton_pays", lambda _shape, _sampled, *, direct: pays)  # noqa: ARG005

    return force


def normal_table(n_rows=4000, n_columns=8, seed=0):
    """Correlated normal columns and two classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns)) @ rng.normal(size=(n_columns, n_columns))
    return X, (X @ rng.normal(size=n_columns) / 4 + rng.logistic(size=n_rows) > 0.5).astype(int)


def rare_table():
    """Normal columns and an indicator that a sample of 500 rows has few rows of."""
    X, y = normal_table()
    X[:, -1] = np.arange(len(X)) % 400 == 0
    return X, y


def measured(monkeypatch):
    """Return the list to which each measurement of rows appends their number and the structure of its metric."""
    seen, total = [], MemorySource.total

    def counted(source, kernel):
        if isinstance(kernel, MeasureKernel):
            seen.append((len(source.codes), kernel.structure.__name__))
        return total(source, kernel)

    monkeypatch.setattr(MemorySource, "total", counted)
    return seen


def assert_same_coefficients(model, other, X):
    spread = X.std(axis=0)
    size = abs(other.coef_ * spread).max()
    np.testing.assert_allclose(model.coef_ * spread, other.coef_ * spread, rtol=0, atol=1e-8 * size)


@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sparse.csr_array])
@pytest.mark.parametrize("table", [raw_table, normal_table])
def test_the_coefficients_are_those_of_a_direct_fit(table, kind, C, fallback, forced, limits):
    X, y = raw_table(2) if table is raw_table else normal_table()
    limits(**DIRECT)
    direct = NaturalGradientLogisticRegression(C=C, tol=1e-15).fit(X, y)
    forced(fallback)
    model = NaturalGradientLogisticRegression(C=C, tol=1e-15).fit(kind(X), y)
    assert model.converged_
    assert_same_coefficients(model, direct, X)


@pytest.mark.parametrize("order", ["sorted by label", "by a column", "reversed"])
def test_the_order_of_rows_changes_nothing(order, forced):
    forced()
    X, y = normal_table()
    rows = {
        "sorted by label": np.argsort(y, kind="stable"),
        "by a column": np.argsort(X[:, 2]),
        "reversed": np.arange(len(y))[::-1],
    }[order]
    fits = [NaturalGradientLogisticRegression().fit(X[each], y[each]) for each in (slice(None), rows)]
    # the same sample, so the same path
    np.testing.assert_allclose(fits[0].coef_, fits[1].coef_, rtol=0, atol=1e-12 * abs(fits[0].coef_).max())


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_rows_with_many_equals_are_sampled_by_position(fallback, forced):
    """Equal rows have equal digests. Then the order changes the path, and the coefficients no more than before."""
    forced(fallback)
    X, y = normal_table(400)
    X, y = np.tile(X, (10, 1)), np.tile(y, 10)
    rows = np.random.default_rng(0).permutation(len(y))
    fits = [NaturalGradientLogisticRegression().fit(X[each], y[each]) for each in (slice(None), rows)]
    assert_same_coefficients(*fits, X)


def test_weights_and_class_weights_reach_the_sample(forced, limits):
    X, y = normal_table()
    weight = np.random.default_rng(0).integers(0, 4, size=len(y)).astype(float)
    limits(**DIRECT)
    direct = NaturalGradientLogisticRegression(class_weight="balanced", tol=1e-15).fit(X, y, weight)
    forced()
    model = NaturalGradientLogisticRegression(class_weight="balanced", tol=1e-15).fit(X, y, weight)
    assert_same_coefficients(model, direct, X)


def test_a_step_measures_no_matrix(forced, monkeypatch):
    forced()
    X, y = normal_table()
    seen = measured(monkeypatch)
    NaturalGradientLogisticRegression().fit(X, y)
    assert {structure for n_rows, structure in seen if n_rows == len(y)} == {"IdentityInformation"}
    # two readings each; with a sample of 56 rows a parameter
    assert sum(n_rows == len(y) for n_rows, _ in seen) <= 9


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_column_that_few_rows_of_a_sample_determine_is_fitted_as_without_it(fallback, forced):
    X, y = rare_table()
    models = []
    for pays in (True, False):
        forced(fallback, pays=pays)
        models.append(NaturalGradientLogisticRegression().fit(X, y))
    assert models[0].loss_curve_ == models[1].loss_curve_
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("constant", ["SLOW", "MAX_CONTRACTION"])
def test_a_slow_descent_is_handed_over(constant, fallback, forced, limits, monkeypatch):
    """After the first step, or before it."""
    X, y = normal_table()
    limits(**DIRECT)
    direct = NaturalGradientLogisticRegression(tol=1e-15).fit(X, y)
    forced(fallback)
    monkeypatch.setattr(quasi_newton, constant, 0.0)
    seen = measured(monkeypatch)
    model = NaturalGradientLogisticRegression(tol=1e-10 if constant == "MAX_CONTRACTION" else 1e-8).fit(X, y)
    assert model.converged_
    if fallback == "a matrix":
        assert (len(y), "DenseInformation") in seen
    if constant == "SLOW" or fallback == "a matrix":
        assert_same_coefficients(model, direct, X)


def test_collinear_columns_are_handed_over(forced, limits):
    X, y = normal_table()
    X = np.column_stack([X, X[:, 0]])
    forced()
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    assert model.converged_
    np.testing.assert_allclose(model.coef_[0, 0], model.coef_[0, -1], rtol=1e-8)


def test_separated_rows_are_told(forced):
    X = normal_table()[0]
    forced()
    separated = (X[:, 0] > 0).astype(int)
    with pytest.warns(SeparationWarning):
        NaturalGradientLogisticRegression(C=np.inf).fit(X, separated)
    assert NaturalGradientLogisticRegression().fit(X, separated).converged_


def test_a_warm_start_takes_the_metric_where_it_starts(forced, monkeypatch):
    forced()
    X, y = normal_table()
    model = NaturalGradientLogisticRegression(warm_start=True).fit(X, y)
    coef = model.coef_
    seen = measured(monkeypatch)
    model.set_params(C=0.99).fit(X, y)
    assert set(seen) == {(len(y), "IdentityInformation")}
    assert 0.0 < abs(model.coef_ - coef).max() < 0.01


@needs_callbacks
def test_callbacks_see_the_exact_decrement_and_matrix(forced):
    forced()
    X, y = normal_table()
    monitor = FisherMonitor()
    NaturalGradientLogisticRegression().set_callbacks(monitor).fit(X, y)
    decrements = [row["decrement"] for row in monitor.records_]
    assert all(np.isfinite(decrements))
    assert decrements[-1] < 1e-3 * decrements[0]


def test_solving_is_that_of_the_updated_matrix():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    metric, hessian = root @ root.T + np.eye(5), np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
    damping = np.full(5, 0.1)
    memory, updated = QuasiNewtonMemory(), metric + np.diag(damping)
    # of no positive curvature
    memory.learn(np.ones((1, 5)), -np.ones((1, 5)))
    for move in rng.normal(size=(3, 5)):
        memory.learn(move[None], (hessian @ move)[None])
        image = (hessian + np.diag(damping)) @ move
        before = updated @ move
        updated = updated - np.outer(before, before) / (move @ before) + np.outer(image, image) / (move @ image)
    gradient = rng.normal(size=(1, 5))
    precision = DenseInformation(metric.reshape(1, 5, 1, 5)).precision(damping)
    solution = memory.solve(gradient, precision, damping)
    np.testing.assert_allclose(solution[0], linalg.solve(updated, gradient[0]), rtol=1e-10)


def test_another_step_from_the_same_point_is_no_sign_of_slowness():
    memory, point = QuasiNewtonMemory(), object()
    memory.begin(point, 1.0, damped=False)
    memory.begin(point, 1.0, damped=True)
    assert memory.usable
    memory.begin(object(), 1.0, damped=False)
    assert memory.usable  # after a damped step
    memory.begin(object(), 1.0, damped=False)
    assert not memory.usable


def sample_of(X):
    return MemorySource(X, np.zeros(len(X), dtype=int), np.ones(len(X)))


@pytest.mark.parametrize("correlated", [False, True])
def test_the_expected_contraction_is_that_of_the_metric(correlated):
    """Of n rows, d / n of a relative error of the matrix: here of ¼ XᵀX, whose expectation is known."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(10, 10)) if correlated else np.eye(10)
    X = rng.normal(size=(2000, 10)) @ root
    metric = sampled_metric(sample_of(X), np.zeros((1, 10)), Prior(np.full(10, 1e-9)))
    expected = 500.0 * root.T @ root
    error = linalg.solve(metric.information.dense(), expected - metric.information.dense())
    # the trace of the square is the sum of the squared relative errors
    actual = np.trace(error @ error) / 10
    assert metric.contraction == pytest.approx(11 / 2000, rel=0.4)
    # the matrix of independent columns is shrunk, so its error is less
    assert actual < 0.5 * metric.contraction if not correlated else actual == pytest.approx(metric.contraction, rel=0.5)


def test_a_nearly_singular_metric_is_not_shrunk():
    """Indicators of all classes add up to the column of ones: shrinking would add curvature where there is none."""
    rng = np.random.default_rng(0)
    X = np.eye(10)[rng.integers(10, size=500)]
    metric = sampled_metric(sample_of(X), np.zeros((1, 11)), Prior(np.append(np.full(10, 1e-3), 0.0)))
    sums = np.append(X, np.ones((500, 1)), axis=1)
    np.testing.assert_allclose(metric.information.dense(), 0.25 * sums.T @ sums, rtol=1e-12, atol=1e-12)


def test_a_metric_that_half_of_the_rows_do_not_determine_is_infinitely_uncertain():
    X = np.zeros((50, 2))
    X[:, 0], X[3, 1] = 1.0, 1.0
    assert sampled_metric(sample_of(X), np.zeros((1, 2)), Prior(np.zeros(2))).contraction == np.inf


@pytest.mark.parametrize(
    ("case", "pays"),
    [
        (shape(100_000, 1, 21), True),
        (shape(100_000, 1, 101), True),
        (shape(10**6, 1, 201), True),
        (shape(12_000, 1, 26), True),
        (shape(5_000, 1, 31), False),  # small: a pass costs no more than the Python around it
        (shape(12_000, 1, 26)._replace(centred=True), False),  # the path depends on the order: as many passes again
        (shape(20_000, 1, 1_001), False),  # too few rows for a sample
        (shape(100_000, 3, 21), False),  # several logits
        (shape(100_000, 1, 21)._replace(out_of_core=True), False),  # direct, each pass reads the rows again
        (shape(2 * 10**6, 1, 5_001)._replace(out_of_core=True, sample_bytes=2**34), True),  # each product would
    ],
)
def test_where_quasi_newton_steps_pay(case, pays):
    assert choose_plan("true", case).quasi_newton is pays


def test_verbose_says_why(capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40_000, 20))
    y = (X[:, 0] + rng.logistic(size=40_000) > 0).astype(int)
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    out = capsys.readouterr().out
    assert "metric 'true': quasi-Newton by that of 5,000 rows, about" in out
    assert "ms; a matrix at each point would cost" in out
    assert "updates of the metric of a sample" in out


def test_the_last_step_is_not_measured_where_it_only_corrects(forced, monkeypatch):
    forced()
    X, y = normal_table(20_000)
    seen = measured(monkeypatch)
    model = NaturalGradientLogisticRegression().fit(X, y)
    n_points = sum(n_rows == len(y) for n_rows, _ in seen)
    # the start and each step, but the last
    assert n_points == model.n_iter_[0] == len(model.loss_curve_) - 1
    losses = np.logaddexp(0.0, (1 - 2 * y) * model.decision_function(X))
    loss = (losses.sum() + 0.5 * np.square(model.coef_).sum()) / len(y)
    # by the quadratic model
    assert model.loss_curve_[-1] == pytest.approx(loss, rel=1e-10)
    assert model.kl_curve_[-1] > 0.0
