"""Chooses how a metric is computed, by what it costs in time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sknatgrad._limits import Limits
from sknatgrad._model.information import (
    DenseInformation,
    KroneckerInformation,
)
from sknatgrad._model.metrics import STRUCTURES, expectation_of
from sknatgrad._rows.matrices import stored_bytes_per_row
from sknatgrad._rows.memory import TEMPORARIES
from sknatgrad._solver.newton_cg import Offer

if TYPE_CHECKING:
    from sknatgrad._model.expectations import Expectation
    from sknatgrad._model.metrics import FisherName
    from sknatgrad._model.protocols import Structure
    from sknatgrad._typing import Matrix

# Rough figures of two cores, for comparing costs: multiplications of a matrix a second, where both sides are large and
# where one is thin; bytes read a second; and seconds of Python that a product costs however small it is.
FLOPS = 1.2e11
THIN_FLOPS = 6e10
BANDWIDTH = 2.5e10
ENTRY = 1e-9  # to weigh a value of X
CALL = 1e-4
# bytes a second at which rows come that are not in memory: a disk, a reader of files, the worker that keeps them
OUT_OF_CORE_BANDWIDTH = 1e9
# how much faster all that is in single precision
SINGLE = 2.0
# how many classes a row counts in
FEW_CLASSES = 3.0
# F is computed as a matrix at every point if that costs no more than so many products
DIRECT_PRICE = 4.5
# The largest sample is this share of the rows, each smaller one this share of the next, and none has fewer rows a
# parameter than this. Values of X below which there is nothing to save.
SAMPLE_SHARE = 8
GROWTH = 16
ROWS_A_PARAMETER = 32
WORTH_SAMPLING = 2**18
# the largest sample of rows that are not in memory; and of those that are on other machines
SAMPLE_BYTES = 2**28
SENT_BYTES = 2**23

# one (qd)² matrix of float64; a direct solve holds a handful of them at a time
DENSE_BUDGET_BYTES = 2**28
# the same for a preconditioner
MATRIX_BYTES = 2**25
# a copy of X in float32
ROUNDED_BYTES = 2**25
# The directions of a solve that are kept, twice, and their images; or so many bytes a logit of a row. Not so few that
# they are of no use, nor so many that they take longer than the products.
DIRECTION_BYTES = 2**22
DIRECTION_SHARE = 8
DIRECTIONS = (4, 64)
# the same for the certificate of a metric whose user did not ask for a (qd)² matrix
CERTIFICATE_BUDGET_BYTES = 2**23


class Shape(NamedTuple):
    """What costs depend on."""

    n_rows: int
    n_logits: int  # q
    n_columns: int  # d
    stored: float  # values of X that are stored, a row
    rounding: float = np.inf  # bytes that X would take in float32, beyond those it takes as it is, a row
    out_of_core: bool = False  # whether the rows are not in memory
    room: float = SAMPLE_BYTES  # for a sample of them

    @classmethod
    def of(cls, X: Matrix, n_logits: int, n_columns: int) -> Shape:
        """Return the shape of the problem that these rows pose."""
        stored = stored_bytes_per_row(X)
        rounding = 0.0 if X.dtype != np.float64 else 0.5 * stored
        return cls(X.shape[0], n_logits, n_columns, stored / 8.0 + n_columns - X.shape[1], rounding)

    @property
    def size(self) -> int:
        """Number of parameters, qd."""
        return self.n_logits * self.n_columns

    def fetching(self) -> float:
        """Seconds until all rows are here, in every pass."""
        return 8.0 * self.n_rows * self.stored / OUT_OF_CORE_BANDWIDTH if self.out_of_core else 0.0

    def product(self) -> float:
        """Seconds of one product F v: X is read once, and multiplied with twice."""
        work = 4.0 * self.n_rows * self.n_logits * self.stored / THIN_FLOPS
        return CALL + max(work, 8.0 * self.n_rows * self.stored / BANDWIDTH) + self.fetching()

    def gains_by_rounding(self) -> bool:
        """Say whether products are faster in float32 by more than a copy of X costs, and there is room for that."""
        if self.out_of_core:
            return False
        if self.rounding == 0.0:
            return True
        multiplies = 4.0 * self.n_logits / THIN_FLOPS > 8.0 / BANDWIDTH
        return multiplies and self.n_rows * self.rounding <= ROUNDED_BYTES

    def directions(self) -> int:
        """Return how many directions of a solve are kept."""
        room = max(DIRECTION_BYTES, DIRECTION_SHARE * self.n_rows * self.n_logits)
        return int(np.clip(room / (16 * self.size), *DIRECTIONS))

    def dense(self, speed: float = 1.0) -> float:
        """Seconds of F as a matrix, half of which is computed, and of its factorisation."""
        gram = self.n_rows * self.size * (self.n_logits * self.stored / (speed * FLOPS) + ENTRY)
        return self.fetching() + gram + 2.0 * self.size**3 / 3.0 / FLOPS

    def kronecker(self) -> float:
        """Seconds of the two factors, and of their factorisations."""
        factorise = 2.0 * (self.n_columns**3 + self.n_logits**3) / 3.0 / FLOPS
        grams = self.n_rows * (self.n_columns * self.stored + self.n_logits**2) / THIN_FLOPS
        return self.fetching() + grams + factorise

    def blocks(self, speed: float = 1.0) -> float:
        """Seconds of one matrix a class, from the few classes that each row counts in, and of their inverses.

        Or of one large product, as in `BlockInformation`.
        """
        inverses = 2.0 * self.n_logits * self.n_columns**3 / FLOPS
        if self.n_logits > self.n_columns:
            return self.fetching() + (self.n_rows * self.size * self.stored / FLOPS + inverses) / speed
        limits = Limits()
        rows = max(limits.block_bytes / (8.0 * (self.stored + TEMPORARIES * self.n_logits)), limits.min_block_rows)
        calls = 0.2 * CALL * self.n_logits * max(self.n_rows / rows, 1.0)
        grams = FEW_CLASSES * self.n_rows * self.n_columns * self.stored / THIN_FLOPS
        return self.fetching() + calls + (grams + inverses) / speed


class Plan(NamedTuple):
    """How the metric is computed."""

    fisher: FisherName
    shape: Shape
    structure: Structure
    iterative: bool  # the metric is dense by name but known only by its products
    dense_certificate: bool  # whether the exact decrement is had by factorising, rather than by conjugate gradients
    offers: tuple[Offer, ...] = ()  # preconditioners, should the diagonal be slow
    samples: tuple[int, ...] = ()  # how many rows to solve on first
    rounded: bool = False  # whether products are computed in single precision, and checked in double

    def expectation(self, seed: int) -> Expectation:
        """Return how the expectation over labels is taken."""
        return expectation_of(self.fisher, seed)

    @property
    def exact(self) -> bool:
        """Whether the metric is the true Fisher information itself, up to damping."""
        return self.fisher == "true"

    @property
    def needs_products(self) -> bool:
        """Whether products with the true Fisher take a pass over the data."""
        return self.iterative or not self.exact

    def describe(self) -> str:
        """Say in one line what was chosen, at what expected cost."""
        if not self.iterative:
            parts = [self.structure.__name__.removesuffix("Information").lower()]
        else:
            parts = [f"conjugate gradients at {1e3 * self.shape.product():.1f} ms a product"]
            parts += [f"{offer.name} would cost {offer.price:.0f} products" for offer in self.offers]
        if self.samples:
            parts.append(f"samples of {', '.join(f'{n_rows:,}' for n_rows in self.samples)} rows first")
        return f"metric {self.fisher!r}: {'; '.join(parts)}"


def plan(fisher: FisherName, shape: Shape, *, adaptive: bool = True, leap: bool = True) -> Plan:
    """Choose by cost, where the metric is the true Fisher; else the structure that the metric's name asks for.

    Only an `adaptive` descent corrects inexact steps, so any other solves exactly wherever that can be stored. Only one
    that may `leap`, whose steps may be of any length, begins at the optimum of a sample, if matrices then take it to
    the end. By conjugate gradients that costs more than it saves: the sample is another one in another order of the
    rows, and what is left at the end has to be so small that this does not show. Unless the rows are far, where every
    product costs as much as fetching them.
    """
    structure = STRUCTURES[fisher]
    kronecker_bytes = 8 * max(shape.n_columns, shape.n_logits) ** 2
    if structure is KroneckerInformation and kronecker_bytes > DENSE_BUDGET_BYTES:
        message = (
            f"fisher='kronecker' would need a {shape.n_columns} x {shape.n_columns} factor, over its budget of "
            f"{DENSE_BUDGET_BYTES // 2**20} MiB; use fisher='true' (matrix-free at this size) or 'diagonal'."
        )
        raise ValueError(message)
    dense_bytes = 8 * shape.size**2
    affordable = dense_bytes <= DENSE_BUDGET_BYTES
    if structure is not DenseInformation:
        small = dense_bytes <= min(CERTIFICATE_BUDGET_BYTES, DENSE_BUDGET_BYTES)
        return Plan(fisher, shape, structure, iterative=False, dense_certificate=small)
    if fisher != "true" or not adaptive:
        return Plan(fisher, shape, structure, iterative=not affordable, dense_certificate=affordable)
    price = shape.dense() / shape.product()
    direct = affordable and price <= DIRECT_PRICE
    rounded = shape.gains_by_rounding()
    return Plan(
        fisher,
        shape,
        structure,
        iterative=not direct,
        dense_certificate=direct,
        offers=() if direct else _offers(shape, rounded=rounded),
        samples=_samples(shape) if leap and (direct or shape.out_of_core) else (),
        rounded=not direct and rounded,
    )


def on_sample(whole: Plan, n_rows: int) -> Plan:
    """Return the plan for so many of the rows."""
    return plan(whole.fisher, whole.shape._replace(n_rows=n_rows, out_of_core=False), leap=False)


def _offers(shape: Shape, *, rounded: bool) -> tuple[Offer, ...]:
    """Return what could precondition: matrices in single precision, priced in products."""
    product = shape.product() / (SINGLE if rounded else 1.0)
    several, class_bytes = shape.n_logits > 1, 8 * shape.n_columns**2
    offers = []
    if several and 8 * max(shape.n_columns, shape.n_logits) ** 2 <= DENSE_BUDGET_BYTES:
        offers.append(Offer("kronecker", "a Kronecker product", shape.kronecker() / product))
    # one matrix a class, a few times over, takes as much as vectors of the rows do
    if several and shape.n_columns**2 <= 2 * shape.n_rows and shape.n_logits * class_bytes <= DENSE_BUDGET_BYTES:
        offers.append(Offer("blocks", "a matrix a class", shape.blocks(SINGLE) / product))
    if 8 * shape.size**2 <= MATRIX_BYTES:
        whole = Offer("true", "a matrix", shape.dense(SINGLE) / product)
        # nothing is better
        offers = [offer for offer in offers if offer.price < whole.price] + [whole]
    return tuple(sorted(offers, key=lambda offer: offer.price))


def _samples(shape: Shape) -> tuple[int, ...]:
    if shape.n_rows * shape.stored * shape.n_logits < WORTH_SAMPLING:
        return ()
    sizes = []
    n_rows = shape.n_rows // SAMPLE_SHARE
    if shape.out_of_core:
        n_rows = min(n_rows, int(shape.room / (8.0 * shape.stored)))
    while n_rows >= ROWS_A_PARAMETER * shape.size:
        sizes.append(n_rows)
        n_rows //= GROWTH
    return tuple(reversed(sizes))
