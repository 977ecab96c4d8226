"""What follows from coefficients and their covariance."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.utils import check_array

from sknatgrad._inputs.checks import check_level
from sknatgrad._inputs.columns import INTERCEPT
from sknatgrad._model.layout import BINARY
from sknatgrad._model.normal import interval, two_sided
from sknatgrad.inference._chi_squared import ChiSquared
from sknatgrad.inference._hypotheses import likelihood_ratio, linear_hypothesis
from sknatgrad.inference._margins import EffectsKernel, MarginalEffects
from sknatgrad.inference._score import efficient_score
from sknatgrad.inference._summary import Line, Summary, footer, head
from sknatgrad.inference._white import indicators

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Matrix
    from sknatgrad.inference._question import Question
    from sknatgrad.inference._sums import Totals


class OddsRatios(NamedTuple):
    """Factors on the odds against the reference class, each with its interval: three arrays ``(K - 1, d)``.

    Attributes
    ----------
    ratio : ndarray of shape (n_classes - 1, n_columns)
        The factor on the odds of each class against the reference, for one more of each column.

    low, high : ndarray of shape (n_classes - 1, n_columns)
        Ends of its interval.
    """

    ratio: Array
    low: Array
    high: Array


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class InferenceResult:
    r"""Coefficients of a fitted logistic regression with their covariance, and what follows from them.

    K classes have K - 1 rows of coefficients, each the log-odds of its class against the reference. Standard errors
    and p-values are of the normal approximation: :math:`z = \beta / \mathrm{SE}`, two-sided.

    Attributes
    ----------
    params : ndarray of shape (n_classes - 1, n_columns)
        Coefficients, the intercept last, if there is one; or those of the columns asked for, in that order.

    covariance : ndarray of shape ((n_classes - 1) * n_columns, (n_classes - 1) * n_columns)
        Their covariance, ordered as ``params.ravel()``; NaN for coefficients that the data do not determine.

    feature_names : tuple of str, n_columns of them
        Names of the columns; that of the intercept is ``'(Intercept)'``.

    classes : tuple, n_classes - 1 of them
        The class of each row of `params`.

    reference : label
        The class they are compared with.

    n : float
        Number of observations: the sum of the weights where they are frequencies, else the rows with weight.

    loglik, loglik_null : float
        Log-likelihood in nats, without penalty, of the model and of one that knows no features.

    effective_dof : float
        Number of coefficients that are determined, or of all, if only some columns were asked for; for a penalised fit
        tr((F + Λ)⁻¹ F), for some columns estimated, with a standard error of about √effective_dof / 2 (Hutchinson
        1990).

    penalised, intercept : bool
        Whether the fit has a penalty, and an intercept.

    question, totals : object
        What :func:`infer` was asked, and the rows, by reference, for tests and effects that need them again.
    """

    params: Array
    covariance: Array
    feature_names: tuple[str, ...]
    classes: tuple[Any, ...]
    reference: Any
    n: float
    loglik: float
    loglik_null: float
    effective_dof: float
    penalised: bool
    intercept: bool
    question: Question
    totals: Totals = field(repr=False, compare=False)

    @property
    def standard_errors(self) -> Array:
        """Standard error of each coefficient, ``(K - 1, d)``."""
        return np.sqrt(self.covariance.diagonal()).reshape(self.params.shape)

    @property
    def z(self) -> Array:
        """Coefficients in units of their standard errors, ``(K - 1, d)``."""
        return self.params / self.standard_errors

    @property
    def p_values(self) -> Array:
        """Probability of a z at least as large, either way, if the coefficient were 0, ``(K - 1, d)``."""
        return two_sided(self.z)

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 loglik + 2 effective_dof; NaN with weights for sampling, which are no likelihood's."""
        return self._criterion(2.0)

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 loglik + log(n) effective_dof; NaN with weights for sampling."""
        return self._criterion(float(np.log(self.n)))

    def _criterion(self, price: float) -> float:
        return np.nan if self.question.weights == "sampling" else -2.0 * self.loglik + price * self.effective_dof

    def __repr__(self) -> str:
        """Return the summary as text."""
        return str(self.summary())

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        return self.summary()._repr_html_()

    @property
    def pseudo_r2(self) -> float:
        """McFadden's: 1 - loglik / loglik_null."""
        return 1.0 - self.loglik / self.loglik_null

    def conf_int(self, level: float = 0.95) -> Array:
        """Return the interval of each coefficient that the normal approximation gives.

        Parameters
        ----------
        level : float, default=0.95
            Coverage, in (0, 1).

        Returns
        -------
        interval : ndarray of shape (n_classes - 1, n_columns, 2)
            Lower and upper ends.

        Raises
        ------
        ValueError
            If `level` is not in (0, 1).
        """
        check_level(level)
        return interval(self.params, self.standard_errors, level)

    def odds_ratios(self, level: float = 0.95) -> OddsRatios:
        """Return exp of the coefficients and of their intervals.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        ratios : OddsRatios
            `ratio`, `low` and `high`, each of shape (n_classes - 1, n_columns): by what factor one unit more of a
            feature multiplies the odds of the class against the reference. Infinite where that is beyond float64.

        Raises
        ------
        ValueError
            If `level` is not in (0, 1).
        """
        ends = self.conf_int(level)
        with np.errstate(over="ignore"):
            return OddsRatios(np.exp(self.params), np.exp(ends[..., 0]), np.exp(ends[..., 1]))

    def wald_test(self, constraint: Any, value: Any = 0.0) -> ChiSquared:
        """Test linear hypotheses on the coefficients together.

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
            The statistic (Rβ - v)ᵀ (R Cov Rᵀ)⁻¹ (Rβ - v), its degrees of freedom, the rank of R Cov Rᵀ, and the
            p-value. Wald (1943), "Tests of statistical hypotheses concerning several parameters".

        Raises
        ------
        ValueError
            If a name is unknown, the shape is another one, constraints contradict each other, or a coefficient is not
            determined by the data.
        """
        rows, values = linear_hypothesis(constraint, value, self.feature_names, self.params.shape)
        used = np.abs(rows).sum(axis=0) > 0.0
        if np.isnan(self.covariance.diagonal()[used]).any():
            message = "constraint involves coefficients that the data do not determine; test others, or drop columns."
            raise ValueError(message)
        off = rows[:, used] @ self.params.ravel()[used] - values
        spread = rows[:, used] @ self.covariance[np.ix_(used, used)] @ rows[:, used].T
        return ChiSquared.quadratic(off, spread)

    def lr_test(self, other: InferenceResult) -> ChiSquared:
        """Compare with a smaller model of the same rows, by twice the difference of the log-likelihoods.

        Parameters
        ----------
        other : InferenceResult
            Of a model whose columns are some of this one's; that is only noticed not to be so if it fits better.

        Returns
        -------
        test : ChiSquared
            The statistic, the number of coefficients that this model has more, and the p-value. Wilks (1938), "The
            large-sample distribution of the likelihood ratio for testing composite hypotheses".

        Raises
        ------
        ValueError
            If the two are not of the same labels and weights, `other` is not smaller or fits better, or the likelihood
            does not say how much was observed: of penalised fits, or with weights for sampling.
        """
        if not isinstance(other, InferenceResult):
            message = f"other is a {type(other).__name__}; it must be what infer returns for the smaller model."
            raise ValueError(message)  # noqa: TRY004 - as all that users pass
        return ChiSquared.of(*likelihood_ratio(self, other))

    def score_test(self, X_extra: Matrix) -> ChiSquared:
        """Test whether further columns belong into the model, without fitting it.

        Parameters
        ----------
        X_extra : {array-like, sparse matrix or array} of shape (n_samples, n_extra)
            The columns, for the rows of the fit.

        Returns
        -------
        test : ChiSquared
            The statistic uᵀ V⁻¹ u, u the score of the coefficients of X_extra at 0 less what the others explain of it,
            and V its covariance, by the model or robust as that of the result; its degrees of freedom and p-value. Rao
            (1948), "Large sample tests of statistical hypotheses concerning several parameters".

        Raises
        ------
        ValueError
            If the fit is penalised, X_extra has other rows, values that are not finite, or nothing that the columns of
            the model do not have.
        """
        self._refuse_penalty("score_test")
        extra = check_array(X_extra, accept_sparse="csr", dtype=np.float64)
        score, spread = efficient_score(self.totals, self.question, extra)
        if not score.size:
            message = "X_extra holds nothing beside the columns of the model, so there is nothing to test; pass others."
            raise ValueError(message)
        return ChiSquared.quadratic(score, spread)

    def information_matrix_test(self, *, every: bool = False) -> ChiSquared:
        r"""Test whether the model is misspecified: White's comparison of empirical and true Fisher information.

        If the model holds, :math:`\sum_i s_i u_i u_i^T`, u the score of a row at its label, and
        :math:`\sum_i s_i E[u_i u_i^T]` are the same but for chance; if not, standard errors by the model are wrong, and
        so may be the model: a missing square or product of columns, a wrong link, rows that depend on each other.

        Parameters
        ----------
        every : bool, default=False
            Whether to compare every entry of the two matrices, rather than the squares of each class and column: more
            that can be found, at the price of d (d + 1) / 2 degrees of freedom of two classes, where squares have d.

        Returns
        -------
        test : ChiSquared
            The statistic δᵀ V⁻¹ δ, δ the differences less what the score explains of them and V their covariance under
            the model, its degrees of freedom, the rank of V, and the p-value. White (1982), "Maximum likelihood
            estimation of misspecified models"; with the covariance of Orme (1988), "The calculation of the information
            matrix test for binary data models", for any number of classes.

        Raises
        ------
        ValueError
            If the fit is penalised, weights are for sampling, or the entries are too many for a matrix.
        """
        self._refuse_penalty("information_matrix_test")
        if self.question.weights == "sampling":
            message = "information_matrix_test needs weights='frequency', as under others the two matrices differ."
            raise ValueError(message)
        return ChiSquared.quadratic(*indicators(self.totals, every=every))

    def _refuse_penalty(self, test: str) -> None:
        if self.penalised:
            message = f"{test} asks about maximum likelihood, but the model is penalised; fit it with C=np.inf."
            raise ValueError(message)

    def marginal_effects(self) -> MarginalEffects:
        """Return the mean over rows of how much each class's probability changes with each feature.

        Returns
        -------
        effects : MarginalEffects
            `effects` of shape (n_classes, n_features), for two classes (1, n_features), of ``classes_[1]``, in units of
            probability a unit of the feature, weighted as the rows are: a derivative, of columns of 0 and 1 too. With
            `standard_errors` by the delta method, NaN if any coefficient is not determined; `z`, `p_values` and
            `conf_int`.

        Raises
        ------
        ValueError
            If only some columns were asked for: effects depend on all coefficients.
        """
        if len(self.feature_names) < self.totals.theta.shape[1]:
            message = "marginal_effects needs the covariance of all coefficients; call infer without features."
            raise ValueError(message)
        kernel = EffectsKernel(self.totals.theta, self.totals.contrasts)
        effects, slopes = self.totals.total(kernel)
        weight = self.totals.counts.weight
        n_classes, n_features = effects.shape
        flat = slopes.reshape(n_classes * n_features, -1) / weight
        variance = np.einsum("ij,jk,ik->i", flat, self.covariance, flat).reshape(n_classes, n_features)
        labels = list(self.classes)
        labels.insert(self.totals.contrasts.reference, self.reference)
        shown = slice(n_classes == BINARY, None)
        return MarginalEffects(
            tuple(labels[shown]), self.feature_names[:n_features], effects[shown] / weight, np.sqrt(variance[shown])
        )

    def summary(self) -> Summary:
        """Return the table of coefficients as text, and as HTML in notebooks, as R prints it for ``glm``.

        Returns
        -------
        summary : Summary
            Prints itself.
        """
        table = zip(self.params, self.standard_errors, self.z, self.p_values, strict=True)
        lines = [
            (
                label,
                [Line(name, *map(float, numbers)) for name, *numbers in zip(self.feature_names, *rows, strict=True)],
            )
            for label, rows in zip(self.classes, table, strict=True)
        ]
        if self.intercept and self.feature_names[-1] == INTERCEPT:
            # first, as in R
            lines = [(label, of_class[-1:] + of_class[:-1]) for label, of_class in lines]
        return Summary(head(self), lines, footer(self), self.reference)

    def to_frame(self, level: float = 0.95) -> Any:
        """Return the table of coefficients as a pandas DataFrame.

        Parameters
        ----------
        level : float, default=0.95
            Coverage of the intervals, in (0, 1).

        Returns
        -------
        frame : pandas.DataFrame
            One row a coefficient, indexed by class and feature, with the columns estimate, std_error, z, p_value,
            ci_low and ci_high.

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
        return pandas.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)
