"""Structures that store pooled Fisher information: dense, diagonal, Kronecker, one block a class, identity.

Each has ``of_block(design, scores, weight)``, ``merge``, ``diagonal``, ``matvec``, ``dense``, ``precision(shift)`` and
``preconditioner(shift)``. Row and column order of every dense form is that of θ flattened in C order: class by class,
and within a class the features in order with the intercept last.
"""

from typing import Any

import numpy as np

from sknatgrad._model.information.blocks import BlockInformation
from sknatgrad._model.information.dense import DenseInformation
from sknatgrad._model.information.diagonal import DiagonalInformation
from sknatgrad._model.information.identity import IdentityInformation
from sknatgrad._model.information.kronecker import KroneckerInformation

Structure = type[BlockInformation | DenseInformation | DiagonalInformation | IdentityInformation | KroneckerInformation]

__all__ = [
    "BlockInformation",
    "DenseInformation",
    "DiagonalInformation",
    "IdentityInformation",
    "KroneckerInformation",
    "Structure",
    "restructured",
]


def restructured(information: Any, structure: Structure) -> Any:
    """Return known information in another structure, as near as that comes.

    Of Kronecker factors, the features' is the sum of the diagonal (d, d) blocks, as it is for rows, and the classes'
    nothing: whoever it is merged with knows their shares. The Euclidean metric stays what it is.
    """
    if isinstance(information, structure):
        return information
    n_logits, n_columns = information.diagonal().shape
    if structure is DiagonalInformation:
        return DiagonalInformation(information.diagonal())
    if structure is IdentityInformation:
        return IdentityInformation(0.0, (n_logits, n_columns))
    blocks = information.dense().reshape(n_logits, n_columns, n_logits, n_columns)
    if structure is DenseInformation:
        return DenseInformation(blocks)
    of_classes = np.array([blocks[k, :, k, :] for k in range(n_logits)])
    if structure is KroneckerInformation:
        return KroneckerInformation(of_classes.sum(axis=0), np.zeros((n_logits, n_logits)))
    return BlockInformation(of_classes[(slice(None), *np.tril_indices(n_columns))], n_columns)
