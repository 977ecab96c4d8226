"""C by the leave-one-out loss, against fits without each row, and the search for C."""

import warnings

import numpy as np
import pytest
from problems import make_problem
from scipy import sparse
from scipy.stats import sem
from sklearn import config_context
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import LeaveOneOut as LeaveOneOutSplits
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression, NaturalGradientLogisticRegressionCV, SeparationWarning
from sknatgrad._estimator import cv_search
from sknatgrad._estimator.cv_loo import LeaveOneOut
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._limits import Limits
from sknatgrad._model import influence as influence_module
from sknatgrad._model.influence import RowInfluence
from sknatgrad._model.prior import Prior
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver import leave_one_out
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.leave_one_out import LeaveOneOutFits
from sknatgrad._solver.many_models import Descended
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import influence

CS = [0.01, 1.0, 100.0]


def standardised(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def brute_force(X, y, C, weight=None, **settings):
    """Return the loss of each row by a fit without it, and whether that fit has its class right."""
    losses, correct = np.empty(y.size), np.empty(y.size)
    for row in range(y.size):
        rest = np.delete(np.arange(y.size), row)
        weights = None if weight is None else weight[rest]
        model = NaturalGradientLogisticRegression(C=C, tol=1e-12, **settings).fit(X[rest], y[rest], weights)
        proba = dict(zip(model.classes_, model.predict_proba(X[[row]])[0], strict=True))
        losses[row], correct[row] = -np.log(max(proba[y[row]], 1e-300)), max(proba, key=proba.get) == y[row]
    return losses, correct


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(
    "settings", [{}, {"fit_intercept": False, "class_weight": {0: 2.0}}, {"prior": (0.5, 2.0)}], ids=repr
)
def test_scores_are_those_of_fits_without_each_row(n_classes, settings):
    problem = make_problem(n_classes, n_rows=60)
    X, y, weight = problem.X, problem.codes, problem.weight
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo", **settings).fit(X, y, weight)
    hits = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo", scoring="accuracy", **settings).fit(X, y, weight)
    assert model.scores_.shape == model.n_iter_.shape == (1, 1, 3)
    for place, C in enumerate(CS):
        losses, correct = brute_force(X, y, C, weight, **settings)
        share = weight / weight.sum()
        assert model.scores_[0, 0, place] == pytest.approx(-(share @ losses), abs=1e-3)
        assert hits.scores_[0, 0, place] == pytest.approx(share @ correct, abs=1e-12)
        n_rows = np.count_nonzero(weight)
        error = np.sqrt(((share * (losses - share @ losses)) ** 2).sum() * n_rows / (n_rows - 1))
        assert model.score_standard_errors_[place] == pytest.approx(error, rel=0.02)


def test_the_standard_error_of_a_mean_over_rows():
    scores = np.random.default_rng(0).normal(size=9)
    _, error = LeaveOneOut(None, "accuracy", np.full(9, 3.0))._mean(scores)
    assert error == pytest.approx(sem(scores))
    weighted, error = LeaveOneOut(None, "accuracy", np.r_[np.ones(8), 0.0])._mean(scores)
    assert (weighted, error) == pytest.approx((scores[:8].mean(), sem(scores[:8])))
    assert np.isnan(LeaveOneOut(None, "accuracy", np.r_[1.0, np.zeros(8)])._mean(scores)[0])


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_wine])
def test_scores_are_those_of_leave_one_out_splits(load):
    X, y = standardised(load)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo").fit(X, y)
    splits = NaturalGradientLogisticRegressionCV(Cs=CS, cv=LeaveOneOutSplits()).fit(X, y)
    assert splits.scores_.shape == (y.size, 1, 3)
    np.testing.assert_allclose(model.scores_[0, 0], splits.scores_.mean(axis=(0, 1)), rtol=0, atol=5e-4)
    np.testing.assert_allclose(model.score_standard_errors_, splits.score_standard_errors_, rtol=0.01)
    assert model.C_ == splits.C_


