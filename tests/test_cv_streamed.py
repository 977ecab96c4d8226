"""Cross-validation of batches and Dask collections: the models and scores of the class in memory in the same folds."""

import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
from problems import assert_same_bits, counting, dask_frame, in_batches, in_chunks, standard_rows, unchanged
from scipy import sparse
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit, StratifiedKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from sknatgrad import NaturalGradientLogisticRegression, NaturalGradientLogisticRegressionCV, SeparationWarning
from sknatgrad._estimator import cv_fits
from sknatgrad._estimator.cv_folds import Folds
from sknatgrad._rows.batches import BatchSource
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.source import LabelledRows
from sknatgrad._rows.threads import Workers
from sknatgrad._rows.training_sets import GroupedSets, HashedNumbers, TrainingSetSource, splitmix64
from sknatgrad._solver import path
from sknatgrad.dask import DaskNaturalGradientLogisticRegressionCV
from sknatgrad.inference import infer

CS = [1e-2, 1.0, 100.0]
# errors of the loss of 1e-20 of it, which is the least that fits allow for
TIGHT = 1e-17
WEIGHT = np.random.default_rng(2).exponential(size=1_500)
WEIGHT[::5] = 0.0


@pytest.fixture(autouse=True)
def _read_again(monkeypatch):
    """Store so few rows that batches are read again in every pass, and divide them into several blocks."""
    limits = NaturalGradientLogisticRegressionCV._limits._replace(
        sample_bytes=2**14, sent_sample_bytes=2**14, block_bytes=2**14
    )
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", limits)


@pytest.fixture
def in_turn(monkeypatch):
    """A list that grows with each fit that is made in turn."""
    fits, fit = [], cv_fits._fit_one
    monkeypatch.setattr(cv_fits, "_fit_one", lambda *arguments: fits.append(1) or fit(*arguments))
    return fits


def rows(n_classes=2, n_rows=1_500, seed=0):
    return standard_rows(n_classes, n_rows, seed=seed)


def folds(n_rows, cv=None):
    return [tuple(split) for split in Folds.of(cv).splits(n_rows)]


def in_memory(X, y, weight=None, *, cv=None, **settings):
    """The class in memory, in the folds of the rows."""
    cv = folds(len(y), cv)
    return NaturalGradientLogisticRegressionCV(cv=cv, **settings).fit(X, y, weight)


def of_batches(X, y, weight=None, *, size=400, **settings):
    return NaturalGradientLogisticRegressionCV(**settings).fit_batches(in_batches(X, y, weight, size))


def of_chunks(X, y, weight=None, *, size=400, **settings):
    chunks = in_chunks(X, y, rows=size) if weight is None else in_chunks(X, y, weight, rows=size)
    return DaskNaturalGradientLogisticRegressionCV(**settings).fit(*chunks)


STREAMED = {"batches": of_batches, "dask": of_chunks}


def assert_same_search(model, expected, within=1e-8):
    """Compare each model to a share of its largest coefficient, scores and the choice."""
    assert model.scores_.shape == model.n_iter_.shape == expected.scores_.shape
    for theta, known in zip(model.coefs_paths_, expected.coefs_paths_, strict=True):
        for mine, other in zip(theta[0], known[0], strict=True):
            assert abs(mine - other).max() <= within * abs(other).max()
    np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-7, atol=1e-12)
    assert model.C_ == expected.C_
    assert abs(model.coef_ - expected.coef_).max() <= within * abs(expected.coef_).max()
    assert abs(model.intercept_ - expected.intercept_).max() <= within * max(abs(expected.coef_).max(), 1.0)
    np.testing.assert_array_equal(model.classes_, expected.classes_)


def test_the_hash_has_the_published_numbers():
    # the first numbers of SplitMix64 with the seed 0, as printed by Java's SplittableRandom
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert splitmix64(np.arange(3)).tolist() == expected
    assert HashedNumbers(5).of(np.arange(3)).tolist() == [number * 5 >> 64 for number in expected]


