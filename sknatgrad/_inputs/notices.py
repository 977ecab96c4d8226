"""Warnings: where they point, at the line of the user, and how they count rows."""

from __future__ import annotations

from inspect import currentframe


def stacklevel_of_user() -> int:
    """Return the `stacklevel` with which a warning of the caller points at the line of the user.

    Functions of this package lie between, as many as the way in has, and the wrapper that scikit-learn puts around
    `fit`.
    """
    level, frame = 0, currentframe()
    while frame is not None and _is_internal(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_internal(module: str) -> bool:
    return module == "sklearn.base" or module.partition(".")[0] == "sknatgrad"


def counted_rows(number: int) -> str:
    """Return a number of rows in words."""
    return "1 row" if number == 1 else f"{number:,} rows"
