"""Reads the steps of a descent: histories, the printed line, the closing advice. The one place that prints."""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING

from sknatgrad._model.separation import separated_by_step
from sknatgrad._solver.records import Outcome

if TYPE_CHECKING:
    from sknatgrad._model.separation import SeparationStatistics
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.descent import DescentOptions, State
    from sknatgrad._solver.records import Step

CHOICES_TOO = 2


class History:
    """Collects the accepted steps; prints a line each at ``verbose=1``, rejected trials and choices too at 2."""

    def __init__(self, verbose: int, choice: str, begun: float) -> None:
        self.verbose, self.begun = verbose, begun
        self.loss_curve: list[float] = []
        self.kl_curve: list[float] = []
        self.time_curve: list[float] = []  # seconds since the fit began
        self._say(choice, CHOICES_TOO)

    @property
    def n_iter(self) -> int:
        """Number of accepted steps."""
        return len(self.kl_curve)

    def note(self, step: Step) -> None:
        """Take note of a turn of a descent."""
        if not step.accepted:
            self._say(f"iteration {self.n_iter + 1:4d}: rejected at damping {step.damping:.1e}", CHOICES_TOO)
            return
        begins = not self.loss_curve
        self.loss_curve.append(step.loss)
        self.time_curve.append(perf_counter() - self.begun)
        if begins:
            self._say(f"start         : loss {step.loss:.9g} nats", 1)
            return
        self.kl_curve.append(step.kl)
        how = f", {step.how}" if step.how and self.verbose >= CHOICES_TOO else ""
        self._say(
            f"iteration {self.n_iter:4d}: loss {step.loss:.9g} nats, moved {step.kl:.1e} nats, "
            f"damping {step.damping:.1e}, gain {step.gain:.3f}{how}",
            1,
        )

    def cut(self, n_iter: int) -> None:
        """Forget what came after an iteration."""
        del self.loss_curve[n_iter + 1 :], self.time_curve[n_iter + 1 :], self.kl_curve[n_iter:]

    def _say(self, line: str, level: int) -> None:
        if self.verbose >= level:
            print(f"[sknatgrad] {line}", flush=True)  # noqa: T201 - the one place that prints


def separation(source: RowSource, end: State) -> SeparationStatistics | None:
    """Return how far a further step moves rows where a fit has ended, if that says that some are separated by class."""
    step = end.to_optimum
    if step is None:
        return None
    return separated_by_step(source, end.point.theta - step, step, end.decrement * end.point.weight, end.point.loss)


def separated_in_part(reach: SeparationStatistics, names: list[str]) -> str:
    """Say that some rows are separated by class, and by which columns."""
    return (
        f"The classes are separated in part: {reach.n_rows:,} rows are moved by up to {reach.max_margin:.2g} nats by a "
        f"further step, although the loss has converged, mostly by {', '.join(names)}: at C=inf such coefficients grow "
        "for ever, and their sizes mean nothing; set a finite C (the default is 1.0), or drop the columns. "
        "sknatgrad.inference.infer looks for the direction."
    )


def advice(step: Step, fisher: str, options: DescentOptions, history: History) -> str:
    """Say in numbers why a descent ended without reaching the optimum, and what to do."""
    known = math.isfinite(step.decrement)
    n_iter, start = history.n_iter, history.loss_curve[0]
    # far from the optimum the quadratic estimate can be more than there is
    left = f"{min(step.decrement, step.loss):.1e}" if known else "unknown"
    standing = (
        f"after {n_iter} iterations of fisher={fisher!r} the loss is {step.loss:.6g} nats per unit of weight, "
        f"and what is still to be gained, as the natural decrement estimates it, {left} (allowed: {options.tol:g} of "
        "the loss)"
    )
    reason = "" if step.accepted else ", and the next would overflow"
    remedies = "raise max_iter" if fisher == "true" else "raise max_iter or use fisher='true'"
    remedies += "" if options.adaptive else ", or learning_rate='auto'"
    stalled = "raise tol" if fisher == "true" else "use fisher='true', or raise tol"
    if not known:
        remedies = stalled = (
            "some columns are collinear to within rounding: subtract the mean of any column whose mean is more than "
            "1e6 times its spread, and drop columns that nearly repeat others"
        )
    return {
        Outcome.exhausted: f"max_iter={options.max_iter} reached: {standing}; {remedies}.",
        Outcome.stalled: f"No step makes progress beyond rounding: {standing}; {stalled}.",
        Outcome.diverged: (
            f"learning_rate={options.learning_rate} overshoots: the loss went from {start:.6g} to {step.loss:.6g} nats "
            f"per unit of weight in {n_iter} iterations{reason}; lower it, set max_kl, or use learning_rate='auto'."
        ),
        Outcome.interrupted: (
            f"Interrupted: {standing}; that iterate is kept, as on_interrupt='keep' asks; fit again with "
            "warm_start=True to go on from there."
        ),
        Outcome.separable: (
            "The classes are perfectly separable, with most of the probability of each training row on its own class: "
            "at C=inf the likelihood has no maximum and the coefficients grow for ever; stopped after "
            f"{n_iter} iterations at a loss of {step.loss:.1e} nats per unit of weight, their sizes mean nothing; set "
            "a finite C (the default is 1.0), or drop the columns that give the classes away."
        ),
    }[step.outcome]
