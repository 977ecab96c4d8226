"""C chosen by cross-validation: each model is the one that `fit` gives for the same rows."""

import pickle
import warnings
from inspect import signature

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import brier_score_loss, get_scorer, log_loss, make_scorer
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression, NaturalGradientLogisticRegressionCV, SeparationWarning
from sknatgrad._estimator import cv_fits, cv_together
from sknatgrad._estimator.cv_scores import Scores
from sknatgrad._limits import Limits
from sknatgrad._solver import path
from sknatgrad._solver.many_models import descend_together
from sknatgrad.inference import infer, influence

CS = [1e-2, 1.0, 100.0]
# errors of the loss of 1e-20 of it, which is the least that fits allow for
TIGHT = 1e-17


def standardised(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def counted(monkeypatch):
    """Return a list that grows with each fit that is made in turn."""
    fits, fit = [], cv_fits._fit_one
    monkeypatch.setattr(cv_fits, "_fit_one", lambda *arguments: fits.append(1) or fit(*arguments))
    return fits


def coefficients(model):
    return np.column_stack([model.coef_, model.intercept_]) if model.fit_intercept else model.coef_


def difference(X, theta, expected):
    """Return the largest difference of a logit, as a share of the largest logit; without an intercept, as it is."""
    design = np.column_stack([X.toarray() if sparse.issparse(X) else X, np.ones(X.shape[0])])[:, : theta.shape[1]]
    return abs(design @ (theta - expected).T).max() / abs(design @ expected.T).max()


def check_equal_to_single_fits(X, y, sample_weight=None, *, cv, Cs=CS, far=False, **settings):
    """Compare every model with a fit of its own, to 1e-8 of the largest coefficient, and its score with log loss.

    Where columns are `far` from zero, the intercept has an error that those of the coefficients multiply. Logits are
    compared there.
    """
    model = NaturalGradientLogisticRegressionCV(Cs=Cs, cv=cv, tol=TIGHT, **settings).fit(X, y, sample_weight)
    splits = list(cv.split(X, y))
    assert model.scores_.shape == model.n_iter_.shape == (len(splits), 1, len(Cs))
    for number, (train, test) in enumerate(splits):
        weights = (None, None) if sample_weight is None else (sample_weight[train], sample_weight[test])
        for place, C in enumerate(Cs):
            single = NaturalGradientLogisticRegression(C=C, tol=TIGHT, **settings).fit(X[train], y[train], weights[0])
            expected = coefficients(single)
            theta = model.coefs_paths_[number, 0, place]
            error = difference(X, theta, expected) if far else abs(theta - expected).max() / abs(expected).max()
            assert error <= 1e-8
            loss = log_loss(y[test], single.predict_proba(X[test]), labels=single.classes_, sample_weight=weights[1])
            assert model.scores_[number, 0, place] == pytest.approx(-loss, rel=1e-7, abs=1e-12)
    best = model.scores_.mean(axis=(0, 1)).argmax()
    assert Cs[best] == model.C_
    whole = NaturalGradientLogisticRegression(C=model.C_, tol=TIGHT, **settings).fit(X, y, sample_weight)
    assert difference(X, coefficients(model), coefficients(whole)) <= 1e-8
    return model


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0}])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_models_are_those_of_single_fits(load, fit_intercept, class_weight):
    X, y = standardised(load)
    cv = StratifiedKFold(3)
    check_equal_to_single_fits(X, y, cv=cv, fit_intercept=fit_intercept, class_weight=class_weight)


@pytest.mark.parametrize(
    "cv",
    [
        StratifiedKFold(4),
        ShuffleSplit(3, test_size=0.4, random_state=0),
        RepeatedStratifiedKFold(n_splits=3, n_repeats=3, random_state=0),
        TimeSeriesSplit(3),
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_training_rows_need_not_be_all_others(cv):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] + rng.logistic(size=300) > 0).astype(int)
    check_equal_to_single_fits(X, y, cv=cv)


