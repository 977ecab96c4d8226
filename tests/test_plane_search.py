"""The loss minimised over planes: the same optimum in fewer readings for any order of the rows, or handed over."""

import numpy as np
import pytest
from problems import needs_callbacks
from scipy import optimize, sparse
from test_plan import shape

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DiagonalInformation, IdentityInformation
from sknatgrad._model.kernels import FisherProductKernel, MeasureKernel
from sknatgrad._model.plane_kernels import CurvatureKernel, LikelihoodKernel, LogitsKernel, TransposedProductKernel
from sknatgrad._model.prior import Prior
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import plan as plan_module
from sknatgrad._solver import plane_search
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.penalised_loss import PenalisedLoss
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.plane_search import KnownPoint, Plane, PlaneSearchMemory, rows_by_logit
from sknatgrad.callbacks import FisherMonitor

DIRECT = {"direct_products": np.inf, "min_sampled_values": np.inf}
FREE = {"direct_products": 0.0, "min_sampled_values": 0}


def table(n_rows=2000, n_columns=20, seed=0):
    """Independent columns of scales from 1e-2 to 1e2, and two classes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns))
    y = (X @ rng.normal(size=n_columns) / 2 + rng.logistic(size=n_rows) > 0.5).astype(int)
    return X * np.geomspace(1e-2, 1e2, n_columns), y


def dummies(n_rows=4000):
    """Indicators of all categories: their sum is the column of ones, which only the penalty tells apart."""
    rng = np.random.default_rng(0)
    X = np.hstack([np.eye(6)[rng.integers(6, size=n_rows)] for _ in range(3)])
    return X, (X @ rng.normal(size=18) + rng.logistic(size=n_rows) > 0).astype(int)


def kernels(monkeypatch):
    """Return the list of the kernels that are applied to rows."""
    seen, total = [], MemorySource.total
    monkeypatch.setattr(MemorySource, "total", lambda source, kernel: seen.append(kernel) or total(source, kernel))
    return seen


def without_search(monkeypatch):
    monkeypatch.setattr(plan_module, "_plane_search_pays", lambda _shape, _limits: False)


def assert_same_coefficients(model, other, X, tol=1e-8):
    spread = X.std(axis=0)
    size = abs(other.coef_ * spread).max()
    np.testing.assert_allclose(model.coef_ * spread, other.coef_ * spread, rtol=0, atol=tol * size)


def test_columns_far_from_zero_are_centred(limits):
    X, y = table()
    X[:, 3] += 1e4
    models = []
    for settings in (DIRECT, FREE):
        limits(**settings)
        models.append(NaturalGradientLogisticRegression().fit(X, y))
    assert_same_coefficients(models[1], models[0], X)
    other = NaturalGradientLogisticRegression().fit(X[::-1], y[::-1])
    assert_same_coefficients(other, models[1], X)


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sparse.csr_array, np.float32])
def test_the_coefficients_are_those_of_a_direct_fit(kind, C, limits, monkeypatch):
    X, y = table()
    limits(**DIRECT)
    direct = NaturalGradientLogisticRegression(C=C, tol=1e-15).fit(kind(X), y)
    limits(**FREE)
    seen = kernels(monkeypatch)
    model = NaturalGradientLogisticRegression(C=C, tol=1e-15).fit(kind(X), y)
    assert model.converged_
    assert any(isinstance(kernel, LogitsKernel) for kernel in seen)
    assert_same_coefficients(model, direct, X, 1e-6 if kind is np.float32 else 1e-8)


def test_weights_and_class_weights_count(limits):
    X, y = table()
    weight = np.random.default_rng(0).integers(0, 4, size=len(y)).astype(float)
    models = []
    for settings in (DIRECT, FREE):
        limits(**settings)
        models.append(NaturalGradientLogisticRegression(class_weight="balanced", tol=1e-15).fit(X, y, weight))
    assert_same_coefficients(models[1], models[0], X)


def test_the_order_of_rows_changes_nothing(limits):
    """At the default `tol`: all orders take the same path, and leave the same error."""
    limits(**FREE)
    X, y = table()
    base = NaturalGradientLogisticRegression().fit(X, y)
    for rows in (np.argsort(y, kind="stable"), np.argsort(X[:, 2]), np.arange(len(y))[::-1]):
        assert_same_coefficients(NaturalGradientLogisticRegression().fit(X[rows], y[rows]), base, X, 1e-10)


def test_a_step_reads_the_rows_twice(limits, monkeypatch):
    limits(**FREE, block_bytes=2**18)
    X, y = table(n_rows=20_000)
    seen = kernels(monkeypatch)
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert not any(isinstance(kernel, FisherProductKernel) for kernel in seen)
    # the gradient at zero; then each step adds its own logits, and a gradient from known ones
    assert sum(isinstance(kernel, MeasureKernel) for kernel in seen) == 1
    assert sum(isinstance(kernel, TransposedProductKernel) for kernel in seen) == model.n_iter_[0]
    assert sum(isinstance(kernel, LogitsKernel) for kernel in seen) == model.n_iter_[0]
    # with the diagonal at zero
    assert 2 * model.n_iter_[0] + 2 <= 12
    assert model.loss_curve_ == sorted(model.loss_curve_, reverse=True)


def test_singular_columns_are_fitted_as_without_a_search(limits, monkeypatch):
    limits(**FREE)
    X, y = dummies()
    model = NaturalGradientLogisticRegression().fit(X, y)
    without_search(monkeypatch)
    other = NaturalGradientLogisticRegression().fit(X, y)
    assert model.loss_curve_ == other.loss_curve_
    np.testing.assert_array_equal(model.coef_, other.coef_)


def test_columns_near_the_bound_are_refused_by_rows_that_the_order_does_not_change(limits, monkeypatch):
    limits(**FREE)
    X, y = table()
    monkeypatch.setattr(plane_search, "MIN_EIGENVALUE", 0.3)
    seen = kernels(monkeypatch)
    assert NaturalGradientLogisticRegression().fit(X, y).converged_
    assert sum(isinstance(kernel, LogitsKernel) for kernel in seen) == 1
    assert any(isinstance(kernel, FisherProductKernel) for kernel in seen)


def test_a_slow_search_is_handed_over(limits, monkeypatch):
    limits(**FREE)
    X, y = table()
    direct = NaturalGradientLogisticRegression(tol=1e-15).fit(X, y)
    begin = PlaneSearchMemory.begin

    def impatient(memory, measured, decrement, *, damped):
        memory.slow = 0.0
        begin(memory, measured, decrement, damped=damped)

    monkeypatch.setattr(PlaneSearchMemory, "begin", impatient)
    seen = kernels(monkeypatch)
    model = NaturalGradientLogisticRegression(tol=1e-15).fit(X, y)
    assert any(isinstance(kernel, FisherProductKernel) for kernel in seen)
    assert_same_coefficients(model, direct, X)


def test_values_that_are_not_finite_are_reported(limits):
    limits(**FREE)
    X, y = table()
    X[7, 2] = np.inf
    with pytest.raises(ValueError, match="infinity at row 7, column 2"):
        NaturalGradientLogisticRegression().fit(X, y)


def test_numbers_that_single_precision_cannot_hold_are_fitted_as_without_a_search(limits):
    limits(**FREE)
    X, y = table()
    models = [NaturalGradientLogisticRegression(C=np.inf, tol=1e-15).fit(scale * X, y) for scale in (1.0, 1e30)]
    np.testing.assert_allclose(1e30 * models[1].coef_, models[0].coef_, rtol=1e-6)


def test_the_iterations_may_run_out(limits):
    limits(**FREE)
    X, y = table()
    with pytest.warns(UserWarning, match="after 1 iteration"):
        model = NaturalGradientLogisticRegression(max_iter=1).fit(X, y)
    assert model.n_iter_[0] == 1


def test_a_warm_start_begins_where_the_last_fit_ended(limits):
    limits(**FREE)
    X, y = table()
    model = NaturalGradientLogisticRegression(warm_start=True, tol=1e-12).fit(X, y)
    coef = model.coef_
    model.fit(X, y)
    assert model.n_iter_[0] <= 1
    assert_same_coefficients(model, NaturalGradientLogisticRegression(tol=1e-12).fit(X, y), X, 1e-6)
    assert coef is not model.coef_


def test_columns_without_effect_end_at_zero(limits):
    limits(**FREE)
    X, _ = table()
    X = np.vstack([X, X])
    model = NaturalGradientLogisticRegression(fit_intercept=False).fit(X, np.arange(len(X)) // (len(X) // 2))
    assert model.converged_
    np.testing.assert_allclose(model.coef_, 0.0, atol=1e-10)


@needs_callbacks
def test_callbacks_see_the_decrement_and_the_matrix(limits):
    limits(**FREE)
    X, y = table()
    monitor = FisherMonitor()
    NaturalGradientLogisticRegression().set_callbacks(monitor).fit(X, y)
    decrements = [row["decrement"] for row in monitor.records_]
    assert decrements[-1] < 1e-4 * decrements[0]


@pytest.mark.parametrize("n_steps", [1, 2])
@pytest.mark.parametrize("size", [0.1, 8.0])
def test_the_minimum_over_the_plane_is_that_of_the_loss(n_steps, size, monkeypatch):
    """Far out too, where Newton's steps are much too long: halving finds the way back."""
    X, y = table(n_rows=300, n_columns=4)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    source, prior = MemorySource(X, y, np.ones(len(y))), Prior(np.full(4, 0.5))
    loss, theta = PenalisedLoss(source, prior), np.full((1, 4), size)

    def at(point):
        return loss.measure(point, IdentityInformation, TrueExpectation(), keep_scores=False)

    measured, logits = at(theta), X @ theta[0]
    variance = source.without_columns().total(LikelihoodKernel(logits)).variances[0]
    moves = np.random.default_rng(1).normal(size=(n_steps, 1, 4))
    steps = tuple(X @ move[0] for move in moves)
    plane = Plane(prior, source.without_columns(), measured, KnownPoint(theta, logits, variance), moves, steps)
    best = plane.minimum()
    end = at(theta + np.tensordot(best, moves, axes=1)).loss
    least = optimize.minimize(lambda c: at(theta + np.tensordot(c, moves, axes=1)).loss, np.zeros(n_steps), tol=1e-12)
    # a thousandth of the decrease may remain
    assert end - least.fun <= 2e-3 * (measured.loss - least.fun)
    monkeypatch.setattr(plane_search, "MAX_POINTS", 1)
    assert at(theta + np.tensordot(plane.minimum(), moves, axes=1)).loss <= measured.loss


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_known_logits_are_those_of_a_measurement(weighted):
    """In blocks of other sizes, of rows less their centres, and of a part of the data."""
    X, y = table(n_rows=3000, n_columns=4)
    X[:, 1] += 1e6
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 3, size=len(y)).astype(float) if weighted else np.broadcast_to(2.0, len(y))
    small = Limits(block_bytes=2**12, min_block_rows=16)
    source = MemorySource(X, y, weight, limits=small, first=100).centred()
    theta = rng.normal(size=(1, 5)) / 10
    labels = source.without_columns()
    assert len(labels._blocks) < len(source._blocks)
    logits = np.concatenate(source.total(LogitsKernel(theta)))
    np.testing.assert_allclose(logits, (X - source.centres) @ theta[0, :4] + theta[0, 4], rtol=1e-12)
    sums = labels.total(LikelihoodKernel(logits))
    whole = MemorySource(X, y, weight).centred()
    measured = whole.total(MeasureKernel(theta, TrueExpectation(), DiagonalInformation))
    np.testing.assert_allclose(
        [sums.loss, sums.weight, sums.max_loss], [measured.loss, measured.weight, measured.max_loss]
    )
    residual, variance = np.concatenate(sums.residuals), np.concatenate(sums.variances)
    whole_product = source.in_larger_blocks(2).total(TransposedProductKernel(residual, 5))
    np.testing.assert_allclose(whole_product, measured.gradient, rtol=1e-9, atol=1e-9 * abs(measured.gradient).max())
    other = rng.normal(size=len(y))
    curvature = labels.total(CurvatureKernel((logits, other), variance))
    steps = np.array([logits, other])
    np.testing.assert_allclose(curvature, (variance * steps) @ steps.T, rtol=1e-12)


