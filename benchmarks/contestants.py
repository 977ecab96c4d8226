"""The contestants: every solver at C = 1 with an unpenalised intercept, on a ladder of its own tolerances.

If a package always penalises the intercept, the fit makes that penalty as small as possible, and the description
explains how. Packages are imported where they are used, so the suite runs without those that are not installed.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.environment import available_cores
from benchmarks.workloads import Problem

# entries of X above which the threads of snapml save more time than they cost
SNAPML_THREADS_FROM = 10**6


@dataclass(frozen=True)
class Fitted:
    """Result of a fit: coef (q, p) and intercept (q,), where q = 1 for two classes and K otherwise."""

    coef: np.ndarray
    intercept: np.ndarray
    iterations: int | None


@dataclass(frozen=True)
class Rung:
    """One setting of a contestant's own stopping rule; `default` marks its default settings."""

    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    default: bool = False


@dataclass(frozen=True)
class Contestant:
    """A solver with its ladder, the loosest rung first; ``fit(problem, **settings)`` returns `Fitted`."""

    name: str
    package: str
    description: str
    ladder: tuple[Rung, ...]
    fit: Callable[..., Fitted]
    takes_sparse: bool = True
    takes_many_classes: bool = True
    takes_weights: bool = True

    def rungs(self, at_most=None):
        """Return the ladder, or `at_most` of its rungs, evenly spaced and including the tightest."""
        last = len(self.ladder) - 1
        if at_most is None or at_most > last:
            return self.ladder
        return tuple(self.ladder[round(last * (1 - step / at_most))] for step in reversed(range(at_most)))

    def rung(self, label):
        """Return the rung with a label."""
        return next(rung for rung in self.ladder if rung.label == label)

    def refusal(self, *, stored_sparse, n_classes, weighted=False):
        """Return the reason why the contestant cannot fit such data, or None."""
        if stored_sparse and not self.takes_sparse:
            return "dense data only"
        if n_classes > 2 and not self.takes_many_classes:
            return "two classes only"
        if weighted and not self.takes_weights:
            return "no weights"
        return None


def _of_estimator(model):
    return Fitted(model.coef_, model.intercept_, int(np.max(model.n_iter_)))


def _fit_ours(problem, **settings):
    from sknatgrad import NaturalGradientLogisticRegression

    return _of_estimator(NaturalGradientLogisticRegression(**settings).fit(*problem))


def _fit_sklearn(problem, **settings):
    from sklearn.linear_model import LogisticRegression

    # its defaults are C=1 and an L2 penalty, without the intercept except in liblinear
    return _of_estimator(LogisticRegression(random_state=0, **settings).fit(*problem))


def _fit_glum(problem, **settings):
    from glum import GeneralizedLinearRegressor

    # it minimises the weighted mean of the log-losses plus alpha / 2 ‖w‖², without a penalty on the intercept
    model = GeneralizedLinearRegressor(
        family="binomial", alpha=1.0 / problem.total_weight, l1_ratio=0, solver="irls-ls", max_iter=1000, **settings
    )
    model.fit(problem.X, problem.codes.astype(np.float64), sample_weight=problem.weight)
    return Fitted(model.coef_[None, :], np.array([model.intercept_]), int(model.n_iter_))


def _fit_statsmodels(problem, method, tol):
    from scipy.optimize import minimize
    from statsmodels.base._penalized import PenalizedMixin
    from statsmodels.base._penalties import L2
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    class PenalizedGLM(PenalizedMixin, GLM):
        pass

    def bfgs(objective, start, jac, **_unused):
        # statsmodels passes no tolerance to the method
        return minimize(objective, start, jac=jac, method="BFGS", options={"gtol": tol, "maxiter": 10_000})

    n_rows, n_columns = problem.X.shape
    penalty_weights = np.append(np.ones(n_columns), 0.0)
    X = np.column_stack([problem.X, np.ones(n_rows)])
    family = {"family": Binomial()} | ({} if problem.weight is None else {"freq_weights": problem.weight})
    if method == "BFGS":
        model = GLM(problem.codes, X, **family)
        # it divides the log-likelihood by the number of rows, with or without weights
        params = np.asarray(model.fit_regularized(alpha=penalty_weights / n_rows, L1_wt=0.0, opt_method=bfgs).params)
        return Fitted(params[None, :-1], params[-1:], None)
    model = PenalizedGLM(problem.codes, X, **family, penal=L2(weights=penalty_weights), pen_weight=0.5)
    # The unpenalised IRLS steps of the default start diverge on separable data, and trimming sets small weights to
    # zero.
    start = {"start_params": np.zeros(n_columns + 1), "max_start_irls": 0, "trim": False}
    result = model.fit(method="newton", tol=tol, maxiter=100, disp=False, **start)
    params = np.asarray(result.params)
    return Fitted(params[None, :-1], params[-1:], int(result.mle_retvals["iterations"]))


