"""In the company of packages that know scikit-learn's estimators, and of versions of its own to come.

Those that are heavy to install are tried where they are there: shap, mlflow-skinny with skops, marginaleffects.
"""

import json
import pickle
import re
import subprocess
import sys
import warnings
from copy import copy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknatgrad
from sknatgrad import NaturalGradientLogisticRegression

ROOT = Path(__file__).parents[1]
LOADERS = {".joblib": joblib.load, ".pickle": pickle.load}  # noqa: S301 - our own
STORED = sorted(path for path in (ROOT / "tests" / "data").glob("stored_by_*/*") if path.suffix in LOADERS)


def needed(name, reason):
    """The module; one that is there and broken is an error, where `pytest.importorskip` would skip."""
    if find_spec(name.split(".", maxsplit=1)[0]) is None:
        pytest.skip(reason)
    with warnings.catch_warnings():
        # what others say when they are imported
        warnings.simplefilter("ignore")
        return import_module(name)


def raw_table(n_classes):
    """A year and an income as they come, and a share; columns that need float64."""
    rng = np.random.default_rng(3)
    X = np.c_[rng.integers(1950, 2025, 400), rng.lognormal(11.0, 0.8, 400), rng.uniform(size=400)]
    z = np.c_[(X[:, 0] - 1990.0) / 10.0, np.log(X[:, 1]) - 11.0, X[:, 2]]
    return X, (z @ rng.normal(size=(3, n_classes)) + rng.gumbel(size=(400, n_classes))).argmax(axis=1)


TABLES = {
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "iris": lambda: load_iris(return_X_y=True),
    "raw, two classes": lambda: raw_table(2),
    "raw, three classes": lambda: raw_table(3),
}


class TestOnnx:
    @pytest.fixture(autouse=True)
    def _packages(self):
        self.runtime = needed("onnxruntime", "onnxruntime is not installed: pip install '.[test]'")
        self.skl2onnx = needed("skl2onnx", "skl2onnx is not installed: pip install '.[test]'")
        from sknatgrad.onnx import register_converter  # noqa: PLC0415 - needs them

        register_converter()
        self.register_converter = register_converter

    def answers(self, model, X, **options):
        """What the graph of a model says of X."""
        graph = self.skl2onnx.to_onnx(model, X[:1], options={"zipmap": False} | options)
        session = self.runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: X})

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("C", [1.0, 1e4])
    @pytest.mark.parametrize("table", TABLES)
    def test_says_the_same(self, table, C, dtype):
        X, y = TABLES[table]()
        X = X.astype(dtype)
        model = NaturalGradientLogisticRegression(C=C).fit(X, y)
        label, proba = self.answers(model, X)
        assert proba.dtype == dtype
        np.testing.assert_array_equal(label, model.predict(X))
        # float64 within: of float32 no more is lost than by rounding what comes out
        np.testing.assert_allclose(proba, model.predict_proba(X), rtol=0, atol=1e-12 if dtype == np.float64 else 1e-7)

    @pytest.mark.parametrize("dtype", [np.int64, bool])
    def test_integers_and_booleans(self, dtype):
        X, y = load_iris(return_X_y=True)
        X = np.greater(X, X.mean(axis=0)) if dtype is bool else X.astype(dtype)
        model = NaturalGradientLogisticRegression().fit(X, y)
        np.testing.assert_allclose(self.answers(model, X)[1], model.predict_proba(X), rtol=0, atol=1e-7)

    @pytest.mark.parametrize(
        "names",
        [["ash", "öak", "yew"], [-7, 0, 5 * 10**12], [0.0, 1.0, 2.0], [False, True, True], ["no", "yes", "yes"]],
        ids=str,
    )
    @pytest.mark.parametrize("zipmap", [False, True, "columns"])
    def test_labels(self, names, zipmap):
        X, y = load_iris(return_X_y=True)
        model = NaturalGradientLogisticRegression().fit(X, np.array(names)[y])
        label, *answer = self.answers(model, X, zipmap=zipmap)
        np.testing.assert_array_equal(label, model.predict(X))
        if zipmap is True:
            proba = np.array([[row[name] for name in model.classes_.tolist()] for row in answer[0]])
        else:
            proba = answer[0] if zipmap is False else np.column_stack([column.ravel() for column in answer])
        np.testing.assert_allclose(proba, model.predict_proba(X), rtol=0, atol=1e-7)

    def test_options(self):
        X, y = load_iris(return_X_y=True)
        for labels in (y, y == 0):
            model = NaturalGradientLogisticRegression().fit(X, labels)
            logits = model.decision_function(X)
            raw = self.answers(model, X, raw_scores=True)[1]
            expected = np.column_stack([-logits, logits]) if logits.ndim == 1 else logits
            np.testing.assert_allclose(raw, expected, rtol=1e-12, atol=1e-12)
        names = NaturalGradientLogisticRegression().fit(X, np.array(["a", "b", "c"])[y])
        np.testing.assert_array_equal(self.answers(names, X, nocl=True)[0], names.predict_proba(X).argmax(axis=1))
        np.testing.assert_array_equal(self.answers(names, X, output_class_labels=True)[2], names.classes_)

    def test_within_others(self):
        X, y = load_breast_cancer(return_X_y=True)
        plain = NaturalGradientLogisticRegression()
        for model in (make_pipeline(StandardScaler(), plain), GridSearchCV(plain, {"C": [0.1, 1.0]}, cv=3)):
            model.fit(X, y)
            np.testing.assert_allclose(self.answers(model, X)[1], model.predict_proba(X), rtol=0, atol=1e-12)

    def test_far_out_and_without_an_intercept(self):
        X, y = load_iris(return_X_y=True)
        model = NaturalGradientLogisticRegression(fit_intercept=False).fit(X, y)
        proba = self.answers(model, 1e4 * X)[1]
        np.testing.assert_allclose(proba, model.predict_proba(1e4 * X), rtol=0, atol=1e-12)
        assert proba.max() == 1.0

    def test_classes_derived_from_ours(self):
        from sknatgrad.dask import DaskNaturalGradientLogisticRegression  # noqa: PLC0415 - alone in needing it

        X, y = load_iris(return_X_y=True)
        model = DaskNaturalGradientLogisticRegression().fit(X, y)
        self.register_converter(DaskNaturalGradientLogisticRegression)
        np.testing.assert_allclose(self.answers(model, X)[1], model.predict_proba(X), rtol=0, atol=1e-12)


