"""Callbacks of scikit-learn, FisherMonitor and EarlyStopping."""

import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from problems import FISHERS, Recorder, ScoringMonitor, needs_callbacks
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad.callbacks import EarlyStopping, FisherMonitor


@needs_callbacks
def test_every_iteration_is_reported_in_order(cancer):
    recorder = Recorder()
    model = NaturalGradientLogisticRegression().set_callbacks(recorder).fit(*cancer)
    n_iter = int(model.n_iter_[0])
    expected = [("setup", "fit"), ("begin", "fit", 0)]
    for iteration in range(n_iter):
        expected += [("begin", "iteration", iteration), ("end", "iteration", iteration)]
    assert recorder.calls == [*expected, ("end", "fit", 0), ("teardown", "fit")]


@needs_callbacks
def test_watching_changes_nothing(cancer):
    alone = NaturalGradientLogisticRegression().fit(*cancer)
    watched = NaturalGradientLogisticRegression().set_callbacks(Recorder(), FisherMonitor()).fit(*cancer)
    assert np.array_equal(alone.coef_, watched.coef_)
    assert alone.loss_curve_ == watched.loss_curve_
    assert set(vars(watched)) - set(vars(alone)) == {"_skl_callbacks"}


@needs_callbacks
@pytest.mark.parametrize("fisher", FISHERS)
def test_an_estimator_of_the_middle_of_a_fit_is_one_with_that_many_iterations(fisher, wine):
    X, _, y, _ = wine
    recorder = Recorder()
    options = {"fisher": fisher, "random_state": 0, "max_iter": 5, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        NaturalGradientLogisticRegression(**options).set_callbacks(recorder).fit(X, y)
        for n_iter, model in enumerate(recorder.models, start=1):
            shorter = NaturalGradientLogisticRegression(**{**options, "max_iter": n_iter}).fit(X, y)
            np.testing.assert_allclose(model.predict_proba(X), shorter.predict_proba(X), rtol=0, atol=1e-12)
            assert model.loss_curve_ == shorter.loss_curve_
            assert model.n_iter_[0] == n_iter
            assert not model.converged_
    assert len(recorder.models) == 5


@needs_callbacks
def test_what_an_earlier_fit_has_left_is_not_in_the_middle_of_the_next(cancer):
    recorder = Recorder()
    model = NaturalGradientLogisticRegression(store_covariance=True).fit(*cancer)
    model.set_params(store_covariance=False).set_callbacks(recorder).fit(*cancer)
    assert not hasattr(recorder.models[0], "covariance_")


@needs_callbacks
@pytest.mark.parametrize("stop_at", [0, 2])
def test_a_callback_that_asks_to_stop_stops_the_fit(stop_at, cancer):
    model = NaturalGradientLogisticRegression(store_covariance=True).set_callbacks(Recorder(stop_at)).fit(*cancer)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        shorter = NaturalGradientLogisticRegression(max_iter=stop_at + 1, store_covariance=True).fit(*cancer)
    assert not model.converged_
    assert model.n_iter_.tolist() == [stop_at + 1]
    assert model.loss_curve_ == shorter.loss_curve_
    assert len(model.kl_curve_) == len(model.time_curve_) - 1 == stop_at + 1
    assert np.array_equal(model.coef_, shorter.coef_)
    assert np.array_equal(model.covariance_, shorter.covariance_)


@needs_callbacks
def test_a_stop_at_the_optimum_leaves_it_converged(cancer):
    n_iter = int(NaturalGradientLogisticRegression().fit(*cancer).n_iter_[0])
    assert NaturalGradientLogisticRegression().set_callbacks(Recorder(n_iter - 1)).fit(*cancer).converged_


@needs_callbacks
def test_rows_and_weights_reach_callbacks_as_they_were_given(cancer):
    X, y = cancer
    weight = np.ones(len(y))
    recorder = Recorder()
    model = NaturalGradientLogisticRegression().set_callbacks(recorder).fit(X, y, weight)
    assert all(given[0] is X and given[1] is y and given[2]["sample_weight"] is weight for given in recorder.given)
    recorder.given.clear()
    model.fit(X, y)
    assert all(metadata is None for _, _, metadata in recorder.given)


@needs_callbacks
def test_a_callback_that_fails_leaves_the_estimator_as_it_was_and_is_torn_down(cancer):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise ZeroDivisionError

    model = NaturalGradientLogisticRegression().fit(*cancer)
    failing = Failing()
    before = dict(vars(model.set_callbacks(failing)))
    with pytest.raises(ZeroDivisionError):
        model.fit(*cancer)
    assert vars(model) == before
    assert failing.calls[-1] == ("teardown", "fit")


@needs_callbacks
def test_callbacks_are_torn_down_where_rows_are_refused(cancer):
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        NaturalGradientLogisticRegression().set_callbacks(recorder).fit(cancer[0] * np.nan, cancer[1])
    assert (recorder.calls[0], recorder.calls[-1]) == (("setup", "fit"), ("teardown", "fit"))
    assert ("end", "fit", 0) not in recorder.calls


@needs_callbacks
def test_scikit_learns_own_monitor_sees_the_log_loss_fall_in_a_search(cancer):
    monitor = ScoringMonitor(scoring="neg_log_loss")
    model = NaturalGradientLogisticRegression().set_callbacks(monitor)
    GridSearchCV(model, {"C": [0.1, 1.0]}, cv=3, refit=False).fit(*cancer)
    assert monitor.get_logs().data_as_pandas["neg_log_loss"].notna().sum() > 6 * 4
    alone = ScoringMonitor(scoring="neg_log_loss")
    # with a weak penalty, as the penalised loss falls and the log loss alone need not
    model = NaturalGradientLogisticRegression(C=100.0).set_callbacks(alone).fit(*cancer)
    logs = alone.get_logs().data_as_pandas
    scores = logs["neg_log_loss"][logs["task_name"] == "iteration"].to_numpy()
    assert scores.size == model.n_iter_[0]
    assert (np.diff(scores) > -1e-6).all()
    assert scores[0] < scores[-1]


@needs_callbacks
def test_scikit_learns_progress_bar_runs(cancer, capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar  # noqa: PLC0415 - where it is there

    NaturalGradientLogisticRegression().set_callbacks(ProgressBar()).fit(*cancer)
    assert "NaturalGradientLogisticRegression" in capsys.readouterr().out


@needs_callbacks
def test_batches_and_clusters_have_callbacks_too(cancer):
    da = pytest.importorskip("dask.array")
    from sknatgrad.dask import DaskNaturalGradientLogisticRegression  # noqa: PLC0415 - where it is there

    X, y = cancer
    recorder, monitor = Recorder(1), FisherMonitor()
    model = NaturalGradientLogisticRegression().set_callbacks(recorder, monitor).fit_batches([(X, y)])
    assert model.n_iter_[0] == len(monitor.records_) == 2
    chunks = da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=100)
    model = DaskNaturalGradientLogisticRegression().set_callbacks(recorder, monitor).fit(*chunks)
    assert model.n_iter_[0] == len(monitor.records_) - 2 == 2
    assert monitor.to_dataframe()["decrement"].gt(0).all()


@needs_callbacks
def test_early_stopping_keeps_the_iterate_that_predicts_held_out_rows_best(wine):
    X, held_out, y, labels = wine
    stopping = EarlyStopping(held_out, labels)
    model = NaturalGradientLogisticRegression(C=1e6).set_callbacks(stopping).fit(X, y)
    by_iteration = []
    for max_iter in range(1, len(stopping.scores_) + 1):
        with pytest.warns(ConvergenceWarning):
            shorter = NaturalGradientLogisticRegression(C=1e6, max_iter=max_iter).fit(X, y)
        probability = shorter.predict_proba(held_out)[np.arange(len(labels)), labels]
        by_iteration.append(np.log(probability).mean())
    np.testing.assert_allclose(stopping.scores_, by_iteration, rtol=1e-9)
    best = int(np.argmax(by_iteration)) + 1
    assert model.n_iter_[0] == stopping.best_iteration_ == best == len(stopping.scores_) - 1
    assert len(model.loss_curve_) == len(model.time_curve_) == best + 1
    with pytest.warns(ConvergenceWarning):
        shorter = NaturalGradientLogisticRegression(C=1e6, max_iter=best).fit(X, y)
    assert np.array_equal(model.coef_, shorter.coef_)
    assert not model.converged_


@needs_callbacks
def test_early_stopping_waits_as_long_as_it_is_told(wine):
    X, held_out, y, labels = wine
    patient = EarlyStopping(held_out, labels, n_iter_no_change=3)
    model = NaturalGradientLogisticRegression(C=1e6).set_callbacks(patient).fit(X, y)
    assert len(patient.scores_) == patient.best_iteration_ + 3
    assert model.n_iter_[0] == patient.best_iteration_


@needs_callbacks
def test_early_stopping_leaves_an_optimum_that_is_reached_first(wine):
    X, held_out, y, labels = wine
    stopping = EarlyStopping(held_out, labels, n_iter_no_change=100)
    model = NaturalGradientLogisticRegression().set_callbacks(stopping).fit(X, y)
    assert model.converged_
    assert np.array_equal(model.coef_, NaturalGradientLogisticRegression().fit(X, y).coef_)


@needs_callbacks
@pytest.mark.parametrize(
    ("options", "n_iter_no_change"),
    [
        ({"C": 1e6, "max_iter": 4}, 3),
        # the patience ends with the iterations
        ({"C": 1e6, "max_iter": 6}, 3),
        ({"learning_rate": 30.0, "damping": 0.0, "C": np.inf}, 1000),
        # separable
        ({"C": np.inf}, 1000),
    ],
)
def test_early_stopping_keeps_its_best_iterate_however_a_fit_ends_short_of_the_optimum(options, n_iter_no_change, wine):
    X, held_out, y, labels = wine
    stopping = EarlyStopping(held_out, labels, n_iter_no_change=n_iter_no_change)
    model = NaturalGradientLogisticRegression(**options).set_callbacks(stopping).fit(X, y)
    assert model.n_iter_[0] == stopping.best_iteration_ == np.argmax(stopping.scores_) + 1 < len(stopping.scores_)
    np.testing.assert_allclose(-log_loss(labels, model.predict_proba(held_out)), max(stopping.scores_), rtol=1e-9)
    assert not model.converged_


@needs_callbacks
@pytest.mark.parametrize("column", [lambda y: y[:, None], lambda y: pd.DataFrame({"label": y})])
def test_early_stopping_takes_labels_in_a_column(column, wine):
    X, held_out, y, labels = wine
    plain, of_column = EarlyStopping(held_out, labels), EarlyStopping(held_out, column(labels))
    NaturalGradientLogisticRegression(C=1e6).set_callbacks(plain, of_column).fit(X, y)
    assert plain.scores_ == of_column.scores_


def test_early_stopping_refuses_labels_and_weights_of_other_rows(wine):
    _, held_out, _, labels = wine
    for y, weight in ((labels[1:], None), (labels, np.ones(3)), (np.ones((len(labels), 2)), None)):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples|1d array"):
            EarlyStopping(held_out, y, sample_weight=weight)


@needs_callbacks
def test_a_step_that_is_rejected_at_the_end_is_no_iteration(cancer):
    X, y = cancer
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    options = {"learning_rate": 100.0, "C": np.inf, "damping": 0.0}
    monitor, stopping = FisherMonitor(), EarlyStopping(X, y, n_iter_no_change=1000)
    with pytest.warns(ConvergenceWarning, match="overshoots"):
        model = NaturalGradientLogisticRegression(**options).set_callbacks(monitor).fit(X, y)
    NaturalGradientLogisticRegression(**options).set_callbacks(stopping).fit(X, y)
    assert model.n_iter_[0] == len(monitor.records_) == len(stopping.scores_) == 2
    assert [record["loss"] for record in monitor.records_] == model.loss_curve_[1:]


@needs_callbacks
def test_one_weight_for_all_rows_is_none_to_a_score(cancer):
    monitors = [ScoringMonitor(scoring="neg_log_loss") for _ in range(2)]
    for monitor, weight in zip(monitors, (None, 1.0), strict=True):
        NaturalGradientLogisticRegression().set_callbacks(monitor).fit(*cancer, weight)
    none, one = (monitor.get_logs().data_as_pandas["neg_log_loss"] for monitor in monitors)
    assert none.equals(one)


@needs_callbacks
def test_early_stopping_by_a_scorer_with_weights_and_a_threshold(wine):
    X, held_out, y, labels = wine
    weight = np.linspace(0.1, 2.0, len(labels))
    by_loss = EarlyStopping(held_out, labels, sample_weight=weight, n_iter_no_change=100)
    by_scorer = EarlyStopping(held_out, labels, sample_weight=weight, scoring="neg_log_loss", n_iter_no_change=100)
    NaturalGradientLogisticRegression().set_callbacks(by_loss, by_scorer).fit(X, y)
    np.testing.assert_allclose(by_loss.scores_, by_scorer.scores_, rtol=1e-9)
    strict = EarlyStopping(held_out, labels, tol=100.0)
    model = NaturalGradientLogisticRegression().set_callbacks(strict).fit(X, y)
    assert strict.best_iteration_ == model.n_iter_[0] == 1


@needs_callbacks
def test_early_stopping_in_a_pipeline_and_a_search(wine):
    X, held_out, y, labels = wine
    scaler = StandardScaler().fit(X)
    stopping = EarlyStopping(scaler.transform(held_out), labels)
    model = NaturalGradientLogisticRegression(C=1e6).set_callbacks(stopping)
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    assert pipeline[-1].n_iter_[0] == stopping.best_iteration_
    search = GridSearchCV(
        NaturalGradientLogisticRegression().set_callbacks(EarlyStopping(held_out, labels)), {"C": [1.0, 1e6]}, cv=3
    ).fit(X, y)
    assert not search.best_estimator_.converged_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_iter_no_change": 0}, "n_iter_no_change=0 must be a whole number"),
        ({"n_iter_no_change": 1.5}, "n_iter_no_change=1.5 must be a whole number"),
        ({"tol": -1.0}, "tol=-1.0 must be a number >= 0"),
        ({"tol": np.nan}, "tol=nan must be a number >= 0"),
    ],
)
def test_early_stopping_refuses_what_makes_no_sense(options, message, wine):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(wine[1], wine[3], **options)


