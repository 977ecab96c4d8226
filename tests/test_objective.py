"""The objectives: the true Fisher information measures steps, whatever the metric and however it is stored."""

import numpy as np
import pytest
from problems import make_problem

from sknatgrad._solver.objective import DirectObjective, MatrixFreeObjective, OtherMetricObjective


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(
    ("fisher", "direct_products", "kind"),
    [
        ("true", np.inf, DirectObjective),
        ("true", 0.0, MatrixFreeObjective),
        ("empirical", np.inf, OtherMetricObjective),
    ],
)
def test_products_are_those_of_the_true_fisher_information(n_classes, fisher, direct_products, kind, limits):
    problem = make_problem(n_classes)
    dense = problem.objective("true").measure(problem.theta).information
    limits(direct_products=direct_products)
    objective = problem.objective(fisher)
    assert isinstance(objective, kind)
    moves = np.random.default_rng(0).normal(size=(2, *problem.theta.shape))
    expected = [dense.matvec(move) for move in moves]
    products = objective.fisher_products(objective.measure(problem.theta), moves)
    np.testing.assert_allclose(products, expected, rtol=1e-11, atol=1e-12)
