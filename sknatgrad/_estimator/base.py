"""What the two estimators have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.base import BaseEstimator, ClassifierMixin

from sknatgrad._estimator.documentation import link_template
from sknatgrad._estimator.parameters import ParametersMixin
from sknatgrad._estimator.pickling import with_version, without_version
from sknatgrad._estimator.predict import PredictionMixin
from sknatgrad._limits import Limits
from sknatgrad._sklearn import CallbackSupportMixin


class LogisticRegressionBase(PredictionMixin, ParametersMixin, CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Validated parameters, predictions, stored versions and scikit-learn's tags."""

    # budgets of memory and time, which tests lower
    _limits: ClassVar[Limits] = Limits()
    # where scikit-learn finds the documentation of the class
    _doc_link_module: ClassVar[str] = "sknatgrad"

    fit_intercept: bool
    n_features_in_: int

    def __getstate__(self) -> dict[str, object]:
        """Return the attributes and the version of the package, for pickle, joblib, skops and copies."""
        return with_version(super().__getstate__())

    def __setstate__(self, state: dict[str, object]) -> None:
        """Set the attributes; warn if another version of the package stored them."""
        super().__setstate__(without_version(type(self), state))

    @property
    def _doc_link_template(self) -> str:
        """The address of the page of a class; scikit-learn asks for it."""
        return link_template()

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: X may be sparse; without an intercept, scores depend on the origin."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # The checks of this tag expect one class to be predicted nearly everywhere on data around the origin, which no
        # hyperplane through the origin does; scikit-learn's LogisticRegression(fit_intercept=False) fails them too.
        tags.classifier_tags.poor_score = not self.fit_intercept
        return tags
