"""Columns that are set aside because they depend linearly on earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._definitions import member_of

if TYPE_CHECKING:
    from sknatgrad.inference._row_sums.aliased import LinearDependence

# terms of a linear combination that a line of the summary has at most, so that it stays readable
MAX_TERMS = 4


@member_of("sknatgrad.inference")
class AliasedColumn(NamedTuple):
    """A column that is a linear combination of the intercept and of earlier columns, and so is not in the model.

    Attributes
    ----------
    name : str
        Its name.

    combination : dict of str to float
        The coefficients of the columns that it is a combination of, without those that are 0 up to rounding; empty for
        a column of zeros.
    """

    name: str
    combination: dict[str, float]

    def __str__(self) -> str:
        """Return the combination as an equation, of a few terms."""
        terms = [
            f"{'-' if number < 0 else '+'} {f'{abs(number):.5g} '.removeprefix('1 ')}{name}"
            for name, number in list(self.combination.items())[:MAX_TERMS]
        ]
        more = len(self.combination) - len(terms)
        # the first term has no sign of its own if it is positive, and no space after it if not
        right = " ".join(terms).removeprefix("+ ").replace("- ", "-", " ".join(terms).startswith("-"))
        return f"{self.name} = {right or '0'}" + (f" and {more} more terms" if more else "")


def aliased_columns(dependence: LinearDependence | None, names: tuple[str, ...]) -> tuple[AliasedColumn, ...]:
    """Return the aliased columns in order; None is no linear dependence."""
    if dependence is None:
        return ()
    rows = zip(dependence.aliased, dependence.coefficients, dependence.terms, strict=True)
    return tuple(
        AliasedColumn(names[column], {names[j]: float(coefficients[j]) for j in np.flatnonzero(terms)})
        for column, coefficients, terms in rows
    )
