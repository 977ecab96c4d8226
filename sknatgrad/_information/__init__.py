"""Structures that store pooled Fisher information: dense, diagonal, Kronecker, one block a class, identity.

Each has ``of_block(design, scores, weight)``, ``merge``, ``diagonal``, ``matvec``, ``dense``, ``precision(shift)`` and
``preconditioner(shift)``. Row and column order of every dense form is that of θ flattened in C order: class by class,
and within a class the features in order with the intercept last.
"""

from sknatgrad._information.blocks import BlockInformation
from sknatgrad._information.dense import DenseInformation
from sknatgrad._information.diagonal import DiagonalInformation
from sknatgrad._information.identity import IdentityInformation
from sknatgrad._information.kronecker import KroneckerInformation

Structure = type[BlockInformation | DenseInformation | DiagonalInformation | IdentityInformation | KroneckerInformation]

__all__ = [
    "BlockInformation",
    "DenseInformation",
    "DiagonalInformation",
    "IdentityInformation",
    "KroneckerInformation",
    "Structure",
]