def _fit_sklearnex(problem, **settings):
    from sklearnex.linear_model import LogisticRegression

    # threads of oneDAL do not obey the variables of OpenMP
    return _of_estimator(LogisticRegression(random_state=0, n_jobs=_threads(), **settings).fit(*problem))


def _fit_adelie(problem, **settings):
    from adelie import glm, grpnet, matrix

    X, codes, weight = problem
    n_classes = int(codes.max()) + 1
    threads = {"n_threads": _threads()}
    if sparse.issparse(X):
        X = matrix.sparse(sparse.csc_matrix(X), **threads)
    else:
        X = matrix.dense(np.asfortranarray(X), **threads)
    if n_classes == 2:
        family = glm.binomial(codes.astype(np.float64), weights=weight)
    else:
        family = glm.multinomial(np.eye(n_classes)[codes], weights=weight)
    # it minimises the weighted mean of the log-losses, for K > 2 divided by K, plus lmda / 2 ‖w‖²
    lmda = 1.0 / (problem.total_weight * (1 if n_classes == 2 else n_classes))
    state = grpnet(
        *(X, family),
        **settings,
        **threads,
        alpha=0.0,
        penalty=np.ones(problem.X.shape[1]),
        lmda_path=np.array([lmda]),
        max_iters=10**6,
        early_exit=False,
        progress_bar=False,
    )
    betas = state.betas[-1].toarray().ravel()
    if n_classes == 2:
        return Fitted(betas[None, :], np.ravel(state.intercepts[-1]), None)
    return Fitted(betas.reshape(-1, n_classes).T, np.ravel(state.intercepts[-1]), None)


def _threads():
    """Return the number of threads for a package that takes it as an argument."""
    return int(os.environ.get("OMP_NUM_THREADS", available_cores()))


def _fit_snapml(problem, intercept_scaling, **settings):
    from snapml import LogisticRegression

    # The column for the intercept is added here, because snapml does not return the intercept of a primal fit.
    X = problem.X
    n_rows, n_columns = X.shape
    if sparse.issparse(X):
        column = sparse.csr_matrix(np.full((n_rows, 1), intercept_scaling))
        design = sparse.csc_matrix(sparse.hstack([X, column]))
    else:
        # snapml would copy an array of any other order or type
        design = np.empty((n_rows, n_columns + 1), dtype=np.float32, order="F")
        design[:, :-1] = X
        design[:, -1] = intercept_scaling
    n_entries = X.nnz if sparse.issparse(X) else X.size
    threads = _threads() if n_entries >= SNAPML_THREADS_FROM else 1
    model = LogisticRegression(regularizer=1.0, dual=False, n_jobs=threads, random_state=0, **settings)
    coef = np.ravel(model.fit(design, problem.codes).coef_).astype(np.float64)
    return Fitted(coef[None, :-1], coef[-1:] * intercept_scaling, None)


def _tols(*tols, key="tol", **settings):
    return tuple(Rung(f"{key}={tol:g}", {key: tol, **settings}) for tol in tols)


def _sklearn(solver, ladder, **limits):
    ladder = tuple(Rung(rung.label, {"solver": solver, **rung.settings}) for rung in ladder)
    description = limits.pop("description", f"scikit-learn's solver {solver!r}")
    return Contestant(solver, "scikit-learn", description, ladder, _fit_sklearn, **limits)


def _capped(*pairs):
    return tuple(Rung(f"tol={tol:g}, max_iter={cap}", {"tol": tol, "max_iter": cap}) for tol, cap in pairs)


def _all():
    ours = (*_tols(1e-3, 1e-6), Rung("default", default=True))
    yield Contestant("sknatgrad", "sknatgrad", "natural gradient descent at its defaults", ours, _fit_ours)
    capped = _capped(
        *((1e-1, 100), (1e-2, 100), (1e-3, 300), (1e-4, 300), (1e-4, 1000), (1e-5, 1000), (1e-5, 3000), (1e-6, 3000)),
        *((1e-6, 10_000), (1e-7, 10_000), (1e-8, 30_000), (1e-10, 100_000)),
    )
    description = "scikit-learn's default solver; it also stops if a step decreases the loss by less than 64 eps of it"
    yield _sklearn("lbfgs", capped, description=description)
    yield _sklearn("newton-cholesky", _tols(1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, max_iter=1000))
    yield _sklearn("newton-cg", _tols(1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, max_iter=10_000))
    description = "scikit-learn's incremental solver 'saga'; its max_iter is the number of passes over the rows"
    pairs = (
        *((1e-1, 10), (1e-2, 30), (1e-2, 100), (1e-3, 300), (1e-3, 1000), (1e-4, 3000), (1e-5, 10_000)),
        *((1e-6, 10_000), (1e-6, 100_000), (1e-8, 1_000_000)),
    )
    yield _sklearn("saga", _capped(*pairs), description=description)
    yield _liblinear()
    description = (
        "glum's IRLS ('irls-ls'). It minimises the mean log-loss + alpha / 2 ‖w‖² with an unpenalised intercept, which "
        "is the same objective at alpha = 1 / (C n)"
    )
    ladder = _tols(1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, key="gradient_tol")
    yield Contestant("glum", "glum", description, ladder, _fit_glum, takes_many_classes=False)
    description = (
        "statsmodels' GLM: its PenalizedMixin with 'newton' from zero, without damping, and fit_regularized with BFGS, "
        "which has a line search. The objective is the same, with a penalty weight of 0 for the intercept"
    )
    steps = (("newton", 1e-3), ("newton", 1e-8), ("BFGS", 1e-3), ("BFGS", 1e-4), ("BFGS", 1e-5), ("BFGS", 1e-7))
    ladder = tuple(Rung(f"{method}, tol={tol:g}", {"method": method, "tol": tol}) for method, tol in steps)
    limits = {"takes_sparse": False, "takes_many_classes": False}
    yield Contestant("statsmodels", "statsmodels", description, ladder, _fit_statsmodels, **limits)
    yield _snapml()
    description = (
        "scikit-learn-intelex: lbfgs on losses of oneDAL, with 50 stored corrections instead of 10. It passes sparse "
        "X, sample weights and all other solvers on to scikit-learn, so these are not run"
    )
    limits = {"takes_sparse": False, "takes_weights": False}
    yield Contestant("sklearnex", "scikit-learn-intelex", description, capped, _fit_sklearnex, **limits)
    yield _adelie()


