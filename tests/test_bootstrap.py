"""The bootstrap: resamples are fits with their weights, and intervals are those of the literature."""

import warnings

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._solver import many_models
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.inference._bootstrap import resamples
from sknatgrad.inference._bootstrap.intervals import acceleration_of, bca_interval


def table(load, n_columns, C):
    X, y = load(return_X_y=True)
    X = StandardScaler().fit_transform(X[:, :n_columns])
    return X, y, NaturalGradientLogisticRegression(C=C)


def accelerations(result):
    return acceleration_of(result.fitted, result.row_sums, result.options)


def contrasts(model):
    theta = np.column_stack([model.coef_, model.intercept_]) if model.fit_intercept else model.coef_
    return theta if len(theta) == 1 else theta[1:] - theta[0]


def check_resamples(result, model, X, y):
    """Compare some of the resamples with fits with the same weights."""
    fitted = result.resamples
    for place in range(0, len(fitted.numbers), max(len(fitted.numbers) // 5, 1)):
        weight = fitted.draws.weights(fitted.numbers[place])
        single = NaturalGradientLogisticRegression(
            C=model.C, tol=1e-13, fit_intercept=model.fit_intercept, prior=model.prior
        ).fit(X, y, weight)
        expected = contrasts(single)
        np.testing.assert_allclose(fitted.params[place], expected, rtol=0, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("load", "n_columns", "C"), [(load_breast_cancer, 3, np.inf), (load_breast_cancer, 30, 0.1), (load_wine, 4, 1.0)]
)
def test_resamples_are_fits_with_the_same_weights(load, n_columns, C, fit_intercept):
    X, y, model = table(load, n_columns, C)
    model.set_params(fit_intercept=fit_intercept).fit(X, y)
    result = infer(model, X, y, covariance="bootstrap", n_resamples=150)
    check_resamples(result, model, X, y)
    assert len(result.resamples.params) == result.resamples.n_resamples == 150
    assert result.resamples.reason == ""
    weights = np.array([result.resamples.draws.weights(number) for number in range(150)])
    assert (weights.sum(axis=1) == y.size).all()
    flat = result.resamples.params.reshape(150, -1)
    np.testing.assert_allclose(result.covariance, np.cov(flat.T), rtol=1e-10)
    np.testing.assert_array_equal(result.params, infer(model, X, y).params)
    assert "resamples (bootstrap)" in str(result.summary())


def test_storage_priors_and_far_columns():
    X, y, _ = table(load_breast_cancer, 4, 1.0)
    X = X + np.array([0.0, 2000.0, 0.0, 0.0])
    prior = (np.array([0.5, 0.0, 0.0, 0.0]), np.array([2.0, 1.0, 1.0, 1.0]))
    model = NaturalGradientLogisticRegression(prior=prior).fit(X, y)
    result = infer(model, X, y, covariance="bootstrap", n_resamples=20)
    weight = result.resamples.draws.weights(3)
    single = NaturalGradientLogisticRegression(prior=prior, tol=1e-13).fit(X, y, weight)
    np.testing.assert_allclose(result.resamples.params[3][0, :4], single.coef_[0], atol=1e-6)
    np.testing.assert_allclose(result.resamples.params[3][0, 4], single.intercept_[0], atol=2e-3)
    stored = sparse.csr_array(np.where(abs(X) < 0.5, 0.0, X))
    model = NaturalGradientLogisticRegression().fit(stored, y)
    check_resamples(infer(model, stored, y, covariance="bootstrap", n_resamples=10), model, stored, y)


def test_frequencies_are_drawn_one_by_one_and_sampling_weights_with_their_rows():
    X, y, model = table(load_breast_cancer, 3, 1.0)
    frequency = np.random.default_rng(0).integers(4, size=y.size)
    model.fit(X, y, frequency)
    result = infer(model, X, y, sample_weight=frequency, covariance="bootstrap", n_resamples=30)
    check_resamples(result, model, X, y)
    weights = np.array([result.resamples.draws.weights(number) for number in range(30)])
    np.testing.assert_allclose(weights.sum(axis=1), frequency.sum())
    assert not weights[:, frequency == 0].any()
    assert weights.max() > frequency.max()
    # as rows that are repeated
    repeated = np.repeat(np.arange(y.size), frequency)
    expected = infer(model, X[repeated], y[repeated], covariance="bootstrap", n_resamples=1000)
    observed = infer(model, X, y, sample_weight=frequency, covariance="bootstrap", n_resamples=1000)
    np.testing.assert_allclose(observed.standard_errors, expected.standard_errors, rtol=0.1)
    settings = {"sample_weight": frequency, "weights": "sampling", "covariance": "bootstrap", "n_resamples": 30}
    sampled = infer(model, X, y, **settings)
    ratio = sampled.resamples.draws.weights(7)[frequency > 0] / frequency[frequency > 0]
    np.testing.assert_array_equal(ratio, np.round(ratio))
    check_resamples(sampled, model, X, y)


def test_groups_are_drawn_as_they_are():
    X, y, model = table(load_breast_cancer, 3, 1.0)
    groups = np.arange(y.size) // 10
    model.fit(X, y)
    result = infer(model, X, y, covariance="bootstrap", groups=groups, n_resamples=40)
    check_resamples(result, model, X, y)
    for number in range(5):
        weight = result.resamples.draws.weights(number)
        assert all(np.ptp(weight[groups == group]) == 0.0 for group in range(57))
        assert weight[groups < 56].sum() + weight[-1] * (groups == 56).sum() == weight.sum()
    clustered = infer(model, X, y, covariance="cluster", groups=groups)
    many = infer(model, X, y, covariance="bootstrap", groups=groups, n_resamples=1000)
    np.testing.assert_allclose(many.standard_errors, clustered.standard_errors, rtol=0.25)


def test_large_samples_have_the_standard_errors_of_the_sandwich():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    y = (X[:, 0] + rng.logistic(size=3000) > 0).astype(int)
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    result = infer(model, X, y, covariance="bootstrap")
    robust = infer(model, X, y, covariance="robust")
    np.testing.assert_allclose(result.standard_errors, robust.standard_errors, rtol=0.08)
    for method in ("percentile", "bca"):
        interval = result.conf_int(method=method)
        np.testing.assert_allclose(interval, robust.conf_int(), atol=0.03)


def test_percentile_intervals_are_quantiles():
    X, y, model = table(load_wine, 3, 1.0)
    result = infer(model.fit(X, y), X, y, covariance="bootstrap", n_resamples=99)
    expected = np.quantile(result.resamples.params, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(result.conf_int(0.9, method="percentile"), np.moveaxis(expected, 0, -1), rtol=1e-12)
    normal = result.conf_int(0.9)
    np.testing.assert_allclose(normal.mean(axis=-1), result.params, rtol=1e-12)


def test_bca_intervals_are_those_of_scipy():
    values = np.random.default_rng(0).exponential(size=40)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=999, method="BCa", random_state=0)
    left_out = (values.sum() - values) / 39.0
    deviation = left_out.mean() - left_out
    acceleration = (deviation**3).sum() / (6.0 * (deviation**2).sum() ** 1.5)
    distribution = theirs.bootstrap_distribution[:, None]
    ours = bca_interval(distribution, np.array([values.mean()]), np.array([acceleration]), 0.95)
    np.testing.assert_allclose(ours[0], theirs.confidence_interval, rtol=1e-10)


@pytest.mark.parametrize("in_groups", [False, True])
def test_accelerations_are_those_of_the_jackknife(in_groups):
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(150, 2))
    y = (X[:, 0] + rng.logistic(size=150) > 1).astype(int)
    groups = np.arange(150) // 3 if in_groups else np.arange(150)
    model = NaturalGradientLogisticRegression(C=1.0).fit(X, y)
    result = infer(model, X, y, covariance="bootstrap", groups=groups if in_groups else None, n_resamples=20)
    left_out = []
    for group in np.unique(groups):
        weight = (groups != group).astype(float)
        left_out.append(contrasts(NaturalGradientLogisticRegression(C=1.0).fit(X, y, weight)))
    deviation = np.mean(left_out, axis=0) - left_out
    expected = (deviation**3).sum(axis=0) / (6.0 * (deviation**2).sum(axis=0) ** 1.5)
    np.testing.assert_allclose(accelerations(result), expected, rtol=0.15, atol=0.004)
    # a frequency of two counts as two rows
    if not in_groups:
        weight = np.full(150, 2.0)
        doubled = NaturalGradientLogisticRegression(C=0.5).fit(X, y, weight)
        twice = infer(doubled, X, y, sample_weight=weight, covariance="bootstrap", n_resamples=5)
        np.testing.assert_allclose(accelerations(twice) * np.sqrt(2.0), accelerations(result), rtol=1e-5)


def test_resamples_without_an_optimum_are_counted_and_omitted():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(24, 2))
    y = (X[:, 0] + 0.8 * rng.logistic(size=24) > 0).astype(int)
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning, match="are separated by class, and are omitted"):
        result = infer(model, X, y, covariance="bootstrap", n_resamples=200)
    drawn = result.resamples
    assert drawn.n_separated > 0
    assert len(drawn.params) + drawn.n_separated + drawn.n_without_class + drawn.n_failed == 200
    assert any("separated" in text for text in result.warnings)
    rare = np.zeros(60, dtype=int)
    rare[:2] = 1
    X = rng.normal(size=(60, 1))
    model = NaturalGradientLogisticRegression(C=0.1).fit(X, rare)
    with pytest.warns(InferenceWarning, match="of 100 resamples [0-9]+ lack a class, and are omitted"):
        result = infer(model, X, rare, covariance="bootstrap", n_resamples=100)
    # about exp(-2) of them
    assert 5 <= result.resamples.n_without_class <= 25
    assert len(result.resamples.params) == 100 - result.resamples.n_without_class


