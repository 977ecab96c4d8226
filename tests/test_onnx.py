"""ONNX: the graph of a model gives its predictions."""

import re
import subprocess
import sys

import numpy as np
import pytest
from problems import ROOT, needed
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression


def raw_table(n_classes):
    """A year and an income in raw units, and a share: columns that need float64."""
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
        """The outputs of the graph of a model for X."""
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
        # the graph computes in float64, so float32 loses only the rounding of its outputs
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

    def test_numbers_that_need_more_than_64_bits_are_refused(self):
        X, y = load_iris(return_X_y=True)
        model = NaturalGradientLogisticRegression().fit(X, [2**70 + each for each in y.tolist()])
        with pytest.raises(ValueError, match=rf"^classes_ holds {2**70}, but labels in ONNX are numbers of 64 bits"):
            self.answers(model, X)
        np.testing.assert_array_equal(self.answers(model, X, nocl=True)[0], model.predict_proba(X).argmax(axis=1))

    @pytest.mark.parametrize("unit", ["D", "ns"])
    def test_dates_as_labels_are_refused_but_their_indices_are_not(self, unit):
        X, y = load_iris(return_X_y=True)
        dates = np.array(["2019-01-01", "2020-01-01", "2021-01-01"], dtype=f"M8[{unit}]")
        for labels in (dates, dates.astype("M8[D]").astype(object)):
            model = NaturalGradientLogisticRegression().fit(X, labels[y])
            with pytest.raises(
                ValueError, match=r"^classes_ holds 2019-01-01, but labels in ONNX are numbers of 64 bits or strings"
            ):
                self.answers(model, X)
            np.testing.assert_array_equal(self.answers(model, X, nocl=True)[0], model.predict_proba(X).argmax(axis=1))

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
