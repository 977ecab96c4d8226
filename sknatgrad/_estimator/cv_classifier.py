"""The estimator that chooses C by cross-validation."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from sklearn import get_config
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from sknatgrad._definitions import member_of
from sknatgrad._estimator.base import LogisticRegressionBase
from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.classifier import NaturalGradientLogisticRegression
from sknatgrad._estimator.cv_loo import LEAVE_ONE_OUT, check_row_scoring
from sknatgrad._estimator.cv_scores import DEFAULT_SCORING, EVIDENCE, known_scoring
from sknatgrad._estimator.cv_search import AUTO, Evaluation, checked_or_largest, search
from sknatgrad._estimator.cv_splits import (
    Split,
    check_classes,
    check_classes_without,
    make_splits,
    refuse_splits,
)
from sknatgrad._estimator.cv_streamed import evaluation_of_batches
from sknatgrad._estimator.cv_task import CheckedRows, hardly_penalises
from sknatgrad._estimator.fit import FitResult, build_objective, plan_fit, run_descent
from sknatgrad._estimator.parameters import CONSTRAINTS
from sknatgrad._estimator.publish import publish, summarised, tell, unchanged_on_error
from sknatgrad._inputs.checks import check_covariance_size
from sknatgrad._inputs.configuration import layout_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._model.layout import WarmStart
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._rows.threads import Workers
from sknatgrad._sklearn import Interval, StrOptions, fit_context

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Labels, Matrix
    from sknatgrad._estimator.cv_search import Evaluate, Evaluated
    from sknatgrad._estimator.cv_task import CrossValidation, FoldTask
    from sknatgrad._inputs.configuration import Batches, ClassWeight, RandomState
    from sknatgrad._model.metrics import FisherName

# parameters of the plain estimator that this one has not: C is chosen, and no fit follows another
NOT_SHARED = ("C", "warm_start", "forgetting")


@member_of("sknatgrad")
class NaturalGradientLogisticRegressionCV(LogisticRegressionBase):
    r"""Logistic regression whose penalty is chosen by cross-validation.

    Fits a model to the training rows of each split with each value of C, scores it on the test rows, and fits all rows
    with the C of the highest mean score. The attributes are those of
    :class:`sklearn.linear_model.LogisticRegressionCV` with ``use_legacy_attributes=False``.

    The models of all splits and values of C are fitted together. For each C, Newton's method finds a point near the
    optimum of all rows, with the Fisher information of the rows of each split apart. Each training set takes its own
    Newton step from there, and all models go on by chord steps, whose gradients are computed in one reading of X for
    all of them. See Notes.

    Parameters
    ----------
    Cs : int, array-like of shape (n_cs,) or 'auto', default=10
        Values of C, each in (0, inf]; an integer is a number of values between 1e-4 and 1e4, evenly spaced on a
        logarithmic scale. ``C`` is the inverse strength of the L2 penalty. ``'auto'`` searches for the C of the highest
        mean score, to 1 % of C, below 1e5: decades first, down to where coefficients are near zero, then by Brent's
        method between the neighbours of the best. It suits scores that are smooth in C, such as log losses, and needs
        ``refit=True`` or ``'1se'`` unless there is one split.

    cv : int, splitter, iterable, 'loo' or None, default=None
        The splits: a number of stratified folds, 5 for None; a splitter of :mod:`sklearn.model_selection`; or an
        iterable of pairs of training and test rows. ``'loo'`` leaves out each row in turn, approximately: all rows are
        fitted, and the fit without a row follows by one step of Newton's method, or by a fit where that is not
        accurate: mean losses are within 5e-4 nats. Scores are means over rows, and n_folds below is 1.
        :meth:`fit_batches` takes fewer kinds.

    scoring : str, callable or None, default=None
        The score that is maximised: a name or a function as for :func:`sklearn.metrics.get_scorer`. None means
        ``'neg_log_loss'``, which is the default of scikit-learn from 1.11. ``'evidence'`` needs no splits: it is the
        logarithm of the likelihood integrated over the prior that the penalty stands for, by Laplace's approximation at
        the fit to all rows (MacKay 1992 [2]_); `cv` is None then, and n_folds below is 1.

    refit : bool or '1se', default=True
        Whether to fit all rows with the best C. ``'1se'`` takes the strongest penalty whose mean score is within one
        standard error of the best one instead (Breiman et al. 1984 [1]_). With False the coefficients are means over
        the splits, of those of the best C of each split, and `C_` is the mean of these values of C.

    fisher : {'true', 'empirical', 'diagonal', 'kronecker', 'monte_carlo', 'identity'}, default='true'
        The metric, as for :class:`NaturalGradientLogisticRegression`. With any but ``'true'`` models are fitted in
        turn.

    damping : float, default=1e-3
        Initial damping, >= 0, of models that are fitted in turn.

    learning_rate : 'auto' or float, default='auto'
        Step length. With a number models are fitted in turn.

    max_kl : float or None, default=None
        Bound on the length of a step, in nats for each unit of weight. With a number models are fitted in turn.

    max_iter : int, default=100
        Maximum number of steps of each fit, >= 0. With less than 50 models are fitted in turn.

    tol : float, default=1e-8
        Tolerance of the convergence test of each fit, relative to the loss.

    fit_intercept : bool, default=True
        Whether to fit an intercept.

    class_weight : dict, 'balanced' or None, default=None
        Weight of each class; ``'balanced'`` makes it inversely proportional to the total weight of the rows of the
        class in each training set.

    prior : (mean, precision), fitted model or None, default=None
        Gaussian prior, whose precision is divided by each C. With a prior models are fitted in turn.

    store_covariance : bool, default=False
        Whether to compute `covariance_` of the fit to all rows; not with ``refit=False``.

    random_state : int, RandomState instance or None, default=None
        Seed of the labels that ``fisher='monte_carlo'`` draws.

    on_interrupt : {'raise', 'keep'}, default='raise'
        What Ctrl-C does in the fit to all rows. It ends the fits to training sets with an error.

    verbose : int, default=0
        With 1 or more, the fit to all rows prints its steps.

    Attributes
    ----------
    C_ : float
        The chosen C.

    Cs_ : ndarray of shape (n_cs,)
        The values of C, in the given order; ascending those that ``Cs='auto'`` has tried.

    l1_ratio_ : float
        0: the penalty is L2.

    l1_ratios_ : ndarray of shape (1,)
        0.

    scores_ : ndarray of shape (n_folds, 1, n_cs)
        The score of each split and C. The axis of length 1 is that of `l1_ratios_`. A split whose scores are all NaN,
        such as one whose test rows have no weight, has no part in the means.

    score_standard_errors_ : ndarray of shape (n_cs,)
        Standard error of the mean score of each C: over the splits, or with ``cv='loo'`` over the rows; 0 of a single
        split.

    coefs_paths_ : ndarray of shape (n_folds, 1, n_cs, n_logits, n_features) or (..., n_features + 1)
        Coefficients of each split and C, the intercept last; n_logits is 1 for two classes.

    n_iter_ : ndarray of shape (n_folds, 1, n_cs)
        Number of steps of each fit, including those to the point near the optimum of all rows from which it begins.

    classes_ : ndarray of shape (n_classes,)
        The class labels, sorted.

    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the fit to all rows.

    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; zeros without an intercept.

    converged_ : bool
        Whether the fit to all rows converged; absent with ``refit=False``, as the curves are.

    loss_curve_, kl_curve_, time_curve_ : list of float
        Of the fit to all rows, as those of :class:`NaturalGradientLogisticRegression`. It begins near its optimum.

    covariance_ : ndarray of shape (n_logits * d, n_logits * d)
        Covariance of the coefficients of the fit to all rows, with ``store_covariance=True``.

    n_passes_ : int
        Number of passes over the rows, after `fit_batches`.

    n_features_in_ : int
        Number of features.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has them.

    See Also
    --------
    NaturalGradientLogisticRegression : Fits one model with a given C.

    Notes
    -----
    Models are fitted together if F of all rows is a matrix that costs less than conjugate gradients for each of them:
    up to a few hundred columns times classes. Otherwise, and wherever a chord step leaves more than a quarter of the
    decrement, they are fitted in turn, each from the nearest coefficients that are known. Both end within `tol`.

    A model of a training set without rows of a class keeps that class: its probability tends to 0.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees", Wadsworth, 1984,
       section 3.4.3.
    .. [2] D. J. C. MacKay, "The evidence framework applied to classification networks", Neural Computation 4(5), 1992.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad import NaturalGradientLogisticRegressionCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = NaturalGradientLogisticRegressionCV().fit(X, y)  # no scaling
    >>> model.scores_.shape
    (5, 1, 10)
    >>> round(model.C_, 1)
    21.5
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: values for name, values in CONSTRAINTS.items() if name not in NOT_SHARED},
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like", StrOptions({AUTO})],
        "cv": ["cv_object", StrOptions({LEAVE_ONE_OUT})],
        "scoring": [StrOptions({EVIDENCE, *get_scorer_names()}), callable, None],
        "refit": ["boolean", StrOptions({"1se"})],
    }

    def __init__(  # noqa: PLR0913 - parameters of an estimator are keywords
        self,
        *,
        Cs: int | ArrayLike | Literal["auto"] = 10,
        cv: Any = None,
        scoring: Any = None,
        refit: bool | Literal["1se"] = True,
        fisher: FisherName = "true",
        damping: float = 1e-3,
        learning_rate: float | Literal["auto"] = "auto",
        max_kl: float | None = None,
        max_iter: int = 100,
        tol: float = 1e-8,
        fit_intercept: bool = True,
        class_weight: ClassWeight = None,
        prior: Any = None,
        store_covariance: bool = False,
        random_state: RandomState = None,
        on_interrupt: Literal["raise", "keep"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.fisher = fisher
        self.damping = damping
        self.learning_rate = learning_rate
        self.max_kl = max_kl
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.prior = prior
        self.store_covariance = store_covariance
        self.random_state = random_state
        self.on_interrupt = on_interrupt
        self.verbose = verbose

    @property
    def C(self) -> float:  # noqa: N802 - the name of the parameter
        """The chosen C, as the other estimator names it."""
        return float(self.C_)

    @fit_context(prefer_skip_nested_validation=True)
    @ignoring_underflow
    def fit(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any) -> Self:
        """Choose C by cross-validation, and fit all rows with it.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows, as for :meth:`NaturalGradientLogisticRegression.fit`.

        y : array-like of shape (n_samples,)
            Class labels.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0, in fits and scores. With metadata routing the scorer has to request it.

        **params : dict
            Arguments of the splitter and the scorer, such as `groups`, with metadata routing.

        Returns
        -------
        self : NaturalGradientLogisticRegressionCV
            The fitted estimator. If the fit raises an error, the estimator is unchanged.

        Raises
        ------
        ValueError
            If a parameter, X, y or the weights are invalid, or a split has no test rows or training rows of one class.

        Warns
        -----
        ConvergenceWarning, SeparationWarning
            As :meth:`NaturalGradientLogisticRegression.fit` does; of the fits to training sets the first of each kind,
            with the number of others.
        """
        monitor = FitMonitor(self, X, y, sample_weight)
        with unchanged_on_error(self), Workers(limits_blas=False) as workers, monitor:
            routed = self._routed("fit", params, sample_weight)
            task, labels = self._task(X, y, sample_weight, workers, routed.splits)
            if "sample_weight" in routed.scores:
                # one for each row, also where a number was given
                routed.scores["sample_weight"] = task.rows.weight
            scoring = known_scoring(self.scoring)
            self._search(Evaluation(task, labels, scoring, routed.scores, isinstance(self.cv, str)), monitor)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @ignoring_underflow
    def fit_batches(self, batches: Batches, classes: ArrayLike | None = None) -> Self:
        """Choose C by cross-validation of rows that are read in batches, and fit all rows with it.

        The fold of a row is a hash of its number, so it does not depend on the sizes of batches or on memory. Folds are
        not stratified: the share of a class in a fold of m rows has a standard deviation of at most ``0.5 / sqrt(m)``.
        All models are fitted in the same passes over the batches, usually 10 to 15. Models that cannot be fitted
        together, as the class says, make passes of their own.

        Parameters
        ----------
        batches : iterable or callable
            Batches ``(X, y)`` or ``(X, y, sample_weight)``, as for
            :meth:`sknatgrad.NaturalGradientLogisticRegression.fit_batches`. Weights count in fits and scores.

        classes : array-like of shape (n_classes,) or None, default=None
            The class labels that are allowed; None allows all labels in the batches.

        Returns
        -------
        self : NaturalGradientLogisticRegressionCV
            The fitted estimator, with `n_passes_`, the number of passes over the batches, besides the attributes of
            `fit`. If reading or fitting fails, the estimator is unchanged.

        Raises
        ------
        ValueError
            If a parameter or a batch is invalid, a later pass gives different rows, `cv` is neither None, an integer
            nor a :class:`sklearn.model_selection.PredefinedSplit` with the fold of each row, `scoring` is not
            ``'neg_log_loss'``, ``'accuracy'`` or ``'evidence'``, or a fold has no rows or training rows of one class.

        Warns
        -----
        ConvergenceWarning, SeparationWarning
            As `fit` does.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.utils import gen_batches
        >>> from sknatgrad import NaturalGradientLogisticRegressionCV
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> model = NaturalGradientLogisticRegressionCV()
        >>> model = model.fit_batches(lambda: ((X[rows], y[rows]) for rows in gen_batches(len(y), 100)))
        >>> model.scores_.shape
        (5, 1, 10)
        """
        monitor = FitMonitor(self)
        with unchanged_on_error(self), Workers() as workers, monitor:
            self._search(evaluation_of_batches(self, self._plain, batches, classes, workers), monitor)
        return self

    def _search(self, evaluate: Evaluate, monitor: FitMonitor) -> None:
        """Choose C, fit all rows with it, and set the attributes."""
        task = evaluate.task
        if isinstance(self.Cs, str) and self.refit is False and len(task.totals) > 1:
            message = (
                "refit=False averages the best C of each split, and Cs='auto' searches for the best of their mean "
                "score; pass refit=True, or values of C."
            )
            raise ValueError(message)
        found = search(evaluate, auto=isinstance(self.Cs, str), one_standard_error=self.refit == "1se")
        chosen = self._refitted(task, found, monitor) if self.refit else _averaged(task, found)
        attributes = {**chosen.attributes, **_search_attributes(task, found)}
        if not self.refit and task.data.n_passes is not None:
            attributes["n_passes_"] = task.data.n_passes()
        publish(self, attributes)
        told = summarised(found.fits.notices)
        texts = {str(notice) for notice in told}
        tell([*told, *(notice for notice in chosen.notices if str(notice) not in texts)])

    def _task(
        self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None, workers: Workers, split_params: dict[str, Any]
    ) -> tuple[CrossValidation, Labels]:
        """Return what is to be fitted, checked before any fit, and the labels."""
        Cs = checked_or_largest(self.Cs)
        checked = CheckedRows.of(self, X, y, sample_weight)
        classes, codes = checked.classes, checked.rows.codes
        labels = classes[codes]
        model = self._plain(float(Cs.max()))
        if self._has_one_split:
            self._check_one_split(model, classes)
            splits = [Split.all_rows(codes.size)]
        else:
            splits = make_splits(self.cv, checked.rows.X, labels, codes, split_params)
        check_classes(splits, classes, codes, checked.weight)
        if self.scoring != EVIDENCE and self._has_one_split:
            check_classes_without(classes, codes, checked.weight)
        return checked.split(model, splits, Cs, workers), labels

    @property
    def _has_one_split(self) -> bool:
        """Whether all rows are fitted and scored: by their evidence, or each by the fit without it."""
        return self.scoring == EVIDENCE or isinstance(self.cv, str)

    def _check_one_split(self, model: NaturalGradientLogisticRegression, classes: Labels) -> None:
        """Refuse settings with which such a score does not exist, or has no use."""
        by_evidence = self.scoring == EVIDENCE
        setting = "scoring='evidence'" if by_evidence else "cv='loo'"
        if by_evidence:
            refuse_splits(self.cv)
        else:
            check_row_scoring(self.scoring)
        layout, other = layout_of(model, classes), "scoring" if by_evidence else "cv"
        check_covariance_size(layout.n_params, f"pass another {other}, or fewer columns", self._limits)
        if configured_prior(model, classes).quadratic is not None:
            message = (
                f"prior has a precision that is a matrix or differs between classes, for which {setting} is not "
                f"implemented; pass another {other}."
            )
            raise ValueError(message)

    def _plain(self, C: float) -> NaturalGradientLogisticRegression:
        """Return an estimator of one model with the same parameters."""
        # these are of the fit to all rows
        shared = set(CONSTRAINTS) - set(NOT_SHARED) - {"verbose", "on_interrupt"}
        model = NaturalGradientLogisticRegression(C=C, **{name: getattr(self, name) for name in shared})
        model._limits = self._limits  # type: ignore[misc]  # noqa: SLF001 - budgets of this one
        model.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    def _refitted(self, task: FoldTask, found: Evaluated, monitor: FitMonitor) -> FitResult:
        """Return the fit to all rows with the best C."""
        scores = found.scores
        best = scores.one_standard_error(found.Cs) if self.refit == "1se" else scores.best
        model, data = task.model, task.data
        model.C, model.verbose = float(found.Cs[best]), self.verbose
        plan = plan_fit(model, data)
        if not hardly_penalises(model.C):
            start = WarmStart(found.fits.refit_start(best), data.layout._replace(groups=None))
            plan = plan._replace(start=start.transfer(data.layout))
        result = run_descent(model, data, plan, build_objective(data, plan), monitor)
        return result._replace(attributes={**result.attributes, "C_": model.C})

    def score(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None, **params: Any) -> float:
        """Return the score of `scoring` on rows.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Rows.

        y : array-like of shape (n_samples,)
            Their labels.

        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weight of each row.

        **params : dict
            Arguments of the scorer, with metadata routing.

        Returns
        -------
        score : float
            The negative log loss, in nats for each unit of weight, unless `scoring` names another.
        """
        if sample_weight is not None and np.ndim(sample_weight) == 0:
            sample_weight = np.full(len(y), sample_weight)  # type: ignore[arg-type]  # scorers need one weight a row
        routed = self._routed("score", params, sample_weight)
        return float(self._scorer()(self, X, y, **routed.scores))

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what this estimator passes on: arguments of `fit` to splitter and scorer, of `score` to the scorer.

        Returns
        -------
        routing : MetadataRouter
            The routing of scikit-learn.
        """
        to_splitter = MethodMapping().add(caller="fit", callee="split")
        to_scorer = MethodMapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(splitter=self.cv, method_mapping=to_splitter).add(
            scorer=self._scorer(), method_mapping=to_scorer
        )

    def _scorer(self) -> Any:
        has_default = self.scoring is None or self.scoring == EVIDENCE
        return get_scorer(DEFAULT_SCORING if has_default else self.scoring)

    def _routed(self, method: str, params: dict[str, Any], sample_weight: ArrayLike | None) -> Routed:
        """Return the arguments that splitter and scorer get."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, method, **weights, **params)
            return Routed(routed.get("splitter", {}).get("split", {}), dict(routed.scorer.score))
        if params:
            message = (
                f"{method} got {sorted(params)}, which it passes on only with metadata routing: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
            raise ValueError(message)
        return Routed({}, weights)


class Routed(NamedTuple):
    """The arguments that the splitter and the scorer get."""

    splits: dict[str, Any]
    scores: dict[str, Any]


def _search_attributes(task: FoldTask, found: Evaluated) -> dict[str, object]:
    """Return the attributes of the search; the axis of length 1 is that of `l1_ratios_`."""
    layout = task.data.layout._replace(groups=None)
    paths = found.fits.theta.copy()
    if layout.centres is not None:
        paths[..., -1] -= paths[..., :-1] @ layout.centres
    return {
        "Cs_": found.Cs,
        "l1_ratio_": 0.0,
        "l1_ratios_": np.zeros(1),
        "scores_": found.scores.of_splits[:, None],
        "score_standard_errors_": found.scores.standard_error,
        "coefs_paths_": paths[:, None],
        "n_iter_": found.fits.n_iter[:, None],
    }


def _averaged(task: FoldTask, found: Evaluated) -> FitResult:
    """Return the means over the splits of the coefficients of the best C of each, and of these values of C."""
    best = found.scores.best_of_each
    theta = found.fits.theta[np.flatnonzero(found.scores.has_score), best].mean(axis=0)
    layout = task.data.layout._replace(groups=None)
    return FitResult({**layout.attributes(theta, np.float64), "C_": float(np.mean(found.Cs[best]))}, [])