@needs_callbacks
def test_held_out_rows_of_a_class_that_is_not_fitted_are_refused(wine):
    X, held_out, y, labels = wine
    model = NaturalGradientLogisticRegression().set_callbacks(EarlyStopping(held_out, labels))
    with pytest.raises(ValueError, match="holds 2, which no row of the fit has"):
        model.fit(X[y < 2], y[y < 2])
    assert not hasattr(model, "coef_")


@needs_callbacks
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
@pytest.mark.parametrize("fisher", ["true", "empirical", "diagonal", "identity"])
@pytest.mark.parametrize("direct", [True, False])
def test_the_monitor_says_what_the_formulas_say(load, fisher, direct, limits):
    if not direct:
        limits(direct_products=0.0)
    X, y = load(return_X_y=True)
    monitor, recorder = FisherMonitor(), Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NaturalGradientLogisticRegression(fisher=fisher, max_iter=4)
        model.set_callbacks(monitor, recorder).fit(X, y)
    assert [record["iteration"] for record in monitor.records_] == [1, 2, 3, 4]
    assert [record["loss"] for record in monitor.records_] == model.loss_curve_[1:]
    assert [record["kl"] for record in monitor.records_] == model.kl_curve_
    n_columns = X.shape[1] + 1
    for before, record in zip(recorder.models, monitor.records_[1:], strict=False):
        information = fisher_information(before, X)
        q = len(before.coef_)
        prior = np.tile(np.append(np.ones(n_columns - 1), 0.0), q)
        hessian = information + np.diag(prior)
        theta = np.column_stack([before.coef_, before.intercept_]).ravel()
        proba = before.predict_proba(X)
        residual = proba[:, 1:] - (y == 1)[:, None] if q == 1 else proba - np.eye(q)[y]
        gradient = (residual.T @ np.column_stack([X, np.ones(len(X))])).ravel() + prior * theta
        scale = 1 / np.sqrt(hessian.diagonal())
        solved = scale * np.linalg.lstsq(scale[:, None] * hessian * scale, scale * gradient, rcond=1e-13)[0]
        np.testing.assert_allclose(record["decrement"], 0.5 * gradient @ solved / len(y), rtol=1e-5)
        if q == 1:
            values = np.linalg.eigvalsh(scale[:, None] * hessian * scale)
            np.testing.assert_allclose(record["condition_number"], values[-1] / values[0], rtol=1e-6)