@pytest.mark.parametrize("kind", ["dense", "sparse", "float32", "integers", "Fortran order"])
def test_raw_collinear_and_far_columns(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6))
    X[:, 2] = X[:, 0] + X[:, 1]
    X[:, 3] *= 1e6
    X[:, 4] = np.round(2020 + X[:, 4]) if kind != "sparse" else X[:, 4]
    X[:, 5] = 0.0
    y = (X[:, 0] + rng.logistic(size=600) > 0).astype(int)
    X = {
        "dense": lambda: X,
        "sparse": lambda: sparse.csr_array(X * (rng.random(X.shape) < 0.5)),
        "float32": lambda: X.astype(np.float32),
        "integers": lambda: np.round(10 * X).astype(np.int64),
        "Fortran order": lambda: np.asfortranarray(X),
    }[kind]()
    if kind != "float32":
        check_equal_to_single_fits(X, y, cv=StratifiedKFold(3), far=True)
        return
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3).fit(X, y)
    single = NaturalGradientLogisticRegression(C=model.C_).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), single.predict_proba(X), atol=1e-6)
    assert model.coef_.dtype == np.float32


def test_weights_of_zero_and_rows_that_count_twice(monkeypatch):
    X, y = standardised(load_breast_cancer)
    weight = np.random.default_rng(0).exponential(size=y.size)
    weight[::5] = 0.0
    check_equal_to_single_fits(X, y, weight, cv=StratifiedKFold(3))
    # a split may name a training row more than once
    rows = np.arange(y.size)
    twice = [(np.concatenate([rows[::2], rows[::4]]), rows[1::2])]
    fits = counted(monkeypatch)
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=twice, tol=TIGHT).fit(X, y)
    assert not fits
    single = NaturalGradientLogisticRegression(tol=TIGHT).fit(X[twice[0][0]], y[twice[0][0]])
    np.testing.assert_allclose(model.coefs_paths_[0, 0, 0], coefficients(single), atol=1e-8)


def test_other_metrics_priors_and_step_lengths_are_fitted_in_turn(monkeypatch):
    X, y = standardised(load_iris)
    for settings in (
        {"fisher": "diagonal", "max_iter": 200},
        {"prior": (0.1, np.full(4, 2.0))},
        {"learning_rate": 1.0},
        {"max_kl": 0.5},
        {"max_iter": 49},
    ):
        fits = counted(monkeypatch)
        check_equal_to_single_fits(X, y, cv=StratifiedKFold(3), Cs=[0.1, 10.0], **settings)
        assert len(fits) == 6


@pytest.mark.parametrize(
    ("small", "n_splits", "matrices", "together"),
    [
        (True, 3, 100, [36]),
        (True, 3, 30, [30, 6]),
        (True, 3, 20, [27, 9]),
        (False, 3, 100, [27, 9]),
        (False, 6, 100, [30, 30, 12]),
        (False, 6, 25, [30, 30, 12]),
        (False, 2, 100, [24]),
    ],
)
def test_how_many_models_are_fitted_together(small, n_splits, matrices, together, monkeypatch):
    """All in small tables, else those of five values of C; as many as have room for their factors, or 25."""
    limits = Limits()._replace(min_sampled_values=1200 if small else 800, matrix_bytes=8 * 5**2 * matrices)
    descents = []

    def recorded(models, *arguments):
        descents.append(len(models.numbers))
        return descend_together(models, *arguments)

    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", limits)
    monkeypatch.setattr(cv_together, "descend_together", recorded)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X[:, 0] + rng.logistic(size=200) > 0).astype(int)
    check_equal_to_single_fits(X, y, cv=StratifiedKFold(n_splits), Cs=np.logspace(-3, 2, 12))
    assert descents == together


