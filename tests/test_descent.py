"""The descent: the textbook algorithm at a fixed learning rate, and the guarantees of learning_rate='auto'."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from problems import DATASETS, FISHERS, make_problem, probabilities, walk
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._solver.damping import RAISE, REDUCE, REDUCE_AFTER_REJECTION, Damping, diagonal_scale
from sknatgrad._solver.problem import DescentOptions
from sknatgrad._solver.records import NewtonDecrement, Outcome
from sknatgrad._solver.step import MAX_EXTRAPOLATION, first_extrapolation, next_extrapolation
from sknatgrad._solver.stopping import is_accepted


def fit(X, y, sample_weight=None, **parameters):
    """Fit, with or without convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return NaturalGradientLogisticRegression(**parameters).fit(X, y, sample_weight)


def outer_sum(scores, X, weight):
    """Sum of s (r ⊗ x)(r ⊗ x)ᵀ over the rows."""
    whole = np.einsum("ik,ij->ikj", scores, X).reshape(len(X), -1)
    return (whole.T * weight) @ whole


def plain_metric(fisher, X, codes, weight, p, drawn):
    """The metric at probabilities p ``(n, K)``, written out in numpy."""
    n_classes = p.shape[1]
    q = 1 if n_classes == 2 else n_classes
    score = [(p - np.eye(n_classes)[label])[:, -q:] for label in range(n_classes)]
    if fisher in {"empirical", "monte_carlo"}:
        labels = codes if fisher == "empirical" else drawn
        return outer_sum(np.array([score[label][i] for i, label in enumerate(labels)]), X, weight)
    if fisher == "identity":
        return weight.sum() * np.eye(q * X.shape[1])
    if fisher == "kronecker":
        variance = sum(p[:, [k]] * score[k] ** 2 for k in range(n_classes)).sum(axis=1)
        classes = sum((score[k].T * (weight * p[:, k])) @ score[k] for k in range(n_classes))
        return np.kron(classes, (X.T * (weight * variance)) @ X) / np.trace(classes)
    true = sum(outer_sum(score[k], X, weight * p[:, k]) for k in range(n_classes))
    return true if fisher == "true" else np.diag(np.diag(true))


def textbook(fisher, X, codes, weight, n_classes, learning_rate, n_steps, seed):
    """θ ← θ − α F⁻¹∇L from θ = 0."""
    q = 1 if n_classes == 2 else n_classes
    theta = np.zeros((q, X.shape[1]))
    for t in range(n_steps):
        p = probabilities(X @ theta.T)
        uniform = np.random.Generator(np.random.Philox(seed + t)).random(len(X))
        drawn = uniform < p[:, 1] if q == 1 else (uniform[:, None] > p.cumsum(axis=1)).sum(axis=1)
        gradient = ((p - np.eye(n_classes)[codes])[:, -q:] * weight[:, None]).T @ X
        metric = plain_metric(fisher, X, codes, weight, p, drawn.astype(int))
        theta = theta - learning_rate * (np.linalg.pinv(metric, rcond=1e-12) @ gradient.ravel()).reshape(q, -1)
    return theta


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("learning_rate", [0.1, 0.5])
def test_fixed_learning_rate_is_the_textbook_algorithm(fisher, n_classes, learning_rate):
    problem = make_problem(n_classes, n_rows=60, intercept=False, zero_weights=False)
    seed = np.random.RandomState(7).randint(np.iinfo(np.int32).max)
    for n_steps in range(1, 6):
        model = fit(
            problem.X,
            problem.codes,
            problem.weight,
            fisher=fisher,
            learning_rate=learning_rate,
            damping=0.0,
            C=np.inf,
            fit_intercept=False,
            max_iter=n_steps,
            tol=0.0,
            random_state=7,
        )
        assert model.n_iter_ == n_steps
        expected = textbook(fisher, problem.X, problem.codes, problem.weight, n_classes, learning_rate, n_steps, seed)
        if n_classes > 2:
            # of the coefficients with equal predictions, those that sum to zero over classes
            expected -= expected.mean(axis=0)
        np.testing.assert_allclose(model.coef_, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0, np.inf])
