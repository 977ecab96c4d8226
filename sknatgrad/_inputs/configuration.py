"""The parameters of the estimator, as the solver takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from sklearn.utils import check_random_state

from sknatgrad._model.layout import Layout
from sknatgrad._solver.problem import DescentOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sknatgrad._definitions import Array, Labels
    from sknatgrad._limits import Limits
    from sknatgrad._model.metrics import FisherName
    from sknatgrad._model.prior import Prior
    from sknatgrad._rows.column_groups import ColumnGroups

    # of `fit_batches`: each batch is (X, y) or (X, y, sample_weight)
    Batches: TypeAlias = Iterable[object] | Callable[[], Iterable[object]]

ClassWeight: TypeAlias = dict[Any, float] | Literal["balanced"] | None
RandomState: TypeAlias = int | np.random.RandomState | None


class Configuration(Protocol):
    """The parameters of an estimator, and its fitted attributes, where it has them."""

    _limits: ClassVar[Limits]
    fisher: FisherName
    C: float
    damping: float
    learning_rate: float | Literal["auto"]
    max_kl: float | None
    max_iter: int
    tol: float
    fit_intercept: bool
    class_weight: ClassWeight
    prior: Any
    warm_start: bool
    store_covariance: bool
    forgetting: float
    random_state: RandomState
    on_interrupt: Literal["raise", "keep"]
    verbose: int
    n_features_in_: int
    classes_: Labels
    coef_: Array
    intercept_: Array


def layout_of(estimator: Configuration, classes: Labels, groups: ColumnGroups | None = None) -> Layout:
    """Return the layout of θ for these classes and the features that the estimator has seen."""
    return Layout(classes, estimator.n_features_in_, bool(estimator.fit_intercept), groups)


def descent_options(estimator: Configuration, prior: Prior) -> DescentOptions:
    """Return the options of the descent."""
    return DescentOptions(
        damping=float(estimator.damping),
        learning_rate=None if estimator.learning_rate == "auto" else float(estimator.learning_rate),
        max_kl=estimator.max_kl,
        max_iter=estimator.max_iter,
        tol=estimator.tol,
        penalised=prior.proper,
    )


def seed_of(estimator: Configuration) -> int:
    """Return the seed of drawn labels; each call takes a number from a `random_state` that is a generator."""
    if estimator.fisher != "monte_carlo":
        # no labels are drawn, so the global generator is not used
        return 0
    return int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max // 2))
