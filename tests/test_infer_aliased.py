"""Columns that depend linearly on earlier ones, as R's glm treats them; figures of R by data/aliased/aliased.R."""

from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from problems import as_kinds, fit_problem, infer_problem, make_problem, quiet_fit
from sklearn.linear_model import LogisticRegression

import sknatgrad.dask
from sknatgrad import NaturalGradientLogisticRegression
from sknatgrad._rows.memory import MemorySource
from sknatgrad.exceptions import InferenceWarning
from sknatgrad.inference import infer
from sknatgrad.inference._diagnostics.collinearity import dependent_sets
from sknatgrad.inference._row_sums.aliased import LinearDependence, TriangularFactor
from sknatgrad.inference._row_sums.kernels import TriangularFactorKernel

DATA = Path(__file__).parent / "data" / "aliased"
WORDS = ["workclass", "education", "occupation"]
NOTICE = r"2 of 12 columns depend linearly .* set aside as aliased, as in R; .* those of the model without them: "
SETS = r"\{education_num, education_Bachelors, education_HS and 2 more\} \(1 too many: education_Masters\), "
SETS += r"\{workclass_Unknown, occupation_Unknown\} \(1 too many\)"


@pytest.fixture(scope="module")
def census():
    """Columns as R makes them, and the labels and weights of the rows."""
    table = pd.read_csv(DATA / "census.csv")
    words = pd.get_dummies(table[["age", "education_num", *WORDS]], columns=WORDS, drop_first=True, dtype=float)
    return words, table


@pytest.fixture(scope="module")
def figures():
    table = pd.read_csv(DATA / "aliased_r.csv")
    return {
        name: rows.pivot_table(index="row", columns="column", values="value", dropna=False).to_numpy()
        for name, rows in table.groupby("figure")
    }


def quiet_infer(model, *data, **settings):
    with pytest.warns(InferenceWarning, match=NOTICE + SETS):
        return infer(model, *data, **settings)


def intercept_first(values):
    return np.roll(values, 1, axis=-1)


def kept_covariance(result):
    """The covariance of the coefficients that are not aliased, by class, with the intercept first as in R."""
    n_contrasts, n_columns = result.params.shape
    order = intercept_first(np.arange(n_columns))
    places = (n_columns * np.arange(n_contrasts)[:, None] + order).ravel()
    covariance = result.covariance[np.ix_(places, places)]
    kept = ~np.isnan(covariance.diagonal())
    assert np.isnan(covariance[~kept]).all()
    return covariance[np.ix_(kept, kept)]


def assert_as_r(found, expected, rel=1e-8):
    np.testing.assert_allclose(found, expected, rtol=rel, atol=rel * np.nanmin(np.abs(expected)))


def assert_covariance_as_r(found, expected):
    std = np.sqrt(expected.diagonal())
    np.testing.assert_allclose(found / np.outer(std, std), expected / np.outer(std, std), atol=1e-8)


def fit(X, y, weight=None, **settings):
    return NaturalGradientLogisticRegression(C=np.inf, **settings).fit(X, y, sample_weight=weight)


def test_two_classes_have_the_figures_of_r(census, figures):
    X, table = census
    y = table["income"]
    result = quiet_infer(fit(X, y), X, y)
    assert_as_r(intercept_first(result.params)[0], figures["coef"][:, 0])
    assert_covariance_as_r(kept_covariance(result), figures["vcov"])
    loglik, aic, bic, residual_dof = figures["likelihood"][:, 0]
    assert_as_r([result.loglik, result.aic, result.bic], [loglik, aic, bic])
    assert result.n - result.effective_dof == residual_dof
    assert_covariance_as_r(
        kept_covariance(quiet_infer(fit(X, y), X, y, covariance="robust")),
        figures["HC0"],
    )
    weighted = quiet_infer(fit(X, y, table["weight"]), X, y, sample_weight=table["weight"])
    assert_as_r(intercept_first(weighted.params)[0], figures["weighted coef"][:, 0])
    assert_covariance_as_r(kept_covariance(weighted), figures["weighted vcov"])


