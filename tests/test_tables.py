"""Dates, times and missing values in X, sample weights and groups: refused in one sentence that says where."""

from datetime import date, time, timedelta
from functools import partial

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from problems import unchanged
from sklearn.linear_model import LogisticRegression

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.inference import infer
from sknatgrad.plots import FisherEllipseDisplay, ProbabilityIntervalDisplay, RegularizationPathDisplay

N_ROWS = 24
Y = np.arange(N_ROWS) * 5 % 12 % 2
NUMBERS = np.random.default_rng(0).normal(size=N_ROWS)
DAYS = np.datetime64("2020-01-01") + 40 * np.arange(N_ROWS)
SPANS = DAYS - DAYS[0]
HOLED = np.where(np.arange(N_ROWS) == 3, np.datetime64("NaT"), DAYS)
PYTHON_DAYS = DAYS.tolist()
STAMPS = pd.Series(DAYS.astype("M8[ns]"))
HOURS = [time(hour) for hour in range(N_ROWS)]


def frame(dates):
    return pd.DataFrame({"pay": NUMBERS, "day": dates})


def polars(dates):
    return pl.DataFrame({"pay": NUMBERS, "day": dates})


def arrow(dates):
    return pa.table({"pay": NUMBERS, "day": dates})


def records():
    return np.array(list(zip(NUMBERS, DAYS, strict=True)), dtype=[("pay", "f8"), ("day", "M8[D]")])


def objects(*columns):
    """A table of objects."""
    table = np.empty((N_ROWS, len(columns)), dtype=object)
    for j, column in enumerate(columns):
        table[:, j] = column
    return table