def test_tables_too_wide_for_matrices_are_fitted_in_turn(monkeypatch):
    X, y = standardised(load_wine)
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(X, y)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", Limits()._replace(matrix_bytes=1000))
    fits = counted(monkeypatch)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(X, y)
    assert len(fits) == 9
    np.testing.assert_allclose(model.coefs_paths_, expected.coefs_paths_, atol=1e-7)


def test_points_of_all_rows_that_fail_leave_their_models_to_single_fits(monkeypatch):
    X, y = standardised(load_wine)
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(X, y)
    monkeypatch.setattr(path, "MAX_STEPS", 0)
    fits = counted(monkeypatch)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(X, y)
    assert len(fits) == 9
    np.testing.assert_allclose(model.coefs_paths_, expected.coefs_paths_, atol=1e-7)


def test_float32_rows_have_models_in_float64():
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 3)) + np.array([1e4, 1e4, 0.0])).astype(np.float32)
    y = (X - X.mean(axis=0)) @ [2, -2, 1] + rng.logistic(size=300) > 0
    # with few iterations models are fitted in turn
    in_turn, together = (
        NaturalGradientLogisticRegressionCV(Cs=[1.0, 1e4], cv=2, max_iter=max_iter, fit_intercept=False).fit(X, y)
        for max_iter in (49, 100)
    )
    np.testing.assert_allclose(in_turn.scores_, together.scores_, rtol=1e-5)
    assert in_turn.coef_.dtype == np.float32


def test_scores_that_differ_by_rounding_are_equal():
    scores = np.array([[0.1, 0.3, 0.3 + 1e-16, 0.2], [0.2, 0.1, 0.2 - 1e-16, np.nan]])
    assert Scores(scores).best_of_each.tolist() == [1, 0]
    assert Scores(scores).best == 2
    assert Scores(np.array([[1.0, 1.0 + 4e-16]])).best == 0
    assert Scores(np.array([[1.0, 1.0 + 1e-9]])).best == 1
    assert Scores(np.array([[0.0, np.inf, np.inf]])).best == 1
    assert Scores(np.array([[-np.inf, -np.inf]])).best == 0


def test_few_models_are_fitted_in_turn(monkeypatch):
    X, y = standardised(load_breast_cancer)
    fits = counted(monkeypatch)
    NaturalGradientLogisticRegressionCV().fit(X, y)
    assert len(fits) < 15


def test_values_may_stand_in_any_order():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0, 1e-2, 100.0], cv=3).fit(X, y)
    ordered = NaturalGradientLogisticRegressionCV(Cs=[1e-2, 1.0, 100.0], cv=3).fit(X, y)
    np.testing.assert_array_equal(model.Cs_, [1.0, 1e-2, 100.0])
    np.testing.assert_allclose(model.scores_[..., [1, 0, 2]], ordered.scores_, rtol=1e-9)
    assert model.C_ == ordered.C_


def test_without_a_penalty():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = rng.integers(3, size=300)
    check_equal_to_single_fits(X, y, cv=StratifiedKFold(3), Cs=[1.0, 1e10, np.inf])


def test_separable_training_sets_warn_as_fits_do():
    X, y = standardised(load_iris)
    with pytest.warns(SeparationWarning):
        NaturalGradientLogisticRegressionCV(Cs=[1.0, np.inf], cv=3).fit(X, y)


def test_the_refit_without_a_penalty_warns_as_a_fit_does():
    X = np.r_[np.linspace(-2, -1, 20), np.linspace(1, 2, 20)][:, None]
    y = np.repeat([0, 1], 20)
    rows = np.arange(40)
    with pytest.warns(SeparationWarning) as expected:
        NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    for Cs in ([np.inf], [1.0, 1e4, np.inf]):
        with pytest.warns(SeparationWarning) as record:
            NaturalGradientLogisticRegressionCV(Cs=Cs, cv=[(rows, rows)]).fit(X, y)
        assert {str(each.message) for each in record} == {str(each.message) for each in expected}