def test_resamples_that_are_fitted_alone_and_sets_of_none(monkeypatch):
    X, y, model = table(load_breast_cancer, 3, np.inf)
    model.fit(X, y)
    together = infer(model, X, y, covariance="bootstrap", n_resamples=6)

    def given_up(models, starts, factors, ending):
        ended = many_models.descend_together(models, starts, factors, ending)
        return ended._replace(theta=starts[0].theta, converged=np.zeros(len(factors), dtype=bool))

    monkeypatch.setattr(resamples, "descend_together", given_up)
    alone = infer(model, X, y, covariance="bootstrap", n_resamples=6)
    np.testing.assert_allclose(alone.resamples.params, together.resamples.params, rtol=1e-6)
    penalised = model.set_params(C=1.0).fit(X, y)
    alone = infer(penalised, X, y, covariance="bootstrap", n_resamples=3)
    monkeypatch.undo()
    # one at a time: some sets have no resample with all classes
    monkeypatch.setattr(resamples, "AT_ONCE", 1)
    together = infer(penalised, X, y, covariance="bootstrap", n_resamples=3)
    np.testing.assert_allclose(alone.resamples.params, together.resamples.params, rtol=1e-6)
    rare = np.append(np.zeros(40, dtype=int), 1)
    model = NaturalGradientLogisticRegression(C=0.1).fit(X[:41], rare)
    with pytest.warns(InferenceWarning, match="lack a class"):
        result = infer(model, X[:41], rare, covariance="bootstrap", n_resamples=20)
    assert 0 < result.resamples.n_without_class < 20


