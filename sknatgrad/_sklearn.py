"""The private parts of scikit-learn that have no public counterpart, each with its reason.

Everything else is imported from scikit-learn's public modules where it is used.
"""

# Validates constructor parameters on fit and marks nested validation: no public name as of scikit-learn 1.9,
# while `check_param_validation` tests just this mechanism.
from sklearn.base import _fit_context as fit_context

# The vocabulary of `_parameter_constraints`, which `_fit_context` reads.
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

__all__ = ["HasMethods", "Interval", "StrOptions", "fit_context"]
