"""Private names of scikit-learn that have no public counterpart, each with the reason for its use.

All others are imported from scikit-learn's public modules where they are used.
"""

from collections.abc import Iterable
from inspect import signature

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


# what a scorer computes: a scorer that is made again needs its settings, which are private
SCORER_SETTINGS = ("_score_func", "_sign", "_kwargs", "_response_method")


def scorer_of_classes(scorer: object, classes: object) -> object:
    """Return a scorer that knows the classes of a fit, as test rows may not have all of them.

    The private attributes of a scorer are its score function, sign, response method and keywords. Without them, such as
    for a function of the user, it is returned as it is.
    """
    from sklearn.metrics import make_scorer  # noqa: PLC0415 - takes 40 ms, and most fits have no scorer

    function = getattr(scorer, "_score_func", None)
    keywords = dict(getattr(scorer, "_kwargs", {}))
    parameters = {} if function is None else signature(function).parameters
    if "labels" not in parameters or "labels" in keywords:
        return scorer
    if "pos_label" in parameters and len(classes) == 2:  # type: ignore[arg-type]  # noqa: PLR2004 - two classes
        keywords.setdefault("pos_label", classes[-1])  # type: ignore[index]
    response, sign = scorer._response_method, scorer._sign  # type: ignore[attr-defined]  # noqa: SLF001
    return make_scorer(function, response_method=response, greater_is_better=sign == 1, labels=classes, **keywords)


def name_of_scorer(scorer: object, names: Iterable[str]) -> str | None:
    """Return the one of some names of scorers that stands for a scorer; None for any other.

    A scorer that requests sample weights is an object, and what it computes is in private attributes only.
    """
    from sklearn.metrics import get_scorer  # noqa: PLC0415 - takes 40 ms, and most fits have no scorer

    settings = [getattr(scorer, name, None) for name in SCORER_SETTINGS]
    for name in names:
        named = get_scorer(name)
        if scorer == name or settings == [getattr(named, each) for each in SCORER_SETTINGS]:
            return name
    return None


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "fit_context",
    "name_of_scorer",
    "scorer_of_classes",
]