def test_an_interruption_ends_the_fits_to_training_sets(monkeypatch):
    X, y = standardised(load_iris)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, on_interrupt="keep", fisher="diagonal").fit(X, y)
    before = vars(model).copy()
    run, calls = cv_fits.run_descent, []

    def interrupted(estimator, *arguments):
        assert estimator.on_interrupt == "raise"
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(estimator, *arguments)

    monkeypatch.setattr(cv_fits, "run_descent", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert all(getattr(model, name) is value for name, value in before.items())


def test_a_class_that_some_training_rows_lack():
    X, y = standardised(load_iris)
    rows = np.arange(150)
    cv = [(rows[:100], rows[100:]), (rows[::2], rows[1::2])]
    with warnings.catch_warnings():
        # the intercept of the class that is missing has no optimum
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NaturalGradientLogisticRegressionCV(Cs=[0.1, 1.0], cv=cv, tol=TIGHT).fit(X, y)
    assert model.coefs_paths_.shape == (2, 1, 2, 3, 5)
    assert np.isfinite(model.coefs_paths_).all()
    # test rows of that class alone
    assert (model.scores_[0] < -5.0).all()
    single = NaturalGradientLogisticRegression().fit(X[::2], y[::2])
    np.testing.assert_allclose(model.coefs_paths_[1, 0, 1], coefficients(single), atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        brier = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=cv, scoring="neg_brier_score")
        # of several classes since scikit-learn 1.7
        if "labels" in signature(brier_score_loss).parameters:
            assert brier.fit(X, y).scores_.shape == (2, 1, 1)


def test_attributes_are_those_of_scikit_learn():
    X, y = standardised(load_iris)
    settings = {"Cs": 4, "cv": 3, "scoring": "neg_log_loss"}
    ours = NaturalGradientLogisticRegressionCV(**settings).fit(X, y)
    if "use_legacy_attributes" not in LogisticRegressionCV().get_params():
        pytest.skip("these attributes are new in scikit-learn 1.9")
    theirs = LogisticRegressionCV(
        **settings, l1_ratios=(0.0,), use_legacy_attributes=False, tol=1e-9, max_iter=1000
    ).fit(X, y)
    for name in ("C_", "l1_ratio_", "Cs_", "l1_ratios_", "scores_", "n_iter_", "coefs_paths_", "coef_", "intercept_"):
        assert np.shape(getattr(ours, name)) == np.shape(getattr(theirs, name))
    assert type(ours.C_) is float
    assert type(ours.l1_ratio_) is float
    np.testing.assert_allclose(ours.scores_, theirs.scores_, rtol=1e-5)
    np.testing.assert_allclose(ours.coefs_paths_, theirs.coefs_paths_, atol=2e-3)
    binary = y < 2
    two = NaturalGradientLogisticRegressionCV(**settings).fit(X[binary], y[binary])
    assert two.coefs_paths_.shape == (3, 1, 4, 1, 5)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-4)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc", "neg_brier_score", "f1", get_scorer("balanced_accuracy")])
def test_scores_are_those_of_scikit_learn(scoring):
    X, y = load_breast_cancer(return_X_y=True)
    model = NaturalGradientLogisticRegressionCV(Cs=[0.1], cv=4, scoring=scoring, tol=TIGHT).fit(X, y)
    expected = cross_val_score(NaturalGradientLogisticRegression(C=0.1), X, y, cv=4, scoring=scoring)
    np.testing.assert_allclose(model.scores_[:, 0, 0], expected, rtol=1e-7)
    assert model.score(X, y) == pytest.approx(get_scorer(scoring)(model, X, y))


