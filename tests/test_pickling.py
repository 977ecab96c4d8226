"""Stored models: those of every release load, and a warning names another version."""

import json
import pickle
import pickletools
import re
import warnings
from copy import copy

import joblib
import numpy as np
import pytest
from problems import FISHERS, ROOT
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

import sknatgrad
import sknatgrad.inference
import sknatgrad.plots
from sknatgrad import NaturalGradientLogisticRegression, merge

LOADERS = {".joblib": joblib.load, ".pickle": pickle.load}  # noqa: S301 - our own
STORED = sorted(path for path in (ROOT / "tests" / "data").glob("stored_by_*/*") if path.suffix in LOADERS)


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
    # parameters that are newer have their defaults
    assert repr(model)
    assert model.get_params().keys() == NaturalGradientLogisticRegression().get_params().keys()
    if "predict_proba_interval" in said:
        np.testing.assert_allclose(model.predict_proba_interval(few), said["predict_proba_interval"], rtol=1e-9)
        # the quadratic that the model keeps of its rows still works
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
    monkeypatch.setattr("sknatgrad._estimator.pickling.__version__", "0.0.9")
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


def stored_models():
    """Yield a model of every kind that keeps something besides numbers and arrays."""
    X, y = load_iris(return_X_y=True)
    for fisher in FISHERS:
        settings = {"fisher": fisher, "random_state": 0, "store_covariance": True}
        with warnings.catch_warnings():
            # plain gradient descent does not converge on raw columns
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield NaturalGradientLogisticRegression(**settings).fit(X, y)
        yield NaturalGradientLogisticRegression(**settings).partial_fit(X, y, [0, 1, 2])
    for rows in (X, X.astype(np.float32), sparse.csr_array(X), sparse.csr_matrix(X)):
        model = NaturalGradientLogisticRegression().partial_fit(rows, y, [0, 1, 2])
        assert model._stream.first_rows is not None
        yield model
        yield NaturalGradientLogisticRegression(prior=model).fit(X, y)
    yield merge([NaturalGradientLogisticRegression().partial_fit(X, y, [0, 1, 2])])


def test_no_private_module_is_needed_to_load_a_model():
    for model in stored_models():
        # protocol 3 names each class by one opcode
        named = {
            argument for opcode, argument, _ in pickletools.genops(pickle.dumps(model, 3)) if opcode.name == "GLOBAL"
        }
        assert "sknatgrad NaturalGradientLogisticRegression" in named
        assert not [each for each in named if each.startswith("sknatgrad._")]


def test_public_names_report_public_addresses():
    for module in (sknatgrad, sknatgrad.inference, sknatgrad.plots):
        for name in module.__all__:
            assert getattr(module, name).__module__ in {module.__name__, "sknatgrad.exceptions"}, name
