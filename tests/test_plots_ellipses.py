"""FisherEllipseDisplay: what it draws, its labels, and what it refuses."""

import numpy as np
import pytest
from problems import legend_labels, named_table, refuses
from scipy import stats
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad.inference import infer
from sknatgrad.plots import FisherEllipseDisplay

pytestmark = pytest.mark.usefixtures("closed_figures")


def moves_of(ellipse, centre):
    return np.array(ellipse.get_data()) - np.asarray(centre)[:, None]


def distance(moves, metric):
    return 0.5 * np.einsum("in,ij,jn->n", moves, metric, moves)


KINDS = ("true", "empirical", "diagonal", "kronecker", "monte_carlo", "identity")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_ellipses_solve_their_equation(n_classes, scale):
    X, y = named_table(n_classes)
    X["c"] *= scale
    weight = np.linspace(0.5, 2.0, 80)
    model = NaturalGradientLogisticRegression().fit(X, y)
    display = FisherEllipseDisplay.from_estimator(
        model, X, features=("c", 0), kinds=KINDS, y=y, kl=0.02, sample_weight=weight, random_state=0
    )
    k = 1 if n_classes == 3 else 0
    centre = model.coef_[k, [2, 0]]
    np.testing.assert_array_equal(np.ravel(display.centre_.get_data()), centre)
    places = np.array([2, 0]) + k * 4
    for kind, ellipse in zip(KINDS, display.ellipses_, strict=True):
        information = fisher_information(model, X, y, kind=kind, sample_weight=weight, random_state=0)
        metric = information[np.ix_(places, places)] / weight.sum()
        curve = np.array(ellipse.get_data())
        # to the rounding of sums of moves and coefficients
        rounding = 1e-14 * (np.abs(centre)[:, None] / np.ptp(curve, axis=1, keepdims=True)).max()
        np.testing.assert_allclose(distance(moves_of(ellipse, centre), metric), 0.02, rtol=max(1e-10, rounding))
        np.testing.assert_allclose(curve[:, 0], curve[:, -1])
    assert legend_labels(display.legend_) == list(KINDS)
    assert display.legend_.get_title().get_text() == "½ vᵀ M v = 0.02 nats,\nother coefficients fixed"
    of_class = "for class bee " if n_classes == 3 else ""
    assert display.ax_.get_xlabel() == f"coefficient of c\n{of_class}[nats per unit of the feature]"


def least_distance(information, fixed, move, n_logits):
    """½ uᵀFu at its least over u with two entries given and, of several classes, zero sum; by Lagrange multipliers."""
    size = len(information)
    rows = [np.eye(size)[place] for place in fixed]
    values = list(move)
    if n_logits > 1:
        d = size // n_logits
        rows += [np.tile(np.eye(d)[j], n_logits) for j in range(d)]
        values += [0.0] * d
    rows = np.array(rows)
    system = np.block([[information, rows.T], [rows, np.zeros((len(rows), len(rows)))]])
    solved = np.linalg.lstsq(system, np.concatenate([np.zeros(size), values]), rcond=None)[0][:size]
    return 0.5 * solved @ information @ solved


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("kind", ["true", "empirical", "diagonal", "kronecker", "identity"])
@pytest.mark.parametrize("intercept", [True, False])
def test_free_coefficients_make_the_distance_least(n_classes, kind, intercept):
    X, y = named_table(n_classes)
    model = NaturalGradientLogisticRegression(fit_intercept=intercept).fit(X, y)
    label = "dog" if n_classes == 4 else "bee"
    display = FisherEllipseDisplay.from_estimator(
        model, X, features=("a", "c"), kinds=kind, y=y, others="free", class_of_interest=label
    )
    k, d = (3, 3 + intercept) if n_classes == 4 else (0, 3 + intercept)
    information = fisher_information(model, X, y, kind=kind) / 80
    moves = moves_of(display.ellipses_[0], model.coef_[k, [0, 2]])
    for move in moves.T[::40]:
        least = least_distance(information, [k * d, k * d + 2], move, len(model.coef_))
        assert least == pytest.approx(0.01, rel=1e-8)
    assert display.legend_.get_title().get_text().endswith("other coefficients free")


def test_at_the_chi_squared_distance_it_is_the_confidence_region():
    X, y = load_iris(return_X_y=True)
    X, y = X[50:], y[50:]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000, solver="newton-cholesky").fit(X, y)
    quantile = stats.chi2.ppf(0.95, 2)
    display = FisherEllipseDisplay.from_estimator(
        model, X, features=(2, "(Intercept)"), kinds="true", others="free", kl=quantile / 2 / len(y)
    )
    covariance = infer(model, X, y).covariance[np.ix_([2, 4], [2, 4])]
    moves = moves_of(display.ellipses_[0], [model.coef_[0, 2], model.intercept_[0]])
    np.testing.assert_allclose(2 * distance(moves, np.linalg.inv(covariance)), quantile, rtol=1e-6)


def test_ellipses_refuse_what_has_no_end_or_no_meaning():
    X, y = named_table(3)
    X["d"] = X["a"] + X["b"]
    X["e"] = X["c"]
    model = NaturalGradientLogisticRegression().fit(X, y)
    make = FisherEllipseDisplay.from_estimator
    without_end = r"^the metric 'true' does not determine the coefficients of \['%s', '%s'\], so its"
    refuses(without_end % ("c", "e"), make, model, X, features=("c", "e"), kinds="true")
    refuses(without_end % ("a", "b"), make, model, X, features=("a", "b"), kinds="true", others="free")
    make(model, X, features=("a", "b"), kinds="true")
    refuses(r"^kinds is empty; it must name", make, model, X, kinds=[])
    refuses(r"^kind=None is not a Fisher information", make, model, X, kinds=None)
    refuses(r"^kind='exact' is not a Fisher information", make, model, X, kinds="exact")
    refuses(r"^y=None, but kind='empirical' needs", make, model, X, kinds="empirical")
    refuses(r"^features=\('a', 0\) must be two different columns", make, model, X, features=("a", 0))
    refuses(r"^features='a' must be two different columns", make, model, X, features="a")
    refuses(r"^features holds 6, which is neither .* from 0 to 5", make, model, X, features=(0, 6))
    for kl in (0.0, -1, np.inf, True, "small"):
        refuses(r"^kl=.* is not a distance; it must be a number of nats above 0", make, model, X, kl=kl)
    refuses(r"^others='loose' is unknown; it must be one of \['fixed', 'free'\]", make, model, X, others="loose")
    refuses(r"^class_of_interest='dog' is not among", make, model, X, class_of_interest="dog")
    X, y = named_table(2)
    model = LogisticRegression().fit(X, y)
    refuses(r"^class_of_interest='ant' has no coefficients of its own;", make, model, X, class_of_interest="ant")
