"""One factor for the features and one for the classes: d² + q² numbers for (qd)²."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sknatgrad._definitions import member_of, record
from sknatgrad._model.information.symmetric import equilibrate, factorise, noise_floor
from sknatgrad._model.recentring import recentred_gradient

if TYPE_CHECKING:
    from sknatgrad._definitions import Array, Mask
    from sknatgrad._model.information.symmetric import Factor
    from sknatgrad._model.protocols import Scores
    from sknatgrad._rows.design import Design


@member_of("sknatgrad")
@record
class KroneckerInformation:
    """B ⊗ A / tr B with B = Σ s_i E[r_i r_iᵀ] and A = Σ s_i E‖r_i‖² x_i x_iᵀ.

    The features are weighted by each row's score variance, so the sum of the diagonal (d, d) blocks is exactly that of
    F. With one logit the matrix is F. (Unweighted, A = Σ s_i x_i x_iᵀ / S, this would be the independence assumption of
    Martens and Grosse, 2015.)
    """

    features: Array  # (d, d), A
    classes: Array  # (q, q), B

    @classmethod
    def of_block(cls, design: Design, scores: Scores, weight: Array) -> KroneckerInformation:
        """Return the factors of one block of rows."""
        return cls(design.gram(weight * scores.diagonal().sum(axis=1)), scores.total(weight))

    def merge(self, other: KroneckerInformation) -> KroneckerInformation:
        """Pool the factors with those of other rows; the product of sums is not the sum of products."""
        return KroneckerInformation(self.features + other.features, self.classes + other.classes)

    def scaled(self, share: float) -> KroneckerInformation:
        """Return the information of the same rows with their weights multiplied by `share`."""
        return KroneckerInformation(share * self.features, share * self.classes)

    def recentred(self, shift: Array) -> KroneckerInformation:
        """Return the information of the same rows less `shift`, ``(p,)``."""
        return KroneckerInformation(recentred_gradient(recentred_gradient(self.features, shift).T, shift), self.classes)

    def _class_shares(self) -> Array:
        trace = float(np.trace(self.classes))
        return self.classes / trace if trace > 0 else self.classes

    def dense(self) -> Array:
        """Return the matrix this stands for, ``(qd, qd)``."""
        return np.asarray(np.kron(self._class_shares(), self.features))

    def diagonal(self) -> Array:
        """Return the diagonal, ``(q, d)``."""
        return np.asarray(np.outer(self._class_shares().diagonal(), self.features.diagonal()))

    def matvec(self, move: Array) -> Array:
        """Return (B ⊗ A / tr B) v, ``(q, d)``."""
        product: Array = self._class_shares() @ move @ self.features
        return product

    def precision(self, shift: Array) -> KroneckerPrecision:
        """Diagonalise both factors, and `shift` together with A, so that solving with the sum is exact."""
        shares, class_basis = np.linalg.eigh(self._class_shares())
        # A and diag(shift) become diagonal together in the basis W of A + c diag(shift), which has their sum's rank
        mixing = max(len(shares), 1)
        mixed = self.features + mixing * np.diag(shift)
        scale = equilibrate(mixed)
        values, vectors = np.linalg.eigh(scale[:, None] * mixed * scale)
        kept = values > noise_floor(len(mixed)) * max(values[-1], 1.0)
        whiten = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
        prior_part, rotation = np.linalg.eigh(whiten.T @ (shift[:, None] * whiten))
        prior_part = np.clip(prior_part, 0.0, 1.0 / mixing)
        feature_part = 1.0 - mixing * prior_part
        shares = np.where(shares > noise_floor(len(shares)) * shares[-1], shares, 0.0)
        return KroneckerPrecision(
            class_basis, whiten @ rotation, shares[:, None] * np.clip(feature_part, 0.0, None) + prior_part
        )

    def product_precision(self, shift: Array) -> ProductPrecision:
        """Factorise (B / tr B + pin) ⊗ (A + K diag(shift)): near `precision`, by two Cholesky factorisations.

        The shift is divided among the classes as if they had equal shares: Martens and Grosse (2015), section 6.3.
        """
        shares = self._class_shares()
        n_logits = len(shares)
        features = self.features.copy()
        features[np.diag_indices_from(features)] += n_logits * shift
        # equal moves of all classes, along which B is zero, get the mean of its eigenvalues
        return ProductPrecision(factorise(shares + 1.0 / n_logits**2), factorise(features))


@record
class ProductPrecision:
    """B⁻¹ ⊗ A⁻¹."""

    classes: Factor  # (q, q)
    features: Factor  # (d, d)

    def solve(self, gradient: Array) -> Array:
        """Return B⁻¹ g A⁻¹, ``(q, d)``."""
        return self.classes.solve(self.features.solve(gradient.T).T)

    def norm_outside_range(self, gradient: Array) -> float:
        """Return the norm of the part of the gradient outside the range of either factor."""
        return max(self.features.norm_outside_range(gradient.T), self.classes.norm_outside_range(gradient))


@record
class KroneckerPrecision:
    """(U ⊗ W) diag(spectrum)⁻¹ (U ⊗ W)ᵀ."""

    class_basis: Array  # (q, q), U
    feature_basis: Array  # (d, rank), W
    spectrum: Array  # (q, rank)

    def solve(self, gradient: Array) -> Array:
        """Return M⁻¹ g, ``(q, d)``."""
        rotated = self.class_basis.T @ gradient @ self.feature_basis
        rotated = np.divide(rotated, self.spectrum, out=np.zeros_like(rotated), where=self._in_range())
        solution: Array = self.class_basis @ rotated @ self.feature_basis.T
        return solution

    def norm_outside_range(self, gradient: Array) -> float:
        """Return the norm of the part of the gradient along eigenvectors whose eigenvalue is rounding."""
        rotated = self.class_basis.T @ gradient @ self.feature_basis
        return float(np.linalg.norm(np.where(self._in_range(), 0.0, rotated)))

    def _in_range(self) -> Mask:
        in_range: Mask = self.spectrum > np.finfo(np.float64).eps * self.spectrum.max(initial=0.0)
        return in_range