def test_folds_are_as_large_as_chance_makes_them_in_sorted_and_periodic_data():
    for n_folds in (2, 5, 7):
        numbers = HashedNumbers(n_folds).of(np.arange(100_000))
        for part in (slice(None), slice(0, 50_000), slice(0, None, n_folds), slice(1, None, 64)):
            counts = np.bincount(numbers[part], minlength=n_folds)
            expected = counts.sum() / n_folds
            assert (abs(counts - expected) < 4.5 * np.sqrt(expected)).all()


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        *((where, kind) for where in STREAMED for kind in ("dense", "sparse")),
        ("batches", "float32"),
        ("batches", "Fortran order"),
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_models_are_those_in_memory(n_classes, kind, where, in_turn):
    X, y = rows(n_classes)
    if kind == "sparse":
        X = sparse.csr_array(np.where(np.random.default_rng(1).random(X.shape) < 0.5, X, 0.0))
    X = {"float32": lambda: X.astype(np.float32), "Fortran order": lambda: np.asfortranarray(X)}.get(kind, lambda: X)()
    expected = in_memory(X, y, Cs=CS, tol=TIGHT)
    if kind == "sparse" and where == "dask":
        blocks = in_chunks(X.toarray(), rows=400)[0].map_blocks(sparse.csr_array, dtype=float)
        model = DaskNaturalGradientLogisticRegressionCV(Cs=CS, tol=TIGHT).fit(blocks, *in_chunks(y, rows=400))
    else:
        model = STREAMED[where](X, y, Cs=CS, tol=TIGHT)
    assert not in_turn
    assert_same_search(model, expected, 1e-6 if kind == "float32" else 1e-8)
    assert model.coef_.dtype == expected.coef_.dtype


OPTIONS = {
    "no intercept": {"fit_intercept": False},
    "balanced": {"class_weight": "balanced"},
    "class weights": {"class_weight": {0: 2.0}},
    "a class that does not count": {"class_weight": {1: 0.0}, "fit_intercept": False},
    "accuracy": {"scoring": "accuracy"},
    "one standard error": {"refit": "1se"},
    "no refit": {"refit": False},
    "three folds": {"cv": 3},
}


@pytest.mark.parametrize("where", STREAMED)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_hold(name, where):
    X, y = rows(3)
    settings = {"Cs": [1e-3, 1.0], "tol": TIGHT, **OPTIONS[name]}
    model = STREAMED[where](X, y, WEIGHT, **settings)
    assert_same_search(model, in_memory(X, y, WEIGHT, **settings))
    assert model.n_passes_ > 1


@pytest.mark.parametrize("where", STREAMED)
def test_folds_do_not_depend_on_the_parts(where, monkeypatch):
    X, y = rows()
    expected = in_memory(X, y, WEIGHT, Cs=CS, tol=TIGHT)
    for size in (7 * 13, 1_499, 10_000):
        assert_same_search(STREAMED[where](X, y, WEIGHT, size=size, Cs=CS, tol=TIGHT), expected)
    enough = NaturalGradientLogisticRegressionCV._limits._replace(sample_bytes=2**28, sent_sample_bytes=2**28)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", enough)
    whole = STREAMED[where](X, y, WEIGHT, Cs=CS, tol=TIGHT)
    assert_same_search(whole, expected)
    assert where == "dask" or whole.n_passes_ == 1
    by_evidence = STREAMED[where](X, y, WEIGHT, Cs=CS, scoring="evidence", tol=TIGHT)
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, scoring="evidence", tol=TIGHT).fit(X, y, WEIGHT)
    assert_same_search(by_evidence, expected)


