"""Which preconditioner conjugate gradients use, when a dearer one pays, and the factor of the one in use."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.information import preconditioner_of

if TYPE_CHECKING:
    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation
    from sknatgrad._typing import Array

# Products from which on the observed rate of convergence is used. At 1 and 6, 12 correlated classes take 52 and 21
# products for 58, 20,000 x 50 19 and 25 for 21, 5,000 x 300 33 and 36 for 34.
MIN_OBSERVED = 3
# Cost, in products, up to which a preconditioner is used from the start. Halved and doubled: digits takes 97 and
# 78 products for 78, at C = 100 239 and 204 for 204; 20,000 x 50 21 and 17 for 21.
CHEAP = 2.0
# Products that must have been spent before an option is considered, as a share of its cost. Halved and doubled: digits
# takes 71 and 81 products for 78, at C = 100 158 and 212 for 204; no other change.
MIN_SPENT = 0.25
# Products that an option must save, as a multiple of its cost. Halved and doubled: no change.
MIN_SAVING = 1.0
# Share of the loss at which the preconditioner was computed, below which it is computed anew. Halved and doubled:
# digits takes 67 and 84 products for 78, at C = 100 309 and 136 for 204; others one less or as many.
STALE = 0.5
# Structures that are summed in float64. Rounding in float32 depends on the order of the rows, and the path of the
# solver would too; products in float32 change it by little.
IN_DOUBLE = {"diagonal", "kronecker"}


class PreconditionerOption(NamedTuple):
    """A structure of the true Fisher information that can precondition, and its cost."""

    structure: str  # a key of `metrics.PRECONDITIONERS`
    name: str  # for `verbose`
    cost: float  # of computing and factorising it, in products


DIAGONAL = PreconditionerOption("diagonal", "the diagonal", 1.0)


@dataclass
class PreconditionerPolicy:
    """Chooses the preconditioner: the cheapest until another pays.

    Whether data need a dear one shows in the rate of convergence only. So the cheap one is used until the observed
    convergence rate predicts more products, to the end of the solve, than the next preconditioner costs to build.
    """

    options: list[PreconditionerOption] = field(default_factory=list)  # the dearer ones, in the order of their cost
    current: PreconditionerOption = DIAGONAL
    products_used: int = 0  # since the current one was computed
    last_products: int = 0  # of the last solve with it

    def __post_init__(self) -> None:
        """Begin with the best of those that cost little."""
        while self.options and self.options[0].cost <= CHEAP:
            self.upgrade()

    @property
    def order_independent(self) -> bool:
        """Whether solves take the same path for any order of the rows."""
        return self.current.structure in IN_DOUBLE

    def is_stale(self, loss: float, computed_at: float) -> bool:
        """Say whether a preconditioner that was computed at another loss is to be computed anew at this one."""
        # a new matrix costs less than the next solve, which is not likely to be shorter than the last one
        pays = self.current.structure == "true" and self.last_products > self.current.cost and loss < computed_at
        return loss < STALE * computed_at or pays

    def upgrade_pays(self, products: int, first: float, remaining: float, goal: float) -> bool:
        """Say whether the next option costs less than it saves in this solve.

        `remaining` has fallen from `first` in so many `products`; the solve ends at `goal`.
        """
        if not self.options or products < MIN_OBSERVED or remaining <= goal:
            return False
        cost = self.options[0].cost
        if self.products_used + products < MIN_SPENT * cost:
            return False
        rate = math.log(first / remaining) / products if remaining < first else 0.0
        expected = math.log(remaining / goal) / rate if rate > 0.0 else math.inf
        return expected > MIN_SAVING * cost

    def upgrade(self) -> None:
        """Choose the next option."""
        self.current = self.options.pop(0)

    def restart_counts(self) -> None:
        """Count products from here: the current preconditioner has been computed."""
        self.products_used = self.last_products = 0


@dataclass
class FactorCache:
    """The information of the preconditioner in use, and its factor for the shift asked for last."""

    information: PooledInformation | None = None
    loss: float = math.inf  # at the point where it was computed
    _factor: tuple[Array, FactorisedPrecision] | None = None  # with its shift

    def install(self, information: PooledInformation, loss: float) -> None:
        """Hold `information`, computed where the loss was `loss`."""
        self.information, self.loss, self._factor = information, loss, None

    def release(self) -> None:
        """Free the memory of both, for the next ones."""
        self.information, self._factor = None, None

    def precision(self, information: PooledInformation, shift: Array) -> FactorisedPrecision:
        """Return the factor of the information that is held, with a shift."""
        if self._factor is None or not np.array_equal(self._factor[0], shift):
            # its memory is free before the next one is made
            self._factor = None
            self._factor = shift, preconditioner_of(information, shift)
        return self._factor[1]
