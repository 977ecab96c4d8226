"""Labels of every type and library, in everything that takes them: they stay the labels that were given.

`KINDS` has the table: labels of one kind, for the rows of `CODES`, and the classes that they must give.
"""

import pickle
import warnings
from datetime import datetime, time, timedelta
from decimal import Decimal
from functools import cache

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from problems import legend_labels, needs_callbacks
from sklearn.exceptions import DataConversionWarning

from sknatgrad import NaturalGradientLogisticRegression, fisher_information, kl_divergence, merge
from sknatgrad._model.class_labels import label_key, label_keys, label_list
from sknatgrad.callbacks import EarlyStopping
from sknatgrad.dask import DaskNaturalGradientLogisticRegression
from sknatgrad.dask import infer as infer_dask
from sknatgrad.inference import infer
from sknatgrad.plots import CoefficientDisplay, FisherEllipseDisplay, ProbabilityIntervalDisplay
from sknatgrad.plots._canvas import class_indices

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(48, 2))
# two classes for labels that have two values, else three; all of them are in each half of the rows
CODES = {n_classes: np.arange(48) * 7 % n_classes for n_classes in (2, 3)}
for codes in CODES.values():
    X[:, 0] += 0.5 * (codes == 1)
HALVES = (slice(0, 24), slice(24, 48))

DATES = np.array(["2019-01-01", "2020-01-01", "2021-01-01"], dtype="M8[D]")
DURATIONS = np.array([7, 70, 700], dtype="m8[D]")
DAYS = [day.item() for day in DATES]
TIMES = [datetime(day.year, day.month, day.day, 12) for day in DAYS]  # noqa: DTZ001 - labels without a zone
STAMPS = pd.Series(DATES.astype("M8[ns]"))
ZONED = STAMPS.dt.tz_localize("Europe/Paris")
WORDS = ["ash", "beech", "oak"]
BOOLS, INTS = np.array([False, True]), np.array([-3, 0, 300])