# name: (X, the column that is named)
DATES = {
    **{f"numpy M8[{unit}]": (DAYS.astype(f"M8[{unit}]")[:, None], 0) for unit in ("Y", "M", "W", "D", "s", "us", "ns")},
    **{f"numpy m8[{unit}]": (SPANS.astype(f"m8[{unit}]")[:, None], 0) for unit in ("W", "D", "s", "ns")},
    "numpy NaT": (HOLED[:, None], 0),
    "records": (records(), "day"),
    "objects date": (objects(NUMBERS, PYTHON_DAYS), 1),
    "objects time": (objects(NUMBERS, HOURS), 1),
    "objects timedelta": (objects(NUMBERS, [timedelta(1)] * N_ROWS), 1),
    # numpy would convert these to numbers of their unit
    "objects datetime64": (objects(NUMBERS, list(DAYS)), 1),
    "objects timedelta64": (objects(NUMBERS, list(SPANS)), 1),
    "objects Timestamp": (objects(NUMBERS, list(STAMPS)), 1),
    "objects Timestamp and NaT": (objects(NUMBERS, [pd.NaT, *STAMPS[1:]]), 1),
    "objects NaT of numpy": (objects(NUMBERS, [1.0, 2.0, 3.0, np.datetime64("NaT")] * 6), 1),
    "list": ([[number, day] for number, day in zip(NUMBERS.tolist(), PYTHON_DAYS, strict=True)], 1),
    "list alone": ([[day] for day in DAYS], 0),
    "pandas alone": (STAMPS.to_frame("day"), "day"),
    "pandas": (frame(STAMPS), "day"),
    "pandas NaT": (frame(HOLED.astype("M8[s]")), "day"),
    "pandas zone": (frame(STAMPS.dt.tz_localize("Europe/Paris")), "day"),
    "pandas timedelta": (frame(STAMPS - STAMPS[0]), "day"),
    "pandas Period": (frame(STAMPS.dt.to_period("M")), "day"),
    "pandas objects": (frame(pd.Series(PYTHON_DAYS, dtype=object)), "day"),
    "pandas category": (frame(STAMPS.astype("category")), "day"),
    "pandas category of objects": (frame(pd.Series(PYTHON_DAYS, dtype=object).astype("category")), "day"),
    "pandas Interval": (frame(pd.cut(STAMPS, 3).astype(pd.IntervalDtype("datetime64[ns]"))), "day"),
    "pandas Arrow date": (frame(pd.Series(PYTHON_DAYS, dtype=pd.ArrowDtype(pa.date32()))), "day"),
    "pandas Arrow timestamp": (frame(STAMPS.astype(pd.ArrowDtype(pa.timestamp("us")))), "day"),
    "polars Date alone": (pl.DataFrame({"day": PYTHON_DAYS}), "day"),
    "polars Date": (polars(PYTHON_DAYS), "day"),
    "polars null": (polars([None, *PYTHON_DAYS[1:]]), "day"),
    "polars Datetime": (polars(DAYS.astype("M8[ns]")), "day"),
    "polars Duration": (polars(SPANS.astype("m8[us]")), "day"),
    "polars Time": (polars(HOURS), "day"),
    "Arrow date32 alone": (pa.table({"day": PYTHON_DAYS}), "day"),
    "Arrow date32": (arrow(pa.array(PYTHON_DAYS)), "day"),
    "Arrow date64": (arrow(pa.array(PYTHON_DAYS, pa.date64())), "day"),
    "Arrow timestamp": (arrow(pa.array(DAYS.astype("M8[s]"))), "day"),
    "Arrow time": (arrow(pa.array(HOURS)), "day"),
    "Arrow duration": (arrow(pa.array(SPANS.astype("m8[s]"))), "day"),
    "Arrow dictionary": (arrow(pa.array(PYTHON_DAYS).dictionary_encode()), "day"),
}
# one missing value, at row 3 of the last column: (X, the column that is named)
HOLES = {
    **{f"objects {value!r}": (objects(NUMBERS, [1.0, 2.0, 3.0, value] * 6), 1) for value in (pd.NA, None, pd.NaT)},
    "objects NaN": (objects(NUMBERS, [1.0, 2.0, 3.0, np.nan] * 6), 1),
    "list None": ([[1.0, 2.0]] * 3 + [[1.0, None]] + [[1.0, 2.0]] * 20, 1),
    "list NA": ([[1.0, 2.0]] * 3 + [[1.0, pd.NA]] + [[1.0, 2.0]] * 20, 1),
    "masked": (np.ma.MaskedArray(np.ones((N_ROWS, 2)), np.arange(2 * N_ROWS).reshape(-1, 2) == 7), 1),
    **{
        f"pandas {dtype}": (frame(pd.Series([1, 1, 1, None] * 6, dtype=dtype)), "day")
        for dtype in ("object", "Int64", "Float32", "boolean", "category", "string", "float64", "double[pyarrow]")
    },
    "pandas object NA": (frame(pd.Series([1, 1, 1, pd.NA] * 6, dtype=object)), "day"),
    "pandas object NaT": (frame(pd.Series([1, 1, 1, pd.NaT] * 6, dtype=object)), "day"),
    "polars": (polars([1, 1, 1, None] * 6), "day"),
    "polars Boolean": (polars([True, False, True, None] * 6), "day"),
    "Arrow": (arrow(pa.array([1, 1, 1, None] * 6)), "day"),
}


@pytest.fixture(scope="module")
def fitted():
    X = np.column_stack([NUMBERS, NUMBERS[::-1]])
    return NaturalGradientLogisticRegression(C=np.inf, store_covariance=True).fit(X, Y)


@pytest.fixture(scope="module")
def named():
    return NaturalGradientLogisticRegression().fit(frame(NUMBERS[::-1]), Y)


def of_dates(column):
    return rf"column {column!r} of X, of type .*, holds dates or times, whose numbers depend on their unit: convert"


def of_a_hole(column):
    return rf"Input X contains NaN at row 3, column {column!r} \(\d in total\); every value must be finite: impute"


BAD = {
    **{f"dates, {name}": (X, of_dates(column)) for name, (X, column) in DATES.items()},
    **{f"missing, {name}": (X, of_a_hole(column)) for name, (X, column) in HOLES.items()},
}


