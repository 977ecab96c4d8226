"""What a fit prints with verbose, and the time it records."""

from itertools import pairwise

import pytest
from problems import DATASETS
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression


def test_verbose_prints_a_line_an_iteration(iris, capsys):
    X, y = iris
    model = NaturalGradientLogisticRegression(verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_[0] + 1
    assert all(line.startswith("[sknatgrad] ") for line in lines)
    assert f"loss {model.loss_curve_[-1]:.9g} nats" in lines[-1]
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    assert "[sknatgrad] metric 'true': dense\n" in capsys.readouterr().out
    NaturalGradientLogisticRegression().fit(X, y)
    assert not capsys.readouterr().out


def test_verbose_says_matrix_free(iris, capsys, limits):
    limits(matrix_bytes=0)
    NaturalGradientLogisticRegression(verbose=2).fit(*iris)
    assert "metric 'true': conjugate gradients" in capsys.readouterr().out


def test_verbose_shows_rejected_trials_at_two(capsys):
    X, y = DATASETS["iris"](return_X_y=True)
    parameters = {"fisher": "diagonal", "C": 100.0}
    for verbose, shown in [(1, False), (2, True)]:
        with pytest.warns(ConvergenceWarning):
            NaturalGradientLogisticRegression(verbose=verbose, **parameters).fit(X, y)
        assert ("rejected at damping" in capsys.readouterr().out) is shown


def test_verbose_prints_what_the_page_shows(capsys):
    X, y = load_digits(return_X_y=True)
    NaturalGradientLogisticRegression(verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[sknatgrad] start         : loss 2.30258509 nats")
    assert lines[1].startswith("[sknatgrad] iteration    1: loss ")
    NaturalGradientLogisticRegression(verbose=2).fit(X, y)
    more = capsys.readouterr().out.splitlines()
    assert len(more) > len(lines)
    assert more[0].startswith("[sknatgrad] ")
    assert "products by" in more[2]


def test_the_time_curve_goes_with_the_loss_curve(cancer):
    model = NaturalGradientLogisticRegression().fit(*cancer)
    assert len(model.time_curve_) == len(model.loss_curve_)
    assert model.time_curve_[0] > 0
    assert all(before < after for before, after in pairwise(model.time_curve_))
