"""Data without full rank, without an optimum, or with few rows: finite coefficients, warnings that name the cause."""

import warnings

import numpy as np
import pandas as pd
import pytest
from problems import DATASETS, FISHERS, make_problem, quiet_fit, walk
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning
from sknatgrad._model.separation import SeparationKernel
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.records import Outcome


def overlapping(n_classes, n_rows=120, seed=0):
    problem = make_problem(n_classes, n_rows=n_rows, seed=seed)
    return problem.X, problem.codes


def spoilt(X, kind, rng):
    if kind == "duplicated":
        return np.hstack([X, X])
    if kind == "collinear":
        return np.hstack([X, X @ rng.normal(size=(X.shape[1], 2))])
    if kind == "constant":
        return np.hstack([X, np.full((len(X), 1), 7.0)])
    if kind == "zero column":
        return np.hstack([X, np.zeros((len(X), 1))])
    return np.hstack([X, 1e8 * X[:, :1], 1e-8 * X[:, 1:2]])  # collinear at other scales


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("kind", ["duplicated", "collinear", "constant", "zero column", "rescaled copies"])
def test_redundant_columns_change_no_prediction_without_penalty(fisher, n_classes, kind):
    X, y = overlapping(n_classes)
    redundant = spoilt(X, kind, np.random.default_rng(0))
    model = quiet_fit(redundant, y, C=np.inf, fisher=fisher, max_iter=300)
    assert np.isfinite(model.coef_).all()
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert model.converged_ or fisher == "identity"
    if model.converged_:
        plain = quiet_fit(X, y, C=np.inf)
        np.testing.assert_allclose(model.predict_proba(redundant), plain.predict_proba(X), atol=1e-6)


def test_copies_share_the_coefficient_evenly():
    X, y = overlapping(2)
    doubled = quiet_fit(np.hstack([X, X]), y, C=np.inf).coef_[0]
    single = quiet_fit(X, y, C=np.inf).coef_[0]
    np.testing.assert_allclose(doubled, np.tile(single / 2, 2), rtol=1e-6)


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_fewer_rows_than_columns(fisher, n_classes, C):
    problem = make_problem(n_classes, n_rows=12, n_features=30, zero_weights=False)
    model = quiet_fit(problem.X, problem.codes, C=C, fisher=fisher)
    assert np.isfinite(model.coef_).all()
    assert model.score(problem.X, problem.codes) == 1.0


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("n_features", [1, 4])
def test_one_row_a_class(fisher, n_classes, n_features, C):
    X = np.random.default_rng(0).normal(size=(n_classes, n_features))
    model = quiet_fit(X, np.arange(n_classes), C=C, fisher=fisher)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("fisher", "learning_rate"), [(fisher, "auto") for fisher in FISHERS] + [("true", 0.5), ("identity", 0.5)]
)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_separable_data_without_penalty_are_named(fisher, n_classes, learning_rate):
    centres = 10 * np.random.default_rng(0).normal(size=(n_classes, 3))
    y = np.arange(60) % n_classes
    X = centres[y] + np.random.default_rng(1).normal(size=(60, 3))
    model = NaturalGradientLogisticRegression(C=np.inf, fisher=fisher, learning_rate=learning_rate, random_state=0)
    with pytest.warns(SeparationWarning, match=r"perfectly separable.*set a finite C"):
        model.fit(X, y)
    assert issubclass(SeparationWarning, ConvergenceWarning)
    assert not model.converged_
    assert np.isfinite(model.coef_).all()
    assert model.score(X, y) == 1.0


def test_separable_data_stop_before_the_iterations_do():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    model = NaturalGradientLogisticRegression(C=np.inf)
    with pytest.warns(SeparationWarning):
        model.fit(X, y)
    assert model.n_iter_ < 20
    assert model.loss_curve_[-1] <= 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # with a penalty there is an optimum
        assert NaturalGradientLogisticRegression(C=1e4).fit(X, y).converged_


