"""Packages import only packages to their left, and scikit-learn's private names come through one module."""

import ast
from functools import cache
from pathlib import Path

import sknatgrad

PACKAGE = Path(sknatgrad.__file__).parent
ORDER = ["_version", "_definitions", "exceptions", "_sklearn", "_limits"]
ORDER += ["_rows", "_model", "_solver", "_inputs", "_estimator", "inference"]
ORDER += ["plots", "callbacks", "onnx", "dask", "__init__"]
OPTIONAL = {"matplotlib", "pandas", "polars", "dask", "onnx", "skl2onnx"}
NEED_DASK = {"dask", "_rows.dask_chunks", "_inputs.dask_collections"}


def imports(path, *, loading=False):
    """Yield what a module imports: anywhere and for types too, or only what `loading` it imports."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        later = isinstance(node, ast.FunctionDef) or "TYPE_CHECKING" in ast.dump(getattr(node, "test", ast.Pass()))
        if not (loading and later):
            nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom):
            yield from [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]


PATHS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
IMPORTS = {name: set(imports(path)) for name, path in PATHS.items()}
OURS = {
    name: {each.removeprefix("sknatgrad.") for each in found if each.startswith("sknatgrad.")}
    for name, found in IMPORTS.items()
}


def test_packages_import_only_packages_to_their_left():
    for name, found in OURS.items():
        for package in {each.split(".")[0] for each in found} & set(ORDER):
            assert ORDER.index(package) <= ORDER.index(name.split(".")[0]), f"{name} imports {package}"
    assert {name.split(".")[0] for name in PATHS} == set(ORDER)


def test_the_package_has_few_entries_and_short_chains_of_imports():
    entries = {path.name for path in PACKAGE.iterdir()} - {"py.typed", "__pycache__"}
    assert len(entries) <= 16, sorted(entries)

    @cache
    def longest_chain(folder):
        modules = [name for name in PATHS if name.split(".")[0] == folder]
        below = {each.split(".")[0] for name in modules for each in OURS[name]} & set(ORDER) - {folder}
        return 1 + max((longest_chain(each) for each in below), default=0)

    assert max(longest_chain(folder) for folder in ORDER) <= 9


def test_modules_import_without_a_circle_for_types_too():
    edges = {
        name: {module for each in found for module in (each, each.rpartition(".")[0]) if module in PATHS}
        for name, found in OURS.items()
    }
    while edges:
        leaves = {name for name in edges if not edges[name] & edges.keys() - {name}}
        assert leaves, f"circle among {sorted(edges)}"
        edges = {name: edges[name] for name in edges.keys() - leaves}


def test_private_names_of_scikit_learn_come_through_one_module():
    for name in IMPORTS.keys() - {"_sklearn"}:
        assert not [each for each in IMPORTS[name] if each.startswith("sklearn.") and "._" in each], name


def test_two_modules_know_sparse_arrays():
    for name in IMPORTS.keys() - {"_rows.matrices", "_rows.sparse_products"}:
        assert not [each for each in IMPORTS[name] if each.startswith("scipy.sparse")], name


def test_importing_the_package_loads_no_optional_dependency():
    for name in PATHS.keys() - NEED_DASK - {"onnx"}:
        loaded = set(imports(PATHS[name], loading=True))
        assert not {each.split(".")[0] for each in loaded} & OPTIONAL, name
        assert not [each for each in loaded if each.startswith(tuple(f"sknatgrad.{each}" for each in NEED_DASK))], name