def test_logits_are_known_at_points_and_at_the_end_of_the_last_step():
    base, move = np.zeros((1, 2)), np.ones((1, 2))
    memory = PlaneSearchMemory(points=[KnownPoint(base, np.zeros(3), np.ones(3))])
    assert memory.logits_at(base) is memory.points[0].logits
    assert memory.logits_at(move) is None
    memory.previous = move, np.ones(3)
    np.testing.assert_array_equal(memory.logits_at(move * (1 + 1e-15)), np.ones(3))
    assert memory.logits_at(2 * move) is None


@pytest.mark.parametrize("fallback", ["products", "a sample"])
def test_products_are_those_of_the_fisher_information(fallback, limits):
    X, y = table()
    limits(**FREE)
    source = MemorySource(X, y, np.ones(len(y)), limits=Limits(block_bytes=2**10, min_block_rows=16))
    prior = Prior(np.ones(20))
    choice = choose_plan("true", shape(len(y), 1, 20), NaturalGradientLogisticRegression._limits)
    objective = make_objective(source, prior, choice)
    assert objective.trusts_columns()
    # there is no last step whose scale a correction could have
    gradient = np.ones((1, 20))
    np.testing.assert_array_equal(objective._corrected(gradient), objective._newton(gradient))
    if fallback == "a sample":
        quasi_newton = choice._replace(start=choice.start._replace(quasi_newton=True, sample_plans=(choice,)))
        objective = make_objective(source, prior, quasi_newton).fallback
    measured = objective.measure(np.zeros((1, 20)))
    move = np.ones((1, 20))
    np.testing.assert_allclose(objective.fisher_products(measured, move[None])[0], move @ X.T @ X / 4, rtol=1e-10)