def test_an_overshoot_is_not_called_separation():
    """F vanishes where the probabilities are 0 and 1, whether or not the rows are separated."""
    X, y = DATASETS["breast_cancer"](return_X_y=True)
    model = NaturalGradientLogisticRegression(fisher="identity", damping=0, C=np.inf, max_iter=20, learning_rate=1e-3)
    with pytest.warns(ConvergenceWarning, match=r"learning_rate=0.001 overshoots: the loss went from 0\.693147 to"):
        model.fit(X, y)
    assert not model.converged_


def test_rows_without_weight_do_not_hide_separation():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0], [-3.0]]), np.array([0, 0, 1, 1, 1])
    with pytest.warns(SeparationWarning):
        NaturalGradientLogisticRegression(C=np.inf).fit(X, y, sample_weight=[1, 1, 1, 1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NaturalGradientLogisticRegression(C=np.inf).fit(X, y).converged_


@pytest.mark.parametrize("fisher", FISHERS)
def test_balanced_noise_has_its_optimum_at_zero(fisher):
    """The gradient is zero at the start: one step of length zero, converged."""
    X = np.array([[1.0, 2.0], [1.0, 2.0], [-1.0, 3.0], [-1.0, 3.0]])
    model = NaturalGradientLogisticRegression(fisher=fisher, random_state=0).fit(X, [0, 1, 0, 1])
    np.testing.assert_array_equal(model.coef_, 0.0)
    assert model.converged_
    assert model.n_iter_ == 1
    assert model.loss_curve_ == [np.log(2)] * 2


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e-8, 1e8, 1e30, 1e100, 1e140])
@pytest.mark.parametrize("fisher", FISHERS)
def test_scales_of_all_columns(fisher, scale):
    X, y = overlapping(2)
    model = quiet_fit(scale * X, y, C=np.inf, fisher=fisher, fit_intercept=False, max_iter=1000)
    assert np.isfinite(model.coef_).all()
    # the Euclidean metric depends on scale, and its damping is 1e18 times the curvature
    assert model.converged_ or (fisher == "identity" and scale <= 1e-30)
    if not model.converged_:
        return
    plain = quiet_fit(X, y, C=np.inf, fit_intercept=False)
    np.testing.assert_allclose(model.coef_ * scale, plain.coef_, rtol=1e-6)


@pytest.mark.parametrize("parameters", [{"damping": 1e300}, {"C": 1e-300}, {"C": 1e300}], ids=str)
@pytest.mark.parametrize("fisher", FISHERS)
def test_extreme_parameters(fisher, parameters):
    X, y = overlapping(4)
    model = quiet_fit(X, y, fisher=fisher, **parameters)
    assert np.isfinite(model.coef_).all()
    assert (np.diff(model.loss_curve_) <= 0).all()


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e100])
@pytest.mark.parametrize("fisher", FISHERS)
def test_extreme_weights(fisher, size):
    """Only their ratio to 1/C matters; without a penalty, not their size."""
    X, y = overlapping(2)
    model = quiet_fit(X, y, fisher=fisher, C=np.inf, max_iter=1000)
    weighted = NaturalGradientLogisticRegression(fisher=fisher, C=np.inf, max_iter=1000, random_state=0)
    weighted.fit(X, y, sample_weight=np.full(len(y), size))
    assert weighted.converged_
    np.testing.assert_allclose(weighted.coef_, model.coef_, rtol=1e-6)


def test_warm_start_from_other_units_starts_over():
    X, y = overlapping(2)
    model = NaturalGradientLogisticRegression(warm_start=True, C=1e12).fit(X / 1e6, y)
    model.fit(X * 1e3, y)
    assert model.converged_
    assert model.loss_curve_[0] == pytest.approx(np.log(2))
    np.testing.assert_allclose(model.coef_, quiet_fit(X * 1e3, y, C=1e12).coef_, rtol=1e-6)


