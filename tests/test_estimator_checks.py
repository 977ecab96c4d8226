"""scikit-learn's own contract, for every metric, without an expected failure."""

import warnings

import numpy as np
import pytest
from problems import FISHERS
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknatgrad import NaturalGradientLogisticRegression, NaturalGradientLogisticRegressionCV

# monte_carlo draws other labels where rows are repeated; without a penalty the data of those checks have no optimum
# at which the two fits could agree
ESTIMATORS = [
    NaturalGradientLogisticRegression(fisher=fisher, fit_intercept=fit_intercept, C=C)
    for fisher in FISHERS
    for fit_intercept in (True, False)
    for C in (1.0, np.inf)
    if not (fisher == "monte_carlo" and np.isinf(C))
]

CV_ESTIMATORS = [
    NaturalGradientLogisticRegressionCV(Cs=3, cv=3),
    NaturalGradientLogisticRegressionCV(Cs=2, cv=2, fit_intercept=False, refit=False),
    NaturalGradientLogisticRegressionCV(Cs=2, cv=3, fisher="diagonal", scoring="accuracy", refit="1se"),
]

# scikit-learn runs these on its own estimators, outside check_estimator; 1.6 has not yet got the third
MORE_CHECKS = [
    getattr(estimator_checks, name)
    for name in (
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_all_zero_sample_weights_error",
        "check_inplace_ensure_writeable",
    )
    if hasattr(estimator_checks, name)
]


@pytest.fixture(autouse=True)
def _unconverged_is_no_error():
    # separable data and a low max_iter in these checks are expected to warn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # array API checks skip themselves where array-api-strict is absent; this estimator does not claim support
        warnings.simplefilter("ignore", SkipTestWarning)
        yield


@parametrize_with_checks(ESTIMATORS + CV_ESTIMATORS)
def test_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS + CV_ESTIMATORS, ids=repr)
@pytest.mark.parametrize(
    "check",
    MORE_CHECKS,
    ids=lambda check: check.__name__,
)
def test_checks_that_scikit_learn_runs_on_itself(estimator, check):
    check(type(estimator).__name__, estimator)


def test_tags():
    tags = NaturalGradientLogisticRegression().__sklearn_tags__()
    assert tags.input_tags.sparse
    assert tags.classifier_tags.multi_class
    assert not tags.classifier_tags.poor_score
    assert not tags.non_deterministic


def test_constraints_cover_every_parameter():
    for model in (NaturalGradientLogisticRegression(), NaturalGradientLogisticRegressionCV()):
        assert set(model._parameter_constraints) == set(model.get_params())
