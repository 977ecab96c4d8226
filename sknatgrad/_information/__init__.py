"""Structures that store pooled Fisher information: dense, diagonal, Kronecker, identity.

Each has ``of_block(design, scores, weight)``, ``merge``, ``diagonal``, ``matvec``, ``dense`` and
``precision(shift)``. Row and column order of every dense form is that of θ flattened in C order: class by class, and
within a class the features in order with the intercept last.
"""

from sknatgrad._information.dense import DenseInformation
from sknatgrad._information.diagonal import DiagonalInformation
from sknatgrad._information.identity import IdentityInformation
from sknatgrad._information.kronecker import KroneckerInformation

Structure = type[DenseInformation | DiagonalInformation | IdentityInformation | KroneckerInformation]

__all__ = ["DenseInformation", "DiagonalInformation", "IdentityInformation", "KroneckerInformation", "Structure"]