FEW_ROWS = np.array([[40, -1600, -2], [-20, 700, -7], [70, -900, -7], [-110, 1800, -25], [70, -1700, 0.0]])
FEW_ROWS = np.vstack([FEW_ROWS, [[20, 1100, 7], [-110, 400, 10], [160, -500, -5]]])
# normal but for one value
ONE_LARGE = [
    81.8,
    2.4,
    -0.3,
    1,
    4.2,
    -0.3,
    -0.3,
    0.1,
    1.1,
    -0.2,
    3,
    -0.3,
    1.9,
    0.4,
    -0.3,
    2.4,
    -1.3,
    2.6,
    1.6,
    0.8,
    0.3,
]
ONE_LARGE = np.array([*ONE_LARGE, -5, -1.7, -0.6, -1.4, 1, 2.4, -2.1, 1.3, 0.8, -1.4, 1.7, -2.6, 0.9, -0.6])[:, None]
OF_LARGE = np.array([1] * 4 + [0] * 7 + [1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1])


def heavy_tails(seed):
    """Rows of Student's t with two degrees of freedom, and their labels."""
    rng = np.random.default_rng(seed)
    n_rows, n_columns = rng.integers([12, 1], [40, 7])
    return rng.standard_t(2, size=(n_rows, n_columns)), np.resize(np.arange(rng.integers(2, 4)), n_rows)


@pytest.mark.parametrize(
    ("X", "y"),
    [(FEW_ROWS, np.array([0, 1] * 4)), (ONE_LARGE, OF_LARGE), *(heavy_tails(seed) for seed in range(12))],
    ids=["separated without a row", "one large value", *map(str, range(12))],
)
def test_rows_of_any_influence(X, y):
    Cs = [1e-2, 1.0, 1e4]
    found = NaturalGradientLogisticRegressionCV(Cs=Cs, cv="loo").fit(X, y).scores_[0, 0]
    exact = NaturalGradientLogisticRegressionCV(Cs=Cs, cv=LeaveOneOutSplits(), tol=1e-12).fit(X, y).scores_
    np.testing.assert_allclose(found, exact.mean(axis=(0, 1)), rtol=0, atol=5e-4)


def test_rows_that_others_outweigh():
    rng = np.random.default_rng(169)
    X = rng.standard_t(1.2, size=(40, 4))
    y = (X @ rng.normal(size=(4, 3)) + rng.gumbel(size=(40, 3))).argmax(axis=1)
    weight = 10.0 ** rng.uniform(-6, 6, size=40)
    model = NaturalGradientLogisticRegressionCV(Cs=[1e3], cv="loo", tol=1e-12).fit(X, y, weight)
    losses, _ = brute_force(X, y, 1e3, weight)
    losses = np.minimum(losses, -np.log(np.finfo(float).eps))
    assert model.scores_[0, 0, 0] == pytest.approx(-np.average(losses, weights=weight), abs=5e-4)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_largest_response_of_any_row(n_classes, monkeypatch):
    """Bounds by the spread of the rows that are not computed hold, whichever are."""
    problem = make_problem(n_classes, n_rows=60)
    model = NaturalGradientLogisticRegression(C=10.0, tol=1e-12).fit(problem.X, problem.codes, problem.weight)
    found, bounds = [], RowInfluence.loss_errors

    def recorded(rows, losses, responses):
        found.append(responses)
        return bounds(rows, losses, responses)

    monkeypatch.setattr(RowInfluence, "loss_errors", recorded)
    for n_outlying in (3, 60):
        monkeypatch.setattr(influence_module, "N_OUTLYING", n_outlying)
        result = influence(model, problem.X, problem.codes, sample_weight=problem.weight)
    of_rows = result.covariance.uncentred(result.covariance.covariance(result.options))
    changes = -result.dfbetas() * np.sqrt(of_rows.diagonal()).reshape(1, n_classes - 1, -1)
    logits = np.einsum("ikd,jd->ijk", changes, np.column_stack([problem.X, np.ones(60)]))
    exact = (np.maximum(logits.max(axis=2), 0.0) - np.minimum(logits.min(axis=2), 0.0))[:, problem.weight > 0]
    np.testing.assert_allclose(found[1], exact.max(axis=1), rtol=1e-8, atol=1e-12)
    assert (found[0] >= found[1] * (1 - 1e-9)).all()
    assert (found[0] > found[1]).any()