def test_several_classes_have_the_figures_of_r_in_all_classes_at_once(census, figures):
    X, table = census
    y = table["class3"]
    result = quiet_infer(fit(X, y), X, y)
    params = intercept_first(result.params)
    assert_as_r(params[~np.isnan(params)], figures["multinomial coef"][:, 0])
    assert_covariance_as_r(kept_covariance(result), figures["multinomial vcov"])
    loglik, aic, residual_dof = figures["multinomial likelihood"][:, 0]
    assert_as_r([result.loglik, result.aic], [loglik, aic])
    assert f"residual deviance: {-2 * loglik:.5g} on {residual_dof:g}." in str(result.summary())
    # 240 rows, two logits, two intercepts
    assert "on 478 degrees of freedom" in str(result.summary())


def test_tests_have_the_figures_of_r(census, figures):
    X, table = census
    y = table["income"]
    larger = quiet_infer(fit(X, y), X, y)
    dropped = [name for name in X.columns if not name.startswith("education")]
    with pytest.warns(InferenceWarning, match=r"1 of 8 columns depends"):
        smaller = infer(fit(X[dropped], y), X[dropped], y)
    for test, figure in (
        (larger.lr_test(smaller), "LR"),
        (smaller.score_test(X[[name for name in X.columns if name.startswith("education")]]), "Rao"),
    ):
        statistic, dof = figures[figure][:, 0]
        assert test.dof == dof
        assert test.statistic == pytest.approx(statistic, rel=1e-8)


def test_every_figure_is_that_of_the_model_without_the_aliased_columns(census):
    X, table = census
    aliased = ["education_Masters", "occupation_Unknown"]
    kept = X.drop(columns=aliased)
    extra = np.random.default_rng(0).normal(size=(len(X), 2))
    groups = np.arange(len(X)) % 50
    for label in ("income", "class3"):
        y = table[label]
        for kind in ("fisher", "HC1", "cluster"):
            settings = {"covariance": kind, "groups": groups if kind == "cluster" else None}
            result, plain = quiet_infer(fit(X, y), X, y, **settings), infer(fit(kept, y), kept, y, **settings)
            places = [result.feature_names.index(name) for name in plain.feature_names]
            assert_as_r(result.params[:, places], plain.params, 1e-7)
            assert_as_r(result.standard_errors[:, places], plain.standard_errors)
            assert_as_r(result.conf_int()[:, places], plain.conf_int(), 1e-7)
            names = ["age", "education_num", "workclass_Unknown"]
            assert result.wald_test(names) == pytest.approx(plain.wald_test(names), rel=1e-7)
            assert result.score_test(extra) == pytest.approx(plain.score_test(extra), rel=1e-7)
            effects, expected = result.marginal_effects(), plain.marginal_effects()
            assert_as_r(effects.effects[:, places[:-1]], expected.effects, 1e-7)
            assert_as_r(effects.standard_errors[:, places[:-1]], expected.standard_errors, 1e-7)
            assert np.isnan(effects.effects[:, [X.columns.get_loc(name) for name in aliased]]).all()
            assert np.isnan(effects.standard_errors[:, [X.columns.get_loc(name) for name in aliased]]).all()
        for every in (False, True) if label == "income" else (False,):
            found, expected = (each.information_matrix_test(every=every) for each in (result, plain))
            assert found.dof == expected.dof
            assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)
        with pytest.raises(ValueError, match=r"constraint involves occupation_Unknown, .* whose columns are aliased"):
            result.wald_test("occupation_Unknown")


def test_predictions_of_the_folded_coefficients_are_those_of_the_fit(census):
    X, table = census
    for label in ("income", "class3"):
        model = fit(X, table[label])
        result = quiet_infer(model, X, table[label])
        folded = np.nan_to_num(result.fitted.theta)
        theta = np.column_stack([model.coef_, model.intercept_])
        design = np.column_stack([X, np.ones(len(X))])
        np.testing.assert_allclose(design @ folded.T, design @ theta.T, atol=1e-12 * np.abs(design @ theta.T).max())