def test_the_sample_of_a_training_set_has_rows_of_it_alone():
    X, codes = rows(3)
    X[:, 0] = np.arange(len(codes))
    groups = Folds.of(3).groups
    sets = GroupedSets(groups._replace(counts=groups.counts[[1]]), np.array([[1.0, 2.0, 0.5]]))
    weight = sets.weights_of(np.arange(len(codes)), codes, WEIGHT)[0]
    totals = np.bincount(codes, weight)
    whole = MemorySource(X, codes, WEIGHT, indices=np.arange(len(codes)))
    batches = BatchSource(lambda: iter([LabelledRows(X, codes, WEIGHT)]), whole, 3, Workers())
    source = TrainingSetSource(batches, sets, totals)
    for n_rows in (300, len(codes)):
        sample = source.sample(n_rows)
        drawn = sample.X[:, 0].astype(int)
        assert (weight[drawn] > 0.0).all()
        np.testing.assert_array_equal(sample.indices, drawn)
        np.testing.assert_allclose(np.bincount(sample.codes, sample.weight), totals)
    assert source.as_float32() is source
    assert source.out_of_core


@pytest.mark.parametrize("where", STREAMED)
def test_folds_may_be_given(where, monkeypatch):
    X, y = rows(3)
    groups = np.random.default_rng(0).integers(20, size=len(y))
    # by group; the rows of the last groups are never tested, and the numbers have gaps
    given = np.where(groups < 18, groups % 3 * 100, -1)
    for weighting in (None, "balanced"):
        settings = {"Cs": CS, "cv": PredefinedSplit(given), "tol": TIGHT, "class_weight": weighting}
        expected = NaturalGradientLogisticRegressionCV(**settings).fit(X, y, WEIGHT)
        assert_same_search(STREAMED[where](X, y, WEIGHT, **settings), expected)
    enough = NaturalGradientLogisticRegressionCV._limits._replace(sample_bytes=2**28)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", enough)
    assert_same_search(STREAMED[where](X, y, WEIGHT, **settings), expected)


@pytest.mark.parametrize("where", STREAMED)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_evidence_needs_no_folds(n_classes, where, monkeypatch):
    X, y = rows(n_classes)
    settings = {"Cs": CS, "scoring": "evidence", "tol": TIGHT}
    expected = NaturalGradientLogisticRegressionCV(**settings).fit(X, y, WEIGHT)
    assert_same_search(STREAMED[where](X, y, WEIGHT, **settings), expected)
    # one matrix at a time
    limits = NaturalGradientLogisticRegressionCV._limits._replace(matrix_bytes=8 * (5 * len(expected.coef_)) ** 2)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", limits)
    assert_same_search(STREAMED[where](X, y, WEIGHT, **settings), expected)


@pytest.mark.parametrize("where", STREAMED)
@pytest.mark.parametrize(
    "settings",
    [{"fisher": "diagonal"}, {"prior": (0.1, np.full(4, 2.0))}, {"max_iter": 49}, {"class_weight": "balanced"}],
    ids=lambda settings: next(iter(settings)),
)
def test_models_that_cannot_be_fitted_together_are_fitted_in_turn(settings, where, in_turn, monkeypatch):
    X, y = rows(3)
    settings = {"Cs": [0.1, 10.0], "cv": 2, "tol": TIGHT, **settings}
    expected = in_memory(X, y, WEIGHT, **settings)
    if "class_weight" in settings:
        # matrices are too large
        limits = NaturalGradientLogisticRegressionCV._limits._replace(matrix_bytes=1_000)
        monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", limits)
    in_turn.clear()
    model = STREAMED[where](X, y, WEIGHT, **settings)
    assert len(in_turn) == 4
    assert_same_search(model, expected, 1e-7 if "fisher" in settings else 1e-8)


def test_points_of_all_rows_that_fail_leave_their_models_to_single_fits(monkeypatch, in_turn):
    X, y = rows()
    expected = in_memory(X, y, Cs=CS, tol=TIGHT)
    monkeypatch.setattr(path, "NEAR_SHARE_AT_ONCE", 0.0)
    monkeypatch.setattr(path, "MAX_STEPS", 0)
    model = of_batches(X, y, Cs=CS, tol=TIGHT)
    assert len(in_turn) == 15
    assert_same_search(model, expected)


