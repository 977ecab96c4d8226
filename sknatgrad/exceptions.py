"""Warnings of sknatgrad. Errors are the built-in ones."""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["InferenceWarning", "SeparationWarning"]


class SeparationWarning(ConvergenceWarning):
    """A direction of the coefficients separates all or some rows by class: without a penalty there is no maximum."""


class InferenceWarning(UserWarning):
    """Standard errors are unreliable: the reason is in the message."""
