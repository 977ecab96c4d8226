"""Warnings of infer: separation, collinearity, high dimension, few groups, fits short of the optimum."""

import warnings

import numpy as np
import pytest
from problems import fit_problem, infer_problem, make_problem
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression, SeparationWarning
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.inference._diagnostics.high_dimension import inflation


def separated(n_classes, kind, seed=0):
    """Random rows that one direction separates, in part or completely."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 3)) * [1e-3, 1.0, 1e3]
    y = rng.integers(0, n_classes, size=60)
    if kind == "quasi":
        # a column that only rows of the last class have
        X = np.column_stack([X, np.where((y == n_classes - 1) & (rng.uniform(size=60) < 0.4), 5.0, 0.0)])
    if kind == "complete":
        X[:, 1] += 20.0 * y
    return X, y


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ["quasi", "complete"])
@pytest.mark.parametrize("by", ["ours", "lbfgs"])
def test_separation_is_detected_and_its_direction_named(n_classes, kind, by):
    X, y = separated(n_classes, kind)
    if by == "ours":
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    else:
        model = LogisticRegression(C=np.inf).fit(X, y)
    how = {"quasi": r"in part, \d+ rows along the direction .* x3 for", "complete": "completely, 60 rows"}[kind]
    with pytest.warns(InferenceWarning, match=f"the classes are separated {how}") as caught:
        infer(model, X, y)
    assert len(caught) == 1


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_overlapping_classes_are_not_called_separated(n_classes):
    problem = make_problem(n_classes, n_rows=120)
    infer_problem(problem, fit_problem(problem), "fisher")


def test_separated_rows_do_not_matter_under_a_penalty():
    X, y = separated(2, "complete")
    infer(NaturalGradientLogisticRegression().fit(X, y), X, y)


@pytest.mark.filterwarnings("ignore::sknatgrad.SeparationWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_program_that_is_too_large_is_replaced_by_a_step(n_classes, limits):
    limits(program_size=100)
    X, y = separated(n_classes, "quasi")
    model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    n_rows = np.count_nonzero(X[:, 3])
    for features in (None, [0, 1]):
        message = f"a further Newton step moves {n_rows} rows by up to 1 nats .* mostly through x3, .* could not decide"
        with pytest.warns(InferenceWarning, match=message):
            infer(model, X, y, features=features)
    overlapping = make_problem(n_classes, n_rows=90)
    infer_problem(overlapping, fit_problem(overlapping), "fisher")


@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_a_program_nothing_is_said_of_separation_far_from_the_optimum(n_classes, limits):
    limits(program_size=100)
    problem = make_problem(n_classes, n_rows=90)
    with pytest.warns(ConvergenceWarning):
        model = fit_problem(problem, max_iter=1)
    with pytest.warns(InferenceWarning, match="standard errors are unreliable: the fit has not converged"):
        infer_problem(problem, model, "fisher")


def test_separation_without_an_intercept():
    X, y = separated(2, "quasi")
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
    with pytest.warns(InferenceWarning, match=r"in part, \d+ rows along the direction .* x3 for"):
        infer(model, X, y)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_complete_separation_is_detected_without_a_program(n_classes, limits):
    limits(program_size=100)
    X, y = separated(n_classes, "complete")
    model = NaturalGradientLogisticRegression(C=np.inf)
    with pytest.warns(SeparationWarning):
        model.fit(X, y)
    with pytest.warns(InferenceWarning, match="separated completely, as each row") as caught:
        infer(model, X, y)
    assert "smaller tol" not in str(caught[0].message)


def test_the_column_that_separates_is_named_first():
    """Whatever its scale, and those of the others."""
    rng = np.random.default_rng(0)
    for scale in (1e-4, 1e4):
        X = rng.normal(size=(100, 4)) * [1.0, 1.0, scale, 1.0]
        y = rng.integers(0, 2, size=100)
        X[:, 2] = np.where((y == 1) & (rng.uniform(size=100) < 0.3), 1.0, 0.0) * scale
        with pytest.warns(SeparationWarning):
            model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
        with pytest.warns(InferenceWarning, match=r"along the direction \+\S+ x2 for"):
            infer(model, X, y)


def test_light_rows_are_separated_too():
    """Distances are judged in units of the smallest weight."""
    X, y = separated(2, "quasi")
    weight = np.full(60, 1 / 60)
    model = LogisticRegression(C=np.inf, tol=1e-2).fit(X[:, [1, 3]], y, sample_weight=weight)
    with pytest.warns(InferenceWarning, match="the classes are separated in part"):
        infer(model, X[:, [1, 3]], y, sample_weight=weight, weights="sampling", covariance="robust")


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e5])
def test_columns_far_from_zero_are_separated_too(shift):
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X + shift, y)
    with pytest.warns(InferenceWarning, match=r"separated completely, 200 rows along the direction \+\S+ x0"):
        infer(model, X + shift, y)


def test_collinear_columns_are_named_and_have_no_standard_error():
    problem = make_problem(3, n_rows=90)
    doubled = problem._replace(X=np.column_stack([problem.X, 2.0 * problem.X[:, 0]]))
    model = fit_problem(doubled)
    with pytest.warns(InferenceWarning, match=r"constant columns, \{x0, x3\} \(1 too many\), have") as caught:
        result = infer_problem(doubled, model, "robust", aliased="nan")
    assert len(caught) == 1
    assert np.isnan(result.standard_errors[:, [0, 3]]).all()
    # the coefficients that are determined are those of a fit without the copy
    single = infer_problem(problem, fit_problem(problem), "robust")
    np.testing.assert_allclose(result.standard_errors[:, [1, 2, 4]], single.standard_errors[:, 1:], rtol=1e-6)
    assert result.effective_dof == 8.0
    with pytest.raises(ValueError, match="constraint involves x0, whose coefficients the data do not determine"):
        result.wald_test("x0")


@pytest.mark.filterwarnings("ignore::sknatgrad.SeparationWarning")
@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-8, 1e-10, 1e-12])
def test_separation_does_not_change_the_degrees_of_freedom(tol, iris):
    """nnet::multinom(Species ~ Sepal.Length + Sepal.Width, iris): edf 6, AIC 122.329; anova, no width: 71.739, 2."""
    X, y = iris[0][:, :2], iris[1]
    results = []
    for columns in (X, X[:, :1]):
        model = NaturalGradientLogisticRegression(C=np.inf, tol=tol).fit(columns, y)
        with warnings.catch_warnings():
            # only the larger model is separated
            warnings.simplefilter("ignore", InferenceWarning)
            results.append(infer(model, columns, y))
    assert "separated in part" in results[0].warnings[0]
    assert not any("collinear or constant" in text for result in results for text in result.warnings)
    assert results[0].effective_dof == 6.0
    assert results[0].aic == pytest.approx(122.33, abs=0.02)
    test = results[0].lr_test(results[1])
    assert test.dof == 2
    assert test.statistic == pytest.approx(71.739, abs=0.02)


def test_separated_columns_are_not_called_collinear(iris):
    X, y = iris[0][:, :2], iris[1]
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning, match="separated in part") as caught:
        result = infer(model, X, y)
    assert "collinear" not in str(caught[0].message)
    assert result.aliased == ()


def test_the_result_repeats_what_was_warned_of():
    """Also where a separated coefficient has a small p-value by the covariance of clusters."""
    X, y = separated(2, "quasi")
    with pytest.warns(SeparationWarning):
        model = NaturalGradientLogisticRegression(C=np.inf).fit(X, y)
    with pytest.warns(InferenceWarning) as caught:
        result = infer(model, X, y, covariance="cluster", groups=np.arange(60) % 12)
    text, html = str(result.summary()), result.summary()._repr_html_()
    assert "***" in next(line for line in text.splitlines() if line.startswith("x3"))
    assert len(result.warnings) == 2
    for part in result.warnings:
        assert part in str(caught[0].message)
        assert f"Warning: {part}." in " ".join(text.split())
    assert "Warning: the classes are separated in part" in html
    assert "Warning: 12 groups are few" in html
    assert result.to_frame().attrs["warnings"] == list(result.warnings)
    assert max(map(len, text.splitlines())) <= 120


def test_a_result_without_warnings_has_none():
    problem = make_problem(2, n_rows=90)
    result = infer_problem(problem, fit_problem(problem), "fisher")
    assert result.warnings == ()
    assert "Warning" not in str(result.summary())
    assert result.to_frame().attrs["warnings"] == []


def test_undetermined_columns_are_detected_without_a_matrix():
    problem = make_problem(2, n_rows=90)
    doubled = problem._replace(X=np.column_stack([problem.X, problem.X[:, 0]]))
    with pytest.warns(InferenceWarning, match="collinear or constant columns, x0, have"):
        result = infer_problem(doubled, fit_problem(doubled), "fisher", features=[0, 1])
    assert np.isnan(result.standard_errors[0, 0])
    expected = infer_problem(problem, fit_problem(problem), "fisher").standard_errors[0, 1]
    np.testing.assert_allclose(result.standard_errors[0, 1], expected, rtol=1e-8)


def test_inflation_solves_its_equations():
    """By Monte Carlo: E[Ψ²] = κ τ² and E[Ψ'] = κ, and τ²/b is what is returned."""
    z = np.random.default_rng(0).normal(size=200_000)
    for share in (0.1, 0.3):

        def moments(tau, b):
            low, high = tau * z - b, tau * z
            for _ in range(60):
                middle = 0.5 * (low + high)
                above = middle + b / (1 + np.exp(-middle)) > tau * z
                low, high = np.where(above, low, middle), np.where(above, middle, high)
            p = 1 / (1 + np.exp(-low))
            return np.mean((b * p) ** 2), np.mean(b * p * (1 - p) / (1 + b * p * (1 - p)))

        def imbalance(logs, share=share):
            tau, b = np.exp(logs)
            square, slope = moments(tau, b)
            return square / tau**2 - share, slope - share

        tau, b = np.exp(optimize.fsolve(imbalance, [0.0, 0.0]))
        assert inflation(share) == pytest.approx(tau**2 / b, rel=0.02)


@pytest.mark.parametrize("share", [0.3, 0.4])
def test_inflation_agrees_with_simulated_statistics(share):
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(4):
        X = rng.normal(size=(1000, int(1000 * share)))
        y = rng.integers(0, 2, size=1000)
        model = NaturalGradientLogisticRegression(C=np.inf, fit_intercept=False).fit(X, y)
        with pytest.warns(InferenceWarning, match=f"high-dimensional theory expects .* at {share:.2f} columns"):
            squares.append(infer(model, X, y).z ** 2)
    # the mean of a thousand or more squares, which are slightly correlated
    assert np.mean(squares) == pytest.approx(inflation(share), rel=0.12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_high_dimension_is_reported(n_classes):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 24)), rng.integers(0, n_classes, size=100)
    message = r"to be 1\.17 times too small at 0\.25 columns a row, and chi-squared statistics 1\.37 times too large"
    with pytest.warns(
        InferenceWarning, match=rf"{25 * (n_classes - 1)} coefficients .* for 100 observations: .* {message}"
    ):
        infer(NaturalGradientLogisticRegression(C=np.inf).fit(X, y), X, y)
    infer(NaturalGradientLogisticRegression(C=np.inf).fit(X[:, :18], y), X[:, :18], y)


