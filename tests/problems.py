"""Small problems and plain references that the tests share."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from sknatgrad._model.parameters import prior_precision
from sknatgrad._model.prior import Prior
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.descent import descend
from sknatgrad._solver.objective import Objective
from sknatgrad._solver.plan import Shape, plan

FISHERS = ["true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity"]
DATASETS = {"breast_cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits, "iris": load_iris}


class Problem(NamedTuple):
    X: np.ndarray  # (n, p)
    codes: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)
    theta: np.ndarray  # (q, d)

    @property
    def design(self):
        """X with its column of ones, if theta has a place for it."""
        if self.theta.shape[1] == self.X.shape[1]:
            return self.X
        return np.column_stack([self.X, np.ones(len(self.X))])

    @property
    def source(self):
        return MemorySource(self.X, self.codes, self.weight, len(self.theta))

    def objective(self, fisher, C=1.0, seed=0):
        intercept = self.theta.shape[1] > self.X.shape[1]
        prior = Prior(prior_precision(C, self.X.shape[1], intercept=intercept))
        return Objective(
            self.source, prior, plan(fisher, Shape(*self.X.shape[:1], *self.theta.shape, self.theta.shape[1])), seed
        )


def walk(landscape, theta, rule):
    """The turns of a descent from theta."""
    return descend(landscape, landscape.measure(theta), rule)


def make_problem(n_classes, *, n_rows=40, n_features=3, intercept=True, seed=0, zero_weights=True):
    """Overlapping classes, uneven weights (some zero), a random point to measure at."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n_rows) % n_classes)
    X = rng.normal(size=(n_rows, n_features)) + 0.5 * rng.normal(size=(n_classes, n_features))[codes]
    weight = rng.uniform(0.1, 3.0, size=n_rows)
    if zero_weights:
        weight[::7] = 0.0
    n_logits = 1 if n_classes == 2 else n_classes
    theta = 0.5 * rng.normal(size=(n_logits, n_features + intercept))
    if n_logits > 1:
        theta -= theta.mean(axis=0)
    return Problem(X, codes, weight, theta)


def probabilities(logits):
    """(m, K) probabilities of (m, q) logits, the plain way."""
    full = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
    odds = np.exp(full - full.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def score_of(logits, label):
    """Derivative of -log p[label] of one row by its (q,) logits."""
    p = probabilities(logits[None])[0]
    if len(logits) == 1:
        return np.array([p[1] - label])
    return p - np.eye(len(logits))[label]


def fisher_by_outer_products(design, codes, weight, theta, labels="model"):
    """Sum over rows, and over labels, of the outer product of the whole parameter's score: (qd, qd)."""
    n_classes = max(len(theta), 2)
    total = np.zeros((theta.size, theta.size))
    for x, code, s in zip(design, codes, weight, strict=True):
        logits = theta @ x
        p = probabilities(logits[None])[0]
        chance = p if labels == "model" else np.eye(n_classes)[code]
        for label in range(n_classes):
            score = np.kron(score_of(logits, label), x)
            total += s * chance[label] * np.outer(score, score)
    return total


def as_kinds(X):
    """The same numbers in every layout and container of arrays that `fit` takes."""
    rows, columns = X.shape
    wide = sparse.csr_array(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    return {
        "C": np.ascontiguousarray(X),
        "F": np.asfortranarray(X),
        "strided": np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[: 2 * rows : 2, : 2 * columns : 2],
        "csr_matrix": sparse.csr_matrix(X),
        "csr_array": sparse.csr_array(X),
        "csr int64": wide,
        "csc_matrix": sparse.csc_matrix(X),
        "csc_array": sparse.csc_array(X),
        "coo_matrix": sparse.coo_matrix(X),
        "coo_array": sparse.coo_array(X),
    }


def gain_left(X, y, model, C, sample_weight=None, n_steps=8):
    """What Newton steps by orthogonal least squares can still gain on a fitted model, relative to its objective.

    The steps are solved on the square root of F + Λ, (n K + p) rows, so they see columns that are collinear to 1e-8
    of their size, of which the matrix F itself knows nothing any more.
    """
    codes = np.searchsorted(model.classes_, y)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    design = np.column_stack([X, np.ones(len(X))]) if model.fit_intercept else X
    theta = np.column_stack([model.coef_, model.intercept_]) if model.fit_intercept else model.coef_
    prior = np.full(design.shape[1], 1 / C)
    if model.fit_intercept:
        prior[-1] = 0.0

    def objective(theta):
        logits = design @ theta.T
        full = np.hstack([np.zeros_like(logits), logits]) if len(theta) == 1 else logits
        # against the row's own class, so that small losses keep their digits
        odds = np.exp(np.minimum(full - full[np.arange(len(y)), codes, None], 700.0))
        odds[np.arange(len(y)), codes] = 0.0
        loss = np.log1p(odds.sum(axis=1))
        return weight @ loss + 0.5 * (prior * theta**2).sum()

    first = best = objective(theta)
    for _ in range(n_steps):
        move = _least_squares_step(design, codes, weight, theta, prior)
        for length in 0.5 ** np.arange(30):
            trial = objective(theta + length * move)
            if trial < best:
                theta, best = theta + length * move, trial
                break
    return (first - best) / first


def _least_squares_step(design, codes, weight, theta, prior):
    q, d = theta.shape
    p = probabilities(design @ theta.T)
    rows, right = [], []
    for x, pi, code, s in zip(design, p, codes, weight, strict=True):
        if q == 1:
            root = np.array([[np.sqrt(pi[0] * pi[1])]])
            score = np.array([pi[1] - code])
        else:
            root = np.diag(np.sqrt(pi)) - np.outer(pi, np.sqrt(pi))  # root rootᵀ = diag(p) - p pᵀ
            score = pi - np.eye(q)[code]
        rows.append(np.sqrt(s) * np.kron(root.T, x))
        right.append(np.sqrt(s) * np.linalg.lstsq(root, score, rcond=None)[0])
    rows.append(np.diag(np.sqrt(np.tile(prior, q))))
    right.append(np.sqrt(np.tile(prior, q)) * theta.ravel())
    system, target = np.vstack(rows), np.concatenate(right)
    scale = np.linalg.norm(system, axis=0)
    scale[scale == 0] = 1.0
    move = -(np.linalg.lstsq(system / scale, target, rcond=1e-14)[0] / scale).reshape(q, d)
    # a large constant common to all classes would only add rounding, and rounding can look like a gain
    return move if q == 1 else move - move.mean(axis=0)


def random_text(n_rows, n_words, words_a_row, seed=0):
    """A CSR matrix of a few random words a row, and weights of the words; costs what it stores."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, n_words, size=n_rows * words_a_row)
    X = sparse.csr_matrix(
        (rng.uniform(size=words.size), words, np.arange(0, words.size + 1, words_a_row)), shape=(n_rows, n_words)
    )
    X.sum_duplicates()
    return X, rng.normal(size=n_words)
