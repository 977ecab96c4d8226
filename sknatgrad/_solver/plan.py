"""The choice of how the metric is computed, by the time and memory that the alternatives cost."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from sknatgrad._limits import Limits
from sknatgrad._model.information import DenseInformation, KroneckerInformation
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._solver.cost_model import FLOAT32_SPEED, MAX_SEARCHED_SHARE, SEARCHED_ROWS_PER_COLUMN, Shape
from sknatgrad._solver.preconditioning import PreconditionerOption

if TYPE_CHECKING:
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.metrics import FisherName
    from sknatgrad._model.protocols import Structure

# The largest subsample has one row of so many.
SAMPLE_DIVISOR = 8
# Alternatives for quasi-Newton steps, whose cost decides. A fit to 5·10⁵ x 40 takes 106 ms with 8 and 89 with 16, one
# to 20,000 x 50 7.7 and 15.5.
QUASI_NEWTON_DIVISORS = (8, 16, 32)
# Each smaller subsample has one row of so many of the next larger one. Sizes closer together add subsamples that are
# too small: the optimum of 763 rows of adult is a poor start of the next one, 11 iterations for 6.
SAMPLE_RATIO = 16


class Start(NamedTuple):
    """What comes before steps with F of all rows, or in their place."""

    sample_plans: tuple[Plan, ...] = ()  # of subsamples, smallest first, each the start of the next
    quasi_newton: bool = False  # whether steps have the metric of the largest subsample
    plane_search: bool = False  # whether the loss is minimised over planes of two steps


class Plan(NamedTuple):
    """How the metric, the Newton decrement and the start are computed."""

    fisher: FisherName
    shape: Shape
    structure: Structure
    matrix_free: bool  # whether the metric is known by its products only; else it is stored in its structure
    direct_decrement: bool  # whether F + Λ is factorised for the Newton decrement; else it takes conjugate gradients
    preconditioners: tuple[PreconditionerOption, ...] = ()  # more expensive than the diagonal, cheapest first
    float32_products: bool = False  # whether products are computed in float32, and verified in float64
    float32_metric: bool = False  # whether a stored metric is summed in float32
    start: Start = Start()

    def expectation(self, seed: int) -> Expectation:
        """Return the expectation over labels by which the metric is defined; a drawn one depends on the `seed`."""
        return expectation_of(self.fisher, seed)

    @property
    def sample_plans(self) -> tuple[Plan, ...]:
        """Plans of the subsamples that are solved first, smallest first."""
        return self.start.sample_plans

    @property
    def quasi_newton(self) -> bool:
        """Whether steps have the metric of a sample; the rest of the plan is for the case that this fails."""
        return self.start.quasi_newton

    @property
    def plane_search(self) -> bool:
        """Whether the loss is minimised over planes of two steps first, if the columns are well conditioned."""
        return self.start.plane_search

    @property
    def sample_sizes(self) -> tuple[int, ...]:
        """Rows of the subsamples, in the order in which they are solved."""
        return tuple(each.shape.n_rows for each in self.sample_plans)

    def describe(self) -> str:
        """Say in one line what was chosen, and what it and the alternatives are expected to cost."""
        parts = []
        if self.plane_search:
            parts = ["search in planes if the columns are well conditioned"]
        if self.quasi_newton:
            parts += [self._describe_quasi_newton()]
        elif not self.matrix_free:
            parts = [self.structure.__name__.removesuffix("Information").lower()]
        else:
            parts += [f"conjugate gradients at {1e3 * self.shape.product_seconds():.1f} ms a product"]
            parts += [f"{option.name} would cost {option.cost:.0f} products" for option in self.preconditioners]
        if self.sample_plans:
            parts.append(f"samples of {', '.join(f'{n_rows:,}' for n_rows in self.sample_sizes)} rows first")
        return f"metric {self.fisher!r}: {'; '.join(parts)}"

    def _describe_quasi_newton(self) -> str:
        shape, n_sampled = self.shape, self.sample_sizes[-1]
        seconds = shape.newton_cg_seconds() if self.matrix_free else shape.direct_seconds(n_sampled)
        other = "conjugate gradients" if self.matrix_free else "a matrix at each point"
        return (
            f"quasi-Newton by that of {n_sampled:,} rows, about {shape.quasi_newton_points(n_sampled)} points and "
            f"{1e3 * shape.quasi_newton_seconds(n_sampled):.1f} ms; {other} would cost {1e3 * seconds:.1f} ms"
        )


# a search makes many fits to as many rows, and a choice takes 12 us
@lru_cache(maxsize=128)
def choose_plan(
    fisher: FisherName,
    shape: Shape,
    limits: Limits | None = None,
    *,
    adaptive: bool = True,
    subsample: bool = True,
) -> Plan:
    """Choose how to compute the metric.

    The true Fisher information is stored as a matrix if that costs few products. Any other metric has the structure
    that its name implies. Only an `adaptive` descent corrects inexact steps, so any other descent stores the matrix
    wherever it fits in memory. With `subsample`, the fit may start at the optimum of a subsample.
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
    float32 = shape.gains_by_float32()
    sample_plans = _sample_plans(fisher, shape, limits, direct=direct) if subsample else ()
    quasi_newton = bool(sample_plans) and (
        _quasi_newton_pays(shape, sample_plans[-1].shape.n_rows, direct=direct)
        or _sparse_metric_is_cheap(shape, sample_plans[-1].shape, limits)
    )
    return Plan(
        fisher,
        shape,
        structure,
        matrix_free=not direct,
        direct_decrement=direct,
        preconditioners=() if direct else _preconditioners(shape, limits, float32=float32),
        float32_products=not direct and float32,
        start=Start(
            sample_plans if quasi_newton or direct or shape.out_of_core else (),
            quasi_newton,
            plane_search=subsample and not direct and _plane_search_pays(shape, limits),
        ),
    )


