"""Warnings of sknatgrad. Errors are the built-in ones."""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["SeparationWarning"]


class SeparationWarning(ConvergenceWarning):
    """The classes can be separated without error, and without a penalty the likelihood then has no maximum."""
