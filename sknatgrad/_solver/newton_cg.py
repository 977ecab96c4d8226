"""Newton-CG: solves with a Fisher information that is known by its products, as exactly as a step needs.

`MatrixFreePrecision` solves at one point. It runs conjugate gradients until `InexactNewtonRule` is met. If the status
is `too_slow`, it goes on with the next preconditioner; if it is `unverified`, with products in float64. `NewtonCG`
keeps what one solve learns for the next: the policy chooses the preconditioner, the cache holds its factor, and the
directions of the last long solve are recycled.

An error here is ‖x − A⁻¹b‖² in the norm of A, as `Solution.remaining` estimates it: twice the decrease that a solve has
not reached, in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._solver.conjugate_gradients import Status, conjugate_gradients
from sknatgrad._solver.preconditioning import FactorCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import FactorisedPrecision, PreconditioningInformation
    from sknatgrad._solver.conjugate_gradients import Solution
    from sknatgrad._solver.krylov import RecycledDirections
    from sknatgrad._solver.preconditioning import PreconditionerOption, PreconditionerPolicy
    from sknatgrad._solver.stopping import FinalTolerance

# Largest error of a step, as a share of its own decrease. Halved and doubled: digits takes 82 and 82 products for 78,
# at C = 100 133 and 247 for 204; 5,000 x 300 30 and 34 for 34.
MAX_ERROR = 0.1
# Largest error of a step, as a share of the decrease that Newton's method is expected to leave for the next one. Halved
# and doubled: digits takes 77 and 77 products for 78, at C = 100 225 and 195 for 204; no other change.
NEWTON_SHARE = 0.1
# Error of a step, as a share of its decrease, up to which a solve by float32 is verified by a product in float64.
# Halved and doubled: digits at C = 100 takes 215 and 204 products for 204; no other change.
VERIFY_BELOW = 1e-4
# Factor by which the verified error may exceed that estimated from products in float32. Halved and doubled: no change.
MAX_DISCREPANCY = 10.0


class FisherOperator(Protocol):
    """A Fisher information F at one point, by passes over the rows."""

    @property
    def uses_float32(self) -> bool:
        """Whether solves use products in float32, because they are faster."""
        ...

    def product(self, move: Array) -> Array:
        """Return F v, ``(q, d)``."""
        ...

    def float32_product(self, move: Array) -> Array:
        """Return F v, computed in float32."""
        ...

    def build(self, option: PreconditionerOption) -> PreconditioningInformation:
        """Return F in the structure of an option."""
        ...

    def is_low_rank(self, rank: int) -> bool:
        """Say whether so many pairs of a row and a class have almost all of the information."""
        ...


@record
class MatrixFreeInformation:
    """Fisher information at one point, which is known by its products and never stored."""

    operator: FisherOperator
    solver: NewtonCG  # changes with every solve
    loss: float  # J at the point
    tolerance: FinalTolerance

    def diagonal(self) -> Array:
        """Return the diagonal of the preconditioner, ``(q, d)``; computes the preconditioner if it is stale."""
        return self.solver.information(self.operator, self.loss).diagonal()

    def matvec(self, move: Array) -> Array:
        """Return F v, ``(q, d)``, by a pass over the rows."""
        return self.operator.product(move)

    def precision(self, shift: Array) -> MatrixFreePrecision:
        """Return a solver for F + I ⊗ diag(shift)."""
        return MatrixFreePrecision(self, shift)

    def preconditioner(self, shift: Array) -> FactorisedPrecision:
        """Return the factorised preconditioner of F + I ⊗ diag(shift)."""
        return self.solver.cache.precision(self.solver.information(self.operator, self.loss), shift)


@record
class MatrixFreePrecision:
    """Solves with F + I ⊗ diag(shift) by preconditioned conjugate gradients."""

    information: MatrixFreeInformation
    shift: Array  # (d,)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``, as exactly as the distance to the optimum makes worthwhile."""
        return self.solution(gradient).x

    def solution(self, gradient: Array, start: Solution | None = None, *, final: bool = False) -> Solution:
        """Return M⁻¹ g with its residual, from a first guess if there is one.

        For the `final` step of a descent, the error is negligible.
        """
        solver, loss = self.information.solver, self.information.loss
        rule = InexactNewtonRule(loss, self.information.tolerance, solver.policy, solver.previous_decrease, final)
        solution, before = self._attempt(gradient, start, rule), 0
        while solution.status in {Status.too_slow, Status.unverified}:
            if solution.status is Status.too_slow:
                solver.upgrade(self.information.operator)
                before = solution.products
            else:
                solver.float32_suffices = False
            # go on from what has been reached
            solution = self._attempt(gradient, solution, rule)
        solver.policy.previous_products = solution.products - before
        solver.previous_decrease = solution.decrease
        return solution

    def _attempt(self, gradient: Array, start: Solution | None, rule: InexactNewtonRule) -> Solution:
        """Run conjugate gradients once, with products in float32 until one was found not to be accurate enough."""
        operator, solver = self.information.operator, self.information.solver
        if not (operator.uses_float32 and solver.float32_suffices):
            return self._conjugate_gradients(operator.product, gradient, start, rule)
        solution = self._conjugate_gradients(operator.float32_product, gradient, start, rule)
        if solution.status is Status.too_slow or not rule.needs_verification(solution):
            return solution
        verified = self._verified(gradient, solution)
        # also unverified if float32 did not converge: float64 may
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
            converged=rule.is_met,
            basis=solver.directions.basis(gradient.size),
            start=start,
            too_slow=lambda products, first, remaining: solver.policy.upgrade_pays(products, first, remaining, goal),
        )
        products = solution.products - (start.products if start else 0)
        solver.directions.record(products, rule.loss)
        # the product in float64 that found `start` inaccurate counts too
        solver.policy.products_used += products + (start is not None and start.status is Status.unverified)
        return solution

    def _verified(self, gradient: Array, solution: Solution) -> Solution:
        """Return the same x with its true residual, by one product in float64, and the error scaled accordingly."""
        image = self.information.operator.product(solution.x) + self.shift * solution.x
        residual = gradient - image
        preconditioner = self.information.preconditioner(self.shift)
        before, after = (float(np.vdot(each, preconditioner.solve(each))) for each in (solution.residual, residual))
        return solution._replace(
            residual=residual,
            decrease=float(np.vdot(gradient, solution.x)) - 0.5 * float(np.vdot(solution.x, image)),
            remaining=solution.remaining * after / before if before > 0 else after,
            products=solution.products + 1,
        )