@pytest.mark.parametrize("scoring", [None, "accuracy", make_scorer(log_loss, response_method="predict_proba")])
def test_scores_count_weights(scoring):
    X, y = load_breast_cancer(return_X_y=True)
    weight = np.random.default_rng(0).exponential(size=y.size)
    train, test = next(StratifiedKFold(2).split(X, y))
    model = NaturalGradientLogisticRegressionCV(Cs=[0.1], cv=[(train, test)], scoring=scoring, tol=TIGHT).fit(
        X, y, weight
    )
    single = NaturalGradientLogisticRegression(C=0.1).fit(X[train], y[train], weight[train])
    scorer = get_scorer(scoring or "neg_log_loss")
    expected = scorer(single, X[test], y[test], sample_weight=weight[test])
    assert model.scores_[0, 0, 0] == pytest.approx(expected, rel=1e-8)
    assert model.score(X, y, weight) == pytest.approx(scorer(model, X, y, sample_weight=weight))


def test_losses_are_bounded_as_log_loss_bounds_them():
    X = np.array([[0.0], [1.0], [0.1], [0.9], [1000.0], [-1000.0]])
    y = np.array([0, 1, 0, 1, 0, 1])
    model = NaturalGradientLogisticRegressionCV(Cs=[10.0], cv=[(np.arange(4), np.array([4, 5]))]).fit(X, y)
    single = NaturalGradientLogisticRegression(C=10.0).fit(X[:4], y[:4])
    assert model.scores_[0, 0, 0] == pytest.approx(-log_loss(y[4:], single.predict_proba(X[4:])), rel=1e-9)


def test_means_of_the_splits_without_a_refit():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, refit=False).fit(X, y)
    best = model.scores_[:, 0].argmax(axis=1)
    expected = model.coefs_paths_[np.arange(3), 0, best].mean(axis=0)
    np.testing.assert_allclose(coefficients(model), expected, rtol=1e-12)
    assert np.mean(np.array(CS)[best]) == model.C_
    assert model.predict(X[:3]).shape == (3,)


def test_the_rule_of_one_standard_error():
    X, y = standardised(load_breast_cancer)
    model = NaturalGradientLogisticRegressionCV(Cs=20, refit="1se").fit(X, y)
    scores = model.scores_[:, 0]
    means = scores.mean(axis=0)
    error = scores[:, means.argmax()].std(ddof=1) / np.sqrt(5)
    assert model.Cs_[means >= means.max() - error].min() == model.C_
    assert model.Cs_[means.argmax()] > model.C_
    # one split has no standard error
    single = NaturalGradientLogisticRegressionCV(Cs=CS, refit="1se", cv=ShuffleSplit(1, random_state=0)).fit(X, y)
    assert CS[single.scores_[0, 0].argmax()] == single.C_


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_the_evidence_needs_no_splits(load):
    X, y = standardised(load)
    weight = np.random.default_rng(0).integers(1, 4, size=y.size)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, scoring="evidence", tol=TIGHT).fit(X, y, weight)
    assert model.scores_.shape == model.n_iter_.shape == (1, 1, 3)
    for C, score in zip(CS, model.scores_[0, 0], strict=True):
        single = NaturalGradientLogisticRegression(C=C, tol=TIGHT).fit(X, y, weight)
        assert score == pytest.approx(infer(single, X, y, sample_weight=weight).log_evidence, rel=1e-9)
    assert CS[model.scores_.argmax()] == model.C_
    assert model.score(X, y) == pytest.approx(-log_loss(y, model.predict_proba(X)))
    prior = NaturalGradientLogisticRegressionCV(Cs=CS, scoring="evidence", prior=(0.1, 2.0), tol=TIGHT).fit(X, y)
    single = NaturalGradientLogisticRegression(C=CS[1], prior=(0.1, 2.0), tol=TIGHT).fit(X, y)
    assert prior.scores_[0, 0, 1] == pytest.approx(infer(single, X, y).log_evidence, rel=1e-9)


