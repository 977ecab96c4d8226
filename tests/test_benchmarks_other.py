"""The benchmarks that are not fits to a gap: predictions, searches, imports, and the speeds of the machine."""

import numpy as np
import pytest
from scipy import sparse

from benchmarks import calibrate, grid_search, import_time, interleaved, prediction
from benchmarks.contestants import tiny_problem
from benchmarks.workloads import WORKLOADS


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(interleaved, "PAUSE", 0.0)
    monkeypatch.setattr(interleaved, "BURST_SECONDS", 0.0)
    # collecting all objects of the test suite takes 0.1 s
    monkeypatch.setattr(interleaved.gc, "collect", lambda: 0)
    monkeypatch.setattr(prediction, "ROUNDS", (2, 2))


def test_rounds_measure_all_in_turn():
    asked = []

    def measure(index, seconds):
        def measured(n_calls):
            asked.append((index, n_calls))
            return seconds

        return measured

    times = interleaved.rounds([measure(0, 0.5), measure(1, 2.0)], 25.0, (2, 30), np.random.default_rng(0))
    assert np.array_equal(times, [[0.5, 2.0]] * 10)
    # a long call is made once before the first round
    assert asked[:3] == [(0, 1), (1, 1), (0, 1)]
    orders = {tuple(index for index, _ in asked[start : start + 2]) for start in range(3, len(asked), 2)}
    assert orders == {(0, 1), (1, 0)}
    assert interleaved.burst(lambda: None, 3) >= 0.0


@pytest.mark.parametrize("storage", prediction.STORAGE)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_have_the_same_coefficients(storage, n_classes):
    X = prediction.rows(40, 5, storage)
    assert sparse.issparse(X) == (storage == "sparse")
    times, difference = prediction.compared(X, n_classes, 0.0, np.random.default_rng(0))
    assert times.shape == (prediction.ROUNDS[0], 2)
    assert difference < (1e-6 if storage == "float32" else 1e-14)


def test_table_of_predictions(capsys):
    prediction.main(["--rows", "1", "--columns", "2", "--classes", "2", "--storage", "float64", "--seconds", "0"])
    assert "| float64 | 1 | 2 | 2 |" in capsys.readouterr().out


def test_imports_are_compared_with_the_reference(monkeypatch, capsys):
    seconds = {"reference": 2.0, "other": 2.5}
    monkeypatch.setattr(import_time, "import_seconds", lambda module, _: seconds[module])
    import_time.main(["--repeats", "2", "--modules", "reference", "other"])
    assert "| other | 2.500 | 0.500 | 25.0% |" in capsys.readouterr().out


def test_import_seconds(tmp_path):
    assert import_time.import_seconds("json", tmp_path) > 0.0


def test_grid_search_compares_solvers_at_the_same_gap(monkeypatch, capsys):
    problem = tiny_problem(stored_sparse=False, n_classes=2)
    monkeypatch.setitem(WORKLOADS, "iris", WORKLOADS["iris"].__class__("iris", "small", "", lambda _: problem))
    monkeypatch.setattr(grid_search, "CS", np.array([0.1, 1.0, 10.0]))
    grid_search.main(["--workloads", "iris", "--jobs", "1", "--repeats", "1"])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("| iris | 1 |")
    assert any(solver in line for solver in grid_search.SOLVERS)


def test_grid_search_without_a_solver_within_the_gap(monkeypatch, capsys):
    problem = tiny_problem(stored_sparse=False, n_classes=2)
    monkeypatch.setitem(WORKLOADS, "iris", WORKLOADS["iris"].__class__("iris", "small", "", lambda _: problem))
    monkeypatch.setattr(grid_search, "SOLVERS", ())
    grid_search.main(["--workloads", "iris"])
    assert "no solver" in capsys.readouterr().out


def test_every_figure_of_the_machine_is_measured(monkeypatch, capsys):
    for name, value in (("SECONDS", 0.0), ("ARITHMETIC_SHAPE", (600, 9)), ("MEMORY_SHAPE", (600, 9))):
        monkeypatch.setattr(calibrate, name, value)
    monkeypatch.setattr(calibrate, "FILE_BYTES", 10**6)
    calibrate.main(["--threads", "2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(calibrate.FIGURES)
    for figure, line in zip(calibrate.FIGURES, lines, strict=True):
        name, _, in_code, single, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        assert name == figure.name
        assert float(in_code) == pytest.approx(figure.in_code, rel=0.05)
        assert float(single) > 0.0
