"""Logistic regression by natural gradient descent: steepest descent in the space of predicted distributions."""

from sknatgrad._estimator import NaturalGradientLogisticRegression
from sknatgrad._geometry import fisher_information, kl_divergence
from sknatgrad._merging import merge
from sknatgrad.exceptions import SeparationWarning

__version__ = "0.1.0"

__all__ = ["NaturalGradientLogisticRegression", "SeparationWarning", "fisher_information", "kl_divergence", "merge"]
