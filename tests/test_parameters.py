"""Validation of parameters: each set of values once, and every invalid one each time."""

from typing import ClassVar

import numpy as np
import pytest
from problems import make_problem

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._estimator import parameters


@pytest.fixture(scope="module")
def data():
    problem = make_problem(2)
    return problem.X, problem.codes


def test_invalid_values_are_refused_each_time(data):
    model = NaturalGradientLogisticRegression().fit(*data).set_params(C=-1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match="'C' parameter"):
            model.fit(*data)


def test_an_equal_value_of_another_type_is_another_value(data):
    model = NaturalGradientLogisticRegression(max_iter=1, tol=0.5).fit(*data)
    with pytest.raises(ValueError, match="'max_iter' parameter"):
        model.set_params(max_iter=1.0).fit(*data)


def test_values_that_can_change_are_not_remembered(data):
    weights = {0: 1.0}
    model = NaturalGradientLogisticRegression(class_weight=weights).fit(*data)
    weights[0] = -1.0
    with pytest.raises(ValueError, match="class_weight"):
        model.fit(*data)
    model.set_params(class_weight=None, prior=[0.0, np.ones(3)])
    before = len(parameters._VALID)
    model.fit(*data)
    assert len(parameters._VALID) == before


def test_a_subclass_has_values_of_its_own(data):
    class Stricter(NaturalGradientLogisticRegression):
        _parameter_constraints: ClassVar = {**NaturalGradientLogisticRegression._parameter_constraints, "tol": [None]}

    NaturalGradientLogisticRegression().fit(*data)
    with pytest.raises(ValueError, match="'tol' parameter of Stricter"):
        Stricter().fit(*data)


def test_few_sets_of_values_are_remembered(data, monkeypatch):
    monkeypatch.setattr(parameters, "MAX_VALID", 2)
    parameters._VALID.clear()
    for C in [1.0, 2.0, 3.0]:
        NaturalGradientLogisticRegression(C=C).fit(*data)
    assert len(parameters._VALID) == 1
