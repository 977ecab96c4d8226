"""The options of a covariance: its kind, the meaning of weights, and groups of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, get_args

import numpy as np

from sknatgrad._inputs.labels import label_array
from sknatgrad._model.class_labels import label_keys, label_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike

    from sknatgrad._definitions import Array, Codes
    from sknatgrad.inference._row_sums.rows import RowCounts

Weights = Literal["frequency", "sampling"]
Covariance = Literal["fisher", "frequentist", "robust", "HC1", "cluster", "bootstrap"]
# covariances that assume that the model holds
MODEL_BASED = {"fisher", "frequentist"}


class ScoreSums(Protocol):
    """Sums of the outer products of scores, u of a row, of all coefficients or of some projections of them."""

    @property
    def counts(self) -> RowCounts:
        """The number of rows, and the sums of their weights."""
        ...

    def squared_scores(self, power: int) -> Array:
        """Return Σ s_iᵖ u_i u_iᵀ over rows."""
        ...

    def squared_group_scores(self, groups: Codes) -> Array:
        """Return Σ_g u_g u_gᵀ over groups, u_g the weighted sum over the rows of a group."""
        ...


class CovarianceOptions(NamedTuple):
    """The checked arguments of `infer` that determine the covariance."""

    weights: Weights
    covariance: Covariance
    groups: Codes | None = None  # (n,), for the cluster-robust covariance, or which are resampled
    n_groups: int = 0  # with a row of positive weight

    @classmethod
    def checked(cls, weights: Weights, covariance: Covariance, counts: RowCounts) -> CovarianceOptions:
        """Return the options; raise an error for unknown names and for pairs that have no meaning."""
        for name, value, known in (("weights", weights, Weights), ("covariance", covariance, Covariance)):
            if not isinstance(value, str) or value not in get_args(known):
                given = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
                hint = "; weights of rows go into sample_weight" if name == "weights" else ""
                message = f"{name}={given} is unknown; it must be one of {list(get_args(known))}{hint}."
                raise ValueError(message)
        all_ones = counts.min_weight == 1.0 and counts.total_weight == counts.n_weighted
        if weights == "sampling" and covariance in MODEL_BASED and not all_ones:
            message = (
                f"weights='sampling' and covariance={covariance!r} do not go together unless all weights are 0 or 1, "
                "because such weights are not numbers of observations; use covariance='robust', 'HC1' or 'cluster'."
            )
            raise ValueError(message)
        return cls(weights, covariance)

    def with_groups(self, groups: ArrayLike | None, weight: Array) -> CovarianceOptions:
        """Return the options with the group of each row; raise an error if groups are missing, wrong or not used."""
        if self.covariance == "cluster" or (self.covariance == "bootstrap" and groups is not None):
            codes = _checked_groups(groups, weight)
            return self._replace(groups=codes, n_groups=int(np.unique(codes[weight > 0]).size))
        if groups is not None:
            message = (
                "groups were given, but only covariance='cluster' and 'bootstrap' use them: pass one of these, or no "
                "groups."
            )
            raise ValueError(message)
        return self

    @property
    def model_based(self) -> bool:
        """Whether the covariance assumes that the model holds."""
        return self.covariance in MODEL_BASED

    def n_observations(self, counts: RowCounts) -> float:
        """Return n: the sum of the weights if they are frequencies, else the number of rows of positive weight."""
        return counts.total_weight if self.weights == "frequency" else float(counts.n_weighted)

    def max_rank(self, counts: RowCounts, *, penalised: bool) -> float:
        """Return the largest rank that the covariance can have; infinity if it is model-based.

        The meat sums outer products of the scores of groups, or of rows. Those scores add up to 0 at the maximum of the
        likelihood.
        """
        if self.model_based:
            return np.inf
        n_scores = counts.n_weighted if self.groups is None else self.n_groups
        return n_scores - (not penalised)

    def rank_message(self, tested: str, rank: float) -> str:
        """Return the error of a test of more numbers than the covariance has rank; `tested` names and counts them."""
        of_groups = f" of {self.n_groups} groups" if self.groups is not None else ""
        return (
            f"{tested}, but their covariance ({self.covariance!r}{of_groups}) has rank {rank:g}, so that the statistic "
            f"would not be chi-squared; test at most {rank:g} together, or use another covariance."
        )

    def meat(self, scores: ScoreSums, fisher: Array, n_params: int) -> Array:
        """Return the meat of the sandwich covariance, that of the total score: F, or from the scores of the rows.

        Parameters
        ----------
        scores : ScoreSums
            Sums of the scores of rows.

        fisher : ndarray
            Fisher information F, in the coordinates of the scores.

        n_params : int
            Number of coefficients that the data determine.
        """
        if self.model_based or self.covariance == "bootstrap":
            # what the bootstrap says is about the coefficients, not about the score
            return fisher
        n = self.n_observations(scores.counts)
        if self.covariance != "robust" and n <= n_params:
            message = (
                f"covariance={self.covariance!r} divides by n - k, but n = {n:g} and k = {n_params} coefficients; fit "
                "fewer columns."
            )
            raise ValueError(message)
        if self.groups is not None:
            factor = self.n_groups / (self.n_groups - 1.0) * (n - 1.0) / (n - n_params)
            return factor * scores.squared_group_scores(self.groups)
        squared = scores.squared_scores(1 if self.weights == "frequency" else 2)
        return squared * (n / (n - n_params)) if self.covariance == "HC1" else squared


def _checked_groups(groups: ArrayLike | None, weight: Array) -> Codes:
    """Return the code of each row's group, for labels of any kind."""
    if groups is None:
        message = "groups=None, but covariance='cluster' needs the group of each row: pass groups."
        raise ValueError(message)
    labels = label_array(groups, "groups")
    if labels.shape == (weight.size, 1):
        labels = labels.ravel()
    if labels.shape != weight.shape:
        message = f"groups has shape {labels.shape}; it must hold one group per row of X, {weight.shape}."
        raise ValueError(message)
    # labels of mixed kinds do not sort, so they are numbered in the order of the rows
    seen: dict[Hashable, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) for label in label_keys(labels)], dtype=np.intp)
    weighted = np.unique(codes[weight > 0])
    if len(weighted) == 1:
        group = label_name(labels[int((codes == weighted[0]).argmax())])
        message = f"groups holds one group only with weight, {group}; a covariance needs two or more."
        raise ValueError(message)
    return codes