def test_auto_never_increases_the_loss(fisher, name, C):
    X, y = DATASETS[name](return_X_y=True)
    model = fit(X, y, fisher=fisher, C=C, random_state=0)
    assert len(model.loss_curve_) == model.n_iter_[0] + 1
    assert len(model.kl_curve_) == model.n_iter_[0]
    assert (np.diff(model.loss_curve_) <= 0).all()
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert (np.array(model.kl_curve_) >= 0).all()


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_curves_report_penalised_mean_loss_and_quadratic_kl(fisher, n_classes):
    problem = make_problem(n_classes)
    parameters = {"fisher": fisher, "C": 0.7, "random_state": 0}
    model = fit(problem.X, problem.codes, problem.weight, **parameters, max_iter=3)
    before = fit(problem.X, problem.codes, problem.weight, **parameters, max_iter=2)
    p = model.predict_proba(problem.X)[np.arange(len(problem.X)), problem.codes]
    expected = (-problem.weight @ np.log(p) + 0.5 / 0.7 * (model.coef_**2).sum()) / problem.weight.sum()
    assert model.loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    assert model.loss_curve_[0] == pytest.approx(np.log(n_classes), rel=1e-12)
    objective = problem.objective("true", C=0.7)
    last, previous = (np.column_stack([m.coef_, m.intercept_]) for m in (model, before))
    move = last - previous
    information = objective.measure(previous).information
    kl = 0.5 * np.vdot(move, information.matvec(move)) / problem.weight.sum()
    assert model.kl_curve_[-1] == pytest.approx(kl, rel=1e-6)


@pytest.mark.parametrize("fisher", FISHERS)
@pytest.mark.parametrize("learning_rate", ["auto", 0.7])
def test_max_kl_bounds_every_step(fisher, learning_rate):
    problem = make_problem(4)
    free = fit(problem.X, problem.codes, fisher=fisher, max_iter=10, learning_rate=learning_rate, random_state=0)
    bound = 0.1 * max(free.kl_curve_)
    model = fit(
        problem.X, problem.codes, fisher=fisher, max_iter=10, learning_rate=learning_rate, max_kl=bound, random_state=0
    )
    assert max(model.kl_curve_) <= bound * (1 + 1e-12)
    # steepest descent at constant KL speed: a step that is too long is shortened to the bound
    assert max(model.kl_curve_) == pytest.approx(bound, rel=1e-9)


