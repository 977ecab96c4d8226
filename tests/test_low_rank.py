"""The preconditioner of low rank: its matrix and its inverse by brute force, and the fits that choose it."""

import math

import numpy as np
import pytest
from problems import fisher_by_outer_products, in_batches, in_chunks, make_problem, needed, probabilities
from scipy import sparse

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.information.low_rank import KEPT_SHARE, LowRankInformation
from sknatgrad._model.kernels import MetricScores
from sknatgrad._model.prior import Prior
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import penalised_loss as penalised_loss_module
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.newton_cg import NewtonCG
from sknatgrad._solver.objective import _solver
from sknatgrad._solver.penalised_loss import PenalisedLoss, RowsOperator
from sknatgrad._solver.plan import choose_plan
from sknatgrad._solver.preconditioning import FactorCache, PreconditionerOption, PreconditionerPolicy

MNIST = Shape(5_000, 10, 785, 785, 4 * 785)


def option_of(rank):
    return PreconditionerOption("low_rank", "the most informative rows", 10.0, rank)


def operator_of(problem, prior, X=None, source=None):
    """Return F at the problem's θ, of its rows or of the same ones in another form."""
    X = problem.X if X is None else X
    source = source or MemorySource(X, problem.codes, problem.weight, len(problem.theta), limits=problem.limits)
    scores = MetricScores.recomputed(problem.theta, TrueExpectation())
    return RowsOperator(PenalisedLoss(source, Prior(prior)), scores.true, uses_float32=False)


def prior_of(problem):
    """Another precision for each feature, and none for an intercept."""
    n_features, n_columns = problem.X.shape[1], problem.theta.shape[1]
    return np.append(np.geomspace(0.5, 8.0, n_features), np.zeros(n_columns - n_features))


def by_brute_force(problem, prior, rank, design=None):
    """Return the sum over the `rank` pairs with the largest contribution to tr(Λ⁻¹F), and the diagonal of the rest."""
    design = problem.design if design is None else design
    p = probabilities(design @ problem.theta.T)
    q, d = problem.theta.shape
    pairs = []
    for x, row, s in zip(design, p, problem.weight, strict=True):
        for k in range(q):
            score = np.sqrt(s * row[k]) * (np.eye(q)[k] - row)
            penalised = prior > 0.0
            pairs.append((score @ score * (x[penalised] ** 2 / prior[penalised]).sum(), score, x))
    pairs.sort(key=lambda pair: -pair[0])
    total, rest = np.zeros((q * d, q * d)), np.zeros(d)
    for index, (_, score, x) in enumerate(pairs):
        column = np.kron(score, x)
        total += np.outer(column, column) * (index < rank)
        rest += (score @ score) * x**2 * (KEPT_SHARE if index < rank else 1.0)
    return total + np.diag(np.tile(rest / q, q))