def test_without_skl2onnx_one_sentence_says_what_to_install():
    code = "import sys; sys.modules['skl2onnx'] = None; sys.modules['onnx'] = None; import sknatgrad.onnx"
    python = [sys.executable, "-c", code]
    error = subprocess.run(python, capture_output=True, text=True, check=False, cwd=ROOT).stderr  # noqa: S603 - this one
    expected = (
        r"ImportError: sknatgrad\.onnx needs the package onnx, which is not installed; "
        r"run pip install 'sknatgrad\[onnx\]'\."
    )
    assert re.search(expected, error)


class TestImbalancedLearn:
    @pytest.fixture(autouse=True)
    def _package(self):
        reason = "imbalanced-learn is not installed: pip install '.[test]'"
        self.pipeline = needed("imblearn.pipeline", reason)
        self.over_sampling = needed("imblearn.over_sampling", reason)

    @pytest.fixture
    def rare(self):
        """An eighth of the malignant tumours beside all benign ones."""
        X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        kept = (y == 1) | (np.arange(len(y)) % 8 == 0)
        return X[kept], y[kept]

    def test_fits_what_was_resampled(self, rare):
        sampler = self.over_sampling.RandomOverSampler(random_state=0)
        model = self.pipeline.make_pipeline(sampler, NaturalGradientLogisticRegression()).fit(*rare)
        X, y = sampler.fit_resample(*rare)
        assert len(y) > len(rare[1])
        np.testing.assert_array_equal(model[-1].coef_, NaturalGradientLogisticRegression().fit(X, y).coef_)

    def test_cross_validation_and_search(self, rare):
        sampler = self.over_sampling.RandomOverSampler(random_state=0)
        model = self.pipeline.make_pipeline(sampler, NaturalGradientLogisticRegression())
        scores = cross_val_score(model, *rare, cv=3, scoring="balanced_accuracy")
        assert scores.min() > 0.85
        search = GridSearchCV(model, {"naturalgradientlogisticregression__C": [1e-6, 1.0]}, cv=3).fit(*rare)
        assert search.best_params_ == {"naturalgradientlogisticregression__C": 1.0}

    def test_names_are_kept(self, rare):
        sampler = self.over_sampling.SMOTE(random_state=0)
        model = self.pipeline.make_pipeline(sampler, StandardScaler(), NaturalGradientLogisticRegression())
        model.set_output(transform="pandas").fit(*rare)
        assert list(model[-1].feature_names_in_) == list(rare[0].columns)


