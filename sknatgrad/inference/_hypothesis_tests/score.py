"""Rao's score test of columns that are not in the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._rows.centring import centres_of
from sknatgrad._rows.matrices import hstack
from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared, numerical_rank
from sknatgrad.inference._hypothesis_tests.efficient_score import efficient_score

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Matrix
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._row_sums.sums import RowSums


def _centres(row_sums: RowSums, extra: Matrix) -> Array | None:
    """Return the centres of the columns of the model and of `extra`."""
    mine, n_features = row_sums.in_memory.centres, row_sums.in_memory.X.shape[1]
    intercept = row_sums.theta.shape[1] > n_features
    others = centres_of(extra, row_sums.limits.far_ratio) if intercept else None
    if mine is None and others is None:
        return None
    zeros = np.zeros(n_features), np.zeros(extra.shape[1])
    return np.concatenate([zero if each is None else each for each, zero in zip((mine, others), zeros, strict=True)])


def score_test(row_sums: RowSums, options: CovarianceOptions, extra: Matrix, n_params: int) -> ChiSquared:
    """Return the test that the coefficients of the columns `extra`, ``(n, j)``, are 0.

    The model has `n_params` coefficients that the data determine.
    """
    n_rows, n_extra = extra.shape
    rows = row_sums.in_memory
    if n_rows != rows.X.shape[0]:
        message = f"X_extra has {n_rows} rows, but the fit had {rows.X.shape[0]}; pass the same rows."
        raise ValueError(message)
    n_features, n_columns = rows.X.shape[1], row_sums.theta.shape[1]
    wider = replace(
        row_sums,
        rows=rows._replace(X=hstack(rows.X, extra), centres=_centres(row_sums, extra)),
        theta=np.insert(row_sums.theta, [n_features] * n_extra, 0.0, axis=1),
        dependence=row_sums.dependence and row_sums.dependence.widened(n_features, n_extra),
    )
    sums = wider.in_contrasts()
    columns = np.arange(n_columns + n_extra)
    added = (columns >= n_features) & (columns < n_features + n_extra)
    tested = np.tile(added, row_sums.contrasts.n_classes - 1)[wider.kept_params]
    meat = options.meat(wider, sums.fisher, n_params)
    score, covariance = efficient_score(sums.gradient, sums.fisher, meat, tested)
    if not score.size:
        message = (
            "X_extra has only linear combinations of the columns of the model, so nothing is left to test; pass others."
        )
        raise ValueError(message)
    if not options.model_based:
        _, model_based = efficient_score(sums.gradient, sums.fisher, sums.fisher, tested)
        n_tested = numerical_rank(model_based)
        rank = min(numerical_rank(covariance), options.max_rank(row_sums.counts, penalised=False))
        if rank < n_tested:
            raise ValueError(options.rank_message(f"X_extra has {n_tested} coefficients to test", rank))
    return ChiSquared.quadratic(score, covariance)
