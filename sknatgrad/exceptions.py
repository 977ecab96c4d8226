"""Warnings of sknatgrad. Errors are the built-in ones."""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["InferenceWarning", "SeparationWarning"]


class SeparationWarning(ConvergenceWarning):
    """The classes, or some rows of them, can be separated: without a penalty the likelihood then has no maximum."""


class InferenceWarning(UserWarning):
    """Standard errors that should not be believed."""
