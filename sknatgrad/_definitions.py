"""What definitions in all packages share: types of arrays, records, and public addresses.

Shapes, everywhere: n rows, p features, K classes; q logits a row (1 for two classes, K otherwise); d columns
(p, or p + 1 with the intercept last); m rows of one block. Parameters and gradients are ``(q, d)``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, dataclass_transform

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Array: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]
Bits: TypeAlias = npt.NDArray[np.uint64]
Labels: TypeAlias = npt.NDArray[Any]  # class labels, all of one kind
Mask: TypeAlias = npt.NDArray[np.bool_]
DType: TypeAlias = np.dtype[Any]
Matrix: TypeAlias = Any  # dense array or scipy sparse matrix: only `_rows.matrices` and `_rows.design` distinguish them

Result = TypeVar("Result")
Class = TypeVar("Class")
Member = TypeVar("Member")

# methods of public classes with examples, which doctest finds by their module
METHODS = ("fit", "fit_batches", "partial_fit")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def record(cls: type[Class]) -> type[Class]:
    """Give a class `__init__` from its annotated names. Its values do not change, which type checkers enforce.

    A frozen dataclass with comparison and text takes 0.46 ms when it is defined, and this one 0.13: 20 ms of the import
    of 90 classes. Arrays have no comparison that these could use, and nobody reads their text.
    """
    return dataclass(eq=False, repr=False, match_args=False)(cls)


def member_of(package: str) -> Callable[[Member], Member]:
    """Name a package as the module of a class or function.

    Pickles, skops and HTML store that name. That of the package lets private modules move.
    """

    def name(member: Member) -> Member:
        for each in (member, *(vars(member)[method] for method in METHODS if method in vars(member))):
            each.__module__ = package
        return member

    return name


def load_on_first_use(
    package: str, public: Sequence[str], modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package that loads members when they are first used (PEP 562).

    `public` are its public names, `modules` the module of each member that is loaded so.
    """

    def load(name: str) -> Any:
        if name not in modules:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        member = getattr(import_module(modules[name]), name)
        # found at once from now on
        setattr(sys.modules[package], name, member)
        return member

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return load, names