@pytest.mark.parametrize("bad", list(BAD))
def test_x_is_refused_in_one_sentence(bad, fitted, named):
    X, said = BAD[bad]
    earlier = named if "'day'" in said else fitted
    model = NaturalGradientLogisticRegression()
    halves = [(X[:12], Y[:12]), (X[12:], Y[12:])]
    for call in (
        lambda: model.fit(X, Y),
        lambda: model.partial_fit(X, Y, classes=[0, 1]),
        lambda: model.fit_batches(halves),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert not hasattr(model, "coef_")
    if "alone" in bad or "numpy" in bad or "records" in bad:
        return
    for call in (
        earlier.predict,
        partial(infer, earlier, y=Y),
        partial(fisher_information, earlier),
        partial(kl_divergence, earlier, earlier),
    ):
        with unchanged(earlier), pytest.raises(ValueError, match="^" + said):
            call(X)


X_DATES, X_HOLE = (X[0] for X in (DATES["objects date"], HOLES[f"objects {pd.NA!r}"]))
PREDICTIONS = ["predict", "predict_proba", "predict_log_proba", "decision_function", "decision_function_std"]
PREDICTIONS += ["predict_proba_interval", "predict_proba_averaged"]


@pytest.mark.parametrize(("X", "said"), [(X_DATES, of_dates(1)), (X_HOLE, of_a_hole(1))], ids=["dates", "missing"])
def test_everything_that_takes_x(X, said, fitted):
    calls = [getattr(fitted, name) for name in PREDICTIONS]
    calls += [
        lambda X: fitted.score(X, Y),
        lambda X: infer(LogisticRegression(C=1.0).fit(objects(NUMBERS, NUMBERS), Y), X, Y),
        lambda X: ProbabilityIntervalDisplay.from_estimator(fitted, X, feature=0),
        lambda X: FisherEllipseDisplay.from_estimator(fitted, X, features=[0, 1]),
        lambda X: RegularizationPathDisplay.from_estimator(NaturalGradientLogisticRegression(), X, Y),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="^" + said):
            call(X)
    result = infer(fitted, np.column_stack([NUMBERS, NUMBERS[::-1]]), Y)
    with pytest.raises(ValueError, match="^" + said.replace(" X", " X_extra")):
        result.score_test(X)
    with pytest.raises(ValueError, match="^" + said.replace(" X", " X_extra").replace("column 1", "column 'day'")):
        result.score_test(pd.DataFrame(X, columns=["pay", "day"]))


def test_added_columns_may_be_of_any_type_of_numbers(fitted):
    result = infer(fitted, np.column_stack([NUMBERS, NUMBERS[::-1]]), Y)
    extra = np.arange(N_ROWS) % 5
    expected = result.score_test(extra[:, None].astype(float)).statistic
    for given in (extra[:, None], pd.DataFrame({"a": pd.Series(extra, dtype="Int64")}), pl.DataFrame({"a": extra})):
        assert result.score_test(given).statistic == pytest.approx(expected, rel=1e-12)


def lazily(table):
    return dd.from_pandas(table, npartitions=2)


@pytest.mark.usefixtures("dask_objects")
def test_dask_collections():
    model = DaskNaturalGradientLogisticRegression()
    chunks = da.from_array(DAYS[:, None], chunks=(12, -1))
    with pytest.raises(ValueError, match="^" + of_dates(0)):
        model.fit(chunks, Y)
    # tables say the type of their columns before anything is computed, but not what objects are
    for name in ("pandas", "pandas zone", "pandas timedelta", "pandas category"):
        with pytest.raises(ValueError, match="^" + of_dates("day")):
            model.fit(lazily(DATES[name][0]), lazily(pd.Series(Y)))
    with pytest.raises(ValueError, match="^block 0: " + of_dates("day")):
        model.fit(lazily(DATES["pandas objects"][0]), lazily(pd.Series(Y)))
    with pytest.raises(ValueError, match="^block 0: " + of_a_hole("day")):
        model.fit(lazily(HOLES["pandas object NA"][0]), lazily(pd.Series(Y)))
    model.fit(da.from_array(NUMBERS[:, None], chunks=(12, -1)), Y)
    for name in PREDICTIONS[:4]:
        with pytest.raises(ValueError, match="^" + of_dates(0)):
            getattr(model, name)(chunks)


def test_memory_maps_of_dates(tmp_path):
    np.save(tmp_path / "days.npy", DAYS[:, None])
    with pytest.raises(ValueError, match="^" + of_dates(0)):
        NaturalGradientLogisticRegression().fit(np.load(tmp_path / "days.npy", mmap_mode="r"), Y)


def test_words_beside_missing_values_are_named_as_words():
    table = frame(pd.Series(["a", "b", None, "c"] * 6, dtype="string"))
    with pytest.raises(ValueError, match=r"column 'day' of X, of type string.*, must hold numbers: encode it"):
        NaturalGradientLogisticRegression().fit(table, Y)


MISSING = {
    "list None": [1.0, 1.0, 1.0, None] * 6,
    "list NaN": [1.0, 1.0, 1.0, float("nan")] * 6,
    "objects NA": np.array([1.0, 1.0, 1.0, pd.NA] * 6, dtype=object),
    "objects NaT": np.array([1.0, 1.0, 1.0, pd.NaT] * 6, dtype=object),
    "masked": np.ma.MaskedArray(np.ones(N_ROWS), np.arange(N_ROWS) == 3),
    **{f"pandas {dtype}": pd.Series([1, 2, 1, None] * 6, dtype=dtype) for dtype in ("Int64", "object", "float64")},
    "pandas boolean": pd.Series([True, False, True, None] * 6, dtype="boolean"),
    "pandas category": pd.Series([1, 2, 1, None] * 6, dtype="category"),
    "polars": pl.Series([1, 2, 1, None] * 6),
    "Arrow": pa.array([1, 2, 1, None] * 6),
}
WORDS = {
    "list of words": ["a", "b", "a", float("nan")] * 6,
    "pandas string": pd.Series(["a", "b", "a", None] * 6, dtype="string"),
    "pandas words": pd.Series(["a", "b", "a", None] * 6),
    "polars String": pl.Series(["a", "b", "a", None] * 6),
    "Arrow string": pa.array(["a", "b", "a", None] * 6),
    "dates": np.where(np.arange(N_ROWS) == 3, np.datetime64("NaT"), DAYS[0]).astype("M8[ns]"),
    "durations": np.where(np.arange(N_ROWS) == 3, np.timedelta64("NaT"), SPANS[1]),
    "polars Date": pl.Series([date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 1), None] * 6),
    "pandas zone": STAMPS.where(np.arange(N_ROWS) != 3).dt.tz_localize("UTC"),
    "pandas Period": STAMPS.where(np.arange(N_ROWS) != 3).dt.to_period("D"),
}


