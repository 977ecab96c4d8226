"""Array types that all packages share.

Shapes, everywhere: n rows, p features, K classes; q logits a row (1 for two classes, K otherwise); d columns
(p, or p + 1 with the intercept last); m rows of one block. Parameters and gradients are ``(q, d)``.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]
Bits: TypeAlias = npt.NDArray[np.uint64]
Labels: TypeAlias = npt.NDArray[Any]  # class labels, all of one kind
Mask: TypeAlias = npt.NDArray[np.bool_]
DType: TypeAlias = np.dtype[Any]
Matrix: TypeAlias = Any  # dense array or scipy sparse matrix: only `_rows.matrices` and `_rows.design` distinguish them

Result = TypeVar("Result")