def test_a_penalty_leaves_fewer_effective_coefficients():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 30)), rng.integers(0, 2, size=40)
    with pytest.warns(
        InferenceWarning, match=r"effective coefficients are many for 40 observations: .* separable from half"
    ):
        infer(NaturalGradientLogisticRegression(C=1e4).fit(X, y), X, y)
    infer(NaturalGradientLogisticRegression(C=1e-3).fit(X, y), X, y)


def test_few_groups_are_reported():
    problem = make_problem(2, n_rows=200)
    with pytest.warns(InferenceWarning, match="8 groups are few: .* fewer than 20 to 50"):
        infer(
            fit_problem(problem),
            problem.X,
            problem.codes,
            sample_weight=problem.weight,
            covariance="cluster",
            groups=np.arange(200) % 8,
        )


def test_the_distance_of_a_fit_that_has_not_converged_is_reported():
    problem = make_problem(3, n_rows=90)
    with pytest.warns(Warning, match="max_iter"):
        model = fit_problem(problem, max_iter=1)
    with pytest.warns(InferenceWarning, match=r"has not converged .* about [\d.]+ standard errors away") as caught:
        infer_problem(problem, model, "fisher")
    assert len(caught) == 1


def test_a_fit_that_ran_out_of_iterations_at_the_optimum_is_not_reported():
    problem = make_problem(2, n_rows=200)
    with pytest.warns(ConvergenceWarning):
        model = fit_problem(problem, tol=0.0, max_iter=9)
    assert not model.converged_
    infer_problem(problem, model, "fisher")


