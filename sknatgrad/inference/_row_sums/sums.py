"""Sums over the rows of a fit in the contrasts, at the fitted coefficients."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._model.categorical import predict
from sknatgrad._model.expectations import EmpiricalExpectation, TrueExpectation
from sknatgrad._model.information import DenseInformation
from sknatgrad._model.kernels import MeasureKernel
from sknatgrad._rows.threads import Workers
from sknatgrad.inference._row_sums.aliased import TriangularFactor
from sknatgrad.inference._row_sums.basis import BasisKernel
from sknatgrad.inference._row_sums.kernels import (
    GramKernel,
    ProjectedScoresKernel,
    TriangularFactorKernel,
    WeightPowerKernel,
    projected,
)
from sknatgrad.inference._row_sums.rows import InMemoryRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sknatgrad._definitions import Array, Codes, Mask, Result
    from sknatgrad._limits import Limits
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.design import Design
    from sknatgrad._rows.source import Kernel, RowSource
    from sknatgrad.inference._row_sums.aliased import LinearDependence
    from sknatgrad.inference._row_sums.basis import ColumnBasis
    from sknatgrad.inference._row_sums.rows import AnyRows, RowCounts


class ContrastSums(NamedTuple):
    """Loss, gradient and true Fisher information, in the contrasts."""

    loss: float
    gradient: Array  # ((K - 1) d,), of the loss without penalty
    fisher: Array  # ((K - 1) d, (K - 1) d)
    max_loss: float  # the largest loss of a row of positive weight

    def of(self, params: Mask) -> ContrastSums:
        """Return the sums of some of the coefficients."""
        return self._replace(gradient=self.gradient[params], fisher=self.fisher[np.ix_(params, params)])


@record
class RowSums:
    """Sums over the rows of a fit at θ, in the K − 1 contrasts, of the j columns that are not aliased.

    Without aliased columns, j = d.
    """

    rows: AnyRows
    theta: Array  # (q, d), 0 for aliased columns
    contrasts: Contrasts
    limits: Limits
    dependence: LinearDependence | None = None  # of the aliased columns, if any are set aside
    basis: ColumnBasis | None = None  # that θ refers to; None is the columns themselves

    @property
    def counts(self) -> RowCounts:
        """The number of rows, and the sums of their weights."""
        return self.rows.counts(self.contrasts.n_classes)

    @property
    def kept(self) -> Mask:
        """Whether each column is in the model, that is not aliased, ``(d,)``."""
        return np.ones(self.theta.shape[1], dtype=bool) if self.dependence is None else self.dependence.kept

    @property
    def kept_params(self) -> Mask:
        """The same of each coefficient, ``((K - 1) d,)``."""
        return np.tile(self.kept, self.contrasts.n_classes - 1)

    @property
    def n_params(self) -> int:
        """Number of coefficients, (K - 1) j."""
        return (self.contrasts.n_classes - 1) * int(self.kept.sum())

    @contextmanager
    def opened(self) -> Iterator[RowSource]:
        """Provide the rows as a source, with threads."""
        with Workers() as workers:
            yield self.rows.source(self.theta.shape[0], workers, self.limits)

    @property
    def in_memory(self) -> InMemoryRows:
        """The single rows; an error where they are not in memory."""
        if isinstance(self.rows, InMemoryRows):
            return self.rows
        message = "score_test needs the rows of the fit one by one, but they are in a Dask collection."
        raise ValueError(message)

    def total(self, kernel: Kernel[Result]) -> Result:
        """Apply a kernel to all rows."""
        if self.basis is not None:
            kernel = BasisKernel(kernel, self.basis, self.limits.row_bytes)
        with self.opened() as source:
            return source.total(kernel)

    def in_contrasts(self) -> ContrastSums:
        """Return loss, gradient and true Fisher information."""
        sums = self.total(MeasureKernel(self.theta, TrueExpectation(), DenseInformation))
        gradient = self.contrasts.scores(sums.gradient.T).T.ravel()
        whole = ContrastSums(sums.loss, gradient, self.contrasts.matrix(sums.information.blocks), sums.max_loss)
        return whole if self.dependence is None else whole.of(self.kept_params)

    def gram(self) -> Array:
        """Return Σ s x xᵀ, ``(j, j)``."""
        return self.total(GramKernel(self.theta.shape[1]))[np.ix_(self.kept, self.kept)]

    def triangular_factor(self, precision: Array, *, intercept: bool, centres: Array | None = None) -> TriangularFactor:
        """Return R of all columns, in one pass over the rows.

        Parameters
        ----------
        precision : ndarray of shape (d,)
            That of the prior, which determines the coefficients of the columns that it penalises.

        intercept : bool
            Whether the last column is the intercept.
        centres : ndarray of shape (p,) or None
            The centres of the rows.
        """
        order = np.roll(np.arange(precision.size), int(intercept))
        order = order[np.argsort(precision[order] > 0, kind="stable")]
        kernel = TriangularFactorKernel(precision.size, order, self.limits.row_bytes, ones=not intercept)
        factor = self.total(kernel)
        ones = factor[:, order == precision.size - 1].ravel() if intercept else factor[:, -1]
        return TriangularFactor(factor[:, : precision.size], order, precision, centres, ones)

    def without(self, dependence: LinearDependence) -> RowSums:
        """Return the sums of the same model without the aliased columns."""
        return replace(self, theta=dependence.fold(self.theta), dependence=dependence)

    def in_basis(self, basis: ColumnBasis) -> RowSums:
        """Return the sums of the same model for combinations of the columns that are not aliased."""
        return replace(self, theta=basis.coordinates(self.theta), dependence=None, basis=basis)

    def squared_scores(self, power: int) -> Array:
        """Return Σ s_iᵖ u_i u_iᵀ, u_i the score of a row at its label: empirical Fisher information, not centred."""
        kernel = MeasureKernel(self.theta, EmpiricalExpectation(), DenseInformation)
        squared = self.contrasts.matrix(self.total(WeightPowerKernel(kernel, power)).information.blocks)
        return squared[np.ix_(self.kept_params, self.kept_params)]

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g u_g u_gᵀ, u_g the sum of the weighted scores of a group's rows."""

        def scores(rows: Codes) -> Array:
            design, residual = self.residual(rows)
            return design.scaled_rows(self.contrasts.scores(residual))[:, self.kept_params]

        return _squared_group_sums(groups, scores, self.n_params, self.limits)

    def projected(self, directions: Array) -> ProjectedScores:
        """Return the sums of the scores along some directions of θ, ``(j, q, d)``."""
        return ProjectedScores(self, directions)

    def residual(self, rows: Codes) -> tuple[Design, Array]:
        """Return the design of some rows, and the weighted gradients with respect to their logits, ``(m, q)``."""
        mine = self.in_memory
        if self.basis is None:
            design = mine.design(rows, self.theta.shape[1])
        else:
            design = self.basis.rows(mine.design(rows, self.basis.n_columns))
        _, residual = predict(design.logits(self.theta)).loss_and_residual(mine.codes[rows])
        return design, residual * mine.weight[rows, None]

    def null_loss(self, *, intercept: bool) -> float:
        """Return the loss of the model without features."""
        class_weights = self.counts.class_weights
        if not intercept:
            return float(class_weights.sum() * np.log(self.contrasts.n_classes))
        present = class_weights[class_weights > 0]
        return float(-(present * np.log(present / present.sum())).sum())


