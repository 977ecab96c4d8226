"""What is asked of the coefficients, checked: linear hypotheses, and pairs of nested models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._typing import Array
    from sknatgrad.inference._result import InferenceResult

# of the log-likelihood: a larger model that is worse by less has not converged further
NESTED = 1e-9


def linear_hypothesis(
    constraint: Any, value: Any, names: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """Return R and v of R β = v, from names of columns or numbers, for β of a shape ``(K - 1, d)``."""
    rows = _rows(constraint, names, shape)
    if np.size(value) not in {1, len(rows)}:
        message = f"value holds {np.size(value)} numbers; it must be one, or one for each of {len(rows)} constraints."
        raise ValueError(message)
    values = np.broadcast_to(np.asarray(value, dtype=np.float64).ravel(), len(rows))
    if np.linalg.matrix_rank(np.column_stack([rows, values])) > np.linalg.matrix_rank(rows):
        message = f"constraint and value={value!r} contradict each other; no coefficients fulfil them all."
        raise ValueError(message)
    return rows, values


def _rows(constraint: Any, names: tuple[str, ...], shape: tuple[int, ...]) -> Array:
    given = np.asarray(constraint)
    asked = given.ravel().tolist()
    size = int(np.prod(shape))
    if given.ndim < 2 and all(isinstance(name, str) for name in asked):  # noqa: PLR2004 - not a matrix
        unknown = [name for name in asked if name not in names]
        if unknown or not asked:
            message = f"constraint names {unknown}, but the columns are {list(names)}."
            raise ValueError(message)
        wanted = np.zeros(shape, dtype=bool)
        wanted[:, [names.index(name) for name in asked]] = True
        return np.eye(size)[wanted.ravel()]
    numbers = given.dtype.kind in "fiub" and bool(np.isfinite(given).all())
    rows = np.atleast_2d(given.astype(np.float64)) if numbers else np.empty((0, 0))
    if rows.ndim != 2 or rows.shape[1] != size or not np.abs(rows).sum(axis=1).all():  # noqa: PLR2004 - a matrix
        message = (
            f"constraint has shape {given.shape} and holds {given.dtype}; it must be names of columns, or rows of "
            f"{size} finite numbers, not all zero, one a coefficient in the order of params.ravel()."
        )
        raise ValueError(message)
    return rows


def likelihood_ratio(larger: InferenceResult, other: InferenceResult) -> tuple[float, int]:
    """Return twice the difference of the log-likelihoods, and of how many coefficients; refuse what is not nested."""
    if larger.penalised or other.penalised:
        message = "lr_test compares maximum likelihoods, but a model is penalised; fit both with C=np.inf."
        raise ValueError(message)
    if "sampling" in {larger.question.weights, other.question.weights}:
        message = "lr_test needs weights='frequency', but a model has 'sampling'; use wald_test."
        raise ValueError(message)
    classes = [{*result.classes, result.reference} for result in (larger, other)]
    if classes[0] != classes[1] or not larger.totals.rows.same_outcome(other.totals.rows):
        message = (
            f"other is of n = {other.n:g} with {len(classes[1])} classes, this one of n = {larger.n:g} with "
            f"{len(classes[0])}, or of other labels or weights; the likelihoods compare only on the same rows."
        )
        raise ValueError(message)
    more = round(larger.effective_dof - other.effective_dof)
    if more < 1:
        sizes = f"other has {other.effective_dof:g} coefficients, this one {larger.effective_dof:g}"
        message = f"{sizes}; other must be smaller."
        raise ValueError(message)
    gained = 2.0 * (larger.loglik - other.loglik)
    if gained < -NESTED * abs(larger.loglik):
        message = (
            f"other has the larger log-likelihood, {other.loglik:g} for {larger.loglik:g}, so its columns are not "
            "among those of this model; the test compares models of which one has all the columns of the other."
        )
        raise ValueError(message)
    return max(gained, 0.0), more
