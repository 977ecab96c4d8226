"""Standard errors, tests and intervals of a fitted logistic regression, from its Fisher information."""

from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared
from sknatgrad.inference._infer import infer
from sknatgrad.inference._influence.influence import influence
from sknatgrad.inference._influence.result import InfluenceResult
from sknatgrad.inference._result.aliased import AliasedColumn
from sknatgrad.inference._result.marginal_effects import MarginalEffects
from sknatgrad.inference._result.odds_ratios import OddsRatios
from sknatgrad.inference._result.result import InferenceResult
from sknatgrad.inference._result.summary import Summary

__all__ = [
    "AliasedColumn",
    "ChiSquared",
    "InferenceResult",
    "InfluenceResult",
    "MarginalEffects",
    "OddsRatios",
    "Summary",
    "infer",
    "influence",
]

_classes = (AliasedColumn, ChiSquared, InferenceResult, InfluenceResult, MarginalEffects, OddsRatios, Summary)
for _public in (*_classes, infer, influence):
    # pickles and documentation then name the public address
    _public.__module__ = __name__
