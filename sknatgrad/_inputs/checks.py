"""Checks of estimators, numbers and sizes. Each error is one sentence: the argument, its value, what is allowed."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.utils.validation import check_is_fitted

from sknatgrad._limits import Limits


def check_model(estimator: object) -> None:
    """Raise an error unless the estimator is a fitted logistic regression."""
    check_is_fitted(estimator)
    if not (hasattr(estimator, "coef_") and hasattr(estimator, "predict_proba")):
        message = (
            f"estimator is a {type(estimator).__name__}, which is not a logistic regression with coef_ and "
            "predict_proba; of a pipeline pass the last step, with X transformed by the earlier steps, and of a search "
            "its best_estimator_."
        )
        raise ValueError(message)


def check_count(name: str, value: object) -> None:
    """Refuse anything but a positive integer."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        message = f"{name}={value!r} must be an integer of 1 or more."
        raise ValueError(message)


def check_level(level: object) -> None:
    """Refuse anything but a coverage in (0, 1)."""
    if not isinstance(level, Real) or not 0.0 < float(level) < 1.0:
        message = f"level={level!r} is not a coverage; it must lie in (0, 1), such as 0.95."
        raise ValueError(message)


def check_covariance_size(n_params: int, remedy: str, limits: Limits = Limits()) -> None:
    """Refuse a covariance matrix of more than `limits.matrix_bytes`."""
    n_bytes = 8 * n_params**2
    if n_bytes > limits.matrix_bytes:
        message = (
            f"the covariance of {n_params:,} coefficients would take {n_bytes / 2**20:,.0f} MiB, over its budget of "
            f"{limits.matrix_bytes // 2**20} MiB; {remedy}."
        )
        raise ValueError(message)