def test_accelerations_of_several_blocks(monkeypatch):
    X, y, model = table(load_breast_cancer, 3, 1.0)
    model.fit(X, y)
    whole = accelerations(infer(model, X, y, covariance="bootstrap", n_resamples=2))
    small = NaturalGradientLogisticRegression._limits._replace(block_bytes=2**12, min_block_rows=50, row_bytes=2**10)
    monkeypatch.setattr(NaturalGradientLogisticRegression, "_limits", small)
    parts = accelerations(infer(model, X, y, covariance="bootstrap", n_resamples=2))
    np.testing.assert_allclose(parts, whole, rtol=1e-9)
    groups = np.arange(y.size) // 7
    in_parts = accelerations(infer(model, X, y, covariance="bootstrap", groups=groups, n_resamples=2))
    monkeypatch.undo()
    in_one = accelerations(infer(model, X, y, covariance="bootstrap", groups=groups, n_resamples=2))
    np.testing.assert_allclose(in_parts, in_one, rtol=1e-9)


def test_no_resample_with_an_optimum():
    X, y = load_iris(return_X_y=True)
    model = NaturalGradientLogisticRegression(C=np.inf, max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:100], y[:100])
        with pytest.raises(ValueError, match="n_resamples=4: 0 of them have an optimum"):
            infer(model, X[:100], y[:100], covariance="bootstrap", n_resamples=4)