def test_max_kl_does_not_keep_from_the_optimum():
    problem = make_problem(4)
    free = fit(problem.X, problem.codes)
    model = fit(problem.X, problem.codes, max_kl=0.02)
    assert model.converged_
    assert model.n_iter_ > free.n_iter_
    np.testing.assert_allclose(model.coef_, free.coef_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("fisher", ["true", "empirical"])
@pytest.mark.parametrize("transform", ["scale", "mix", "mix, then scale"])
@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_path_of_predictions_is_invariant(fisher, transform, name):
    """Scales of 1e±6 and a random invertible mix of the columns: the same probabilities after each step.

    In the order scale, then mix, no solver that reads the result in float64 could tell: each column is then a sum in
    which the small features are 1e-12 of the large ones, and rounding the sum has changed them by a relative 1e-4.
    """
    X, y = DATASETS[name](return_X_y=True)
    X = StandardScaler().fit_transform(X)
    rng = np.random.default_rng(0)
    changed = X
    if "mix" in transform:
        changed = changed @ rng.normal(size=(X.shape[1],) * 2)
    if "scale" in transform:
        changed = changed * 10.0 ** rng.uniform(-6, 6, size=X.shape[1])
    for n_steps in range(1, 6):
        parameters = {"fisher": fisher, "C": np.inf, "damping": 0.0, "max_iter": n_steps}
        before = fit(X, y, **parameters).predict_proba(X)
        after = fit(changed, y, **parameters).predict_proba(changed)
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fisher", ["diagonal", "identity"])
def test_other_metrics_are_not_invariant_to_mixing(fisher):
    """Invariance is a property of the natural gradient, not of every method."""
    X, y = DATASETS["breast_cancer"](return_X_y=True)
    X = StandardScaler().fit_transform(X)
    mixed = X @ np.random.default_rng(0).normal(size=(X.shape[1],) * 2)
    parameters = {"fisher": fisher, "C": np.inf, "damping": 0.0, "max_iter": 3}
    gap = abs(fit(X, y, **parameters).predict_proba(X) - fit(mixed, y, **parameters).predict_proba(mixed)).max()
    assert gap > 1e-2


def test_damping_adapts_only_under_auto():
    problem = make_problem(2)
    for learning_rate, adapts in [(None, True), (0.5, False)]:
        options = DescentOptions(damping=0.5, learning_rate=learning_rate, max_iter=6, tol=0.0)
        steps = [step for _, step in walk(problem.objective("true"), np.zeros((1, 4)), options)]
        assert (len({step.damping for step in steps}) > 1) is adapts


def test_rejected_trials_raise_the_damping_and_leave_no_trace():
    """A problem that understates its curvature makes every long step fail."""

    class Optimist:
        corrections, contraction = 0, 0.0

        def __init__(self, objective):
            self.objective, self.prior_precision = objective, objective.prior_precision
            self.measure, self.newton_decrement = objective.measure, objective.newton_decrement

        def direction(self, measured, shift):
            direction = self.objective.direction(measured, shift)
            return direction._replace(image=1e-3 * direction.image, exact_solve=False)

    problem = make_problem(4)
    optimist = Optimist(problem.objective("true", C=1e3))
    turns = list(walk(optimist, np.zeros(problem.theta.shape), DescentOptions(max_iter=5)))
    rejected = [step for _, step in turns if not step.accepted]
    assert rejected
    for (before, _), (after, step) in pairwise(turns):
        if not step.accepted:
            assert after.point is before.point
            assert after.damping.factor > before.damping.factor
            assert step.loss == before.point.loss / before.point.weight


def test_no_way_down_is_said():
    """A problem whose gradient has the wrong sign: every trial fails, and the descent ends."""

    class Uphill:
        corrections, contraction = 0, 0.0

        def __init__(self, objective):
            self.objective, self.prior_precision = objective, objective.prior_precision
            self.fisher_products, self.direction = objective.fisher_products, objective.direction

        def measure(self, theta, *, final=False):
            measured = self.objective.measure(theta, final=final)
            return measured._replace(gradient=-measured.gradient)

        def newton_decrement(self, measured, near=None):
            return NewtonDecrement(measured.gradient, measured.gradient, np.inf)

    problem = make_problem(2)
    steps = [step for _, step in walk(Uphill(problem.objective("true")), np.zeros((1, 4)), DescentOptions())]
    assert steps[-1].outcome is Outcome.stalled
    assert sum(step.accepted for step in steps) == 1  # the start


def test_too_long_a_fixed_step_diverges_with_the_last_finite_iterate():
    X, y = DATASETS["breast_cancer"](return_X_y=True)
    model = NaturalGradientLogisticRegression(fisher="identity", learning_rate=1e306)
    with pytest.warns(ConvergenceWarning, match=r"learning_rate=1e\+306 overshoots.*the next would overflow"):
        model.fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.loss_curve_).all()
    assert not model.converged_


def test_fixed_step_stops_at_the_optimum_too():
    problem = make_problem(4)
    model = fit(problem.X, problem.codes, learning_rate=0.5, damping=0.0)
    best = fit(problem.X, problem.codes)
    assert model.converged_
    assert model.n_iter_ < 100
    assert model.loss_curve_[-1] == pytest.approx(best.loss_curve_[-1], rel=1e-8)


@pytest.mark.parametrize("fisher", FISHERS)
def test_two_fits_give_the_same_bits(fisher):
    problem = make_problem(4)
    first, second = (
        fit(problem.X, problem.codes, problem.weight, fisher=fisher, random_state=3, max_iter=20) for _ in range(2)
    )
    np.testing.assert_array_equal(first.coef_, second.coef_)
    assert first.loss_curve_ == second.loss_curve_


def test_global_generator_is_left_alone_unless_labels_are_drawn():
    problem = make_problem(2)
    for fisher in FISHERS:
        np.random.seed(0)  # noqa: NPY002 - the generator in question
        before = np.random.get_state()[1].copy()  # noqa: NPY002 - the generator in question
        fit(problem.X, problem.codes, fisher=fisher, max_iter=2)
        untouched = np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002 - the generator in question
        position = np.random.get_state()[2]  # noqa: NPY002 - the generator in question
        assert (untouched and position == 624) is (fisher != "monte_carlo")