def test_scores_are_those_of_influence():
    X, y = load_wine(return_X_y=True)
    weight = np.resize([0.0, 1.0, 2.0], y.size)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo", tol=1e-12).fit(X, y, weight)
    for place, C in enumerate(CS):
        single = NaturalGradientLogisticRegression(C=C, tol=1e-12).fit(X, y, weight)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InferenceWarning)
            expected = influence(single, X, y, sample_weight=weight).loo_loss
        assert model.scores_[0, 0, place] == pytest.approx(-expected, abs=5e-4)


def test_weights_are_routed_to_the_scores():
    problem = make_problem(2, n_rows=60)
    losses, _ = brute_force(problem.X, problem.codes, 1.0, problem.weight)
    share = problem.weight / problem.weight.sum()
    # rows without weight in the fit are scored by it
    expected = {True: share @ losses, False: losses.mean()}
    with config_context(enable_metadata_routing=True):
        for requested in (True, False):
            scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=requested)
            for cv in ("loo", LeaveOneOutSplits()):
                model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=cv, tol=1e-12, scoring=scorer)
                model.fit(problem.X, problem.codes, sample_weight=problem.weight)
                if cv == "loo":
                    assert model.scores_[0, 0, 0] == pytest.approx(-expected[requested], abs=1e-3)
            assert np.nanmean(model.scores_) == pytest.approx(
                -losses[~np.isnan(model.scores_[:, 0, 0])].mean(), abs=1e-6
            )


def test_the_largest_loss_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] > 0.0).astype(int)
    y[X[:, 0].argmax()] = 0
    row = X[:, 0].argmax()
    X[row] *= 1e3
    model = NaturalGradientLogisticRegressionCV(Cs=[1e4], cv="loo").fit(X, y)
    splits = NaturalGradientLogisticRegressionCV(Cs=[1e4], cv=LeaveOneOutSplits()).fit(X, y)
    assert splits.scores_[row, 0, 0] == pytest.approx(np.log(np.finfo(float).eps))
    assert model.scores_[0, 0, 0] == pytest.approx(splits.scores_.mean(), abs=1e-3)


@pytest.mark.parametrize("kind", ["sparse", "float32", "far", "file"])
def test_other_storage_has_the_same_scores(kind, tmp_path):
    X, y = standardised(load_iris)
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo", tol=1e-17).fit(X, y)
    if kind == "sparse":
        X = sparse.csr_array(X)
    elif kind == "float32":
        X = X.astype(np.float32)
    elif kind == "far":
        X = X + 1e4
    else:
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo", tol=1e-17).fit(X, y)
    np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-5 if kind == "float32" else 1e-8)


def fits_of(n_classes, *, kind="memory", **parameters):
    """Return the fits without single rows of an optimum, and the data."""
    problem = make_problem(n_classes, n_rows=70)
    model = NaturalGradientLogisticRegression(tol=1e-14, **parameters)
    model.fit(problem.X, problem.codes, sample_weight=problem.weight)
    theta = np.column_stack([model.coef_, model.intercept_])
    X, centres = problem.X, None
    if kind == "sparse":
        X = sparse.csr_array(X)
    elif kind == "centred":
        X, centres = X + 1e3, np.full(X.shape[1], 1e3)
    source = MemorySource(
        X, problem.codes, problem.weight, len(theta), limits=Limits(block_bytes=1, min_block_rows=16), centres=centres
    )
    return source, theta, problem


def fits_without(source, prior, theta):
    shape = Shape.of(source.X, *theta.shape)._replace(centred=source.centres is not None)
    return LeaveOneOutFits(source, shape, source.limits, prior, theta)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("kind", ["memory", "sparse", "centred"])
