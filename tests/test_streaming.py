"""Learning from batches: against fits to all rows, and against the recursion written out."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from problems import make_problem, probabilities
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.utils import gen_batches

from sknatgrad import NaturalGradientLogisticRegression, merge
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._solver.recursive import RecursiveObjective
from sknatgrad.inference import infer

FISHERS = ["true", "empirical", "diagonal", "kronecker", "monte_carlo"]


def rows_of(n_classes, n_rows=2000, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    theta = 0.5 * rng.normal(size=(n_classes, n_features + 1))
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def stream(model, X, y, size=100, classes=None, sample_weight=None):
    classes = np.unique(y) if classes is None else classes
    for batch in gen_batches(len(y), size):
        weight = None if sample_weight is None else sample_weight[batch]
        model.partial_fit(X[batch], y[batch], classes=classes, sample_weight=weight)
    return model


def coefficients(model):
    return np.column_stack([model.coef_, model.intercept_])


def apart(model, reference, X, y, sample_weight=None):
    """How far two models are from each other, in standard errors of the direction between them."""
    result = infer(reference, X, y, sample_weight=sample_weight)
    moves = [
        coefficients(each) if len(each.classes_) == 2 else coefficients(each)[1:] - coefficients(each)[:1]
        for each in (model, reference)
    ]
    move = (moves[0] - moves[1]).ravel()
    return np.sqrt(move @ np.linalg.solve(result.covariance, move))


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_batch_of_all_rows_is_a_fit(fisher, n_classes):
    X, y = rows_of(n_classes)
    model = NaturalGradientLogisticRegression(fisher=fisher, random_state=0).partial_fit(X, y, classes=np.unique(y))
    # solved to 0.005 of qd / 2 nats
    assert apart(model, NaturalGradientLogisticRegression().fit(X, y), X, y) < 0.3


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_first_rows_are_solved_for_together(n_classes, size, monkeypatch):
    monkeypatch.setattr("sknatgrad._solver.recursive.SHARE_OF_ERROR", 0.0)
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.GROWTH", 1.0)
    X, y = rows_of(n_classes, n_rows=100)
    model = stream(NaturalGradientLogisticRegression(), X, y, size)
    whole = NaturalGradientLogisticRegression().partial_fit(X, y, classes=np.unique(y))
    np.testing.assert_allclose(coefficients(model), coefficients(whole), atol=1e-4)


def recursion(X, y, size, C, n_classes):
    """The Laplace recursion in logits of all classes, by Newton's method on the whole matrix."""
    q, d = (1, X.shape[1] + 1) if n_classes == 2 else (n_classes, X.shape[1] + 1)
    design = np.column_stack([X, np.ones(len(X))])
    prior = np.tile(np.append(np.full(d - 1, 1 / C), 0.0), q)
    theta, slope = np.zeros(q * d), np.zeros(q * d)
    # a thousandth of a mean row of the first batch, at even probabilities
    even = np.array([[0.25]]) if q == 1 else np.eye(q) / q - 1 / q**2
    information = np.kron(even, 1e-3 * design[:size].T @ design[:size] / size)
    for batch in gen_batches(len(y), size):
        anchor, old, left = theta.copy(), information, slope
        for _ in range(50):
            p = probabilities(design[batch] @ theta.reshape(q, d).T)
            residual = (p - np.eye(n_classes)[y[batch]])[:, n_classes - q :]
            gradient = (residual.T @ design[batch]).ravel()
            p = p[:, n_classes - q :]
            fisher = np.einsum("mk,kl,mi,mj->kilj", p, np.eye(q), design[batch], design[batch])
            fisher = (fisher - np.einsum("mk,ml,mi,mj->kilj", p, p, design[batch], design[batch])).reshape(q * d, -1)
            total = gradient + left + old @ (theta - anchor) + prior * theta
            theta = theta - np.linalg.pinv(fisher + old + np.diag(prior), rcond=1e-12) @ total
        information, slope = old + fisher, left + gradient + old @ (theta - anchor)
    return theta.reshape(q, d), information