def test_a_start_where_no_step_lowers_the_loss_is_replaced_by_zero(monkeypatch):
    X, y = rows()
    expected = in_memory(X, y, Cs=CS, tol=TIGHT)
    monkeypatch.setattr(path, "NEAR_SHARE_AT_ONCE", 1e-12)
    refused, is_lower = [], path._is_lower

    def half_of_them(point, end, length):
        refused.append(length == 1.0)
        return not refused[-1] and is_lower(point, end, length)

    monkeypatch.setattr(path, "_is_lower", half_of_them)
    assert_same_search(of_batches(X, y, Cs=CS, tol=TIGHT), expected)
    assert any(refused)


@pytest.mark.parametrize("where", STREAMED)
def test_without_a_sample_the_path_begins_at_zero(where, monkeypatch, in_turn):
    X, y = rows()
    expected = in_memory(X, y, Cs=CS, tol=TIGHT)
    limits = NaturalGradientLogisticRegressionCV._limits._replace(sample_bytes=2**11, sent_sample_bytes=2**11)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", limits)
    assert_same_search(STREAMED[where](X, y, Cs=CS, tol=TIGHT), expected)
    assert not in_turn


def test_points_of_all_rows_take_newton_steps_together(monkeypatch):
    X, y = rows(3)
    read, begun = counting(in_batches(X, y))
    monkeypatch.setattr(path, "NEAR_SHARE_AT_ONCE", 1e-12)
    model = NaturalGradientLogisticRegressionCV(Cs=CS, tol=TIGHT).fit_batches(read)
    assert_same_search(model, in_memory(X, y, Cs=CS, tol=TIGHT))
    assert model.n_passes_ == len(begun) < 30


def test_passes_serve_as_many_penalties_as_matrices_fit_into_memory(monkeypatch):
    X, y = rows()
    expected = in_memory(X, y, Cs=CS, tol=TIGHT)
    limits = NaturalGradientLogisticRegressionCV._limits._replace(matrix_bytes=3 * 8 * 5**2 * 6)
    monkeypatch.setattr(NaturalGradientLogisticRegressionCV, "_limits", limits)
    assert_same_search(of_batches(X, y, Cs=CS, tol=TIGHT), expected)


def test_fifty_models_take_few_passes():
    X, y = rows(n_rows=8_000)
    read, begun = counting(in_batches(X, y, size=1_000))
    model = NaturalGradientLogisticRegressionCV().fit_batches(read)
    assert model.n_passes_ == len(begun) <= 15
    lazy = of_chunks(X, y, size=1_000)
    assert lazy.n_passes_ <= 15
    seen = []
    chunks = in_chunks(X, rows=1_000)[0].map_blocks(lambda block: seen.append(len(block)) or block, dtype=float)
    without_refit = DaskNaturalGradientLogisticRegressionCV(refit=False).fit(chunks, *in_chunks(y, rows=1_000))
    # a sample is drawn from the chunks, too
    assert sum(seen) == (without_refit.n_passes_ + 1) * len(y)


@pytest.mark.parametrize("where", STREAMED)
def test_without_a_penalty(where):
    X, y = rows()
    settings = {"Cs": [1.0, np.inf], "cv": 2, "tol": TIGHT}
    assert_same_search(STREAMED[where](X, y, **settings), in_memory(X, y, **settings))


@pytest.mark.parametrize("where", STREAMED)
def test_training_rows_that_are_separable_warn_as_in_memory(where):
    """A column is not 0 in rows of one class alone, but for those of the first fold."""
    X, y = rows()
    first = HashedNumbers(2).of(np.arange(len(y))) == 0
    X[:, 1] = np.random.default_rng(0).integers(2, size=len(y)) * np.where(first, 1, y)
    with pytest.warns(SeparationWarning) as expected:
        in_memory(X, y, Cs=[1.0, np.inf], cv=2)
    with pytest.warns(SeparationWarning) as found:
        STREAMED[where](X, y, Cs=[1.0, np.inf], cv=2)
    assert {str(each.message) for each in found} == {str(each.message) for each in expected}
    assert found[0].filename == __file__


