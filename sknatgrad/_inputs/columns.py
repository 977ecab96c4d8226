"""Names of columns, and the columns that a name or an index refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    # columns by name or index; a single one need not be in a list
    Features: TypeAlias = str | int | Sequence[str | int]

# the name that R uses
INTERCEPT = "(Intercept)"


def feature_names(estimator: Any, n_features: int | None = None) -> list[str]:
    """Return the names of the features of a fitted estimator, or of one that will have `n_features` of them."""
    given = getattr(estimator, "feature_names_in_", None)
    if given is not None:
        return [str(name) for name in given]
    return [f"x{j}" for j in range(estimator.coef_.shape[1] if n_features is None else n_features)]


def column_index(name: str, feature: object, names: list[str]) -> int:
    """Return the index of a column that is given by name or index; `name` is the name of the argument."""
    index = names.index(feature) if isinstance(feature, str) and feature in names else feature
    if not isinstance(index, (int, np.integer)) or isinstance(index, bool) or not 0 <= index < len(names):
        message = (
            f"{name} holds {feature!r}, which is neither the name of a column nor an index from 0 to "
            f"{len(names) - 1}; names are such as {names[:3]}."
        )
        raise ValueError(message)
    return int(index)


def column_indices(features: Features, names: list[str]) -> list[int]:
    """Return the indices of columns that `features` gives by name or index: one or more, none twice."""
    indices = [column_index("features", feature, names) for feature in listed(features)]
    if not indices or len(set(indices)) < len(indices):
        message = f"features={features!r} must name at least one column, and each only once."
        raise ValueError(message)
    return indices


def listed(features: Any) -> list[Any]:
    """Return a list of columns; a single one need not be in a list."""
    return [features] if isinstance(features, str) or np.ndim(features) == 0 else list(features)