def test_fits_without_rows_are_those_of_fit(n_classes, kind, monkeypatch):
    source, theta, problem = fits_of(n_classes, kind=kind)
    precision = np.r_[np.ones(theta.shape[1] - 1), 0.0]
    fits = fits_without(source, Prior(precision), theta)
    rows = np.arange(0, 70, 7)
    monkeypatch.setattr(leave_one_out, "AT_ONCE", 4)
    monkeypatch.setattr(LeaveOneOutFits, "_alone", None)  # no fit needs a descent of its own
    logits = fits.logits(rows, np.full(rows.size, 0.1))
    for row, found in zip(rows, logits, strict=True):
        weight = problem.weight.copy()
        weight[row] = 0.0
        model = NaturalGradientLogisticRegression(tol=1e-14).fit(problem.X, problem.codes, weight)
        expected = np.atleast_1d(model.decision_function(problem.X[[row]])[0])
        np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


def test_fits_that_do_not_converge_together_are_made_alone(monkeypatch):
    source, theta, _ = fits_of(2)
    precision = np.r_[np.ones(theta.shape[1] - 1), 0.0]
    rows = np.array([3, 20, 21])
    expected = fits_without(source, Prior(precision), theta).logits(rows, np.full(rows.size, 0.1))
    descend = leave_one_out.descend_together

    def failing(*arguments):
        ended = descend(*arguments)
        return Descended(ended.theta, ended.n_steps, np.array([True, False, False]), ended.pairs)

    monkeypatch.setattr(leave_one_out, "descend_together", failing)
    np.testing.assert_allclose(
        fits_without(source, Prior(precision), theta).logits(rows, np.full(rows.size, 0.1)), expected, rtol=1e-4
    )


def test_a_prior_that_is_a_matrix():
    source, theta, problem = fits_of(2, prior=(0.3, np.diag([1.0, 2.0, 3.0, 0.5])))
    model = NaturalGradientLogisticRegression(prior=(0.3, np.diag([1.0, 2.0, 3.0, 0.5])), tol=1e-14)
    model.fit(problem.X, problem.codes, problem.weight)
    prior = configured_prior(model, np.arange(2))
    assert prior.quadratic is not None
    found = fits_without(source, prior, theta).logits(np.array([5]), np.array([0.1]))
    weight = problem.weight.copy()
    weight[5] = 0.0
    expected = model.fit(problem.X, problem.codes, weight).decision_function(problem.X[[5]])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("cv", ["loo", None])
@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_the_search_finds_the_maximum_to_one_per_cent(load, cv):
    X, y = standardised(load)
    X, y = X[::3], y[::3]
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=cv).fit(X, y)
    assert (np.diff(model.Cs_) > 0).all()
    assert model.coefs_paths_.shape[2] == model.scores_.shape[2] == model.Cs_.size < 22
    assert model.Cs_[model.scores_.mean(axis=(0, 1)).argmax()] == model.C_
    near = model.C_ * np.exp(np.linspace(-0.06, 0.06, 13))
    exact = NaturalGradientLogisticRegressionCV(Cs=near, cv=LeaveOneOutSplits() if cv == "loo" else None, tol=1e-12)
    assert abs(np.log(exact.fit(X, y).C_ / model.C_)) < 0.0101
    whole = NaturalGradientLogisticRegression(C=model.C_).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=0, atol=1e-5 * abs(whole.coef_).max())


def test_every_fit_of_the_search_is_that_of_the_same_values():
    """Each C begins at the fits of its neighbour."""
    X, y = standardised(load_breast_cancer)
    for settings in ({"tol": 1e-12}, {"fisher": "kronecker"}):
        model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=3, **settings).fit(X, y)
        again = NaturalGradientLogisticRegressionCV(Cs=model.Cs_, cv=3, **settings).fit(X, y)
        np.testing.assert_allclose(model.scores_, again.scores_, rtol=1e-5)
        best = list(model.Cs_).index(model.C_)
        alone = NaturalGradientLogisticRegressionCV(Cs=[model.C_], cv=3, **settings).fit(X, y)
        assert model.n_iter_[:, 0, best].sum() < alone.n_iter_.sum()