def test_many_more_columns_than_rows_without_penalty():
    """The rank is the number of rows, and the solution the one of least norm."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 900))
    y = rng.integers(0, 2, 60)
    model = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False)
    with pytest.warns(SeparationWarning):
        model.fit(X, y)
    # if all columns are scaled alike, almost no part of the coefficients lies outside the row space
    units = np.sqrt((X**2).mean(axis=0))
    outside = model.coef_[0] * units
    rows = X / units
    outside = outside - rows.T @ np.linalg.lstsq(rows.T, outside, rcond=None)[0]
    assert abs(outside).max() < 0.1 * abs(model.coef_[0] * units).max()


def test_a_class_whose_rows_have_no_weight():
    X, y = overlapping(3)
    weight = (y != 2).astype(float)
    model = quiet_fit(X, y, C=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y, sample_weight=weight)
    assert list(model.classes_) == [0, 1, 2]
    assert np.isfinite(model.coef_).all()
    assert model.predict_proba(X)[:, 2].max() < 1e-6


@pytest.mark.parametrize("fisher", ["diagonal", "monte_carlo"])
def test_saturated_probabilities_are_not_an_optimum(fisher):
    """Fixed steps that overshoot by far: every p is 0 or 1, so F and its step are 0 while rows are still wrong."""
    centres = 10 * np.random.default_rng(0).normal(size=(4, 3))
    y = np.arange(60) % 4
    X = centres[y] + np.random.default_rng(1).normal(size=(60, 3))
    model = NaturalGradientLogisticRegression(C=np.inf, fisher=fisher, learning_rate=0.5, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"learning_rate=0.5 overshoots: the loss went from 1.38629 to"):
        model.fit(X, y)
    assert model.loss_curve_[-1] > 1e3
    assert not model.converged_


def test_a_loss_of_zero_is_not_called_an_optimum():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    model = NaturalGradientLogisticRegression(C=np.inf, fisher="identity", learning_rate=1e4)
    with pytest.warns(SeparationWarning):
        model.fit(X, y)
    assert model.loss_curve_[-1] == 0.0
    assert not model.converged_


@pytest.mark.parametrize("budget", [0, 2**23])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_newton_decrement_where_the_information_has_vanished(n_classes, budget, limits):
    limits(decrement_bytes=budget)
    problem = make_problem(n_classes)
    objective = problem.objective("diagonal", C=np.inf)
    saturated = objective.measure(1e6 * problem.theta)
    assert abs(saturated.gradient).max() > 0.1
    assert not saturated.information.diagonal().any()
    assert objective.newton_decrement(saturated).decrement == np.inf
    ordinary = objective.newton_decrement(objective.measure(problem.theta)).decrement
    assert 0 < ordinary < np.inf


def test_saturated_start_is_stalled_and_said():
    """No step leaves a point where the information is zero, and the descent does not report convergence."""
    problem = make_problem(2)
    steps = [step for _, step in walk(problem.objective("true", C=np.inf), 1e6 * problem.theta, DescentOptions())]
    assert steps[-1].outcome is Outcome.stalled
    assert len(steps) == 2


@pytest.mark.parametrize("rounding", range(4))
def test_empirical_metric_is_damped_where_it_is_blind(rounding):
    """Rows fitted almost perfectly have r² in place of r(1 - r): undamped, 64 to 100 steps, depending on rounding."""
    centres = 10 * np.random.default_rng(0).normal(size=(4, 3))
    y = np.arange(60) % 4
    X = centres[y] + np.random.default_rng(1).normal(size=(60, 3))
    X *= 1 + 1e-15 * np.random.default_rng(rounding).normal(size=X.shape)
    assert quiet_fit(X, y, C=np.inf, fisher="empirical").n_iter_ <= 40


def test_a_warm_start_at_a_loss_of_zero_is_not_called_an_optimum():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    model = NaturalGradientLogisticRegression(warm_start=True).fit(X, y)
    model.coef_ = 1e6 * model.coef_
    with pytest.warns(SeparationWarning):
        model.set_params(C=np.inf).fit(X, y)
    assert not model.converged_


def indicator_of_a_class(n_classes, n_rows=400, seed=0):
    """Noisy classes, and a column that only rows of the last class have: it separates those from the others."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4)) * [1e-4, 1.0, 1.0, 1e4]
    y = rng.integers(0, n_classes, size=n_rows)
    X[:, 2] = 0.0
    X[np.flatnonzero(y == n_classes - 1)[:7], 2] = 3.0
    return X, y


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("way", ["direct", "iterative", "diagonal", "sparse", "sample"])
def test_rows_that_alone_are_separated_are_said_to_be(n_classes, way, limits):
    X, y = indicator_of_a_class(n_classes)
    settings = {"fisher": "diagonal", "max_iter": 10_000} if way == "diagonal" else {}
    if way == "iterative":
        limits(direct_products=0.0)
    if way == "sample":
        limits(min_sampled_values=0)
        limits(min_rows_per_parameter=1)
    if way == "sparse":
        # enough columns without entries for the fit to omit them
        X = sparse.csr_array(np.column_stack([np.zeros((400, 3000)), X]))
    model = NaturalGradientLogisticRegression(C=np.inf, **settings)
    name = "x3002" if way == "sparse" else "x2"
    with pytest.warns(SeparationWarning, match=rf"in part, 7 rows along a direction of {name}: with C=inf"):
        model.fit(X, y)
    assert model.converged_