def _plane_search_pays(shape: Shape, limits: Limits) -> bool:
    """Say whether the loss may be minimised over planes: for two classes, of dense rows in memory, and enough of them.

    Fewer rows for each column would not show whether the columns are well conditioned.
    """
    dense = shape.stored_per_row >= shape.n_columns
    enough = shape.n_rows >= SEARCHED_ROWS_PER_COLUMN / MAX_SEARCHED_SHARE * shape.n_columns
    large = shape.n_rows * shape.n_columns >= limits.min_sampled_values
    return dense and enough and large and shape.n_logits == 1 and not shape.out_of_core


def _quasi_newton_pays(shape: Shape, n_sampled: int, *, direct: bool) -> bool:
    """Say whether quasi-Newton steps cost less than the alternative; only for two classes were they measured."""
    # rows out of core are read again in each pass, and Newton's method needs the fewest
    if shape.n_logits > 1 or (shape.out_of_core and direct):
        return False
    other = shape.direct_seconds(n_sampled) if direct else shape.newton_cg_seconds()
    return shape.quasi_newton_seconds(n_sampled) < other


def _sparse_metric_is_cheap(shape: Shape, sample: Shape, limits: Limits) -> bool:
    """Say whether F of a sample of a sparse X costs few products.

    Conjugate gradients take more products than those that `newton_cg_seconds` counts, as columns of a sparse X are
    hardly ever well conditioned: 31 of adult one-hot, 50 of its standardised columns.
    """
    if not shape.influence_sampled or shape.n_logits > 1 or 8 * shape.size**2 > limits.matrix_bytes:
        return False
    return sample.dense_seconds(FLOAT32_SPEED) <= limits.direct_products * shape.product_seconds()


