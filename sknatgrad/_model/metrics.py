"""The metrics by name: how each takes the expectation over labels, and which structure stores it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sknatgrad._model.categorical import EmpiricalExpectation, SampledExpectation, TrueExpectation
from sknatgrad._model.information import (
    BlockInformation,
    DenseInformation,
    DiagonalInformation,
    IdentityInformation,
    KroneckerInformation,
)

if TYPE_CHECKING:
    from sknatgrad._model.categorical import Expectation
    from sknatgrad._model.information import Structure

FisherName = Literal["true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity"]

STRUCTURES: dict[str, Structure] = {
    "true": DenseInformation,
    "empirical": DenseInformation,
    "diagonal": DiagonalInformation,
    "kronecker": KroneckerInformation,
    "monte_carlo": DenseInformation,
    "identity": IdentityInformation,
}
# of the true Fisher, for conjugate gradients
PRECONDITIONERS: dict[str, Structure] = {
    "diagonal": DiagonalInformation,
    "kronecker": KroneckerInformation,
    "blocks": BlockInformation,
    "true": DenseInformation,
}


def expectation_of(fisher: str, seed: int = 0) -> Expectation:
    """Return how a metric takes the expectation over labels; `seed` matters where they are drawn."""
    if fisher == "empirical":
        return EmpiricalExpectation()
    if fisher == "monte_carlo":
        return SampledExpectation(seed)
    return TrueExpectation()