def shown(heading):
    """Run the code that docs/neighbours.md shows under a heading; return what it defines."""
    page = (ROOT / "docs" / "neighbours.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)[1]
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        exec(block, names)  # noqa: S102 - our own page
    return names


def test_shap():
    needed("shap", "shap, with numba and llvmlite, is not in the extra test: pip install shap")
    names = shown("SHAP")
    model, X, explanation = names["model"], names["X"], names["explanation"]
    parts = explanation.values
    logits = model.decision_function(X)
    np.testing.assert_allclose(parts.sum(axis=1) + explanation.base_values, logits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(parts, (X - X.mean()) * model.coef_[0], rtol=0, atol=1e-9)


def test_mlflow(tmp_path, monkeypatch):
    reason = "it is not in the extra test: pip install mlflow-skinny skops"
    needed("mlflow.sklearn", reason)
    needed("skops", reason)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        # of MLflow, about integer columns and where it keeps runs
        warnings.simplefilter("ignore")
        names = shown("MLflow")
    np.testing.assert_array_equal(names["loaded"].predict_proba(names["X"]), names["model"].predict_proba(names["X"]))


def test_marginaleffects():
    needed("marginaleffects", "it is not in the extra test: pip install marginaleffects 'polars<2'")
    names = shown("marginaleffects")
    own = names["result"].marginal_effects()
    table = names["table"].to_pandas().set_index("term")
    position = names["result"].feature_names.index("age")
    assert table.loc["age", "estimate"] == pytest.approx(own.effects[0, position], rel=1e-4)
    # they take derivatives by differences
    assert table.loc["age", "std_error"] == pytest.approx(own.standard_errors[0, position], rel=0.01)
    import statsmodels.formula.api as smf  # noqa: PLC0415 - takes a second

    fit = smf.logit("ill ~ age + smoker", names["data"]).fit(disp=0)
    theirs = names["avg_slopes"](fit).to_pandas().set_index("term")
    assert list(table.index) == list(theirs.index)
    np.testing.assert_allclose(table["estimate"], theirs["estimate"], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], theirs["std_error"], rtol=0.01)


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_models_stored_by_every_release_say_the_same(path):
    stored = json.loads((path.parent / "said.json").read_text(encoding="utf-8"))
    X, expected = np.array(stored["X"]), stored["models"][path.stem]
    said, few = expected["said"], X[: len(expected["said"]["predict"])]
    with warnings.catch_warnings():
        if path.parent.name != f"stored_by_{sknatgrad.__version__}":
            warnings.filterwarnings("ignore", "this NaturalGradientLogisticRegression was stored by sknatgrad")
        with path.open("rb") as file:
            model = LOADERS[path.suffix](file)
    assert model.predict(few).tolist() == said["predict"]
    np.testing.assert_allclose(model.predict_proba(few), said["predict_proba"], rtol=1e-12)
    # parameters that have come since have their defaults
    assert repr(model)
    assert model.get_params().keys() == NaturalGradientLogisticRegression().get_params().keys()
    if "predict_proba_interval" in said:
        np.testing.assert_allclose(model.predict_proba_interval(few), said["predict_proba_interval"], rtol=1e-9)
        # what the model remembers of its rows is still understood
        again = model.partial_fit(X, np.array(expected["y"]))
        np.testing.assert_allclose(again.coef_, said["coef_ after the rows once more"], rtol=1e-6)


def test_every_kind_of_model_is_stored():
    kinds = {"binary", "multinomial", "covariance", "stream"}
    versions = {path.parent.name for path in STORED}
    assert "stored_by_0.1.0" in versions
    for version in versions:
        found = {path.name for path in STORED if path.parent.name == version}
        assert found == {kind + suffix for kind in kinds for suffix in LOADERS}


def test_another_version_says_so_when_it_loads(monkeypatch):
    X, y = load_iris(return_X_y=True)
    model = NaturalGradientLogisticRegression().fit(X, y)
    assert "_sknatgrad_version" not in vars(pickle.loads(pickle.dumps(model)))  # noqa: S301 - our own
    monkeypatch.setattr("sknatgrad._stored.__version__", "0.0.9")
    older = copy(model)
    del older.max_kl
    stored = pickle.dumps(older)
    monkeypatch.undo()
    expected = rf"stored by sknatgrad 0\.0\.9 and is loaded by {re.escape(sknatgrad.__version__)}; compare"
    with pytest.warns(UserWarning, match=expected):
        loaded = pickle.loads(stored)  # noqa: S301 - our own
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    # a parameter that it did not know has its default
    assert vars(loaded).keys() == vars(model).keys()
    assert loaded.max_kl is None
