"""Labels keep their values: none are rounded or merged, what is no label is named, and messages print readable text."""

import re
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from uuid import UUID

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from problems import legend_labels, needs_callbacks
from sklearn.model_selection import StratifiedKFold, check_cv, cross_validate, train_test_split

from sknatgrad import NaturalGradientLogisticRegression, kl_divergence
from sknatgrad._model.class_labels import label_keys, label_name
from sknatgrad.callbacks import EarlyStopping
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.inference import infer
from sknatgrad.plots import CoefficientDisplay, ProbabilityIntervalDisplay

N_ROWS = 30
CODES = np.arange(N_ROWS) * 7 % 3
X = np.random.default_rng(0).normal(size=(N_ROWS, 2)) + 0.5 * (CODES == 1)[:, None]
HALVES = (slice(0, 15), slice(15, N_ROWS))
BIG = [2**70, 2**70 + 1, 2**70 + 2]


def new(**settings):
    return NaturalGradientLogisticRegression(**settings)


def objects(values):
    """An array of objects, whatever numpy would make of them."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def rows_of(values):
    """The labels of the rows, as a list of the values that are given."""
    return [values[code] for code in (CODES % len(values)).tolist()]


# numbers that would be equal in float64: (labels of the classes in order, the container of y)
CLOSE = {
    "integers": (BIG, objects),
    "a list of integers": (BIG, list),
    "pandas": (BIG, lambda values: pd.Series(values, dtype=object)),
    "integers and negative ones": ([-1, 2**63, 2**63 + 1], objects),
    "a list of integers and negative ones": ([-1, 2**63, 2**63 + 1], list),
    "integers beside floats": ([float(2**53), 2**53 + 1, 2**53 + 2], objects),
    "a list of integers beside floats": ([float(2**53), 2**53 + 1, 2**53 + 2], list),
    "beyond float64": ([0, 10**400, 10**400 + 1], objects),
    "Decimal": (list(map(Decimal, BIG)), objects),
    "polars Decimal": (list(map(Decimal, BIG)), pl.Series),
    "Arrow Decimal": (list(map(Decimal, BIG)), pa.array),
    "Fraction": (list(map(Fraction, BIG)), objects),
    "floats beyond int64": ([0.0, 1e300, 1.7e308], np.array),
    "floats of both signs": ([-1.7e308, 0.0, 1.7e308], list),
    "uint64": ([2**63, 2**63 + 1, 2**63 + 2], lambda values: np.array(values, dtype=np.uint64)),
    "int64": ([2**53, 2**53 + 1, 2**53 + 2], np.array),
}


@pytest.fixture(scope="module")
def plain():
    return new().fit(X, CODES)


@pytest.mark.parametrize("kind", list(CLOSE))
def test_numbers_that_float64_cannot_tell_apart_stay_classes(kind, plain):
    classes, container = CLOSE[kind]
    y = container(rows_of(classes))
    chunks = da.from_array(X, chunks=(15, -1))
    halves = [(X[half], container(rows_of(classes)[half])) for half in HALVES]
    fits = [new().fit(X, y), new().fit_batches(halves), new().fit_batches(halves, classes=classes[::-1])]
    for model in [*fits, DaskNaturalGradientLogisticRegression().fit(chunks, y)]:
        assert model.classes_.tolist() == classes
        np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(model.predict(X), np.array(classes, dtype=object)[plain.predict(X)])
        assert model.score(X, y) == plain.score(X, CODES)
    model = fits[0]
    stream = new().partial_fit(*halves[0], classes=classes).partial_fit(*halves[1])
    assert stream.classes_.tolist() == classes
    result = infer(model, X, y, reference=classes[1])
    np.testing.assert_allclose(result.params, infer(plain, X, CODES, reference=1).params, rtol=1e-6)
    assert f"Log-odds of {classes[2]} against {classes[1]}:" in str(result.summary())
    weighted = new(class_weight={classes[2]: 3.0}).fit(X, y)
    np.testing.assert_allclose(weighted.coef_, new(class_weight={2: 3.0}).fit(X, CODES).coef_, rtol=1e-6)
    assert kl_divergence(model, fits[1], X) < 1e-9


# name: labels of two batches, and the classes of both, in order
BATCHES = {
    "uint64 beside negative int64": ([2**63, 2**63 + 1], np.uint64, [-1, 5], np.int64, [-1, 5, 2**63, 2**63 + 1]),
    "int64 beside floats": (
        [2**53 + 1, 2**53 + 3],
        np.int64,
        [float(2**53), 0.0],
        float,
        [0, 2**53, 2**53 + 1, 2**53 + 3],
    ),
    "int64 beside float32": ([2**24 + 1, 5], np.int64, [2.0**24, 3.0], np.float32, [3, 5, 2**24, 2**24 + 1]),
    "int64 beside objects": ([1, 2], np.int64, BIG[:2], object, [1, 2, *BIG[:2]]),
    "objects beside floats": (BIG[1:], object, [float(2**70), 0.0], float, [0, *BIG]),
    "booleans beside integers": ([True, False], bool, [1, 2], np.uint8, [0, 1, 2]),
}


@pytest.mark.parametrize("kind", list(BATCHES))
def test_types_of_numbers_may_differ_between_batches(kind):
    one, one_type, other, other_type, classes = BATCHES[kind]
    parts = [np.array(rows_of(one)[:15], dtype=one_type), np.array(rows_of(other)[15:], dtype=other_type)]
    batches = [(X[half], part) for half, part in zip(HALVES, parts, strict=True)]
    for order in (batches, batches[::-1]):
        model = new().fit_batches(order)
        assert model.classes_.tolist() == classes
        codes = [classes.index(label) for part in parts for label in part.tolist()]
        np.testing.assert_allclose(model.coef_, new().fit(X, codes).coef_, rtol=1e-6, atol=1e-9)
        assert model.score(*batches[0]) == np.mean(model.predict(X[:15]) == parts[0])


@pytest.mark.parametrize("classes", [[-2047, 2000, 2001], [-60000, 0, 60000], [0, 1, 2]])
def test_labels_of_half_precision(classes):
    # their differences are not numbers of half precision
    classes = np.array(classes, dtype=np.float16)
    model = new().fit(X, classes[CODES])
    np.testing.assert_array_equal(model.classes_, classes)
    assert model.classes_.dtype == np.float16


def test_exact_numbers_as_objects_get_a_type_of_numbers():
    for values, dtype in ((["1", "2", "4"], np.float64), ([1, 2, 2**53], np.int64)):
        y = objects(rows_of([Decimal(each) if isinstance(each, str) else each for each in values]))
        assert new().fit(X, y).classes_.dtype == dtype
    assert new().fit(X, objects(rows_of([0, 1.0, 2**53]))).classes_.dtype == np.float64


FAR = np.array(["3000-01-01", "3001-01-01"], dtype="M8[D]")
NEAR = np.array(["2020-01-01T00:00:00.000000001"], dtype="M8[ns]")


def test_dates_that_no_unit_holds_together_are_refused():
    said = "y holds 3000-01-01 beside {}, and numpy's common unit does not hold both: convert all"
    near = re.escape("2020-01-01T00:00:00.000000001")
    for container in (list, objects):
        with pytest.raises(ValueError, match="^" + said.format(near)):
            new().fit(X, container(rows_of([NEAR[0], *FAR])))
    batches = [(X[:15], np.array(rows_of(list(FAR))[:15])), (X[15:], NEAR.repeat(15))]
    for order in (batches, batches[::-1]):
        with pytest.raises(ValueError, match=said.format(near)):
            new().fit_batches(order)
    # numpy finds no common unit at all
    durations = [np.timedelta64(2_500_000, "W"), np.timedelta64(1, "as")]
    said = "y holds 17500000 days beside 1 attosecond, and numpy's common unit"
    with pytest.raises(ValueError, match="^" + said):
        new().fit(X, rows_of(durations))
    with pytest.raises(ValueError, match=said):
        new().fit_batches(
            [(X, np.array(rows_of([durations[0], durations[0] * 2]))), (X, np.full(N_ROWS, durations[1]))]
        )


def test_units_that_have_a_common_one_are_converted():
    seconds = [*FAR, NEAR[0].astype("M8[D]")]
    model = new().fit(X, rows_of([FAR[0].astype("M8[s]"), *seconds[1:]]))
    np.testing.assert_array_equal(model.classes_, np.sort(np.array(seconds)).astype("M8[s]"))
    mixed = [np.datetime64("2020-01-02", "W"), np.datetime64("2020-03-02", "D")]
    for container in (list, objects):
        classes = new().fit(X, container(rows_of(mixed))).classes_
        assert label_keys(classes) == label_keys(np.array(["2020-01-02", "2020-03-02"], dtype="M8[D]"))
        # numpy makes weeks of months
        with pytest.raises(ValueError, match=r"^y holds 2020-03-01 beside 2020-01-02, and numpy's common unit"):
            new().fit(X, container(rows_of([mixed[0], mixed[1].astype("M8[M]")])))
    with pytest.raises(ValueError, match=r"^y contains NaN \(NaT\) at row 0"):
        new().fit(X, [np.datetime64("NaT"), *rows_of([NEAR[0], FAR[0]])[1:]])


class Colour(Enum):
    RED = 1
    BLUE = 2


class Wordy:
    def __repr__(self):
        return "many\nwords " * 99


CUT = pd.cut(pd.Series(X[:, 0]), 3)
# name: (y, what is said of it)
OTHERS = {
    "bytes": (np.array(rows_of([b"a", b"b"])), "bytes objects, such as b'a'"),
    "bytes as objects": (objects(rows_of([b"a", b"b"])), "bytes objects, such as b'a'"),
    "a list of words and bytes": (rows_of(["a", b"b"]), "bytes objects, such as b'b'"),
    "words and bytes": (objects(rows_of(["a", b"b"])), "bytes objects, such as b'b'"),
    "numbers and bytes": (objects(rows_of([1, b"b"])), "bytes objects, such as b'b'"),
    "intervals": (CUT, "Interval objects, such as Interval"),
    "intervals as objects": (objects(CUT.tolist()), "Interval objects, such as Interval"),
    "object": ([object()] * N_ROWS, "object objects, such as <object object"),
    "Enum": (rows_of([Colour.RED, Colour.BLUE]), "Colour objects, such as <Colour.RED: 1>"),
    "UUID": (rows_of([UUID(int=1), UUID(int=2)]), "UUID objects, such as UUID"),
    "sets": (rows_of([{1}, {2}]), "set objects, such as {1}"),
    "dicts": (rows_of([{1: 2}, {2: 1}]), "dict objects, such as {1: 2}"),
    "tuples": (objects(rows_of([(1, 2), (2, 1)])), r"tuple objects, such as \(1, 2\)"),
    "lists": (objects(rows_of([[1, 2], [2]])), r"list objects, such as \[1, 2\]"),
    "bytearray": (objects(rows_of([bytearray(b"a"), bytearray(b"b")])), "bytearray objects, such as bytearray"),
    "complex": (objects(rows_of([1j, 2])), "complex objects, such as 1j"),
    "void": (np.zeros(N_ROWS, dtype="V2"), "bytes objects, such as b"),
    "records": (np.ones(N_ROWS, dtype=[("a", int), ("b", int)]), r"tuple objects, such as \(1, 1\)"),
    "a long text": ([Wordy()] * N_ROWS, r"Wordy objects, such as (many words ){4,}\.\.\.;"),
}


@pytest.mark.parametrize("kind", list(OTHERS))
def test_objects_that_are_no_labels_are_named(kind, plain):
    y, found = OTHERS[kind]
    said = rf"y holds {found}.*labels must be strings, numbers, booleans, dates or durations: (convert|decode) them"
    chunks = da.from_array(X, chunks=(15, -1))
    for call in (
        lambda: new().fit(X, y),
        lambda: new().partial_fit(X, y, classes=["a", "b"]),
        lambda: infer(plain, X, y),
        lambda: plain.score(X, y),
        lambda: new().fit_batches([(X, y)]),
        lambda: DaskNaturalGradientLogisticRegression().fit(chunks, y),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250


FRACTIONS = [
    objects(rows_of([Decimal("0.1"), Decimal(1)])),
    rows_of([Fraction(1, 3), 1]),
    objects(rows_of([0.5, 2**70 + 1])),
]


@pytest.mark.parametrize("y", FRACTIONS, ids=["Decimal", "Fraction", "beside integers"])
def test_fractions_as_objects_are_refused(y):
    said = r"^Unknown label type: continuous: y holds \S+, and labels that are numbers must be whole; "
    with pytest.raises(ValueError, match=said):
        new().fit(X, y)
    with pytest.raises(ValueError, match="^batch 0: " + said[1:]):
        new().fit_batches([(X, y)])


def infinite(values, infinity):
    return [infinity if row == 4 else value for row, value in enumerate(rows_of(values))]


INFINITE = {
    "floats": np.array(infinite([0.0, 1.0], np.inf)),
    "half precision": np.array(infinite([0.0, 1.0], np.inf), dtype=np.float16),
    "a list": infinite([0, 1], np.inf),
    "objects": objects(infinite([0, 1], np.inf)),
    "objects of numpy": objects(infinite([0, 1], np.float32(np.inf))),
    "beside large integers": objects(infinite(BIG, np.inf)),
    "pandas objects": pd.Series(infinite([0, 1], np.inf), dtype=object),
    "pandas Float64": pd.Series(infinite([0.0, 1.0], np.inf), dtype="Float64"),
    "category": pd.Series(infinite([0.0, 1.0], np.inf)).astype("category"),
    "polars": pl.Series(infinite([0.0, 1.0], np.inf)),
    "Arrow": pa.array(infinite([0.0, 1.0], np.inf)),
    "Decimal": objects(infinite([Decimal(0), Decimal(1)], Decimal("inf"))),
}


@pytest.mark.parametrize("kind", list(INFINITE))
def test_infinite_labels_and_groups_are_refused_with_their_row(kind, plain):
    values = INFINITE[kind]
    said = r"y contains inf at row 4; every label must be present and finite: drop the other rows\.$"
    for call in (
        lambda: new().fit(X, values),
        lambda: new().partial_fit(X, values, classes=[0, 1]),
        lambda: new().fit_batches([(X, values)]),
        lambda: plain.score(X, values),
        lambda: DaskNaturalGradientLogisticRegression().fit(da.from_array(X, chunks=(15, -1)), values),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(ValueError, match=r"^groups contains inf at row 4; every row needs a group"):
        infer(plain, X, CODES, covariance="cluster", groups=values)
    with pytest.raises(ValueError, match=r"y contains -inf at row 0"):
        new().fit(X, objects([Decimal("-inf"), *CODES[1:].tolist()]))
    with pytest.raises(ValueError, match=r"y contains NaN \(sNaN\) at row 0"):
        new().fit(X, objects([Decimal("sNaN"), *CODES[1:].tolist()]))


def seconds(number, unit="s"):
    return np.timedelta64(number, unit)


NAMES = {
    "0 days": [seconds(0), seconds(0, "us"), seconds(0, "W"), timedelta(0), pd.Timedelta(0)],
    "2 days": [seconds(172_800), seconds(2, "D"), seconds(172_800_000_000, "us"), timedelta(2), pd.Timedelta(days=2)],
    "1 day": [seconds(24, "h"), timedelta(1), pd.Timedelta(days=1)],
    "70 days": [seconds(10, "W"), timedelta(70)],
    "1 day 12 hours": [seconds(36, "h"), timedelta(hours=36), pd.Timedelta(hours=36)],
    "-1 minute 30 seconds": [seconds(-90), timedelta(seconds=-90), pd.Timedelta(seconds=-90)],
    "1 second 1 nanosecond": [seconds(10**9 + 1, "ns"), pd.Timedelta(10**9 + 1, "ns")],
    "2 years": [seconds(24, "M"), seconds(2, "Y")],
    "1 year 1 month": [seconds(13, "M")],
    "7": [np.timedelta64(7), 7, np.int8(7), Decimal(7)],
    "NaT": [np.timedelta64("NaT"), np.datetime64("NaT"), pd.NaT],
    "2020-01-01": [date(2020, 1, 1), np.datetime64("2020-01-01", "ns"), pd.Period("2020-01-01", "D")],
    "'a'": ["a", np.str_("a")],
}


def test_names_of_labels():
    for name, labels in NAMES.items():
        assert [label_name(label) for label in labels] == [name] * len(labels)


@needs_callbacks
@pytest.mark.usefixtures("closed_figures")
@pytest.mark.parametrize("container", [pl.Series, objects, lambda values: np.array(values, dtype="m8[ns]")])
def test_durations_are_printed_as_text(container):
    y = container(rows_of([timedelta(0), timedelta(1), timedelta(days=1, hours=12)]))
    model = new(store_covariance=True).fit(X, y)
    result = infer(model, X, y)
    assert "Log-odds of 1 day 12 hours against 0 days:" in str(result.summary())
    assert "Log-odds of 1 day against 0 days" in result.summary()._repr_html_()
    assert legend_labels(CoefficientDisplay.from_result(result).legend_) == ["1 day", "1 day 12 hours"]
    legend = ProbabilityIntervalDisplay.from_estimator(model, X, feature=0).legend_
    assert legend_labels(legend) == ["0 days", "1 day", "1 day 12 hours"]
    classes = re.escape("[0 days, 1 day, 1 day 12 hours]")
    other = container([timedelta(days=9)] * N_ROWS)
    with pytest.raises(ValueError, match=rf"^y holds 9 days, which is not among the estimator's classes {classes}\.$"):
        infer(model, X, other)
    with pytest.raises(ValueError, match=rf"^reference=9 days is not among the estimator's classes {classes}\.$"):
        infer(model, X, y, reference=timedelta(9))
    with pytest.raises(ValueError, match=rf"^class_of_interest=9 days is not among the classes {classes}; pass"):
        ProbabilityIntervalDisplay.from_estimator(model, X, feature=0, class_of_interest=timedelta(9))
    with pytest.raises(ValueError, match=rf" has 9 days, which is not among the classes {classes}, and lacks 0 days; "):
        new(class_weight={timedelta(9): 1.0}).fit(X, y)
    stream = new().partial_fit(X, y, classes=[timedelta(0), timedelta(1), timedelta(days=1, hours=12)])
    with pytest.raises(ValueError, match=rf"^classes=\[1 day, 9 days\] differ from those of the first call, {classes}"):
        stream.partial_fit(X, y, classes=[timedelta(9), timedelta(1)])
    with pytest.raises(ValueError, match=r"^classes=\[9 days\] must hold two classes or more"):
        new().partial_fit(X, y, classes=[timedelta(9)])
    with pytest.raises(ValueError, match=rf"^estimator has classes_ {classes} and other \[0, 1, 2\]"):
        kl_divergence(model, new().fit(X, CODES), X)
    with pytest.raises(ValueError, match=rf"^y of EarlyStopping holds 9 days, .* of its classes {classes},"):
        new().set_callbacks(EarlyStopping(X, other)).fit(X, y)


def test_what_scikit_learn_does_with_labels_that_are_objects():
    days = objects(rows_of([date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)]))
    assert type(check_cv(3, days, classifier=True)).__name__ == "KFold"
    assert type(check_cv(3, days.astype("M8[D]"), classifier=True)).__name__ == "StratifiedKFold"
    assert np.isfinite(cross_validate(new(), X, days, cv=3)["test_score"]).all()
    with pytest.raises(ValueError, match="Supported target types are"):
        cross_validate(new(), X, days, cv=StratifiedKFold(3))
    _, _, _, held_out = train_test_split(X, days, stratify=days, test_size=6)
    assert sorted(held_out) == sorted(days[:3].tolist() * 2)
    with pytest.raises(ValueError, match="unknown is not supported"):
        cross_validate(new(), X, days, cv=3, scoring="balanced_accuracy", error_score="raise")


def test_tables_of_dask_make_strings_of_objects():
    days = [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)]
    rows = pd.DataFrame(X, columns=["a", "b"])
    for convert, classes in ((True, list(map(str, days))), (False, days)):
        with dask.config.set({"dataframe.convert-string": convert}):
            y = dd.from_pandas(pd.Series(rows_of(days), dtype=object), npartitions=2)
            model = DaskNaturalGradientLogisticRegression().fit(dd.from_pandas(rows, npartitions=2), y)
        assert model.classes_.tolist() == classes


def test_classes_of_a_stream_are_those_of_its_first_call():
    days = [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)]
    y = np.array(rows_of(days), dtype="M8[D]")
    assert new().partial_fit(X, y, classes=days).predict(X).tolist() == new().fit(X, y).predict(X).tolist()
    assert new().partial_fit(X, y, classes=days).classes_.dtype == object
    assert new().partial_fit(X, objects(rows_of(days)), classes=y[:3]).classes_.dtype == "M8[D]"