@pytest.mark.parametrize("n_classes", [2, 3])
def test_batches_follow_the_laplace_recursion(n_classes, monkeypatch):
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.KEPT_BYTES", 0)
    monkeypatch.setattr("sknatgrad._solver.recursive.SHARE_OF_ERROR", 0.0)
    X, y = rows_of(n_classes, n_rows=400)
    model = stream(NaturalGradientLogisticRegression(tol=1e-12, store_covariance=True), X, y, 50)
    theta, information = recursion(X, y, 50, 1.0, n_classes)
    np.testing.assert_allclose(coefficients(model), theta, rtol=1e-5, atol=1e-7)
    precision = information + np.diag(np.tile(np.append(np.ones(4), 0.0), len(theta)))
    to_zero_sum = np.kron(np.eye(3) - 1 / 3, np.eye(5)) if n_classes > 2 else np.eye(5)
    covariance = to_zero_sum @ np.linalg.pinv(precision, rcond=1e-12) @ to_zero_sum
    np.testing.assert_allclose(model.covariance_, covariance, rtol=1e-5, atol=1e-8)


def test_what_a_short_descent_leaves_over_is_remembered(monkeypatch):
    """One step a batch: the gradient that is left goes into the next one."""
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.KEPT_BYTES", 0)
    X, y = rows_of(3, n_rows=4000)
    short = stream(NaturalGradientLogisticRegression(max_iter=1), X, y, 50)
    assert apart(short, NaturalGradientLogisticRegression().fit(X, y), X, y) < 0.7


@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_pass_is_as_good_as_a_fit(n_classes):
    """Mean squared error of the coefficients over 12 samples; the benchmark has 200, of 20,000 rows."""
    errors = {"stream": 0.0, "fit": 0.0}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(6000, 6))
        theta = 0.5 * rng.normal(size=(n_classes, 7))
        theta -= theta.mean(axis=0)
        logits = X @ theta[:, :-1].T + theta[:, -1]
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        truth = theta if n_classes > 2 else theta[1:] - theta[:1]
        models = {
            "stream": stream(NaturalGradientLogisticRegression(), X, y),
            "fit": NaturalGradientLogisticRegression(C=np.inf).fit(X, y),
        }
        for name, model in models.items():
            errors[name] += ((coefficients(model) - truth) ** 2).sum()
    assert errors["stream"] < 1.08 * errors["fit"]


@pytest.mark.parametrize("kept", [2**22, 0])
def test_forgetting_weighs_rows_by_their_age(kept, monkeypatch):
    """Exactly while rows are kept, and nearly so after, whatever the batches."""
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.GROWTH", 1.0)
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.KEPT_BYTES", kept)
    monkeypatch.setattr("sknatgrad._solver.recursive.SHARE_OF_ERROR", 0.0)
    X, y = rows_of(2, n_rows=200)
    age = np.arange(199.0, -1.0, -1.0)
    weight = 0.99**age
    expected = NaturalGradientLogisticRegression().fit(X, y, sample_weight=weight)
    for size in (20, 50):
        model = stream(NaturalGradientLogisticRegression(forgetting=0.99), X, y, size)
        assert apart(model, expected, X, y, weight) < (0.02 if kept else 0.25)


def test_forgetting_follows_a_drift():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 2))
    side = np.where(np.arange(8000) < 4000, 1.0, -1.0)
    y = (2.0 * side * X[:, 0] + rng.logistic(size=8000) > 0).astype(int)
    mindful, forgetful = (stream(NaturalGradientLogisticRegression(forgetting=f), X, y) for f in (1.0, 0.998))
    assert abs(forgetful.coef_[0, 0] + 2.0) < 0.4
    assert abs(mindful.coef_[0, 0]) < 1.0


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("order", ["by class", "by column", "late class"])
@pytest.mark.parametrize("C", [1e3, np.inf])
def test_no_order_of_the_rows_blows_up(fisher, order, C):
    X, y = rows_of(3, n_rows=1500)
    X = X * [1e-6, 1.0, 1e3, 1e6]
    orders = {
        "by class": np.argsort(y, kind="stable"),
        "by column": np.argsort(X[:, 1]),
        "late class": np.argsort(y == 2, kind="stable"),
    }
    model = NaturalGradientLogisticRegression(C=C, fisher=fisher, random_state=0)
    stream(model, X[orders[order]], y[orders[order]])
    assert np.abs(coefficients(model) * np.append(X.std(axis=0), 1.0)).max() < 20.0
    assert np.isfinite(model.predict_log_proba(X)).all()


