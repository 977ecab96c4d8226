"""Floating-point errors: underflow is ignored inside, whatever the caller asks for, and the caller's handling stays."""

import warnings

import dask
import dask.array as da
import numpy as np
import pytest
from problems import FISHERS, needs_callbacks, quiet_fit
from scipy import sparse
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence, merge
from sknatgrad._rows.floating_point import (
    as_caller,
    each_as_caller,
    handling_for_tasks,
    underflow_ignored,
    underflow_ignored_in,
)
from sknatgrad.callbacks import EarlyStopping, FisherMonitor
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.dask import infer as dask_infer
from sknatgrad.inference import infer
from sknatgrad.plots import (
    CoefficientDisplay,
    FisherEllipseDisplay,
    LossCurveDisplay,
    ProbabilityIntervalDisplay,
    RegularizationPathDisplay,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sknatgrad.exceptions.InferenceWarning"),
]


@pytest.fixture(scope="module", params=[2, 3])
def rows(request):
    """Rows of which every tenth is far out: logits of thousands, and probabilities that underflow."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, : request.param] + rng.gumbel(size=(300, request.param))).argmax(axis=1)
    X[::10] *= 1000.0
    y[::10] = X[::10, : request.param].argmax(axis=1)
    # a column that is empty, as many of images are
    X[:, 3] = 0.0
    return X, y


@pytest.fixture(scope="module")
def model(rows):
    return quiet_fit(*rows, store_covariance=True, max_iter=12)


def strictly():
    """Every error of floating point raises an exception."""
    return np.errstate(all="raise")


def fit(X, y, **parameters):
    fitted = NaturalGradientLogisticRegression(max_iter=12, **parameters).fit(X, y)
    return fitted.coef_, fitted.loss_curve_


def fit_in_batches(X, y, *_):
    batches = [(X[start : start + 100], y[start : start + 100]) for start in range(0, len(y), 100)]
    fitted = NaturalGradientLogisticRegression(max_iter=12).fit_batches(batches)
    assert fitted.n_passes_ > 1
    return fitted.coef_


def fit_stream(X, y, *_):
    fitted = NaturalGradientLogisticRegression(store_covariance=True)
    for start in range(0, len(y), 200):
        fitted.partial_fit(X[start : start + 200], y[start : start + 200], np.unique(y))
    return fitted.coef_, fitted.covariance_


def fit_chunks(scheduler):
    def compute(X, y, *_):
        chunks = da.from_array(X, chunks=(100, -1)), da.from_array(y, chunks=100)
        with dask.config.set(scheduler=scheduler):
            fitted = DaskNaturalGradientLogisticRegression(max_iter=12).fit(*chunks)
            proba = fitted.predict_proba(1e4 * chunks[0]).compute()
            score = fitted.score(*chunks, sample_weight=da.from_array(np.full(len(y), 1e-300), chunks=100))
            errors = dask_infer(fitted, *chunks).standard_errors
        return fitted.coef_, proba, score, errors

    return compute


def merged(X, y, *_):
    parts = [
        NaturalGradientLogisticRegression(store_covariance=True, max_iter=12).fit(X[half::2], y[half::2])
        for half in (0, 1)
    ]
    return merge(parts, X, y).coef_


def predictions(X, _, model):
    far = 1e4 * X
    return (
        *(getattr(model, name)(far) for name in ("decision_function", "predict", "predict_proba", "predict_log_proba")),
        model.predict_proba(sparse.csr_matrix(far)),
        model.predict_proba_interval(far),
        model.decision_function_std(far),
        model.predict_proba_averaged(far),
        model.predict_proba_averaged(far, "monte_carlo", n_draws=10, random_state=0),
        *model.sample_coef(3, random_state=0),
    )


def geometry(X, y, model):
    other = NaturalGradientLogisticRegression(max_iter=1).fit(X, y)
    return kl_divergence(model, other, 1e4 * X), fisher_information(model, 1e4 * X)


def inference(X, y, model):
    result = infer(model, X, y, covariance="robust")
    effects = result.marginal_effects()
    result.summary()
    # the penalty fixes the coefficient of the empty column, whose robust variance is 0
    assert np.isnan(result.z[:, 3]).all()
    assert np.isfinite(np.delete(result.z, 3, axis=1)).all()
    table = result.to_frame().to_numpy(dtype=float)
    return result.p_values, result.conf_int(), *result.odds_ratios(), effects.p_values, effects.conf_int(), table


def hypotheses(X, y, _):
    small = NaturalGradientLogisticRegression(C=np.inf, max_iter=12).fit(X[:, :1], y)
    large = NaturalGradientLogisticRegression(C=np.inf, max_iter=12).fit(X[:, :3], y)
    results = infer(small, X[:, :1], y), infer(large, X[:, :3], y)
    tests = (
        results[1].lr_test(results[0]),
        results[1].wald_test(np.eye(results[1].params.size)),
        results[0].score_test(X[:, 1:3]),
        results[0].information_matrix_test(),
    )
    return tuple(test.p_value for test in tests)


def monitored(X, y, *_):
    monitor, stopping = FisherMonitor(), EarlyStopping(1e4 * X, y, n_iter_no_change=3)
    fitted = (
        NaturalGradientLogisticRegression(max_iter=12).set_callbacks(monitor, stopping).fit(X.astype(np.float32), y)
    )
    return fitted.coef_, [record["decrement"] for record in monitor.records_], stopping.scores_


COMPUTATIONS = {
    **{fisher: (lambda X, y, _, fisher=fisher: fit(X, y, fisher=fisher, random_state=0)) for fisher in FISHERS},
    "float32": lambda X, y, _: fit(X.astype(np.float32), y),
    "sparse": lambda X, y, _: fit(sparse.csr_matrix(X), y),
    "weights": lambda X, y, _: NaturalGradientLogisticRegression().fit(X, y, np.full(len(y), 1e-250)).coef_,
    "no penalty": lambda X, y, _: fit(X, y, C=np.inf),
    "batches": fit_in_batches,
    "stream": fit_stream,
    "chunks, other threads": fit_chunks("threads"),
    "chunks, this thread": fit_chunks("synchronous"),
    "merge": merged,
    "predictions": predictions,
    "geometry": geometry,
    "inference": inference,
    "hypotheses": hypotheses,
    "callbacks": pytest.param(monitored, marks=needs_callbacks),
}


@pytest.mark.parametrize("compute", COMPUTATIONS.values(), ids=COMPUTATIONS)
def test_same_bits_where_floating_point_errors_raise(compute, rows, model, limits):
    limits(block_bytes=1, min_block_rows=100, sample_bytes=8 * 500)
    with threadpool_limits(2, user_api="blas"):
        expected = compute(*rows, model)
        with strictly():
            found = compute(*rows, model)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_plots_draw_where_floating_point_errors_raise(rows, model, closed_figures):
    X, y = rows
    with strictly():
        CoefficientDisplay.from_estimator(model, X, y, features=[0, 1])
        FisherEllipseDisplay.from_estimator(model, X, features=(0, 1))
        LossCurveDisplay.from_estimators({"model": model})
        ProbabilityIntervalDisplay.from_estimator(model, 1e4 * X, feature=0)
        RegularizationPathDisplay.from_estimator(NaturalGradientLogisticRegression(), X, y, Cs=[1e-3, 1.0])


@pytest.mark.parametrize("handling", ["call", "print", "warn"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_underflow_is_not_reported_in_any_way(handling, n_threads, rows, limits, capfd):
    limits(block_bytes=1, min_block_rows=100)
    reported = []
    with threadpool_limits(n_threads, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with np.errstate(all=handling, call=lambda kind, _: reported.append(kind)):
            fitted = NaturalGradientLogisticRegression(max_iter=12).fit(*rows)
            fitted.predict_proba(1e4 * rows[0])
    assert reported == []
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("n_threads", [1, 2])
def test_other_errors_reach_the_callback_of_the_caller_from_any_thread(n_threads):
    """numpy raises an error of its own if no callback is set where an error is to be called for."""
    from sknatgrad._rows.threads import Workers  # noqa: PLC0415 - a part of the package that others reach by `fit`

    reported = []
    with (
        threadpool_limits(n_threads, user_api="blas"),
        np.errstate(all="call", call=lambda kind, _: reported.append(kind)),
        Workers() as workers,
    ):
        workers.map_reduce_groups(lambda large: large * large, np.add, [[np.full(3, 1e300)]])
    assert reported == ["overflow"]


def test_overflow_still_raises_the_error_of_this_package():
    X, y = load_digits(n_class=2, return_X_y=True)
    with strictly(), pytest.raises(ValueError, match="overflow"):
        NaturalGradientLogisticRegression().fit(1e300 * X, y)


def test_batches_are_read_with_the_handling_of_the_caller(rows, limits):
    limits(sample_bytes=8 * 500)
    X, y = rows
    seen = []

    def batches():
        seen.append(np.geterr())
        for part in (slice(0, 150), slice(150, None)):
            seen.append(np.geterr())
            # predictions inside ignore underflow again
            if seen[1:]:
                yield X[part], y[part]

    asked = {"divide": "raise", "over": "print", "under": "warn", "invalid": "call"}
    with np.errstate(**asked):
        fitted = NaturalGradientLogisticRegression(max_iter=12).fit_batches(batches)
        assert np.geterr() == asked
    assert fitted.n_passes_ > 2
    assert len(seen) == 3 * fitted.n_passes_
    assert all(each == asked for each in seen)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_overflow_in_a_descent_is_as_quiet_in_tasks_of_dask(scheduler):
    """The sums of a trial overflow; the error names the block, and workers report nothing."""
    X, y = load_digits(n_class=2, return_X_y=True)
    chunks = da.from_array(1e300 * X, chunks=(200, -1)), da.from_array(y, chunks=200)
    with dask.config.set(scheduler=scheduler, num_workers=1), strictly(), pytest.raises(ValueError, match="overflow"):
        DaskNaturalGradientLogisticRegression().fit(*chunks)


def test_tasks_elsewhere_warn_where_a_callback_would_be_called():
    with np.errstate(over="call", divide="log", invalid="raise", under="ignore"):
        assert handling_for_tasks() == {"over": "warn", "divide": "warn", "invalid": "raise", "under": "ignore"}


def test_chunks_are_computed_with_the_handling_of_the_caller(rows):
    X, y = rows
    seen = []

    def look(block):
        seen.append(np.geterr()["under"])
        return block

    chunks = da.from_array(X, chunks=(200, -1)).map_blocks(look, meta=X[:0]), da.from_array(y, chunks=200)
    with np.errstate(under="raise"), dask.config.set(scheduler="synchronous"):
        DaskNaturalGradientLogisticRegression(max_iter=2).fit(*chunks)
    assert set(seen) == {"raise"}


@needs_callbacks
def test_callbacks_and_scorers_run_with_the_handling_of_the_caller(rows):
    X, y = rows
    seen = []

    class Watcher:
        def setup(self, estimator, context):
            seen.append(np.geterr())

        def teardown(self, estimator, context):
            seen.append(np.geterr())

        def on_fit_task_begin(self, estimator, context):
            seen.append(np.geterr())

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            seen.append(np.geterr())
            # a prediction inside has no underflow, and afterwards all is as before
            fitted_estimator.predict_proba(1e4 * X)
            seen.append(np.geterr())

    def scorer(estimator, X, y):
        seen.append(np.geterr())
        return estimator.score(X, y)

    asked = {"divide": "raise", "over": "raise", "under": "raise", "invalid": "raise"}
    model = NaturalGradientLogisticRegression(max_iter=12)
    model.set_callbacks(Watcher(), EarlyStopping(X, y, scoring=scorer, n_iter_no_change=99))
    with np.errstate(**asked):
        # coefficients in float32 underflow
        model.fit(X, y)
    assert len(seen) > 4 * 8
    assert all(each == asked for each in seen)


def test_code_of_the_user_inside_code_of_the_user():
    """A plot fits models whose callbacks are the user's: the handling is that outside the plot."""
    with np.errstate(under="raise"):
        with underflow_ignored(), underflow_ignored():
            assert np.geterr()["under"] == "ignore"
            with as_caller():
                assert np.geterr()["under"] == "raise"
                with np.errstate(under="warn"), underflow_ignored(), as_caller():
                    assert np.geterr()["under"] == "warn"
            assert np.geterr()["under"] == "ignore"
            assert list(each_as_caller(np.geterr()["under"] for _ in range(2))) == ["raise", "raise"]
        assert np.geterr()["under"] == "raise"
        with as_caller():
            assert np.geterr()["under"] == "raise"


def test_public_members_of_a_decorated_class_ignore_underflow():
    @underflow_ignored_in
    class Tiny:
        constant = 1e-200

        @property
        def square(self):
            """The square."""
            return np.float64(self.constant) * self.constant

        @classmethod
        def made(cls):
            """Make one."""
            return np.float64(cls.constant) * cls.constant

        def method(self):
            """Return the square."""
            return self._private()

        def _private(self):
            return np.float64(self.constant) * self.constant

    with strictly():
        assert [Tiny().square, Tiny.made(), Tiny().method()] == [0.0, 0.0, 0.0]
        with pytest.raises(FloatingPointError):
            Tiny()._private()
    assert [Tiny.square.__doc__, Tiny.made.__doc__, Tiny.method.__doc__] == [
        "The square.",
        "Make one.",
        "Return the square.",
    ]
