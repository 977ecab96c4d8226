"""The result of `infer`: coefficients with their covariance, and methods for tests, intervals and tables."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sknatgrad._definitions import member_of
from sknatgrad._inputs.checks import check_level
from sknatgrad._inputs.rows import check_further_columns
from sknatgrad._model.class_labels import label_keys, label_list
from sknatgrad._model.normal import in_standard_errors, interval, two_sided
from sknatgrad._rows.floating_point import underflow_ignored_in
from sknatgrad.inference._bootstrap.intervals import acceleration_of, bca_interval, check_method, percentile_interval
from sknatgrad.inference._hypothesis_tests.information_matrix import information_matrix_test
from sknatgrad.inference._hypothesis_tests.likelihood_ratio import ComparedModel, likelihood_ratio_test
from sknatgrad.inference._hypothesis_tests.score import score_test
from sknatgrad.inference._hypothesis_tests.wald import LinearHypothesis
from sknatgrad.inference._result.aliased import aliased_columns
from sknatgrad.inference._result.marginal_effects import average_effects
from sknatgrad.inference._result.odds_ratios import odds_ratios_of
from sknatgrad.inference._result.summary import Summary, footer, head, lines_of, notes

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Matrix
    from sknatgrad.inference._bootstrap.resamples import Resamples
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._fitted_model import FittedModel
    from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared
    from sknatgrad.inference._likelihood import Likelihood
    from sknatgrad.inference._result.aliased import AliasedColumn
    from sknatgrad.inference._result.marginal_effects import MarginalEffects
    from sknatgrad.inference._result.odds_ratios import OddsRatios
    from sknatgrad.inference._row_sums.sums import RowSums


@member_of("sknatgrad.inference")
@underflow_ignored_in
@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class InferenceResult:
    r"""Coefficients of a fitted logistic regression with their covariance, and tests, intervals and tables from them.

    K classes have K - 1 rows of coefficients, the log-odds of each class against the reference. Standard errors and
    p-values use the normal approximation: :math:`z = \beta / \mathrm{SE}`, two-sided.

    Attributes
    ----------
    params : ndarray of shape (n_classes - 1, n_columns)
        Coefficients, with the intercept last, if there is one; or those of the selected columns, in that order. NaN
        for aliased columns.

    covariance : ndarray of shape ((n_classes - 1) * n_columns, (n_classes - 1) * n_columns)
        Their covariance, ordered as ``params.ravel()``; NaN for coefficients that the data do not determine.

    centred_covariance : ndarray of the same shape
        The same for rows less the centres of columns far from zero (``fitted.centres``), for effects of rows. Only the
        entries of the intercepts differ.

    feature_names : tuple of str, n_columns of them
        Names of the columns; that of the intercept is ``'(Intercept)'``.

    likelihood, fitted, options, row_sums : object
        The likelihood, the fitted model, the options of :func:`infer`, and the rows, by reference, for tests and
        effects that need them again. The fitted model and the rows are without aliased columns.

    warnings : tuple of str
        What `infer` warned of, one text for each reason: of unreliable standard errors, and of aliased columns. The
        summary repeats them below its table.

    resamples : Resamples or None
        With ``covariance='bootstrap'``, the coefficients of the resamples, ``resamples.params`` of shape (n_fitted,
        n_classes - 1, n_columns), how many were drawn, are separated, lack a class or failed, and their weights,
        ``resamples.draws.weights(number)``.
    """

    params: Array
    covariance: Array
    centred_covariance: Array
    feature_names: tuple[str, ...]
    likelihood: Likelihood
    fitted: FittedModel
    options: CovarianceOptions
    row_sums: RowSums
    warnings: tuple[str, ...] = ()
    resamples: Resamples | None = None

    @property
    def classes(self) -> tuple[Hashable, ...]:
        """The class of each row of `params`."""
        labels = label_list(self.fitted.classes)
        return tuple(labels[k] for k in self.row_sums.contrasts.others)

    @property
    def reference(self) -> Hashable:
        """The class that the others are compared with."""
        label: Hashable = label_list(self.fitted.classes)[self.row_sums.contrasts.reference]
        return label

    @property
    def aliased(self) -> tuple[AliasedColumn, ...]:
        """The columns that are set aside because they depend linearly on earlier ones, and how."""
        dependence = self.row_sums.dependence
        return aliased_columns(dependence and dependence.uncentred(self.fitted.centres), self.fitted.names)

    @property
    def n(self) -> float:
        """Number of observations: the sum of the weights if they are frequencies, else the number of weighted rows."""
        return self.likelihood.n

    @property
    def loglik(self) -> float:
        """Log-likelihood in nats, without penalty."""
        return self.likelihood.loglik

    @property
    def loglik_null(self) -> float:
        """Log-likelihood of the model without features, in nats."""
        return self.likelihood.loglik_null

    @property
    def effective_dof(self) -> float:
        """Effective number of coefficients.

        Without a penalty, the number of linearly independent columns times n_classes - 1, or the number of all
        coefficients if only some columns were selected. With a penalty, tr((F + Λ)⁻¹ F); for selected columns it is
        estimated, with a standard error of about √effective_dof / 2 (Hutchinson 1990).
        """
        return self.likelihood.effective_dof

    @property
    def log_evidence(self) -> float:
        r"""Logarithm of the evidence, the likelihood integrated over the prior that the penalty stands for, nats.

        By Laplace's approximation at the fit,

        .. math:: \log L - \tfrac12 \theta^T \Lambda \theta + \tfrac12 \log \det \Lambda
            - \tfrac12 \log \det(F + \Lambda) + \tfrac{k}{2} \log 2 \pi,

        whose error is of the order 1 / n (MacKay, "The evidence framework applied to classification networks", Neural
        Computation 4(5), 1992). It compares values of C and sets of features that are penalised. The k coefficients
        without a penalty, those of the intercept, have a density of 1 and no part in Λ. Weights of rows count as
        frequencies. NaN without a penalty, for selected columns, and with sampling weights.
        """
        return np.nan if self.options.weights == "sampling" else self.likelihood.log_evidence

    @property
    def penalised(self) -> bool:
        """Whether the fit has a penalty."""
        return self.likelihood.penalised

    @property
    def intercept(self) -> bool:
        """Whether the fit has an intercept."""
        return self.fitted.intercept

    @property
    def standard_errors(self) -> Array:
        """Standard error of each coefficient, ``(K - 1, d)``."""
        variances = self.covariance.diagonal()
        # rounding may make a variance negative where a fit has no optimum
        return np.sqrt(np.where(variances >= 0, variances, np.nan)).reshape(self.params.shape)

    @property
    def z(self) -> Array:
        """Coefficients in units of their standard errors, ``(K - 1, d)``; NaN where that is 0."""
        return in_standard_errors(self.params, self.standard_errors)

    @property
    def p_values(self) -> Array:
        """Two-sided p-values of the hypotheses that a coefficient is 0, ``(K - 1, d)``."""
        return two_sided(self.z)

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 loglik + 2 effective_dof; NaN with sampling weights, which have no likelihood."""
        return np.nan if self.options.weights == "sampling" else self.likelihood.aic

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 loglik + log(n) effective_dof; NaN with sampling weights."""
        return np.nan if self.options.weights == "sampling" else self.likelihood.bic

    @property
    def pseudo_r2(self) -> float:
        """McFadden's pseudo R², 1 - loglik / loglik_null."""
        return self.likelihood.pseudo_r2

    def __repr__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        return self.summary()._repr_html_()

    def conf_int(self, level: float = 0.95, method: str = "normal") -> Array:
        """Return the confidence interval of each coefficient.

        Parameters
        ----------
        level : float, default=0.95
            Coverage, in (0, 1).

        method : {'normal', 'percentile', 'bca'}, default='normal'
            ``'normal'``: the coefficient plus and minus a multiple of its standard error. After
            ``covariance='bootstrap'`` also ``'percentile'``, quantiles of the resamples, and ``'bca'``, the same with a
            correction of bias and skewness, whose coverage is wrong by O(1 / n) only (Efron, "Better bootstrap
            confidence intervals", JASA 82, 1987).

        Returns
        -------
        interval : ndarray of shape (n_classes - 1, n_columns, 2)
            Lower and upper ends.

        Raises
        ------
        ValueError
            If `level` is not in (0, 1), or `method` is unknown or needs resamples.
        """
        check_level(level)
        check_method(method, resampled=self.resamples is not None)
        if self.resamples is None or method == "normal":
            return interval(self.params, self.standard_errors, level)
        if method == "percentile":
            return percentile_interval(self.resamples.params, level)
        acceleration = acceleration_of(self.fitted, self.row_sums, self.options)
        return bca_interval(self.resamples.params, self.params, acceleration, level)

    def odds_ratios(self, level: float = 0.95) -> OddsRatios:
        """Return the odds ratios, exp of the coefficients, with their intervals.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        ratios : OddsRatios
            `ratio`, `low` and `high`, each of shape (n_classes - 1, n_columns): the factor by which one unit more of a
            feature multiplies the odds of the class against the reference. Infinite where float64 overflows.

        Raises
        ------
        ValueError
            If `level` is not in (0, 1).
        """
        return odds_ratios_of(self.params, self.conf_int(level))

    def wald_test(self, constraint: ArrayLike, value: ArrayLike = 0.0) -> ChiSquared:
        """Test linear hypotheses on the coefficients jointly.

        Parameters
        ----------
        constraint : str, list of str, or array-like of shape (n_constraints, (n_classes - 1) * n_columns)
            Names of features, all of whose coefficients are zero under the hypothesis; or R in R β = `value`, β
            ordered as ``params.ravel()``.

        value : float or array-like of shape (n_constraints,), default=0.0
            Right-hand side.

        Returns
        -------
        test : ChiSquared
            The statistic (Rβ - v)ᵀ (R Cov Rᵀ)⁻¹ (Rβ - v), its degrees of freedom, which are the rank of R, and the
            p-value. Constraints that follow from others are omitted. Wald (1943), "Tests of statistical hypotheses
            concerning several parameters".

        Raises
        ------
        ValueError
            If a name is unknown, the shape is wrong, constraints contradict each other, the data do not determine a
            coefficient in them or its column is aliased, or the covariance has a lower rank than R: a cluster-robust
            one has at most one less than there are groups.
        """
        hypothesis = LinearHypothesis.checked(constraint, value, self.feature_names, self.params.shape)
        max_rank = self.options.max_rank(self.row_sums.counts, penalised=self.penalised)
        if self.resamples is not None:
            max_rank = len(self.resamples.params) - 1
        return hypothesis.wald_test(self.params.ravel(), self.covariance, self.options, max_rank)

    def lr_test(self, other: InferenceResult) -> ChiSquared:
        """Compare with a smaller model of the same rows by the likelihood-ratio test.

        Parameters
        ----------
        other : InferenceResult
            The result for a model whose columns are a subset of those of this one. If they are not, this is detected
            only if `other` fits better.

        Returns
        -------
        test : ChiSquared
            The statistic, twice the difference of the log-likelihoods; its degrees of freedom, the number of
            coefficients that `other` lacks; and the p-value. Wilks (1938), "The large-sample distribution of the
            likelihood ratio for testing composite hypotheses".

        Raises
        ------
        ValueError
            If labels or weights of the two differ, `other` is not smaller or fits better, a fit is penalised, or
            weights are sampling weights.
        """
        if not isinstance(other, InferenceResult):
            message = f"other is a {type(other).__name__}; it must be the result of infer for the smaller model."
            raise ValueError(message)  # noqa: TRY004 - a ValueError, as for all arguments of users
        return likelihood_ratio_test(self._compared(), other._compared())

    def _compared(self) -> ComparedModel:
        labels = set(label_keys(self.fitted.classes))
        return ComparedModel(self.likelihood, self.options.weights, labels, self.row_sums.rows)

    def score_test(self, X_extra: Matrix) -> ChiSquared:
        """Test whether further columns belong in the model, without fitting it with them.

        Parameters
        ----------
        X_extra : {array-like, sparse matrix or array} of shape (n_samples, n_extra)
            The columns, for the rows of the fit.

        Returns
        -------
        test : ChiSquared
            The statistic uᵀ V⁻¹ u, with u the efficient score of the coefficients of X_extra at 0, that is, less the
            part that the other coefficients explain, and V its covariance, model-based or robust as in the result; its
            degrees of freedom and p-value. Rao (1948), "Large sample tests of statistical hypotheses concerning several
            parameters".

        Raises
        ------
        ValueError
            If the fit is penalised, or X_extra has another number of rows, values that are not finite, or only linear
            combinations of the columns of the model; or a robust covariance has a lower rank than the number of
            coefficients that are tested, as with fewer groups.
        """
        self._check_unpenalised("score_test")
        extra = check_further_columns(X_extra, "X_extra")
        return score_test(self.row_sums, self.options, extra, round(self.effective_dof))

    def information_matrix_test(self, *, every: bool = False) -> ChiSquared:
        r"""Test whether the model is misspecified, by White's comparison of empirical and true Fisher information.

        If the model holds, :math:`\sum_i s_i u_i u_i^T`, u the score of a row at its label, and
        :math:`\sum_i s_i E[u_i u_i^T]` differ only by chance. If it does not, they differ systematically and
        model-based standard errors are wrong. Possible causes are a missing square or product of columns, a wrong link,
        and rows that depend on each other.

        Parameters
        ----------
        every : bool, default=False
            Whether to compare every entry of the two matrices, rather than only the squares of each class and column.
            This detects more, but has d (d + 1) / 2 degrees of freedom for two classes, where squares have d.

        Returns
        -------
        test : ChiSquared
            The statistic δᵀ V⁻¹ δ, with δ the differences less the part that the score explains, and V their covariance
            under the model; its degrees of freedom, the rank of V, and the p-value. White (1982), "Maximum likelihood
            estimation of misspecified models"; with the covariance of Orme (1988), "The calculation of the information
            matrix test for binary data models", for any number of classes.

        Raises
        ------
        ValueError
            If the fit is penalised, weights are sampling weights, or the entries are too many for a matrix.
        """
        self._check_unpenalised("information_matrix_test")
        if self.options.weights == "sampling":
            message = (
                "information_matrix_test needs weights='frequency': with sampling weights the two matrices differ "
                "even if the model holds."
            )
            raise ValueError(message)
        return information_matrix_test(self.row_sums, self.fitted.centres, every=every)

    def _check_unpenalised(self, test: str) -> None:
        if self.penalised:
            message = f"{test} needs maximum likelihood, but the model is penalised; fit it with C=np.inf."
            raise ValueError(message)

    def marginal_effects(self) -> MarginalEffects:
        """Return the average marginal effect of each feature on the probability of each class.

        Returns
        -------
        effects : MarginalEffects
            `effects` of shape (n_classes, n_features), or (1, n_features) of ``classes_[1]`` for two classes: mean
            derivatives, of 0/1 columns too, in probability per unit of the feature, weighted as the rows are. With
            `standard_errors` by the delta method, NaN if any coefficient is not determined; `z`, `p_values` and
            `conf_int`. NaN for aliased columns, which are not in the model.

        Raises
        ------
        ValueError
            If only some columns were selected: effects depend on all coefficients.
        """
        if len(self.feature_names) < self.row_sums.theta.shape[1]:
            message = "marginal_effects needs the covariance of all coefficients; call infer without features."
            raise ValueError(message)
        return average_effects(
            self.row_sums, self.centred_covariance, label_list(self.fitted.classes), self.feature_names
        )

    def summary(self) -> Summary:
        """Return the table of coefficients, as R prints it for ``glm``.

        Returns
        -------
        summary : Summary
            The table as text, and as HTML in notebooks.
        """
        columns = (self.params, self.standard_errors, self.z, self.p_values)
        lines = lines_of(self.feature_names, columns, intercept=self.intercept)
        tables = list(zip(self.classes, lines, strict=True))
        below = footer(self.likelihood, self.options, len(self.classes), intercept=self.intercept)
        below += notes(tuple(map(str, self.aliased)), self.warnings)
        return Summary(head(self.likelihood, self.options), tables, below, self.reference)

    def to_frame(self, level: float = 0.95) -> Any:
        """Return the table of coefficients as a pandas DataFrame.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        frame : pandas.DataFrame
            One row for each coefficient, indexed by class and feature, with the columns estimate, std_error, z,
            p_value, ci_low and ci_high. An aliased column has an estimate of NaN. ``frame.attrs["aliased"]`` maps the
            name of each to its combination, and ``frame.attrs["warnings"]`` is the list of `warnings`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If `level` is not in (0, 1).
        """
        pandas = importlib.import_module("pandas")
        ends = self.conf_int(level)
        columns = {
            "estimate": self.params,
            "std_error": self.standard_errors,
            "z": self.z,
            "p_value": self.p_values,
            "ci_low": ends[..., 0],
            "ci_high": ends[..., 1],
        }
        index = pandas.MultiIndex.from_product([self.classes, self.feature_names], names=["class", "feature"])
        frame = pandas.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)
        # a column that marks them would not fit beside the others into the 80 characters that pandas prints
        frame.attrs = {"aliased": dict(self.aliased), "warnings": list(self.warnings)}
        return frame
