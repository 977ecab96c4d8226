"""What weights mean, and which covariance is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes
    from sknatgrad.inference._sums import ScoresAlong, Totals

Weights = Literal["frequency", "sampling"]
Covariance = Literal["fisher", "frequentist", "robust", "HC1", "cluster"]
# that believe the model
BY_MODEL = {"fisher", "frequentist"}


class Question(NamedTuple):
    """Checked arguments of `infer`."""

    weights: Weights
    covariance: Covariance
    groups: Codes | None  # (n,), where the covariance is by cluster

    @classmethod
    def of(cls, weights: Weights, covariance: Covariance, groups: Any, weight: Array) -> Question:
        """Refuse unknown names, pairs of them that mean nothing, and groups of another length."""
        for name, value, known in (("weights", weights, Weights), ("covariance", covariance, Covariance)):
            if value not in get_args(known):
                message = f"{name}={value!r} is unknown; it must be one of {list(get_args(known))}."
                raise ValueError(message)
        if weights == "sampling" and covariance in BY_MODEL and np.ptp(weight) > 0.0:
            message = (
                f"weights='sampling' and covariance={covariance!r} do not go together, as such weights do not say how "
                "much was observed; use covariance='robust', 'HC1' or 'cluster'."
            )
            raise ValueError(message)
        if covariance == "cluster":
            return cls(weights, covariance, _checked_groups(groups, weight))
        if groups is not None:
            message = "groups were given, but only covariance='cluster' uses them: pass that, or no groups."
            raise ValueError(message)
        return cls(weights, covariance, None)

    @property
    def by_model(self) -> bool:
        """Whether the covariance believes the model."""
        return self.covariance in BY_MODEL

    def observations(self, weight: Array) -> float:
        """Return n."""
        return float(weight.sum()) if self.weights == "frequency" else float(np.count_nonzero(weight))

    def spread(self, totals: Totals | ScoresAlong, fisher: Array, n_params: int) -> Array:
        """Return the covariance of the total score, by the model or from the rows, ``((K - 1) d, (K - 1) d)``."""
        if self.by_model:
            return fisher
        weight = totals.rows.weight
        n = self.observations(weight)
        if self.covariance != "robust" and n <= n_params:
            message = (
                f"covariance={self.covariance!r} divides by n - k, but n = {n:g} and k = {n_params} coefficients; use "
                "covariance='robust', or fewer columns."
            )
            raise ValueError(message)
        if self.groups is not None:
            n_groups = float(np.unique(self.groups[weight > 0]).size)
            factor = n_groups / (n_groups - 1.0) * (n - 1.0) / (n - n_params)
            return factor * totals.squared_group_scores(self.groups)
        squared = totals.squared_scores(weight if self.weights == "frequency" else weight**2)
        return squared * (n / (n - n_params)) if self.covariance == "HC1" else squared


def _checked_groups(groups: Any, weight: Array) -> Codes:
    if groups is None:
        message = "groups=None, but covariance='cluster' needs the group of each row: pass groups."
        raise ValueError(message)
    labels = np.asarray(groups)
    if labels.shape != weight.shape:
        message = f"groups has shape {labels.shape}; it must hold one group a row of X, {weight.shape}."
        raise ValueError(message)
    counting = np.unique(labels[weight > 0])
    if counting.size == 1:
        message = f"groups holds one group only with weight, {counting.tolist()[0]!r}; a covariance needs two or more."
        raise ValueError(message)
    codes: Codes = np.unique(labels, return_inverse=True)[1]
    return codes
