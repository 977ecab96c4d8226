"""The scikit-learn face: validate, assemble, descend, publish."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.documentation import DocumentedMixin
from sknatgrad._estimator.fit_batches import BatchesMixin
from sknatgrad._estimator.history import History, advice, separated_in_part, separation
from sknatgrad._estimator.partial_fit import StreamingMixin
from sknatgrad._estimator.pickling import StoredMixin
from sknatgrad._estimator.predict import PredictionMixin
from sknatgrad._inputs.checks import unchanged_on_error
from sknatgrad._inputs.columns import INTERCEPT, feature_names
from sknatgrad._inputs.configuration import descent_options, objective_of
from sknatgrad._inputs.prior import configured_prior
from sknatgrad._inputs.training_data import in_memory
from sknatgrad._limits import Limits
from sknatgrad._model.metrics import FisherName
from sknatgrad._model.parameters import Start, attributes_of, into_columns, join
from sknatgrad._rows.threads import Workers
from sknatgrad._sklearn import CallbackSupportMixin, HasMethods, Interval, StrOptions, fit_context
from sknatgrad._solver.descent import descend
from sknatgrad._solver.records import Outcome
from sknatgrad._solver.warm_up import starting_point, warm_up
from sknatgrad.exceptions import SeparationWarning

if TYPE_CHECKING:
    from sknatgrad._inputs.training_data import TrainingData
    from sknatgrad._rows.source import RowSource
    from sknatgrad._solver.problem import DescentOptions, State
    from sknatgrad._solver.records import Step
    from sknatgrad._typing import Array, Codes, Matrix


class NaturalGradientLogisticRegression(
    BatchesMixin,
    StreamingMixin,
    PredictionMixin,
    StoredMixin,
    DocumentedMixin,
    CallbackSupportMixin,
    ClassifierMixin,
    BaseEstimator,
):
    r"""Logistic regression, binary and multinomial, fitted by natural gradient descent.

    Minimises the objective of :class:`sklearn.linear_model.LogisticRegression`,

    .. math:: J(\theta) = \sum_i s_i\, \ell_i(\theta) + \frac{1}{2C} \sum_{kj} w_{kj}^2,

    with :math:`\ell_i` the negative log-likelihood of row i in nats, :math:`s_i` its sample weight times its class
    weight, and w the coefficients without the intercept, which is not penalised. Each step is
    :math:`-M^{-1} \nabla J`, where M is a metric on distributions: the Fisher information F, the Hessian of the
    Kullback-Leibler divergence between predictions, plus the prior and damping. So steps do not depend on how
    features are scaled or mixed, and raw tables converge, as far as float64 can tell their columns apart (see Notes).

    Parameters
    ----------
    fisher : {'true', 'empirical', 'diagonal', 'kronecker', 'monte_carlo', 'identity'}, default='true'
        The metric. All reach the same optimum, by different paths. See Notes for the formulas.

    C : float, default=1.0
        Inverse of the strength of the L2 penalty, in (0, inf]. ``C=np.inf`` is no penalty at all.

    damping : float, default=1e-3
        Levenberg-Marquardt damping to start from, >= 0: this multiple of the metric's own diagonal (averaged over
        classes) is added to it. Adapted by how well each step was predicted, unless `learning_rate` is a number.

    learning_rate : 'auto' or float, default='auto'
        Length of the steps. ``'auto'`` minimises the quadratic model with the exact Fisher information over the span
        of the natural gradient and the previous step, and accepts a step only if the loss falls. A number is used as
        it is, for every step, with constant damping: the textbook algorithm.

    max_kl : float or None, default=None
        Longest step allowed, in nats of :math:`\frac{1}{2} v^T F v / S` (mean KL divergence of the predictions to
        second order); longer ones are shortened to it.

    max_iter : int, default=100
        Largest number of steps.

    tol : float, default=1e-8
        Stop when the natural decrement :math:`\frac{1}{2} g^T (F + \Lambda)^{-1} g`, which is what is still to be
        gained, is at most this share of the loss. It is asked of the true Fisher information whatever the metric, so
        a fit that says it has converged has converged. Under ``'auto'`` the step that closes the gap is then taken.
        Where matrices are factorised, next to nothing is left after it; where steps are solved by conjugate gradients,
        at most about ``tol / 1000``.

    fit_intercept : bool, default=True
        Whether to fit an intercept.

    class_weight : dict, 'balanced' or None, default=None
        Weight of each class by label, or ``'balanced'`` for weights inversely proportional to the class totals.

    prior : (mean, precision), fitted model or None, default=None
        What the penalty is the Gaussian prior of: :math:`\frac{1}{2C} (\theta - \mu)^T P (\theta - \mu)`. None is a
        mean of 0, and a precision of 1 for features and 0 for the intercept. Mean and precision are each a number, for
        all features alike; an array of shape (n_features,), for penalties by feature; of shape (q, d), with the
        intercept last, which is 0 where it is not given; the precision also a matrix (q * d, q * d), ordered as
        `covariance_`. An earlier model of the same classes and features, fitted with ``store_covariance=True`` or by
        `partial_fit`, stands for its posterior: what was learnt from its rows then counts as if they were here. In a
        search or cross-validation wrap it in :class:`sklearn.frozen.FrozenEstimator`. At ``C=np.inf`` there is no
        prior, whatever is given.

    warm_start : bool, default=False
        Start from the coefficients of the last fit, carried over by class label (a new class starts at zero), unless
        the loss is higher there than at zero.

    store_covariance : bool, default=False
        Whether to compute `covariance_`, by one more pass over the data, for predictions with their uncertainty:
        `predict_proba_interval`, `decision_function_std`, `predict_proba_averaged` and `sample_coef`. See
        :func:`sknatgrad.inference.infer` for standard errors and tests, which need no such thing.

    forgetting : float, default=1.0
        For `partial_fit`: how much of the information of the rows before is left after each row, in (0, 1]. 1 forgets
        nothing; for data that drift, 0.999 remembers about the last 1,000 rows.

    random_state : int, RandomState instance or None, default=None
        For the labels that ``fisher='monte_carlo'`` draws.

    on_interrupt : {'raise', 'keep'}, default='raise'
        What Ctrl-C does to a fit. ``'raise'`` lets the `KeyboardInterrupt` out, and the estimator stays as it was.
        ``'keep'`` ends the fit with the iterate of the lowest loss, and warns how far it is; before the first loss over
        all rows there is none, and the interruption is let out. After the last step it leaves out `covariance_`.

    verbose : int, default=0
        1 prints a line an iteration, 2 also the choice of method and the rejected trials.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients: the log-odds of ``classes_[1]`` for two classes, otherwise one row a class, which sum to zero
        over classes. float32 if X was, otherwise float64.

    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; zeros if `fit_intercept` is False.

    classes_ : ndarray of shape (n_classes,)
        The class labels, sorted.

    covariance_ : ndarray of shape (q * d, q * d)
        Only with ``store_covariance=True``: the covariance of the coefficients, :math:`(F + \Lambda)^{-1}` at the
        optimum, where F is the true Fisher information, whatever `fisher` says, and :math:`\Lambda` the penalty's
        precision: 1/C for features, 0 for the intercept. Without a penalty that of maximum likelihood; with one, of
        the Laplace approximation to the posterior, the penalty being the prior. q is 1 for two classes, else n_classes,
        and d is n_features, plus 1 with an intercept. After `partial_fit`, F is what is kept of the rows seen, as
        `fisher` says. Entry (k * d + j, l * d + m) belongs to ``coef_[k, j]`` and
        ``coef_[l, m]``, the intercept last in each class. Where columns are collinear and ``C=np.inf``, it is the
        pseudo-inverse, which holds for rows that keep the collinearity; predictions of others know that they do not.

    n_iter_ : ndarray of shape (1,), int32
        Number of steps taken.

    loss_curve_ : list of float of length `n_iter_` + 1
        J/S in nats per unit of weight, before the first step over all rows and after each. Never increases under
        ``'auto'``, where a change smaller than the rounding error of the sum is recorded as none.

    kl_curve_ : list of float of length `n_iter_`
        How far each step moved the predictions: :math:`\frac{1}{2} v^T F v / S`, in nats.

    time_curve_ : list of float of length `n_iter_` + 1
        Seconds since the fit began, at each point of `loss_curve_`.

    converged_ : bool
        Whether the optimum was reached, by the rule of `tol`: not if a callback or Ctrl-C ended the fit before. Where
        only some rows can be separated and ``C=np.inf``, the loss converges, but the coefficients of what separates
        them do not: a `SeparationWarning` says so.

    n_passes_ : int
        Only after `fit_batches`: how often all rows were read.

    n_features_in_ : int
        Number of features seen by fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had string column names.

    See Also
    --------
    fisher_information : The metrics as matrices.
    kl_divergence : The distance that the natural gradient descends by.
    sklearn.linear_model.LogisticRegression : The same objective with other solvers.

    Notes
    -----
    With :math:`p_i` the predicted distribution, :math:`r_i = p_i - \mathrm{onehot}(y_i)` the score by the logits
    ((q,), q = 1 for two classes, else n_classes) and x_i the features with a one for the intercept ((d,)), the metrics
    are an expectation over labels times a structure that stores it:

    ``'true'``
        :math:`F = \sum_i s_i\, E_{y \sim p_i}[r r^T] \otimes x_i x_i^T`, with
        :math:`E[r r^T] = \mathrm{diag}(p_i) - p_i p_i^T`; shape (qd, qd). Amari (1998) [1]_. Logits are canonical, so
        this is also the Hessian of the loss.
    ``'empirical'``
        :math:`\sum_i s_i\, r_i r_i^T \otimes x_i x_i^T` at the observed labels, not centred; shape (qd, qd). Kunstner,
        Balles and Hennig (2019) [3]_ on how it differs.
    ``'monte_carlo'``
        The same with one label a row drawn from the model, anew each step; shape (qd, qd). An unbiased estimate of
        ``'true'``: Martens (2014) [2]_.
    ``'diagonal'``
        The diagonal of ``'true'``: :math:`\sum_i s_i\, p_{ik} (1 - p_{ik})\, x_{ij}^2`; shape (q, d). See Martens
        (2014) [2]_ on what it loses.
    ``'kronecker'``
        :math:`B \otimes A / \mathrm{tr} B` with :math:`B = \sum_i s_i (\mathrm{diag}(p_i) - p_i p_i^T)`, (q, q), and
        :math:`A = \sum_i s_i (1 - \|p_i\|^2) x_i x_i^T`, (d, d). After Martens and Grosse (2015) [4]_, but with the
        features weighted by the variance of each row's score. For two classes B is a number and nothing is lost, so
        there it equals ``'true'``.
    ``'identity'``
        S times the identity, S the sum of the weights: the Euclidean metric, that is plain gradient descent on the
        mean loss; one number. Sensitive to scale; here for comparison. Cauchy (1847) [5]_.

    How ``'true'`` is solved with is chosen by cost, see ``verbose=2``: as a matrix where that is cheap, otherwise by
    conjugate gradients on exact products with the data, and on many rows first on a sample of them. The optimum is the
    same to rounding. ``'empirical'`` and ``'monte_carlo'`` are never formed where they would take more than 256 MiB.

    F holds the squares of the columns, so directions that differ by less than about 1e-7 of the columns' size are lost
    in it: nearly collinear columns, or a mean of more than 1e6 times the spread (subtract it). The warning says so.

    References
    ----------
    .. [1] S. Amari, "Natural gradient works efficiently in learning", Neural Computation 10(2), 1998.
    .. [2] J. Martens, "New insights and perspectives on the natural gradient method", arXiv:1412.1193, 2014.
    .. [3] F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher approximation for natural gradient
       descent", NeurIPS 2019.
    .. [4] J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", ICML 2015.
    .. [5] A. Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées", Comptes rendus 25,
       1847.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sknatgrad import NaturalGradientLogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = NaturalGradientLogisticRegression().fit(X, y)  # no scaling
    >>> model.converged_
    True
    >>> round(model.score(X, y), 3)
    0.958
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fisher": [StrOptions(set(get_args(FisherName)))],
        "C": [Interval(Real, 0, None, closed="right")],
        "damping": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "max_kl": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "prior": [tuple, list, HasMethods(["get_params"]), None],
        "warm_start": ["boolean"],
        "store_covariance": ["boolean"],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
        "on_interrupt": [StrOptions({"raise", "keep"})],
        "verbose": ["verbose"],
    }
    _limits: ClassVar[Limits] = Limits()

    classes_: Any
    coef_: Any
    intercept_: Any

    def __init__(  # noqa: PLR0913 - the face of scikit-learn's own
        self,
        *,
        fisher: FisherName = "true",
        C: float = 1.0,
        damping: float = 1e-3,
        learning_rate: float | Literal["auto"] = "auto",
        max_kl: float | None = None,
        max_iter: int = 100,
        tol: float = 1e-8,
        fit_intercept: bool = True,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        prior: Any = None,
        warm_start: bool = False,
        store_covariance: bool = False,
        forgetting: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
        on_interrupt: Literal["raise", "keep"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.fisher = fisher
        self.C = C
        self.damping = damping
        self.learning_rate = learning_rate
        self.max_kl = max_kl
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.prior = prior
        self.warm_start = warm_start
        self.store_covariance = store_covariance
        self.forgetting = forgetting
        self.random_state = random_state
        self.on_interrupt = on_interrupt
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Matrix, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Training data, dense in any order or sparse, of floats, integers or booleans; read a block of rows at a
            time, without a converted copy of the whole, by as many threads as BLAS may use.

        y : array-like of shape (n_samples,)
            Class labels of any kind that sorts.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0; a weight of 2 is the same as the row twice.

        Returns
        -------
        self : NaturalGradientLogisticRegression
            The fitted estimator. If fitting fails or is interrupted, the estimator stays as it was.

        Raises
        ------
        ValueError
            If a parameter, X, y or the weights are not what is allowed.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not reached: with what is left to gain, and the remedy.
        SeparationWarning
            If the classes are separable and ``C=np.inf``, so that there is no optimum. Where only some rows are, the
            warning names the columns; the loss has converged then, which `converged_` says, but their coefficients have
            not. That shows in the last step, if `tol` is 1e-4 or less, and no metric at labels or fixed `learning_rate`
            has overshot to where probabilities are 0.
        """
        monitor = FitMonitor(self, X, y, sample_weight)
        with unchanged_on_error(self), Workers() as workers:
            self._fit(in_memory(self, X, y, sample_weight, workers), monitor)
        return self

    def _fit(self, data: TrainingData, monitor: FitMonitor) -> None:
        monitor.begin()
        start, kept = self._warm_start_from(), data.kept
        self._check_room(len(data.classes))
        prior = configured_prior(self, data.classes)
        options = descent_options(self, prior)
        objective = objective_of(self, data, prior, options)
        history = History(int(self.verbose), objective.plan.describe(), monitor.begun)
        self._forget_fit()
        if start is None:
            theta, begun = warm_up(objective, options)
        else:
            theta, begun = start.carried(data.classes, self.n_features_in_, kept), options
        turns = descend(objective, starting_point(objective, theta), begun)
        end, step = monitor.follow(turns, history, objective, lambda state: self._fitted(state, data, history))
        if step.outcome is Outcome.overflow:
            data.refuse_overflow(self)
        self.__dict__.update(self._fitted(end, data, history))
        self._conclude(history, step, options)
        with monitor.unless_interrupted():
            if self.store_covariance:
                theta = into_columns(end.theta, kept, self.n_features_in_)
                self._keep_information(theta, data.whole, data.totals, prior)
            if self.converged_ and not options.penalised:
                self._warn_of_separation(data.source, end, kept)
        monitor.end()

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: sparse input is welcome; without an intercept, scores depend on the origin."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        # The tag's checks ask for one class to be predicted nearly everywhere on data around the origin. No hyperplane
        # through the origin can, whatever its fit; scikit-learn's LogisticRegression(fit_intercept=False) fails them.
        tags.classifier_tags.poor_score = not self.fit_intercept
        return tags

    def _warn_of_separation(self, source: RowSource, end: State, kept: Codes | None) -> None:
        reach = separation(source, end)
        if reach is not None and end.to_optimum is not None:
            names = feature_names(self)
            names = [*(names if kept is None else [names[j] for j in kept]), INTERCEPT]
            message = separated_in_part(reach, [names[j] for j in reach.columns(end.to_optimum)])
            warnings.warn(message, SeparationWarning, stacklevel=5)

    def _warm_start_from(self) -> Start | None:
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        theta = join(self.coef_, self.intercept_, with_intercept=self.fit_intercept)
        return Start(theta, self.classes_, self.fit_intercept)

    def _fitted(self, state: State, data: TrainingData, history: History) -> dict[str, Any]:
        """Return the attributes of an estimator that is fitted to a state of the descent."""
        theta = into_columns(state.theta, data.kept, self.n_features_in_)
        dtype = np.float32 if data.dtype == np.float32 else np.float64
        return {
            **attributes_of(theta, data.classes, dtype, intercept=self.fit_intercept),
            "n_iter_": np.array([history.n_iter], dtype=np.int32),
            "loss_curve_": list(history.loss_curve),
            "kl_curve_": list(history.kl_curve),
            "time_curve_": list(history.time_curve),
            "converged_": False,
        }

    def _publish(self, theta: Array, classes: Any, dtype: type) -> None:
        self.__dict__.update(attributes_of(theta, classes, dtype, intercept=self.fit_intercept))

    def _conclude(self, history: History, step: Step, options: DescentOptions) -> None:
        self.converged_ = step.outcome is Outcome.converged
        if step.outcome not in {Outcome.converged, Outcome.stopped}:
            category = SeparationWarning if step.outcome is Outcome.separable else ConvergenceWarning
            warnings.warn(advice(step, self.fisher, options, history), category, stacklevel=5)