def test_a_fit_of_scikit_learn_with_other_weights_is_only_warned_of():
    problem = make_problem(2, n_rows=90)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(problem.X, problem.codes, sample_weight=problem.weight)
    with pytest.warns(InferenceWarning, match="pass the data of the fit"):
        infer(model, problem.X, problem.codes)


def test_a_loose_tolerance_is_not_taken_for_other_data():
    problem = make_problem(2, n_rows=3000)
    problem = problem._replace(weight=300.0 * problem.weight)
    model = fit_problem(problem, tol=0.3)
    assert model.converged_
    with pytest.warns(InferenceWarning, match="refit with a smaller tol") as caught:
        infer_problem(problem, model, "fisher")
    distance = float(str(caught[0].message).split("about ")[1].split()[0])
    assert distance > 1.0


@pytest.mark.parametrize("tol", [1e-5, 1e-2, 0.1])
@pytest.mark.parametrize("seed", range(8))
def test_the_data_of_a_loose_fit_are_accepted(tol, seed):
    """Rare indicators without a penalty, heavy tails, and several classes: the last step is long, not a Newton step."""
    rng = np.random.default_rng(seed)
    dummies = 1.0 * (rng.uniform(size=(200, 3)) < 0.1)
    heavy = rng.standard_cauchy(size=(500, 3))
    tables = [(dummies, np.inf, 2), (heavy, np.inf, 3), (np.exp(rng.normal(size=(200, 3))), 1.0, 2)]
    for X, C, n_classes in tables:
        logits = 2 * (X - X.mean(axis=0)).clip(-3, 3) @ rng.normal(size=(3, n_classes))
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = NaturalGradientLogisticRegression(C=C, tol=tol).fit(X, y)
            infer(model, X, y)
