"""Ctrl-C during a fit: raised, or the best iterate is kept."""

import copy

import numpy as np
import pytest
from problems import Recorder, needs_callbacks
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._estimator import fit as _fit
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._solver.penalised_loss import PenalisedLoss
from sknatgrad.callbacks import EarlyStopping


class Interrupted:
    """PenalisedLoss.measure, with Ctrl-C at the given call."""

    def __init__(self, at, monkeypatch):
        self.calls, measure = 0, PenalisedLoss.measure

        def interrupted(loss, *given, **how):
            self.calls += 1
            if self.calls == at:
                raise KeyboardInterrupt
            return measure(loss, *given, **how)

        monkeypatch.setattr(PenalisedLoss, "measure", interrupted)


@pytest.mark.parametrize("fitted", [False, True])
def test_ctrl_c_is_let_out_and_leaves_the_estimator_as_it_was(fitted, cancer, monkeypatch):
    model = NaturalGradientLogisticRegression(store_covariance=True)
    if fitted:
        model.fit(*cancer)
    before = copy.copy(vars(model))
    Interrupted(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*cancer)
    assert vars(model) == before


def test_ctrl_c_keeps_the_best_iterate_when_asked(cancer, monkeypatch):
    with pytest.warns(ConvergenceWarning):
        shorter = NaturalGradientLogisticRegression(max_iter=2, store_covariance=True).fit(*cancer)
    Interrupted(4, monkeypatch)
    model = NaturalGradientLogisticRegression(on_interrupt="keep", store_covariance=True)
    with pytest.warns(ConvergenceWarning, match=r"^Interrupted: after 2 iterations .* warm_start=True"):
        model.fit(*cancer)
    assert np.array_equal(model.coef_, shorter.coef_)
    assert np.array_equal(model.covariance_, shorter.covariance_)
    assert model.loss_curve_ == shorter.loss_curve_
    assert len(model.time_curve_) == 3
    assert not model.converged_
    assert model.set_params(warm_start=True).fit(*cancer).converged_


def test_of_steps_that_overshoot_the_best_iterate_is_not_the_last(cancer, monkeypatch):
    X, y = cancer
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    options = {"learning_rate": 3.0, "damping": 0.0, "C": np.inf}
    with pytest.warns(ConvergenceWarning):
        losses = NaturalGradientLogisticRegression(**options, max_iter=3).fit(X, y).loss_curve_
    assert np.argmin(losses) == 1
    Interrupted(5, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="Interrupted: after 1 iterations"):
        model = NaturalGradientLogisticRegression(**options, on_interrupt="keep").fit(X, y)
    assert model.loss_curve_ == losses[:2]
    assert model.n_iter_[0] == 1


@pytest.mark.parametrize("fisher", ["true", "kronecker"])
@pytest.mark.parametrize("nth", [1, 2])
def test_ctrl_c_after_the_last_step_keeps_the_optimum(fisher, nth, cancer, monkeypatch):
    """At any point after the last step: none of the later attributes is set, rather than some."""
    options = {"fisher": fisher, "store_covariance": True}
    whole = NaturalGradientLogisticRegression(**options).fit(*cancer)
    calls, kernel = [], MeasureKernel.__call__

    def interrupted(self, block):
        calls.append(1)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return kernel(self, block)

    def begin(*arguments):
        monkeypatch.setattr(MeasureKernel, "__call__", interrupted)
        return information_attributes(*arguments)

    information_attributes = _fit.information_attributes
    monkeypatch.setattr(_fit, "information_attributes", begin)
    model = NaturalGradientLogisticRegression(**options, on_interrupt="keep")
    if nth == 2 and fisher == "true":
        # one pass computes both
        assert np.array_equal(model.fit(*cancer).covariance_, whole.covariance_)
        return
    with pytest.warns(ConvergenceWarning, match="Interrupted after the last step") as caught:
        model.fit(*cancer)
    assert caught[0].filename == __file__
    assert np.array_equal(model.coef_, whole.coef_)
    assert model.converged_
    assert not hasattr(model, "covariance_")
    with pytest.raises(ValueError, match="has no covariance_"):
        model.predict_proba_interval(cancer[0])
    calls.clear()
    monkeypatch.setattr(MeasureKernel, "__call__", kernel)
    model.set_params(on_interrupt="raise")
    before = copy.copy(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.fit(*cancer)
    assert vars(model) == before


def test_ctrl_c_after_the_last_step_is_raised_by_default(cancer, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fit, "information_attributes", interrupted)
    model = NaturalGradientLogisticRegression(store_covariance=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*cancer)
    assert not hasattr(model, "coef_")


@needs_callbacks
def test_ctrl_c_in_a_callback_at_the_optimum_leaves_it_converged(cancer):
    n_iter = NaturalGradientLogisticRegression().fit(*cancer).n_iter_[0]

    class Impatient(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "iteration":
                self.calls.append(1)
                if self.calls.count(1) == n_iter:
                    raise KeyboardInterrupt

    model = NaturalGradientLogisticRegression(on_interrupt="keep").set_callbacks(Impatient()).fit(*cancer)
    assert model.converged_
    assert model.n_iter_[0] == n_iter


@needs_callbacks
def test_ctrl_c_keeps_what_early_stopping_would(wine, monkeypatch):
    X, held_out, y, labels = wine
    stopping = EarlyStopping(held_out, labels, n_iter_no_change=1000)
    Interrupted(7, monkeypatch)
    model = NaturalGradientLogisticRegression(C=1e6, on_interrupt="keep").set_callbacks(stopping)
    with pytest.warns(ConvergenceWarning, match="Interrupted: after 3 iterations"):
        model.fit(X, y)
    assert model.n_iter_[0] == stopping.best_iteration_ == 3 < len(stopping.scores_)


def test_ctrl_c_before_there_is_anything_to_keep_is_let_out(cancer, monkeypatch):
    Interrupted(1, monkeypatch)
    model = NaturalGradientLogisticRegression(on_interrupt="keep")
    with pytest.raises(KeyboardInterrupt):
        model.fit(*cancer)
    assert not hasattr(model, "coef_")
