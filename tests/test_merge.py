"""Merged models: the optimum of the summed quadratics, and a step on all rows."""

import numpy as np
import pytest
from problems import coefficients, make_problem, partial_fits, standard_errors_apart, standard_rows
from sklearn.utils import gen_batches

from sknatgrad import NaturalGradientLogisticRegression, merge


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("by", ["partial_fit", "fit"])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_shards_merge_into_the_fit_of_all_rows(n_classes, by, C):
    X, y = standard_rows(n_classes, n_rows=8000)
    models = []
    for shard in gen_batches(8000, 2000):
        model = NaturalGradientLogisticRegression(C=C, store_covariance=True)
        models.append(
            model.fit(X[shard], y[shard])
            if by == "fit"
            else partial_fits(model, X[shard], y[shard], classes=np.unique(y))
        )
    merged = merge(models)
    expected = NaturalGradientLogisticRegression(C=C, store_covariance=True).fit(X, y)
    # the fit itself is about √5 or √10 standard errors away from the truth
    assert standard_errors_apart(merged, expected, X, y) < 0.7
    np.testing.assert_allclose(
        np.sqrt(merged.covariance_.diagonal()), np.sqrt(expected.covariance_.diagonal()), rtol=0.03
    )
    np.testing.assert_allclose(coefficients(merge(models[::-1])), coefficients(merged), rtol=1e-9)
    more = standard_rows(n_classes, n_rows=500, seed=1)
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
    # at its own optimum the loss of a model's rows has the gradient of its penalty with the opposite sign
    right = sum(fisher @ theta + prior @ theta for fisher, theta in zip(fishers, thetas, strict=True))
    expected = np.linalg.solve(sum(fishers) + prior, right)
    np.testing.assert_allclose(coefficients(merge(models)).ravel(), expected, rtol=1e-6)


def test_models_that_do_not_go_together_are_not_merged():
    X, y = standard_rows(2, n_rows=300)
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


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("fisher", ["true", "empirical", "kronecker", "diagonal"])
def test_one_step_on_the_rows_polishes_a_merged_model(n_classes, fisher):
    """With the whole matrix the step squares the error; with the others it helps, or is not taken."""
    random = np.random.default_rng(0)
    X = random.normal(size=(4_000, 5))
    theta = random.normal(size=(n_classes, 5))
    y = (X @ theta.T + random.gumbel(size=(4_000, n_classes))).argmax(axis=1)
    weight = random.uniform(0.5, 2.0, size=4_000)
    shards = [slice(start, None, 20) for start in range(20)]
    options = {"fisher": fisher, "store_covariance": True, "class_weight": {0: 2.0}}
    models = [NaturalGradientLogisticRegression(**options).fit(X[s], y[s], weight[s]) for s in shards]
    joint = NaturalGradientLogisticRegression(**options).fit(X, y, weight)
    rough, refined = merge(models), merge(models, X, y, sample_weight=weight)
    before, after = (abs(model.coef_ - joint.coef_).max() for model in (rough, refined))
    exact = fisher in {"true", "empirical"} or (fisher == "kronecker" and n_classes == 2)
    assert after < 0.1 * before if exact and fisher == "true" else after <= before
    if exact and fisher == "true":
        np.testing.assert_allclose(refined.covariance_, joint.covariance_, rtol=1e-2, atol=1e-4)
    more = refined.partial_fit(X[:10], y[:10], sample_weight=weight[:10])
    assert np.isfinite(more.coef_).all()


def test_rows_that_polish_are_those_of_the_models():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(200, 3)), np.arange(200) % 2
    halves = [slice(0, 100), slice(100, 200)]
    models = [NaturalGradientLogisticRegression(store_covariance=True).fit(X[half], y[half]) for half in halves]
    with pytest.raises(ValueError, match=r"X and y have classes of total weights \[99.0, 100.0\], but the models have"):
        merge(models, X[1:], y[1:])
    with pytest.raises(ValueError, match="y has shape"):
        merge(models, X)
    for name, given in {"y": y, "sample_weight": np.ones(200)}.items():
        with pytest.raises(ValueError, match=f"{name} is given without X; pass X and y, the rows of all the models"):
            merge(models, **{name: given})
