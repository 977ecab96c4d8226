"""Samples of rows: the rows that are picked, totals by class, and classes without weight."""

import numpy as np
import pytest
from problems import counts, in_batches, model_of, rows_of
from scipy import sparse

from sknatgrad._rows.matrices import pick_rows
from sknatgrad._rows.sampling import class_totals

LAYOUTS = {
    "C order": lambda X: X,
    "Fortran order": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "sparse": sparse.csr_array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_picked_rows_are_those_of_the_table(layout):
    X, rows = counts()[0], np.array([3, 4, 80])
    given = LAYOUTS[layout](X)
    picked = pick_rows(given, rows)
    np.testing.assert_array_equal(picked.toarray() if layout == "sparse" else picked, X[rows])
    # whichever order is stored, a block of the sample is read as a block of the table is
    assert layout != "Fortran order" or picked.flags.f_contiguous


@pytest.mark.parametrize("n_classes", [2, 8, 9, 40])
def test_class_totals(n_classes):
    codes = (np.random.default_rng(0).integers(0, n_classes, size=500) ** 2 % n_classes).astype(np.uint8)
    codes[0] = n_classes - 1
    expected = [3.0 * np.sum(codes == k) for k in range(n_classes)]
    np.testing.assert_array_equal(class_totals(codes, np.broadcast_to(3.0, 500)), expected)
    np.testing.assert_array_equal(class_totals(codes, np.full(500, 3.0)), expected)


@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("by", ["class_weight", "sample_weight"])
@pytest.mark.parametrize("method", ["fit", "fit_batches"])
def test_a_class_without_weight_is_no_obstacle_to_a_sample(method, by, absent, set_capacity):
    X, y = rows_of(3, n_rows=20_000)
    set_capacity(X.size // 2)
    kept = y != absent
    weight = kept.astype(float) if by == "sample_weight" else None
    parameters = {"C": 1.0, "class_weight": {absent: 0.0} if by == "class_weight" else None}
    model = model_of(**parameters)
    if method == "fit":
        model.fit(X, y, weight)
    else:
        model.fit_batches(in_batches(X, y, weight, size=2000))
    # the two other classes remain
    other = sorted({0, 1, 2} - {absent})
    logits = model.decision_function(X)
    without = model_of(C=2.0).fit(X[kept], y[kept])
    difference = logits[:, other[1]] - logits[:, other[0]]
    np.testing.assert_allclose(difference, without.decision_function(X), atol=1e-6 * abs(difference).max())
