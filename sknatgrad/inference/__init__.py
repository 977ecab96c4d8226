"""Standard errors, tests and intervals of a fitted logistic regression, from its Fisher information."""

from typing import TYPE_CHECKING

from sknatgrad._definitions import load_on_first_use
from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared
from sknatgrad.inference._infer import infer
from sknatgrad.inference._result.aliased import AliasedColumn
from sknatgrad.inference._result.marginal_effects import MarginalEffects
from sknatgrad.inference._result.odds_ratios import OddsRatios
from sknatgrad.inference._result.result import InferenceResult
from sknatgrad.inference._result.summary import Summary

if TYPE_CHECKING:
    from sknatgrad.inference._influence.influence import influence
    from sknatgrad.inference._influence.result import InfluenceResult

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

# fits without a row need the modules for many models
_MANY_MODELS = {
    "InfluenceResult": "sknatgrad.inference._influence.result",
    "influence": "sknatgrad.inference._influence.influence",
}
if not TYPE_CHECKING:  # type checkers would take any name for a member
    __getattr__, __dir__ = load_on_first_use(__name__, __all__, _MANY_MODELS)