def test_scores_that_are_not_defined():
    X, y = standardised(load_breast_cancer)
    rows = np.arange(y.size)
    one_class = [(rows, rows[y == 1])]

    def undefined_at_one(model, _X, _y):
        return np.nan if model.C == 1.0 else model.C

    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=one_class, scoring=undefined_at_one).fit(X, y)
    assert model.C_ == 100.0
    with pytest.raises(ValueError, match="every value of C has a score that is NaN"):
        NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=one_class, scoring=undefined_at_one).fit(X, y)
    with pytest.raises(ValueError, match="the evidence has no penalty"):
        NaturalGradientLogisticRegressionCV(Cs=[np.inf], scoring="evidence").fit(X, y)


def test_frames_pipelines_clones_and_pickles():
    frame, y = load_breast_cancer(return_X_y=True, as_frame=True)
    labels = y.map({0: "malignant", 1: "benign"})
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3).fit(frame, labels)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert list(model.classes_) == ["benign", "malignant"]
    assert model.converged_
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - of this test
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert clone(model).get_params() == model.get_params()
    assert "C" not in model.get_params()
    assert "NaturalGradientLogisticRegressionCV" in model._repr_html_()
    piped = make_pipeline(StandardScaler(), NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, scoring="accuracy"))
    assert piped.fit(frame, labels).score(frame, labels) > 0.97


def test_inference_on_the_chosen_model():
    frame, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, store_covariance=True).fit(frame, y)
    single = NaturalGradientLogisticRegression(C=model.C_, store_covariance=True).fit(frame, y)
    np.testing.assert_allclose(
        infer(model, frame, y).standard_errors, infer(single, frame, y).standard_errors, rtol=1e-6
    )
    np.testing.assert_allclose(influence(model, frame, y).leverage, influence(single, frame, y).leverage, rtol=1e-6)
    np.testing.assert_allclose(model.covariance_, single.covariance_, rtol=1e-6, atol=1e-12)
    assert model.C == model.C_


def test_rows_in_a_file(tmp_path, monkeypatch):
    X, y = standardised(load_breast_cancer)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", mode="w+", dtype=np.float64, shape=X.shape)
    mapped[:] = X
    mapped.flush()
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(X, y)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(mapped, y)
    np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-7)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", Limits()._replace(matrix_bytes=1000))
    in_turn = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, tol=TIGHT).fit(mapped, y)
    np.testing.assert_allclose(in_turn.scores_, expected.scores_, rtol=1e-7)


def test_groups_and_weights_are_routed():
    X, y = standardised(load_breast_cancer)
    groups = np.random.default_rng(0).integers(10, size=y.size)
    with config_context(enable_metadata_routing=True):
        scorer = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=GroupKFold(3), scoring=scorer, tol=TIGHT)
        model.fit(X, y, sample_weight=np.ones(y.size), groups=groups)
    train, test = next(GroupKFold(3).split(X, y, groups))
    single = NaturalGradientLogisticRegression().fit(X[train], y[train])
    assert model.scores_[0, 0, 0] == pytest.approx(-log_loss(y[test], single.predict_proba(X[test])), rel=1e-7)
    with pytest.raises(ValueError, match=r"fit got .'groups'., which it passes on only with metadata routing"):
        NaturalGradientLogisticRegressionCV(cv=GroupKFold(3)).fit(X, y, groups=groups)


