"""Chooses how the metric is computed, by what each way costs in time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sknatgrad._limits import Limits
from sknatgrad._model.information import DenseInformation, KroneckerInformation
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._solver.cost_model import SINGLE_SPEED, Shape
from sknatgrad._solver.preconditioning import PreconditionerOption

if TYPE_CHECKING:
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.metrics import FisherName
    from sknatgrad._model.protocols import Structure

# The largest subsample is one row in so many. Of 20,000 x 50, one in 16 is too few for a subsample: 7 iterations for 5.
SAMPLE_SHARE = 8
# Each smaller subsample has one row in so many of the next one. So they are few, and far apart: a first one of 763 rows
# of adult led the second one astray, 11 iterations for 6.
SAMPLE_RATIO = 16


class Plan(NamedTuple):
    """How the metric is computed."""

    fisher: FisherName
    shape: Shape
    structure: Structure
    matrix_free: bool  # whether the metric is too large or too dear to store, and only multiplied with
    direct_decrement: bool  # whether the Newton decrement is solved for with a matrix, not by conjugate gradients
    preconditioners: tuple[PreconditionerOption, ...] = ()  # should the diagonal be slow
    sample_plans: tuple[Plan, ...] = ()  # of the growing subsamples that are solved first
    single_precision: bool = False  # whether products are computed in float32, and verified in float64

    def expectation(self, seed: int) -> Expectation:
        """Return how the expectation over labels is taken."""
        return expectation_of(self.fisher, seed)

    @property
    def sample_sizes(self) -> tuple[int, ...]:
        """Rows of the subsamples, in the order in which they are solved."""
        return tuple(each.shape.n_rows for each in self.sample_plans)

    def describe(self) -> str:
        """Say in one line what was chosen, at what expected cost."""
        if not self.matrix_free:
            parts = [self.structure.__name__.removesuffix("Information").lower()]
        else:
            parts = [f"conjugate gradients at {1e3 * self.shape.product_seconds():.1f} ms a product"]
            parts += [f"{option.name} would cost {option.cost:.0f} products" for option in self.preconditioners]
        if self.sample_plans:
            parts.append(f"samples of {', '.join(f'{n_rows:,}' for n_rows in self.sample_sizes)} rows first")
        return f"metric {self.fisher!r}: {'; '.join(parts)}"


def plan(
    fisher: FisherName,
    shape: Shape,
    limits: Limits | None = None,
    *,
    adaptive: bool = True,
    subsample: bool = True,
) -> Plan:
    """Choose by cost if the metric is the true Fisher information; else take the structure that its name says.

    Only an `adaptive` descent corrects inexact steps, so any other solves exactly wherever the matrix can be stored.
    """
    limits = limits or Limits()
    structure = STRUCTURES[fisher]
    if structure is KroneckerInformation:
        _check_kronecker(shape, limits)
    dense_bytes = 8 * shape.size**2
    storable = dense_bytes <= limits.matrix_bytes
    if structure is not DenseInformation:
        small = dense_bytes <= min(limits.decrement_bytes, limits.matrix_bytes)
        return Plan(fisher, shape, structure, matrix_free=False, direct_decrement=small)
    if fisher != "true" or not adaptive:
        return Plan(fisher, shape, structure, matrix_free=not storable, direct_decrement=storable)
    direct = storable and shape.dense_seconds() / shape.product_seconds() <= limits.direct_products
    single = shape.gains_by_single()
    return Plan(
        fisher,
        shape,
        structure,
        matrix_free=not direct,
        direct_decrement=direct,
        preconditioners=() if direct else _preconditioners(shape, limits, single=single),
        sample_plans=_sample_plans(fisher, shape, limits) if subsample and (direct or shape.out_of_core) else (),
        single_precision=not direct and single,
    )


def _check_kronecker(shape: Shape, limits: Limits) -> None:
    if 8 * max(shape.n_columns, shape.n_logits) ** 2 > limits.matrix_bytes:
        message = (
            f"fisher='kronecker' would need a {shape.n_columns} x {shape.n_columns} factor, over its budget of "
            f"{limits.matrix_bytes // 2**20} MiB; use fisher='true' (matrix-free at this size) or 'diagonal'."
        )
        raise ValueError(message)


def _preconditioners(shape: Shape, limits: Limits, *, single: bool) -> tuple[PreconditionerOption, ...]:
    """Return what could precondition, in the order of its cost; all but Kronecker factors are summed in float32."""
    product = shape.product_seconds() / (SINGLE_SPEED if single else 1.0)
    several, block_bytes = shape.n_logits > 1, 8 * shape.n_columns**2
    options = []
    if several and 8 * max(shape.n_columns, shape.n_logits) ** 2 <= limits.matrix_bytes:
        cost = shape.kronecker_seconds() / product
        options.append(PreconditionerOption("kronecker", "a Kronecker product", cost))
    # the matrices of all classes then take, a few times over, no more memory than a few vectors of the rows
    if several and shape.n_columns**2 <= 2 * shape.n_rows and shape.n_logits * block_bytes <= limits.matrix_bytes:
        cost = shape.blocks_seconds(SINGLE_SPEED, limits) / product
        options.append(PreconditionerOption("blocks", "a matrix a class", cost))
    if 8 * shape.size**2 <= limits.preconditioner_bytes:
        best = PreconditionerOption("true", "a matrix", shape.dense_seconds(SINGLE_SPEED) / product)
        # what costs more than the best is never used
        options = [option for option in options if option.cost < best.cost] + [best]
    return tuple(sorted(options, key=lambda option: option.cost))


def _sample_plans(fisher: FisherName, shape: Shape, limits: Limits) -> tuple[Plan, ...]:
    """Return the plans of growing subsamples, each the start of the next.

    They pay where matrices then lead to the optimum. With conjugate gradients they cost more than they save: another
    order of the rows gives another subsample, so the final step has to be so accurate that this does not show. Rows out
    of core are the exception, as each product costs as much as fetching them.
    """
    if shape.n_rows * shape.stored * shape.n_logits < limits.min_sampled_values:
        return ()
    sizes = []
    n_rows = shape.n_rows // SAMPLE_SHARE
    if shape.out_of_core:
        n_rows = min(n_rows, int(shape.sample_bytes / (8.0 * shape.stored)))
    while n_rows >= limits.min_rows_per_parameter * shape.size:
        sizes.append(n_rows)
        n_rows //= SAMPLE_RATIO
    in_memory = shape._replace(out_of_core=False)
    return tuple(plan(fisher, in_memory._replace(n_rows=size), limits, subsample=False) for size in reversed(sizes))