@pytest.mark.parametrize("fisher", FISHERS)
def test_max_kl_bounds_the_last_step_too(fisher):
    problem = make_problem(4)
    model = fit(problem.X, problem.codes, fisher=fisher, tol=1e-2, max_kl=1e-5, max_iter=1000, random_state=0)
    assert max(model.kl_curve_) <= 1e-5 * (1 + 1e-9)


def test_overshooting_fixed_steps_are_named():
    problem = make_problem(2, zero_weights=False)
    model = NaturalGradientLogisticRegression(learning_rate=5.0, damping=0.0, C=np.inf, max_iter=5)
    with pytest.warns(
        ConvergenceWarning, match=r"learning_rate=5.0 overshoots: the loss went from 0.693147 to .*lower"
    ):
        model.fit(problem.X, problem.codes)


def test_unfinished_fixed_steps_are_told_of_the_adaptive_ones():
    problem = make_problem(2, zero_weights=False)
    model = NaturalGradientLogisticRegression(learning_rate=0.1, max_iter=3)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3 reached.*raise max_iter, or learning_rate='auto'\.$"):
        model.fit(problem.X, problem.codes)


def test_fixed_step_from_the_optimum_cannot_leave_it():
    problem = make_problem(2)
    model = NaturalGradientLogisticRegression(warm_start=True).fit(problem.X, problem.codes)
    best = model.loss_curve_[-1]
    model.set_params(learning_rate=1e4).fit(problem.X, problem.codes)
    assert model.converged_
    assert model.loss_curve_[-1] <= best * (1 + 1e-12)


def test_fixed_step_near_the_optimum_is_noticed():
    """Overshooting steps have a negative predicted decrease; convergence is still tested, but not at every step."""
    problem = make_problem(2, n_rows=200)
    objective, asked = problem.objective("identity", C=np.inf), []

    class Counting:
        prior_precision = objective.prior_precision
        measure, fisher_products = staticmethod(objective.measure), staticmethod(objective.fisher_products)
        direction = staticmethod(objective.direction)
        corrections, negligible_error = objective.corrections, objective.negligible_error
        contraction = objective.contraction

        def newton_decrement(self, measured, near=None):
            asked.append(measured)
            return objective.newton_decrement(measured, near)

    options = DescentOptions(damping=0.0, learning_rate=5.3, max_iter=5000, penalised=False)
    steps = [step for _, step in walk(Counting(), np.zeros((1, 4)), options)]
    assert steps[-1].outcome is Outcome.converged
    assert len(steps) < 1000
    assert len(asked) < 0.1 * len(steps)


def test_a_rejected_step_leaves_memory_of_how_little_damping_was_needed():
    X, y = DATASETS["breast_cancer"](return_X_y=True)
    model = fit(X, y, C=1e10)
    assert model.converged_
    assert model.n_iter_ <= 60


def test_trial_point_that_overflows_is_rejected():
    problem = make_problem(2)
    objective = problem.objective("true")
    point = objective.measure(problem.theta)
    lower = point._replace(loss=0.5 * point.loss)
    scale = np.ones(problem.theta.shape[1])
    assert is_accepted(point, lower, 1.0, scale)
    assert not is_accepted(point, lower._replace(gradient=np.full_like(point.gradient, np.nan)), 1.0, scale)
    assert not is_accepted(point, point._replace(loss=np.inf), 1.0, scale)


@pytest.mark.parametrize(
    ("left", "factor"), [(0.05, 1.0), (-0.5, 1.0), (0.2, 1.25), (0.4, 5 / 3), (0.9, 2.0), (1.5, 1.0)]
)
def test_steps_that_end_too_early_make_the_next_one_longer(left, factor):
    """By the secant through the slopes at both ends, if it lengthens the step by 11 % or more, and at most twice."""
    problem = make_problem(2)
    point = problem.objective("true").measure(problem.theta)
    trial = point._replace(gradient=left * point.gradient)
    assert next_extrapolation(point, trial, -point.gradient, 1.0) == pytest.approx(factor)
    # a step that was lengthened already, and is still too short
    longer = next_extrapolation(point, trial, -point.gradient, 1.1)
    assert longer == pytest.approx(min(1.1 * factor, 2.0) if factor > 1 else 1.0)


