"""What weights mean, and which covariance is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

if TYPE_CHECKING:
    from sknatgrad._typing import Array, Codes
    from sknatgrad.inference._sums import Counts, ScoresAlong, Totals

Weights = Literal["frequency", "sampling"]
Covariance = Literal["fisher", "frequentist", "robust", "HC1", "cluster"]
# that believe the model
BY_MODEL = {"fisher", "frequentist"}


class Question(NamedTuple):
    """Checked arguments of `infer`."""

    weights: Weights
    covariance: Covariance
    groups: Codes | None = None  # (n,), where the covariance is by cluster
    n_groups: int = 0  # with weight

    @classmethod
    def of(cls, weights: Weights, covariance: Covariance, counts: Counts) -> Question:
        """Refuse unknown names, and pairs of them that mean nothing."""
        for name, value, known in (("weights", weights, Weights), ("covariance", covariance, Covariance)):
            if not isinstance(value, str) or value not in get_args(known):
                given = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
                hint = "; weights of rows go into sample_weight" if name == "weights" else ""
                message = f"{name}={given} is unknown; it must be one of {list(get_args(known))}{hint}."
                raise ValueError(message)
        all_ones = counts.least == 1.0 and counts.weight == counts.n_weighted
        if weights == "sampling" and covariance in BY_MODEL and not all_ones:
            message = (
                f"weights='sampling' and covariance={covariance!r} do not go together unless all weights are 0 or 1, "
                "as such weights do not say how much was observed; use covariance='robust', 'HC1' or 'cluster'."
            )
            raise ValueError(message)
        return cls(weights, covariance)

    def among(self, groups: Any, weight: Array) -> Question:
        """Return the question with the groups of the rows; refuse those of another length, or that are not asked."""
        if self.covariance == "cluster":
            codes = _checked_groups(groups, weight)
            return self._replace(groups=codes, n_groups=int(np.unique(codes[weight > 0]).size))
        if groups is not None:
            message = "groups were given, but only covariance='cluster' uses them: pass that, or no groups."
            raise ValueError(message)
        return self

    @property
    def by_model(self) -> bool:
        """Whether the covariance believes the model."""
        return self.covariance in BY_MODEL

    def observations(self, counts: Counts) -> float:
        """Return n."""
        return counts.weight if self.weights == "frequency" else float(counts.n_weighted)

    def spread(self, totals: Totals | ScoresAlong, fisher: Array, n_params: int) -> Array:
        """Return the covariance of the total score, by the model or from the rows, ``((K - 1) d, (K - 1) d)``."""
        if self.by_model:
            return fisher
        n = self.observations(totals.counts)
        if self.covariance != "robust" and n <= n_params:
            message = (
                f"covariance={self.covariance!r} divides by n - k, but n = {n:g} and k = {n_params} coefficients; fit "
                "fewer columns."
            )
            raise ValueError(message)
        if self.groups is not None:
            factor = self.n_groups / (self.n_groups - 1.0) * (n - 1.0) / (n - n_params)
            return factor * totals.squared_group_scores(self.groups)
        squared = totals.squared_scores(1 if self.weights == "frequency" else 2)
        return squared * (n / (n - n_params)) if self.covariance == "HC1" else squared


def _checked_groups(groups: Any, weight: Array) -> Codes:
    if groups is None:
        message = "groups=None, but covariance='cluster' needs the group of each row: pass groups."
        raise ValueError(message)
    labels = np.asarray(groups)
    if labels.shape != weight.shape:
        message = f"groups has shape {labels.shape}; it must hold one group a row of X, {weight.shape}."
        raise ValueError(message)
    missing = [label is None or label != label for label in labels.tolist()]  # noqa: PLR0124 - NaN differs from itself
    if any(missing):
        message = f"groups holds {labels[missing.index(True)]} at row {missing.index(True)}; every row needs a group."
        raise ValueError(message)
    counting = set(labels[weight > 0].tolist())
    if len(counting) == 1:
        message = f"groups holds one group only with weight, {counting.pop()!r}; a covariance needs two or more."
        raise ValueError(message)
    # labels of any kind, which need not sort
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(label, len(seen)) for label in labels.tolist()], dtype=np.intp)