@record
class ProjectedScores:
    """Sums of the scores of rows along some directions of θ, without a matrix of all coefficients."""

    row_sums: RowSums
    directions: Array  # (j, q, d)

    @property
    def counts(self) -> RowCounts:
        """The number of rows, and the sums of their weights."""
        return self.row_sums.counts

    def squared_scores(self, power: int) -> Array:
        """Return Σ s_iᵖ a_i a_iᵀ, ``(j, j)``, a_i the products of a row's score with the directions."""
        kernel = ProjectedScoresKernel(self.row_sums.theta, self.directions, self.row_sums.limits.row_bytes)
        return self.row_sums.total(WeightPowerKernel(kernel, power))

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g a_g a_gᵀ, ``(j, j)``, a_g the sum of the weighted products of a group's rows."""

        def scores(rows: Codes) -> Array:
            return projected(*self.row_sums.residual(rows), self.directions)

        return _squared_group_sums(groups, scores, len(self.directions), self.row_sums.limits)


def _squared_group_sums(groups: Codes, scores: Callable[[Codes], Array], n_scores: int, limits: Limits) -> Array:
    """Return Σ_g u_g u_gᵀ, u_g the sum of the scores, ``(n_scores,)``, of a group's rows."""
    order = np.argsort(groups, kind="stable")
    size = max(limits.row_bytes // (8 * max(n_scores, 1)), 1)
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
