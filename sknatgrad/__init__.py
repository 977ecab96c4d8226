"""Logistic regression by natural gradient descent: steepest descent in the space of predicted distributions."""

from typing import TYPE_CHECKING

# The large dependencies come first, for speed: imported by the modules below, ten imports deeper, they take up to 0.1 s
# more. Python 3.11 keeps frames in chunks; a loop of calls that starts near the end of a chunk maps and unmaps the next
# one at each call: 43,000 page faults for 32,000.
import scipy.linalg  # noqa: F401
import scipy.optimize  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.base  # noqa: F401

from sknatgrad._definitions import loader
from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.geometry import fisher_information, kl_divergence
from sknatgrad._estimator.merge import merge
from sknatgrad._estimator.stream import StreamState as StreamState
from sknatgrad._model.information import (
    DenseInformation as DenseInformation,
)
from sknatgrad._model.information import (
    DiagonalInformation as DiagonalInformation,
)
from sknatgrad._model.information import (
    IdentityInformation as IdentityInformation,
)
from sknatgrad._model.information import (
    KroneckerInformation as KroneckerInformation,
)
from sknatgrad._model.quadratic import QuadraticApproximation as QuadraticApproximation
from sknatgrad._rows.source import LabelledRows as LabelledRows
from sknatgrad._version import __version__ as __version__
from sknatgrad.exceptions import SeparationWarning

if TYPE_CHECKING:
    from sknatgrad._estimator.cv_classifier import NaturalGradientLogisticRegressionCV
    from sknatgrad._estimator.logistic_path import LogisticPath, logistic_path

# the other records are imported because stored models name them by this package
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
__getattr__ = loader(
    __name__,
    {
        "LogisticPath": "sknatgrad._estimator.logistic_path",
        "NaturalGradientLogisticRegressionCV": "sknatgrad._estimator.cv_classifier",
        "logistic_path": "sknatgrad._estimator.logistic_path",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
