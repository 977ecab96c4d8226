"""X that is no table of numbers: one-dimensional containers and arrays of strings, in everything that takes X."""

from functools import partial

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from problems import unchanged

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.inference import infer
from sknatgrad.plots import FisherEllipseDisplay, ProbabilityIntervalDisplay, RegularizationPathDisplay

N_ROWS = 24
Y = np.arange(N_ROWS) * 5 % 12 % 2
VALUES = np.random.default_rng(0).normal(size=(N_ROWS, 2))
NUMBERS = VALUES[:, 0]
DAYS = np.datetime64("2020-01-01") + np.arange(N_ROWS)
PREDICTIONS = ["predict", "predict_proba", "predict_log_proba", "decision_function", "decision_function_std"]
PREDICTIONS += ["predict_proba_interval", "predict_proba_averaged"]


@pytest.fixture(scope="module")
def fitted():
    return NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(VALUES, Y)


def calls_of(fitted):
    """Everything that takes X: calls with X that make a model, and those that have one."""
    new = NaturalGradientLogisticRegression
    fits = [
        lambda X: new().fit(X, Y),
        lambda X: new().partial_fit(X, Y, classes=[0, 1]),
        lambda X: new().fit_batches([(X, Y)]),
        lambda X: RegularizationPathDisplay.from_estimator(new(), X, Y),
    ]
    uses = [getattr(fitted, name) for name in PREDICTIONS]
    uses += [
        lambda X: fitted.score(X, Y),
        partial(infer, fitted, y=Y),
        partial(fisher_information, fitted),
        partial(kl_divergence, fitted, fitted),
        infer(fitted, VALUES, Y).score_test,
        lambda X: ProbabilityIntervalDisplay.from_estimator(fitted, X, feature=0),
        lambda X: FisherEllipseDisplay.from_estimator(fitted, X, features=[0, 1]),
    ]
    return fits, uses


PANDAS = pd.DataFrame(VALUES, columns=["a", "b"])
ONE_DIMENSION = "Expected 2D array, got 1D array instead"
SCALAR = "Expected 2D array, got scalar array instead"
SERIES = "Expected a 2-dimensional container but got <class 'pandas.*Series'> instead"
# name: (X, scikit-learn's message)
NOT_TABLES = {
    "pandas Series": (PANDAS["a"], SERIES),
    "a row of pandas": (PANDAS.iloc[0], SERIES),
    "pandas Series of objects": (PANDAS["a"].astype(object), SERIES),
    "pandas Series of dates": (pd.Series(DAYS), SERIES),
    "pandas nullable Series": (PANDAS["a"].astype("Float64"), SERIES),
    "pandas category": (PANDAS["a"].astype("category"), SERIES),
    "pandas Arrow": (PANDAS["a"].astype("double[pyarrow]"), SERIES),
    "pandas Index": (pd.Index(NUMBERS), ONE_DIMENSION),
    "polars Series": (pl.Series(NUMBERS), ONE_DIMENSION),
    "polars Series of dates": (pl.Series(DAYS), ONE_DIMENSION),
    "Arrow array": (pa.array(NUMBERS), ONE_DIMENSION),
    "Arrow chunks": (pa.chunked_array([NUMBERS]), ONE_DIMENSION),
    "numpy": (NUMBERS, ONE_DIMENSION),
    "numpy dates": (DAYS, ONE_DIMENSION),
    "numpy words": (NUMBERS.astype(str), ONE_DIMENSION),
    "list": (NUMBERS.tolist(), ONE_DIMENSION),
    "number": (1.0, SCALAR),
    "None": (None, SCALAR),
    "dict": ({"a": 1.0}, SCALAR),
    "iterator": (iter([1.0]), SCALAR),
}


@pytest.mark.parametrize("kind", list(NOT_TABLES))
def test_one_dimension_is_refused_by_scikit_learn(kind, fitted):
    X, said = NOT_TABLES[kind]
    fits, uses = calls_of(fitted)
    for call in fits + uses:
        with unchanged(fitted), pytest.raises(ValueError, match=said):
            call(X)


WORDS = [["1", "2"]] * N_ROWS
STRINGS = {
    "U": np.array(WORDS),
    "S": np.array(WORDS, dtype="S"),
    "a list": WORDS,
    "numbers and strings": [["1", 2.0]] * N_ROWS,
    "masked": np.ma.MaskedArray(np.array(WORDS)),
}
if hasattr(getattr(np, "dtypes", None), "StringDType"):
    STRINGS["T"] = np.array(WORDS, dtype=np.dtypes.StringDType())
    STRINGS["T of words"] = np.array([["one", "two"]] * N_ROWS, dtype=np.dtypes.StringDType())


def of_strings(argument="X"):
    return rf"^(batch 0: )?{argument} has type \S+, of strings; it must hold numbers: convert it, such as by astype"


@pytest.mark.parametrize("kind", list(STRINGS))
def test_arrays_of_strings_are_refused_in_one_sentence(kind, fitted):
    X = STRINGS[kind]
    fits, uses = calls_of(fitted)
    for call in fits + uses:
        argument = "X_extra" if getattr(call, "__name__", "") == "score_test" else "X"
        with unchanged(fitted), pytest.raises(ValueError, match=of_strings(argument)) as caught:
            call(X)
        assert "\n" not in str(caught.value)


def test_dask_arrays_of_strings_are_refused():
    chunks = da.from_array(STRINGS["U"], chunks=(12, -1))
    numbers = da.from_array(VALUES, chunks=(12, -1))
    with pytest.raises(ValueError, match=of_strings()):
        DaskNaturalGradientLogisticRegression().fit(chunks, Y)
    model = DaskNaturalGradientLogisticRegression().fit(numbers, Y)
    for name in PREDICTIONS[:4]:
        with pytest.raises(ValueError, match=of_strings()):
            getattr(model, name)(chunks)


TEXT = VALUES.round(3).astype(str)


@pytest.mark.parametrize(
    "X",
    [
        TEXT.astype(object),
        pd.DataFrame(TEXT, dtype=object),
        pd.DataFrame(TEXT, dtype="string"),
        pl.DataFrame({"a": TEXT[:, 0], "b": TEXT[:, 1]}),
        pa.table({"a": TEXT[:, 0].tolist(), "b": TEXT[:, 1].tolist()}),
    ],
    ids=["objects", "pandas objects", "pandas string", "polars", "Arrow"],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning", "ignore:X has feature names")
def test_numbers_as_text_in_tables_and_objects_are_read(X, fitted):
    model = NaturalGradientLogisticRegression().fit(X, Y)
    expected = NaturalGradientLogisticRegression().fit(VALUES.round(3), Y).coef_
    np.testing.assert_allclose(model.coef_, expected, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(X), fitted.predict_proba(VALUES.round(3)), rtol=1e-12)
    with pytest.raises(ValueError, match=r"column .* of X, of type .*, must hold numbers|could not convert string"):
        NaturalGradientLogisticRegression().fit(words_like(X), Y)


def words_like(table):
    """A table of words, in the library of another one."""
    columns = {"a": ["one"] * N_ROWS, "b": ["two"] * N_ROWS}
    if isinstance(table, np.ndarray):
        return np.array([["one", "two"]] * N_ROWS, dtype=object)
    if isinstance(table, pd.DataFrame):
        return pd.DataFrame(columns, dtype=table.dtypes.iloc[0])
    return pl.DataFrame(columns) if isinstance(table, pl.DataFrame) else pa.table(columns)