def objects(values):
    """An array of objects, whatever numpy would make of them."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def of_pandas(values, dtype=None):
    return pd.Series(values, dtype=dtype)


ARROW_DAYS = of_pandas(DAYS, pd.ArrowDtype(pa.date32()))
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"]
# name: one label of each class, in order, in the container that y is; and the classes as an array
KINDS = {
    **{f"numpy {unit}": (DATES.astype(unit),) * 2 for unit in (f"M8[{unit}]" for unit in UNITS)},
    **{f"numpy {unit}": (DURATIONS.astype(unit),) * 2 for unit in (f"m8[{unit}]" for unit in UNITS[2:])},
    "numpy m8[Y]": (np.array([1, 2, 30], dtype="m8[Y]"),) * 2,
    "numpy bool": (BOOLS, BOOLS),
    "numpy int": (INTS, INTS),
    "numpy float": (INTS.astype(float), INTS.astype(float)),
    "numpy str": (np.array(WORDS), np.array(WORDS)),
    "objects bool": (objects(BOOLS.tolist()), BOOLS),
    "objects int": (objects(INTS.tolist()), INTS),
    "objects Decimal": (objects([Decimal(-3), Decimal(0), Decimal(300)]), INTS.astype(float)),
    "objects date": (objects(DAYS), objects(DAYS)),
    "objects Timestamp": (objects(STAMPS.tolist()), objects(STAMPS.tolist())),
    "list bool": (BOOLS.tolist(), BOOLS),
    "list date": (DAYS, objects(DAYS)),
    "list datetime": (TIMES, objects(TIMES)),
    "list time": ([time(1), time(2), time(3)], objects([time(1), time(2), time(3)])),
    "list timedelta": ([timedelta(1), timedelta(2), timedelta(3)], objects([timedelta(1), timedelta(2), timedelta(3)])),
    "list datetime64": (list(DATES), DATES),
    "pandas boolean": (of_pandas(BOOLS, "boolean"), BOOLS),
    "pandas Int64": (of_pandas(INTS, "Int64"), INTS),
    "pandas UInt16": (of_pandas(INTS + 3, "UInt16"), INTS + 3),
    "pandas Float64": (of_pandas(INTS, "Float64"), INTS.astype(float)),
    "pandas string": (of_pandas(WORDS, "string"), objects(WORDS)),
    "pandas words": (of_pandas(WORDS), objects(WORDS)),
    "pandas datetime64": (STAMPS, DATES.astype("M8[ns]")),
    "pandas timedelta64": (of_pandas(DURATIONS.astype("m8[ns]")), DURATIONS.astype("m8[ns]")),
    "pandas with a zone": (ZONED, objects(ZONED.tolist())),
    "pandas Period": (STAMPS.dt.to_period("M"), objects(STAMPS.dt.to_period("M").tolist())),
    "pandas dates as objects": (of_pandas(DAYS, object), objects(DAYS)),
    "category of int": (of_pandas(INTS, "category"), INTS),
    "category of bool": (of_pandas(BOOLS, "category"), BOOLS),
    "category of words": (of_pandas(WORDS, "category"), objects(WORDS)),
    "category of datetime64": (STAMPS.astype("category"), DATES.astype("M8[ns]")),
    "category with a zone": (ZONED.astype("category"), objects(ZONED.tolist())),
    "pandas Arrow bool": (of_pandas(BOOLS, pd.ArrowDtype(pa.bool_())), BOOLS),
    "pandas Arrow int": (of_pandas(INTS, pd.ArrowDtype(pa.int32())), INTS),
    "pandas Arrow string": (of_pandas(WORDS, pd.ArrowDtype(pa.string())), objects(WORDS)),
    # pandas 2.0 gives numpy dates of its own type, later versions those of Python
    "pandas Arrow date": (ARROW_DAYS, DATES if np.asarray(ARROW_DAYS).dtype == DATES.dtype else objects(DAYS)),
    "polars Boolean": (pl.Series(BOOLS), BOOLS),
    "polars Int16": (pl.Series(INTS, dtype=pl.Int16), INTS),
    "polars String": (pl.Series(WORDS), np.array(WORDS)),
    "polars Categorical": (pl.Series(WORDS, dtype=pl.Categorical), objects(WORDS)),
    "polars Enum": (pl.Series(WORDS, dtype=pl.Enum(WORDS)), objects(WORDS)),
    "polars Date": (pl.Series(DAYS), DATES),
    "polars Datetime": (pl.Series(TIMES), np.array(TIMES, dtype="M8[us]")),
    "polars Datetime ns": (pl.Series(DATES.astype("M8[ns]")), DATES.astype("M8[ns]")),
    # polars gives numpy times with a zone in UTC
    "polars with a zone": (pl.Series(TIMES).dt.replace_time_zone("UTC"), np.array(TIMES, dtype="M8[us]")),
    "polars Duration": (pl.Series(DURATIONS.astype("m8[us]")), DURATIONS.astype("m8[us]")),
    "polars Time": (pl.Series([time(1), time(2), time(3)]), objects([time(1), time(2), time(3)])),
    "Arrow bool": (pa.array(BOOLS), BOOLS),
    "Arrow int": (pa.array(INTS), INTS),
    "Arrow string": (pa.array(WORDS), objects(WORDS)),
    "Arrow dictionary": (pa.array(WORDS).dictionary_encode(), objects(WORDS)),
    "Arrow date32": (pa.array(DAYS), DATES),
    "Arrow date64": (pa.array(DAYS, pa.date64()), DATES.astype("M8[ms]")),
    "Arrow timestamp": (pa.chunked_array([pa.array(DATES.astype("M8[s]"))]), DATES.astype("M8[s]")),
    "Arrow duration": (pa.array(DURATIONS.astype("m8[s]")), DURATIONS.astype("m8[s]")),
}
if hasattr(getattr(np, "dtypes", None), "StringDType"):
    KINDS["numpy StringDType"] = (np.array(WORDS, dtype=np.dtypes.StringDType()), objects(WORDS))


def taken(labels, rows):
    """Some of the rows of labels, in the container that they are in."""
    if isinstance(labels, list):
        return [labels[row] for row in rows]
    if isinstance(labels, pd.Series):
        return labels.iloc[rows].reset_index(drop=True)
    return labels.take(pa.array(rows)) if hasattr(labels, "to_pylist") else labels[rows]


def case(kind):
    """Labels of the rows of X, one label of each class as its library gives it, the classes, and the codes."""
    labels, classes = KINDS[kind]
    codes = CODES[len(classes)]
    for conversion in ("to_pylist", "to_list"):
        if hasattr(labels, conversion):
            return taken(labels, codes), getattr(labels, conversion)(), classes, codes
    return taken(labels, codes), list(labels), classes, codes


def new(**settings):
    return NaturalGradientLogisticRegression(**settings)


@cache
def fitted_to_codes(n_classes):
    """The fit that those to labels must agree with, its inference against each class, and a stream of two batches."""
    codes = CODES[n_classes]
    model, stream = new().fit(X, codes), new()
    for half in HALVES:
        stream.partial_fit(X[half], codes[half], classes=range(n_classes))
    errors = [infer(model, X, codes, reference=code).standard_errors for code in range(n_classes)]
    return model, errors, stream


def assert_labels_of(model, classes):
    """Assert that the classes are those, with their type, that predictions are, and that the coefficients are right."""
    # pandas 2 gives numpy its nullable integers as objects, which lose their size
    assert model.classes_.dtype.kind.replace("u", "i") == classes.dtype.kind
    if classes.dtype.kind in "mMb":
        assert model.classes_.dtype == classes.dtype
    assert model.classes_.tolist() == classes.tolist()
    assert list(map(type, model.classes_.tolist())) == list(map(type, classes.tolist()))
    plain = fitted_to_codes(len(classes))[0]
    predicted = model.predict(X)
    assert predicted.dtype == model.classes_.dtype
    np.testing.assert_array_equal(predicted, classes[plain.predict(X)])
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-6, atol=1e-9)


every_kind = pytest.mark.parametrize("kind", list(KINDS))


@every_kind
def test_fits_and_predictions_have_the_labels_that_were_given(kind):
    y, _, classes, codes = case(kind)
    plain = fitted_to_codes(len(classes))[0]
    model = new().fit(X, y)
    assert_labels_of(model, classes)
    assert model.score(X, y) == plain.score(X, codes)
    assert model.score(X, y, codes + 1.0) == pytest.approx(plain.score(X, codes, codes + 1.0))
    assert_labels_of(pickle.loads(pickle.dumps(model)), classes)  # noqa: S301 - our own
    # a second fit starts at the coefficients of the same labels
    assert model.set_params(warm_start=True).fit(X, y).n_iter_[0] == 1


@every_kind
def test_batches_and_streams(kind):
    y, given, classes, codes = case(kind)
    batches = [(X[half], taken(y, list(range(48))[half])) for half in HALVES]
    assert_labels_of(new().fit_batches(batches), classes)
    assert_labels_of(new().fit_batches(batches, classes=given[::-1]), classes)
    one_class = X[:3], taken(y, np.flatnonzero(codes == 0)[:3].tolist())
    with pytest.raises(ValueError, match=r"^classes holds .*, which no row has; omit it"):
        new().fit_batches([one_class], classes=given)
    stream, expected = new(), fitted_to_codes(len(classes))[2]
    shards = [new().partial_fit(*batch, classes=given) for batch in batches]
    for batch in batches:
        # the labels as the library gives them, and those in y
        stream.partial_fit(*batch, classes=given if batch is batches[0] else classes)
    np.testing.assert_allclose(stream.coef_, expected.coef_, rtol=1e-9)
    assert stream.classes_.dtype == shards[0].classes_.dtype
    assert label_keys(stream.predict(X)) == label_keys(classes[expected.predict(X)])
    merged = merge(shards, X, y)
    assert label_keys(merged.classes_) == label_keys(classes)
    assert kl_divergence(merged, new().fit(X, y), X) < 1.0


# what Dask itself has: tables of pandas, and arrays of numpy; other containers are in memory, beside X in chunks
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(("pandas Arrow", "Arrow", "list"))])
@pytest.mark.usefixtures("dask_objects")
def test_dask(kind):
    y, _, classes, codes = case(kind)
    chunks = da.from_array(X, chunks=(24, -1))
    if isinstance(y, pd.Series):
        lazy = dd.from_pandas(y, npartitions=2)
    else:
        lazy = da.from_array(y, chunks=24) if isinstance(y, np.ndarray) and y.dtype.kind != "T" else y
    model = DaskNaturalGradientLogisticRegression().fit(chunks, lazy)
    assert_labels_of(model, classes)
    np.testing.assert_array_equal(model.predict(chunks).compute(), model.predict(X))
    assert model.score(chunks, lazy) == new().fit(X, codes).score(X, codes)


@every_kind
def test_labels_as_arguments(kind):
    y, given, classes, codes = case(kind)
    plain, errors, _ = fitted_to_codes(len(classes))
    weights = np.array([3.0, 0.5, 1.0])[: len(classes)]
    model = new(class_weight=dict(zip(given, weights, strict=True))).fit(X, y)
    np.testing.assert_allclose(model.coef_, new().fit(X, codes, weights[codes]).coef_, rtol=1e-7)
    model = new().fit(X, y)
    for code, label in enumerate(given):
        result = infer(model, X, y, reference=label)
        np.testing.assert_allclose(result.standard_errors, errors[code], rtol=1e-7)
        assert label_key(result.reference) == label_key(classes[code])
        assert list(result.classes) == [each for k, each in enumerate(label_list(classes)) if k != code]
        assert class_indices(label, model.classes_) == [code]
    np.testing.assert_allclose(
        fisher_information(model, X, y, kind="empirical"),
        fisher_information(plain, X, codes, kind="empirical"),
        rtol=1e-7,
    )


@pytest.mark.parametrize("kind", ["pandas boolean", "pandas datetime64", "pandas with a zone"])
def test_dask_tables_and_inference(kind):
    y, given, classes, codes = case(kind)
    lazy_X = dd.from_pandas(pd.DataFrame(X, columns=["a", "b"]), npartitions=2)
    lazy_y = dd.from_pandas(y.to_frame("label"), npartitions=2)
    model = DaskNaturalGradientLogisticRegression().fit(lazy_X, lazy_y)
    np.testing.assert_array_equal(model.classes_, classes)
    assert model.score(lazy_X, lazy_y) == fitted_to_codes(len(classes))[0].score(X, codes)
    result = infer_dask(model, lazy_X, lazy_y, reference=given[1])
    np.testing.assert_allclose(result.standard_errors, fitted_to_codes(len(classes))[1][1], rtol=1e-6)
    assert result.reference == classes[1]


def of_dates(unit):
    return DATES.astype(f"M8[{unit}]")[CODES[3]]


@pytest.mark.parametrize("units", [("D", "ns"), ("ns", "D"), ("Y", "us"), ("s", "M")])
def test_units_may_differ_between_batches_and_calls(units, small_capacity):
    first, second = map(of_dates, units)
    batches = [(X[HALVES[0]], first[HALVES[0]]), (X[HALVES[1]], second[HALVES[1]])]
    model = new().fit_batches(batches)
    np.testing.assert_allclose(model.coef_, fitted_to_codes(3)[0].coef_, rtol=1e-6)
    assert model.classes_.dtype == np.result_type(first, second)
    chunks = [da.from_array(part, chunks=24) for part in (first[:24], second[24:])]
    blocks = da.concatenate(chunks)
    lazy = DaskNaturalGradientLogisticRegression().fit(da.from_array(X, chunks=(24, -1)), blocks)
    np.testing.assert_array_equal(lazy.classes_, model.classes_)
    # the labels of a stream are those of its first call
    stream = new().partial_fit(*batches[0], classes=first[:3]).partial_fit(*batches[1], classes=list(second[:3]))
    assert stream.classes_.dtype == first.dtype
    warm = new(warm_start=True).fit(X, first)
    assert warm.fit(X, second).n_iter_[0] == 1
    assert new().fit(X, first).score(X, second) == new().fit(X, first).score(X, first)
    assert kl_divergence(new().fit(X, first), new().fit(X, second), X) == 0.0
    merge([new(store_covariance=True).fit(X, first), new(store_covariance=True).fit(X, second)])
    prior = new(store_covariance=True).fit(X, first)
    assert np.isfinite(new(prior=prior).fit(X, second).coef_).all()


def test_times_with_a_zone_keep_it_and_are_compared_in_utc():
    y = ZONED.iloc[CODES[3]]
    model = new().fit(X, y)
    assert {str(label.tz) for label in model.predict(X)} == {"Europe/Paris"}
    for label in (ZONED[1], ZONED[1].tz_convert("UTC"), ZONED[1].to_pydatetime(), ZONED[1].to_datetime64()):
        assert class_indices(label, model.classes_) == [1]
    with pytest.raises(ValueError, match="is not among the classes"):
        class_indices(STAMPS[1], model.classes_)


def test_names_of_dates_in_text():
    y = of_dates("ns")
    assert "Log-odds of 2020-01-01 against 2019-01-01:" in str(infer(new().fit(X, y), X, y).summary())
    result = infer(new().fit(X, y), X, y, reference=DAYS[1])
    assert "Log-odds of 2021-01-01 against 2020-01-01:" in str(result.summary())
    assert "Log-odds of 2021-01-01 against 2020-01-01" in result.summary()._repr_html_()
    frame = result.to_frame()
    assert frame.index.get_level_values("class").unique().tolist() == [STAMPS[0], STAMPS[2]]
    assert result.marginal_effects().classes == tuple(DATES.astype("M8[ns]"))
    y = ZONED.iloc[CODES[3]]
    assert "Log-odds of 2020-01-01 00:00:00+01:00 against" in str(infer(new().fit(X, y), X, y).summary())
    y = DURATIONS[CODES[3]]
    assert "Log-odds of 70 days against 7 days:" in str(infer(new().fit(X, y), X, y).summary())
    separated = new(C=np.inf, max_iter=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        separated.fit(np.arange(48.0)[:, None], np.sort(of_dates("ns")))
    with pytest.warns(UserWarning, match="for 2021-01-01.* for 2019-01-01.*, so that the likelihood has no maximum"):
        infer(separated, np.arange(48.0)[:, None], np.sort(of_dates("ns")))


@pytest.mark.usefixtures("closed_figures")
def test_displays_name_dates():
    y = of_dates("ns")
    model = new(store_covariance=True).fit(X, y)
    display = CoefficientDisplay.from_result(infer(model, X, y))
    assert legend_labels(display.legend_) == ["2020-01-01", "2021-01-01"]
    display = ProbabilityIntervalDisplay.from_estimator(model, X, feature=0)
    assert legend_labels(display.legend_) == ["2019-01-01", "2020-01-01", "2021-01-01"]
    display = ProbabilityIntervalDisplay.from_estimator(model, X, feature=0, class_of_interest=DAYS[2])
    assert "probability of class 2021-01-01" in display.ax_.get_ylabel()
    display = FisherEllipseDisplay.from_estimator(model, X, features=[0, 1], class_of_interest=STAMPS[1])
    assert "for class 2020-01-01" in display.ax_.get_xlabel()


@needs_callbacks
def test_early_stopping_finds_labels_of_another_unit():
    stopping = EarlyStopping(X, pd.DataFrame({"y": of_dates("D")}))
    new().set_callbacks(stopping).fit(X, of_dates("ns"))
    assert len(stopping.scores_) > 0
    unseen = EarlyStopping(X, of_dates("D") + 1)
    with pytest.raises(ValueError, match=r"y of EarlyStopping holds .*2019-01-02.*, which no row of the fit has"):
        new().set_callbacks(unseen).fit(X, of_dates("ns"))


MIXED = {
    "a string and a number": (["a", 1] * 24, "'a' and 1"),
    "objects": (objects([1, "a"] * 24), "1 and 'a'"),
    "a date and a string": (objects([DAYS[0], "a"] * 24), "2019-01-01 and 'a'"),
    "a date and a time": (objects([DAYS[0], TIMES[0]] * 24), "2019-01-01 and 2019-01-01 12:00:00"),
    "with and without a zone": ([STAMPS[0], ZONED[0]] * 24, "2019-01-01 00:00:00 and 2019-01-01 00:00:00.01:00"),
    "days and months": ([pd.Period("2019-01-01", "D"), pd.Period("2019-01", "M")] * 24, "2019-01-01 and 2019-01"),
    "a date and a duration": (objects([DAYS[0], timedelta(1)] * 24), "2019-01-01 and 1 day"),
}


@pytest.mark.parametrize("mixed", list(MIXED))
def test_labels_of_two_kinds_are_refused(mixed):
    y, pair = MIXED[mixed]
    said = rf"^y holds labels of different kinds, such as {pair}; they must be of one kind\.$"
    with pytest.raises(ValueError, match=said):
        new().fit(X, y)
    one, other = [y[0]] * 24, [y[1]] * 24
    with pytest.raises(ValueError, match=f"^batch 1: {said[1:]}"):
        new().fit_batches([(X[:24], one), (X[24:], other)])
    with pytest.raises(ValueError, match=r"^classes=.* must be a 1-dimensional list of labels that sort"):
        new().partial_fit(X, one * 2, classes=[y[0], y[1]])


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.array([0.5, 1.5] * 24, dtype=object), "Unknown label type: continuous"),
        (objects([Decimal("0.5"), Decimal("1.5")] * 24), "Unknown label type: continuous"),
        ([[1, 2], [3]] * 24, "y is ragged"),
        (np.array([["a", "b"]] * 48), "y should be a 1d array|1d array"),
    ],
    ids=["fractions", "Decimal", "ragged", "two columns"],
)
def test_what_is_no_label(y, said):
    with pytest.raises(ValueError, match=said):
        new().fit(X, y)


def test_score_refuses_other_kinds_and_counts_unseen_labels_as_errors():
    y = of_dates("D")
    model = new().fit(X, y)
    with pytest.raises(ValueError, match="labels of different kinds, such as 2019-01-01 and 'a'"):
        model.score(X, ["a", "b"] * 24)
    with pytest.raises(ValueError, match=r"y has shape \(47,\); it must hold one label per row of X, \(48,\)"):
        model.score(X, y[1:])
    assert model.score(X, y + 1) == 0.0
    assert model.score(X, objects(y.tolist())) == model.score(X, y)
    assert model.score(X, y, 2.0) == model.score(X, y)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("kind", ["numpy bool", "numpy M8[ns]"])
def test_labels_in_a_table_of_one_column(table, kind):
    labels, classes = KINDS[kind]
    codes = CODES[len(classes)]
    column = labels[codes]
    y = table({"label": column})
    plain, errors, _ = fitted_to_codes(len(classes))
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        model = new().fit(X, y)
    assert_labels_of(model, classes)
    np.testing.assert_allclose(infer(model, X, y).standard_errors, errors[0], rtol=1e-7)
    assert model.score(X, y) == plain.score(X, codes)
    np.testing.assert_allclose(
        fisher_information(model, X, y, kind="empirical"),
        fisher_information(plain, X, codes, kind="empirical"),
        rtol=1e-7,
    )
    merge([new(store_covariance=True).fit(X, column)], X, y)
