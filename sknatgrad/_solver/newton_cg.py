"""Solves by exact Fisher products, preconditioned by a metric that is paid for once it is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.information import preconditioner_of
from sknatgrad._solver.conjugate_gradients import Basis, Remembering, conjugate_gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.protocols import Information, Precision
    from sknatgrad._solver.conjugate_gradients import Solution
    from sknatgrad._solver.stopping import FinalTolerance
    from sknatgrad._typing import Array

# after how many products the rate of convergence is believed
LOOK = 3
# products of a solve that has more to tell the next one than its point
TELLING = 10
# an offer of at most this price is taken at once
CHEAP = 2.0
# an offer is not thought of before this share of its price has been spent
TRIAL = 0.25
# how much an offer has to save, in its own price
WORTH = 1.0
# Structures that are not computed in single precision. Its rounding is another one in another order of the rows: so is
# then the way that solves take, although products in single precision alone change it by little.
IN_DOUBLE = {"diagonal", "kronecker"}
# a preconditioner is computed anew once the loss has fallen to this share
AGED = 0.5
# largest error of a step, as a share of its own gain
LOOSEST = 0.1
# the same, as a share of what Newton's method can be expected to leave
BALANCE = 0.1
# a step to this error, as a share of its gain, or less, is checked by a product in double precision
CHECKED = 1e-4
# how far the error may then be above what single precision made of it
HONEST = 10.0


class Offer(NamedTuple):
    """A dearer preconditioner, and what it costs."""

    structure: str  # a key of `_strategy.PRECONDITIONERS`
    name: str  # in words
    price: float  # in products


@dataclass
class Preconditioner:
    """The metric that conjugate gradients are given, and the dearer ones on offer.

    Whether data need a dear one shows in the rate of convergence alone. So the cheap one is used until its rate lets
    expect more products, until the end of the fit, than the next one costs.
    """

    structure: str = "diagonal"
    name: str = "the diagonal"
    offers: list[Offer] = field(default_factory=list)
    information: Information | None = None
    loss: float = math.inf  # at the point where it was computed
    price: float = 1.0  # of computing it anew, in products
    spent: int = 0  # products since it was computed
    latest: int = 0  # products of the last solve
    gained: float = math.inf  # by it
    single: bool = True  # whether single precision has been good enough so far
    _factorised: tuple[Array, Precision] | None = None
    rows: int = 32  # directions of a solve to keep
    _bases: list[Basis] = field(default_factory=list)  # the one in use, the one of the last telling solve
    _remembered: float = 0.0  # the loss where that was; 0: there is none

    def __post_init__(self) -> None:
        """Begin with the best that costs next to nothing."""
        while self.offers and self.offers[0].price <= CHEAP:
            self.buy()

    @property
    def repeatable(self) -> bool:
        """Whether solves take the same way for any order of the rows."""
        return self.structure in IN_DOUBLE

    def outdated(self, loss: float) -> bool:
        """Say whether it was computed too far away, or never."""
        # the next solve is not likely to be shorter than the last one
        worn = self.structure == "true" and self.latest > self.price and loss < self.loss
        return self.information is None or loss < AGED * self.loss or worn

    def too_slow(self, count: int, first: float, size: float, goal: float) -> bool:
        """Say whether the rate so far, from `first` to `size` in `count` products, makes an offer worth its price.

        That is, whether more products than that would be needed to reach `goal`.
        """
        if not self.offers or count < LOOK or self.spent + count < TRIAL * self.offers[0].price or size <= goal:
            return False
        rate = math.log(first / size) / count if size < first else 0.0
        expected = math.log(size / goal) / rate if rate > 0.0 else math.inf
        return expected > WORTH * self.offers[0].price

    def take(self, information: Information, loss: float) -> None:
        """Use `information`, computed where the loss was `loss`."""
        self.information, self.loss, self._factorised, self.spent, self.latest = information, loss, None, 0, 0

    def drop(self) -> None:
        """Forget the information: the memory is needed for the next one."""
        self.information, self._factorised = None, None

    def buy(self) -> None:
        """Choose the next offer; its information is to be computed."""
        self.structure, self.name, self.price = self.offers.pop(0)
        self.drop()

    def basis(self, size: int) -> Basis:
        """Return memory for the directions of a solve for so many numbers."""
        if not self._bases:
            self._bases = [Basis(self.rows, size), Basis(self.rows, size)]
        return self._bases[0]

    def remember(self, products: int, loss: float) -> None:
        """Keep the directions of the solve that has ended, if it took so many products that they tell anything."""
        if products >= TELLING:
            self._bases.reverse()
            self._remembered = loss

    def remembering(self, metric: Precision, loss: float) -> Precision:
        """Return the metric with what is remembered.

        The matrix changes with the loss: by the same factor, where the classes are nearly separated.
        """
        return (
            Remembering(metric, self._bases[1], loss / self._remembered)
            if min(loss, self._remembered) > 0.0
            else metric
        )

    def precision(self, shift: Array) -> Precision:
        """Return the factorised metric with the shift, from the last call if that was the same."""
        if self._factorised is None or not np.array_equal(self._factorised[0], shift):
            # its memory is needed for the next one
            self._factorised = None
            self._factorised = shift, preconditioner_of(self.information, shift)  # type: ignore[arg-type]
        return self._factorised[1]


@dataclass(frozen=True)
class IterativeInformation:
    """Fisher information that is only ever multiplied with."""

    product: Callable[[Array], Array]  # F v, by a pass over the data
    rounded: Callable[[Array], Array] | None  # the same in single precision, if that is faster
    build: Callable[[str], Information]  # F at the same point in a structure, by a pass over the data
    bought: Preconditioner
    loss: float
    final_tolerance: FinalTolerance

    def metric(self) -> Information:
        """Return the preconditioner's information, computed anew if the one there is comes from too far away."""
        known = self.bought
        if known.outdated(self.loss):
            known.drop()
            known.take(self.build(known.structure), self.loss)
        return known.information  # type: ignore[return-value]

    def diagonal(self) -> Array:
        """Return the diagonal of the preconditioner, ``(q, d)``."""
        return self.metric().diagonal()

    def matvec(self, move: Array) -> Array:
        """Return F v, ``(q, d)``, by a pass over the data."""
        return self.product(move)

    def precision(self, shift: Array) -> IterativePrecision:
        """Return a solver for F + I ⊗ diag(shift)."""
        return IterativePrecision(self, shift)

    def preconditioner(self, shift: Array) -> Precision:
        """Return the factorised preconditioner, with the shift."""
        self.metric()
        return self.bought.precision(shift)


