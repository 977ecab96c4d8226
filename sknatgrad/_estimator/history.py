"""Records of a descent: its curves, printed lines, and the warnings at its end."""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING

from sknatgrad._solver.records import Outcome

if TYPE_CHECKING:
    from sknatgrad._solver.plan import Plan
    from sknatgrad._solver.problem import DescentOptions
    from sknatgrad._solver.records import Step

# the value of `verbose` that also prints the choice of method and rejected steps
PRINT_CHOICES = 2
# causes and remedies where the Newton decrement is unknown
NOT_VERIFIED = (
    "some columns are collinear to within rounding, or the classes nearly separated: drop columns that nearly repeat "
    "others, or set a smaller C; without an intercept, or in a sparse matrix, also subtract the mean of columns far "
    "from zero"
)


class History:
    """The curves of a fit, one point per accepted step; prints steps as `verbose` demands."""

    def __init__(self, verbose: int, plan: Plan, started_at: float) -> None:
        self.verbose, self.started_at = verbose, started_at
        self.loss_curve: list[float] = []
        self.kl_curve: list[float] = []
        self.time_curve: list[float] = []  # seconds since the fit began
        if verbose >= PRINT_CHOICES:
            self._print(plan.describe(), PRINT_CHOICES)

    @property
    def n_iter(self) -> int:
        """Number of accepted steps."""
        return len(self.kl_curve)

    def record(self, step: Step) -> None:
        """Record a step of the descent, accepted or rejected."""
        if step.accepted:
            self.loss_curve.append(step.loss)
            self.time_curve.append(perf_counter() - self.started_at)
            if len(self.loss_curve) > 1:
                self.kl_curve.append(step.kl)
        if self.verbose > 0:
            self._print_step(step)

    def _print_step(self, step: Step) -> None:
        if not step.accepted:
            self._print(f"iteration {self.n_iter + 1:4d}: rejected at damping {step.damping:.1e}", PRINT_CHOICES)
            return
        if self.n_iter == 0:
            self._print(f"start         : loss {step.loss:.9g} nats", 1)
            return
        how = f", {step.solve_summary}" if step.solve_summary and self.verbose >= PRINT_CHOICES else ""
        self._print(
            f"iteration {self.n_iter:4d}: loss {step.loss:.9g} nats, moved {step.kl:.1e} nats, "
            f"damping {step.damping:.1e}, gain {step.gain:.3f}{how}",
            1,
        )

    def truncate(self, n_iter: int) -> None:
        """Delete the points after an iteration."""
        del self.loss_curve[n_iter + 1 :], self.time_curve[n_iter + 1 :], self.kl_curve[n_iter:]

    def _print(self, line: str, level: int) -> None:
        if self.verbose >= level:
            print(f"[sknatgrad] {line}", flush=True)  # noqa: T201 - the one place that prints


def advice(step: Step, fisher: str, options: DescentOptions, history: History) -> str:
    """Say why a descent ended before the optimum, how far it is, and what to do."""
    known = math.isfinite(step.decrement)
    n_iter, start = history.n_iter, history.loss_curve[0]
    # far from the optimum the quadratic estimate can exceed the loss
    remaining = f"{min(step.decrement, step.loss):.1e}" if known else "unknown"
    standing = (
        f"after {n_iter} iterations of fisher={fisher!r} the loss is {step.loss:.6g} nats per unit of weight, "
        f"and the remaining decrease, estimated by the Newton decrement, is {remaining} (allowed: {options.tol:g} of "
        "the loss)"
    )
    reason = "" if step.accepted else ", and the next would overflow"
    remedies = "raise max_iter" if fisher == "true" else "raise max_iter or use fisher='true'"
    remedies += "" if options.adaptive else ", or learning_rate='auto'"
    stalled = "raise tol" if fisher == "true" else "use fisher='true', or raise tol"
    if not known:
        remedies = stalled = NOT_VERIFIED
    return {
        Outcome.exhausted: f"max_iter={options.max_iter} reached: {standing}; {remedies}.",
        Outcome.stalled: f"No step makes progress beyond rounding: {standing}; {stalled}.",
        Outcome.diverged: (
            f"learning_rate={options.learning_rate} overshoots: the loss went from {start:.6g} to {step.loss:.6g} nats "
            f"per unit of weight in {n_iter} iterations{reason}; lower it, set max_kl, or use learning_rate='auto'."
        ),
        Outcome.interrupted: (
            f"Interrupted: {standing}; the fit ends at this iterate because of on_interrupt='keep'; fit again with "
            "warm_start=True to continue from it."
        ),
        Outcome.unbounded: (
            f"The classes are separated in part, and the likelihood has no maximum: {standing}; set a finite C (the "
            "default is 1.0)."
        ),
        Outcome.separable: (
            "The classes are perfectly separable, with most of the probability of each training row on its own class: "
            "with C=inf the likelihood has no maximum, so the values of the coefficients are meaningless; the fit "
            f"ended after {n_iter} iterations at a loss of {step.loss:.1e} nats per unit of weight; set a finite C "
            "(the default is 1.0), or drop the columns that determine the classes."
        ),
    }[step.outcome]
