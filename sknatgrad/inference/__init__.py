"""Standard errors, tests and intervals of a fitted logistic regression, from its Fisher information."""

from sknatgrad.inference._chi_squared import ChiSquared
from sknatgrad.inference._infer import infer
from sknatgrad.inference._margins import MarginalEffects
from sknatgrad.inference._result import InferenceResult, OddsRatios
from sknatgrad.inference._summary import Summary

__all__ = ["ChiSquared", "InferenceResult", "MarginalEffects", "OddsRatios", "Summary", "infer"]
