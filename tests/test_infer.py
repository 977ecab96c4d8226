"""Arguments of infer: data of another fit and invalid input are refused, the estimator is not changed."""

import numpy as np
import pytest
from problems import fit_problem, infer_problem, make_problem
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.inference import infer


def _other_rows(problem):
    rng = np.random.default_rng(0)
    yield problem._replace(weight=np.ones(len(problem.weight)))
    yield problem._replace(weight=2.0 * problem.weight)
    yield problem._replace(codes=rng.permutation(problem.codes))
    yield problem._replace(X=problem.X[::-1])


@pytest.mark.parametrize("case", range(4))
def test_other_rows_labels_or_weights_than_those_of_the_fit_are_refused(case):
    problem = make_problem(2, n_rows=90)
    other = list(_other_rows(problem))[case]
    with pytest.raises(ValueError, match=r"are not those of the fit, which ended at a loss of 0\.\d+ nats"):
        infer_problem(other, fit_problem(problem, C=1.0), "fisher")


def test_weights_with_the_same_loss_and_another_optimum_are_refused():
    problem = make_problem(2, n_rows=400, zero_weights=False)
    model = fit_problem(problem, C=1.0)
    loss = -model.predict_log_proba(problem.X)[np.arange(400), problem.codes]
    # moves neither the sum of the weights nor that of the losses
    change = np.random.default_rng(0).normal(size=400)
    basis = np.linalg.qr(np.column_stack([np.ones(400), loss]))[0]
    change -= basis @ (basis.T @ change)
    other = problem._replace(weight=problem.weight + 0.99 * change * np.min(problem.weight / np.abs(change)))
    infer_problem(problem, model, "fisher")
    other = other._replace(weight=1e3 * other.weight)
    many = fit_problem(problem._replace(weight=1e3 * problem.weight), C=1e-3, tol=1e-10)
    with pytest.raises(ValueError, match=r"an optimum 2 standard errors away"):
        infer_problem(other, many, "fisher")


def test_the_estimator_is_not_changed():
    problem = make_problem(2, n_rows=90)
    model = fit_problem(problem)
    before = {name: np.copy(value) for name, value in vars(model).items()}
    infer_problem(problem, model, "cluster")
    assert before.keys() == vars(model).keys()
    for name, value in before.items():
        np.testing.assert_array_equal(vars(model)[name], value)


