"""Invalid input: one sentence names the argument, the value and what is allowed; the estimator is not changed."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence
from sknatgrad._estimator import fit as _fit

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.5], [3.0, 0.5], [1.0, 2.0], [0.5, 0.5]])
Y = np.array([0, 1, 0, 1, 1, 0])


def with_value(array, value):
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


CASES = {
    "NaN in X": (
        {},
        with_value(X, np.nan),
        Y,
        None,
        r"X contains NaN at row 1, column 1 \(1 in total\); every value",
    ),
    "inf in X": ({}, with_value(X, np.inf), Y, None, r"X contains infinity at row 1, column 1 .*finite"),
    "NaN in sparse X": ({}, sparse.csr_array(with_value(X, np.nan)), Y, None, r"X contains NaN at row 1, column 1"),
    "NaN in a frame": (
        {},
        pd.DataFrame(with_value(X, np.nan), columns=["age", "pay"]),
        Y,
        None,
        r"row 1, column 'pay'",
    ),
    "words in a frame": (
        {},
        pd.DataFrame({"age": X[:, 0], "town": ["Bath", "Ely"] * 3}),
        Y,
        None,
        r"'Bath'; column 'town' of X, of type \w+, must hold numbers: encode it, or drop it\.$",
    ),
    "categories in a frame": (
        {},
        pd.DataFrame({"age": X[:, 0], "town": pd.Categorical(["Bath", "Ely"] * 3)}),
        Y,
        None,
        r"'Bath'; column 'town' of X, of type category, must hold numbers",
    ),
    "dates in a frame": (
        {},
        pd.DataFrame({"age": X[:, 0], "day": pd.date_range("2020-01-01", periods=6)}),
        Y,
        None,
        r"^column 'day' of X, of type datetime64\[\w+\], holds dates or times, .*, or drop it\.$",
    ),
    "words in a column of a name that two have": (
        {},
        pd.DataFrame([[1.0, "Bath"], [2.0, "Ely"]] * 3, columns=["town", "town"]),
        Y,
        None,
        # recent versions of scikit-learn refuse the names
        r"column 'town' of X, of type \w+, must hold numbers|unique column names",
    ),
    "NaN in y": ({}, X, with_value(Y, np.nan), None, r"y contains NaN .*at row 3; every label must be"),
    "inf in y": ({}, X, with_value(Y, np.inf), None, r"y contains inf at row 3; every label must be"),
    "None in y": (
        {},
        X,
        np.array(["a", "b", None, "a", "b", "a"], dtype=object),
        None,
        r"y contains NaN \(None\) at row 2",
    ),
    "NA in y": (
        {},
        X,
        pd.Series(["a", "b", pd.NA, "a", "b", "a"], dtype=object),
        None,
        r"y contains NaN \(<NA>\) at row 2",
    ),
    "one class": ({}, X, np.ones(6), None, r"y holds only one class, 1.0; a classifier needs .*two classes or more"),
    "continuous y": ({}, X, Y + 0.5 * np.arange(6), None, "Unknown label type: continuous"),
    "lengths": ({}, X, Y[:4], None, r"inconsistent numbers of samples: \[6, 4\]"),
    "1-d X": ({}, X[:, 0], Y, None, "Expected 2D array, got 1D array instead"),
    "no rows": ({}, X[:0], Y[:0], None, "Found array with 0 sample"),
    "text in X": ({}, np.array([["a", "b"]] * 6), Y, None, "X has type <U1, of strings; it must hold numbers"),
    "complex X": ({}, X + 1j, Y, None, "Complex data not supported"),
    "negative weight": (
        {},
        X,
        Y,
        [1, 1, -2, 1, 1, 1],
        r"sample_weight contains the negative value -2.0 at row 2; every",
    ),
    "NaN weight": (
        {},
        X,
        Y,
        [1, np.nan, 1, 1, 1, 1],
        r"sample_weight contains nan at row 1; every weight must be finite",
    ),
    "inf weight": (
        {},
        X,
        Y,
        [1, np.inf, 1, 1, 1, 1],
        r"sample_weight contains inf at row 1; every weight must be finite",
    ),
    "all weights zero": ({}, X, Y, np.zeros(6), r"sample_weight is zero for every row; at least one"),
    "weight shape": ({}, X, Y, np.ones((6, 1)), r"sample_weight has shape \(6, 1\); it must be 1-dimensional.*\(6,\)"),
    "weight length": ({}, X, Y, np.ones(5), r"sample_weight has shape \(5,\); it must be 1-dimensional.*\(6,\)"),
    "weight of one class": (
        {},
        X,
        Y,
        Y.astype(float),
        r"y and sample_weight leave only one class with a positive weight, 1",
    ),
    "class weight NaN": (
        {"class_weight": {0: 1.0, 1: np.nan}},
        X,
        Y,
        None,
        r"class_weight=\{0: 1.0, 1: nan\} must give",
    ),
    "class weight < 0": ({"class_weight": {0: 1.0, 1: -1.0}}, X, Y, None, r"class_weight=.*finite weight of 0 or more"),
    "class weight 0": ({"class_weight": {0: 1.0, 1: 0.0}}, X, Y, None, r"class_weight=.*leaves fewer than two classes"),
    "fisher": (
        {"fisher": "exact"},
        X,
        Y,
        None,
        r"'fisher' parameter .*must be a str among .*'true'.*Got 'exact' instead",
    ),
    "C = 0": ({"C": 0.0}, X, Y, None, r"'C' parameter .*in the range \(0.0, inf\]. Got 0.0 instead"),
    "C < 0": ({"C": -1.0}, X, Y, None, r"'C' parameter .*in the range \(0.0, inf\]. Got -1.0 instead"),
    "C NaN": ({"C": np.nan}, X, Y, None, r"'C' parameter .*in the range \(0.0, inf\]. Got nan instead"),
    "damping inf": ({"damping": np.inf}, X, Y, None, r"'damping' parameter .*range \[0.0, inf\). Got inf instead"),
    "damping NaN": ({"damping": np.nan}, X, Y, None, r"'damping' parameter .*range \[0.0, inf\). Got nan instead"),
    "damping < 0": ({"damping": -1e-3}, X, Y, None, r"'damping' parameter .*range \[0.0, inf\). Got -0.001 instead"),
    "learning_rate": ({"learning_rate": "fast"}, X, Y, None, r"'learning_rate' parameter .*'auto'.*Got 'fast' instead"),
    "learning_rate 0": (
        {"learning_rate": 0.0},
        X,
        Y,
        None,
        r"'learning_rate' parameter .*\(0.0, inf\). Got 0.0 instead",
    ),
    "max_kl": ({"max_kl": 0.0}, X, Y, None, r"'max_kl' parameter .*\(0.0, inf\) or None. Got 0.0 instead"),
    "max_iter": ({"max_iter": -1}, X, Y, None, r"'max_iter' parameter .*\[0, inf\). Got -1 instead"),
    "tol": ({"tol": -1.0}, X, Y, None, r"'tol' parameter .*\[0.0, inf\). Got -1.0 instead"),
    "text weights": ({}, X, Y, ["a"] * 6, r"sample_weight holds values that are not real numbers; every"),
    "complex weights": ({}, X, Y, np.ones(6) + 1j, r"sample_weight holds values that are not real numbers; every"),
    "class weight text": ({"class_weight": {0: "a", 1: 1.0}}, X, Y, None, r"class_weight=.*finite weight of 0 or more"),
    "ragged y": ({}, X, [[0], [1, 2], [0], [1], [1], [0]], None, r"y is ragged.*one label per row of X"),
    "huge weights": ({}, X, Y, np.full(6, 1e308), r"sample_weight times class_weight is so large, up to 1.0e\+308"),
    "huge X": ({}, 1e200 * X, Y, None, r"X holds values so large.*rescale the columns"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_bad_input_is_named_and_leaves_the_earlier_fit(case):
    parameters, rows, labels, weight, message = CASES[case]
    for fitted_before in (False, True):
        model = NaturalGradientLogisticRegression()
        if fitted_before:
            model.fit(np.column_stack([X, X[:, 0] ** 2]), Y)
        model.set_params(**parameters)
        before = vars(model).copy()
        with pytest.raises(ValueError, match=message):
            model.fit(rows, labels, sample_weight=weight)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[name] is value for name, value in before.items())


OWN = [case for case in CASES if re.match(r"X holds|X contains|y |sample_weight|class_weight|row", CASES[case][-1])]


@pytest.mark.parametrize("case", OWN)
def test_own_messages_are_one_sentence(case):
    parameters, rows, labels, weight, _ = CASES[case]
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
        NaturalGradientLogisticRegression(**parameters).fit(rows, labels, sample_weight=weight)
    assert not re.search(r"[.!?] [A-Z]", str(caught.value))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_interrupted_fit_leaves_the_earlier_fit(interruption, monkeypatch):
    model = NaturalGradientLogisticRegression().fit(X, Y)
    before = vars(model).copy()
    real = _fit.descend

    def interrupted(*arguments):
        turns = real(*arguments)
        yield next(turns)
        yield next(turns)
        raise interruption

    monkeypatch.setattr(_fit, "descend", interrupted)
    with pytest.raises(interruption):
        model.fit(np.column_stack([X, X]), np.array(["a", "b"])[Y])
    assert vars(model) == before


def test_warning_turned_into_error_leaves_the_earlier_fit():
    model = NaturalGradientLogisticRegression().fit(X, Y)
    before = vars(model).copy()
    model.set_params(max_iter=1)
    # warnings are errors in this suite
    with pytest.raises(Warning, match="max_iter=1 reached"):
        model.fit(X[:, ::-1], Y)
    assert vars(model)["coef_"] is before["coef_"]
    assert vars(model)["loss_curve_"] is before["loss_curve_"]


def test_warning_points_at_the_callers_line():
    with pytest.warns(match="max_iter=1 reached") as caught:
        NaturalGradientLogisticRegression(max_iter=1).fit(X, Y)
    assert caught[0].filename == __file__


def test_warm_start_with_other_features():
    model = NaturalGradientLogisticRegression(warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match=r"X has 3 features, but warm_start=True would start from coefficients of 2;"):
        model.fit(np.column_stack([X, X[:, 0]]), Y)
    assert model.n_features_in_ == 2


def test_prediction_refuses_what_was_not_fitted():
    model = NaturalGradientLogisticRegression()
    with pytest.raises(ValueError, match="not fitted yet"):
        model.predict(X)
    model.fit(X, Y)
    with pytest.raises(ValueError, match=r"X has 1 features, but .* is expecting 2 features"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match="X contains NaN at row 1, column 1"):
        model.predict_proba(with_value(X, np.nan))
    frame = pd.DataFrame(X, columns=["age", "town"])
    with pytest.raises(ValueError, match="'Bath'; column 'town' of X, of type"):
        model.fit(frame, Y).predict_proba(frame.assign(town="Bath"))


def test_geometry_names_what_is_wrong():
    model = NaturalGradientLogisticRegression().fit(X, Y)
    with pytest.raises(ValueError, match=r"kind='exact' is not a Fisher information; it must be one of"):
        fisher_information(model, X, kind="exact")
    with pytest.raises(ValueError, match=r"y=None, but kind='empirical' needs the observed labels"):
        fisher_information(model, X, kind="empirical")
    with pytest.raises(ValueError, match=r"y has shape \(4,\); it must hold one label per row of X, \(6,\)"):
        fisher_information(model, X, Y[:4], kind="empirical")
    with pytest.raises(ValueError, match=r"y holds 6, which is not among the estimator's classes \[0, 1\]"):
        fisher_information(model, X, Y + 6, kind="empirical")
    with pytest.raises(ValueError, match=r"n_draws=0 must be an integer of 1 or more"):
        fisher_information(model, X, kind="monte_carlo", n_draws=0)
    for unsuitable in (make_pipeline(StandardScaler(), model), LinearSVC(), DecisionTreeClassifier()):
        with pytest.raises(
            ValueError, match=r"which is not a logistic regression .*; of a pipeline pass the last step"
        ):
            fisher_information(unsuitable.fit(X, Y), X)
    with pytest.raises(ValueError, match="not fitted yet"):
        kl_divergence(model, NaturalGradientLogisticRegression(), X)
    other = NaturalGradientLogisticRegression().fit(X, np.array(["a", "b"])[Y])
    with pytest.raises(ValueError, match=r"classes_ \[0, 1\] and other \['a', 'b'\]; a divergence needs the same"):
        kl_divergence(model, other, X)


@pytest.mark.parametrize("n_columns", [20, 120])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("everywhere", [False, True])
def test_values_that_are_not_finite_are_found_in_data_that_are_sampled_first(n_columns, value, everywhere):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, n_columns))
    y = (X[:, 0] + rng.logistic(size=len(X)) > 0).astype(int)
    X[slice(None) if everywhere else 31_007, 3] = value
    name = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=f"Input X contains {name} at row {0 if everywhere else 31007}, column 3"):
        NaturalGradientLogisticRegression().fit(X, y)