@pytest.mark.parametrize(("C", "kept"), [(1.0, 2**22), (np.inf, 2**22), (1.0, 0)])
def test_batches_of_one_row(C, kept, monkeypatch):
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.KEPT_BYTES", kept)
    X, y = rows_of(2, n_rows=600)
    model = stream(NaturalGradientLogisticRegression(C=C), X, y, size=1)
    expected = NaturalGradientLogisticRegression(C=C).fit(X, y)
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, expected.predict_proba(X)) + (0.001 if kept else 0.02)


def test_a_class_that_never_comes_has_a_small_probability():
    X, y = rows_of(2, n_rows=500)
    model = stream(NaturalGradientLogisticRegression(), X, y, classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (500, 3)
    assert model.predict_proba(X)[:, 2].max() < 0.1
    assert np.abs(coefficients(model)).max() < 10


@pytest.mark.parametrize("fisher", FISHERS)
def test_every_kind_of_rows_gives_the_same(fisher):
    X, y = rows_of(3, n_rows=1500)
    X = np.where(np.abs(X) < 0.5, 0.0, X)
    settings = {"fisher": fisher, "random_state": 0}
    expected = coefficients(stream(NaturalGradientLogisticRegression(**settings), X, y))
    for kind in (sparse.csr_array(X), sparse.csc_matrix(X).tocsr(), np.asfortranarray(X)):
        found = coefficients(stream(NaturalGradientLogisticRegression(**settings), kind, y))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    single = stream(NaturalGradientLogisticRegression(**settings), X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(coefficients(single), expected, rtol=1e-3, atol=1e-4)


def test_tables_are_known_by_the_names_of_their_columns():
    X, y = rows_of(2, n_rows=300)
    table = pd.DataFrame(X, columns=list("abcd"))
    model = NaturalGradientLogisticRegression().partial_fit(table[:100], y[:100], classes=[0, 1])
    assert model.feature_names_in_.tolist() == list("abcd")
    model.partial_fit(table[100:], y[100:])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(table[list("abdc")], y)


@pytest.mark.parametrize("kept", [2**22, 0])
def test_weights_are_repeated_rows(kept, monkeypatch):
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.GROWTH", 1.0)
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.KEPT_BYTES", kept)
    monkeypatch.setattr("sknatgrad._solver.recursive.SHARE_OF_ERROR", 0.0)
    X, y = rows_of(2, n_rows=200)
    times = np.random.default_rng(1).integers(0, 3, size=200)
    weighted = NaturalGradientLogisticRegression()
    repeated = clone(weighted)
    for batch in gen_batches(200, 40):
        weighted.partial_fit(X[batch], y[batch], [0, 1], sample_weight=times[batch])
        rows = np.repeat(np.arange(200)[batch], times[batch])
        repeated.partial_fit(X[rows], y[rows], [0, 1])
    np.testing.assert_allclose(coefficients(weighted), coefficients(repeated), atol=2e-4)


def test_balanced_weights_go_by_the_totals_so_far(monkeypatch):
    X, y = rows_of(2, n_rows=300)
    seen = []
    learnt = NaturalGradientLogisticRegression._learnt
    monkeypatch.setattr(
        NaturalGradientLogisticRegression,
        "_learnt",
        lambda self, source, *rest: seen.append(source.weight) or learnt(self, source, *rest),
    )
    stream(NaturalGradientLogisticRegression(class_weight="balanced"), X, y)
    for index, end in enumerate((100, 200, 300)):
        counts = np.bincount(y[:end])
        np.testing.assert_allclose(seen[index][-100:], (end / (2 * counts))[y[end - 100 : end]])


def test_memory_does_not_grow():
    X, y = rows_of(3, n_rows=6000)
    sizes = []
    model = NaturalGradientLogisticRegression()
    for batch in gen_batches(6000, 100):
        model.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
        sizes.append(len(pickle.dumps(model)))
    # 1,000 rows are kept, then none
    assert sizes[0] < sizes[5]
    assert max(sizes[10:]) == min(sizes[10:]) < sizes[5]


def test_rows_that_are_kept_are_solved_for_again_when_there_are_a_few_more():
    X, y = rows_of(2, n_rows=300)
    model, solved = NaturalGradientLogisticRegression(), []
    for row in range(200):
        model.partial_fit(X[row : row + 1], y[row : row + 1], [0, 1])
        solved.append(model._stream.solved)
    assert len(set(solved)) < 50
    expected = NaturalGradientLogisticRegression().fit(X[:200], y[:200])
    assert apart(model, expected, X[:200], y[:200]) < 0.3


def test_wide_rows_are_not_kept_for_long(monkeypatch):
    monkeypatch.setattr("sknatgrad._estimator.partial_fit.KEPT_BYTES", 8 * 4 * 250)
    X, y = rows_of(2, n_rows=400)
    model = NaturalGradientLogisticRegression()
    kept = [model.partial_fit(X[batch], y[batch], [0, 1])._stream.kept for batch in gen_batches(400, 100)]
    assert [rows is not None for rows in kept] == [True, True, False, False]


def test_a_stream_can_be_pickled_and_goes_on():
    X, y = rows_of(3)
    model = stream(NaturalGradientLogisticRegression(), X[:1000], y[:1000], classes=[0, 1, 2])
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
    for each in (model, copy):
        stream(each, X[1000:], y[1000:])
    np.testing.assert_array_equal(coefficients(copy), coefficients(model))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
def test_intervals_after_a_stream(n_classes, fisher):
    """Standard errors as after a fit, to a few percent; the diagonal knows nothing of how classes hang together."""
    X, y = rows_of(n_classes, n_rows=8000)
    model = stream(NaturalGradientLogisticRegression(store_covariance=True, fisher=fisher), X, y)
    expected = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
    ratio = model.decision_function_std(X) / expected.decision_function_std(X)
    assert np.abs(ratio - 1).max() < {"true": 0.05, "kronecker": 0.35, "diagonal": 0.6}[fisher]
    assert model.predict_proba_interval(X[:3]).shape == (3, n_classes, 2)


def test_fit_starts_afresh():
    X, y = rows_of(3)
    model = stream(NaturalGradientLogisticRegression(), X[::-1], y[::-1]).fit(X, y)
    fresh = NaturalGradientLogisticRegression().fit(X, y)
    assert vars(model).keys() == vars(fresh).keys()
    np.testing.assert_array_equal(coefficients(model), coefficients(fresh))


@pytest.mark.parametrize("fisher", FISHERS)
def test_a_stream_goes_on_from_a_fit_that_kept_its_information(fisher):
    X, y = rows_of(3, n_rows=4000)
    model = NaturalGradientLogisticRegression(store_covariance=True, fisher=fisher, random_state=0)
    model.fit(X[:2000], y[:2000])
    stream(model, X[2000:], y[2000:])
    expected = NaturalGradientLogisticRegression().fit(X, y)
    assert apart(model, expected, X, y) < (0.4 if fisher == "true" else 1.5)


def test_after_a_fit_that_kept_nothing_a_stream_begins_afresh_and_says_so():
    X, y = rows_of(2, n_rows=300)
    model = NaturalGradientLogisticRegression().fit(X, y)
    with pytest.warns(UserWarning, match="partial_fit begins afresh"):
        model.partial_fit(X[:50], y[:50])
    fresh = NaturalGradientLogisticRegression().partial_fit(X[:50], y[:50], classes=[0, 1])
    np.testing.assert_array_equal(coefficients(model), coefficients(fresh))
    NaturalGradientLogisticRegression().fit(X, y).partial_fit(X[:50], y[:50], classes=[0, 1])


def bad_calls():
    X, y = rows_of(2, n_rows=100)
    model = NaturalGradientLogisticRegression().partial_fit(X, y, classes=[0, 1])
    fresh = NaturalGradientLogisticRegression()
    yield fresh, (X, y), "classes=None in the first call of partial_fit"
    yield fresh, (X, y, [1]), r"classes=\[1\] must hold two classes or more"
    yield fresh, (X, y, [0, 2]), "y holds 1, which is not among the estimator's classes"
    yield model, (X, y, [0, 1, 2]), r"classes=\[0, 1, 2\] differ from those of the first call, \[0, 1\]"
    for strange in ([[0, 1]], [0, None], [0.0, np.nan]):
        yield fresh, (X, y, strange), "must be a 1-dimensional list of labels that sort"
    yield model, (X, y + 1), "y holds 2, which is not among"
    yield model, (X[:, :3], y), "X has 3 features"
    yield model, (np.where(X > 1, np.nan, X), y), "Input X contains NaN at row"
    yield model, (X, np.where(y == 1, np.nan, y)), "y contains NaN"
    yield model, (X, y, None, -np.ones(100)), "sample_weight contains the negative value"
    yield NaturalGradientLogisticRegression(forgetting=0.0), (X, y, [0, 1]), "'forgetting' parameter"
    yield NaturalGradientLogisticRegression(class_weight={0: -1}), (X, y, [0, 1]), "class_weight="


@pytest.mark.parametrize("case", range(14))
def test_bad_batches_are_named_and_change_nothing(case):
    model, arguments, message = list(bad_calls())[case]
    before = pickle.dumps(vars(model))
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*arguments)
    assert pickle.dumps(vars(model)) == before


def test_information_that_is_too_large_for_a_matrix_is_refused(monkeypatch):
    monkeypatch.setattr("sknatgrad._solver.plan.DENSE_BUDGET_BYTES", 100)
    monkeypatch.setattr("sknatgrad._inputs.checks.DENSE_BUDGET_BYTES", 100)
    X, y = rows_of(2, n_rows=100)
    with pytest.raises(ValueError, match="use fisher='diagonal' or 'kronecker', which keep less"):
        NaturalGradientLogisticRegression().partial_fit(X, y, classes=[0, 1])
    NaturalGradientLogisticRegression(fisher="diagonal").partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("by", ["partial_fit", "fit"])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_shards_merge_into_the_fit_of_all_rows(n_classes, by, C):
    X, y = rows_of(n_classes, n_rows=8000)
    models = []
    for shard in gen_batches(8000, 2000):
        model = NaturalGradientLogisticRegression(C=C, store_covariance=True)
        models.append(
            model.fit(X[shard], y[shard]) if by == "fit" else stream(model, X[shard], y[shard], classes=np.unique(y))
        )
    merged = merge(models)
    expected = NaturalGradientLogisticRegression(C=C, store_covariance=True).fit(X, y)
    # the fit itself is about √5 or √10 standard errors away from the truth
    assert apart(merged, expected, X, y) < 0.7
    np.testing.assert_allclose(
        np.sqrt(merged.covariance_.diagonal()), np.sqrt(expected.covariance_.diagonal()), rtol=0.03
    )
    np.testing.assert_allclose(coefficients(merge(models[::-1])), coefficients(merged), rtol=1e-9)
    more = rows_of(n_classes, n_rows=500, seed=1)
    merged.partial_fit(*more)


def test_a_merger_is_the_optimum_of_the_sum_of_the_quadratics():
    problem = make_problem(2, n_rows=400, zero_weights=False)
    halves = [slice(0, 200), slice(200, 400)]
    models = [
        NaturalGradientLogisticRegression(C=0.5, store_covariance=True).fit(problem.X[half], problem.codes[half])
        for half in halves
    ]
    prior = np.diag([2.0, 2.0, 2.0, 0.0])
    fishers = [np.linalg.inv(model.covariance_) - prior for model in models]
    thetas = [coefficients(model).ravel() for model in models]
    # at its own optimum the loss of a model's rows has the gradient that its penalty has, turned round
    right = sum(fisher @ theta + prior @ theta for fisher, theta in zip(fishers, thetas, strict=True))
    expected = np.linalg.solve(sum(fishers) + prior, right)
    np.testing.assert_allclose(coefficients(merge(models)).ravel(), expected, rtol=1e-6)


def test_models_that_do_not_go_together_are_not_merged():
    X, y = rows_of(2, n_rows=300)
    model = NaturalGradientLogisticRegression().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="models must be a list"):
        merge([])
    with pytest.raises(ValueError, match="keeps no information of its rows"):
        merge([model, NaturalGradientLogisticRegression().fit(X, y)])
    others = [
        NaturalGradientLogisticRegression(C=2.0).partial_fit(X, y, classes=[0, 1]),
        NaturalGradientLogisticRegression(fisher="diagonal").partial_fit(X, y, classes=[0, 1]),
        NaturalGradientLogisticRegression().partial_fit(X, y, classes=[0, 1, 2]),
        NaturalGradientLogisticRegression().partial_fit(X[:, :2], y, classes=[0, 1]),
    ]
    for other in others:
        with pytest.raises(ValueError, match="models differ in their classes, features, fisher, C"):
            merge([model, other])


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize(("mean", "std", "effect"), [(2000.0, 10.0, 1.0), (100.0, 1.0, 2.0), (0.0, 1.0, 6.0)])
def test_columns_far_from_zero_and_strong_effects_need_no_care(C, mean, std, effect):
    rng = np.random.default_rng(0)
    X = rng.normal(mean, std, size=(8000, 1))
    y = (effect * (X[:, 0] - mean) / std + rng.logistic(size=8000) > 0).astype(int)
    model = stream(NaturalGradientLogisticRegression(C=C), X, y)
    expected = NaturalGradientLogisticRegression(C=C).fit(X, y)
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, expected.predict_proba(X)) + 0.0005
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0.05)


