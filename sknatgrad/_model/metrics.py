"""Metrics by name: the expectation over labels and the structure of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sknatgrad._model.expectations import EmpiricalExpectation, SampledExpectation, TrueExpectation
from sknatgrad._model.information import (
    BlockInformation,
    CentredDiagonalInformation,
    DenseInformation,
    DiagonalInformation,
    IdentityInformation,
    KroneckerInformation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.protocols import Structure

FisherName = Literal["true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity"]

STRUCTURES: dict[str, Structure] = {
    "true": DenseInformation,
    "empirical": DenseInformation,
    "diagonal": DiagonalInformation,
    "kronecker": KroneckerInformation,
    "monte_carlo": DenseInformation,
    "identity": IdentityInformation,
}
# structures of the true Fisher information that may precondition conjugate gradients
PRECONDITIONERS: dict[str, Structure] = {
    "centred_diagonal": CentredDiagonalInformation,
    "kronecker": KroneckerInformation,
    "blocks": BlockInformation,
    "true": DenseInformation,
}
# functions of the seed of drawn labels; all other metrics take the true expectation
EXPECTATIONS: dict[str, Callable[[int], Expectation]] = {
    "empirical": lambda _: EmpiricalExpectation(),
    "monte_carlo": SampledExpectation,
}


def expectation_of(fisher: str, seed: int = 0) -> Expectation:
    """Return the expectation over labels of a metric; `seed` is that of drawn labels."""
    return EXPECTATIONS[fisher](seed) if fisher in EXPECTATIONS else TrueExpectation()
