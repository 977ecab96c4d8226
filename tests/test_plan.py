"""The plan of a fit: either side of each decision ends at the same coefficients, and costs are ordered."""

import numpy as np
import pytest
from problems import make_problem, random_text
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._model.kernels import FisherProductKernel
from sknatgrad._solver import plan as plan_module
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.plan import QUASI_NEWTON_DIVISORS, SAMPLE_DIVISOR, choose_plan
from sknatgrad._solver.preconditioning import PreconditionerPolicy
from sknatgrad._solver.warm_up import column_squares, subsample_objective


def raw_table(n_classes, n_rows=3000, seed=0):
    """Correlated columns on scales from 0.01 to 1,000, far from zero, some of them rare indicators."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n_rows, 6))
    X = hidden @ rng.normal(size=(6, 6)) * np.geomspace(1e-2, 1e3, 6) + np.geomspace(1e-1, 1e4, 6)
    rare = (rng.uniform(size=(n_rows, 3)) < [0.3, 0.1, 0.03]).astype(float)
    logits = hidden @ rng.normal(size=(6, n_classes)) + rare @ rng.normal(size=(3, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return np.hstack([X, rare]), y


def never(policy, products, first, remaining, goal):
    """No preconditioner is worth its cost."""
    return False


def at_once(policy, products, first, remaining, goal):
    """Every preconditioner is worth its cost after the first product."""
    return bool(policy.options) and products > 0 and remaining > goal


def keep_only(monkeypatch, structure):
    """Let a plan have one preconditioner beside the diagonal."""
    options = plan_module._preconditioners
    monkeypatch.setattr(
        plan_module,
        "_preconditioners",
        lambda *sizes, **how: tuple(o for o in options(*sizes, **how) if o.key == structure),
    )


def choose_single(monkeypatch, *, single):
    """Compute products in float32, or not."""
    monkeypatch.setattr(Shape, "gains_by_float32", lambda _shape: single)
    choose_plan.cache_clear()


# the decrease that remains after conjugate gradients is then 1e-18 of the loss; by default, 1e-11
EXACTLY = 1e-15
DIRECT = {"direct_products": np.inf, "min_sampled_values": np.inf}
FREE = {"direct_products": 0.0, "min_sampled_values": np.inf}
SAMPLED = {"min_sampled_values": 0, "min_rows_per_parameter": 4}
# limits, when a preconditioner is worth its cost, the only one allowed, whether products are computed in float32
OTHER_SIDE = {
    "conjugate gradients by the diagonal": (FREE, never, None, None),
    "conjugate gradients by any preconditioner": (FREE, at_once, None, None),
    "conjugate gradients by one matrix a class": (FREE, at_once, "blocks", None),
    "no matrix affordable": ({**FREE, "matrix_bytes": 0}, None, None, None),
    "products in single precision": (FREE, None, None, True),
    "products in double precision": (FREE, None, None, False),
    "samples, then direct": ({"direct_products": np.inf, **SAMPLED}, None, None, None),
}


@pytest.mark.parametrize("side", OTHER_SIDE)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sparse.csr_array])
def test_either_side_of_a_decision_gives_the_same_coefficients(side, n_classes, C, kind, limits, monkeypatch):
    X, y = raw_table(n_classes)
    limits(**DIRECT)
    direct = NaturalGradientLogisticRegression(C=C, tol=EXACTLY).fit(X, y)
    changed, pays, only, single = OTHER_SIDE[side]
    limits(**changed)
    if pays is not None:
        monkeypatch.setattr(PreconditionerPolicy, "upgrade_pays", pays)
    if only is not None:
        keep_only(monkeypatch, only)
    if single is not None:
        choose_single(monkeypatch, single=single)
    other = NaturalGradientLogisticRegression(C=C, tol=EXACTLY).fit(kind(X), y)
    assert other.converged_
    # each column in units of its own spread: the coefficients that float64 can compare
    spread = X.std(axis=0)
    size = abs(direct.coef_ * spread).max()
    np.testing.assert_allclose(other.coef_ * spread, direct.coef_ * spread, rtol=0, atol=1e-8 * size)


@pytest.mark.parametrize("order", ["sorted by label", "by a column", "interleaved", "reversed"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("side", ["samples, then direct", "conjugate gradients by any preconditioner"])
def test_the_order_of_rows_changes_nothing(side, order, n_classes, limits):
    limits(**OTHER_SIDE[side][0])
    X, y = raw_table(n_classes)
    base = NaturalGradientLogisticRegression().fit(X, y)
    rows = {
        "sorted by label": np.argsort(y, kind="stable"),
        "by a column": np.argsort(X[:, 2]),
        # every 8th row from the sorted data, and again: in step with any sample of a fixed stride
        "interleaved": np.argsort(y, kind="stable").reshape(-1, 8).T.ravel(),
        "reversed": np.arange(len(y))[::-1],
    }[order]
    model = NaturalGradientLogisticRegression().fit(X[rows], y[rows])
    assert model.converged_
    spread = X.std(axis=0)
    size = abs(base.coef_ * spread).max()
    np.testing.assert_allclose(model.coef_ * spread, base.coef_ * spread, rtol=0, atol=1e-8 * size)


def test_the_order_of_rows_changes_nothing_where_conjugate_gradients_are_slow(limits, monkeypatch):
    """No penalty, raw columns, the diagonal: rounding differs for each order of the rows and each place in memory."""
    X, y = raw_table(2)
    limits(**FREE)
    keep_only(monkeypatch, None)
    draws, spread = np.random.default_rng(0), X.std(axis=0)
    fits = []
    for _ in range(20):
        rows = draws.permutation(len(y))
        fits.append(NaturalGradientLogisticRegression(C=np.inf).fit(X[rows], y[rows]).coef_ * spread)
    assert np.ptp(fits, axis=0).max() <= 1e-10 * abs(fits[0]).max()


def test_weights_and_class_weights_reach_the_sample(limits):
    X, y = raw_table(3)
    weight = np.random.default_rng(0).integers(0, 4, size=len(y)).astype(float)
    models = []
    for settings in (DIRECT, {**SAMPLED, "direct_products": np.inf}):
        limits(**settings)
        model = NaturalGradientLogisticRegression(class_weight="balanced", tol=EXACTLY)
        models.append(model.fit(X, y, sample_weight=weight))
    assert models[1].converged_
    spread = X.std(axis=0)
    np.testing.assert_allclose(models[1].coef_ * spread, models[0].coef_ * spread, rtol=0, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_numbers_that_single_precision_cannot_hold(n_classes, limits, monkeypatch):
    """One column of 1e60, one of 1e-60, and a row of 1e50 that does not count."""
    X, y = raw_table(n_classes)
    X, y = np.vstack([X, np.full(X.shape[1], 1e50)]), np.append(y, 0)
    weight = np.append(np.ones(len(y) - 1), 0.0)
    X[:-1, 0] *= 1e60
    X[:-1, 1] *= 1e-60
    models = []
    choose_single(monkeypatch, single=True)
    for settings in (DIRECT, FREE):
        limits(**settings)
        model = NaturalGradientLogisticRegression(C=np.inf, tol=EXACTLY)
        models.append(model.fit(X, y, sample_weight=weight))
    assert models[1].converged_
    proba = [model.predict_proba(X[:-1]) for model in models]
    np.testing.assert_allclose(proba[1], proba[0], rtol=0, atol=1e-7)


def test_products_in_single_precision_are_used_and_checked(limits, monkeypatch):
    """Most products use rounded blocks; the last step is checked in double precision."""
    seen = []
    kernel = FisherProductKernel.__call__
    monkeypatch.setattr(
        FisherProductKernel, "__call__", lambda self, block: seen.append(block.X.dtype) or kernel(self, block)
    )
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 40))
    y = (X @ rng.normal(size=(40, 8)) + 2 * rng.gumbel(size=(3000, 8))).argmax(axis=1)
    limits(direct_products=0.0)
    model = NaturalGradientLogisticRegression(tol=EXACTLY).fit(X, y)
    assert seen.count(np.float32) > 2 * seen.count(np.float64)
    assert seen[-1] == np.float64
    double = NaturalGradientLogisticRegression(tol=EXACTLY)
    choose_single(monkeypatch, single=False)
    seen.clear()
    double.fit(X, y)
    assert set(seen) == {np.dtype(np.float64)}
    np.testing.assert_allclose(model.coef_, double.coef_, rtol=0, atol=1e-8 * abs(double.coef_).max())


def test_columns_that_a_sample_hardly_sees_do_not_overshoot(limits):
    """Indicators of one row in 500, standardised: a sample of 375 has none of some, one or two of others."""
    limits(**SAMPLED, direct_products=np.inf)
    rng = np.random.default_rng(0)
    X = np.hstack([rng.normal(size=(3000, 4)), rng.uniform(size=(3000, 12)) < 0.002])
    y = (X[:, 0] + X[:, 4:].sum(axis=1) + rng.logistic(size=3000) > 1).astype(int)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert model.loss_curve_[0] < 1.04 * model.loss_curve_[-1]


def test_the_prior_of_a_sample_has_the_curvature_of_one_more_row():
    problem = make_problem(3, n_rows=200)
    objective = problem.objective("true")
    sample = objective.penalised_loss.source.sample(100)
    squares = column_squares(sample, problem.theta.shape[1])
    sampled = subsample_objective(objective, sample, objective.plan, squares, negligible_error=1e-8)
    X, weight = np.column_stack([sample.X, np.ones(len(sample.X))]), sample.weight[:, None]
    row = (weight**2 * X**4).sum(axis=0) / (weight * X**2).sum(axis=0)
    # but for the intercept
    np.testing.assert_allclose(sampled.prior_precision - objective.prior_precision, [*row[:-1] / 4, 0.0])


def shape(n_rows, n_logits, n_columns, stored=None):
    return Shape(n_rows, n_logits, n_columns, n_columns if stored is None else stored)


@pytest.mark.parametrize(
    ("case", "matrix_free"),
    [
        (shape(569, 1, 31), False),  # small: a matrix costs nothing
        (shape(10**6, 1, 11), False),  # tall
        (shape(20_000, 1, 1_001), True),  # wide: a matrix costs a hundred products
        (shape(1_797, 10, 65), True),  # many logits
        (shape(100_000, 1, 100_001, 50), True),  # text
        (shape(50_000, 1_000, 65), True),  # a thousand classes
    ],
)
def test_direct_where_a_matrix_is_cheap(case, matrix_free):
    assert choose_plan("true", case).matrix_free is matrix_free


@pytest.mark.parametrize(
    ("case", "single"),
    [
        (Shape(5_000, 10, 785, 785, 4 * 785), True),  # many classes: bound by multiplications
        (Shape(50_000, 10, 785, 785, 4 * 785), False),  # a copy would be too large
        (Shape(50_000, 10, 785, 785, 0.0), True),  # float32 already
        (Shape(20_000, 1, 1_001, 1_001, 4 * 1_001), False),  # bound by reading X
    ],
)
def test_single_precision_where_it_is_faster_and_fits(case, single):
    assert choose_plan("true", case).float32_products is single


def test_costs_grow_with_what_they_depend_on():
    small = shape(10_000, 3, 50)
    for larger in (shape(40_000, 3, 50), shape(10_000, 12, 50), shape(10_000, 3, 200)):
        assert larger.product_seconds() > small.product_seconds()
        assert larger.dense_seconds() > small.dense_seconds()
        assert larger.kronecker_seconds() > small.kronecker_seconds()
    assert shape(40_000, 3, 200, stored=5).product_seconds() < shape(40_000, 3, 200).product_seconds()


def test_samples_grow_up_to_a_share_of_the_rows():
    sizes = choose_plan("true", shape(10**7, 1, 21)).sample_sizes
    assert sizes == tuple(sorted(sizes))
    assert sizes[-1] in {10**7 // divisor for divisor in QUASI_NEWTON_DIVISORS}
    assert (
        choose_plan("true", shape(10**6, 1, 11)._replace(out_of_core=True)).sample_sizes[-1] == 10**6 // SAMPLE_DIVISOR
    )
    assert sizes[0] >= Limits().min_rows_per_parameter * 21
    assert (
        choose_plan("true", shape(20_000, 1, 1_001)).sample_sizes == ()
    )  # 20 rows per parameter: too few for a sample
    assert choose_plan("true", shape(10**6, 3, 201)).sample_sizes == ()  # by conjugate gradients
    assert (
        choose_plan("diagonal", shape(10**7, 1, 21)).sample_sizes == ()
    )  # users look at the path of this metric itself


def test_a_fixed_learning_rate_is_solved_exactly_from_zero():
    choice = choose_plan("true", shape(100_000, 1, 201), adaptive=False)
    assert not choice.matrix_free
    assert choice.sample_sizes == ()
    assert choose_plan("true", shape(10**6, 1, 11), subsample=False).sample_sizes == ()


def test_steps_of_limited_length_do_not_start_from_a_sample(limits):
    X, y = raw_table(2)
    limits(**SAMPLED)
    model = NaturalGradientLogisticRegression(max_kl=0.01).fit(X, y)
    assert model.loss_curve_[0] == pytest.approx(np.log(2), rel=1e-12)
    assert max(model.kl_curve_) <= 0.01 * (1 + 1e-12)
    limits(**SAMPLED)
    assert NaturalGradientLogisticRegression().fit(X, y).loss_curve_[0] < 0.6


def test_verbose_says_what_was_chosen_and_why(capsys, monkeypatch):
    X, y = random_text(2000, 5000, 20)[0], np.arange(2000) % 2
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    out = capsys.readouterr().out
    assert "metric 'true': conjugate gradients" in out
    assert "ms a product" in out
    assert "products by single columns" in out
    X, y = raw_table(2, n_rows=30_000)
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    out = capsys.readouterr().out
    assert "metric 'true': quasi-Newton by that of" in out
    choose_plan.cache_clear()
    monkeypatch.setattr(plan_module, "_quasi_newton_pays", lambda _shape, _sampled, *, direct: False)  # noqa: ARG005
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    out = capsys.readouterr().out
    assert "metric 'true': dense" in out
    assert "samples of 3,750 rows first" in out
