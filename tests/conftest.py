"""Fixtures that several test modules use."""

import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows import memory
from sknatgrad._solver.plan import choose_plan

# failed assertions in helpers then show the values that they compared
pytest.register_assert_rewrite("problems")


@pytest.fixture(autouse=True)
def _no_choices_of_other_tests():
    """Forget the choices of method, some of which tests force."""
    choose_plan.cache_clear()


@pytest.fixture(autouse=True)
def dense_values(monkeypatch):
    """Keep small sparse rows sparse, as nearly all of the tests would else be of dense products; return the default."""
    default = memory.MAX_SMALL_VALUES
    monkeypatch.setattr(memory, "MAX_SMALL_VALUES", 0)
    return default


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def wine():
    return train_test_split(*load_wine(return_X_y=True), random_state=0)


@pytest.fixture
def spector():
    """Two classes: the data of Spector and Mazzeo (1980) in statsmodels."""
    import statsmodels.api as sm  # noqa: PLC0415 - only the tests of inference load it

    return sm.datasets.spector.load_pandas()


@pytest.fixture
def anes():
    """Seven classes: the data of the American National Election Studies of 1996 in statsmodels."""
    import statsmodels.api as sm  # noqa: PLC0415 - only the tests of inference load it

    return sm.datasets.anes96.load_pandas()


@pytest.fixture
def limits(monkeypatch):
    """Set limits of all fits and predictions of the test."""

    def replace(**limits):
        monkeypatch.setattr(
            NaturalGradientLogisticRegression, "_limits", NaturalGradientLogisticRegression._limits._replace(**limits)
        )

    return replace


@pytest.fixture
def set_capacity(limits):
    """Set how many values of X the first pass of fit_batches keeps."""

    def values(n_values):
        limits(sample_bytes=8 * n_values)

    return values


@pytest.fixture
def small_capacity(set_capacity):
    """Keep so few rows that batches are read again in every pass."""
    set_capacity(2000)


@pytest.fixture
def shared_blocks(limits):
    """Divide the rows into several blocks of a few hundred, for two threads."""
    limits(block_bytes=1)
    with threadpool_limits(2, user_api="blas"):
        yield


@pytest.fixture
def closed_figures():
    """Draw every figure, which must not warn, and close it."""
    import matplotlib as mpl  # noqa: PLC0415 - only the tests of plots load it
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only the tests of plots load it

    mpl.use("Agg")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.fixture
def dask_objects():
    """Let tables of Dask hold objects, which it makes strings of otherwise."""
    import dask  # noqa: PLC0415 - only the tests of Dask load it

    with dask.config.set({"dataframe.convert-string": False}):
        yield
