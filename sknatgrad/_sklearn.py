"""The private parts of scikit-learn that have no public counterpart, each with its reason.

Everything else is imported from scikit-learn's public modules where it is used.
"""

# Validates constructor parameters on fit and marks nested validation: no public name as of scikit-learn 1.9,
# while `check_param_validation` tests just this mechanism.
from sklearn.base import _fit_context as fit_context

# The vocabulary of `_parameter_constraints`, which `_fit_context` reads.
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # public, but not there before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for what scikit-learn does not have yet."""

        def set_callbacks(self, *callbacks: object) -> None:  # noqa: ARG002 - the signature that it will have
            """Refuse them."""
            message = "callbacks need scikit-learn 1.9 or later: pip install --upgrade scikit-learn."
            raise ImportError(message)


__all__ = ["CallbackSupportMixin", "HasMethods", "Interval", "StrOptions", "fit_context"]
