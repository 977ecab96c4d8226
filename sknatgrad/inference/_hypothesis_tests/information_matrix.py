"""White's information matrix test: whether empirical and true Fisher information agree, as in a correct model."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import record
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._model.categorical import probabilities
from sknatgrad._model.layout import BINARY
from sknatgrad._rows.design import Design, gil_free_matmul
from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared
from sknatgrad.inference._hypothesis_tests.efficient_score import efficient_score

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Codes
    from sknatgrad._model.contrasts import Contrasts
    from sknatgrad._rows.source import RowBlock
    from sknatgrad.inference._row_sums.sums import RowSums


def information_matrix_test(row_sums: RowSums, centres: Array | None, *, every: bool) -> ChiSquared:
    """Return the test of the differences of empirical and true Fisher information, less the part that scores explain.

    It does not depend on the centres that the rows are less, ``(p,)``.


    Their covariance is the one under the model, averaged over the labels of every row (Orme 1988): with products of
    the observed differences alone, the test rejects far too often in samples of a few hundred rows.
    """
    if not row_sums.n_params:
        message = "information_matrix_test compares the information of coefficients, but all columns are aliased."
        raise ValueError(message)
    kept, row_bytes = np.flatnonzero(row_sums.kept), row_sums.limits.row_bytes
    of_columns = np.zeros(row_sums.theta.shape[1])
    if centres is not None:
        of_columns[:-1] = centres
    kernel = IndicatorKernel.of(row_sums.theta, row_sums.contrasts, row_bytes, kept, of_columns[kept], every=every)
    n_numbers = kernel.n_scores + kernel.n_indicators
    check_covariance_size(n_numbers, "compare squares only, with every=False", row_sums.limits)
    observed, covariance = row_sums.total(kernel)
    tested = np.arange(observed.size) >= kernel.n_scores
    return ChiSquared.quadratic(*efficient_score(observed, covariance, covariance, tested))


@record
class IndicatorKernel:
    """Sums of v at the observed labels, and of E[v vᵀ]; v holds the score u of a row, and entries of u uᵀ - E[u uᵀ].

    With r = p - y the gradient of the loss with respect to the logits, such an entry is (r_a r_b - E[r_a r_b]) x_j x_m.
    The factor is -r_a (1 - 2 p_a) if a = b, and p_a r_b + p_b r_a otherwise.
    """

    theta: Array  # (q, d)
    contrasts: Contrasts
    kept: Codes  # (j,), the columns that are in the model
    classes: tuple[tuple[int, int], ...]  # (a, b)
    columns: tuple[tuple[int, int], ...]  # (j, m), positions among the kept ones
    shifts: Array  # (number of pairs of columns,), added to the second of each pair
    row_bytes: int  # of the numbers of single rows that are held at a time

    @classmethod
    def of(  # noqa: PLR0913 - what identifies the entries
        cls, theta: Array, contrasts: Contrasts, row_bytes: int, kept: Codes, centres: Array, *, every: bool
    ) -> IndicatorKernel:
        """Return the kernel for every entry, or for squares only, of all classes, whichever is the reference.

        For two classes, one of them has all the information.

        The squares of columns x + c, for rows less the `centres` c of the kept columns, ``(j,)``, are x (x + 2 c) plus
        multiples of the square of the intercept, which is tested too. All products together do not depend on c.
        """
        n_columns = kept.size
        if every:
            classes = combinations_with_replacement(contrasts.others, 2)
            columns = combinations_with_replacement(range(n_columns), 2)
            pairs = tuple(columns)
            return cls(theta, contrasts, kept, tuple(classes), pairs, np.zeros(len(pairs)), row_bytes)
        shown = contrasts.others if contrasts.n_classes == BINARY else range(contrasts.n_classes)
        squares = tuple((j, j) for j in range(n_columns))
        return cls(theta, contrasts, kept, tuple((k, k) for k in shown), squares, 2.0 * centres, row_bytes)

    @property
    def n_scores(self) -> int:
        """Number of coefficients."""
        return (self.contrasts.n_classes - 1) * self.kept.size

    @property
    def n_indicators(self) -> int:
        """Number of entries that are compared."""
        return len(self.classes) * len(self.columns)

    def __call__(self, block: RowBlock) -> tuple[Array, Array]:
        """Return the sums over one block."""
        n_numbers = self.n_scores + self.n_indicators
        size = max(self.row_bytes // (8 * n_numbers), 1)
        design = Design.of_block(block, self.theta.shape[1])
        observed, covariance = np.zeros(n_numbers), np.zeros((n_numbers, n_numbers))
        for start in range(0, len(block.codes), size):
            part = slice(start, start + size)
            weight, rows = block.weight[part], design.rows(part)
            proba = probabilities(rows.logits(self.theta))
            dense = rows.dense()[:, self.kept]
            shifted = zip(self.columns, self.shifts, strict=True)
            pairs = np.column_stack([dense[:, j] * (dense[:, m] + shift) for (j, m), shift in shifted])
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
