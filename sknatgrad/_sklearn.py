"""Private names of scikit-learn that have no public counterpart, each with the reason for its use.

All others are imported from scikit-learn's public modules where they are used.
"""

# Validates constructor parameters on fit and marks nested validation: no public name as of scikit-learn 1.9, although
# `check_param_validation` tests this mechanism.
from sklearn.base import _fit_context as fit_context

# The values of `_parameter_constraints`, which `_fit_context` reads.
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # public since scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A substitute for earlier versions, which have no callbacks."""

        def set_callbacks(self, *callbacks: object) -> None:  # noqa: ARG002 - the signature of scikit-learn 1.9
            """Refuse them."""
            message = "callbacks need scikit-learn 1.9 or later: pip install --upgrade scikit-learn."
            raise ImportError(message)


__all__ = ["CallbackSupportMixin", "HasMethods", "Interval", "StrOptions", "fit_context"]
