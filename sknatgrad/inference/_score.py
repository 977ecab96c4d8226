"""Rao's test: what the score at the fit says of coefficients that are not in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._model.information.symmetric import factorise
from sknatgrad._rows.matrices import hstack

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Matrix
    from sknatgrad.inference._question import Question
    from sknatgrad.inference._sums import Totals

# a score with less than this share of its variance beside the others is one of theirs, and rounding
OWN = 1e-10


def efficient_score(totals: Totals, question: Question, extra: Matrix) -> tuple[Array, Array]:
    """Return the score of the coefficients of `extra` at 0, less what the others explain of it, and its covariance."""
    n_rows, n_extra = extra.shape
    rows = totals.in_memory
    if n_rows != rows.X.shape[0]:
        message = f"X_extra has {n_rows} rows, but the fit had {rows.X.shape[0]}; pass the same rows."
        raise ValueError(message)
    n_features, n_columns = rows.X.shape[1], totals.theta.shape[1]
    theta = np.insert(totals.theta, [n_features] * n_extra, 0.0, axis=1)
    wider = replace(totals, rows=rows._replace(X=hstack(rows.X, extra)), theta=theta)
    sums = wider.plain()
    new = np.zeros((totals.contrasts.n_classes - 1, n_columns + n_extra), dtype=bool)
    new[:, n_features : n_features + n_extra] = True
    new = new.ravel()
    spread = question.spread(wider, sums.fisher, int((~new).sum()))
    return beside_the_others(sums.gradient, sums.fisher, spread, new)


def beside_the_others(score: Array, information: Array, spread: Array, new: Any) -> tuple[Array, Array]:
    """Return the `new` part of a score, less what the rest explains of it, and its covariance.

    With b the others and e the new ones, u = u_e − F_eb F_bb⁻¹ u_b.
    """
    shares = factorise(information[np.ix_(~new, ~new)]).solve(information[np.ix_(~new, new)])
    weights = np.eye(new.size)[new]
    weights[:, ~new] = -shares.T
    own = weights @ spread @ weights.T
    kept = own.diagonal() > OWN * spread.diagonal()[new]
    return (weights @ score)[kept], own[np.ix_(kept, kept)]