def _sample_divisor(shape: Shape, limits: Limits, *, direct: bool) -> int:
    """Return the number of rows for each of the largest subsample."""
    if shape.out_of_core or shape.influence_sampled:
        return SAMPLE_DIVISOR
    sizes = {shape.n_rows // divisor: divisor for divisor in QUASI_NEWTON_DIVISORS}
    large_enough = [size for size in sizes if size >= max(limits.min_rows_per_parameter * shape.size, 1)]
    if not large_enough:
        return SAMPLE_DIVISOR
    best = min(large_enough, key=shape.quasi_newton_seconds)
    return sizes[best] if _quasi_newton_pays(shape, best, direct=direct) else SAMPLE_DIVISOR


def _check_kronecker(shape: Shape, limits: Limits) -> None:
    if 8 * max(shape.n_columns, shape.n_logits) ** 2 > limits.matrix_bytes:
        message = (
            f"fisher='kronecker' would need a {shape.n_columns} x {shape.n_columns} factor, over its budget of "
            f"{limits.matrix_bytes // 2**20} MiB; use fisher='true' (matrix-free at this size) or 'diagonal'."
        )
        raise ValueError(message)


def _preconditioners(shape: Shape, limits: Limits, *, float32: bool) -> tuple[PreconditionerOption, ...]:
    """Return the preconditioners that fit in memory, cheapest first; only F as a matrix is summed in float32."""
    product = shape.product_seconds() / (FLOAT32_SPEED if float32 else 1.0)
    several_logits, class_bytes = shape.n_logits > 1, 8 * shape.n_columns**2
    options = []
    if several_logits and 8 * max(shape.n_columns, shape.n_logits) ** 2 <= limits.matrix_bytes:
        cost = shape.kronecker_seconds() / product
        options.append(PreconditionerOption("kronecker", "a Kronecker product", cost))
    # d² ≤ 2n: the q matrices take no more memory than two numbers for each logit of a row
    fits = shape.n_columns**2 <= 2 * shape.n_rows and shape.n_logits * class_bytes <= limits.matrix_bytes
    if several_logits and fits:
        cost = shape.blocks_seconds(limits) / product
        options.append(PreconditionerOption("blocks", "a matrix a class", cost))
    if 8 * shape.size**2 <= limits.preconditioner_bytes:
        best = PreconditionerOption("true", "a matrix", shape.dense_seconds(FLOAT32_SPEED) / product)
        # a worse preconditioner that costs more would never be used
        options = [option for option in options if option.cost < best.cost] + [best]
    elif options and options[-1].key == "kronecker":
        # Where no matrix is exact for each class. It comes last: it preconditions worse where F is not of low rank.
        rank = shape.low_rank(limits)
        cost = shape.low_rank_seconds(rank) / product
        return (*options, PreconditionerOption("low_rank", "the most informative rows", cost, rank))
    return tuple(sorted(options, key=lambda option: option.cost))


def _sample_plans(fisher: FisherName, shape: Shape, limits: Limits, *, direct: bool) -> tuple[Plan, ...]:
    """Return the plans of growing subsamples, smallest first, the optimum of each being the start of the next.

    They save time if the fit to all rows then stores the matrix, or takes its metric from the largest. With conjugate
    gradients they were measured to cost more than they save when the fit then had to be more accurate, because another
    order of the rows gave another subsample. Rows out of core are the exception, as each product costs as much as
    fetching them.
    """
    if shape.n_values < limits.min_sampled_values:
        return ()
    sizes = []
    n_rows = shape.n_rows // _sample_divisor(shape, limits, direct=direct)
    # the subsample itself is in memory
    if shape.out_of_core:
        n_rows = min(n_rows, int(shape.sample_bytes / (8.0 * shape.stored_per_row)))
    while n_rows >= limits.min_rows_per_parameter * shape.size:
        sizes.append(n_rows)
        n_rows //= SAMPLE_RATIO
    in_memory = shape._replace(out_of_core=False)
    plans = [choose_plan(fisher, in_memory._replace(n_rows=size), limits, subsample=False) for size in reversed(sizes)]
    if shape.influence_sampled:
        # the metric of quasi-Newton steps is a matrix too
        stored = partial(Plan, matrix_free=False, direct_decrement=True, float32_metric=True)
        plans = [stored(fisher, plan.shape, plan.structure) for plan in plans]
    return tuple(plans)