KINDS = {
    "dense": np.asarray,
    "Fortran": np.asfortranarray,
    "sparse": sparse.csr_array,
    "float32": lambda X: X.astype(np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("rank", [1, 17, 1000])
def test_it_solves_with_its_matrix(rank, intercept, kind):
    problem = make_problem(4, intercept=intercept)
    problem = problem._replace(X=problem.X.astype(np.float32).astype(np.float64))
    prior = prior_of(problem)
    expected = by_brute_force(problem, prior, rank)
    gradient = np.random.default_rng(0).normal(size=problem.theta.shape)
    mean = expected.diagonal().reshape(problem.theta.shape).mean(axis=0)
    equal_moves = np.kron(np.full((4, 4), 0.25), np.diag(mean))
    for limits in (Limits(), Limits(block_bytes=1, min_block_rows=9)):
        operator = operator_of(problem._replace(limits=limits), prior, KINDS[kind](problem.X))
        information = operator.build(option_of(rank))
        np.testing.assert_allclose(information.dense(), expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(information.diagonal().ravel(), expected.diagonal(), rtol=0, atol=1e-12)
        np.testing.assert_allclose(information.matvec(gradient).ravel(), expected @ gradient.ravel(), atol=1e-12)
        # prior and damping
        for shift in (prior, prior + 0.3):
            precision = information.precision(shift)
            shifted = expected + np.diag(np.tile(shift, len(gradient))) + equal_moves
            solution = np.linalg.solve(shifted, gradient.ravel())
            # the diagonal of an intercept without prior is 1e-8 of its information if all pairs are stored
            within = 1e-11 if rank < 1000 or shift.all() else 1e-7
            np.testing.assert_allclose(precision.solve(gradient).ravel(), solution, rtol=0, atol=within)
            assert precision.norm_outside_range(gradient) == 0.0


def test_of_all_pairs_it_is_f():
    problem = make_problem(5)
    information = operator_of(problem, prior_of(problem)).build(option_of(1000))
    exact = fisher_by_outer_products(problem.design, problem.codes, problem.weight, problem.theta)
    np.testing.assert_allclose(information.dense(), exact, rtol=0, atol=1e-6 * abs(exact).max())
    # rows with a weight of 0 have none
    assert len(information.rows) == np.count_nonzero(problem.weight) * 5


def test_centred_rows_are_those_without_their_centres():
    problem = make_problem(3, n_rows=60)
    prior = prior_of(problem)
    centres = np.array([1e4, -2e4, 3e4])
    source = MemorySource(problem.X + centres, problem.codes, problem.weight, 3, centres=centres)
    information = operator_of(problem, prior, source=source).build(option_of(20))
    expected = by_brute_force(problem, prior, 20)
    np.testing.assert_allclose(information.dense(), expected, rtol=0, atol=1e-8)


def test_rows_without_information_leave_the_prior():
    """Weights of 0: no pair is stored, and a column without prior is outside the range."""
    problem = make_problem(3)
    problem = problem._replace(weight=np.zeros(len(problem.X)))
    prior = prior_of(problem)
    information = operator_of(problem, prior).build(option_of(5))
    assert len(information.rows) == 0
    precision = information.precision(prior)
    gradient = np.ones(problem.theta.shape)
    np.testing.assert_allclose(precision.solve(gradient)[:, :-1], 1.0 / np.tile(prior[:-1], (3, 1)))
    assert (precision.solve(gradient)[:, -1] == 0.0).all()
    assert precision.norm_outside_range(gradient) == np.inf
    gradient[:, -1] = 0.0
    assert precision.norm_outside_range(gradient) == 0.0


def test_scores_keep_their_accuracy_where_one_class_is_nearly_certain():
    logits = np.array([[0.0, -50.0, -60.0], [0.3, 0.1, -0.2], [-2.0, 3.0, -1.0]])
    scores = predict(logits).scores()
    rows, classes = np.divmod(np.arange(9), 3)
    roots = scores.roots(rows, classes)
    np.testing.assert_allclose((roots**2).sum(axis=1), scores.traces().ravel(), rtol=1e-14)
    matrices = (roots[:, :, None] * roots[:, None, :]).reshape(3, 3, 3, 3).sum(axis=1)
    p = probabilities(logits)
    for matrix, row in zip(matrices[1:], p[1:], strict=True):
        np.testing.assert_allclose(matrix, np.diag(row) - np.outer(row, row), rtol=0, atol=1e-16)
    # 1 − p of the certain class is e⁻⁵⁰ + e⁻⁶⁰: its trace is the square of that, with the squares of the others
    small = np.exp(logits[0, 1:])
    np.testing.assert_allclose(scores.traces()[0, 0], small.sum() ** 2 + (small**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(scores.traces()[0, 1:], 2.0 * small, rtol=1e-12)


def test_its_cost_is_to_be_spent_in_one_solve():
    policy = PreconditionerPolicy(options=[option_of(5)], products_used=1000)
    slow = {"first": 1.0, "goal": 1e-17}
    assert not policy.upgrade_pays(products=9, remaining=0.99**9, **slow)
    assert policy.upgrade_pays(products=10, remaining=0.99**10, **slow)
    # a factor of 0.1 for each product: 7 to go
    assert not policy.upgrade_pays(products=10, remaining=1e-10, **slow)
    policy.postpone()
    assert not policy.upgrade_pays(products=19, remaining=0.99**19, **slow)
    assert policy.upgrade_pays(products=20, remaining=0.99**20, **slow)
    policy.upgrade()
    assert policy.order_independent
    # computed anew where a solve with it took longer than that
    policy.previous_products = 21
    assert policy.is_stale(0.9, 1.0)
    policy.previous_products = 19
    assert not policy.is_stale(0.9, 1.0)
    # however cheap, it is not used from the start, as a Kronecker product is
    cheap = [PreconditionerOption("kronecker", "a Kronecker product", 1.0), option_of(5)._replace(cost=1.0)]
    assert PreconditionerPolicy(options=cheap).current.key == "kronecker"


def test_a_factor_serves_shifts_that_change_little():
    information = LowRankInformation(np.array([2.0, 4.0]), np.ones((1, 2)), np.array([[1.0, -1.0]]))
    cache = FactorCache()
    cache.install(information, 1.0)
    factor = cache.precision(information, np.array([1.0, 0.0]))
    assert cache.precision(information, np.array([1.9, 0.9])) is factor
    assert cache.precision(information, np.array([1.0, 1.1])) is not factor


@pytest.mark.parametrize(("share", "chosen"), [(0.5, True), (1.0, False)])
def test_it_is_chosen_where_few_pairs_have_the_information(share, chosen, monkeypatch):
    """Of two rows one has 10,000 times the weight of the other, and with two pairs of it all but 1e-4."""
    monkeypatch.setattr(penalised_loss_module, "MIN_SHARE", share)
    problem = make_problem(3, n_rows=2)._replace(weight=np.array([1e4, 1.0]))
    operator = operator_of(problem, prior_of(problem))
    solver = NewtonCG(PreconditionerPolicy(options=[option_of(2)]), None)
    solver.upgrade(operator)
    assert (solver.policy.current.key == "low_rank") == chosen
    assert [option.cost for option in solver.policy.options] == [20.0] * (not chosen)


def keys(shape, limits=None):
    return [option.key for option in choose_plan("true", shape, limits).preconditioners]


def test_plans_offer_it_where_no_matrix_of_each_class_fits():
    assert keys(MNIST) == ["kronecker", "low_rank"]
    # after the Kronecker product, which suits F of high rank better, even if that costs more
    wide = choose_plan("true", Shape(5_000, 10, 5_001, 5_001)).preconditioners
    assert [option.key for option in wide] == ["kronecker", "low_rank"]
    assert wide[1].cost < wide[0].cost
    # F as a matrix fits, or one matrix a class
    assert "low_rank" not in keys(Shape(1_797, 10, 65, 65))
    assert "low_rank" not in keys(Shape(50_000, 1_000, 65, 65))
    # one logit, whose Kronecker product would be F, and columns for which no Kronecker product fits
    assert keys(Shape(5_000, 1, 3_000, 3_000)) == []
    assert "low_rank" not in keys(Shape(2_000, 10, 140_000, 100))


def test_its_memory_is_limited():
    for shape in (MNIST, Shape(5_000, 10, 5_001, 5_001), Shape(30, 10, 785, 785)):
        for size in (2**16, 2**20, 2**25):
            rank = shape.low_rank(Limits(preconditioner_bytes=size))
            assert 8 * rank * max(rank, shape.n_columns) <= size
    assert Shape(30, 10, 785, 785).low_rank() == 300
    assert MNIST.low_rank_seconds(2_000) > MNIST.low_rank_seconds(1_000)


@pytest.mark.parametrize("kind", ["proper", "no prior", "a matrix"])
def test_it_needs_a_prior_to_compare_with(kind):
    plan = choose_plan("true", MNIST)
    precision = np.append(np.full(784, 0.0 if kind == "no prior" else 1.0), 0.0)
    zeros = np.zeros((10, 785))
    quadratic = QuadraticApproximation(zeros, zeros, DenseInformation(np.zeros((10, 785, 10, 785), dtype=np.int8)))
    prior = Prior(precision, quadratic=quadratic if kind == "a matrix" else None)
    offered = [option.key for option in _solver(plan, prior).policy.options]
    assert offered == (["kronecker", "low_rank"] if kind == "proper" else ["kronecker"])


def separated_rows(n_rows=300, n_columns=120, n_classes=6, seed=0):
    """Rows that 6 classes separate, of columns with values up to 255 that are correlated."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n_rows, 30))
    X = np.round(np.clip(40.0 * (hidden @ rng.normal(size=(30, n_columns)) / 5.0 + 1.0), 0.0, 255.0))
    y = (hidden @ rng.normal(size=(30, n_classes))).argmax(axis=1)
    return X, y


# F is known by its products alone, it is too large for a matrix, and 400 pairs are stored at most
LIMITS = {"direct_products": 0.0, "preconditioner_bytes": 8 * 400**2, "matrix_bytes": 2**18}


def counted(monkeypatch):
    """Return the numbers of products with F, and of factors of low rank, that fits take from now on."""
    counts = {"products": 0, "factors": 0}

    def counting(owner, name, key):
        original = getattr(owner, name)

        def wrapper(*arguments):
            counts[key] += 1
            return original(*arguments)

        monkeypatch.setattr(owner, name, wrapper)

    counting(RowsOperator, "product", "products")
    counting(RowsOperator, "float32_product", "products")
    counting(LowRankInformation, "precision", "factors")
    return counts


def test_nearly_separated_classes_take_fewer_products(limits, monkeypatch):
    """133 for 299."""
    X, y = separated_rows()
    limits(**LIMITS)
    counts = counted(monkeypatch)
    model = NaturalGradientLogisticRegression(C=100.0).fit(X, y)
    assert model.converged_
    assert counts["factors"] > 0
    first = dict(counts)
    monkeypatch.setattr(RowsOperator, "is_low_rank", lambda _operator, _rank: False)
    other = NaturalGradientLogisticRegression(C=100.0).fit(X, y)
    assert counts["factors"] == first["factors"]
    assert counts["products"] - first["products"] > 1.7 * first["products"]
    assert math.isclose(model.loss_curve_[-1], other.loss_curve_[-1], rel_tol=1e-9)


def at_once(policy, products, _first, remaining, goal):
    """Every preconditioner is worth its cost after the first product."""
    return bool(policy.options) and products > 0 and remaining > goal


@pytest.fixture
def _forced(limits, monkeypatch):
    """Let fits use it from the first product on."""
    limits(**LIMITS)
    monkeypatch.setattr(PreconditionerPolicy, "upgrade_pays", at_once)
    monkeypatch.setattr(RowsOperator, "is_low_rank", lambda _operator, _rank: True)


@pytest.mark.parametrize("kind", ["weights", "sparse", "float32", "far from zero", "prior", "no intercept"])
def test_either_side_ends_at_the_same_coefficients(kind, request, monkeypatch):
    X, y = separated_rows(n_rows=200, n_columns=80)
    settings, weight, within = {"tol": 1e-15}, None, 1e-8
    if kind == "weights":
        weight = np.random.default_rng(1).integers(0, 4, size=len(y)).astype(float)
    elif kind == "sparse":
        X = sparse.csr_array(X)
    elif kind == "float32":
        # coefficients are float32 too
        X, within = X.astype(np.float32), 1e-6
    elif kind == "far from zero":
        X = X + 1e5 * np.arange(1, 81)
    elif kind == "prior":
        settings["prior"] = (0.01, np.geomspace(0.1, 10.0, 80))
    else:
        settings["fit_intercept"] = False
    reference = NaturalGradientLogisticRegression(**settings).fit(X, y, sample_weight=weight)
    request.getfixturevalue("_forced")
    counts = counted(monkeypatch)
    model = NaturalGradientLogisticRegression(**settings).fit(X, y, sample_weight=weight)
    assert counts["factors"] > 0
    assert model.converged_
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=0, atol=within * abs(reference.coef_).max())


@pytest.mark.parametrize("kind", ["memory map", "batches", "Dask"])
def test_rows_out_of_core_end_at_the_same_coefficients(kind, request, monkeypatch, tmp_path):
    X, y = separated_rows(n_rows=200, n_columns=80)
    reference = NaturalGradientLogisticRegression(tol=1e-15).fit(X, y)
    request.getfixturevalue("_forced")
    counts = counted(monkeypatch)
    model = NaturalGradientLogisticRegression(tol=1e-15)
    if kind == "memory map":
        X.tofile(tmp_path / "X")
        model.fit(np.memmap(tmp_path / "X", dtype=X.dtype, mode="r", shape=X.shape), y)
    elif kind == "batches":
        model.fit_batches(in_batches(X, y, size=50))
    else:
        needed("dask", "needs the extra dask")
        dask = needed("sknatgrad.dask", "needs the extra dask")
        model = dask.DaskNaturalGradientLogisticRegression(tol=1e-15).fit(*in_chunks(X, y, rows=50))
    assert counts["factors"] > 0
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=0, atol=1e-8 * abs(reference.coef_).max())


def test_two_runs_and_other_orders_of_the_rows_agree(limits, monkeypatch):
    X, y = separated_rows()
    limits(**LIMITS, block_bytes=2**15, min_block_rows=32)
    counts = counted(monkeypatch)
    model = NaturalGradientLogisticRegression(tol=1e-15).fit(X, y)
    assert counts["factors"] > 0
    assert (NaturalGradientLogisticRegression(tol=1e-15).fit(X, y).coef_ == model.coef_).all()
    order = np.random.default_rng(0).permutation(len(y))
    other = NaturalGradientLogisticRegression(tol=1e-15).fit(X[order], y[order])
    np.testing.assert_allclose(other.coef_, model.coef_, rtol=0, atol=1e-8 * abs(model.coef_).max())