def test_combinations_are_those_of_r_and_are_shown(census, figures):
    X, table = census
    result = quiet_infer(fit(X, table["income"]), X, table["income"])
    names = ["(Intercept)", *(name for name in X.columns if name not in {"education_Masters", "occupation_Unknown"})]
    for column, expected in zip(result.aliased, figures["alias"], strict=True):
        found = [column.combination.get(name, 0.0) for name in names]
        np.testing.assert_allclose(found, expected, atol=1e-13)
    assert [column.name for column in result.aliased] == ["education_Masters", "occupation_Unknown"]
    text, html = str(result.summary()), result.summary()._repr_html_()
    equations = (
        "Aliased: education_Masters = 0.125 education_num - 0.875 education_Bachelors - 0.375 education_HS - 0.75 "
        "(Intercept); occupation_Unknown = workclass_Unknown."
    )
    for part in (equations, "Warning: 2 of 12 columns depend linearly", "education_Masters"):
        assert part in " ".join(text.split())
        assert part in html
    assert ["occupation_Unknown", "aliased"] in [line.split() for line in text.splitlines()]
    frame = result.to_frame()
    aliased = frame["estimate"].isna()
    assert frame.index[aliased].get_level_values("feature").tolist() == list(frame.attrs["aliased"])
    assert frame.attrs["aliased"] == dict(result.aliased)
    assert frame[aliased].isna().all(axis=None)
    assert frame.attrs["warnings"] == list(result.warnings)
    assert len(result.warnings) == 1


def test_every_storage_and_source_has_the_same_figures(census, tmp_path):
    X, table = census
    y, values = table["class3"].to_numpy(), X.to_numpy()
    model = fit(values, y)
    with pytest.warns(InferenceWarning, match="2 of 12 columns"):
        expected = infer(model, values, y)
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="w+", shape=values.shape)
    mapped[:] = values
    mapped.flush()
    kinds = as_kinds(values) | {"float32": values.astype(np.float32), "memory map": mapped}
    for name, stored in kinds.items():
        with pytest.warns(InferenceWarning, match="2 of 12 columns"):
            found = infer(model, stored, y)
        np.testing.assert_allclose(found.params, expected.params, rtol=1e-10, err_msg=name)
        np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-9, atol=1e-12, err_msg=name)
    chunks = da.from_array(values, chunks=(50, values.shape[1])), da.from_array(y, chunks=50)
    with pytest.warns(InferenceWarning, match="2 of 12 columns"):
        found = sknatgrad.dask.infer(model, *chunks)
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-10)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="aliased='keep' is unknown"):
        sknatgrad.dask.infer(model, *chunks, aliased="keep")
    with pytest.warns(InferenceWarning, match="collinear or constant columns"):
        assert sknatgrad.dask.infer(model, *chunks, aliased="nan").aliased == ()


def test_fits_of_scikit_learn_and_those_without_an_intercept(census):
    X, table = census
    y = table["income"]
    expected = quiet_infer(fit(X, y), X, y)
    found = quiet_infer(LogisticRegression(C=np.inf, solver="newton-cg", tol=1e-12).fit(X, y), X, y)
    assert_as_r(found.params, expected.params, 1e-6)
    # a column of ones in front is what R calls the intercept; a constant column later is aliased
    ones = np.column_stack([np.ones(len(X)), X])
    with pytest.warns(InferenceWarning, match="2 of 12 columns depend"):
        bare = infer(fit(ones, y, fit_intercept=False), ones, y)
    assert_as_r(bare.params, intercept_first(expected.params))
    with pytest.warns(InferenceWarning, match=r"3 of 13 columns depend .*: \{x0, \(Intercept\)\} \(1 too many\), \{"):
        constant = infer(fit(ones, y), ones, y)
    assert_as_r(constant.params[:, 1:], expected.params)
    assert [column.name for column in constant.aliased] == ["x0", "x8", "x11"]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_nan_leaves_the_coefficients_of_the_fit(census, n_classes):
    X, table = census
    y = table["income" if n_classes == 2 else "class3"]
    model = fit(X, y)
    message = rf"collinear or constant columns, {SETS}, have coefficients .* pass aliased='drop'"
    with pytest.warns(InferenceWarning, match=message):
        result = infer(model, X, y, aliased="nan")
    theta = np.column_stack([model.coef_, model.intercept_])
    np.testing.assert_array_equal(result.params, theta if n_classes == 2 else theta[1:] - theta[0])
    unknown = np.isnan(result.standard_errors).all(axis=0)
    names = np.array(result.feature_names)
    expected = {"(Intercept)", "education_num", "workclass_Unknown", "occupation_Unknown"}
    assert set(names[unknown]) == expected | {name for name in X.columns if name.startswith("education_")}
    assert result.effective_dof == 10 * (n_classes - 1)
    assert result.aliased == ()
    assert result.to_frame().attrs["aliased"] == {}
    dropped = quiet_infer(model, X, y)
    assert_as_r(result.standard_errors[:, ~unknown], dropped.standard_errors[:, ~unknown], 1e-7)
    assert (result.aic, result.loglik) == pytest.approx((dropped.aic, dropped.loglik), rel=1e-12)


