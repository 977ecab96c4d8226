"""The table of coefficients as text and as HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

    from sknatgrad.inference._result import InferenceResult

HEADERS = ("", "Estimate", "Std. Error", "z value", "Pr(>|z|)", "")
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))
LEGEND = "Signif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1"
# p-values below this are not told apart
LEAST_P = 2.2e-16

BY_MODEL = "F⁻¹, the inverse Fisher information"
# {H} is the inverse of F, or of F + Λ under a penalty; {s} is the weight, squared if it is for sampling
FORMULAS = {
    "fisher": "{H}, the posterior covariance under the prior that the penalty is (Laplace)",
    "frequentist": "{H} F {H}, how much the shrunk estimate varies",
    "robust": "{H} M {H} with M = Σ {s} u uᵀ over rows (HC0)",
    "HC1": "{H} M {H} n / (n - k) with M = Σ {s} u uᵀ over rows (HC1)",
    "cluster": "{H} M {H} with M = Σ u uᵀ over groups, times G / (G - 1) (n - 1) / (n - k)",
}
SHRUNK = {
    "fisher": "The estimates are shrunk towards 0; intervals hold the coefficient with 95 % posterior probability.",
    "": "The estimates are shrunk towards 0; intervals are about their mean, not about the true coefficient.",
}


class Line(NamedTuple):
    """One coefficient."""

    name: str
    estimate: float
    error: float
    z: float
    p: float

    def cells(self) -> tuple[str, ...]:
        """Return what is printed of it."""
        return (self.name, f"{self.estimate:.5g}", f"{self.error:.4g}", f"{self.z:.3f}", _p(self.p), _stars(self.p))


def _p(p: float) -> str:
    return "<2e-16" if p < LEAST_P else f"{p:.3g}"


def _stars(p: float) -> str:
    return next((stars for bound, stars in STARS if p < bound), "")


def head(result: InferenceResult) -> str:
    """Return the line above the table."""
    how = "penalised maximum likelihood" if result.penalised else "maximum likelihood"
    weighted = f" (weights: {result.question.weights})" if result.question.weights == "sampling" else ""
    return f"Logistic regression by {how}, {_count(result.n)} observations{weighted}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number == round(number) else f"{number:,.2f}"


def footer(result: InferenceResult) -> list[str]:
    """Return the lines below the table."""
    question = result.question
    inverse, weight = "(F + Λ)⁻¹" if result.penalised else "F⁻¹", "s²" if question.weights == "sampling" else "s"
    formula = FORMULAS[question.covariance].format(H=inverse, s=weight)
    lines = [f"Standard errors: {BY_MODEL if question.by_model and not result.penalised else formula}."]
    if result.penalised:
        lines.append(SHRUNK.get(question.covariance, SHRUNK[""]))
    shares = f"McFadden's pseudo R²: {result.pseudo_r2:.4f}."
    if question.weights == "sampling":
        # sums of such weights are no deviance on so many observations
        return [*lines, shares]
    null_dof = result.n - len(result.classes) * result.intercept
    deviances = f"{-2.0 * result.loglik_null:.5g} on {_count(null_dof)} degrees of freedom; residual deviance: "
    deviances += f"{-2.0 * result.loglik:.5g} on {_count(result.n - result.effective_dof)}"
    return [*lines, f"Null deviance: {deviances}.", f"AIC: {result.aic:.5g}; {shares}"]


@dataclass(frozen=True)
class Summary:
    """A printed table: show it by `print`, or let a notebook show it."""

    head: str
    tables: list[tuple[Any, list[Line]]]  # of each class
    footer: list[str]
    reference: Any

    def __str__(self) -> str:
        """Return the table as text."""
        parts = [self.head, ""]
        rows = [line.cells() for _, lines in self.tables for line in lines]
        widths = [max(map(len, column)) for column in zip(HEADERS, *rows, strict=True)]
        for label, lines in self.tables:
            parts += [f"Log-odds of {label!r} against {self.reference!r}:"]
            parts += [_row(cells, widths) for cells in (HEADERS, *(line.cells() for line in lines))]
            parts += [""]
        return "\n".join([*parts[:-1], "---", LEGEND, "", *self.footer])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table as HTML, for notebooks."""
        rows = []
        for label, lines in self.tables:
            title = html.escape(f"Log-odds of {label!r} against {self.reference!r}")
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
    # words to the left, numbers to the right: notebooks have ways of their own
    sides = ["left", *["right"] * (len(cells) - 2), "left"]
    aligned = (
        f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>' for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(aligned)}</tr>"