def _shifted(image: Array, shift: Array, move: Array) -> Array:
    image += shift * move
    return image


@dataclass(frozen=True)
class IterativePrecision:
    """Solves by conjugate gradients."""

    information: IterativeInformation
    shift: Array  # (d,)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``, as exactly as the distance to the optimum makes worth while."""
        return self.descend(gradient).move

    def descend(self, gradient: Array, start: Solution | None = None, *, last: bool = False) -> Solution:
        """Return M⁻¹ g and what is left over.

        Newton's method squares the relative gap, so a linear error of that size is small enough.
        """
        known, loss, before = self.information.bought, self.information.loss, self.information.bought.gained
        spent = 0

        def goal(shrinks: float = 0.0) -> float:
            order_dependent, order_independent = self.information.final_tolerance
            # the slower it goes, the more there may be along directions that it has not come to yet
            return loss * (order_independent if known.repeatable else order_dependent * (1.0 - shrinks))

        def enough(solution: Solution) -> bool:
            gained, left = solution.gained, solution.left
            if left <= goal(solution.shrinks):
                return True
            # what Newton's method itself will leave: as a share of the gain, the gain's share of the loss, or more
            # where the last step has shown more
            small = left * loss <= gained**2 or left * before**2 <= BALANCE * gained**3
            # what the model promises beyond the loss itself, which cannot fall below 0, is no reason to go on
            return not last and ((small and left <= LOOSEST * gained) or gained > loss)

        while True:
            rounded = self.information.rounded if known.single else None
            solution = self._solve(rounded or self.information.product, gradient, start, enough, goal())
            known.spent, spent = known.spent + solution.products - spent, solution.products
            if solution.interrupted:
                known.buy()
            elif rounded is None or (solution.solved and not last and solution.left > CHECKED * solution.gained):
                break
            else:
                claimed, solution = solution, self._checked(gradient, solution)
                if solution.solved and solution.left <= HONEST * claimed.left:
                    break
                known.single = False
            start = solution
        known.latest, known.gained = solution.products, solution.gained
        return solution

    def _solve(
        self,
        product: Callable[[Array], Array],
        gradient: Array,
        start: Solution | None,
        enough: Callable[[Solution], bool],
        goal: float,
    ) -> Solution:
        known, loss = self.information.bought, self.information.loss
        solution = conjugate_gradients(
            lambda move: _shifted(product(move), self.shift, move),
            gradient,
            known.remembering(self.information.preconditioner(self.shift), loss),
            enough=enough,
            basis=known.basis(gradient.size),
            start=start,
            too_slow=lambda count, first, left: known.too_slow(count, first, left, goal),
        )
        known.remember(solution.products - (start.products if start else 0), loss)
        return solution

    def _checked(self, gradient: Array, solution: Solution) -> Solution:
        """Return the same solution with its true residual."""
        image = self.information.product(solution.move) + self.shift * solution.move
        residual = gradient - image
        metric = self.information.preconditioner(self.shift)
        before, after = (float(np.vdot(rest, metric.solve(rest))) for rest in (solution.residual, residual))
        gained = float(np.vdot(gradient, solution.move)) - 0.5 * float(np.vdot(solution.move, image))
        left = solution.left * after / before if before > 0 else after
        return solution._replace(residual=residual, gained=gained, left=left, products=solution.products + 1)