def test_one_outlier_at_the_beginning_costs_no_column():
    X, y = rows_of(2, n_rows=8000)
    X[0, 0] = 1e3
    model = stream(NaturalGradientLogisticRegression(C=np.inf), X, y)
    expected = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    assert apart(model, expected, X, y) < 0.7


def test_rows_that_are_kept_are_copied():
    X, y = rows_of(2, n_rows=600)
    buffer = np.empty((50, 4))
    models = [NaturalGradientLogisticRegression() for _ in range(2)]
    for batch in gen_batches(600, 50):
        buffer[:] = X[batch]
        models[0].partial_fit(buffer, y[batch], [0, 1])
        models[1].partial_fit(X[batch], y[batch], [0, 1])
    np.testing.assert_array_equal(coefficients(models[0]), coefficients(models[1]))


def test_batches_without_weight_teach_nothing():
    X, y = rows_of(2, n_rows=900)
    model = NaturalGradientLogisticRegression(class_weight={0: 0.0, 1: 1.0})
    model.partial_fit(X[y == 0], y[y == 0], [0, 1])
    assert not coefficients(model).any()
    model = stream(NaturalGradientLogisticRegression(), X, y)
    before = coefficients(model)
    model.partial_fit(X, y, sample_weight=np.zeros(900))
    np.testing.assert_array_equal(coefficients(model), before)


