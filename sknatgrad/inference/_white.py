"""White's information matrix test: whether the two Fisher informations that a true model has in common agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._model.categorical import predict
from sknatgrad._model.layout import BINARY
from sknatgrad._rows.design import Design, gil_free_matmul
from sknatgrad.inference._score import beside_the_others

if TYPE_CHECKING:
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import RowBlock
    from sknatgrad._typing import Array, Codes
    from sknatgrad.inference._sums import Totals

# how much of the indicators of single rows is held at a time
ROW_BYTES = 2**22


def indicators(totals: Totals, *, every: bool) -> tuple[Array, Array]:
    """Return the difference of empirical and true Fisher information, less what the score explains, and its covariance.

    The covariance is that under the model, with the labels of every row averaged over (Orme 1988): of products of
    observed ones alone, the test would reject far too often in samples of a few hundred rows.
    """
    kernel = IndicatorKernel.of(totals.theta, totals.contrasts, every=every)
    check_covariance_size(kernel.n_scores + kernel.n_indicators, "test squares alone, with every=False")
    observed, covariance = totals.total(kernel)
    new = np.arange(observed.size) >= kernel.n_scores
    return beside_the_others(observed, covariance, covariance, new)


@dataclass(frozen=True)
class IndicatorKernel:
    """Sums of v at the observed labels, and of E[v vᵀ]; v the score of a row and entries of u uᵀ - E[u uᵀ].

    With r the score by the logits, such an entry is r_a r_b - E[r_a r_b] times x_j x_m. And r_a² less its mean is
    -r_a (1 - 2 p_a), r_a r_b less its mean p_a r_b + p_b r_a.
    """

    theta: Array  # (q, d)
    contrasts: Contrasts
    classes: tuple[tuple[int, int], ...]  # (a, b)
    columns: tuple[tuple[int, int], ...]  # (j, m)

    @classmethod
    def of(cls, theta: Array, contrasts: Contrasts, *, every: bool) -> IndicatorKernel:
        """Return the kernel for every entry, or for squares alone: of each class, whichever is the reference."""
        n_columns = theta.shape[1]
        if every:
            classes = combinations_with_replacement(contrasts.others, 2)
            columns = combinations_with_replacement(range(n_columns), 2)
            return cls(theta, contrasts, tuple(classes), tuple(columns))
        # of two classes, one says it all
        shown = contrasts.others if contrasts.n_classes == BINARY else range(contrasts.n_classes)
        return cls(theta, contrasts, tuple((k, k) for k in shown), tuple((j, j) for j in range(n_columns)))

    @property
    def n_scores(self) -> int:
        """Number of coefficients."""
        return (self.contrasts.n_classes - 1) * int(self.theta.shape[1])

    @property
    def n_indicators(self) -> int:
        """Number of entries that are compared."""
        return len(self.classes) * len(self.columns)

    def __call__(self, block: RowBlock) -> tuple[Array, Array]:
        """Return the sums over one block."""
        size = max(ROW_BYTES // (8 * (self.n_scores + self.n_indicators)), 1)
        design = Design.of_block(block, self.theta.shape[1])
        n_numbers = self.n_scores + self.n_indicators
        observed, covariance = np.zeros(n_numbers), np.zeros((n_numbers, n_numbers))
        for start in range(0, len(block.codes), size):
            part = slice(start, start + size)
            weight, rows = block.weight[part], design.rows(part)
            proba = predict(rows.logits(self.theta)).distribution()
            dense = rows.dense()
            pairs = np.column_stack([dense[:, j] * dense[:, m] for j, m in self.columns])
            values = self._values(proba, block.codes[part], dense, pairs)
            observed += weight @ values
            for k, of_class in enumerate(proba.T):
                values = self._values(proba, np.full(len(dense), k), dense, pairs)
                values *= np.sqrt(weight * of_class)[:, None]
                covariance += gil_free_matmul(values.T, values)
        return observed, covariance

    def _values(self, proba: Array, codes: Codes, dense: Array, pairs: Array) -> Array:
        """Return v of each row at a label, ``(m, n_scores + n_indicators)``."""
        residual = proba.copy()
        residual[np.arange(len(codes)), codes] -= 1.0
        factors = np.column_stack([self._factor(proba, residual, a, b) for a, b in self.classes])
        scores = residual[:, self.contrasts.others, None] * dense[:, None, :]
        entries = factors[:, :, None] * pairs[:, None, :]
        return np.hstack([scores.reshape(len(dense), -1), entries.reshape(len(dense), -1)])

    @staticmethod
    def _factor(proba: Array, residual: Array, a: int, b: int) -> Array:
        if a == b:
            return -residual[:, a] * (1.0 - 2.0 * proba[:, a])
        return proba[:, a] * residual[:, b] + proba[:, b] * residual[:, a]

    def merge(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        """Pool two runs of rows."""
        return left[0] + right[0], left[1] + right[1]
