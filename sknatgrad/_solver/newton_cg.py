"""Newton-CG: solves with the true Fisher information, known by its products, as exactly as a step needs.

Three parts keep what one solve learns for the next: the policy chooses the preconditioner, the cache holds its factor,
and the directions of the last long solve are recycled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sknatgrad._solver.conjugate_gradients import Status, conjugate_gradients
from sknatgrad._solver.preconditioning import FactorCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation
    from sknatgrad._solver.conjugate_gradients import Solution
    from sknatgrad._solver.krylov import RecycledDirections
    from sknatgrad._solver.preconditioning import PreconditionerPolicy
    from sknatgrad._solver.stopping import FinalTolerance
    from sknatgrad._typing import Array

# Largest error of a step, as a share of its own decrease. Halved and doubled: digits takes 82 and 82 products for 78,
# at C = 100 133 and 247 for 204; 5,000 x 300 30 and 34 for 34.
MAX_ERROR = 0.1
# Largest error of a step, as a share of what Newton's method is expected to leave after it. Halved and doubled: digits
# takes 77 and 77 products for 78, at C = 100 225 and 195 for 204; no other change.
NEWTON_SHARE = 0.1
# Error of a step, as a share of its decrease, up to which products in float32 are verified by one in float64. Halved
# and doubled: digits at C = 100 takes 215 and 204 products for 204; no other change.
VERIFIED = 1e-4
# Factor by which the verified error may exceed that which products in float32 showed. Halved and doubled: no change.
MAX_DISCREPANCY = 10.0


class FisherOperator(Protocol):
    """The true Fisher information at one point, by passes over the rows."""

    @property
    def has_single(self) -> bool:
        """Whether products in float32 are faster than those in float64."""
        ...

    def product(self, move: Array) -> Array:
        """Return F v, ``(q, d)``."""
        ...

    def single_product(self, move: Array) -> Array:
        """Return F v, computed in float32."""
        ...

    def build(self, structure: str) -> PooledInformation:
        """Return F in a structure that preconditions."""
        ...


@dataclass
class NewtonCG:
    """What the solves of one descent hand on to the next."""

    policy: PreconditionerPolicy
    directions: RecycledDirections
    cache: FactorCache = field(default_factory=FactorCache)
    single_suffices: bool = True  # whether every product in float32 that was verified was accurate enough
    last_decrease: float = math.inf  # of the quadratic model, by the last solve

    def information(self, operator: FisherOperator, loss: float) -> PooledInformation:
        """Return the information of the preconditioner, computed anew if the cached one comes from too far away."""
        held = self.cache.information
        if held is not None and not self.policy.is_stale(loss, self.cache.loss):
            return held
        # the memory of the old one is needed for the new one
        held = None
        self.cache.release()
        computed = operator.build(self.policy.current.structure)
        self.cache.install(computed, loss)
        self.policy.restart_counts()
        return computed

    def upgrade(self) -> None:
        """Go on with the next preconditioner; the old one's memory is free for it."""
        self.policy.upgrade()
        self.cache.release()


@dataclass(frozen=True)
class MatrixFreeInformation:
    """True Fisher information at one point that is multiplied with, and never stored."""

    operator: FisherOperator
    solver: NewtonCG
    loss: float  # at the point
    tolerance: FinalTolerance

    def diagonal(self) -> Array:
        """Return the diagonal of the preconditioner, ``(q, d)``."""
        return self.solver.information(self.operator, self.loss).diagonal()

    def matvec(self, move: Array) -> Array:
        """Return F v, ``(q, d)``, by a pass over the rows."""
        return self.operator.product(move)

    def precision(self, shift: Array) -> MatrixFreePrecision:
        """Return a solver for F + I ⊗ diag(shift)."""
        return MatrixFreePrecision(self, shift)

    def preconditioner(self, shift: Array) -> FactorisedPrecision:
        """Return the factorised preconditioner, with the shift."""
        return self.solver.cache.precision(self.solver.information(self.operator, self.loss), shift)


