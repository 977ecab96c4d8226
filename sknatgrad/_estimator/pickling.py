"""Models that were stored: they say by which version, and another one that loads them says so."""

from __future__ import annotations

import warnings
from inspect import Parameter, signature
from typing import Any

from sknatgrad._version import __version__

STORED_BY = "_sknatgrad_version"  # only in what is stored, never an attribute


class StoredMixin:
    """What scikit-learn does for its own estimators, and for no others, when they are pickled.

    Before scikit-learn's base class in the order of bases, whose methods it goes on to.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes and the version, for pickle, joblib, skops and copies."""
        state: Any = super().__getstate__()
        return {**state, STORED_BY: __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes back; warn if another version stored them."""
        attributes = dict(state)
        version = attributes.pop(STORED_BY, "of before 0.1.0")
        if version != __version__:
            message = (
                f"this {type(self).__name__} was stored by sknatgrad {version} and is loaded by {__version__}; compare "
                "its predictions with those it made, or fit it anew."
            )
            warnings.warn(message, UserWarning, stacklevel=2)
            # parameters that have come since
            attributes = _defaults(type(self)) | attributes
        super().__setstate__(attributes)  # type: ignore[misc]  # scikit-learn's base class has it


def _defaults(estimator: type) -> dict[str, Any]:
    parameters = signature(estimator).parameters
    return {name: each.default for name, each in parameters.items() if each.default is not Parameter.empty}