@needs_callbacks
def test_the_condition_number_of_several_classes_is_on_moves_that_sum_to_zero(wine):
    X, _, y, _ = wine
    monitor, recorder = FisherMonitor(), Recorder()
    NaturalGradientLogisticRegression(max_iter=3, tol=1.0).set_callbacks(monitor, recorder).fit(X, y)
    model = recorder.models[0]
    hessian = fisher_information(model, X) + np.diag(np.tile(np.append(np.ones(X.shape[1]), 0.0), 3))
    scale = np.tile(np.sqrt(hessian.diagonal().reshape(3, -1).mean(axis=0)), 3)
    # another basis of the same moves
    basis = np.kron(np.linalg.qr([[1.0, 1.0], [-1.0, 1.0], [0.0, -2.0]])[0], np.eye(X.shape[1] + 1))
    values = np.linalg.eigvalsh(basis.T @ (hessian / scale / scale[:, None]) @ basis)
    np.testing.assert_allclose(monitor.records_[1]["condition_number"], values[-1] / values[0], rtol=1e-6)


@needs_callbacks
def test_the_monitor_of_uncorrelated_columns_shows_no_condition_whatever_their_scales():
    random = np.random.default_rng(0)
    X = np.linalg.qr(random.normal(size=(400, 3)) - 0.0)[0]
    X = np.linalg.qr(X - X.mean(axis=0))[0] * [1e-6, 1.0, 1e6]
    monitor = FisherMonitor()
    NaturalGradientLogisticRegression(C=np.inf).set_callbacks(monitor).fit(X, random.integers(2, size=400))
    # at zero all rows have the same weight
    assert monitor.records_[0]["condition_number"] == pytest.approx(1.0, abs=1e-9)


