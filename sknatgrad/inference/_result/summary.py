"""The table of coefficients as text and as HTML."""

from __future__ import annotations

import html
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sknatgrad._definitions import member_of
from sknatgrad._inputs.columns import INTERCEPT
from sknatgrad._model.class_labels import label_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sknatgrad._definitions import Array
    from sknatgrad.inference._covariance.options import CovarianceOptions
    from sknatgrad.inference._likelihood import Likelihood

# as R prints them; p-values below each bound get its stars
HEADERS = ("", "Estimate", "Std. Error", "z value", "Pr(>|z|)", "")
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))
LEGEND = "Signif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1"
ALIASED = "aliased"
# equations of aliased columns below the table, at most, so that it stays readable
MAX_EQUATIONS = 5
# characters of a line of a warning below the table
WIDTH = 120
# Smaller p-values are printed as "<2e-16": the epsilon of float64, as in R.
MIN_P_VALUE = 2.2e-16

INVERSE_FISHER = "F⁻¹, the inverse Fisher information"
# {H} is the inverse of F, or of F + Λ under a penalty; {s} is the weight, squared for sampling weights
FORMULAS = {
    "fisher": "{H}, the posterior covariance under the Gaussian prior of the penalty (Laplace)",
    "frequentist": "{H} F {H}, the covariance of the shrunk estimate",
    "robust": "{H} M {H} with M = Σ {s} u uᵀ over rows (HC0)",
    "HC1": "{H} M {H} n / (n - k) with M = Σ {s} u uᵀ over rows (HC1)",
    "cluster": "{H} M {H} with M = Σ u uᵀ over groups, times G / (G - 1) (n - 1) / (n - k)",
    "bootstrap": "the covariance of the coefficients of resamples (bootstrap)",
}
POSTERIOR = "The estimates are shrunk towards 0; intervals contain the coefficient with 95 % posterior probability."
SHRUNK = "The estimates are shrunk towards 0; intervals are about their mean, not about the true coefficient."


class SummaryLine(NamedTuple):
    """One coefficient."""

    name: str
    estimate: float
    error: float
    z: float
    p: float

    def cells(self) -> tuple[str, ...]:
        """Return the texts of its columns; an aliased column has no numbers."""
        if math.isnan(self.estimate):
            return (self.name, ALIASED, "", "", "", "")
        return (self.name, f"{self.estimate:.5g}", f"{self.error:.4g}", f"{self.z:.3f}", _p(self.p), _stars(self.p))


def _p(p: float) -> str:
    return "<2e-16" if p < MIN_P_VALUE else f"{p:.3g}"


def _stars(p: float) -> str:
    return next((stars for bound, stars in STARS if p < bound), "")


def lines_of(names: tuple[str, ...], columns: tuple[Array, ...], *, intercept: bool) -> list[list[SummaryLine]]:
    """Return the lines of each class, with the intercept first, as in R.

    Parameters
    ----------
    columns : tuple of ndarray of shape (K - 1, d)
        Estimates, standard errors, z and p-values.

    intercept : bool
        Whether the model has an intercept, which the names may not include.
    """
    tables = [
        [SummaryLine(name, *map(float, numbers)) for name, *numbers in zip(names, *of_class, strict=True)]
        for of_class in zip(*columns, strict=True)
    ]
    if intercept and names[-1] == INTERCEPT:
        return [lines[-1:] + lines[:-1] for lines in tables]
    return tables


def head(likelihood: Likelihood, options: CovarianceOptions) -> str:
    """Return the line above the table."""
    how = "penalised maximum likelihood" if likelihood.penalised else "maximum likelihood"
    weighted = f" (weights: {options.weights})" if options.weights == "sampling" else ""
    return f"Logistic regression by {how}, {_count(likelihood.n)} observations{weighted}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:,.2f}"


