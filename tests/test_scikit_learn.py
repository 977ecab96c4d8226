"""With scikit-learn: pipelines, searches, calibration, routing, copies, pickles and attributes."""

import pickle
import re
from email.message import Message
from importlib.metadata import PackageNotFoundError

import joblib
import numpy as np
import pytest
import sklearn
from problems import FISHERS
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sknatgrad
from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._estimator import documentation as _documented


def test_pipeline(iris):
    X, y = iris
    pipeline = make_pipeline(StandardScaler(), NaturalGradientLogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.95
    categories = make_pipeline(
        make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough"), NaturalGradientLogisticRegression()
    )
    assert categories.fit(np.round(X), y).score(np.round(X), y) > 0.8


def test_grid_search_over_fisher_damping_and_penalty(iris):
    X, y = iris
    search = GridSearchCV(
        NaturalGradientLogisticRegression(max_iter=1000),
        {"fisher": ["true", "empirical", "kronecker"], "damping": [0.0, 1e-3, 1.0], "C": [0.01, 1.0]},
        scoring="neg_log_loss",
        cv=3,
    ).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    # metric and damping are means to the same optimum: only the penalty matters
    by_penalty = [scores[search.cv_results_["param_C"] == C] for C in (0.01, 1.0)]
    assert max(np.ptp(group) for group in by_penalty) < 1e-6
    assert search.best_params_["C"] == 1.0


def test_cross_validation(iris):
    X, y = iris
    assert cross_val_score(NaturalGradientLogisticRegression(), X, y, cv=5).mean() > 0.95


def test_calibration(iris):
    X, y = iris
    model = CalibratedClassifierCV(NaturalGradientLogisticRegression(), cv=3).fit(X, y)
    reference = CalibratedClassifierCV(LogisticRegression(tol=1e-10, max_iter=10_000), cv=3).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), atol=1e-6)


def test_one_vs_rest_and_bagging(iris):
    X, y = iris
    assert OneVsRestClassifier(NaturalGradientLogisticRegression()).fit(X, y).score(X, y) > 0.9
    bagging = BaggingClassifier(NaturalGradientLogisticRegression(), n_estimators=3, random_state=0)
    assert bagging.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("fisher", FISHERS)
def test_clone_and_pickle(iris, fisher):
    X, y = iris
    model = NaturalGradientLogisticRegression(fisher=fisher, C=0.01, random_state=0, max_iter=300).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.loss_curve_ == model.loss_curve_
    fresh = clone(model)
    assert not hasattr(fresh, "coef_")
    np.testing.assert_array_equal(fresh.fit(X, y).coef_, model.coef_)


def test_joblib_workers_agree_with_the_parent(iris):
    X, y = iris
    models = [NaturalGradientLogisticRegression(C=C) for C in (0.1, 1.0, 10.0)]
    fitted = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(model.fit)(X, y) for model in models)
    for model, sent_back in zip(models, fitted, strict=True):
        np.testing.assert_allclose(sent_back.coef_, clone(model).fit(X, y).coef_, rtol=1e-9, atol=1e-12)


def test_sample_weight_is_routed(iris):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            NaturalGradientLogisticRegression()
            .set_fit_request(sample_weight=True)
            .set_score_request(sample_weight=True)
        )
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=False)
        routed = cross_validate(
            make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model),
            X,
            y,
            params={"sample_weight": weight},
            scoring=scorer,
            return_estimator=True,
            return_indices=True,
            cv=3,
        )
        train = routed["indices"]["train"][0]
        plain = clone(model).fit(StandardScaler().fit_transform(X[train]), y[train], sample_weight=weight[train])
        np.testing.assert_allclose(routed["estimator"][0][-1].coef_, plain.coef_, rtol=1e-7)
        unweighted = clone(model).fit(StandardScaler().fit_transform(X[train]), y[train])
        assert abs(plain.coef_ - unweighted.coef_).max() > 1e-3


def test_attributes_have_the_shapes_of_scikit_learn(iris):
    X, y = iris
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert model.coef_.shape == (3, 4)
    assert model.intercept_.shape == (3,)
    assert model.n_iter_.shape == (1,)
    assert model.n_iter_.dtype == np.int32
    assert model.decision_function(X).shape == (150, 3)
    assert all(type(value) is float for value in model.loss_curve_ + model.kl_curve_)
    assert type(model.converged_) is bool
    model.fit(X, y == 0)
    assert model.coef_.shape == (1, 4)
    assert model.intercept_.shape == (1,)
    assert model.decision_function(X).shape == (150,)
    assert (NaturalGradientLogisticRegression(fit_intercept=False).fit(X, y).intercept_ == 0).all()


def test_intercept_is_not_penalised():
    rng = np.random.default_rng(0)
    y = rng.uniform(size=1000) < 0.9
    model = NaturalGradientLogisticRegression(C=1e-10).fit(rng.normal(size=(1000, 2)), y)
    assert abs(model.coef_).max() < 1e-6
    assert model.intercept_[0] == pytest.approx(np.log(y.mean() / (1 - y.mean())), rel=1e-6)


def test_log_probabilities_stay_finite_where_probabilities_vanish(iris):
    X, y = iris
    for labels in (y, y == 0):
        model = NaturalGradientLogisticRegression().fit(X, labels)
        out_of_core = 1e6 * X
        assert model.predict_proba(out_of_core).min() == 0.0
        log_proba = model.predict_log_proba(out_of_core)
        assert np.isfinite(log_proba).all()
        np.testing.assert_allclose(np.exp(log_proba), model.predict_proba(out_of_core), atol=1e-15)
        np.testing.assert_allclose(np.log(model.predict_proba(X)), model.predict_log_proba(X), rtol=1e-8, atol=1e-12)


def test_public_names():
    assert set(sknatgrad.__all__) == {
        "LogisticPath",
        "NaturalGradientLogisticRegression",
        "NaturalGradientLogisticRegressionCV",
        "SeparationWarning",
        "fisher_information",
        "kl_divergence",
        "logistic_path",
        "merge",
    }
    assert all(getattr(sknatgrad, name).__doc__ for name in sknatgrad.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", sknatgrad.__version__)


def test_the_html_representation_links_to_our_documentation(monkeypatch):
    model = NaturalGradientLogisticRegression()
    monkeypatch.setattr(_documented, "documentation", lambda: "https://example.org/docs/")
    page = "https://example.org/docs/generated/sknatgrad.NaturalGradientLogisticRegression.html"
    assert page in model._repr_html_()
    assert "Documentation for Natural" in model._repr_html_()
    monkeypatch.setattr(_documented, "documentation", lambda: "")
    assert "Documentation for Natural" not in model._repr_html_()


def test_the_documentation_is_where_the_package_says_or_beside_it(monkeypatch, tmp_path):
    assert not _documented.documentation(tmp_path / "missing")
    assert not _documented.documentation(tmp_path)
    (tmp_path / "index.html").touch()
    assert _documented.documentation(tmp_path) == tmp_path.as_uri()
    assert (_documented.SITE.parents[2] / "pyproject.toml").is_file()

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_documented, "metadata", missing)
    assert _documented.documentation(tmp_path) == tmp_path.as_uri()
    message = Message()
    message["Project-URL"] = "Documentation, https://example.org/docs"
    monkeypatch.setattr(_documented, "metadata", lambda _: message)
    assert _documented.documentation() == "https://example.org/docs"

    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_documented, "metadata", not_installed)
    assert not _documented.documentation(tmp_path / "nowhere")
