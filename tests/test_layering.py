"""The rooms import only downwards, as docs/developer_guide.md draws them."""

import ast
from pathlib import Path

import pytest

import sknatgrad

PACKAGE = Path(sknatgrad.__file__).parent
LAYERS = [
    {"_allocator", "_typing", "_array", "exceptions", "_sklearn", "_workers", "_version"},
    {"_design", "_categorical", "_parameters"},
    {"_information"},
    {"_measure", "_sources", "_evidence", "_prior"},
    {"_damping", "_stopping", "_conjugate", "_descent", "_refine", "_strategy", "_objective", "_samples", "_recursion"},
    {"_reporting"},
    {
        "_batches",
        "_course",
        "_documented",
        "_estimator",
        "_geometry",
        "_merging",
        "_names",
        "_predictions",
        "_problem",
        "_settings",
        "_survey",
        "_stored",
        "_streaming",
        "_transfer",
        "_validation",
        "inference",
    },
    {"_collections"},
    {"__init__", "callbacks", "dask", "onnx", "plots"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
# what a room may not know, though it lies below
STRANGERS = {
    "_categorical": {"_design", "_array"},
    "_sources": {"_categorical", "_information", "_measure", "_parameters"},
    "_descent": {"_design", "_categorical", "_information", "_measure", "_sources", "_objective", "_strategy"},
    "_conjugate": {
        "_design",
        "_categorical",
        "_information",
        "_measure",
        "_sources",
        "_objective",
        "_strategy",
        "_refine",
    },
    "_refine": {"_design", "_categorical", "_measure", "_sources"},
}


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Rooms of this package that a module imports, for running or for types."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sknatgrad":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


def running_imports(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sknatgrad."):
            yield node.module.split(".")[1]


def on_import(node):
    """Everything that runs when a module is imported: not the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef):
            yield from on_import(child)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    room = room_of(path)
    for other in imports(path):
        assert LEVEL[other] <= LEVEL[room], f"{room} imports {other}, which lies above it"
        assert other not in STRANGERS.get(room, set()), f"{room} should not know {other}"


def test_every_module_has_its_room():
    assert {room_of(path) for path in MODULES} == set(LEVEL)


def test_imports_have_no_cycle():
    edges = {room: set() for room in LEVEL}
    for path in MODULES:
        edges[room_of(path)] |= set(running_imports(path)) - {room_of(path)}
    done = set()
    while len(done) < len(edges):
        free = {room for room in edges.keys() - done if edges[room] <= done}
        assert free, f"cycle among {sorted(edges.keys() - done)}"
        done |= free


def test_private_names_of_scikit_learn_come_through_one_module():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn"):
                private = any(part.startswith("_") for part in node.module.split(".")) or any(
                    alias.name.startswith("_") for alias in node.names
                )
                assert not private or room_of(path) == "_sklearn", f"{path.name} imports {node.module}"


def test_only_two_rooms_know_sparse_arrays():
    for path in MODULES:
        if room_of(path) not in {"_array", "_design"}:
            assert "scipy.sparse" not in path.read_text()
            assert "import sparse" not in path.read_text()


def test_importing_the_package_loads_no_optional_dependency():
    optional = {"matplotlib", "pandas", "polars", "dask", "onnx", "skl2onnx"}
    for path in MODULES:
        if path.relative_to(PACKAGE).as_posix() in {"dask.py", "onnx.py", "_collections.py", "_sources/cluster.py"}:
            # imported by name, by those who have it
            continue
        for node in on_import(ast.parse(path.read_text())):
            assert not (
                isinstance(node, ast.ImportFrom)
                and node.module in {"sknatgrad._sources.cluster", "sknatgrad._collections"}
            )
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in names} & optional