@pytest.mark.parametrize("scale", [1e-3, 1e8])
def test_the_search_reaches_the_scale_of_the_columns(scale):
    X, y = standardised(load_breast_cancer)
    X, y = X[::3], y[::3]
    expected = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(X, y)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(scale * X, y)
    if scale > 1.0:
        assert abs(np.log(model.C_ * scale**2 / expected.C_)) < 0.02
    else:
        # a weaker penalty would be hardly one
        np.testing.assert_allclose(model.C_, cv_search.MAX_C)


def test_the_search_for_one_standard_error():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo", refit="1se").fit(X, y)
    means, errors = model.scores_[0, 0], model.score_standard_errors_
    best, place = means.argmax(), list(model.Cs_).index(model.C_)
    assert means[place - 1] < means[best] - errors[best] <= means[place]
    assert np.log(model.Cs_[place] / model.Cs_[place - 1]) < 0.02
    # the first value of all is within it
    noise = np.random.default_rng(0).integers(0, 2, y.size)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo", refit="1se").fit(X, noise)
    assert model.Cs_[0] == model.C_


def test_the_search_by_evidence_and_by_undefined_scores():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", scoring="evidence").fit(X, y)
    near = model.C_ * np.exp(np.linspace(-0.06, 0.06, 13))
    exact = NaturalGradientLogisticRegressionCV(Cs=near, scoring="evidence").fit(X, y)
    assert abs(np.log(exact.C_ / model.C_)) < 0.0101
    # undefined where coefficients are large
    scorer = make_scorer(
        lambda y, proba: np.nan if proba.max() > 0.99 else -abs(y - proba).mean(), response_method="predict_proba"
    )
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=3, scoring=scorer, refit="1se").fit(X, y)
    assert np.isnan(model.scores_).any()
    assert np.isfinite(model.scores_[:, 0, list(model.Cs_).index(model.C_)]).all()


def test_columns_without_information():
    y = np.resize([0, 1], 40)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=StratifiedKFold(4)).fit(np.zeros((40, 2)), y)
    assert not model.coef_.any()


def test_maxima_between_the_scales_of_collinear_columns():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 80))
    y = (b + 0.5 * rng.normal(size=80) > 0).astype(int)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(np.column_stack([1e5 * a, 1e5 * a + b]), y)
    assert 1.0 < model.C_ < 20.0
    assert model.scores_.max() > -0.4


def test_the_better_of_two_maxima():
    """Between decades the lower of two neighbours may be the higher one."""
    X, y = standardised(load_breast_cancer)
    peaks = np.log([3.0, 3e-3])

    def score(model, *_):
        distance = (np.log(model.C) - peaks) ** 2
        return float(np.max(-0.1 * distance + [0.0, 0.01]))

    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=2, scoring=score).fit(X[::4], y[::4])
    np.testing.assert_allclose(model.C_, 3e-3, rtol=0.01)


def test_a_maximum_between_the_last_two_values():
    X, y = standardised(load_iris)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(0.03 * X, y)
    expected = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(X, y)
    assert pytest.approx(expected.C_ / 0.03**2, rel=0.02) == model.C_


def test_the_search_goes_on_as_long_as_the_score_rises():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(
        Cs="auto", cv=2, scoring=lambda model, *_: -(np.log(model.C / 7.0) ** 2)
    )
    np.testing.assert_allclose(model.fit(1e8 * X[::4], y[::4]).C_, 7.0, rtol=0.01)


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_the_search_goes_beyond_its_first_values(factor):
    X, y = standardised(load_breast_cancer)
    target = 3e4 if factor > 1.0 else 1e-9

    def score(model, *_):
        return -(np.log(model.C / target) ** 2)

    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=2, scoring=score).fit(X[::4], y[::4])
    np.testing.assert_allclose(model.C_, target, rtol=0.01)