def test_a_named_column_is_called_by_its_name():
    X, y = indicator_of_a_class(2)
    with pytest.warns(SeparationWarning, match="along a direction of member: with C=inf"):
        NaturalGradientLogisticRegression(C=np.inf).fit(pd.DataFrame(X, columns=["a", "b", "member", "c"]), y)


def test_a_penalty_leaves_nothing_to_say():
    NaturalGradientLogisticRegression(C=1e4).fit(*indicator_of_a_class(2))


@pytest.mark.parametrize("tol", [1e-8, 1e-2])
@pytest.mark.parametrize("seed", range(12))
def test_nearly_separated_rows_are_not_called_separated(tol, seed):
    """One row in the column is of the other class, or the noise is small: the optimum is far away, but finite."""
    rng = np.random.default_rng(seed)
    X, y = indicator_of_a_class(2, seed=seed)
    if seed % 2:
        X[np.flatnonzero(y == 0)[0], 2] = 3.0
    else:
        X[:, 2] = rng.normal(size=400)
        y = (X[:, 1] + 3 * X[:, 2] + 0.4 * rng.logistic(size=400) > 0).astype(int)
    model = NaturalGradientLogisticRegression(C=np.inf, tol=tol).fit(X, y)
    assert model.converged_


@pytest.mark.parametrize("n_classes", [2, 3])
def test_an_empty_column_is_no_obstacle_to_conjugate_gradients(n_classes, limits):
    """The preconditioner then has no full rank, and the gradient has rounding outside its range."""
    limits(direct_products=0.0)
    problem = make_problem(n_classes, n_rows=200)
    X = np.column_stack([problem.X, np.zeros(200)])
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, problem.codes)
    assert model.converged_
    expected = NaturalGradientLogisticRegression(C=np.inf).fit(problem.X, problem.codes)
    np.testing.assert_allclose(model.coef_[:, :3], expected.coef_, rtol=1e-7)


def reach_of(theta, move, rows=1000):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=rows), np.arange(rows) < 20])
    logits = np.column_stack([np.zeros(rows), X @ theta[:, :2].T + theta[:, 2]])
    codes = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    codes[:20] = 1
    proba = 1 / (1 + np.exp(-(logits[:, 1] - logits[:, 0])))
    moves = X @ move[0, :2] + move[0, 2]
    decrement = 0.5 * np.sum(proba * (1 - proba) * moves**2)
    found = MemorySource(X, codes, np.ones(rows)).total(SeparationKernel(theta, move))
    return found, found.separates(decrement)


def test_a_step_is_about_separated_rows_where_they_alone_are_decided_and_moved():
    decided, moved = np.array([[1.0, 9.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    found, separates = reach_of(decided, moved)
    assert separates
    assert found.n_rows == 20
    assert found.columns(moved) == [1]
    # rows that are not yet separated, and a step that moves other rows
    assert reach_of(np.array([[1.0, 0.5, 0.0]]), moved)[0].n_rows == 0
    assert not reach_of(decided, moved + np.array([[0.2, 0.0, 0.2]]))[1]
    assert not reach_of(decided, 0.1 * moved)[1]
