"""What an import of the package loads, and what waits for its first use."""

import importlib
import json
import subprocess
import sys

import pytest

# Modules that only fits of many models and scores need: scikit-learn's alone take 40 ms.
WAITING = (
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.linear_model",
    "sknatgrad._estimator.cv_classifier",
    "sknatgrad._solver.many_models",
    "sknatgrad._model.influence",
)
FIRST_USES = (
    ("sknatgrad", "NaturalGradientLogisticRegressionCV"),
    ("sknatgrad", "LogisticPath"),
    ("sknatgrad", "logistic_path"),
    ("sknatgrad.inference", "influence"),
    ("sknatgrad.inference", "InfluenceResult"),
)


def in_new_process(code):
    """Return what the last line of a new process prints, as JSON."""
    command = [sys.executable, "-c", f"import json, sys\n{code}"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this code
    return json.loads(run.stdout)


@pytest.mark.parametrize("package", ["sknatgrad", "sknatgrad.inference"])
def test_an_import_leaves_cross_validation_for_its_first_use(package):
    code = f"import {package}\nprint(json.dumps([name for name in {WAITING} if name in sys.modules]))"
    assert in_new_process(code) == []


@pytest.mark.parametrize(("package", "name"), FIRST_USES)
def test_members_are_loaded_when_they_are_first_used(package, name):
    code = f"""
import pickle
import {package} as package
listed = "{name}" in dir(package) and "{name}" in package.__all__
waits = "{name}" not in vars(package)
from {package} import {name} as member
same = package.{name} is member and vars(package)["{name}"] is member and pickle.loads(pickle.dumps(member)) is member
print(json.dumps([listed, waits, same, member.__module__]))
"""
    assert in_new_process(code) == [True, True, True, package]


@pytest.mark.parametrize("package", ["sknatgrad", "sknatgrad.inference"])
def test_unknown_members_are_refused_as_usual(package):
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'LogisticRegression'$"):
        _ = module.LogisticRegression
    with pytest.raises(ImportError, match="cannot import name 'LogisticRegression'"):
        exec(f"from {package} import LogisticRegression", {})  # noqa: S102 - an import by name
    assert not hasattr(module, "LogisticRegression")


def test_a_result_of_influence_is_pickled_by_its_public_address():
    code = """
import pickle
from sknatgrad.inference._influence.result import InfluenceResult
print(json.dumps(InfluenceResult.__module__))
"""
    assert in_new_process(code) == "sknatgrad.inference"
