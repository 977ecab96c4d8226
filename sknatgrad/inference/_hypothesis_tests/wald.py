"""Wald's test of linear hypotheses on the coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

from sknatgrad._model.information.symmetric import factorise
from sknatgrad.inference._diagnostics.collinearity import first_names
from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes
    from sknatgrad.inference._covariance.options import CovarianceOptions

MATRIX = 2  # dimensions


class LinearHypothesis(NamedTuple):
    """R β = v."""

    constraints: Array  # (r, (K - 1) d), R
    values: Array  # (r,), v
    names: tuple[str, ...]  # of the d columns

    @classmethod
    def checked(
        cls, constraint: ArrayLike, value: ArrayLike, names: tuple[str, ...], shape: tuple[int, ...]
    ) -> LinearHypothesis:
        """Return R and v from names of columns or numbers, for β of a shape ``(K - 1, d)``."""
        constraints = _constraints(constraint, names, shape)
        if np.size(value) not in {1, len(constraints)}:
            message = (
                f"value holds {np.size(value)} numbers; it must be one, or one for each of {len(constraints)} "
                "constraints."
            )
            raise ValueError(message)
        values = np.broadcast_to(np.asarray(value, dtype=np.float64).ravel(), len(constraints))
        if np.linalg.matrix_rank(np.column_stack([constraints, values])) > np.linalg.matrix_rank(constraints):
            message = f"constraint and value={value!r} contradict each other; no coefficients fulfil them all."
            raise ValueError(message)
        return cls(constraints, values, names)

    def wald_test(self, params: Array, covariance: Array, options: CovarianceOptions, max_rank: float) -> ChiSquared:
        """Return the test of β, ``((K - 1) d,)``, whose covariance has at most a certain rank.

        An error is raised if a coefficient in the constraints has no standard error, or if the covariance of the
        constraints is singular.
        """
        used = np.abs(self.constraints).sum(axis=0) > 0.0
        unknown = (used & np.isnan(covariance.diagonal())).reshape(-1, len(self.names)).any(axis=0)
        if unknown.any():
            columns = first_names(self.names, np.flatnonzero(unknown))
            message = (
                f"constraint involves {columns}, whose coefficients the data do not determine, or whose columns are "
                "aliased; test others, or drop columns."
            )
            raise ValueError(message)
        chosen = _independent(self.constraints)
        constraints = self.constraints[np.ix_(chosen, used)]
        deviation = constraints @ params[used] - self.values[chosen]
        factor = factorise(constraints @ covariance[np.ix_(used, used)] @ constraints.T)
        rank = min(factor.rank, max_rank)
        if rank < chosen.size:
            counted = f"constraint has {chosen.size} linearly independent rows"
            raise ValueError(options.rank_message(counted, rank))
        return ChiSquared.of(float(deviation @ factor.solve(deviation)), chosen.size)


def _independent(constraints: Array) -> Codes:
    """Return the indices of as many linearly independent rows as there are, ascending."""
    unit = constraints / np.linalg.norm(constraints, axis=1, keepdims=True)
    _, order = linalg.qr(unit.T, mode="r", pivoting=True)
    chosen: Codes = np.sort(order[: np.linalg.matrix_rank(unit)])
    return chosen


def _constraints(constraint: ArrayLike, names: tuple[str, ...], shape: tuple[int, ...]) -> Array:
    """Return R: a unit row for each coefficient of the named columns, or the given numbers."""
    given = np.asarray(constraint)
    asked = given.ravel().tolist()
    size = int(np.prod(shape))
    if given.ndim < MATRIX and all(isinstance(name, str) for name in asked):
        unknown = [name for name in asked if name not in names]
        if unknown or not asked:
            message = f"constraint names {unknown}, but the columns are {list(names)}."
            raise ValueError(message)
        wanted = np.zeros(shape, dtype=bool)
        wanted[:, [names.index(name) for name in asked]] = True
        return np.eye(size)[wanted.ravel()]
    numbers = given.dtype.kind in "fiub" and bool(np.isfinite(given).all())
    rows = np.atleast_2d(given.astype(np.float64)) if numbers else np.empty((0, 0))
    if rows.ndim != MATRIX or rows.shape[1] != size or not np.abs(rows).sum(axis=1).all():
        message = (
            f"constraint has shape {given.shape} and holds {given.dtype}; it must be names of columns, or rows of "
            f"{size} finite numbers, not all zero, one for each coefficient in the order of params.ravel()."
        )
        raise ValueError(message)
    return rows