def test_parallel_steps_count_as_one():
    step = plane_search._newton_step(np.array([-1.0, -2.0]), np.array([[2.0, 4.0], [4.0, 8.0]]))
    np.testing.assert_allclose(step, [0.5, 0.0])


def test_rows_are_chosen_by_their_logits():
    rng = np.random.default_rng(0)
    logits, order = rng.normal(size=10_000), rng.permutation(10_000)
    rows = rows_by_logit(logits, 500)
    assert rows.size == pytest.approx(500, rel=0.2)
    np.testing.assert_array_equal(np.sort(order[rows_by_logit(logits[order], 500)]), rows)
    # spread over small and large logits
    assert abs(logits[rows].mean()) < 0.2
    assert logits[rows].std() == pytest.approx(1.0, rel=0.1)
    assert rows_by_logit(np.zeros(10), 5).size == 0
    assert rows_by_logit(np.full(10, np.nan), 5).size == 0


@pytest.mark.parametrize(
    ("case", "pays"),
    [
        (shape(100_000, 1, 101), True),
        (shape(20_000, 1, 1_001), True),
        (shape(100_000, 1, 21), False),  # direct
        (shape(1_000, 1, 101), False),  # small: another precision is expected, and a search gains little
        (shape(4_000, 1, 1_001), False),  # too few rows to look for weak directions
        (shape(100_000, 3, 101), False),  # several logits
        (shape(100_000, 1, 10_001, 50), False),  # sparse
        (shape(10**6, 1, 5_001)._replace(out_of_core=True), False),  # logits of all rows are not stored
    ],
)
def test_where_planes_are_searched(case, pays):
    assert choose_plan("true", case).plane_search is pays


def test_verbose_says_so(limits, capsys):
    limits(**FREE)
    NaturalGradientLogisticRegression(verbose=2).fit(*table())
    out = capsys.readouterr().out
    assert "search in planes if the columns are well conditioned; conjugate gradients at" in out
    assert "updates of the diagonal" in out