class InexactNewtonRule(NamedTuple):
    """When a solve is accurate enough: a forcing sequence, Nocedal and Wright (2006), section 7.1."""

    loss: float  # J at the point of the solve
    tolerance: FinalTolerance
    policy: PreconditionerPolicy
    previous_decrease: float  # of the quadratic model, by the solve before
    final: bool  # whether the solve is for the final step of the descent

    def goal(self, contraction: float = 0.0) -> float:
        """Return the error that is negligible even for the final step, in nats."""
        if self.policy.order_independent:
            return self.loss * self.tolerance.order_independent
        # the slower it converges, the more error may be along directions not reached yet, which the estimate misses
        return self.loss * (self.tolerance.order_dependent * (1.0 - contraction))

    def is_met(self, solution: Solution) -> bool:
        """Say whether a solution is accurate enough.

        Newton's method squares the gap times a constant. After a step that decreases the loss J by D, an exact solve is
        expected to leave D²/J with a constant of 1; with the constant that the previous decrease D₀ shows, D/D₀², it
        leaves D³/D₀². An error of the former, or of a share of the latter, is small enough if it is also small relative
        to D. So is one of any size if D exceeds J: the loss cannot fall below 0, so the model does not hold that far.
        """
        decrease, remaining, loss = solution.decrease, solution.remaining, self.loss
        if remaining <= self.goal(solution.contraction):
            return True
        if self.final:
            return False
        negligible = (
            remaining * loss <= decrease**2 or remaining * self.previous_decrease**2 <= NEWTON_SHARE * decrease**3
        )
        return (negligible and remaining <= MAX_ERROR * decrease) or decrease > loss

    def needs_verification(self, solution: Solution) -> bool:
        """Say whether a solution by products in float32 is to be verified: all but rough ones for ordinary steps."""
        rough = solution.status is Status.converged and solution.remaining > VERIFY_BELOW * solution.decrease
        return self.final or not rough


@dataclass
class NewtonCG:
    """What one solve of a descent leaves for the next."""

    policy: PreconditionerPolicy
    directions: RecycledDirections
    cache: FactorCache = field(default_factory=FactorCache)
    float32_suffices: bool = True  # whether every verified solution by products in float32 was accurate enough
    previous_decrease: float = math.inf  # `Solution.decrease` of the previous solve, whichever it was, nats

    def information(self, operator: FisherOperator, loss: float) -> PreconditioningInformation:
        """Return the preconditioner before it is factorised; computed at this point if the cached one is stale."""
        cached = self.cache.information
        if cached is not None and not self.policy.is_stale(loss, self.cache.loss):
            return cached
        # both references to the old one are dropped, as its memory is needed for the new one
        cached = None
        self.cache.release()
        computed = operator.build(self.policy.current)
        self.cache.install(computed, loss)
        self.policy.restart_counts()
        return computed

    def upgrade(self, operator: FisherOperator) -> None:
        """Go on with the next preconditioner, and free the memory of the old one for it."""
        rank = self.policy.options[0].rank
        if rank and not operator.is_low_rank(rank):
            self.policy.postpone()
            return
        self.policy.upgrade()
        self.cache.release()


def _shifted(image: Array, shift: Array, move: Array) -> Array:
    """Return (F + I ⊗ diag(shift)) v from F v, in the same memory."""
    image += shift * move
    return image
