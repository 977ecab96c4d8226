"""The estimator: its parameters and its fits, each in six steps: check, plan, objective, descend, publish, tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from sknatgrad._definitions import member_of
from sknatgrad._estimator.base import LogisticRegressionBase
from sknatgrad._estimator.callbacks import FitMonitor
from sknatgrad._estimator.fit import build_objective, plan_fit, run_descent
from sknatgrad._estimator.fit_batches import check_batches
from sknatgrad._estimator.parameters import CONSTRAINTS
from sknatgrad._estimator.partial_fit import batch_objective, check_batch, plan_update, run_update, stream_attributes
from sknatgrad._estimator.publish import publish, tell, unchanged_on_error
from sknatgrad._inputs.training_data import check_arrays
from sknatgrad._rows.floating_point import ignoring_underflow
from sknatgrad._rows.threads import Workers
from sknatgrad._sklearn import fit_context

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Matrix
    from sknatgrad._inputs.configuration import Batches, ClassWeight, RandomState
    from sknatgrad._model.metrics import FisherName


@member_of("sknatgrad")
class NaturalGradientLogisticRegression(LogisticRegressionBase):
    r"""Logistic regression, binary and multinomial, fitted by natural gradient descent.

    Minimises the objective of :class:`sklearn.linear_model.LogisticRegression`,

    .. math:: J(\theta) = \sum_i s_i\, \ell_i(\theta) + \frac{1}{2C} \sum_{kj} w_{kj}^2,

    with :math:`\ell_i` the negative log-likelihood of row i in nats, :math:`s_i` its sample weight times its class
    weight, and w the coefficients without the intercept, which is not penalised. Each step is
    :math:`-M^{-1} \nabla J`, where M is a metric on distributions: the Fisher information F, the Hessian of the
    Kullback-Leibler divergence between predictions, plus the prior and damping. Steps therefore do not depend on how
    features are scaled or mixed, and fits to unscaled data converge, unless float64 cannot distinguish the columns (see
    Notes).

    Parameters
    ----------
    fisher : {'true', 'empirical', 'diagonal', 'kronecker', 'monte_carlo', 'identity'}, default='true'
        The metric. All reach the same optimum, by different paths. See Notes for the formulas.

    C : float, default=1.0
        Inverse strength of the L2 penalty, in (0, inf]. ``C=np.inf`` means no penalty.

    damping : float, default=1e-3
        Initial Levenberg-Marquardt damping, >= 0: the multiple of the metric's diagonal (averaged over classes) that is
        added to the metric. It is adapted after each step to the ratio of the actual to the predicted decrease, unless
        `learning_rate` is a number.

    learning_rate : 'auto' or float, default='auto'
        Step length. ``'auto'`` minimises the quadratic model with the exact Fisher information over the span
        of the natural gradient and the previous step, and accepts a step only if the loss falls. A number is a constant
        step length, with constant damping: the textbook algorithm.

    max_kl : float or None, default=None
        Bound on the length of a step v, in nats of :math:`\frac{1}{2} v^T F v / S`: to second order, the mean KL
        divergence between the predictions before and after it. Longer steps are shortened to the bound.

    max_iter : int, default=100
        Maximum number of steps, >= 0. With 0 the coefficients stay where a fit starts, at zero or, with `warm_start`,
        at those of the last fit; `partial_fit` then stores what the rows say about the coefficients for later updates.

    tol : float, default=1e-8
        Tolerance of the convergence test, relative to the loss. The test is passed when the Newton decrement
        :math:`\frac{1}{2} g^T (F + \Lambda)^{-1} g`, an estimate of the remaining decrease of the loss, is at most
        `tol` times the loss. It uses the true Fisher information whatever the metric, so it has the same meaning for
        all metrics. With ``learning_rate='auto'`` a final step to the optimum of the quadratic model follows. The
        decrease that remains after it is far below `tol` if steps are computed by factorising a matrix, and at most
        about ``tol / 1000`` if they are computed by conjugate gradients.

    fit_intercept : bool, default=True
        Whether to fit an intercept.

    class_weight : dict, 'balanced' or None, default=None
        Weight of each class by label; ``'balanced'`` makes it inversely proportional to the total weight of its rows.

    prior : (mean, precision), fitted model or None, default=None
        Gaussian prior on the coefficients; its negative log density is the penalty,
        :math:`\frac{1}{2C} (\theta - \mu)^T P (\theta - \mu)`. None means a mean of 0, and a precision of 1 for
        features and 0 for the intercept. Mean and precision are each a number for all features, an array of shape
        (n_features,) with one number per feature, or an array of shape (q, d), with the intercept last. If the
        intercept is not included, its mean and precision are 0. The precision may also be a matrix (q * d, q * d),
        ordered as `covariance_`. If `prior` is a model of the same classes and features, fitted with
        ``store_covariance=True`` or by `partial_fit`, the prior is its posterior: its rows then count about as if they
        were part of this fit. In a search or cross-validation, wrap it in :class:`sklearn.frozen.FrozenEstimator`. With
        ``C=np.inf`` there is no prior, whatever `prior` is.

    warm_start : bool, default=False
        Start from the coefficients of the last fit, matched by class label (a new class starts at zero), unless the
        loss is higher there than at zero.

    store_covariance : bool, default=False
        Whether to compute `covariance_`, in one more pass over the data. The methods that quantify uncertainty need it:
        `predict_proba_interval`, `decision_function_std`, `predict_proba_averaged` and `sample_coef`. Standard errors
        and tests by :func:`sknatgrad.inference.infer` do not.

    forgetting : float, default=1.0
        Only for `partial_fit`: the factor, in (0, 1], by which each new row multiplies the weight of all earlier rows.
        With 1 all rows count equally; for data that drift, 0.999 gives weight to about the last 1,000 rows.

    random_state : int, RandomState instance or None, default=None
        Seed of the labels that ``fisher='monte_carlo'`` draws.

    on_interrupt : {'raise', 'keep'}, default='raise'
        Effect of Ctrl-C on a fit. With ``'raise'``, `KeyboardInterrupt` is raised and the estimator is unchanged. With
        ``'keep'``, the fit ends at the iterate with the lowest loss, and a warning states how far it is from the
        optimum; if no loss over all rows has been computed yet, `KeyboardInterrupt` is raised. After an interruption
        that follows the last step, `covariance_` is missing.

    verbose : int, default=0
        1 prints one line per iteration, 2 also prints the choice of method and the rejected steps.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients: those of the log-odds of ``classes_[1]`` for two classes, otherwise one row per class, with a sum
        of zero over classes. float32 if X is, otherwise float64.

    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; zeros if `fit_intercept` is False.

    classes_ : ndarray of shape (n_classes,)
        The class labels as they were given, sorted.

    covariance_ : ndarray of shape (q * d, q * d)
        Only with ``store_covariance=True``: the covariance of the coefficients, :math:`(F + \Lambda)^{-1}` at the
        optimum, where F is the true Fisher information, whatever `fisher` is, and :math:`\Lambda` the precision of the
        penalty: 1/C for features, 0 for the intercept. Without a penalty it is the covariance of maximum likelihood;
        with one, that of the Laplace approximation to the posterior under the Gaussian prior. q is 1 for two classes,
        else n_classes, and d is n_features, plus 1 with an intercept. After `partial_fit`, F is the information of all
        rows seen, in the structure of `fisher`. Entry (k * d + j, l * d + m) belongs to ``coef_[k, j]`` and
        ``coef_[l, m]``, the intercept last in each class. If columns are collinear and ``C=np.inf``, it is the
        pseudo-inverse, which is correct for rows with the same collinearity; other rows have infinite variance.

    n_iter_ : ndarray of shape (1,), int32
        Number of steps taken.

    loss_curve_ : list of float of length `n_iter_` + 1
        J/S in nats per unit of weight, with S the sum of the weights: before the first step on all rows, and after each
        step. With ``learning_rate='auto'`` it never increases; a change below the rounding error of the sum is recorded
        as zero. If the final step is a small correction, its loss is the one that the quadratic model predicts, right
        to a small part of `tol`.

    kl_curve_ : list of float of length `n_iter_`
        Length of each step v: :math:`\frac{1}{2} v^T F v / S`, in nats, as for `max_kl`.

    time_curve_ : list of float of length `n_iter_` + 1
        Seconds since the fit began, at each point of `loss_curve_`.

    converged_ : bool
        Whether the fit has reached the optimum, to within `tol`; False if a callback or Ctrl-C ended it earlier. If
        only some rows can be separated and ``C=np.inf``, the loss may converge, but the coefficients of the columns
        that separate them do not, and a `SeparationWarning` is issued.

    n_passes_ : int
        Only after `fit_batches`: number of passes over all rows.

    n_features_in_ : int
        Number of features seen by fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where X had string column names.

    See Also
    --------
    fisher_information : The metrics as matrices.
    kl_divergence : The divergence whose Hessian is the metric.
    sklearn.linear_model.LogisticRegression : The same objective with other solvers.

    Notes
    -----
    Let :math:`p_i` be the predicted distribution, :math:`r_i = p_i - \mathrm{onehot}(y_i)` the score with respect to
    the logits ((q,), q = 1 for two classes, else n_classes) and x_i the features with a one for the intercept ((d,)).
    Each metric combines an expectation over labels with a structure that stores it:

    ``'true'``
        :math:`F = \sum_i s_i\, E_{y \sim p_i}[r r^T] \otimes x_i x_i^T`, with
        :math:`E[r r^T] = \mathrm{diag}(p_i) - p_i p_i^T`; shape (qd, qd). Amari (1998) [1]_. Logits are canonical, so
        this is also the Hessian of the loss.
    ``'empirical'``
        :math:`\sum_i s_i\, r_i r_i^T \otimes x_i x_i^T` at the observed labels, not centred; shape (qd, qd). Kunstner,
        Balles and Hennig (2019) [3]_ on how it differs.
    ``'monte_carlo'``
        The same with one label per row drawn from the model, again at each step; shape (qd, qd). An unbiased estimate
        of ``'true'``: Martens (2014) [2]_.
    ``'diagonal'``
        The diagonal of ``'true'``: :math:`\sum_i s_i\, p_{ik} (1 - p_{ik})\, x_{ij}^2`; shape (q, d). See Martens
        (2014) [2]_ on what it omits.
    ``'kronecker'``
        :math:`B \otimes A / \mathrm{tr} B` with :math:`B = \sum_i s_i (\mathrm{diag}(p_i) - p_i p_i^T)`, (q, q), and
        :math:`A = \sum_i s_i (1 - \|p_i\|^2) x_i x_i^T`, (d, d). After Martens and Grosse (2015) [4]_, but with the
        features weighted by the variance of each row's score. For two classes B is a number and the metric equals
        ``'true'``.
    ``'identity'``
        S times the identity, with S the sum of the weights; stored as one number. This Euclidean metric gives plain
        gradient descent on the mean loss, which depends on the scale of the features; for comparison. Cauchy
        (1847) [5]_.

    With ``'true'``, the method that computes steps is chosen by its cost, which ``verbose=2`` prints: factorisation of
    the matrix where that is cheap, otherwise conjugate gradients on exact products with the data. A fit to many rows
    starts from the optimum of a sample of them. The optimum is the same to rounding. The matrices of ``'empirical'``
    and ``'monte_carlo'`` are not formed if they would take more than 256 MiB.

    Columns may have any scale, and be far from zero, such as years and timestamps: blocks of rows subtract a value near
    the median of a column that exceeds its typical deviation 100 times. The intercept absorbs it, so this needs one,
    and a dense X. ``'diagonal'`` and ``'identity'`` are the metrics of the centred columns then.

    F contains products of the columns, so directions in which columns differ by less than about 1e-7 of their size are
    lost in rounding. This affects columns that are nearly collinear. A warning reports it.

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def __init__(  # noqa: PLR0913 - parameters of an estimator are keywords
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
        class_weight: ClassWeight = None,
        prior: Any = None,
        warm_start: bool = False,
        store_covariance: bool = False,
        forgetting: float = 1.0,
        random_state: RandomState = None,
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
    @ignoring_underflow
    def fit(self, X: Matrix, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            Training data, dense in any memory order or sparse, of floats, integers or booleans. Blocks of rows are
            converted as they are used, without a converted copy of all rows, by as many threads as BLAS may use.

        y : array-like of shape (n_samples,)
            Class labels of one kind: strings, integers, booleans, dates, times or durations.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0; a weight of 2 is equivalent to having the row twice.

        Returns
        -------
        self : NaturalGradientLogisticRegression
            The fitted estimator. If the fit raises an error or `KeyboardInterrupt`, the estimator is unchanged.

        Raises
        ------
        ValueError
            If a parameter, X, y or the weights are invalid.

        Warns
        -----
        ConvergenceWarning
            If the optimum was not reached; the message states the remaining decrease of the loss and the remedy.
        SeparationWarning
            If the classes are separable and ``C=np.inf``, so that there is no optimum. If only some rows are separable,
            the warning names the columns: the loss has converged, but the coefficients of these columns have not
            converged. Linear programs decide, with an exact check, at any `tol`; with more than about
            256 / (K - 1) columns, for K classes, the last step is the only sign, at a `tol` of 1e-4 or less, and the
            warning says that classes "seem" to be separated. A fixed `learning_rate` that overshoots is warned of
            instead. The warning is given with a penalty too if that hardly penalises, as ``C=1e9``, and so alone
            decides these coefficients.
        """
        monitor = FitMonitor(self, X, y, sample_weight)
        with unchanged_on_error(self), Workers(limits_blas=False) as workers, monitor:
            data = check_arrays(self, X, y, sample_weight, workers)
            plan = plan_fit(self, data)
            objective = build_objective(data, plan)
            result = run_descent(self, data, plan, objective, monitor)
            publish(self, result.attributes)
            tell(result.notices)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @ignoring_underflow
    def fit_batches(self, batches: Batches, classes: ArrayLike | None = None) -> Self:
        """Fit the model to rows that are read in batches, in several passes, to the same optimum as `fit`.

        The first pass checks all batches, counts the classes and stores up to 256 MiB of the rows. If these are all
        rows, they are fitted in memory. Otherwise the fit starts from the optimum of this sample and takes few more
        passes: usually five to eight with ``fisher='true'`` and up to a few hundred columns. Each batch is read while
        the previous one is processed, so the reader must not reuse the memory of a batch; at most two exist at a time.

        Parameters
        ----------
        batches : iterable or callable
            Batches ``(X, y)`` or ``(X, y, sample_weight)``, each as for `fit`, best of a few thousand rows or more.
            Either a list or another object that can be iterated over once for each pass, or a function without
            arguments that returns the batches of one pass, such as a generator function. Each pass must give the same
            rows in the same order. Batches are read in the thread of the caller.

        classes : array-like of shape (n_classes,) or None, default=None
            The class labels that are allowed; None allows all labels in the batches.

        Returns
        -------
        self : NaturalGradientLogisticRegression
            The fitted estimator, with `n_passes_` besides the attributes of `fit`. If reading or fitting fails, the
            estimator is unchanged.

        Raises
        ------
        ValueError
            If `batches` can be read only once, a batch is invalid, or a later pass gives different rows.

        Warns
        -----
        ConvergenceWarning, SeparationWarning
            As `fit` does.

        See Also
        --------
        partial_fit : Fits a stream whose rows are each seen once.

        Examples
        --------
        >>> import numpy as np
        >>> from sknatgrad import NaturalGradientLogisticRegression
        >>> def batches():  # a reader of files would do the same
        ...     draws = np.random.default_rng(0)
        ...     for _ in range(10):
        ...         X = draws.normal(size=(1000, 3))
        ...         yield X, draws.random(1000) < 1 / (1 + np.exp(-X[:, 0]))
        >>> model = NaturalGradientLogisticRegression().fit_batches(batches)
        >>> bool(abs(model.coef_ - [1, 0, 0]).max() < 0.1)
        True
        """
        monitor = FitMonitor(self)
        with unchanged_on_error(self), Workers() as workers, monitor:
            data = check_batches(self, batches, classes, workers)
            plan = plan_fit(self, data)
            objective = build_objective(data, plan)
            result = run_descent(self, data, plan, objective, monitor)
            publish(self, result.attributes)
            tell(result.notices)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    @ignoring_underflow
    def partial_fit(
        self, X: Matrix, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        r"""Update the model with one more batch of rows, and store their Fisher information.

        The new coefficients minimise the loss of the batch plus a quadratic approximation to the loss of all earlier
        batches, :math:`\frac{1}{2} (\theta - \theta_0)^T F_0 (\theta - \theta_0)`. Here :math:`\theta_0` are the
        coefficients before the batch and :math:`F_0` is the Fisher information of all rows seen, each computed at the
        coefficients after its own batch. This is the Laplace approximation to the posterior, updated batch by batch,
        and equals the extended Kalman filter (Ollivier 2018 [1]_). There is no learning rate to tune: `learning_rate`
        has no effect.

        The first rows are stored and fitted together, because a quadratic approximation is only as accurate as the
        point at which it is computed. They are 1,000 rows or more (50 per coefficient, and 5 of each class per
        coefficient of the class), or 4 MiB. After one pass the coefficients are about as accurate as those of a fit to
        all rows at once. After the first rows, the time and memory of an update do not grow with the rows seen.

        `fisher` is the structure of the stored information: a matrix with ``'true'``, ``'empirical'`` and
        ``'monte_carlo'``; ``'diagonal'`` and ``'kronecker'`` store less and are less accurate. `forgetting` discounts
        it.

        Parameters
        ----------
        X : {array-like, sparse matrix or array} of shape (n_samples, n_features)
            The rows of the batch, one or more.

        y : array-like of shape (n_samples,)
            The labels of the rows; a batch need not contain every class.

        classes : array-like of shape (n_classes,) or None, default=None
            All classes that may appear in the stream; required in the first call. After a `fit` with
            ``store_covariance=True`` the stream continues from that fit; otherwise a new stream begins.

        sample_weight : array-like of shape (n_samples,), float or None, default=None
            Weight of each row, >= 0. ``class_weight='balanced'`` uses the class totals of all rows so far.

        Returns
        -------
        self : NaturalGradientLogisticRegression
            The estimator, with updated `coef_`, `intercept_`, `classes_` and, with ``store_covariance=True``,
            `covariance_`. If the update fails, the estimator is unchanged.

        Raises
        ------
        ValueError
            If X, y, the weights or the classes are invalid, or the information is too large for a matrix.

        Warns
        -----
        UserWarning
            If a new stream begins because an earlier `fit` without ``store_covariance=True`` cannot be continued. Pass
            `classes` to begin one without the warning.

        References
        ----------
        .. [1] Y. Ollivier, "Online natural gradient as a Kalman filter", Electronic Journal of Statistics 12, 2018.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.utils import gen_batches, shuffle
        >>> from sknatgrad import NaturalGradientLogisticRegression
        >>> X, y = shuffle(*load_iris(return_X_y=True), random_state=0)
        >>> model = NaturalGradientLogisticRegression()
        >>> for batch in gen_batches(len(X), 10):
        ...     model = model.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
        >>> round(model.score(X, y), 2)
        0.97
        """
        with unchanged_on_error(self), Workers() as workers:
            batch = check_batch(self, X, y, classes, sample_weight)
            plan = plan_update(self, batch)
            objective = batch_objective(self, batch, plan, workers)
            stream = run_update(self, batch, plan, objective)
            publish(self, stream_attributes(self, batch, plan, stream))
            tell(batch.notices)
        return self