def test_unknown_treatments_are_refused(census):
    X, table = census
    model = fit(X, table["income"])
    for wrong in ("keep", None, ["drop"]):
        with pytest.raises(ValueError, match=r"aliased=.* is unknown; it must be one of \['drop', 'nan'\]"):
            infer(model, X, table["income"], aliased=wrong)


def test_a_penalty_determines_every_coefficient(census):
    X, table = census
    y = table["income"]
    result = infer(NaturalGradientLogisticRegression().fit(X, y), X, y)
    assert result.aliased == ()
    assert np.isfinite(result.standard_errors).all()


def test_a_prior_on_some_columns_leaves_the_others_to_the_rule(census):
    """Columns without a penalty are aliased by earlier ones without a penalty, and by no others."""
    X, table = census
    y = table["income"]
    loose = {"workclass_Unknown", "occupation_Unknown", "age"}
    precision = np.array([0.0 if name in loose else 1.0 for name in X.columns])
    model = NaturalGradientLogisticRegression(prior=(0.0, precision)).fit(X, y)
    with pytest.warns(InferenceWarning, match=r"1 of 12 .*: \{workclass_Unknown, occupation_Unknown\} \(1 too many\)"):
        result = infer(model, X, y)
    kept = X.drop(columns="occupation_Unknown")
    fewer = precision[[name != "occupation_Unknown" for name in X.columns]]
    plain = infer(NaturalGradientLogisticRegression(prior=(0.0, fewer)).fit(kept, y), kept, y)
    places = [result.feature_names.index(name) for name in plain.feature_names]
    assert_as_r(result.params[:, places], plain.params, 1e-7)
    assert_as_r(result.standard_errors[:, places], plain.standard_errors, 1e-7)
    assert result.effective_dof == pytest.approx(plain.effective_dof, rel=1e-9)


def test_a_column_of_zeros_that_is_the_only_one_without_a_penalty():
    problem = make_problem(2, n_rows=90, n_features=2, intercept=False)
    X = np.column_stack([problem.X, np.zeros(90)])
    model = NaturalGradientLogisticRegression(prior=(0.0, [1.0, 1.0, 0.0]), fit_intercept=False).fit(X, problem.codes)
    with pytest.warns(InferenceWarning, match=r"1 of 3 columns depends .*: \{x2\} \(1 too many\)"):
        result = infer(model, X, problem.codes)
    assert [str(column) for column in result.aliased] == ["x2 = 0"]
    assert np.isfinite(result.standard_errors[0, :2]).all()


def special_columns():
    """The columns of `aliased.R`: constant, copies, sums, 0 and nearly copies."""
    i = np.arange(1, 41)
    x, z, noise = (i * 7919) % 101, (i * 104729) % 97, ((i * 1299709) % 89) / 89
    columns = [1 + 0 * i, 3 + 0 * i, x, 2 * x + 1, z, x + z, x + 1e-10 * noise, 0 * i, 1e8 * z]
    return np.column_stack([*columns, x + 1e-8 * noise, 1e-6 * x, z**2]).astype(float)


@pytest.mark.parametrize("row_bytes", [1, 2**22])
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_the_rule_is_that_of_r_whatever_the_blocks(figures, row_bytes, n_blocks):
    columns = special_columns()
    order = np.arange(12)
    kernel = TriangularFactorKernel(12, order, row_bytes)
    parts = [
        MemorySource(X, np.zeros(len(X), dtype=int), np.ones(len(X))).total(kernel)
        for X in np.array_split(columns, n_blocks)
    ]
    factor = parts[0]
    for part in parts[1:]:
        factor = kernel.merge(factor, part)
    found = LinearDependence.of(TriangularFactor(factor, order, np.zeros(12)))
    assert np.flatnonzero(found.kept).tolist() == figures["independent columns"][:, 0].tolist()
    combined = found.coefficients @ columns.T
    expected = columns[:, found.aliased].T
    np.testing.assert_allclose(combined, expected, atol=1e-10 * np.abs(expected).max(axis=1, keepdims=True).max())


