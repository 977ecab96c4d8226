"""The plan of a fit: either side of each decision ends at the same coefficients, and costs are ordered."""

import numpy as np
import pytest
from problems import make_problem, random_text
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._solver import newton_cg as _refine
from sknatgrad._solver import objective as _objective
from sknatgrad._solver import plan as _strategy
from sknatgrad._solver.plan import Shape, plan


def raw_table(n_classes, n_rows=3000, seed=0):
    """Correlated columns on scales from 0.01 to 1,000, far from zero, some of them rare indicators."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n_rows, 6))
    X = hidden @ rng.normal(size=(6, 6)) * np.geomspace(1e-2, 1e3, 6) + np.geomspace(1e-1, 1e4, 6)
    rare = (rng.uniform(size=(n_rows, 3)) < [0.3, 0.1, 0.03]).astype(float)
    logits = hidden @ rng.normal(size=(6, n_classes)) + rare @ rng.normal(size=(3, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return np.hstack([X, rare]), y


def force(monkeypatch, module, **settings):
    for name, value in settings.items():
        monkeypatch.setattr(module, name, value)


# what conjugate gradients leave of the loss is then 1e-18; by default, 1e-11
EXACTLY = 1e-15
DIRECT = {"DIRECT_PRICE": np.inf, "WORTH_SAMPLING": np.inf}
FREE = {"DIRECT_PRICE": 0.0, "WORTH_SAMPLING": np.inf}
SAMPLED = {"WORTH_SAMPLING": 0, "ROWS_A_PARAMETER": 4}
AT_ONCE = {"LOOK": 1, "TRIAL": 0.0, "WORTH": 0.0}
NEVER = {"WORTH": np.inf}
OTHER_SIDE = {
    "conjugate gradients by the diagonal": (FREE, NEVER),
    "conjugate gradients by whatever is on offer": (FREE, AT_ONCE),
    "conjugate gradients by one matrix a class": (FREE, {**AT_ONCE, "OFFERED": "blocks"}),
    "no matrix affordable": ({**FREE, "DENSE_BUDGET_BYTES": 0}, {}),
    "products in single precision": ({**FREE, "ROUNDED_BYTES": np.inf, "THIN_FLOPS": 1.0}, {}),
    "products in double precision": ({**FREE, "ROUNDED_BYTES": -1}, {}),
    "samples, then direct": ({"DIRECT_PRICE": np.inf, **SAMPLED}, {}),
}


@pytest.mark.parametrize("side", OTHER_SIDE)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sparse.csr_array])
def test_either_side_of_a_decision_gives_the_same_coefficients(side, n_classes, C, kind, monkeypatch):
    X, y = raw_table(n_classes)
    force(monkeypatch, _strategy, **DIRECT)
    direct = NaturalGradientLogisticRegression(C=C, tol=EXACTLY).fit(X, y)
    strategy, refine = OTHER_SIDE[side]
    force(monkeypatch, _strategy, **strategy)
    if only := {**refine}.pop("OFFERED", None):
        offers = _strategy._offers
        monkeypatch.setattr(
            _strategy, "_offers", lambda *sizes, **how: tuple(o for o in offers(*sizes, **how) if o.structure == only)
        )
        refine = {name: value for name, value in refine.items() if name != "OFFERED"}
    force(monkeypatch, _refine, **refine)
    other = NaturalGradientLogisticRegression(C=C, tol=EXACTLY).fit(kind(X), y)
    assert other.converged_
    # each column in units of its own spread: the coefficients that float64 can compare
    spread = X.std(axis=0)
    size = abs(direct.coef_ * spread).max()
    np.testing.assert_allclose(other.coef_ * spread, direct.coef_ * spread, rtol=0, atol=1e-8 * size)


@pytest.mark.parametrize("order", ["sorted by label", "by a column", "interleaved", "reversed"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("strategy", ["samples, then direct", "conjugate gradients by whatever is on offer"])
def test_the_order_of_rows_changes_nothing(strategy, order, n_classes, monkeypatch):
    force(monkeypatch, _strategy, **OTHER_SIDE[strategy][0])
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


def test_the_order_of_rows_changes_nothing_where_conjugate_gradients_are_slow(monkeypatch):
    """No penalty, raw columns, the diagonal: rounding differs for each order of the rows and each place in memory."""
    X, y = raw_table(2)
    force(monkeypatch, _strategy, **FREE)
    monkeypatch.setattr(_strategy, "_offers", lambda *_sizes, **_how: ())
    draws, spread = np.random.default_rng(0), X.std(axis=0)
    fits = []
    for _ in range(20):
        rows = draws.permutation(len(y))
        fits.append(NaturalGradientLogisticRegression(C=np.inf).fit(X[rows], y[rows]).coef_ * spread)
    assert np.ptp(fits, axis=0).max() <= 1e-10 * abs(fits[0]).max()


def test_weights_and_class_weights_reach_the_sample(monkeypatch):
    X, y = raw_table(3)
    weight = np.random.default_rng(0).integers(0, 4, size=len(y)).astype(float)
    models = []
    for settings in (DIRECT, {**SAMPLED, "DIRECT_PRICE": np.inf}):
        force(monkeypatch, _strategy, **settings)
        model = NaturalGradientLogisticRegression(class_weight="balanced", tol=EXACTLY)
        models.append(model.fit(X, y, sample_weight=weight))
    assert models[1].converged_
    spread = X.std(axis=0)
    np.testing.assert_allclose(models[1].coef_ * spread, models[0].coef_ * spread, rtol=0, atol=1e-8)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_numbers_that_single_precision_cannot_hold(n_classes, monkeypatch):
    """One column of 1e60, one of 1e-60, and a row of 1e50 that does not count."""
    X, y = raw_table(n_classes)
    X, y = np.vstack([X, np.full(X.shape[1], 1e50)]), np.append(y, 0)
    weight = np.append(np.ones(len(y) - 1), 0.0)
    X[:-1, 0] *= 1e60
    X[:-1, 1] *= 1e-60
    models = []
    for settings in (DIRECT, {**FREE, **dict(OTHER_SIDE["products in single precision"][0])}):
        force(monkeypatch, _strategy, **settings)
        model = NaturalGradientLogisticRegression(C=np.inf, tol=EXACTLY)
        models.append(model.fit(X, y, sample_weight=weight))
    assert models[1].converged_
    proba = [model.predict_proba(X[:-1]) for model in models]
    np.testing.assert_allclose(proba[1], proba[0], rtol=0, atol=1e-7)


def test_products_in_single_precision_are_used_and_checked(monkeypatch):
    """Most products use rounded blocks; the last step is checked in double precision."""
    seen = []
    kernel = _objective.FisherProductKernel.__call__
    monkeypatch.setattr(
        _objective.FisherProductKernel,
        "__call__",
        lambda self, block: seen.append(block.X.dtype) or kernel(self, block),
    )
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 40))
    y = (X @ rng.normal(size=(40, 8)) + 2 * rng.gumbel(size=(3000, 8))).argmax(axis=1)
    force(monkeypatch, _strategy, DIRECT_PRICE=0.0)
    model = NaturalGradientLogisticRegression(tol=EXACTLY).fit(X, y)
    assert seen.count(np.float32) > 2 * seen.count(np.float64)
    assert seen[-1] == np.float64
    double = NaturalGradientLogisticRegression(tol=EXACTLY)
    force(monkeypatch, _strategy, ROUNDED_BYTES=-1)
    seen.clear()
    double.fit(X, y)
    assert set(seen) == {np.dtype(np.float64)}
    np.testing.assert_allclose(model.coef_, double.coef_, rtol=0, atol=1e-8 * abs(double.coef_).max())


def test_columns_that_a_sample_hardly_sees_are_not_taken_far(monkeypatch):
    """Indicators of one row in 500, standardised: a sample of 375 has none of some, one or two of others."""
    force(monkeypatch, _strategy, **SAMPLED, DIRECT_PRICE=np.inf)
    rng = np.random.default_rng(0)
    X = np.hstack([rng.normal(size=(3000, 4)), rng.uniform(size=(3000, 12)) < 0.002])
    y = (X[:, 0] + X[:, 4:].sum(axis=1) + rng.logistic(size=3000) > 1).astype(int)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert model.loss_curve_[0] < 1.04 * model.loss_curve_[-1]


def test_a_sample_knows_of_one_row_more():
    problem = make_problem(3, n_rows=200)
    objective = problem.objective("true")
    level = objective.on_sample(objective.source.sample(100), 100, accuracy=1e-8)
    X, weight = np.column_stack([level.source.X, np.ones(len(level.source.X))]), level.source.weight[:, None]
    row = (weight**2 * X**4).sum(axis=0) / (weight * X**2).sum(axis=0)
    # but for the intercept
    np.testing.assert_allclose(level.prior_precision - objective.prior_precision, [*row[:-1] / 4, 0.0])


def shape(n_rows, n_logits, n_columns, stored=None):
    return Shape(n_rows, n_logits, n_columns, n_columns if stored is None else stored)


@pytest.mark.parametrize(
    ("case", "iterative"),
    [
        (shape(569, 1, 31), False),  # small: a matrix costs nothing
        (shape(10**6, 1, 11), False),  # tall
        (shape(20_000, 1, 1_001), True),  # wide: a matrix costs a hundred products
        (shape(1_797, 10, 65), True),  # many logits
        (shape(100_000, 1, 100_001, 50), True),  # text
        (shape(50_000, 1_000, 65), True),  # a thousand classes
    ],
)
def test_direct_where_a_matrix_is_cheap(case, iterative):
    assert plan("true", case).iterative is iterative


@pytest.mark.parametrize(
    ("case", "rounded"),
    [
        (Shape(5_000, 10, 785, 785, 4 * 785), True),  # many classes: bound by multiplications
        (Shape(50_000, 10, 785, 785, 4 * 785), False),  # a copy would be too large
        (Shape(50_000, 10, 785, 785, 0.0), True),  # float32 already
        (Shape(20_000, 1, 1_001, 1_001, 4 * 1_001), False),  # bound by reading X
    ],
)
def test_single_precision_where_it_is_faster_and_fits(case, rounded):
    assert plan("true", case).rounded is rounded


def test_costs_grow_with_what_they_depend_on():
    small = shape(10_000, 3, 50)
    for larger in (shape(40_000, 3, 50), shape(10_000, 12, 50), shape(10_000, 3, 200)):
        assert larger.product() > small.product()
        assert larger.dense() > small.dense()
        assert larger.kronecker() > small.kronecker()
    assert shape(40_000, 3, 200, stored=5).product() < shape(40_000, 3, 200).product()


def test_samples_grow_up_to_a_share_of_the_rows():
    sizes = plan("true", shape(10**7, 1, 21)).samples
    assert sizes == tuple(sorted(sizes))
    assert sizes[-1] == 10**7 // _strategy.SAMPLE_SHARE
    assert sizes[0] >= _strategy.ROWS_A_PARAMETER * 21
    assert plan("true", shape(20_000, 1, 1_001)).samples == ()  # 20 rows a parameter: no sample would do
    assert plan("true", shape(10**6, 1, 201)).samples == ()  # by conjugate gradients
    assert plan("diagonal", shape(10**7, 1, 21)).samples == ()  # users look at the path of this metric itself


def test_a_fixed_learning_rate_is_solved_exactly_from_zero():
    choice = plan("true", shape(100_000, 1, 201), adaptive=False)
    assert not choice.iterative
    assert choice.samples == ()
    assert plan("true", shape(10**6, 1, 11), leap=False).samples == ()


def test_steps_of_limited_length_do_not_leap_to_a_sample(monkeypatch):
    X, y = raw_table(2)
    force(monkeypatch, _strategy, **SAMPLED)
    model = NaturalGradientLogisticRegression(max_kl=0.01).fit(X, y)
    assert model.loss_curve_[0] == pytest.approx(np.log(2), rel=1e-12)
    assert max(model.kl_curve_) <= 0.01 * (1 + 1e-12)
    force(monkeypatch, _strategy, **SAMPLED)
    assert NaturalGradientLogisticRegression().fit(X, y).loss_curve_[0] < 0.6


def test_verbose_says_what_was_chosen_and_why(capsys):
    X, y = random_text(2000, 5000, 20)[0], np.arange(2000) % 2
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    out = capsys.readouterr().out
    assert "metric 'true': conjugate gradients" in out
    assert "ms a product" in out
    assert "products by the diagonal" in out
    X, y = raw_table(2, n_rows=60_000)
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    out = capsys.readouterr().out
    assert "metric 'true': dense" in out
    assert "samples of 468, 7,500 rows first" in out