def bad_inputs():
    problem = make_problem(3, n_rows=60)
    model, (X, y) = fit_problem(problem, 1.0), (problem.X, problem.codes)
    weight = problem.weight
    yield "covariance='HC3' is unknown", (model, X, y), {"covariance": "HC3"}
    yield "weights='probability' is unknown", (model, X, y), {"weights": "probability"}
    yield "do not go together", (model, X, y), {"weights": "sampling", "sample_weight": weight}
    yield "groups=None", (model, X, y), {"covariance": "cluster"}
    yield "groups were given", (model, X, y), {"groups": y}
    yield r"groups has shape \(59,\)", (model, X, y), {"covariance": "cluster", "groups": y[1:]}
    yield "one group only", (model, X, y), {"covariance": "cluster", "groups": np.ones(60)}
    yield "one group only", (model, X, y), {"covariance": "cluster", "groups": weight > 0, "sample_weight": weight}
    yield "reference='a' is not among", (model, X, y), {"reference": "a"}
    yield "X has 2 features", (model, X[:, :2], y), {}
    yield r"y has shape \(59,\)", (model, X, y[1:]), {}
    yield "y holds 7, which is not among", (model, X, np.where(y == 1, 7, y)), {}
    yield "sample_weight contains the negative", (model, X, y), {"sample_weight": -weight}
    pipeline = make_pipeline(StandardScaler(), model)
    last = r"a Pipeline; pass its last step, estimator\[-1\], which is 'naturalgradientlogisticregression'"
    yield last, (pipeline.fit(X, y), X, y), {}
    yield last, (FrozenEstimator(pipeline), X, y), {}
    yield "L1 penalty", (LogisticRegression(solver="saga", l1_ratio=1.0, penalty="elasticnet").fit(X, y), X, y), {}
    yield "not the softmax of its logits", (_one_against_rest(X, y), X, y), {}
    yield "features holds 'length', which is neither", (model, X, y), {"features": ["length"]}
    yield "features holds 9, which is neither", (model, X, y), {"features": [0, 9]}
    yield r"features=\[\] must name at least one", (model, X, y), {"features": []}
    yield "each only once", (model, X, y), {"features": [1, 1]}
    few = fit_problem(problem._replace(X=X[:8], codes=y[:8], weight=weight[:8]), 1.0)
    yield (
        "divides by n - k, but n = 6 and k = 8",
        (few, X[:8], y[:8]),
        {"sample_weight": weight[:8], "weights": "sampling", "covariance": "HC1"},
    )
    yield "unless all weights are 0 or 1", (model, X, y), {"weights": "sampling", "sample_weight": 3.0}
    yield "y and sample_weight leave only one class", (model, X, np.zeros(60, dtype=int)), {}
    yield "is not among the estimator's classes", (model, X, y), {"reference": np.array([1, 2])}
    yield "features holds 77", (model, X, y), {"features": 77}
    missing = np.where(np.arange(60) == 7, np.nan, 1.0)
    yield "groups contains NaN \\(nan\\) at row 7", (model, X, y), {"covariance": "cluster", "groups": missing}
    yield "weights=a ndarray is unknown; .* go into sample_weight", (model, X, y), {"weights": weight}
    refused = LinearDiscriminantAnalysis(), LinearSVC(), SGDClassifier(loss="log_loss"), CalibratedClassifierCV(model)
    for other in refused:
        other.C = 1.0
        yield f"a {type(other).__name__}; it must be a NaturalGradientLogisticRegression", (other.fit(X, y), X, y), {}
    yield "a GridSearchCV; pass its best_estimator_", (GridSearchCV(model, {"C": [1.0]}).fit(X, y), X, y), {}
    yield "another C for each class", (_with_several_strengths(X, y), X, y), {}


def _one_against_rest(X, y):
    class OneAgainstRest(LogisticRegression):
        """As that of scikit-learn before 1.8, with ``multi_class='ovr'``."""

        def predict_proba(self, X):
            odds = expit(self.decision_function(X))
            return odds / odds.sum(axis=1, keepdims=True)

    return OneAgainstRest().fit(X, y)


def _with_several_strengths(X, y):
    model = LogisticRegressionCV(Cs=[1.0], cv=2).fit(X, y)
    model.C_ = np.array([1.0, 2.0, 1.0])
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", range(34))
def test_invalid_input_is_an_error_of_one_sentence(case):
    message, arguments, settings = list(bad_inputs())[case]
    with pytest.raises(ValueError, match=message) as caught:
        infer(*arguments, **settings)
    assert str(caught.value).count("\n") == 0


def test_derived_and_frozen_estimators_are_taken():
    class Derived(NaturalGradientLogisticRegression):
        """A subclass of a user."""

    class DerivedFromSklearn(LogisticRegression):
        """Another one."""

    problem = make_problem(2, n_rows=60)
    X, y = problem.X, problem.codes
    expected = infer(NaturalGradientLogisticRegression().fit(X, y), X, y)
    for same in (Derived(), DaskNaturalGradientLogisticRegression(), FrozenEstimator(Derived().fit(X, y))):
        np.testing.assert_array_equal(infer(same.fit(X, y), X, y).covariance, expected.covariance)
    model = DerivedFromSklearn(tol=1e-10).fit(X, y)
    np.testing.assert_allclose(infer(model, X, y).covariance, expected.covariance, rtol=1e-4)


def test_too_many_coefficients_are_refused_before_any_work(limits):
    problem = make_problem(3, n_rows=60)
    model = fit_problem(problem)
    limits(matrix_bytes=100)
    with pytest.raises(ValueError, match=r"the covariance of 8 coefficients would take .* features=\[...\]"):
        infer_problem(problem, model, "fisher")