def test_columns_that_are_set_aside():
    X, y, model = table(load_breast_cancer, 3, np.inf)
    more = np.column_stack([X[:, 0], X[:, 0] - X[:, 1], X[:, 1:]])
    plain = infer(model.fit(X, y), X, y, covariance="bootstrap", n_resamples=20)
    with pytest.warns(InferenceWarning, match="x2"):
        result = infer(model.fit(more, y), more, y, covariance="bootstrap", n_resamples=20)
    assert np.isnan(result.params[0, 2])
    assert np.isnan(result.standard_errors[0, 2])
    np.testing.assert_allclose(result.standard_errors[0, [3, 4]], plain.standard_errors[0, [2, 3]], rtol=1e-6)
    assert np.isnan(result.conf_int(method="bca")[0, 2]).all()


def test_tests_use_the_covariance():
    X, y, model = table(load_breast_cancer, 3, np.inf)
    result = infer(model.fit(X, y), X, y, covariance="bootstrap", n_resamples=50)
    test = result.wald_test(["x0", "x1"])
    part = result.covariance[:2, :2]
    assert test.statistic == pytest.approx(result.params[0, :2] @ np.linalg.solve(part, result.params[0, :2]))
    few = infer(model, X, y, covariance="bootstrap", n_resamples=3)
    with pytest.raises(ValueError, match="rank 2"):
        few.wald_test(["x0", "x1", "x2"])


def test_seeds():
    X, y, model = table(load_breast_cancer, 3, 1.0)
    model.fit(X, y)

    def params(random_state):
        return infer(model, X, y, covariance="bootstrap", n_resamples=5, random_state=random_state).resamples.params

    np.testing.assert_array_equal(params(0), params(0))
    assert not np.array_equal(params(0), params(1))
    np.testing.assert_array_equal(params(np.random.RandomState(4)), params(4))


def test_bad_arguments_get_one_sentence():
    X, y, model = table(load_breast_cancer, 3, 1.0)
    model.fit(X, y)

    def refused(match, **settings):
        with pytest.raises(ValueError, match=match):
            infer(model, X, y, covariance="bootstrap", **settings)

    for number in (1, 0, 2.5, True, "10"):
        refused(r"n_resamples=.* must be an integer of 2 or more", n_resamples=number)
    refused("does not go together with covariance='bootstrap'", features=["x0"])
    refused("aliased='nan' does not go together", aliased="nan")
    matrix = NaturalGradientLogisticRegression(prior=(0.0, np.eye(4))).fit(X, y)
    with pytest.raises(ValueError, match="prior"):
        infer(matrix, X, y, covariance="bootstrap")
    with pytest.raises(ValueError, match="method='percentile' needs resamples"):
        infer(model, X, y).conf_int(method="percentile")
    with pytest.raises(ValueError, match="method='bayes' is unknown"):
        infer(model, X, y).conf_int(method="bayes")
