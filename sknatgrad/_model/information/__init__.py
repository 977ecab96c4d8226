"""Structures that store pooled Fisher information: dense, diagonal, Kronecker, one block per class, identity.

Two more, the centred diagonal and that of low rank, only precondition.

Each but the last is a `PooledInformation`. Row and column order of every dense form is that of θ flattened in C order:
class by class, and within a class the features in order with the intercept last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._model.information.blocks import BlockInformation
from sknatgrad._model.information.centred_diagonal import CentredDiagonalInformation
from sknatgrad._model.information.dense import DenseInformation
from sknatgrad._model.information.diagonal import DiagonalInformation
from sknatgrad._model.information.identity import IdentityInformation
from sknatgrad._model.information.kronecker import KroneckerInformation
from sknatgrad._model.information.low_rank import LowRankInformation

if TYPE_CHECKING:
    from collections.abc import Callable

    from sknatgrad._definitions import Array
    from sknatgrad._model.protocols import FactorisedPrecision, PooledInformation, PreconditioningInformation, Structure

__all__ = [
    "BlockInformation",
    "CentredDiagonalInformation",
    "DenseInformation",
    "DiagonalInformation",
    "IdentityInformation",
    "KroneckerInformation",
    "LowRankInformation",
    "preconditioner_of",
    "restructured",
]


# how the structures that need no more than the diagonal of another are made from it, (q, d)
OF_DIAGONAL: dict[Structure, Callable[[Array], PooledInformation]] = {
    DiagonalInformation: DiagonalInformation,
    CentredDiagonalInformation: CentredDiagonalInformation.of_diagonal,
    IdentityInformation: lambda diagonal: IdentityInformation(0.0, diagonal.shape),
}


def preconditioner_of(information: PreconditioningInformation, shift: Array) -> FactorisedPrecision:
    """Factorise F + I ⊗ diag(shift), or for Kronecker factors a product near it that costs less."""
    if isinstance(information, KroneckerInformation):
        return information.product_precision(shift)
    return information.precision(shift)


def restructured(information: PooledInformation, structure: Structure) -> PooledInformation:
    """Return the information in another structure, approximated where the structure stores less.

    Kronecker factors: that of the features is the sum of the diagonal (d, d) blocks, as for rows, and that of the
    classes is zero, because the information that it is merged with supplies the shares of the classes. The Euclidean
    metric ignores it.
    """
    if isinstance(information, structure):
        return information
    n_logits, n_columns = information.diagonal().shape
    if structure in OF_DIAGONAL:
        return OF_DIAGONAL[structure](information.diagonal())
    blocks = information.dense().reshape(n_logits, n_columns, n_logits, n_columns)
    if structure is DenseInformation:
        return DenseInformation(blocks)
    of_classes = np.array([blocks[k, :, k, :] for k in range(n_logits)])
    if structure is KroneckerInformation:
        return KroneckerInformation(of_classes.sum(axis=0), np.zeros((n_logits, n_logits)))
    return BlockInformation(of_classes[(slice(None), *np.tril_indices(n_columns))], n_columns)