class InexactNewtonRule(NamedTuple):
    """When a solve is accurate enough: the forcing sequence of Nocedal and Wright (2006), section 7.1."""

    loss: float  # at the point of the solve
    tolerance: FinalTolerance
    policy: PreconditionerPolicy
    last_decrease: float  # of the quadratic model, by the solve before
    final: bool  # whether the step is the last one of the descent

    def goal(self, contraction: float = 0.0) -> float:
        """Return the error that is negligible, in nats."""
        if self.policy.order_independent:
            return self.loss * self.tolerance.order_independent
        # the slower it converges, the more may remain along directions that it has not reached yet
        return self.loss * (self.tolerance.order_dependent * (1.0 - contraction))

    def holds(self, solution: Solution) -> bool:
        """Say whether a solution is accurate enough.

        Newton's method squares the gap, relative to the loss, times a factor that the last step has shown: a linear
        error of that size is small enough. A decrease of more than the loss, which cannot fall below 0, is no reason to
        go on.
        """
        decrease, remaining, loss = solution.decrease, solution.remaining, self.loss
        if remaining <= self.goal(solution.contraction):
            return True
        if self.final:
            return False
        negligible = remaining * loss <= decrease**2 or remaining * self.last_decrease**2 <= NEWTON_SHARE * decrease**3
        return (negligible and remaining <= MAX_ERROR * decrease) or decrease > loss

    def needs_verification(self, solution: Solution) -> bool:
        """Say whether a solution by products in float32 is to be verified, as all but rough ones are."""
        rough = solution.status is Status.converged and solution.remaining > VERIFIED * solution.decrease
        return self.final or not rough


@dataclass(frozen=True)
class MatrixFreePrecision:
    """Solves with F + I ⊗ diag(shift) by preconditioned conjugate gradients."""

    information: MatrixFreeInformation
    shift: Array  # (d,)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``, as exactly as the distance to the optimum makes worthwhile."""
        return self.solution(gradient).move

    def solution(self, gradient: Array, start: Solution | None = None, *, final: bool = False) -> Solution:
        """Return M⁻¹ g with its residual, from a first guess if there is one; the `final` step is solved exactly."""
        solver, loss = self.information.solver, self.information.loss
        rule = InexactNewtonRule(loss, self.information.tolerance, solver.policy, solver.last_decrease, final)
        solution = self._attempt(gradient, start, rule)
        while solution.status in {Status.too_slow, Status.unverified}:
            if solution.status is Status.too_slow:
                solver.upgrade()
            else:
                solver.single_suffices = False
            solution = self._attempt(gradient, solution, rule)
        solver.policy.last_products, solver.last_decrease = solution.products, solution.decrease
        return solution

    def _attempt(self, gradient: Array, start: Solution | None, rule: InexactNewtonRule) -> Solution:
        """Run conjugate gradients once, with products in float32 as long as they have been accurate enough."""
        operator, solver = self.information.operator, self.information.solver
        if not (operator.has_single and solver.single_suffices):
            return self._conjugate_gradients(operator.product, gradient, start, rule)
        solution = self._conjugate_gradients(operator.single_product, gradient, start, rule)
        if solution.status is Status.too_slow or not rule.needs_verification(solution):
            return solution
        verified = self._verified(gradient, solution)
        if solution.status is Status.converged and verified.remaining <= MAX_DISCREPANCY * solution.remaining:
            return verified
        return verified._replace(status=Status.unverified)

    def _conjugate_gradients(
        self, product: Callable[[Array], Array], gradient: Array, start: Solution | None, rule: InexactNewtonRule
    ) -> Solution:
        solver, goal = self.information.solver, rule.goal()
        preconditioner = self.information.preconditioner(self.shift)
        solution = conjugate_gradients(
            lambda move: _shifted(product(move), self.shift, move),
            gradient,
            solver.directions.applied_to(preconditioner, rule.loss),
            converged=rule.holds,
            basis=solver.directions.basis(gradient.size),
            start=start,
            too_slow=lambda products, first, remaining: solver.policy.upgrade_pays(products, first, remaining, goal),
        )
        products = solution.products - (start.products if start else 0)
        solver.directions.record(products, rule.loss)
        # the product that refuted the solution which this one started from counts too
        solver.policy.products_used += products + (start is not None and start.status is Status.unverified)
        return solution

    def _verified(self, gradient: Array, solution: Solution) -> Solution:
        """Return the same solution with its true residual, by one product in float64."""
        image = self.information.operator.product(solution.move) + self.shift * solution.move
        residual = gradient - image
        preconditioner = self.information.preconditioner(self.shift)
        before, after = (float(np.vdot(each, preconditioner.solve(each))) for each in (solution.residual, residual))
        return solution._replace(
            residual=residual,
            decrease=float(np.vdot(gradient, solution.move)) - 0.5 * float(np.vdot(solution.move, image)),
            remaining=solution.remaining * after / before if before > 0 else after,
            products=solution.products + 1,
        )


def _shifted(image: Array, shift: Array, move: Array) -> Array:
    image += shift * move
    return image
