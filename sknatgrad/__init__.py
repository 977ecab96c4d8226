"""Logistic regression by natural gradient descent: steepest descent in the space of predicted distributions."""

from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.geometry import fisher_information, kl_divergence
from sknatgrad._estimator.merge import merge
from sknatgrad._version import __version__ as __version__
from sknatgrad.exceptions import SeparationWarning

__all__ = ["NaturalGradientLogisticRegression", "SeparationWarning", "fisher_information", "kl_divergence", "merge"]
