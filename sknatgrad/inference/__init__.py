"""Standard errors, tests and intervals of a fitted logistic regression, from its Fisher information."""

from sknatgrad.inference._infer import infer
from sknatgrad.inference._result import ChiSquared, InferenceResult
from sknatgrad.inference._summary import Summary

__all__ = ["ChiSquared", "InferenceResult", "Summary", "infer"]
