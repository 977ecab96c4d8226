"""The choice of the preconditioner of conjugate gradients, and the cache of the one in use.

Costs are in products F v: the time of a computation over that of a product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.information import (
    CentredDiagonalInformation,
    DiagonalInformation,
    LowRankInformation,
    preconditioner_of,
)

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask
    from sknatgrad._model.protocols import FactorisedPrecision, PreconditioningInformation

# Products from which the observed rate of convergence is used. At 1 and 6, 12 correlated classes take 52 and 21
# products for 58, 20,000 x 50 19 and 25 for 21, 5,000 x 300 33 and 36 for 34.
MIN_OBSERVED = 3
# Cost up to which a preconditioner is used from the start. Halved and doubled: digits takes 97 and
# 78 products for 78, at C = 100 239 and 204 for 204; 20,000 x 50 21 and 17 for 21.
CHEAP = 2.0
# Products, as a share of the cost of an option, that must have been used before it is considered. Halved and doubled:
# digits takes 71 and 81 products for 78, at C = 100 158 and 212 for 204; no other change.
MIN_SPENT = 0.25
# The same for one of low rank, which this solve alone must have used. With the cost halved and doubled raw MNIST takes
# 492 and 703 products for 619, with 4 factors and 1 for 1, each as long as 50 products.
MIN_SPENT_IN_SOLVE = 1.0
# Products still needed without an option, as a multiple of its cost, above which it pays. Halved and doubled: no
# change.
MIN_SAVING = 1.0
# A preconditioner is stale at a loss below this share of that at which it was computed. Halved and doubled:
# digits takes 67 and 84 products for 78, at C = 100 309 and 136 for 204; others one less or as many.
STALE = 0.5
# Precision of a prior, as a share of the largest, up to which it counts as none.
WEAK = 1e-3
# Keys of the preconditioners that are summed in float64. Rounding in float32 depends on the order of the rows, and the
# path of the solver would too; that of products in float32 changes it by little. Matrices of classes in float32 hide
# directions of nearly constant columns from the estimate of the error: 9 of 45 fits ended up to 9e-4 too high.
FLOAT64_KEYS = {"centred_diagonal", "kronecker", "blocks", "low_rank"}
# Keys of those that are as good as F where they were computed, and so are worth computing again. 50,000 x 64, 1,000
# classes, takes 26 s with `"blocks"` among them, 30 without; 10,000 x 32, 300 classes, 0.8 and 1.4.
FOLLOWING_KEYS = {"true", "blocks", "low_rank"}


class PreconditionerOption(NamedTuple):
    """A structure of the Fisher information that can precondition, and its cost."""

    key: str  # of the structure, a key of `metrics.PRECONDITIONERS`, or `"low_rank"`
    name: str  # for `verbose`
    cost: float  # of computing and factorising it, in products
    rank: int = 0  # pairs of a row and a class that are stored, if it is of low rank


CENTRED_DIAGONAL = PreconditionerOption("centred_diagonal", "single columns", 1.5)


@dataclass
class PreconditionerPolicy:
    """Chooses the preconditioner: the cheapest until another pays.

    Only the rate of convergence shows whether data need an expensive preconditioner. So a cheap one is used until the
    observed rate predicts more products, to the end of the solve, than the next one costs to compute.
    """

    options: list[PreconditionerOption] = field(default_factory=list)  # the more expensive ones, cheapest first
    centred: bool = False  # whether centres are subtracted from the rows
    current: PreconditionerOption = CENTRED_DIAGONAL
    products_used: int = 0  # since the current one was computed
    previous_products: int = 0  # of the previous solve with it

    def __post_init__(self) -> None:
        """Begin with the most expensive of those that cost at most `CHEAP` products, and suit any data."""
        while self.options and not self.options[0].rank and self.options[0].cost <= CHEAP:
            self.upgrade()

    @property
    def order_independent(self) -> bool:
        """Whether solves take the same path for any order of the rows."""
        # centres are values of single rows, and the diagonal and the damping depend on them
        return self.current.key in FLOAT64_KEYS and not self.centred

    def is_stale(self, loss: float, computed_loss: float) -> bool:
        """Say whether the preconditioner, computed where the loss was `computed_loss`, is to be computed anew."""
        # F costs less than the next solve with the old one, if that takes as many products as the previous solve
        pays = (
            self.current.key in FOLLOWING_KEYS and self.previous_products > self.current.cost and loss < computed_loss
        )
        return loss < STALE * computed_loss or pays

    def upgrade_pays(self, products: int, first: float, remaining: float, goal: float) -> bool:
        """Say whether the next option costs less than the rest of this solve without it.

        In so many `products` the error has fallen from `first` to `remaining`; the solve ends at `goal`, all in nats.
        The error is taken to fall at the same rate until then.
        """
        if not self.options or products < MIN_OBSERVED or remaining <= goal:
            return False
        cost = self.options[0].cost
        if self.options[0].rank:
            # it is factorised anew where the damping changes, so it has to pay in a single solve
            spent = products >= MIN_SPENT_IN_SOLVE * cost
        else:
            spent = self.products_used + products >= MIN_SPENT * cost
        if not spent:
            return False
        rate = math.log(first / remaining) / products if remaining < first else 0.0
        expected = math.log(remaining / goal) / rate if rate > 0.0 else math.inf
        return expected > MIN_SAVING * cost

    def upgrade(self) -> None:
        """Choose the next option."""
        self.current = self.options.pop(0)

    def postpone(self) -> None:
        """Consider the next option again after twice as many products: it would not precondition well here."""
        self.options[0] = self.options[0]._replace(cost=2.0 * self.options[0].cost)

    def restart_counts(self) -> None:
        """Count products from here: the current preconditioner has been computed."""
        self.products_used = self.previous_products = 0


class PriorShare(NamedTuple):
    """What says how much of F + Λ is the prior."""

    rank: float  # the largest that F can have: logits of all rows
    penalised: Mask  # (d,), whether a column has a prior that is not much weaker than those of others
    proper: bool  # whether all columns but an intercept have a prior

    @classmethod
    def of(cls, rank: float, prior: Array) -> PriorShare:
        """Return that of a prior precision, ``(d,)``."""
        return cls(rank, prior > WEAK * prior.max(), proper=bool(np.count_nonzero(prior == 0.0) <= 1))


@dataclass
class FactorCache:
    """The preconditioner in use before it is factorised, and its factor for the most recent shift."""

    information: PreconditioningInformation | None = None
    loss: float = math.inf  # J at the point where it was computed
    prior: PriorShare | None = None
    _factor: tuple[Array, FactorisedPrecision] | None = None  # (shift, factor)

    def install(self, information: PreconditioningInformation, loss: float) -> None:
        """Hold `information`, computed where the loss was `loss`."""
        self.information, self.loss, self._factor = information, loss, None

    def release(self) -> None:
        """Free the memory of information and factor."""
        self.information, self._factor = None, None

    def precision(self, information: PreconditioningInformation, shift: Array) -> FactorisedPrecision:
        """Return the factor of the cached information with a shift."""
        if self._factor is None or not _is_usable(self._factor[0], information, shift):
            # the memory of the old factor is freed before the new one is computed
            self._factor = None
            self._factor = shift, self._factorised(information, shift)
        return self._factor[1]

    def _factorised(self, information: PreconditioningInformation, shift: Array) -> FactorisedPrecision:
        prior = self.prior
        if prior is None or not isinstance(information, CentredDiagonalInformation):
            return preconditioner_of(information, shift)
        if not prior.proper:
            # Where F is singular the optimum is not unique: the one that is found has the least norm in the metric of
            # the preconditioner, which is to be the diagonal of F, as in a direct solve.
            return DiagonalInformation(information.diagonal()).precision(shift)
        if np.count_nonzero(prior.penalised) < prior.penalised.size - 1:
            # what is known of the eigenvalues holds where one prior is that of all features
            return information.precision(shift)
        return information.preconditioner(shift, prior.rank, prior.penalised)


def _is_usable(factorised: Array, information: PreconditioningInformation, shift: Array) -> bool:
    """Say whether the factor of the information with the shift `factorised` is to be used with another shift."""
    if isinstance(information, LowRankInformation):
        return information.is_near(factorised, shift)
    return np.array_equal(factorised, shift)
