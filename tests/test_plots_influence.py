"""InfluenceDisplay: which rows it draws, and what it refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
from problems import named_table, refuses

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad.inference import influence
from sknatgrad.plots import InfluenceDisplay

pytestmark = pytest.mark.usefixtures("closed_figures")


def result_of(n_classes):
    X, y = named_table(n_classes)
    return influence(NaturalGradientLogisticRegression().fit(X, y), X, y)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_most_influential_rows_come_first(n_classes):
    result = result_of(n_classes)
    display = InfluenceDisplay.from_result(result, n_rows=7)
    order = np.argsort(-result.cooks_distance)[:7]
    assert display.names == order.tolist()
    np.testing.assert_array_equal([bar.get_width() for bar in display.bars_], result.cooks_distance[order])
    first = display.texts_[0].get_text()
    assert first == f"leverage {result.leverage[order[0]]:.2g}, residual {result.deviance_residuals[order[0]]:+.2g}"
    # the first row is at the top
    assert display.ax_.yaxis_inverted()
    assert display.ax_.get_xlabel() == "Cook's distance"


def test_names_and_fewer_rows_than_asked_for():
    result = result_of(2)
    n_rows = result.leverage.size
    names = [f"patient {row}" for row in range(n_rows)]
    display = InfluenceDisplay.from_result(result, n_rows=1000, names=names, color="black")
    assert len(display.names) == n_rows
    assert display.names[0] == f"patient {result.cooks_distance.argmax()}"
    assert display.ax_.get_yticklabels()[0].get_text() == display.names[0]
    assert display.bars_[0].get_facecolor() == (0.0, 0.0, 0.0, 1.0)


def test_rows_on_which_the_fit_hangs_come_before_all_others():
    display = InfluenceDisplay(
        cooks_distance=[np.nan, 0.5], leverage=[1.0, 0.2], residuals=[0.0, 1.0], names=["alone", "other"]
    ).plot()
    assert [text.get_text() for text in display.texts_] == [
        "leverage 1, residual +0",
        "leverage 0.2, residual +1",
    ]
    rows = {"cooks_distance": [0.1, np.nan, 0.5], "leverage": [0.1, 1.0, 0.3], "deviance_residuals": [1.0, 0.0, -1.0]}
    result = SimpleNamespace(**{name: np.array(values) for name, values in rows.items()})
    assert InfluenceDisplay.from_result(result, n_rows=2).names == [1, 2]


def test_bad_arguments_are_refused():
    result = result_of(2)
    refuses(r"^n_rows=0 must be an integer of 1 or more", InfluenceDisplay.from_result, result, n_rows=0)
    refuses(r"^names has 2 names; it must have one for each", InfluenceDisplay.from_result, result, names=["a", "b"])
    refuses(r"^ax is a str; it must be a matplotlib Axes", InfluenceDisplay.from_result, result, ax="here")