X_SMALL, Y_SMALL = standardised(load_iris)
ROWS = np.arange(150)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Cs": []}, r"Cs=\[\] must be an integer of 1 or more, or a list"),
        ({"Cs": [1.0, -1.0]}, r"each a number in \(0, inf\]"),
        ({"Cs": [np.nan]}, "each a number"),
        ({"Cs": [[1.0]]}, "a list of one or more values"),
        ({"Cs": ["a"]}, "each a number"),
        ({"Cs": ["1", "2"]}, "each a number"),
        ({"Cs": {1.0}}, "Cs={1.0} must be"),
        ({"Cs": [10**400]}, "whose inverse is finite"),
        ({"Cs": [1e-320]}, "whose inverse is finite"),
        ({"Cs": 10**400}, "an integer of 1 or more"),
        ({"Cs": np.ma.array([1.0, 2.0], mask=[True, False])}, "each a number"),
        ({"Cs": 0}, "'Cs' parameter"),
        ({"cv": KFold}, r"cv=KFold is a class; pass a splitter, KFold\(\)"),
        ({"cv": [1, 2]}, "must give one or more pairs"),
        ({"cv": [(ROWS, ROWS, ROWS)]}, "must give one or more pairs"),
        ({"scoring": lambda *_: "good"}, "scoring returned 'good', which is not a number"),
        ({"scoring": lambda *_: {"a": 1}}, "scoring returned {'a': 1}"),
        ({"cv": 1}, "'cv' parameter"),
        ({"cv": []}, "must give one or more pairs"),
        ({"cv": [(ROWS, ROWS[:0])]}, "split 0 of cv has no test rows"),
        ({"cv": [(ROWS[:0], ROWS)]}, "split 0 of cv has no training rows"),
        (
            {"cv": [(ROWS, ROWS[:5]), (ROWS[:100], ROWS + 1)]},
            "split 1 of cv has test rows that are not indices of the 150",
        ),
        (
            {"cv": [(ROWS[:50], ROWS[50:])]},
            "samples of at least 2 classes in the data, but the training rows of split 0",
        ),
        ({"cv": [(0.5 * ROWS, ROWS)]}, "are not indices"),
        ({"scoring": "foo"}, "'scoring' parameter"),
        ({"refit": "2se"}, "'refit' parameter"),
        ({"scoring": "evidence"}, "cv=3 has no use with scoring='evidence'"),
        ({"scoring": "evidence", "cv": None, "prior": (0.0, np.eye(15))}, "not implemented"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_the_estimator_unchanged(settings, message):
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=3).fit(X_SMALL, Y_SMALL)
    before = vars(model).copy()
    model.set_params(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(X_SMALL, Y_SMALL)
    for name in before.keys() - settings.keys():
        assert getattr(model, name) is before[name]


def test_saturated_training_rows_are_no_optimum():
    """The optimum of all rows, of which two have nearly all weight, is far from that of the others."""
    X = np.array([[0.0], [1.0], [2.0], [3.0]] * 3)
    y = np.array([0, 1, 0, 1] * 3)
    weight = np.append(np.ones(8), [1e5, 1e5, 1.0, 1.0])
    cv = [(np.arange(8), np.arange(8, 12))]
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=cv, refit=False, tol=TIGHT).fit(X, y, weight)
    expected = coefficients(NaturalGradientLogisticRegression().fit(X[:8], y[:8]))
    np.testing.assert_allclose(model.coefs_paths_[0, 0, 0], expected, rtol=1e-6)
    few = np.array([0.14, -0.83, -0.96, 0.74, -0.79, 0.76, -0.51, 2.52, 1.57, 1.17, 0.89, -0.26])[:, None]
    labels = np.array([0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0])
    uneven = np.array([0.1, 0.003, 0.5, 0.8, 2.0, 0.6, 400.0, 0.007, 0.01, 0.002, 5.0, 0.006])
    check_equal_to_single_fits(few, labels, uneven, cv=KFold(3), Cs=[1.0])


def test_weights_may_be_a_number_for_any_score():
    X, y = standardised(load_breast_cancer)
    for scoring in (None, "roc_auc", "neg_brier_score"):
        model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, scoring=scoring).fit(X, y, 1.0)
        without = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, scoring=scoring).fit(X, y)
        np.testing.assert_allclose(model.scores_, without.scores_)
        assert model.score(X, y, 1.0) == pytest.approx(model.score(X, y))


