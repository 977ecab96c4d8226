"""Data, reference computations and comparisons that several test modules share."""

import pickle
import threading
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches
from threadpoolctl import threadpool_info

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._limits import Limits
from sknatgrad._model.layout import fitted_theta, prior_precision
from sknatgrad._model.prior import Prior
from sknatgrad._rows.memory import MemorySource
from sknatgrad._solver.cost_model import Shape
from sknatgrad._solver.descent import descend
from sknatgrad._solver.objective import make_objective
from sknatgrad._solver.plan import choose_plan
from sknatgrad.inference import infer

try:
    from sklearn.callback import ScoringMonitor
except ImportError:
    ScoringMonitor = None

FISHERS = ["true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity"]
# 'identity' is the Euclidean metric, not a form of the Fisher information
FISHER_METRICS = [name for name in FISHERS if name != "identity"]
DATASETS = {"breast_cancer": load_breast_cancer, "wine": load_wine, "digits": load_digits, "iris": load_iris}
ROOT = Path(__file__).parents[1]
MIB = 2**20
# seconds until a test stops waiting for another thread
TIMEOUT = 20
# relative tolerance of fits that are compared to ten digits
TIGHT = 1e-14
LONG_NAMES = [
    "a very long name of a measurement that somebody once gave to a column of theirs",
    "price_$ per $ and so on",
    "_a_name_without_any_blank_in_it_that_does_not_fit_into_one_line_nor_two",
]

needs_callbacks = pytest.mark.skipif(ScoringMonitor is None, reason="scikit-learn has callbacks since 1.9")


class Problem(NamedTuple):
    X: np.ndarray  # (n, p)
    codes: np.ndarray  # (n,)
    weight: np.ndarray  # (n,)
    theta: np.ndarray  # (q, d)
    limits: Limits = Limits()

    @property
    def design(self):
        """X, with a column of ones if theta has an intercept."""
        if self.theta.shape[1] == self.X.shape[1]:
            return self.X
        return np.column_stack([self.X, np.ones(len(self.X))])

    @property
    def source(self):
        return MemorySource(self.X, self.codes, self.weight, len(self.theta), limits=self.limits)

    def objective(self, fisher, C=1.0, seed=0):
        intercept = self.theta.shape[1] > self.X.shape[1]
        prior = Prior(prior_precision(C, self.X.shape[1], intercept=intercept))
        shape = Shape(*self.X.shape[:1], *self.theta.shape, self.theta.shape[1])
        limits = NaturalGradientLogisticRegression._limits
        return make_objective(self.source, prior, choose_plan(fisher, shape, limits), seed)


def walk(objective, theta, options):
    """The iterates of a descent from theta, each with its step."""
    return descend(objective, objective.measure(theta), options)


def make_problem(n_classes, *, n_rows=40, n_features=3, intercept=True, seed=0, zero_weights=True):
    """Overlapping classes, uneven weights of which some are zero, and random coefficients."""
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
    """(m, K) probabilities of (m, q) logits, by the definition."""
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
    """The same values in every layout and container of arrays that `fit` accepts."""
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


def remaining_decrease(X, y, model, C, sample_weight=None, n_steps=8):
    """The decrease of the objective that Newton steps by orthogonal least squares find from a fit, relative to it.

    The steps are solved on the square root of F + Λ, (n K + p) rows, so they see columns that are collinear to 1e-8
    of their size, which the matrix F itself no longer represents. Columns far from zero are centred, as in predictions.
    """
    codes = np.searchsorted(model.classes_, y)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
    theta, centres = fitted_theta(model, intercept=model.fit_intercept)
    X = X if centres is None else X - centres
    design = np.column_stack([X, np.ones(len(X))]) if model.fit_intercept else X
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
    # a large constant common to all classes would only add rounding, and rounding can look like a decrease
    return move if q == 1 else move - move.mean(axis=0)