@needs_callbacks
def test_the_monitor_says_that_it_does_not_know():
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 2))
    X = np.column_stack([X, X[:, 0]])
    quick = FisherMonitor(decrement=False, condition_number=False)
    monitor = FisherMonitor()
    model = NaturalGradientLogisticRegression(C=np.inf).set_callbacks(monitor, quick)
    model.fit(X, X[:, 0] + random.logistic(size=200) > 0)
    assert all(np.isnan(record["condition_number"]) for record in monitor.records_)
    assert monitor.records_[0]["decrement"] > 0
    assert all(np.isnan([record["decrement"], record["condition_number"]]).all() for record in quick.records_)


@needs_callbacks
def test_the_monitor_tells_fits_apart_and_can_be_pickled(wine):
    X, _, y, _ = wine
    monitor = FisherMonitor()
    model = NaturalGradientLogisticRegression().set_callbacks(monitor)
    clone(model).fit(X, y)
    model.fit(X, y)
    table = pickle.loads(pickle.dumps(monitor)).to_dataframe()  # noqa: S301 - our own
    assert table["fit"].unique().tolist() == [0, 1]
    assert table["iteration"].tolist() == 2 * list(range(1, int(model.n_iter_[0]) + 1))
    assert (np.diff(table["seconds"][table["fit"] == 0]) > 0).all()


