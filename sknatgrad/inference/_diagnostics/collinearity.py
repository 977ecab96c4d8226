"""What is said of columns whose coefficients the data do not determine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._definitions import Codes
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance
    from sknatgrad.inference._row_sums.aliased import LinearDependence

# names of a list, and sets of columns, that a message has at most, so that it stays readable
MAX_NAMES = 3
MAX_SETS = 5


def aliased_notice(dependence: LinearDependence | None, names: tuple[str, ...]) -> str:
    """Return the sentence about columns that are set aside; an empty string if there are none."""
    if dependence is None:
        return ""
    aliased = dependence.aliased.size
    verb, are = ("depends", "is") if aliased == 1 else ("depend", "are")
    return (
        f"{aliased} of {len(names)} columns {verb} linearly on the intercept or on earlier columns and {are} set aside "
        f"as aliased, as in R; all figures are those of the model without {'it' if aliased == 1 else 'them'}: "
        f"{_sets(dependence, names)}"
    )


def undetermined_notice(dependence: LinearDependence | None, names: tuple[str, ...]) -> str:
    """Return the reason about columns that are linearly dependent and not set aside; an empty string without any."""
    if dependence is None:
        return ""
    return _collinear(_sets(dependence, names), ", pass aliased='drop'")


def undetermined_reasons(covariance: CoefficientCovariance, names: tuple[str, ...]) -> list[str]:
    """Return the reasons for which coefficients of columns that are not aliased have no standard errors.

    `names` are those of the selected columns.
    """
    unknown = ~np.all(covariance.determined, axis=0)
    dependence = covariance.dependence
    if dependence is None:
        return [_collinear(first_names(names, np.flatnonzero(unknown)), "")] if unknown.any() else []
    unknown &= dependence.kept
    if not unknown.any():
        return []
    columns = first_names(names, np.flatnonzero(unknown))
    if covariance.hidden_distance is not None:
        return [_nearly_collinear(columns, covariance.hidden_distance)]
    # in orthonormal combinations of the columns, nothing else takes away information
    reason = (
        f"the probabilities of the fit, near 0 and 1, leave almost no information on the coefficients of {columns}, "
        "whose columns are not collinear, and no standard errors"
    )
    return [reason]


def _collinear(columns: str, remedy: str) -> str:
    return (
        f"collinear or constant columns, {columns}, have coefficients that the data do not determine, and no standard "
        f"errors (those of the other columns are valid): drop some of them, such as one of each set of "
        f"indicators{remedy}, or fit with a penalty"
    )


def _nearly_collinear(columns: str, distance: float) -> str:
    return (
        f"nearly collinear columns, {columns}, differ from combinations of others by so little that rounding hides it, "
        f"and have no standard errors, as the fit did not find the optimum along the differences, {distance:.2g} "
        "standard errors away (deviance and the other standard errors are those without the differences, whereas "
        "degrees of freedom count all columns): subtract means or round numbers near them, or drop some"
    )


def dependent_sets(dependence: LinearDependence) -> list[tuple[list[int], int]]:
    """Return the columns of each set that is linearly dependent, and how many of them are aliased.

    Two aliased columns are in one set if they depend on a common column that is not constant.
    """
    constant = dependence.constant
    sets: list[tuple[set[int], int]] = []
    for column, terms in zip(dependence.aliased.tolist(), dependence.terms, strict=True):
        members, n_aliased = {column, *np.flatnonzero(terms).tolist()}, 1
        apart = []
        for other, n_other in sets:
            if any(not constant[j] for j in members & other):
                members, n_aliased = members | other, n_aliased + n_other
            else:
                apart.append((other, n_other))
        sets = [*apart, (members, n_aliased)]
    return sorted((sorted(members), n_aliased) for members, n_aliased in sets)


def _sets(dependence: LinearDependence, names: tuple[str, ...]) -> str:
    sets = dependent_sets(dependence)
    parts = [_set(dependence, names, members, n_aliased) for members, n_aliased in sets[:MAX_SETS]]
    if len(sets) > MAX_SETS:
        further = sum(n_aliased for _, n_aliased in sets[MAX_SETS:])
        parts.append(f"{len(sets) - MAX_SETS} more sets ({further} too many)")
    return ", ".join(parts)


def _set(dependence: LinearDependence, names: tuple[str, ...], members: list[int], n_aliased: int) -> str:
    """Return the first columns of a set; if these are not all, also the first of those that are too many."""
    aliased = [j for j in members if not dependence.kept[j]]
    named = f": {first_names(names, aliased)}" if len(members) > MAX_NAMES else ""
    return f"{{{first_names(names, members)}}} ({n_aliased} too many{named})"


def first_names(names: Sequence[str], columns: Sequence[int] | Codes) -> str:
    """Return the first names of columns, and the number of further ones."""
    shown = [names[j] for j in columns[:MAX_NAMES]]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