@pytest.mark.parametrize("kind", [*MISSING, *WORDS])
def test_missing_labels_and_groups(kind, fitted):
    values = {**MISSING, **WORDS}[kind]
    X = np.column_stack([NUMBERS, NUMBERS[::-1]])
    said = r"y contains NaN \(\S+\) at row 3; every label must be present and finite: drop the other rows\.$"
    for call in (
        lambda: NaturalGradientLogisticRegression().fit(X, values),
        lambda: NaturalGradientLogisticRegression().fit_batches([(X, values)]),
        lambda: infer(fitted, X, values),
        lambda: fitted.score(X, values),
        lambda: DaskNaturalGradientLogisticRegression().fit(da.from_array(X, chunks=(12, -1)), values),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    said = r"^groups contains NaN \(\S+\) at row 3; every row needs a group: drop the other rows\.$"
    with pytest.raises(ValueError, match=said):
        infer(fitted, X, Y, covariance="cluster", groups=values)


@pytest.mark.parametrize("kind", list(MISSING))
def test_missing_weights(kind, fitted):
    X = np.column_stack([NUMBERS, NUMBERS[::-1]])
    said = r"sample_weight contains nan at row 3; every weight must be finite and >= 0, and 0 omits a row\.$"
    chunks = da.from_array(X, chunks=(12, -1))
    for call in (
        lambda weight: NaturalGradientLogisticRegression().fit(X, Y, weight),
        lambda weight: NaturalGradientLogisticRegression().fit_batches([(X, Y, weight)]),
        lambda weight: infer(fitted, X, Y, sample_weight=weight),
        lambda weight: DaskNaturalGradientLogisticRegression().fit(chunks, Y, weight),
        lambda weight: kl_divergence(fitted, fitted, X, sample_weight=weight),
    ):
        with pytest.raises(ValueError, match=said):
            call(MISSING[kind])


@pytest.mark.parametrize("weight", [DAYS, SPANS, list(SPANS), PYTHON_DAYS, pl.Series(PYTHON_DAYS)])
def test_dates_are_no_weights(weight):
    with pytest.raises(ValueError, match=r"^sample_weight holds values that are not real numbers"):
        NaturalGradientLogisticRegression().fit(NUMBERS[:, None], Y, weight)


@pytest.mark.parametrize("label", [pd.NA, pd.NaT, np.nan, None, np.datetime64("NaT")])
def test_missing_labels_as_arguments(label, fitted):
    X = np.column_stack([NUMBERS, NUMBERS[::-1]])
    with pytest.raises(ValueError, match=r"^class_weight=.* gives a weight to the missing label .*; omit it\.$"):
        NaturalGradientLogisticRegression(class_weight={0: 1, 1: 2, label: 1}).fit(X, Y)
    with pytest.raises(ValueError, match=r"^classes=.* must be .* none of them missing\.$"):
        NaturalGradientLogisticRegression().partial_fit(X, Y, classes=[0, 1, label])
    if label is not None:
        with pytest.raises(ValueError, match=r"^reference=.* is not among the estimator's classes \[0, 1\]\.$"):
            infer(fitted, X, Y, reference=label)
    with pytest.raises(ValueError, match=r"^at holds the value .*; every value must be a finite number\.$"):
        ProbabilityIntervalDisplay.from_estimator(fitted, X, feature=0, at={1: label})


def test_other_labels_as_arguments(fitted):
    X = np.column_stack([NUMBERS, NUMBERS[::-1]])
    for label in ({}, DAYS[0], "0", [0]):
        with pytest.raises(ValueError, match=r"^reference=.* is not among the estimator's classes \[0, 1\]\.$"):
            infer(fitted, X, Y, reference=label)
    for value in ("a word", DAYS[0], SPANS[0]):
        with pytest.raises(ValueError, match=r"^at holds the value .*; every value must be a finite number\.$"):
            ProbabilityIntervalDisplay.from_estimator(fitted, X, feature=0, at={1: value})
    said = (
        r"^class_weight={0: 2, '1': 3} has '1', which is not among the classes \[0, 1\], and lacks 1; name the classes"
    )
    with pytest.raises(ValueError, match=said):
        NaturalGradientLogisticRegression(class_weight={0: 2, "1": 3}).fit(X, Y)
    # weights of classes that these rows do not have are allowed
    wider = NaturalGradientLogisticRegression(class_weight={0: 2, 1: 3, 2: 4}).fit(X, Y)
    expected = NaturalGradientLogisticRegression(class_weight={0: 2, 1: 3}).fit(X, Y)
    np.testing.assert_array_equal(wider.coef_, expected.coef_)


@pytest.mark.filterwarnings("ignore:These standard errors are unreliable")
def test_groups_of_any_type(fitted):
    X = np.column_stack([NUMBERS, NUMBERS[::-1]])
    codes = np.arange(N_ROWS) % 6
    errors = infer(fitted, X, Y, covariance="cluster", groups=codes).standard_errors
    for groups in (
        pd.Series(codes, dtype="Int64"),
        pd.DataFrame({"group": codes}),
        pl.Series(codes).cast(pl.String),
        DAYS[codes].astype("M8[ns]"),
        STAMPS[codes].dt.tz_localize("UTC"),
        ["a", 1, None.__class__, 2.5, "b", "c"] * 4,
    ):
        result = infer(fitted, X, Y, covariance="cluster", groups=groups)
        np.testing.assert_allclose(result.standard_errors, errors, rtol=1e-12)