def _adelie():
    description = (
        "adelie's coordinate descent within IRLS ('grpnet'), with groups of one column and a path of one penalty. It "
        "minimises the mean log-loss, for K > 2 divided by K, + lmda / 2 ‖w‖² with an unpenalised intercept. For "
        "K > 2, it bounds the Hessian over classes by a diagonal matrix, so that it needs many iterations"
    )
    steps = ((1e-3, 1e-3), (1e-4, 1e-4), (1e-5, 1e-5), (1e-7, 1e-7), (1e-9, 1e-9), (1e-10, 1e-12), (1e-14, 1e-14))
    ladder = tuple(Rung(f"irls_tol={irls:g}, tol={tol:g}", {"irls_tol": irls, "tol": tol}) for irls, tol in steps)
    return Contestant("adelie", "adelie", description, ladder, _fit_adelie)


def _liblinear():
    description = (
        "LIBLINEAR's trust region method (primal), called by scikit-learn. It penalises the intercept b by "
        "½ (b / intercept_scaling)², so tight rungs raise intercept_scaling to 10,000"
    )
    low = ((1e2, 1e-2), (1e2, 1e-4), (1e2, 1e-6), (1e2, 1e-8))
    steps = (*low, (1e3, 1e-4), (1e3, 1e-6), (1e3, 1e-8), (1e4, 1e-8), (1e4, 1e-10), (1e4, 1e-12))
    ladder = tuple(
        Rung(f"tol={tol:g}, intercept_scaling={scale:g}", {"tol": tol, "intercept_scaling": scale, "max_iter": 10_000})
        for scale, tol in steps
    )
    return _sklearn("liblinear", ladder, description=description, takes_many_classes=False)


def _snapml():
    description = (
        "Snap ML's primal coordinate descent on float32 copies. It penalises the intercept b like a coefficient, and "
        "its primal fit does not return it. A column of 100 is therefore added to X, which makes the penalty "
        "½ (b / 100)². The dual fit was less accurate"
    )
    steps = ((1e-2, 1000), (1e-3, 1000), (1e-4, 10_000), (1e-6, 10_000), (1e-8, 10_000))
    ladder = tuple(
        Rung(f"tol={tol:g}, max_iter={cap}", {"tol": tol, "max_iter": cap, "intercept_scaling": 100.0})
        for tol, cap in steps
    )
    limits = {"takes_many_classes": False, "takes_weights": False}
    return Contestant("snapml", "snapml", description, ladder, _fit_snapml, **limits)


def _metrics():
    for fisher in ("true", "empirical", "monte_carlo", "kronecker", "diagonal", "identity"):
        ladder = _tols(1e-3, 1e-4, 1e-5, 1e-6, 1e-7, fisher=fisher, max_iter=1000, random_state=0)
        yield Contestant(
            f"fisher={fisher}", "sknatgrad", f"natural gradient descent with the metric {fisher!r}", ladder, _fit_ours
        )


PEERS = {contestant.name: contestant for contestant in _all()}
METRICS = {contestant.name: contestant for contestant in _metrics()}
CONTESTANTS = PEERS | METRICS
OURS = "sknatgrad"


def tiny_problem(*, stored_sparse, n_classes, weighted=False):
    """Return a small `Problem` for a first fit, which takes the time of imports and compilation."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    codes = np.arange(60) % min(n_classes, 3)
    return Problem(sparse.csr_matrix(X) if stored_sparse else X, codes, rng.uniform(0.5, 1.5, 60) if weighted else None)