def random_text(n_rows, n_words, words_a_row, seed=0):
    """A CSR matrix of a few random words per row, and weights of the words; no dense array of its shape is made."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, n_words, size=n_rows * words_a_row)
    X = sparse.csr_matrix(
        (rng.uniform(size=words.size), words, np.arange(0, words.size + 1, words_a_row)), shape=(n_rows, n_words)
    )
    X.sum_duplicates()
    return X, rng.normal(size=n_words)


def rows_of(n_classes=2, n_rows=4000, n_features=4, seed=0, *, effect=1.0, base=2.0):
    """Rows of a logistic model; column j is multiplied by base**j after the labels are drawn."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n_rows, n_features))
    theta = effect * random.normal(size=(n_classes, n_features + 1))
    logits = X @ theta[:, :-1].T + theta[:, -1]
    return X * base ** np.arange(n_features), (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def standard_rows(n_classes, n_rows=2000, n_features=4, seed=0):
    """Rows of a logistic model with standard normal columns and coefficients of standard deviation 0.5."""
    return rows_of(n_classes, n_rows, n_features, seed, effect=0.5, base=1.0)


def raw_rows(n_classes=2, n_rows=20_000, n_features=6, seed=0):
    """Columns of scales from 0.001 to 1,000, labels of a logistic model, and uneven weights."""
    random = np.random.default_rng(seed)
    scales = 10.0 ** random.integers(-3, 4, n_features)
    X = random.normal(size=(n_rows, n_features)) * scales
    theta = 2.0 * random.normal(size=(n_classes, n_features)) / scales / np.sqrt(n_features)
    y = (X @ theta.T + random.gumbel(size=(n_rows, n_classes))).argmax(axis=1)
    weight = random.uniform(0.1, 3.0, size=n_rows)
    weight[::7] = 0.0
    return X, y, weight


def counts(n_classes=3, n_rows=90, seed=0):
    """Small whole numbers, half of them zero, that every type of array can hold."""
    rng = np.random.default_rng(seed)
    X = rng.poisson(0.8, size=(n_rows, 5)).astype(np.float64)
    return X, (X[:, 0] + X[:, 1] + rng.integers(0, 3, n_rows)).astype(int) % n_classes


def named_table(n_classes, names=("a", "b", "c"), **settings):
    """A data frame of 80 rows with these column names, and labels that are words."""
    problem = make_problem(n_classes, n_rows=80, n_features=len(names), **settings)
    return pd.DataFrame(problem.X, columns=list(names)), np.array(["ant", "bee", "cat", "dog"])[problem.codes]


def with_intercept_last(X):
    return np.column_stack([X, np.ones(len(X))])


def in_batches(X, y, sample_weight=None, size=500):
    """Consecutive batches of `size` rows."""
    parts = (X, y) if sample_weight is None else (X, y, sample_weight)
    return [tuple(part[start : start + size] for part in parts) for start in range(0, len(y), size)]


ROWS, CODES = rows_of(3)
WEIGHTS = np.random.default_rng(1).integers(0, 4, 4000) * np.random.default_rng(2).uniform(size=4000)
BATCHES = in_batches(ROWS, CODES)


def counting(batches):
    """Return a reader of these batches, and a list that gets one entry in each pass."""
    begun = []

    def read():
        begun.append(threading.get_ident())
        yield from batches

    return read, begun


def in_chunks(*arrays, rows=2_500):
    """Dask arrays with `rows` rows in each chunk."""
    import dask.array as da  # noqa: PLC0415 - only the tests of Dask load it

    return [da.from_array(array, chunks=(rows, *array.shape[1:])) for array in arrays]


def dask_frame(X, y, weight, npartitions=5):
    """A Dask data frame of the columns of X, a column `label` and a column `weight`."""
    import dask.dataframe as dd  # noqa: PLC0415 - only the tests of Dask load it

    table = pd.DataFrame(X, columns=[f"column {j}" for j in range(X.shape[1])])
    table["label"], table["weight"] = np.array(["b", "a", "c"])[y], weight
    return dd.from_pandas(table, npartitions=npartitions)


def quiet_fit(X, y, sample_weight=None, **parameters):
    """Fit with random_state=0, without a warning that the optimum was not reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return NaturalGradientLogisticRegression(random_state=0, **parameters).fit(X, y, sample_weight)


def fit_problem(problem, C=np.inf, **settings):
    """A fit of the problem's rows with their weights."""
    model = NaturalGradientLogisticRegression(C=C, **settings)
    return model.fit(problem.X, problem.codes, sample_weight=problem.weight)


def groups_of(problem, n_groups=71):
    """Some 30 groups of uneven size, in no order."""
    return np.random.default_rng(1).integers(0, n_groups, size=len(problem.codes)) ** 2 % n_groups


def infer_problem(problem, model, kind, **more):
    """Inference of one kind of covariance from the problem's rows with their weights."""
    groups = groups_of(problem) if kind == "cluster" else None
    return infer(model, problem.X, problem.codes, sample_weight=problem.weight, covariance=kind, groups=groups, **more)


def fit_with_covariance(X, y, **settings):
    return NaturalGradientLogisticRegression(store_covariance=True, **settings).fit(X, y)


def model_of(**parameters):
    """An estimator whose tolerance lets two fits be compared to ten digits."""
    return NaturalGradientLogisticRegression(**{"tol": TIGHT, "max_iter": 2000, "random_state": 0, **parameters})


def partial_fits(model, X, y, size=100, classes=None, sample_weight=None):
    """Call partial_fit with consecutive batches, and return the model."""
    classes = np.unique(y) if classes is None else classes
    for batch in gen_batches(len(y), size):
        weight = None if sample_weight is None else sample_weight[batch]
        model.partial_fit(X[batch], y[batch], classes=classes, sample_weight=weight)
    return model


def coefficients(model):
    """The (q, d) coefficients, with the intercept last."""
    return np.column_stack([model.coef_, model.intercept_]) if model.fit_intercept else model.coef_


def assert_same_bits(model, reference):
    np.testing.assert_array_equal(model.coef_, reference.coef_)
    np.testing.assert_array_equal(model.intercept_, reference.intercept_)
    np.testing.assert_array_equal(model.classes_, reference.classes_)
    assert model.loss_curve_ == reference.loss_curve_
    assert model.coef_.dtype == reference.coef_.dtype
    assert model.classes_.dtype == reference.classes_.dtype


def assert_same_fit(model, reference):
    """The same steps on the same blocks; at other addresses in memory, BLAS may round differently."""
    size = abs(coefficients(reference)).max()
    np.testing.assert_allclose(coefficients(model), coefficients(reference), rtol=0, atol=1e-12 * size)
    np.testing.assert_array_equal(model.classes_, reference.classes_)
    np.testing.assert_allclose(model.loss_curve_, reference.loss_curve_, rtol=1e-12)
    assert model.coef_.dtype == reference.coef_.dtype
    assert model.classes_.dtype == reference.classes_.dtype


def assert_same_optimum(model, reference, tol=1e-9):
    np.testing.assert_array_equal(model.classes_, reference.classes_)
    assert model.coef_.dtype == reference.coef_.dtype
    expected = coefficients(reference)
    np.testing.assert_allclose(coefficients(model), expected, rtol=0, atol=tol * abs(expected).max())


def assert_close(model, other, within=1e-10):
    """The same classes, and coefficients and intercepts that are equal relative to the largest."""
    size = abs(other.coef_).max()
    np.testing.assert_allclose(model.coef_ / size, other.coef_ / size, rtol=0, atol=within)
    np.testing.assert_allclose(
        model.intercept_, other.intercept_, rtol=0, atol=within * max(1, abs(other.intercept_).max())
    )
    assert model.classes_.tolist() == other.classes_.tolist()


def standard_errors_apart(model, reference, X, y, sample_weight=None):
    """The distance between two models, in standard errors along the direction between them."""
    result = infer(reference, X, y, sample_weight=sample_weight)
    moves = [
        coefficients(each) if len(each.classes_) == 2 else coefficients(each)[1:] - coefficients(each)[:1]
        for each in (model, reference)
    ]
    move = (moves[0] - moves[1]).ravel()
    return np.sqrt(move @ np.linalg.solve(result.covariance, move))


@contextmanager
def unchanged(model):
    """Assert that the attributes of the estimator stay the same to the last bit, also where an error is raised."""
    before = pickle.dumps(vars(model))
    yield
    assert pickle.dumps(vars(model)) == before


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def needed(name, reason):
    """The module, or a skip where it is not installed; unlike `pytest.importorskip`, a broken one is an error."""
    if find_spec(name.split(".", maxsplit=1)[0]) is None:
        pytest.skip(reason)
    with warnings.catch_warnings():
        # other packages warn when they are imported
        warnings.simplefilter("ignore")
        return import_module(name)


def legend_labels(legend):
    return [entry.get_text() for entry in legend.get_texts()]


def refuses(match, make, *given, error=ValueError, **settings):
    """Assert that a display raises an error with this message and leaves no empty figure."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only the tests of plots load it

    before = plt.get_fignums()
    with pytest.raises(error, match=match):
        make(*given, **settings)
    assert plt.get_fignums() == before, "an error leaves no blank figure"


class Recorder:
    """A callback that records the hooks that are called, and asks to stop at the end of one iteration."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = [], stop_at
        self.given, self.models = [], []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id))
        self.given.append((X, y, metadata))
        if context.task_name == "iteration":
            self.models.append(fitted_estimator)
        return context.task_name == "iteration" and context.task_id == self.stop_at