def test_a_table_of_the_monitor_needs_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_dataframe needs pandas"):
        FisherMonitor().to_dataframe()


@needs_callbacks
def test_contexts_do_not_keep_the_rows(cancer):
    class Keeping(Recorder):
        def __init__(self):
            super().__init__()
            self.contexts = []

        def on_fit_task_begin(self, estimator, context):
            self.contexts.append(context)

    keeping = Keeping()
    NaturalGradientLogisticRegression().set_callbacks(keeping).fit(*cancer)
    iterations = [vars(context).get("natural_gradient_iteration") for context in keeping.contexts[1:]]
    assert all(iteration.point is None and iteration.objective is None for iteration in iterations)


def test_without_callbacks_in_scikit_learn_the_error_names_the_version():
    if ScoringMonitor is not None:
        pytest.skip("scikit-learn has callbacks from 1.9 on")
    with pytest.raises(ImportError, match=r"callbacks need scikit-learn 1\.9"):
        NaturalGradientLogisticRegression().set_callbacks(FisherMonitor())


def test_without_pandas_the_records_are_still_there(cancer, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monitor = FisherMonitor()
    with pytest.raises(ImportError, match="to_dataframe needs pandas, which is not installed; run pip install"):
        monitor.to_dataframe()


def test_without_the_protocol_of_callbacks_fits_are_the_same(cancer, monkeypatch):
    expected = NaturalGradientLogisticRegression().fit(*cancer)
    monkeypatch.setattr(NaturalGradientLogisticRegression, "_init_callback_context", None, raising=False)
    model = NaturalGradientLogisticRegression().fit(*cancer)
    assert np.array_equal(model.coef_, expected.coef_)


def fit_once(model, X, y):
    return model.fit(X, y)


def fit_in_batches(model, X, y):
    return model.fit_batches([(X[::2], y[::2]), (X[1::2], y[1::2])])


SETTINGS = {
    "twice in one call": lambda model, *callbacks: model.set_callbacks(*callbacks, *callbacks),
    "in two calls": lambda model, *callbacks: model.set_callbacks(*callbacks).set_callbacks(*callbacks),
    "on a clone": lambda model, *callbacks: clone(model.set_callbacks(*callbacks, *callbacks)),
}


@needs_callbacks
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("fit", [fit_once, fit_in_batches])
def test_a_callback_that_is_set_twice_acts_once(setting, fit, wine):
    """After a fit, and for a second fit of the same estimator, too."""
    X, held_out, y, labels = wine
    alone = EarlyStopping(held_out, labels), FisherMonitor()
    expected = fit(NaturalGradientLogisticRegression(C=1e6).set_callbacks(*alone), X, y)
    stopping, monitor = EarlyStopping(held_out, labels), FisherMonitor()
    model = setting(NaturalGradientLogisticRegression(C=1e6), stopping, monitor)
    for number in range(2):
        np.testing.assert_array_equal(fit(model, X, y).coef_, expected.coef_)
        assert stopping.scores_ == alone[0].scores_
        assert stopping.best_iteration_ == alone[0].best_iteration_
        records = [record | {"fit": 0, "seconds": 0.0} for record in monitor.records_ if record["fit"] == number]
        assert records == [record | {"seconds": 0.0} for record in alone[1].records_]
        assert len(monitor.records_) == (number + 1) * len(records)
        setting(model, stopping, monitor)


@needs_callbacks
def test_a_callback_that_is_set_twice_on_another_estimator_acts_once(wine):
    X, held_out, y, labels = wine
    stopping, monitor = EarlyStopping(held_out, labels), FisherMonitor()
    LogisticRegression(max_iter=10_000).set_callbacks(stopping, stopping, monitor, monitor).fit(X, y)
    assert stopping.scores_ == []
    assert monitor.records_ == []
