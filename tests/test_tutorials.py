"""The tutorials of the docs: their code runs as printed, and what it adds obeys the laws of the package's own parts.

The guide to warnings and errors: it quotes messages of the package, and has every outcome that a fit warns of.
"""

import ast
import io
import re
import sqlite3
from contextlib import closing, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import test_information as laws
from problems import fisher_by_outer_products, make_problem

import sknatgrad
from sknatgrad import NaturalGradientLogisticRegression, fisher_information
from sknatgrad._model.kernels import InformationKernel, MeasureKernel, MetricScores
from sknatgrad._model.metrics import EXPECTATIONS, STRUCTURES, expectation_of
from sknatgrad._rows.memory import MemorySource
from sknatgrad._rows.sampling import MIN_ROWS_PER_CLASS

PACKAGE = Path(sknatgrad.__file__).parent
DOCS = PACKAGE.parent / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="installed without its documentation")


def run(page):
    """Execute the python fences of a page in one namespace; a text fence after one is what it prints."""
    text = (DOCS / page).read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    names = {"__name__": page.removesuffix(".md")}
    printed = None
    for fence in fences:
        kind, body = fence.groups()
        if kind == "python":
            out = io.StringIO()
            line = text.count("\n", 0, fence.start(2))
            with redirect_stdout(out):
                exec(compile("\n" * line + body, str(DOCS / page), "exec"), names)  # noqa: S102 - our own pages
            printed = out.getvalue()
        elif kind == "text":
            assert printed == body
    return names


@pytest.fixture
def tables():
    """Restore the tables of metrics after the test."""
    tables = STRUCTURES, EXPECTATIONS
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.fixture
def runs(tables):
    return run("extending_structure.md")


@pytest.fixture
def tempered(tables):
    return run("extending_expectation.md")


def of_runs(problem, fisher, seed=0, width=8):
    """The true information within runs of columns and within classes, by outer products."""
    exact = fisher_by_outer_products(problem.design, problem.codes, problem.weight, problem.theta)
    q, d = problem.theta.shape
    run_of = np.arange(d) // width
    same = np.kron(np.eye(q), run_of[:, None] == run_of)
    return exact * same


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("n_features", [3, 8, 20])  # one run; the intercept a run of its own; three
def test_structure_of_the_tutorial_obeys_the_laws(n_classes, n_features, runs, monkeypatch):
    def wider(n_classes, **settings):
        return make_problem(n_classes, **{"n_rows": 80, "n_features": n_features, **settings})

    monkeypatch.setattr(laws, "make_problem", wider)
    monkeypatch.setattr(laws, "by_brute_force", of_runs)
    for intercept in (True, False):
        laws.test_metric_is_the_sum_of_outer_products("runs", n_classes, intercept)
    laws.test_structured_form_is_its_dense_form("runs", n_classes)
    for scale in (1e-8, 1.0, 1e8):
        laws.test_solve_after_matvec_is_the_identity("runs", n_classes, scale)
    laws.test_singular_metric_gives_the_least_solution_in_range("runs")
    laws.test_information_is_symmetric_to_the_last_bit("runs")
    laws.test_preconditioner_is_the_metric_where_there_is_no_cheaper_one("runs")
    laws.test_merge_of_blocks_is_the_whole("runs", n_classes)