@pytest.mark.parametrize("where", STREAMED)
def test_a_class_that_some_training_rows_lack(where):
    X, y = rows(3)
    # all rows of the last class are in one fold
    y = np.where(HashedNumbers(3).of(np.arange(len(y))) == 1, y, y % 2)
    settings = {"Cs": [0.1, 1.0], "cv": 3, "tol": TIGHT}
    with warnings.catch_warnings():
        # the intercept of the class that is missing has no optimum
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected, model = in_memory(X, y, **settings), STREAMED[where](X, y, **settings)
    np.testing.assert_allclose(model.coefs_paths_[[0, 2]], expected.coefs_paths_[[0, 2]], atol=1e-7)
    np.testing.assert_allclose(model.scores_[[0, 2]], expected.scores_[[0, 2]], rtol=1e-7)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-7)
    assert np.isfinite(model.coefs_paths_).all()
    # that class has a probability near 0, and the test rows have all of its rows
    assert (model.scores_[1] < -2.0).all()


def test_columns_far_from_zero_are_centred():
    X, y = rows(3)
    X += np.array([0.0, 2_000.0, -5e4, 0.0])
    for streamed, max_iter in ((of_batches, 100), (of_chunks, 100), (of_batches, 49)):
        settings = {"Cs": CS, "tol": TIGHT, "class_weight": {0: 2.0}, "max_iter": max_iter}
        model, expected = streamed(X, y, **settings), in_memory(X, y, **settings)
        np.testing.assert_allclose(model.coefs_paths_[..., :-1], expected.coefs_paths_[..., :-1], atol=1e-8)
        np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-7)
        np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-8)


def test_frames_names_labels_and_pickles():
    X, y = rows(3)
    table = dask_frame(X, y, WEIGHT)
    columns = [name for name in table.columns if name.startswith("column")]
    settings = {"Cs": CS, "cv": 3, "tol": TIGHT}
    model = DaskNaturalGradientLogisticRegressionCV(**settings).fit(table[columns], table["label"], table["weight"])
    held = table.compute()
    batches = [(part[columns], part["label"], part["weight"]) for part in (held[:900], held[900:900], held[900:])]
    other = NaturalGradientLogisticRegressionCV(**settings, store_covariance=True).fit_batches(batches)
    expected = in_memory(held[columns], held["label"], held["weight"], **settings)
    assert_same_search(model, expected)
    assert_same_search(other, expected)
    assert list(model.feature_names_in_) == list(other.feature_names_in_) == columns
    assert (pickle.loads(pickle.dumps(model)).coef_ == model.coef_).all()  # noqa: S301 - of this test
    assert other.covariance_.shape == (15, 15)
    result = infer(other, held[columns], held["label"], sample_weight=held["weight"])
    assert np.isfinite(result.standard_errors).all()


def test_predictions_and_scores_of_collections():
    X, y = rows(3)
    dX, dy, dw = in_chunks(X, y, WEIGHT, rows=700)
    model = DaskNaturalGradientLogisticRegressionCV(Cs=CS, cv=3).fit(dX, dy, dw)
    for method in ("predict", "predict_proba", "decision_function"):
        lazily = getattr(model, method)(dX)
        assert isinstance(lazily, da.Array)
        np.testing.assert_allclose(lazily.compute(), getattr(model, method)(X), rtol=1e-12)
    assert model.score(dX, dy, dw) == pytest.approx(model.score(X, y, WEIGHT), rel=1e-12)
    assert model.score(dX, dy) == pytest.approx(-log_loss(y, model.predict_proba(X)), rel=1e-12)
    assert model.set_params(scoring="accuracy").score(dX, dy) == pytest.approx((model.predict(X) == y).mean())
    assert model.set_params(scoring="evidence").score(dX, dy) == model.set_params(scoring=None).score(dX, dy)
    # one of rows in memory may be scored on collections too
    held = DaskNaturalGradientLogisticRegressionCV(Cs=CS, cv=StratifiedKFold(3)).fit(X, y)
    assert held.score(dX, dy) == pytest.approx(held.score(X, y), rel=1e-12)
    with pytest.raises(ValueError, match=r"scoring='roc_auc_ovr' needs all test rows at once; .* one of 'accuracy'"):
        held.set_params(scoring="roc_auc_ovr").score(dX, dy)
    with pytest.raises(ValueError, match="block 1: "):
        held.set_params(scoring=None).score(dX, da.from_array(np.where(np.arange(1_500) == 800, 7, y), chunks=700))


