"""The handling of floating-point errors: underflow is ignored inside this package, but not in code of the user.

Probabilities and their products underflow wherever a prediction is sure, and the result, 0, is right. numpy ignores
underflow unless a program asks for errors, as by ``np.seterr(all='raise')``. Overflow, division by zero and invalid
operations are handled as the caller asks, except where the code that computes says why not.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# for each kind of error what numpy does, as keywords of `numpy.errstate`
Handling: TypeAlias = dict[str, str]
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Class = TypeVar("Class", bound=type)
Item = TypeVar("Item")

# numpy's handling where the outermost function of this package was called; None in code of the user
_OF_CALLER: ContextVar[Handling | None] = ContextVar("floating_point_of_caller", default=None)


@contextmanager
def underflow_ignored() -> Iterator[None]:
    """Ignore underflow inside this context."""
    token = _OF_CALLER.set(_OF_CALLER.get() or cast("Handling", np.geterr()))
    try:
        with np.errstate(under="ignore"):
            yield
    finally:
        _OF_CALLER.reset(token)


@contextmanager
def as_caller() -> Iterator[None]:
    """Handle floating-point errors inside this context, in which code of the user runs, as the user asked for."""
    handling = _OF_CALLER.get() or {}
    token = _OF_CALLER.set(None)
    try:
        with np.errstate(**handling):  # type: ignore[arg-type]  # numpy's own values
            yield
    finally:
        _OF_CALLER.reset(token)


def handling_for_tasks() -> Handling:
    """Return how numpy handles errors here, to be sent to other processes; a callback is not, so they warn instead."""
    here = cast("Handling", np.geterr())
    return {kind: "warn" if how in {"call", "log"} else how for kind, how in here.items()}


def each_as_caller(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items that code of the user makes."""
    with as_caller():
        iterator = iter(items)
    while True:
        with as_caller():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def ignoring_underflow(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorate a function to ignore underflow."""

    @wraps(function)
    def wrapper(*args: Parameters.args, **keywords: Parameters.kwargs) -> Returned:
        if _OF_CALLER.get() is not None:
            # inside this package already
            return function(*args, **keywords)
        with underflow_ignored():
            return function(*args, **keywords)

    return wrapper


def underflow_ignored_in(cls: Class) -> Class:
    """Decorate a class: its public methods and properties ignore underflow."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            setattr(
                cls, name, property(ignoring_underflow(cast("Callable[..., object]", member.fget)), doc=member.__doc__)
            )
        elif isinstance(member, classmethod):
            setattr(cls, name, classmethod(ignoring_underflow(member.__func__)))
        elif callable(member):
            setattr(cls, name, ignoring_underflow(member))
    return cls
