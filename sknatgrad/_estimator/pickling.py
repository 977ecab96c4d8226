"""Versions in stored models: a model says which version stored it, and warns if another one loads it."""

from __future__ import annotations

import warnings
from inspect import Parameter, signature

from sknatgrad._version import __version__

STORED_BY = "_sknatgrad_version"  # a key of stored states, never an attribute


def with_version(state: dict[str, object]) -> dict[str, object]:
    """Return the attributes with the version, for pickle, joblib, skops and copies."""
    return {**state, STORED_BY: __version__}


def without_version(estimator: type, state: dict[str, object]) -> dict[str, object]:
    """Return the attributes of a stored model; warn if another version stored them.

    scikit-learn does this for its own estimators only.
    """
    attributes = dict(state)
    version = attributes.pop(STORED_BY, "before 0.1.0")
    if version == __version__:
        return attributes
    message = (
        f"this {estimator.__name__} was stored by sknatgrad {version} and is loaded by {__version__}; compare "
        "its predictions with those it made before, or fit it again."
    )
    # for the line that loads the model: this function and __setstate__ lie between
    warnings.warn(message, UserWarning, stacklevel=3)
    # parameters that are newer than the model get their defaults
    return _defaults(estimator) | attributes


def _defaults(estimator: type) -> dict[str, object]:
    parameters = signature(estimator).parameters
    return {name: each.default for name, each in parameters.items() if each.default is not Parameter.empty}
