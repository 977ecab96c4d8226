"""Contrasts: the K − 1 logits of the other classes against a reference class.

The data determine only these differences of the K logits of a softmax. With β_k = θ_k − θ_r, the likelihood of β is
that of θ with θ_r = 0: its scores and its Fisher information are those of θ without the part of the reference class. A
penalty ½ λ ‖θ‖² on coefficients that sum to zero over classes is ½ λ βᵀ (I − 11ᵀ/K) β.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sknatgrad._model.class_labels import label_index, label_name, label_names
from sknatgrad._model.layout import BINARY

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Labels


class Contrasts(NamedTuple):
    """The class that the others are compared with, and maps between θ and β."""

    n_classes: int
    reference: int

    @classmethod
    def against(cls, classes: Labels, label: Any) -> Contrasts:
        """Return the contrasts against the class with a label; against the first class for None."""
        index = 0 if label is None else label_index(label, classes)
        if index is None:
            message = f"reference={label_name(label)} is not among the estimator's classes {label_names(classes)}."
            raise ValueError(message)
        return cls(len(classes), index)

    @property
    def others(self) -> list[int]:
        """The classes that are compared with the reference, in order."""
        return [k for k in range(self.n_classes) if k != self.reference]

    def params(self, theta: Array) -> Array:
        """Return β, ``(K - 1, d)``."""
        if self.n_classes == BINARY:
            return theta if self.reference == 0 else -theta
        params: Array = theta[self.others] - theta[self.reference]
        return params

    def theta(self, params: Array) -> Array:
        """Return a θ with the contrasts β, ``(q, d)``."""
        if self.n_classes == BINARY:
            return params if self.reference == 0 else -params
        return np.insert(params, self.reference, 0.0, axis=0)

    def transpose(self, direction: Array) -> Array:
        """Return Cᵀ v, ``(q, d)``, for v of shape ``(K - 1, d)``, with C the matrix of β = C θ."""
        image = self.theta(direction)
        if self.n_classes > BINARY:
            image[self.reference] = -image.sum(axis=0)
        return image

    def scores(self, rows: Array) -> Array:
        """Return derivatives with respect to the logits of β, ``(m, K - 1)``, from those for the q logits of θ."""
        if self.n_classes == BINARY:
            return rows if self.reference == 0 else -rows
        return rows[:, self.others]

    def matrix(self, blocks: Array) -> Array:
        """Return the information of β, ``((K - 1) d, (K - 1) d)``, from that of θ, ``(q, d, q, d)``."""
        if self.n_classes > BINARY:
            blocks = blocks[np.ix_(self.others, range(blocks.shape[1]), self.others, range(blocks.shape[1]))]
        size = blocks.shape[0] * blocks.shape[1]
        return blocks.reshape(size, size)

    def lifted(self, matrix: Array) -> Array:
        """Return the covariance of a θ that sums to zero over classes, ``(q d, q d)``, from that of β."""
        if self.n_classes == BINARY:
            return matrix
        n_contrasts = self.n_classes - 1
        up = np.zeros((self.n_classes, n_contrasts))
        up[self.others] = np.eye(n_contrasts)
        up -= 1.0 / self.n_classes
        n_columns = len(matrix) // n_contrasts
        blocks = matrix.reshape(n_contrasts, n_columns, n_contrasts, n_columns)
        size = self.n_classes * n_columns
        return np.asarray(np.einsum("ka,aibj,lb->kilj", up, blocks, up, optimize=True)).reshape(size, size)

    def prior(self, prior: Array) -> Array:
        """Return the precision of β's prior, ``((K - 1) d, (K - 1) d)``, from that of θ, ``(d,)`` or ``(d, d)``.

        The latter is the same for each class.
        """
        n_contrasts = self.n_classes - 1
        shares = np.eye(n_contrasts)
        if self.n_classes > BINARY:
            shares -= 1.0 / self.n_classes
        return np.asarray(np.kron(shares, np.diag(prior) if prior.ndim == 1 else prior))
