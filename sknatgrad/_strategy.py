"""Chooses how a metric is computed, by what it costs in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from sknatgrad._categorical import EmpiricalExpectation, SampledExpectation, TrueExpectation
from sknatgrad._information import (
    DenseInformation,
    DiagonalInformation,
    IdentityInformation,
    KroneckerInformation,
)

if TYPE_CHECKING:
    from sknatgrad._categorical import Expectation
    from sknatgrad._information import Structure

FisherName = Literal["true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity"]

# one (qd)² matrix of float64; a direct solve holds a handful of them at a time
DENSE_BUDGET_BYTES = 2**28
# the same for the certificate of a metric whose user did not ask for a (qd)² matrix
CERTIFICATE_BUDGET_BYTES = 2**23

STRUCTURES: dict[str, Structure] = {
    "true": DenseInformation,
    "empirical": DenseInformation,
    "diagonal": DiagonalInformation,
    "kronecker": KroneckerInformation,
    "monte_carlo": DenseInformation,
    "identity": IdentityInformation,
}


def expectation_of(fisher: str, seed: int = 0) -> Expectation:
    """Return how a metric takes the expectation over labels; `seed` matters where they are drawn."""
    if fisher == "empirical":
        return EmpiricalExpectation()
    if fisher == "monte_carlo":
        return SampledExpectation(seed)
    return TrueExpectation()


class Plan(NamedTuple):
    """How the metric is computed."""

    fisher: str
    structure: Structure
    matrix_free: bool  # the metric is dense by name but known only by its products
    dense_certificate: bool  # whether the exact decrement is had by factorising, rather than by conjugate gradients

    def expectation(self, seed: int) -> Expectation:
        """Return how the expectation over labels is taken."""
        return expectation_of(self.fisher, seed)

    @property
    def exact(self) -> bool:
        """Whether the metric is the true Fisher information itself, up to damping."""
        return self.fisher == "true"

    def describe(self) -> str:
        """Say in one line what was chosen."""
        kept = self.structure.__name__.removesuffix("Information").lower()
        return f"metric {self.fisher!r}: {'matrix-free, solved by conjugate gradients' if self.matrix_free else kept}"


def plan(fisher: FisherName, n_logits: int, n_columns: int) -> Plan:
    """Choose dense or matrix-free; a Kronecker factor that outgrows the budget has no matrix-free form."""
    dense_bytes = 8 * (n_logits * n_columns) ** 2
    structure = STRUCTURES[fisher]
    if structure is KroneckerInformation and 8 * max(n_columns, n_logits) ** 2 > DENSE_BUDGET_BYTES:
        message = (
            f"fisher='kronecker' would need a {n_columns} x {n_columns} factor, over its budget of "
            f"{DENSE_BUDGET_BYTES // 2**20} MiB; use fisher='true' (matrix-free at this size) or 'diagonal'."
        )
        raise ValueError(message)
    matrix_free = structure is DenseInformation and dense_bytes > DENSE_BUDGET_BYTES
    small = dense_bytes <= min(CERTIFICATE_BUDGET_BYTES, DENSE_BUDGET_BYTES)
    dense_certificate = small or (structure is DenseInformation and not matrix_free)
    return Plan(fisher, DiagonalInformation if matrix_free else structure, matrix_free, dense_certificate)
