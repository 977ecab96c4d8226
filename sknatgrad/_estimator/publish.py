"""The attributes of a fitted estimator: computed from a state of the descent, and published at once."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sknatgrad._inputs.notices import stacklevel_of_user
from sknatgrad._model.posterior import Posterior

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sknatgrad._model.protocols import PooledInformation
    from sknatgrad._typing import Array

# what a fit or a stream leaves besides the coefficients, and not each of them leaves all
RESULTS = (
    "covariance_",
    "_undetermined",
    "_stream",
    "n_iter_",
    "loss_curve_",
    "kl_curve_",
    "time_curve_",
    "converged_",
    "n_passes_",
)


@contextmanager
def unchanged_on_error(estimator: object) -> Iterator[None]:
    """Restore every attribute of the estimator if the body fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def forget(estimator: object) -> None:
    """Delete the results of an earlier fit or stream, except the coefficients, from which a warm start begins."""
    for name in RESULTS:
        vars(estimator).pop(name, None)


def publish(estimator: object, attributes: dict[str, Any]) -> None:
    """Replace the results of an earlier fit or stream by these."""
    forget(estimator)
    vars(estimator).update(attributes)


def tell(notices: Iterable[Warning]) -> None:
    """Warn of the notices of a fit, on the line of the user: scikit-learn's wrapper and the method lie between."""
    for notice in notices:
        warnings.warn(notice, stacklevel=stacklevel_of_user())


def posterior_attributes(theta: Array, information: PooledInformation, precision: Array) -> dict[str, Any]:
    """Return `covariance_` and the directions that the rows do not determine, of the prior precision λ ``(d,)``."""
    posterior = Posterior.of(theta, information.dense().reshape(*theta.shape, *theta.shape), precision)
    return {
        "covariance_": posterior.covariance.reshape(theta.size, theta.size),
        "_undetermined": posterior.undetermined,
    }
