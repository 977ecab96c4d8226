"""The attributes of a fitted estimator: computed from a state of the descent, and published at once."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sknatgrad._inputs.notices import stacklevel_of_user
from sknatgrad._model.posterior import Posterior
from sknatgrad._model.recentring import recentred_covariance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import PooledInformation

# attributes that a fit or a stream sets besides the coefficients; not every one sets all of them
RESULTS = (
    "covariance_",
    "_undetermined",
    "_centred_covariance",
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


def delete_results(estimator: object) -> None:
    """Delete the results of an earlier fit or stream, except the coefficients, from which a warm start begins."""
    for name in RESULTS:
        vars(estimator).pop(name, None)


def publish(estimator: object, attributes: dict[str, object]) -> None:
    """Replace the results of an earlier fit or stream by these."""
    delete_results(estimator)
    vars(estimator).update(attributes)


def tell(notices: Iterable[Warning]) -> None:
    """Issue the warnings of a fit, on the line of the user."""
    for notice in notices:
        warnings.warn(notice, stacklevel=stacklevel_of_user())


def summarised(notices: Iterable[Warning]) -> list[Warning]:
    """Return one warning of each kind: the first text, and how many other fits gave such a warning."""
    by_kind: dict[type[Warning], list[Warning]] = {}
    for notice in notices:
        by_kind.setdefault(type(notice), []).append(notice)
    summary = []
    for kind, of_kind in by_kind.items():
        others = len(of_kind) - 1
        count = f" {others:,} other {'fit' if others == 1 else 'fits'} gave such a warning." if others else ""
        summary.append(kind(f"{of_kind[0]}{count}") if others else of_kind[0])
    return summary


def posterior_attributes(
    theta: Array, information: PooledInformation, precision: Array, centres: Array | None
) -> dict[str, object]:
    """Return `covariance_` and the directions that the rows do not determine, for the prior precision λ ``(d,)``.

    Of rows less the centres, the covariance of the intercepts with all coefficients comes with them: in `covariance_`
    they have the rounding error of a sum of all columns.
    """
    posterior = Posterior.of(theta, information.dense().reshape(*theta.shape, *theta.shape), precision)
    raw = recentred_covariance(posterior.covariance, centres, None)
    return {
        "covariance_": raw.reshape(theta.size, theta.size),
        "_undetermined": posterior.undetermined,
        "_centred_covariance": None if centres is None else posterior.covariance[:, -1].copy(),
    }
