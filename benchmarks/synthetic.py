"""Simulated data with fixed seeds: each function takes the sizes and returns X, the class codes, and weights if any."""

import numpy as np
from scipy import sparse
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfTransformer

# standard deviation of the true logits in nats, at which the classes are neither indistinguishable nor separable
LOGIT_SPREAD = 2.0


def gaussian(n_rows, n_columns, scales=(1.0, 1.0), seed=0):
    """Return isotropic normal columns, multiplied by geometrically spaced scales, and two classes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns))
    codes = _two_classes(X @ rng.standard_normal(n_columns), rng)
    X *= np.geomspace(*scales, n_columns)
    return X, codes


def weighted(n_rows, n_columns, seed=0):
    """Return isotropic normal columns, two classes, and weights that vary by a factor of three around 1."""
    X, codes = gaussian(n_rows, n_columns, seed=seed)
    return X, codes, np.random.default_rng(seed + 1).uniform(0.5, 1.5, n_rows)


def half_binary(n_rows, n_columns, seed=0):
    """Return normal columns, then as many columns of 0 and 1 with shares of ones from 2 to 50 %, and two classes."""
    rng = np.random.default_rng(seed)
    n_normal = n_columns - n_columns // 2
    X = np.empty((n_rows, n_columns))
    X[:, :n_normal] = rng.standard_normal((n_rows, n_normal))
    X[:, n_normal:] = rng.random((n_rows, n_columns - n_normal)) < np.linspace(0.02, 0.5, n_columns - n_normal)
    return X, _two_classes(X @ rng.standard_normal(n_columns), rng)


def sparse_columns(n_rows, n_columns, density, seed=0):
    """Return normal values in CSR, of which a share of `density` is stored, and two classes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < density)
    codes = _two_classes(X @ rng.standard_normal(n_columns), rng)
    return sparse.csr_matrix(X), codes


def correlated(n_rows, n_columns, n_classes, seed=0):
    """Return X = Z diag(1, …, 0.01) Q, with a random rotation Q, and classes drawn from a softmax over Z."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n_rows, n_columns))
    codes = _many_classes(Z @ rng.standard_normal((n_columns, n_classes)), rng)
    rotation, _ = np.linalg.qr(rng.standard_normal((n_columns, n_columns)))
    return (Z * np.geomspace(1.0, 1e-2, n_columns)) @ rotation, codes


def softmax_classes(n_rows, n_columns, n_classes, seed=0):
    """Return isotropic normal columns and classes drawn from a softmax."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_columns))
    return X, _many_classes(X @ rng.standard_normal((n_columns, n_classes)), rng)


def clusters(n_rows, n_columns, n_classes, seed=0):
    """Return classes of equal size, each with unit normal noise around a standard normal centre."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_classes, n_columns))
    codes = rng.permutation(np.arange(n_rows) % n_classes)
    return centres[codes] + rng.standard_normal((n_rows, n_columns)), codes


def zipf_text(n_rows, n_words, terms_per_row, seed=0):
    """Return documents with Zipf-Mandelbrot word frequencies, as tf-idf rows of norm 1 in CSR, and two classes.

    One word in ten has an effect on the class.
    """
    rng = np.random.default_rng(seed)
    cumulated = np.cumsum(1.0 / (np.arange(n_words) + 2.7))
    words = np.searchsorted(cumulated, rng.random(n_rows * terms_per_row) * cumulated[-1])
    start = np.arange(n_rows + 1) * terms_per_row
    counts = sparse.csr_matrix((np.ones(len(words)), words.astype(np.int32), start), shape=(n_rows, n_words))
    counts.sum_duplicates()
    # csr_matrix, not csr_array, because it is what the older contestants accept
    X = sparse.csr_matrix(TfidfTransformer().fit_transform(counts))
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    weights = rng.standard_normal(n_words) * (rng.random(n_words) < 0.1)
    return X, _two_classes(X @ weights, rng)


def _two_classes(logits, rng):
    logits = (logits - logits.mean()) * (LOGIT_SPREAD / logits.std())
    return (rng.random(len(logits)) < expit(logits)).astype(np.int64)


def _many_classes(logits, rng):
    logits *= LOGIT_SPREAD / logits.std()
    drawn = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    # renumber the classes, because some may have no rows
    return np.unique(drawn, return_inverse=True)[1].astype(np.int64)