@pytest.mark.parametrize("changed", [{"fisher": "kronecker"}, {"fit_intercept": False}])
def test_a_stream_stays_what_it_began_as(changed):
    X, y = rows_of(2, n_rows=900)
    model = stream(NaturalGradientLogisticRegression(), X, y).set_params(**changed)
    with pytest.raises(ValueError, match="are not those that the stream began with"):
        model.partial_fit(X, y)


def test_rare_classes_are_waited_for():
    X, y = rows_of(2, n_rows=3000)
    kept = (y == 0) | (np.random.default_rng(0).uniform(size=3000) < 0.01)
    model, n_kept = NaturalGradientLogisticRegression(), []
    for batch in gen_batches(int(kept.sum()), 100):
        rows = model.partial_fit(X[kept][batch], y[kept][batch], [0, 1])._stream.kept
        n_kept.append(0 if rows is None else len(rows.codes))
    assert max(n_kept) > 1000


def test_a_number_for_the_learning_rate_is_not_for_streams():
    X, y = rows_of(3)
    by_number = stream(NaturalGradientLogisticRegression(learning_rate=1.0), X, y)
    np.testing.assert_array_equal(
        coefficients(by_number), coefficients(stream(NaturalGradientLogisticRegression(), X, y))
    )


@pytest.mark.parametrize("fisher", ["true", "diagonal"])
def test_a_covariance_too_large_to_keep_is_refused_in_a_stream_too(fisher, monkeypatch):
    monkeypatch.setattr("sknatgrad._inputs.checks.DENSE_BUDGET_BYTES", 100)
    X, y = rows_of(2, n_rows=50)
    model = NaturalGradientLogisticRegression(fisher=fisher, store_covariance=True)
    with pytest.raises(ValueError, match="the covariance of 5 coefficients would take"):
        model.partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize("fisher", [*FISHERS, "identity"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_information_fades_by_the_share(fisher, n_classes):
    problem = make_problem(n_classes)
    information = problem.objective(fisher).measure(problem.theta).information
    np.testing.assert_allclose(information.scaled(0.3).dense(), 0.3 * information.dense())
    merged = information.merge(information.scaled(0.5))
    np.testing.assert_allclose(merged.dense(), 1.5 * information.dense())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_products_know_of_the_past(n_classes):
    problem = make_problem(n_classes)
    batch = problem.objective("diagonal")
    here = batch.measure(problem.theta)
    past = QuadraticApproximation(0.5 * problem.theta, np.ones_like(problem.theta), here.information)
    landscape = RecursiveObjective(replace(batch, prior=batch.prior._replace(quadratic=past)))
    moves = np.random.default_rng(0).normal(size=(2, *problem.theta.shape))
    expected = batch.products(here, moves) + np.array([past.information.matvec(move) for move in moves])
    np.testing.assert_allclose(landscape.products(landscape.measure(problem.theta), moves), expected)
    # its gradient is the slope of its loss
    step = 1e-6 * moves[0]
    rise = landscape.measure(problem.theta + step).loss - landscape.measure(problem.theta - step).loss
    slope = np.vdot(landscape.measure(problem.theta).gradient, step)
    np.testing.assert_allclose(rise, 2.0 * slope, rtol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", ["true", "empirical", "kronecker", "diagonal"])
def test_one_step_on_the_rows_polishes_a_merged_model(n_classes, fisher):
    """By the whole matrix it squares the error; by the others it helps, or is not taken."""
    random = np.random.default_rng(0)
    X = random.normal(size=(4_000, 5))
    theta = random.normal(size=(n_classes, 5))
    y = (X @ theta.T + random.gumbel(size=(4_000, n_classes))).argmax(axis=1)
    weight = random.uniform(0.5, 2.0, size=4_000)
    shards = [slice(start, None, 20) for start in range(20)]
    options = {"fisher": fisher, "store_covariance": True, "class_weight": {0: 2.0}}
    models = [NaturalGradientLogisticRegression(**options).fit(X[s], y[s], weight[s]) for s in shards]
    joint = NaturalGradientLogisticRegression(**options).fit(X, y, weight)
    rough, polished = merge(models), merge(models, X, y, sample_weight=weight)
    before, after = (abs(model.coef_ - joint.coef_).max() for model in (rough, polished))
    exact = fisher in {"true", "empirical"} or (fisher == "kronecker" and n_classes == 2)
    assert after < 0.1 * before if exact and fisher == "true" else after <= before
    if exact and fisher == "true":
        np.testing.assert_allclose(polished.covariance_, joint.covariance_, rtol=1e-2, atol=1e-4)
    more = polished.partial_fit(X[:10], y[:10], sample_weight=weight[:10])
    assert np.isfinite(more.coef_).all()


def test_rows_that_polish_are_those_of_the_models():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(200, 3)), np.arange(200) % 2
    halves = [slice(0, 100), slice(100, 200)]
    models = [NaturalGradientLogisticRegression(store_covariance=True).fit(X[half], y[half]) for half in halves]
    with pytest.raises(ValueError, match=r"X and y hold \[99.0, 100.0\] of the classes, where the models have learnt"):
        merge(models, X[1:], y[1:])
    with pytest.raises(ValueError, match="y has shape"):
        merge(models, X)
    for name, given in {"y": y, "sample_weight": np.ones(200)}.items():
        with pytest.raises(ValueError, match=f"{name} is given without X; pass X and y, the rows of all the models"):
            merge(models, **{name: given})
