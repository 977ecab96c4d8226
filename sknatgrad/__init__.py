"""Logistic regression by natural gradient descent: steepest descent in the space of predicted distributions."""

from typing import TYPE_CHECKING

# The large dependencies are loaded early, for speed: by the modules below, ten imports deeper, they take up to 0.1 s
# more. Python 3.11 keeps frames in chunks; a loop of calls that starts near the end of a chunk maps and unmaps the next
# one at each call: 43,000 page faults for 32,000.
import scipy.linalg  # noqa: F401 - loaded early
import scipy.optimize  # noqa: F401 - loaded early
import scipy.stats  # noqa: F401 - loaded early
import sklearn.base  # noqa: F401 - loaded early

from sknatgrad._definitions import load_on_first_use
from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.geometry import fisher_information, kl_divergence
from sknatgrad._estimator.merge import merge
from sknatgrad._version import __version__ as __version__
from sknatgrad.exceptions import SeparationWarning

if TYPE_CHECKING:
    from sknatgrad._estimator.cv_classifier import NaturalGradientLogisticRegressionCV
    from sknatgrad._estimator.logistic_path import LogisticPath, logistic_path

__all__ = [
    "LogisticPath",
    "NaturalGradientLogisticRegression",
    "NaturalGradientLogisticRegressionCV",
    "SeparationWarning",
    "fisher_information",
    "kl_divergence",
    "logistic_path",
    "merge",
]

# Fits of many models need 18 more modules, and scorers and splitters of scikit-learn, 100 modules.
_MANY_MODELS = {
    "LogisticPath": "sknatgrad._estimator.logistic_path",
    "NaturalGradientLogisticRegressionCV": "sknatgrad._estimator.cv_classifier",
    "logistic_path": "sknatgrad._estimator.logistic_path",
}
# Stored models name the records that are part of them by this package.
_RECORDS = {
    "DenseInformation": "sknatgrad._model.information",
    "DiagonalInformation": "sknatgrad._model.information",
    "IdentityInformation": "sknatgrad._model.information",
    "KroneckerInformation": "sknatgrad._model.information",
    "LabelledRows": "sknatgrad._rows.source",
    "QuadraticApproximation": "sknatgrad._model.quadratic",
    "StreamState": "sknatgrad._estimator.stream",
}
if not TYPE_CHECKING:  # type checkers would take any name for a member
    __getattr__, __dir__ = load_on_first_use(__name__, __all__, {**_MANY_MODELS, **_RECORDS})
