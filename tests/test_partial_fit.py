"""partial_fit against fits to all rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from problems import FISHER_METRICS, coefficients, partial_fits, standard_errors_apart, standard_rows
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.utils import gen_batches

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._estimator import classifier as _estimator


@pytest.mark.parametrize("fisher", FISHER_METRICS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_batch_of_all_rows_is_a_fit(fisher, n_classes):
    X, y = standard_rows(n_classes)
    model = NaturalGradientLogisticRegression(fisher=fisher, random_state=0).partial_fit(X, y, classes=np.unique(y))
    # solved to 0.005 of qd / 2 nats
    assert standard_errors_apart(model, NaturalGradientLogisticRegression().fit(X, y), X, y) < 0.3


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_first_rows_are_solved_for_together(n_classes, size, limits):
    limits(first_rows_growth=1.0, batch_error_share=0.0)
    X, y = standard_rows(n_classes, n_rows=100)
    model = partial_fits(NaturalGradientLogisticRegression(), X, y, size)
    whole = NaturalGradientLogisticRegression().partial_fit(X, y, classes=np.unique(y))
    np.testing.assert_allclose(coefficients(model), coefficients(whole), atol=1e-4)


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
            "stream": partial_fits(NaturalGradientLogisticRegression(), X, y),
            "fit": NaturalGradientLogisticRegression(C=np.inf).fit(X, y),
        }
        for name, model in models.items():
            errors[name] += ((coefficients(model) - truth) ** 2).sum()
    assert errors["stream"] < 1.08 * errors["fit"]


@pytest.mark.parametrize("kept", [2**22, 0])
def test_forgetting_weighs_rows_by_their_age(kept, limits):
    """Exactly while rows are kept, and nearly so after, whatever the batches."""
    limits(first_rows_growth=1.0)
    limits(first_rows_bytes=kept)
    limits(batch_error_share=0.0)
    X, y = standard_rows(2, n_rows=200)
    age = np.arange(199.0, -1.0, -1.0)
    weight = 0.99**age
    expected = NaturalGradientLogisticRegression().fit(X, y, sample_weight=weight)
    for size in (20, 50):
        model = partial_fits(NaturalGradientLogisticRegression(forgetting=0.99), X, y, size)
        assert standard_errors_apart(model, expected, X, y, weight) < (0.02 if kept else 0.25)


def test_forgetting_follows_a_drift():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 2))
    side = np.where(np.arange(8000) < 4000, 1.0, -1.0)
    y = (2.0 * side * X[:, 0] + rng.logistic(size=8000) > 0).astype(int)
    mindful, forgetful = (partial_fits(NaturalGradientLogisticRegression(forgetting=f), X, y) for f in (1.0, 0.998))
    assert abs(forgetful.coef_[0, 0] + 2.0) < 0.4
    assert abs(mindful.coef_[0, 0]) < 1.0


@pytest.mark.parametrize("fisher", FISHER_METRICS)
@pytest.mark.parametrize("order", ["by class", "by column", "late class"])
@pytest.mark.parametrize("C", [1e3, np.inf])
def test_no_order_of_the_rows_blows_up(fisher, order, C):
    X, y = standard_rows(3, n_rows=1500)
    X = X * [1e-6, 1.0, 1e3, 1e6]
    orders = {
        "by class": np.argsort(y, kind="stable"),
        "by column": np.argsort(X[:, 1]),
        "late class": np.argsort(y == 2, kind="stable"),
    }
    model = NaturalGradientLogisticRegression(C=C, fisher=fisher, random_state=0)
    partial_fits(model, X[orders[order]], y[orders[order]])
    assert np.abs(coefficients(model) * np.append(X.std(axis=0), 1.0)).max() < 20.0
    assert np.isfinite(model.predict_log_proba(X)).all()


@pytest.mark.parametrize(("C", "kept"), [(1.0, 2**22), (np.inf, 2**22), (1.0, 0)])
def test_batches_of_one_row(C, kept, limits):
    limits(first_rows_bytes=kept)
    X, y = standard_rows(2, n_rows=600)
    model = partial_fits(NaturalGradientLogisticRegression(C=C), X, y, size=1)
    expected = NaturalGradientLogisticRegression(C=C).fit(X, y)
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, expected.predict_proba(X)) + (0.001 if kept else 0.02)


def test_a_class_that_never_comes_has_a_small_probability():
    X, y = standard_rows(2, n_rows=500)
    model = partial_fits(NaturalGradientLogisticRegression(), X, y, classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (500, 3)
    assert model.predict_proba(X)[:, 2].max() < 0.1
    assert np.abs(coefficients(model)).max() < 10


@pytest.mark.parametrize("fisher", FISHER_METRICS)
def test_every_kind_of_rows_gives_the_same(fisher):
    X, y = standard_rows(3, n_rows=1500)
    X = np.where(np.abs(X) < 0.5, 0.0, X)
    settings = {"fisher": fisher, "random_state": 0}
    expected = coefficients(partial_fits(NaturalGradientLogisticRegression(**settings), X, y))
    for kind in (sparse.csr_array(X), sparse.csc_matrix(X).tocsr(), np.asfortranarray(X)):
        found = coefficients(partial_fits(NaturalGradientLogisticRegression(**settings), kind, y))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    single = partial_fits(NaturalGradientLogisticRegression(**settings), X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(coefficients(single), expected, rtol=1e-3, atol=1e-4)


def test_tables_are_known_by_the_names_of_their_columns():
    X, y = standard_rows(2, n_rows=300)
    table = pd.DataFrame(X, columns=list("abcd"))
    model = NaturalGradientLogisticRegression().partial_fit(table[:100], y[:100], classes=[0, 1])
    assert model.feature_names_in_.tolist() == list("abcd")
    model.partial_fit(table[100:], y[100:])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(table[list("abdc")], y)


@pytest.mark.parametrize("kept", [2**22, 0])
def test_weights_are_repeated_rows(kept, limits):
    limits(first_rows_growth=1.0)
    limits(first_rows_bytes=kept)
    limits(batch_error_share=0.0)
    X, y = standard_rows(2, n_rows=200)
    times = np.random.default_rng(1).integers(0, 3, size=200)
    weighted = NaturalGradientLogisticRegression()
    repeated = clone(weighted)
    for batch in gen_batches(200, 40):
        weighted.partial_fit(X[batch], y[batch], [0, 1], sample_weight=times[batch])
        rows = np.repeat(np.arange(200)[batch], times[batch])
        repeated.partial_fit(X[rows], y[rows], [0, 1])
    np.testing.assert_allclose(coefficients(weighted), coefficients(repeated), atol=2e-4)


def test_balanced_weights_go_by_the_totals_so_far(monkeypatch):
    X, y = standard_rows(2, n_rows=300)
    seen = []
    run_update = _estimator.run_update

    def watched(estimator, batch, plan, objective):
        seen.append(plan.to_solve.rows.weight)
        return run_update(estimator, batch, plan, objective)

    monkeypatch.setattr(_estimator, "run_update", watched)
    partial_fits(NaturalGradientLogisticRegression(class_weight="balanced"), X, y)
    for index, end in enumerate((100, 200, 300)):
        counts = np.bincount(y[:end])
        np.testing.assert_allclose(seen[index][-100:], (end / (2 * counts))[y[end - 100 : end]])


def test_memory_does_not_grow():
    X, y = standard_rows(3, n_rows=6000)
    sizes = []
    model = NaturalGradientLogisticRegression()
    for batch in gen_batches(6000, 100):
        model.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
        sizes.append(len(pickle.dumps(model)))
    # 1,000 rows are kept, then none
    assert sizes[0] < sizes[5]
    assert max(sizes[10:]) == min(sizes[10:]) < sizes[5]


def test_rows_that_are_kept_are_solved_for_again_when_there_are_a_few_more():
    X, y = standard_rows(2, n_rows=300)
    model, solved = NaturalGradientLogisticRegression(), []
    for row in range(200):
        model.partial_fit(X[row : row + 1], y[row : row + 1], [0, 1])
        solved.append(model._stream.n_solved)
    assert len(set(solved)) < 50
    expected = NaturalGradientLogisticRegression().fit(X[:200], y[:200])
    assert standard_errors_apart(model, expected, X[:200], y[:200]) < 0.3


def test_wide_rows_are_not_kept_for_long(limits):
    limits(first_rows_bytes=8 * 4 * 250)
    X, y = standard_rows(2, n_rows=400)
    model = NaturalGradientLogisticRegression()
    kept = [model.partial_fit(X[batch], y[batch], [0, 1])._stream.first_rows for batch in gen_batches(400, 100)]
    assert [rows is not None for rows in kept] == [True, True, False, False]


def test_a_stream_can_be_pickled_and_goes_on():
    X, y = standard_rows(3)
    model = partial_fits(NaturalGradientLogisticRegression(), X[:1000], y[:1000], classes=[0, 1, 2])
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
    for each in (model, copy):
        partial_fits(each, X[1000:], y[1000:])
    np.testing.assert_array_equal(coefficients(copy), coefficients(model))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", ["true", "diagonal", "kronecker"])
def test_intervals_after_a_stream(n_classes, fisher):
    """Standard errors as after a fit, to a few percent; the diagonal omits the covariance between classes."""
    X, y = standard_rows(n_classes, n_rows=8000)
    model = partial_fits(NaturalGradientLogisticRegression(store_covariance=True, fisher=fisher), X, y)
    expected = NaturalGradientLogisticRegression(store_covariance=True).fit(X, y)
    ratio = model.decision_function_std(X) / expected.decision_function_std(X)
    assert np.abs(ratio - 1).max() < {"true": 0.05, "kronecker": 0.35, "diagonal": 0.6}[fisher]
    assert model.predict_proba_interval(X[:3]).shape == (3, n_classes, 2)


def test_fit_starts_afresh():
    X, y = standard_rows(3)
    model = partial_fits(NaturalGradientLogisticRegression(), X[::-1], y[::-1]).fit(X, y)
    fresh = NaturalGradientLogisticRegression().fit(X, y)
    assert vars(model).keys() == vars(fresh).keys()
    np.testing.assert_array_equal(coefficients(model), coefficients(fresh))


@pytest.mark.parametrize("fisher", FISHER_METRICS)
def test_a_stream_goes_on_from_a_fit_that_kept_its_information(fisher):
    X, y = standard_rows(3, n_rows=4000)
    model = NaturalGradientLogisticRegression(store_covariance=True, fisher=fisher, random_state=0)
    model.fit(X[:2000], y[:2000])
    partial_fits(model, X[2000:], y[2000:])
    expected = NaturalGradientLogisticRegression().fit(X, y)
    assert standard_errors_apart(model, expected, X, y) < (0.4 if fisher == "true" else 1.5)


def test_after_a_fit_that_kept_nothing_a_stream_begins_afresh_and_says_so():
    X, y = standard_rows(2, n_rows=300)
    model = NaturalGradientLogisticRegression().fit(X, y)
    with pytest.warns(UserWarning, match="partial_fit begins afresh"):
        model.partial_fit(X[:50], y[:50])
    fresh = NaturalGradientLogisticRegression().partial_fit(X[:50], y[:50], classes=[0, 1])
    np.testing.assert_array_equal(coefficients(model), coefficients(fresh))
    NaturalGradientLogisticRegression().fit(X, y).partial_fit(X[:50], y[:50], classes=[0, 1])


def bad_calls():
    X, y = standard_rows(2, n_rows=100)
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


def test_information_that_is_too_large_for_a_matrix_is_refused(limits):
    limits(matrix_bytes=100)
    X, y = standard_rows(2, n_rows=100)
    with pytest.raises(ValueError, match="use fisher='diagonal' or 'kronecker', which keep less"):
        NaturalGradientLogisticRegression().partial_fit(X, y, classes=[0, 1])
    NaturalGradientLogisticRegression(fisher="diagonal").partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize(("mean", "std", "effect"), [(2000.0, 10.0, 1.0), (100.0, 1.0, 2.0), (0.0, 1.0, 6.0)])
def test_columns_far_from_zero_and_strong_effects_need_no_care(C, mean, std, effect):
    rng = np.random.default_rng(0)
    X = rng.normal(mean, std, size=(8000, 1))
    y = (effect * (X[:, 0] - mean) / std + rng.logistic(size=8000) > 0).astype(int)
    model = partial_fits(NaturalGradientLogisticRegression(C=C), X, y)
    expected = NaturalGradientLogisticRegression(C=C).fit(X, y)
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, expected.predict_proba(X)) + 0.0005
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0.05)


def test_one_outlier_at_the_beginning_costs_no_column():
    X, y = standard_rows(2, n_rows=8000)
    X[0, 0] = 1e3
    model = partial_fits(NaturalGradientLogisticRegression(C=np.inf), X, y)
    expected = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    assert standard_errors_apart(model, expected, X, y) < 0.7


def test_rows_that_are_kept_are_copied():
    X, y = standard_rows(2, n_rows=600)
    buffer = np.empty((50, 4))
    models = [NaturalGradientLogisticRegression() for _ in range(2)]
    for batch in gen_batches(600, 50):
        buffer[:] = X[batch]
        models[0].partial_fit(buffer, y[batch], [0, 1])
        models[1].partial_fit(X[batch], y[batch], [0, 1])
    np.testing.assert_array_equal(coefficients(models[0]), coefficients(models[1]))


def test_batches_without_weight_teach_nothing():
    X, y = standard_rows(2, n_rows=900)
    model = NaturalGradientLogisticRegression(class_weight={0: 0.0, 1: 1.0})
    model.partial_fit(X[y == 0], y[y == 0], [0, 1])
    assert not coefficients(model).any()
    model = partial_fits(NaturalGradientLogisticRegression(), X, y)
    before = coefficients(model)
    model.partial_fit(X, y, sample_weight=np.zeros(900))
    np.testing.assert_array_equal(coefficients(model), before)


@pytest.mark.parametrize("changed", [{"fisher": "kronecker"}, {"fit_intercept": False}])
def test_a_stream_stays_what_it_began_as(changed):
    X, y = standard_rows(2, n_rows=900)
    model = partial_fits(NaturalGradientLogisticRegression(), X, y).set_params(**changed)
    with pytest.raises(ValueError, match="are not those that the stream began with"):
        model.partial_fit(X, y)


def test_rare_classes_are_waited_for():
    X, y = standard_rows(2, n_rows=3000)
    kept = (y == 0) | (np.random.default_rng(0).uniform(size=3000) < 0.01)
    model, n_kept = NaturalGradientLogisticRegression(), []
    for batch in gen_batches(int(kept.sum()), 100):
        rows = model.partial_fit(X[kept][batch], y[kept][batch], [0, 1])._stream.first_rows
        n_kept.append(0 if rows is None else len(rows.codes))
    assert max(n_kept) > 1000


def test_a_number_for_the_learning_rate_is_not_for_streams():
    X, y = standard_rows(3)
    by_number = partial_fits(NaturalGradientLogisticRegression(learning_rate=1.0), X, y)
    np.testing.assert_array_equal(
        coefficients(by_number), coefficients(partial_fits(NaturalGradientLogisticRegression(), X, y))
    )


@pytest.mark.parametrize("fisher", ["true", "diagonal"])
def test_a_covariance_too_large_to_keep_is_refused_in_a_stream_too(fisher, limits):
    limits(matrix_bytes=100)
    X, y = standard_rows(2, n_rows=50)
    model = NaturalGradientLogisticRegression(fisher=fisher, store_covariance=True)
    with pytest.raises(ValueError, match="the covariance of 5 coefficients would take"):
        model.partial_fit(X, y, classes=[0, 1])
