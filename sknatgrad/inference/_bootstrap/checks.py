"""The arguments of a bootstrap, checked."""

from __future__ import annotations

from numbers import Integral

# resamples that a covariance takes at least
MIN_RESAMPLES = 2


def check_bootstrap(n_resamples: object, features: object, aliased: str) -> None:
    """Refuse arguments that do not go together with covariance='bootstrap'."""
    if not isinstance(n_resamples, Integral) or isinstance(n_resamples, bool) or n_resamples < MIN_RESAMPLES:
        message = f"n_resamples={n_resamples!r} must be an integer of {MIN_RESAMPLES} or more."
        raise ValueError(message)
    if features is not None:
        message = f"features={features!r} does not go together with covariance='bootstrap'; pass features=None."
        raise ValueError(message)
    if aliased != "drop":
        message = f"aliased={aliased!r} does not go together with covariance='bootstrap'; pass aliased='drop'."
        raise ValueError(message)