def test_more_columns_than_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 45))
    y = rng.integers(0, 2, 30)
    kernel = TriangularFactorKernel(46, np.roll(np.arange(46), 1), 2**22)
    factor = MemorySource(X, y, np.ones(30)).total(kernel)
    found = LinearDependence.of(TriangularFactor(factor, np.roll(np.arange(46), 1), np.zeros(46)))
    assert np.flatnonzero(found.kept).tolist() == [*range(29), 45]
    theta = rng.normal(size=(3, 46))
    design = np.column_stack([X, np.ones(30)])
    np.testing.assert_allclose(design @ found.fold(theta).T, design @ theta.T, rtol=0, atol=1e-10)


def test_nearly_collinear_columns_are_neither_aliased_nor_determined():
    """They differ by 1e-9 of their size: R keeps both columns, but the Fisher information is the square of that."""
    problem = make_problem(2, n_rows=200, zero_weights=False)
    near = problem.X[:, :1] + 1e-9 * np.random.default_rng(0).normal(size=(200, 1))
    both = problem._replace(X=np.column_stack([problem.X, near]))
    plain = infer_problem(problem, fit_problem(problem), "fisher")
    with pytest.warns(InferenceWarning, match=r"nearly collinear columns, x0, x3, differ .* rounding hides"):
        result = infer_problem(both, quiet_fit(both.X, both.codes, both.weight, C=np.inf), "fisher")
    assert result.aliased == ()
    assert np.isnan(result.standard_errors[0, [0, 3]]).all()
    assert np.isfinite(result.params).all()
    np.testing.assert_allclose(result.standard_errors[0, [1, 2, 4]], plain.standard_errors[0, 1:], rtol=1e-2)
    # as R counts
    assert result.effective_dof == 5.0


def test_the_message_names_few_columns_and_few_sets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8))
    y = rng.integers(0, 2, 300)
    wide = np.column_stack([X, *(X[:, j] for j in range(7))])
    with pytest.warns(InferenceWarning, match=r"7 of 16 .*\{x4, x12\} \(1 too many\), 2 more sets \(2 too many\)"):
        infer(fit(wide, y), wide, y)
    levels = np.eye(6)[rng.integers(0, 6, 300)]
    twice = np.column_stack([levels, X[:, 0], np.zeros(300), levels[:, 0] + levels[:, 1] + X[:, 0]])
    with pytest.warns(InferenceWarning) as caught:
        result = infer(fit(twice, y), twice, y)
    assert "{x0, x1, x2 and 6 more} (2 too many: x5, x8), {x7} (1 too many)." in str(caught[0].message)
    assert [str(column) for column in result.aliased] == [
        "x5 = -x0 - x1 - x2 - x3 and 2 more terms",
        "x7 = 0",
        "x8 = x0 + x1 + x6",
    ]


def test_sets_that_share_only_the_intercept_are_apart():
    rng = np.random.default_rng(0)
    levels = [np.eye(3)[rng.integers(0, 3, 200)] for _ in range(2)]
    X, y = np.column_stack(levels), rng.integers(0, 3, 200)
    with pytest.warns(
        InferenceWarning, match=r"\{x0, x1, x2 and 1 more\} \(1 too many: x2\), \{x3, x4, x5 and 1 more\}"
    ):
        result = infer(fit(X, y), X, y)
    assert dependent_sets(result.row_sums.dependence) == [([0, 1, 2, 6], 1), ([3, 4, 5, 6], 1)]


def test_sums_of_groups_and_selected_columns(census):
    X, table = census
    y = table["income"]
    with pytest.warns(InferenceWarning, match="collinear or constant columns, education_num, have"):
        selected = infer(fit(X, y), X, y, features=["education_num", "age"])
    assert selected.aliased == ()
    full = quiet_infer(fit(X, y), X, y)
    assert selected.standard_errors[0, 1] == pytest.approx(full.standard_errors[0, 0], rel=1e-8)