def test_scores_that_are_infinite_undefined_or_constant():
    X, y = standardised(load_iris)
    for value in (np.inf, -np.inf, 1.0):
        model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=2, scoring=lambda *_, value=value: value)
        assert model.fit(X, y).Cs_.size < 12
    model = NaturalGradientLogisticRegressionCV(
        Cs="auto", cv=2, scoring=lambda model, *_: np.nan if model.C > 3.0 else model.C
    )
    assert 2.7 < model.fit(X, y).C_ <= 3.0


def test_tiny_columns_and_large_weights():
    X, y = standardised(load_iris)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv="loo").fit(X * 1e-160, y)
    assert np.isfinite(model.scores_).all()
    expected = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv="loo").fit(X, y)
    for weight in (1e-100, 1e155):
        model = NaturalGradientLogisticRegressionCV(Cs=[1.0 / weight], cv="loo")
        model.fit(X, y, sample_weight=np.full(y.size, weight))
        np.testing.assert_allclose(model.scores_, expected.scores_, atol=1e-3)
        np.testing.assert_allclose(model.score_standard_errors_, expected.score_standard_errors_, rtol=0.05)


def test_no_value_is_tried_twice():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(Cs="auto", cv=3, refit="1se").fit(X, y)
    assert (np.diff(np.log(model.Cs_)) > 1e-6).all()


def test_separated_rows_without_a_penalty_have_no_score():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegressionCV(Cs=[1.0, 1e4, np.inf], cv="loo").fit(X, y)
    assert np.isnan(model.scores_[0, 0]).tolist() == [False, False, True]
    assert model.C_ == 1e4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Cs": "auto", "cv": 3, "refit": False}, "refit=False averages the best C of each split, and Cs='auto'"),
        ({"scoring": "roc_auc"}, "scoring='roc_auc' is not a mean over single rows, as cv='loo' needs it"),
        ({"scoring": make_scorer(max)}, "is not a mean over single rows"),
        ({"scoring": "evidence"}, "cv='loo' has no use with scoring='evidence'"),
        ({"prior": (0.0, np.eye(15))}, "for which cv='loo' is not implemented; pass another cv"),
        ({"cv": "LOO"}, "'cv' parameter"),
        ({"Cs": "all"}, "'Cs' parameter"),
    ],
)
def test_bad_settings_get_one_sentence(settings, message):
    X, y = standardised(load_iris)
    model = NaturalGradientLogisticRegressionCV(**{"cv": "loo", **settings})
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "C_")


def test_rows_that_have_a_class_alone():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), np.zeros(30, dtype=int)
    y[4] = 1
    with pytest.raises(ValueError, match=r"without row 4 the rows contain only one class: 0; pass another cv"):
        NaturalGradientLogisticRegressionCV(cv="loo").fit(X, y)
    # of three classes two remain
    y[10:20] = 2
    others = np.delete(np.arange(30), 4)
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, cv=[(np.delete(np.arange(30), row), [row]) for row in others])
    expected = expected.fit(X, y).scores_.sum(axis=(0, 1)) + np.log(np.finfo(float).eps)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv="loo").fit(X, y)
    np.testing.assert_allclose(30 * model.scores_[0, 0], expected, atol=30 * 5e-4)
    hits = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv="loo", scoring="accuracy").fit(X, y)
    assert hits.scores_[0, 0, 0] <= 29 / 30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        result = influence(NaturalGradientLogisticRegression().fit(X, y), X, y)
    assert np.flatnonzero(np.isinf(result.loo_losses)).tolist() == [4]
    # without an intercept the fit has an optimum
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv="loo", fit_intercept=False).fit(X, y)
    assert model.scores_[0, 0, 0] > -2.0


def test_a_covariance_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", Limits(matrix_bytes=100))
    X, y = standardised(load_iris)
    with pytest.raises(ValueError, match="pass another cv, or fewer columns"):
        NaturalGradientLogisticRegressionCV(cv="loo").fit(X, y)
