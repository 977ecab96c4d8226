"""The state of a stream: a quadratic approximation to the loss of all rows so far, and the first rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._model.information import IdentityInformation
from sknatgrad._model.quadratic import QuadraticApproximation
from sknatgrad._rows.centring import centred, centres_of
from sknatgrad._rows.matrices import is_sparse, stored_bytes_per_row
from sknatgrad._rows.source import LabelledRows, concatenated

if TYPE_CHECKING:
    from sknatgrad._definitions import Array
    from sknatgrad._limits import Limits
    from sknatgrad._model.layout import Layout

# The first rows are stored and fitted together until there are this many in total and per coefficient, and this many of
# each class seen per coefficient of the class; or until they take `first_rows_bytes` of the limits. The squared
# distance to a fit to all 5,000 rows of 10 columns, in units of the variance of the coefficients, is 0.013 with effects
# of 1 and 0.07 with effects of 2; with all three halved 0.030 and 0.24, with all three doubled 0.003 and 0.015.
MIN_FIRST_ROWS = 1000
ROWS_PER_COEFFICIENT = 50
CLASS_ROWS_PER_COEFFICIENT = 5


# Rows from which centres are taken, at least: a few rows of a column near zero may have almost the same value. When
# there are more rows, all first rows are solved for again.
MIN_CENTRED_ROWS = 8


@member_of("sknatgrad")
class StreamState(NamedTuple):
    """The state of a stream after some batches."""

    fisher: str  # the metric, which decides how the information is stored
    quadratic: QuadraticApproximation  # of the loss of all rows, the first rows included
    totals: Array  # (K,), sum of the sample weights of each class
    n_batches: int = 0
    first_rows: LabelledRows | None = None  # None once they are no longer kept
    n_solved: int = 0  # number of first rows in the last solve of all of them
    centres: Array | None = None  # (p,), of the rows that the quadratic is for; None is 0


class RowsToSolve(NamedTuple):
    """The rows that an update solves for."""

    rows: LabelledRows
    earlier: QuadraticApproximation | None  # of the loss of the rows that are not among them; None if all rows are
    first_rows: LabelledRows | None  # to keep


def empty_stream(fisher: str, layout: Layout) -> StreamState:
    """Return the state before the first batch."""
    zero = np.zeros(layout.shape)
    quadratic = QuadraticApproximation(zero, zero, IdentityInformation(0.0, layout.shape))
    return StreamState(fisher, quadratic, np.zeros(len(layout.classes)))


def rows_to_solve(stream: StreamState, new: LabelledRows, share: float, limits: Limits) -> RowsToSolve:
    """Return the rows to solve for after a batch of new rows; the weight of earlier rows is multiplied by `share`.

    All first rows are solved for, without a quadratic approximation, whenever their number has grown enough.
    """
    if stream.first_rows is None and stream.n_batches > 0:
        return RowsToSolve(new, stream.quadratic.discounted(share), None)
    if stream.first_rows is None:
        # the caller may reuse the memory of its arrays
        first_rows = LabelledRows(new.X.copy(), new.codes.copy(), np.array(new.weight))
    else:
        first_rows = concatenated([stream.first_rows._replace(weight=share * stream.first_rows.weight), new])
    complete = _are_enough(first_rows, stream.quadratic.theta.shape, limits.first_rows_bytes)
    if complete or len(first_rows.codes) >= limits.first_rows_growth * stream.n_solved:
        return RowsToSolve(first_rows, None, None if complete else first_rows)
    return RowsToSolve(new, stream.quadratic.discounted(share), first_rows)


def centres_for(stream: StreamState, to_solve: RowsToSolve, far_ratio: float) -> Array | None:
    """Return the centres of the rows to solve for, ``(p,)``.

    They stay the same while rows that are solved for with a quadratic approximation to others are near them.
    """
    X, earlier = to_solve.rows.X, to_solve.earlier
    if X.shape[0] < MIN_CENTRED_ROWS or is_sparse(X):
        return stream.centres if earlier is not None else None
    if earlier is None or stream.centres is None:
        return centres_of(X, far_ratio)
    moved = centres_of(centred(X, stream.centres), far_ratio)
    return stream.centres if moved is None else stream.centres + moved


def _are_enough(rows: LabelledRows, shape: tuple[int, ...], max_bytes: float) -> bool:
    """Say whether the rows determine coefficients ``(q, d)`` well, or take too much memory."""
    n_rows, (n_logits, n_columns) = len(rows.codes), shape
    counts = np.bincount(rows.codes)
    many = n_rows >= max(MIN_FIRST_ROWS, ROWS_PER_COEFFICIENT * n_logits * n_columns)
    many_of_each = bool(counts[counts > 0].min() >= CLASS_ROWS_PER_COEFFICIENT * n_columns)
    return (many and many_of_each) or n_rows * stored_bytes_per_row(rows.X) > max_bytes