def test_extrapolated_steps_save_iterations():
    """Breast cancer takes nine full Newton steps."""
    X, y = DATASETS["breast_cancer"](return_X_y=True)
    assert fit(X, y).n_iter_ <= 7


@pytest.mark.parametrize("deviation", [1e-6, 0.5, 0.9, 1.3, 1.5])
def test_first_steps_end_where_the_slope_along_normal_logits_vanishes(deviation):
    """At t times logits q of deviation σ, labels of which Newton's step is q: t E[q² p(1−p)(t q)] = E[q²] / 4."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    logits = deviation * nodes

    def slope(length):
        return weights @ (logits * (expit(length * logits) - 0.5)) - weights @ (logits**2) / 4.0

    best = brentq(slope, 0.9, 10.0)
    assert first_extrapolation(deviation**2 / 8.0) == pytest.approx(min(best, MAX_EXTRAPOLATION), rel=0.025)


@pytest.mark.parametrize("kl", [0.2181, 0.3, 1.0, 1e308, np.inf, np.nan])
def test_first_steps_are_at_most_twice_as_long(kl):
    assert first_extrapolation(kl) == MAX_EXTRAPOLATION


def test_a_first_step_from_zero_ends_near_the_minimum_along_it():
    """It keeps 99 % of the decrease there; the step of length 1 keeps 92 %."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 4))
    y = rng.random(1000) < expit(2.0 * X[:, 0])
    design = np.column_stack([X, np.ones(1000)])
    penalty = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    step = np.linalg.solve(0.25 * design.T @ design + np.diag(penalty), design.T @ (y - 0.5))

    def decrease(length):
        logits = length * design @ step
        likelihood = np.log(2.0) - np.logaddexp(0.0, np.where(y, -logits, logits)).mean()
        return likelihood - 0.5 * length**2 * (penalty * step**2).sum() / 1000

    most = -minimize_scalar(lambda length: -decrease(length)).fun
    assert decrease(1.0) < 0.93 * most
    losses = fit(X, y, max_iter=1, damping=0.0).loss_curve_
    assert losses[0] - losses[1] >= 0.99 * most
    # with a bound on its divergence it is as long as that allows, and no longer
    losses = fit(X, y, max_iter=1, damping=0.0, max_kl=1e9).loss_curve_
    assert losses[0] - losses[1] == pytest.approx(decrease(1.0), rel=1e-9)


def test_a_first_step_to_the_mean_of_a_strong_prior_is_not_lengthened():
    """The prior is quadratic, so the step is right as it is."""
    X = np.random.default_rng(0).standard_normal((100, 1))
    y = np.arange(100) % 2
    model = fit(X, y, prior=(np.array([2.0]), np.array([1e8])), fit_intercept=False, damping=0.0, max_iter=1)
    np.testing.assert_allclose(model.coef_, 2.0, rtol=1e-5)


def test_damping_is_relative_to_the_largest_diagonal_seen():
    problem = make_problem(2)
    objective = problem.objective("true")
    middle, out_of_core = objective.measure(0 * problem.theta), objective.measure(50 * problem.theta)
    scale = diagonal_scale(middle, objective.prior_precision)
    np.testing.assert_allclose(scale, middle.information.diagonal()[0] + objective.prior_precision)
    assert (diagonal_scale(out_of_core, objective.prior_precision) < scale).all()
    np.testing.assert_array_equal(diagonal_scale(out_of_core, objective.prior_precision, scale), scale)


def test_a_good_step_reduces_the_damping_by_less_where_a_longer_one_was_rejected():
    """Without it the next step is as long as the rejected one, and mostly rejected too."""
    raised = Damping(1e-2).after_rejected(critical=0.0)
    assert raised.factor == RAISE * 1e-2
    after = raised.after_accepted(gain=1.0, metric_length=1.0, critical=0.0)
    assert after.factor == REDUCE_AFTER_REJECTION * raised.factor
    assert after.after_accepted(gain=1.0, metric_length=1.0, critical=0.0).factor == REDUCE * after.factor
    for gain, factor in ((0.5, 1.0), (0.1, RAISE)):
        kept = raised.after_accepted(gain=gain, metric_length=1.0, critical=0.0)
        assert kept.factor == factor * raised.factor
        assert not kept.raised
