"""Everything that inference sums over rows, at the fitted coefficients."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._array import pick_rows, take_rows
from sknatgrad._categorical import EmpiricalExpectation, TrueExpectation, predict
from sknatgrad._design import Design
from sknatgrad._information import DenseInformation
from sknatgrad._measure import MeasureKernel
from sknatgrad._sources import MemorySource
from sknatgrad._sources.sampling import class_totals
from sknatgrad._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._typing import Array, Codes, Kernel, Matrix, Result, RowBlock
    from sknatgrad.inference._contrasts import Contrasts

# how much of the scores of single rows, (m, (K - 1) d), is held at a time
SCORE_BYTES = 2**23


class Rows(NamedTuple):
    """The data of the fit."""

    X: Matrix  # (n, p)
    codes: Codes  # (n,)
    weight: Array  # (n,)

    def same_outcome(self, other: Rows) -> bool:
        """Say whether the labels and the weights are the same."""
        return np.array_equal(self.codes, other.codes) and np.array_equal(self.weight, other.weight)

    def design(self, chosen: Codes, n_columns: int) -> Design:
        """Return the design of some of the rows, in float64."""
        return Design.of(take_rows(pick_rows(self.X, chosen), 0, len(chosen)), n_columns)


@dataclass(frozen=True)
class GramKernel:
    """Σ s x xᵀ."""

    n_columns: int

    def __call__(self, block: RowBlock) -> Array:
        """Return the sum over one block, ``(d, d)``."""
        return Design.of_block(block, self.n_columns).gram(block.weight)

    def merge(self, left: Array, right: Array) -> Array:
        """Pool two runs of rows."""
        return left + right


class Sums(NamedTuple):
    """Loss, gradient and true Fisher information at θ."""

    loss: float
    gradient: Array  # ((K - 1) d,), of the loss alone
    fisher: Array  # ((K - 1) d, (K - 1) d)
    worst: float  # the largest loss of a row with weight


@dataclass(frozen=True)
class Totals:
    """Sums over the rows at θ, in the K − 1 contrasts."""

    rows: Rows
    theta: Array  # (q, d)
    contrasts: Contrasts

    @property
    def n_params(self) -> int:
        """Number of coefficients, (K - 1) d."""
        return (self.contrasts.n_classes - 1) * int(self.theta.shape[1])

    @contextmanager
    def opened(self) -> Iterator[MemorySource]:
        """Provide the rows as a source, with threads."""
        with Workers() as workers:
            yield MemorySource(*self.rows, self.theta.shape[0], workers)

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply a kernel to all rows."""
        with self.opened() as source:
            return source.total(kernel)

    def plain(self) -> Sums:
        """Return loss, gradient and true Fisher information."""
        sums = self.total(MeasureKernel(self.theta, TrueExpectation(), DenseInformation))
        gradient = self.contrasts.scores(sums.gradient.T).T.ravel()
        return Sums(sums.loss, gradient, self.contrasts.matrix(sums.information.blocks), sums.worst)

    def gram(self) -> Array:
        """Return Σ s x xᵀ, ``(d, d)``."""
        gram: Array = self.total(GramKernel(self.theta.shape[1]))
        return gram

    def squared_scores(self, weight: Array) -> Array:
        """Return Σ w_i u_i u_iᵀ, u_i the score of a row at its label: the empirical Fisher information, not centred."""
        weighted = replace(self, rows=self.rows._replace(weight=weight))
        sums = weighted.total(MeasureKernel(self.theta, EmpiricalExpectation(), DenseInformation))
        return self.contrasts.matrix(sums.information.blocks)

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g u_g u_gᵀ, u_g the sum of the weighted scores of a group's rows."""
        return _squared_sums(groups, self._scores, self.n_params)

    def residual(self, rows: Codes) -> tuple[Design, Array]:
        """Return the design of some rows, and the weighted derivative of their losses by the logits, ``(m, q)``."""
        design = self.rows.design(rows, self.theta.shape[1])
        residual = predict(design.logits(self.theta)).residual(self.rows.codes[rows])
        return design, residual * self.rows.weight[rows, None]

    def _scores(self, rows: Codes) -> Array:
        """Return the weighted scores of some rows, ``(m, (K - 1) d)``."""
        design, residual = self.residual(rows)
        return design.times(self.contrasts.scores(residual))

    def null_loss(self, *, intercept: bool) -> float:
        """Return the loss of the model that knows no features."""
        totals = class_totals(self.rows.codes, self.rows.weight)
        if not intercept:
            return float(totals.sum() * np.log(self.contrasts.n_classes))
        seen = totals[totals > 0]
        return float(-(seen * np.log(seen / seen.sum())).sum())


@dataclass(frozen=True)
class ScoresAlong:
    """Sums of the scores of rows along some vectors of θ, which need no room for a matrix of all coefficients."""

    totals: Totals
    along: Array  # (j, q, d)

    @property
    def rows(self) -> Rows:
        """The data of the fit."""
        return self.totals.rows

    def squared_scores(self, weight: Array) -> Array:
        """Return Σ w_i a_i a_iᵀ, ``(j, j)``, a_i the score of a row along each of the vectors."""
        weighted = replace(self.totals, rows=self.rows._replace(weight=np.sqrt(weight)))
        return _squared_sums(np.arange(len(weight)), ScoresAlong(weighted, self.along).scores, len(self.along))

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g a_g a_gᵀ, ``(j, j)``, a_g the sum of the weighted scores of a group's rows."""
        return _squared_sums(groups, self.scores, len(self.along))

    def scores(self, rows: Codes) -> Array:
        """Return the weighted scores of some rows, ``(m, j)``."""
        design, residual = self.totals.residual(rows)
        n_along, n_logits, n_columns = self.along.shape
        logits = design.logits(self.along.reshape(-1, n_columns)).reshape(len(rows), n_along, n_logits)
        return np.asarray(np.einsum("mjq,mq->mj", logits, residual))


def _squared_sums(groups: Codes, scores: Callable[[Codes], Array], n_scores: int) -> Array:
    """Return Σ_g u_g u_gᵀ, u_g the sum of the scores, ``(n_scores,)``, of a group's rows."""
    order = np.argsort(groups, kind="stable")
    size = max(SCORE_BYTES // (8 * n_scores), 1)
    total = np.zeros((n_scores, n_scores))
    open_group, carried = -1, np.zeros(n_scores)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        of_rows = groups[rows]
        firsts = np.flatnonzero(np.append(True, of_rows[1:] != of_rows[:-1]))
        sums = np.add.reduceat(scores(rows), firsts, axis=0)
        if of_rows[0] == open_group:
            sums[0] += carried
        else:
            total += np.outer(carried, carried)
        # the last group may go on in the next run of rows
        open_group, carried = int(of_rows[-1]), sums[-1]
        total += sums[:-1].T @ sums[:-1]
    total += np.outer(carried, carried)
    return total