def test_scores_without_weights_with_metadata_routing():
    X, y = rows()
    with config_context(enable_metadata_routing=True):
        model = of_chunks(X, y, Cs=[1.0], cv=2, tol=TIGHT)
        with pytest.raises(TypeError, match="groups"):
            DaskNaturalGradientLogisticRegressionCV(cv=2).fit(*in_chunks(X, y), groups=y)
    plain = NaturalGradientLogisticRegression(tol=TIGHT)
    expected = cross_val_score(plain, X, y, cv=folds(len(y), 2), scoring="neg_log_loss")
    np.testing.assert_allclose(model.scores_[:, 0, 0], expected, rtol=1e-9)


def test_the_same_bits_for_any_number_of_threads_and_schedulers():
    X, y = rows(3)
    fits = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            fits.append(of_batches(X, y, WEIGHT, Cs=CS))
    assert_same_bits(*fits)
    assert (fits[0].coefs_paths_ == fits[1].coefs_paths_).all()
    import dask  # noqa: PLC0415 - the schedulers

    lazy = []
    for scheduler in ("threads", "synchronous"):
        with dask.config.set(scheduler=scheduler):
            lazy.append(of_chunks(X, y, WEIGHT, Cs=CS))
    assert (lazy[0].coefs_paths_ == lazy[1].coefs_paths_).all()
    assert (lazy[0].scores_ == lazy[1].scores_).all()
    assert (lazy[0].coef_ == lazy[1].coef_).all()


X_SMALL, Y_SMALL = rows(3)