def footer(likelihood: Likelihood, options: CovarianceOptions, n_contrasts: int, *, intercept: bool) -> list[str]:
    """Return the lines below the table about the fit; `n_contrasts` is K - 1."""
    lines = [f"Standard errors: {_formula(likelihood, options)}."]
    if likelihood.penalised:
        lines.append(POSTERIOR if options.covariance == "fisher" else SHRUNK)
    pseudo_r2 = f"McFadden's pseudo R²: {likelihood.pseudo_r2:.4f}."
    if options.weights == "sampling":
        # such weights have no likelihood, so no deviance and no AIC
        return [*lines, pseudo_r2]
    # each observation is one of K counts that add up to 1
    n_counts = n_contrasts * likelihood.n
    null_dof, dof = n_counts - n_contrasts * intercept, n_counts - likelihood.effective_dof
    deviances = (
        f"Null deviance: {-2.0 * likelihood.loglik_null:.5g} on {_count(null_dof)} degrees of freedom; "
        f"residual deviance: {-2.0 * likelihood.loglik:.5g} on {_count(dof)}."
    )
    return [*lines, deviances, f"AIC: {likelihood.aic:.5g}; {pseudo_r2}"]


def notes(equations: tuple[str, ...], warnings: tuple[str, ...]) -> list[str]:
    """Return the lines below the table: the equations of aliased columns, and what `infer` warned of."""
    more = len(equations) - MAX_EQUATIONS
    shown = [*equations[:MAX_EQUATIONS], *([f"{more} more in result.aliased"] if more > 0 else [])]
    lines = [f"Aliased: {'; '.join(shown)}."] if shown else []
    return [*lines, *(f"Warning: {text}." for text in warnings)]


def _formula(likelihood: Likelihood, options: CovarianceOptions) -> str:
    if options.model_based and not likelihood.penalised:
        return INVERSE_FISHER
    inverse = "(F + Λ)⁻¹" if likelihood.penalised else "F⁻¹"
    return FORMULAS[options.covariance].format(H=inverse, s="s²" if options.weights == "sampling" else "s")


@member_of("sknatgrad.inference")
@dataclass(frozen=True)
class Summary:
    """The table of coefficients, as `print` and notebooks show it."""

    head: str
    tables: list[tuple[Hashable, list[SummaryLine]]]  # (class, its coefficients)
    footer: list[str]
    reference: Hashable

    def __str__(self) -> str:
        """Return the table as text."""
        parts = [self.head, ""]
        rows = [line.cells() for _, lines in self.tables for line in lines]
        widths = [max(map(len, column)) for column in zip(HEADERS, *rows, strict=True)]
        for label, lines in self.tables:
            parts += [f"Log-odds of {label_name(label)} against {label_name(self.reference)}:"]
            parts += [_row(cells, widths) for cells in (HEADERS, *(line.cells() for line in lines))]
            parts += [""]
        below = [textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False) for line in self.footer]
        return "\n".join([*parts[:-1], "---", LEGEND, "", *below])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        rows = []
        for label, lines in self.tables:
            title = html.escape(f"Log-odds of {label_name(label)} against {label_name(self.reference)}")
            rows.append(f'<tr><th colspan="{len(HEADERS)}" style="text-align:left">{title}</th></tr>')
            rows.append(_html_row("th", HEADERS))
            rows += [_html_row("td", line.cells()) for line in lines]
        notes = "<br>".join(map(html.escape, [LEGEND, *self.footer]))
        return f"<p>{html.escape(self.head)}</p><table>{''.join(rows)}</table><p><small>{notes}</small></p>"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    name, *numbers, stars = cells
    padded = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:-1], strict=True))]
    return "  ".join([*padded, stars]).rstrip()


def _html_row(tag: str, cells: tuple[str, ...]) -> str:
    # words to the left, numbers to the right, whatever the style of the notebook
    sides = ["left", *["right"] * (len(cells) - 2), "left"]
    aligned = (
        f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(aligned)}</tr>"
