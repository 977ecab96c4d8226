"""Whether a direction of the coefficients separates rows by class, so that the likelihood has no maximum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._model.categorical import predict
from sknatgrad._rows.design import Design

if TYPE_CHECKING:
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array

# nats that the logits of a row are moved by at least, by a step that should be none, if its class is separated
FAR = 0.5
# the probability, at most, that such a row has of the other class; and its share of the step's KL divergence, at least
UNSURE = 0.1
MOSTLY = 0.2
# columns that are named, if they have so much to do with it, relative to the first
SHOWN = 3
NOTABLE = 0.1


class SeparationStatistics(NamedTuple):
    """Rows that a move takes away from other classes than their own."""

    n_rows: int
    max_margin: float  # nats
    sizes: Array  # (d,), Σ |x_j| over them
    kl: float  # what the move changes of their predictions, to second order, nats

    def separates(self, decrement: float) -> bool:
        """Say whether there are such rows, and the move, which is to gain `decrement` nats, is about them."""
        # of an undamped step without a prior, the decrement is the KL divergence of all rows
        return self.n_rows > 0 and self.kl > MOSTLY * decrement

    def columns(self, move: Array) -> list[int]:
        """Return the few columns that have most to do with it."""
        shares = abs(move).max(axis=0) * self.sizes
        largest = np.argsort(-shares, kind="stable")[:SHOWN]
        return [int(j) for j in largest if shares[j] >= NOTABLE * shares.max()]


@dataclass(frozen=True)
class SeparationKernel:
    """Which rows a move from near the optimum takes far from another class.

    There should be none. But where a direction separates rows by class, the probability of the wrong one falls along it
    as exp(-t), so that a step of Newton's method is f'/f'' = 1 nat long however little there is to gain; and once the
    rest has converged, the step is about nothing else.
    """

    theta: Array  # (q, d)
    move: Array  # (q, d)

    def __call__(self, block: RowBlock) -> SeparationStatistics:
        """Return those of one block."""
        design = Design.of_block(block, self.move.shape[1])
        logits = design.logits(self.move)
        # nearly always there are none, and the probabilities are not needed
        out_of_core = np.flatnonzero((abs(logits).max(axis=1) > 0.5 * FAR) & (block.weight > 0))
        if not out_of_core.size:
            return SeparationStatistics(0, 0.0, np.zeros(self.move.shape[1]), 0.0)
        moved, logits, codes = design.rows(out_of_core), logits[out_of_core], block.codes[out_of_core]
        prediction = predict(moved.logits(self.theta))
        # of each class against class 0
        by_class = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
        rows, other = np.arange(out_of_core.size), by_class.argmin(axis=1)
        margin = by_class[rows, codes] - by_class[rows, other]
        counts = (margin > FAR) & (prediction.distribution()[rows, other] < UNSURE)
        kl = 0.5 * block.weight[out_of_core] * (logits * prediction.scores().apply(logits)).sum(axis=1)
        sizes = moved._replace(X=abs(moved.X)).transposed_product(counts[:, None].astype(np.float64))[0]
        max_margin = float(margin.max(initial=0.0, where=counts))
        return SeparationStatistics(int(counts.sum()), max_margin, sizes, float(kl[counts].sum()))

    def merge(self, left: SeparationStatistics, right: SeparationStatistics) -> SeparationStatistics:
        """Pool two runs of rows."""
        return SeparationStatistics(
            n_rows=left.n_rows + right.n_rows,
            max_margin=max(left.max_margin, right.max_margin),
            sizes=left.sizes + right.sizes,
            kl=left.kl + right.kl,
        )