def test_each_warning_is_given_once():
    X, y = np.r_[np.linspace(-2, -1, 20), np.linspace(1, 2, 20)][:, None], np.repeat([0, 1], 20)
    rows = np.arange(40)
    with pytest.warns(SeparationWarning) as record:
        NaturalGradientLogisticRegressionCV(Cs=[np.inf], cv=[(rows, rows)] * 3, refit=False).fit(X, y)
    assert len(record) == 1
    assert str(record[0].message).endswith("2 other fits gave such a warning.")
    X, y = standardised(load_breast_cancer)
    with pytest.warns(ConvergenceWarning) as record:
        NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, max_iter=1).fit(X, y)
    # of the fits to training sets, and of the fit to all rows
    assert len(record) == 2
    assert str(record[0].message).endswith("8 other fits gave such a warning.")


def test_test_rows_without_weight_have_no_score():
    X, y = standardised(load_breast_cancer)
    rows = np.arange(y.size)
    weight = (rows < 500).astype(float)
    for refit in (True, False, "1se"):
        model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=[(rows, rows[500:])], refit=refit)
        with pytest.raises(ValueError, match="every value of C has a score that is NaN"):
            model.fit(X, y, weight)


@pytest.mark.parametrize("refit", [True, False, "1se"])
def test_a_split_without_a_score_counts_as_none(refit):
    X, y = standardised(load_breast_cancer)
    rows = np.arange(y.size)
    weight = (rows < 400).astype(float)
    splits = [(rows[:300], rows[300:400]), (rows[100:400], rows[:100]), (rows[:400], rows[400:])]
    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=splits, refit=refit).fit(X, y, weight)
    assert np.isnan(model.scores_[2]).all()
    fewer = NaturalGradientLogisticRegressionCV(Cs=CS, cv=splits[:2], refit=refit).fit(X, y, weight)
    assert model.C_ == fewer.C_
    np.testing.assert_allclose(model.coef_, fewer.coef_, rtol=1e-5)
    # the area under a curve needs both classes
    one_class = [*splits[:2], (rows[:400], rows[:400][y[:400] == 1])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_area = NaturalGradientLogisticRegressionCV(Cs=CS, cv=one_class, scoring="roc_auc", refit=refit).fit(X, y)
    assert np.isnan(by_area.scores_[2]).all()
    assert np.isfinite(by_area.coef_).all()


def test_scores_may_be_infinite_and_see_the_iterations():
    X, y = standardised(load_iris)

    def of_iterations(model, _X, _y):
        assert model.converged_
        return -np.inf if model.C < 1.0 else -float(model.n_iter_[0])

    model = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, scoring=of_iterations, refit="1se").fit(X, y)
    assert model.C_ >= 1.0
    worst = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3, scoring=lambda *_: -np.inf, refit="1se").fit(X, y)
    assert CS[0] == worst.C_


def test_masks_are_splits_too():
    mask = np.zeros(150, dtype=bool)
    mask[::2] = True
    by_mask = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=[(mask, ~mask)]).fit(X_SMALL, Y_SMALL)
    by_index = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=[(ROWS[mask], ROWS[~mask])]).fit(X_SMALL, Y_SMALL)
    assert by_mask.scores_ == by_index.scores_


def test_values_that_are_not_finite_are_counted_in_all_rows():
    X = X_SMALL.copy()
    X[140, 2] = np.nan
    with pytest.raises(ValueError, match="row 140"):
        NaturalGradientLogisticRegressionCV(cv=KFold(3)).fit(X, Y_SMALL)


def test_another_frame_is_refused_after_the_fit():
    frame = pd.DataFrame(X_SMALL, columns=list("abcd"))
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=3).fit(frame, Y_SMALL)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("badc")])


def test_labels_of_times():
    labels = np.array(["2020", "2021", "2022"], dtype="datetime64[Y]")[Y_SMALL]
    model = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=3).fit(X_SMALL, labels)
    expected = NaturalGradientLogisticRegressionCV(Cs=[1.0], cv=3).fit(X_SMALL, Y_SMALL)
    np.testing.assert_array_equal(model.scores_, expected.scores_)
