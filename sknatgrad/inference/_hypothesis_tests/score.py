"""Rao's score test of columns that are not in the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._rows.matrices import hstack
from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared
from sknatgrad.inference._hypothesis_tests.efficient_score import efficient_score

if TYPE_CHECKING:
    from sknatgrad._typing import Matrix
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._row_sums.sums import RowSums


def score_test(row_sums: RowSums, options: CovarianceOptions, extra: Matrix) -> ChiSquared:
    """Return the test that the coefficients of the columns `extra`, ``(n, j)``, are 0."""
    n_rows, n_extra = extra.shape
    rows = row_sums.in_memory
    if n_rows != rows.X.shape[0]:
        message = f"X_extra has {n_rows} rows, but the fit had {rows.X.shape[0]}; pass the same rows."
        raise ValueError(message)
    n_features, n_columns = rows.X.shape[1], row_sums.theta.shape[1]
    theta = np.insert(row_sums.theta, [n_features] * n_extra, 0.0, axis=1)
    wider = replace(row_sums, rows=rows._replace(X=hstack(rows.X, extra)), theta=theta)
    sums = wider.in_contrasts()
    added = np.zeros((row_sums.contrasts.n_classes - 1, n_columns + n_extra), dtype=bool)
    added[:, n_features : n_features + n_extra] = True
    tested = added.ravel()
    meat = options.meat(wider, sums.fisher, int((~tested).sum()))
    score, covariance = efficient_score(sums.gradient, sums.fisher, meat, tested)
    if not score.size:
        message = (
            "X_extra has only linear combinations of the columns of the model, so nothing is left to test; pass others."
        )
        raise ValueError(message)
    return ChiSquared.quadratic(score, covariance)
