"""The values that the parameters of the estimator may have, and their validation at the start of a fit."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, get_args

from sklearn.base import BaseEstimator

from sknatgrad._model.metrics import FisherName
from sknatgrad._sklearn import HasMethods, Interval, StrOptions

CONSTRAINTS: dict[str, list[Any]] = {
    "fisher": [StrOptions(set(get_args(FisherName)))],
    "C": [Interval(Real, 0, None, closed="right")],
    "damping": [Interval(Real, 0, None, closed="left")],
    "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "max_kl": [Interval(Real, 0, None, closed="neither"), None],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "fit_intercept": ["boolean"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "prior": [tuple, list, HasMethods(["get_params"]), None],
    "warm_start": ["boolean"],
    "store_covariance": ["boolean"],
    "forgetting": [Interval(Real, 0, 1, closed="right")],
    "random_state": ["random_state"],
    "on_interrupt": [StrOptions({"raise", "keep"})],
    "verbose": ["verbose"],
}

# types of values that are valid at any time if they are once; others, such as dictionaries, can change
SIMPLE_TYPES = {bool, int, float, str, type(None)}
# Sets of values that are remembered: a search over more of them validates some again.
MAX_VALID = 4096
_VALID: set[tuple[object, ...]] = set()


class ParametersMixin(BaseEstimator):
    """Validates the parameters of an estimator once for each set of their values: it takes 50 us, a small fit 600."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]

    def _validate_params(self) -> None:
        """Raise an error if a parameter is not valid."""
        values = [getattr(self, name, None) for name in self._parameter_constraints]
        types = [type(value) for value in values]
        if not SIMPLE_TYPES.issuperset(types):
            super()._validate_params()
            return
        # values of different types may be equal, such as 1 and True
        key = (type(self), *values, *types)
        if key in _VALID:
            return
        super()._validate_params()
        if len(_VALID) >= MAX_VALID:
            _VALID.clear()
        _VALID.add(key)
