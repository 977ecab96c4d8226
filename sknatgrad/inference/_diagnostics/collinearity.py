"""What is said of columns whose coefficients the data do not determine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._inputs.columns import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sknatgrad._typing import Codes, Mask
    from sknatgrad.inference._covariance.protocol import CoefficientCovariance
    from sknatgrad.inference._row_sums.aliased import LinearDependence

# names of a list, and sets of columns, that a message has at most, so that it stays readable
MAX_NAMES = 3
MAX_SETS = 5


def aliased_notice(dependence: LinearDependence | None, names: tuple[str, ...]) -> str:
    """Return the sentence about columns that are set aside; an empty string if there are none."""
    if dependence is None or dependence.kept.all():
        return ""
    aliased = dependence.aliased.size
    verb, are = ("depends", "is") if aliased == 1 else ("depend", "are")
    return (
        f"{aliased} of {len(names)} columns {verb} linearly on the intercept or on earlier columns and {are} set aside "
        f"as aliased, as in R; all figures are those of the model without {'it' if aliased == 1 else 'them'}: "
        f"{_sets(dependence, names)}"
    )


def undetermined_reasons(covariance: CoefficientCovariance, names: tuple[str, ...]) -> list[str]:
    """Return the reasons for which coefficients have no standard errors; `names` are those of the selected columns."""
    unknown = ~np.all(covariance.determined, axis=0)
    dependence = covariance.dependence
    if dependence is None:
        return [_collinear(_listed(names, np.flatnonzero(unknown)), "")] if unknown.any() else []
    dependence = dependence.uncentred(covariance.fitted.centres)
    reasons = []
    if covariance.row_sums.dependence is not None:
        # they are set aside
        unknown &= dependence.kept
    elif not dependence.kept.all():
        reasons.append(_collinear(_sets(dependence, names), ", pass aliased='drop'"))
        unknown &= ~_members(dependence)
    near, uninformed = np.flatnonzero(unknown & ~dependence.resolved), np.flatnonzero(unknown & dependence.resolved)
    if near.size:
        reasons.append(
            f"nearly collinear columns, {_listed(names, near)}, differ from combinations of others by so little that "
            "rounding hides it (1e-7 of their size or less), and have no standard errors (those of the other columns "
            "are valid): subtract means or round numbers near them, or drop some"
        )
    if uninformed.size:
        reasons.append(
            f"the probabilities of the fit, near 0 and 1, leave almost no information on the coefficients of "
            f"{_listed(names, uninformed)}, whose columns are not collinear, and no standard errors"
        )
    return reasons


def _collinear(columns: str, remedy: str) -> str:
    return (
        f"collinear or constant columns, {columns}, have coefficients that the data do not determine, and no standard "
        f"errors (those of the other columns are valid): drop some of them, such as one of each set of "
        f"indicators{remedy}, or fit with a penalty"
    )


def _members(dependence: LinearDependence) -> Mask:
    """Return which columns are aliased, or are in the combination of one that is, ``(d,)``."""
    members: Mask = ~dependence.kept | dependence.terms.any(axis=0)
    return members


def dependent_sets(dependence: LinearDependence, names: tuple[str, ...]) -> list[tuple[list[int], int]]:
    """Return the columns of each set that is linearly dependent, and how many of them are aliased.

    Two aliased columns are in one set if they depend on a common column other than the intercept.
    """
    sets: list[tuple[set[int], int]] = []
    for column, terms in zip(dependence.aliased.tolist(), dependence.terms, strict=True):
        members, n_aliased = {column, *np.flatnonzero(terms).tolist()}, 1
        apart = []
        for other, n_other in sets:
            if any(names[j] != INTERCEPT for j in members & other):
                members, n_aliased = members | other, n_aliased + n_other
            else:
                apart.append((other, n_other))
        sets = [*apart, (members, n_aliased)]
    return sorted((sorted(members), n_aliased) for members, n_aliased in sets)


def _sets(dependence: LinearDependence, names: tuple[str, ...]) -> str:
    sets = dependent_sets(dependence, names)
    parts = [f"{{{_listed(names, members)}}} ({n_aliased} too many)" for members, n_aliased in sets[:MAX_SETS]]
    if len(sets) > MAX_SETS:
        further = sum(n_aliased for _, n_aliased in sets[MAX_SETS:])
        parts.append(f"{len(sets) - MAX_SETS} more sets ({further} too many)")
    return ", ".join(parts)


def _listed(names: Sequence[str], columns: Sequence[int] | Codes) -> str:
    """Return the first names of columns, and the number of further ones."""
    shown = [names[j] for j in columns[:MAX_NAMES]]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
