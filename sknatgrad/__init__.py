"""Logistic regression by natural gradient descent: steepest descent in the space of predicted distributions."""

from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.cv_classifier import NaturalGradientLogisticRegressionCV
from sknatgrad._estimator.geometry import fisher_information, kl_divergence
from sknatgrad._estimator.logistic_path import LogisticPath, logistic_path
from sknatgrad._estimator.merge import merge
from sknatgrad._estimator.stream import StreamState
from sknatgrad._model.information import (
    DenseInformation,
    DiagonalInformation,
    IdentityInformation,
    KroneckerInformation,
)
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._rows.source import LabelledRows
from sknatgrad._version import __version__ as __version__
from sknatgrad.exceptions import SeparationWarning

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

# Pickles, skops and HTML name the module of a class. A public one lets private modules move. The records are part of
# stored models; doctest finds the examples of methods by their module.
_ESTIMATOR = (
    NaturalGradientLogisticRegression,
    NaturalGradientLogisticRegression.fit,
    NaturalGradientLogisticRegression.fit_batches,
    NaturalGradientLogisticRegression.partial_fit,
    NaturalGradientLogisticRegressionCV,
    NaturalGradientLogisticRegressionCV.fit,
)
_RECORDS = (
    StreamState,
    QuadraticApproximation,
    DenseInformation,
    DiagonalInformation,
    IdentityInformation,
    KroneckerInformation,
    LabelledRows,
    LogisticPath,
)
for _public in (*_ESTIMATOR, fisher_information, kl_divergence, logistic_path, merge, *_RECORDS):
    _public.__module__ = __name__