@pytest.mark.parametrize("where", STREAMED)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cv": KFold(3)}, r"cv=KFold\(.* needs all rows at once; .* pass an integer of 2 or more, or PredefinedSplit"),
        ({"cv": GroupKFold(3)}, "cv=GroupKFold"),
        ({"cv": [(np.arange(10), np.arange(10))]}, r"cv=\[\(array"),
        ({"cv": PredefinedSplit(np.zeros(7))}, "has the folds of 7 rows, and there are 1,500 rows"),
        ({"cv": PredefinedSplit(np.full(1_500, -1))}, "has -1 for every row"),
        ({"cv": PredefinedSplit(np.zeros(1_500))}, "the training rows of fold 0 contain no row with a weight"),
        ({"cv": PredefinedSplit(Y_SMALL == 0)}, "the training rows of fold 0 contain only one class: 0"),
        ({"cv": 1_501}, "cv=1501 is more than the 1,500 rows"),
        ({"cv": 1_000}, r"fold \d+ of cv=1000 has no rows"),
        ({"cv": 1}, "'cv' parameter"),
        ({"scoring": "roc_auc"}, "scoring='roc_auc' needs all test rows at once"),
        ({"scoring": get_scorer("roc_auc")}, r"scoring=make_scorer\(roc_auc_score.* pass one of 'accuracy', 'evi"),
        ({"scoring": "evidence"}, "cv=3 has no use with scoring='evidence'"),
        ({"scoring": "evidence", "cv": None, "prior": (0.0, np.eye(15))}, "not implemented"),
        ({"Cs": []}, r"Cs=\[\] must be"),
        ({"class_weight": {0: 0.0, 1: 0.0}}, "leaves fewer than two classes"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_the_estimator_unchanged(settings, message, where):
    model = DaskNaturalGradientLogisticRegressionCV(Cs=[1.0], cv=3).fit(*in_chunks(X_SMALL, Y_SMALL, rows=1_000))
    before = vars(model).copy()
    model.set_params(**settings)
    data = in_chunks(X_SMALL, Y_SMALL, rows=1_000) if where == "dask" else [in_batches(X_SMALL, Y_SMALL)]
    with pytest.raises(ValueError, match=message):
        (model.fit if where == "dask" else model.fit_batches)(*data)
    for name in before.keys() - settings.keys():
        assert getattr(model, name) is before[name]


def test_bad_parameters_are_refused_before_batches_are_read():
    read, begun = counting(in_batches(X_SMALL, Y_SMALL))
    for settings in ({"cv": KFold(3)}, {"scoring": "roc_auc"}, {"Cs": []}, {"cv": 3, "scoring": "evidence"}):
        with pytest.raises(ValueError, match=r"; |must be"):
            NaturalGradientLogisticRegressionCV(**settings).fit_batches(read)
    assert not begun


def test_folds_that_fit_into_memory_are_checked_too():
    X, y = rows(n_rows=12)
    for cv, message in ((10, r"fold \d+ of cv=10 has no rows"), (13, "more than the 12 rows")):
        with pytest.raises(ValueError, match=message):
            NaturalGradientLogisticRegressionCV(cv=cv).fit_batches([(X, y)])


def test_batches_that_change_leave_the_estimator_unchanged():
    passes = []

    def read():
        passes.append(1)
        yield from in_batches(X_SMALL, Y_SMALL)[: 3 if len(passes) < 5 else 2]

    model = NaturalGradientLogisticRegressionCV(Cs=CS)
    with unchanged(model), pytest.raises(ValueError, match="batches gave 1,000 rows in pass 5 and 1,500 in the first"):
        model.fit_batches(read)
    with unchanged(model), pytest.raises(ValueError, match="block 2: Input X contains NaN at row 100"):
        DaskNaturalGradientLogisticRegressionCV().fit(
            *in_chunks(np.where(np.arange(1_500)[:, None] == 1_100, np.nan, X_SMALL), Y_SMALL, rows=500)
        )


@pytest.mark.parametrize("fit", [*STREAMED.values(), in_memory])
def test_values_that_overflow_are_named_for_any_penalty(fit):
    X = X_SMALL.copy()
    X[100, 1] = 1e200
    with pytest.raises(ValueError, match=r"X holds values so large, up to 1\.0e\+200, that sums of their squares"):
        fit(X, Y_SMALL, Cs=[1e-4, 1e4], cv=3)
    with pytest.raises(ValueError, match=r"X holds values so large, up to 1\.0e\+200"):
        NaturalGradientLogisticRegression(C=10.0).fit(X, Y_SMALL)


def test_in_memory_it_is_the_plain_class():
    X, y = rows(3)
    model = DaskNaturalGradientLogisticRegressionCV(Cs=CS, cv=3).fit(X, y, WEIGHT)
    expected = NaturalGradientLogisticRegressionCV(Cs=CS, cv=3).fit(X, y, WEIGHT)
    assert (model.coef_ == expected.coef_).all()
    assert model.score(X, y) == expected.score(X, y)


@parametrize_with_checks([DaskNaturalGradientLogisticRegressionCV(Cs=2, cv=3)])
def test_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", SkipTestWarning)
        check(estimator)


@pytest.mark.parametrize("where", STREAMED)
def test_the_search_for_c(where):
    X, y = rows()
    expected = in_memory(X, y, Cs="auto", refit="1se", tol=TIGHT)
    model = STREAMED[where](X, y, Cs="auto", refit="1se", tol=TIGHT)
    np.testing.assert_allclose(model.Cs_, expected.Cs_, rtol=1e-4)
    np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-6)
    np.testing.assert_allclose(model.score_standard_errors_, expected.score_standard_errors_, rtol=1e-6)
    # each C begins near the optimum of its neighbour, and the weights of the folds are summed once
    assert model.n_passes_ < 10 * model.Cs_.size


@pytest.mark.parametrize("where", STREAMED)
def test_rows_that_are_read_again_are_not_left_out(where):
    with pytest.raises(ValueError, match="cv='loo' needs all rows at once; with batches and Dask collections"):
        STREAMED[where](*rows(), cv="loo")
