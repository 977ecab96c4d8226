"""The likelihood-ratio test of two nested models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sknatgrad.inference._hypothesis_tests.chi_squared import ChiSquared

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sknatgrad.inference._covariance.options import Weights
    from sknatgrad.inference._likelihood import Likelihood
    from sknatgrad.inference._row_sums.rows import AnyRows

# Relative to the log-likelihood: a larger model may fit worse by this much, as neither has converged exactly. Fits of
# one model by different metrics differ by at most 3e-16 at the default `tol`, those with a looser one by more.
NESTED_TOLERANCE = 1e-9


class ComparedModel(NamedTuple):
    """The properties of a model that the test uses."""

    likelihood: Likelihood
    weights: Weights
    labels: set[Hashable]  # K
    rows: AnyRows


def likelihood_ratio_test(larger: ComparedModel, smaller: ComparedModel) -> ChiSquared:
    """Return the test; raise an error if the models are not nested, or not by maximum likelihood of the same rows."""
    of_larger, of_smaller = larger.likelihood, smaller.likelihood
    if of_larger.penalised or of_smaller.penalised:
        message = "lr_test compares maximum likelihoods, but a model is penalised; fit both with C=np.inf."
        raise ValueError(message)
    if "sampling" in {larger.weights, smaller.weights}:
        message = "lr_test needs weights='frequency', but a model has 'sampling'; use wald_test."
        raise ValueError(message)
    if larger.labels != smaller.labels or not larger.rows.has_labels_and_weights_of(smaller.rows):
        message = (
            f"other has n = {of_smaller.n:g} and {len(smaller.labels)} classes, this one has n = {of_larger.n:g} and "
            f"{len(larger.labels)}, or their labels or weights differ; likelihoods can be compared only on the same "
            "rows."
        )
        raise ValueError(message)
    dof = round(of_larger.effective_dof - of_smaller.effective_dof)
    if dof < 1:
        sizes = f"other has {of_smaller.effective_dof:g} coefficients, this one {of_larger.effective_dof:g}"
        message = f"{sizes}; other must be smaller."
        raise ValueError(message)
    statistic = 2.0 * (of_larger.loglik - of_smaller.loglik)
    if statistic < -NESTED_TOLERANCE * abs(of_larger.loglik):
        message = (
            f"other has the larger log-likelihood, {of_smaller.loglik:g} against {of_larger.loglik:g}, so its columns "
            "are not among those of this model; the columns of one model must include all columns of the other."
        )
        raise ValueError(message)
    return ChiSquared.of(max(statistic, 0.0), dof)