def test_structure_of_the_tutorial_in_single_precision_sparse_and_streams(runs):
    problem = make_problem(4, n_rows=300, n_features=20)
    structure = runs["RunsInformation"]
    sums = problem.source.total(MeasureKernel(problem.theta, expectation_of("true"), structure, store_scores=True))
    scores = MetricScores.stored(sums.scores).true.as_float32()
    rounded = problem.source.as_float32().total(InformationKernel(scores, structure, 21, float32=True))
    np.testing.assert_allclose(rounded.dense(), sums.information.dense(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(sums.information.scaled(0.5).dense(), 0.5 * sums.information.dense())
    sparse = laws.sparse.csr_array(problem.X)
    of_sparse = MemorySource(sparse, problem.codes, problem.weight, 4)
    again = of_sparse.total(MeasureKernel(problem.theta, expectation_of("true"), structure))
    np.testing.assert_allclose(again.information.dense(), sums.information.dense(), rtol=1e-11, atol=1e-11)
    model = runs["Trial"](fisher="runs")
    for rows in (slice(0, 150), slice(150, 300)):
        model.partial_fit(problem.X[rows], problem.codes[rows], classes=range(4))
    assert model.score(problem.X, problem.codes) > 0.3
    matrix = fisher_information(model, problem.X, kind="runs")
    diagonal = fisher_information(model, problem.X, kind="diagonal")
    np.testing.assert_allclose(np.diag(matrix), np.diag(diagonal), rtol=1e-12)


def test_precision_of_the_tutorial_measures_the_part_that_it_omits(runs):
    information = runs["RunsInformation"]((np.ones((1, 2, 2)),))
    metric = information.precision(np.zeros(2))
    np.testing.assert_allclose(metric.solve(np.ones((1, 2))).sum(), 1.0)
    assert metric.norm_outside_range(np.ones((1, 2))) < 1e-12
    assert metric.norm_outside_range(np.array([[1.0, -1.0]])) == pytest.approx(np.sqrt(2.0))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_expectation_of_the_tutorial_obeys_the_laws(n_classes, tempered, monkeypatch):
    def cooled(problem, fisher, seed=0):
        return fisher_by_outer_products(problem.design, problem.codes, problem.weight, problem.theta / 2.0)

    monkeypatch.setattr(laws, "by_brute_force", cooled)
    for intercept in (True, False):
        laws.test_metric_is_the_sum_of_outer_products("tempered 2", n_classes, intercept)
    laws.test_structured_form_is_its_dense_form("tempered 2", n_classes)
    laws.test_matrix_free_product_is_the_dense_product("tempered 2", n_classes)
    laws.test_solve_after_matvec_is_the_identity("tempered 2", n_classes, 1.0)
    laws.test_information_is_symmetric_to_the_last_bit("tempered 2")
    laws.test_merge_of_blocks_is_the_whole("tempered 2", n_classes)


@pytest.mark.parametrize("structure", ["diagonal", "kronecker", "identity"])
def test_every_structure_stores_the_expectation_of_the_tutorial(structure, tempered, monkeypatch):
    problem = make_problem(4)
    monkeypatch.setitem(STRUCTURES, "tempered 2", STRUCTURES[structure])
    found = laws.measured(problem, "tempered 2").information.dense()
    expected = laws.by_brute_force(problem._replace(theta=problem.theta / 2.0), structure)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return run("extending_row_source.md")


def test_row_source_of_the_tutorial_is_the_rows_in_memory(table):
    X, y = table["X"], table["y"]
    codes = np.searchsorted(["no", "yes"], y)
    theta = np.array([[0.1, -0.01, 0.001, 1e-4, -0.5]])
    kernel = MeasureKernel(theta, expectation_of("true"), STRUCTURES["true"])
    factors = np.array([0.5, 2.0])
    point = MemorySource(X, codes, factors[codes]).total(kernel)
    with closing(sqlite3.connect("shop.db")) as connection:
        columns = table["Table"](connection, "visits", table["columns"], "ordered")
        source = table["TableSource"](columns, np.array(["no", "yes"]), np.bincount(codes), factors, 1)
        there, again = source.total(kernel), source.total(kernel)
        sample, other = source.sample(2000), source.sample(2000)
    assert point.loss == pytest.approx(there.loss, rel=1e-12)
    np.testing.assert_allclose(there.gradient, point.gradient, rtol=1e-9)
    np.testing.assert_allclose(there.information.dense(), point.information.dense(), rtol=1e-11)
    np.testing.assert_array_equal(again.information.dense(), there.information.dense())
    assert next(source.passes) == 2
    np.testing.assert_array_equal(sample.X, other.X)
    assert abs(len(sample.codes) - 2000) < 10
    totals = np.bincount(sample.codes, weights=sample.weight)
    np.testing.assert_allclose(totals, factors * np.bincount(codes), rtol=1e-12)


def test_sample_of_the_tutorial_is_spread_and_sees_rare_classes(table):
    with closing(sqlite3.connect("rare.db")) as connection:
        connection.execute("CREATE TABLE t (a REAL, b TEXT)")
        labels = np.where(np.arange(50_000) % 1000 == 0, "rare", "usual").tolist()
        connection.executemany("INSERT INTO t VALUES (?, ?)", zip(range(50_000), labels, strict=True))
        rows = table["Table"](connection, "t", ("a",), "b")
        counts = np.array([50, 49_950])
        source = table["TableSource"](rows, np.array(["rare", "usual"]), counts, np.ones(2), 1)
        sample = source.sample(1000)
    assert np.bincount(sample.codes).tolist() == [MIN_ROWS_PER_CLASS, 999]
    usual = np.sort(sample.X[sample.codes == 1, 0])
    # each stretch of the rows has some of the sample, and none has many
    assert np.diff(usual, prepend=0, append=50_000).max() < 5 * 50_000 / 1000
    assert (np.bincount((usual % 7).astype(int)) / 999 > 0.1).all()


def test_method_of_the_tutorial_fits_with_class_weights_and_refuses_missing_values(table):
    X, y, columns = table["X"], table["y"], table["columns"]
    settings = {"class_weight": "balanced", "C": 0.1}
    model = table["TableLogisticRegression"](**settings).fit_table("shop.db", "visits", columns, "ordered")
    reference = NaturalGradientLogisticRegression(**settings, tol=1e-14).fit(X, y)
    # quasi-Newton steps leave an error of up to 1e-8 of the largest coefficient, in units of the columns
    spread = X.std(axis=0)
    np.testing.assert_allclose(model.coef_ * spread, reference.coef_ * spread, rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.intercept_, reference.intercept_, rtol=1e-8)
    assert model.n_features_in_ == 4
    before = model.coef_
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.execute("UPDATE visits SET spent = NULL WHERE rowid = 5")
        connection.commit()
    with pytest.raises(ValueError, match="Input X contains NaN at row 4, column 2"):
        model.fit_table("shop.db", "visits", columns, "ordered")
    assert model.coef_ is before


def test_label_that_appears_between_two_passes_ends_the_fit_of_the_tutorial(table, monkeypatch):
    columns, total = table["columns"], table["TableSource"].total

    def changing(source, kernel):
        source.table.connection.execute("UPDATE visits SET ordered = 'perhaps' WHERE rowid = 7")
        return total(source, kernel)

    monkeypatch.setattr(table["TableSource"], "total", changing)
    model = table["TableLogisticRegression"]()
    with pytest.raises(ValueError, match="y holds 'perhaps'"):
        model.fit_table("shop.db", "visits", columns, "ordered")
    assert not hasattr(model, "coef_")


def in_words(node):
    """The text of a string in the source; "…" is what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value
    return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)


def messages(tree):
    strings = (node for node in ast.walk(tree) if isinstance(node, (ast.Constant, ast.JoinedStr)))
    return [in_words(node) for node in strings if not isinstance(node, ast.Constant) or isinstance(node.value, str)]


def quoted_by_the_guide():
    text = (DOCS / "warnings_and_errors.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)


def quotes(quoted, message):
    position = 0
    for part in quoted.split("…"):
        position = message.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


def test_guide_quotes_messages_of_the_package():
    known = [
        message
        for path in sorted(PACKAGE.rglob("*.py"))
        for message in messages(ast.parse(path.read_text(encoding="utf-8")))
    ]
    quoted = quoted_by_the_guide()
    assert len(quoted) > 50
    for words in quoted:
        assert any(quotes(words, message) for message in known), words


def test_guide_has_every_end_of_a_fit_that_is_warned_of():
    tree = ast.parse((PACKAGE / "_estimator" / "history.py").read_text(encoding="utf-8"))
    ends = [in_words(value) for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values]
    assert len(ends) >= 5
    for message in ends:
        assert any(quotes(words, message) for words in quoted_by_the_guide()), message
