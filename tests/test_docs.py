"""The pages of the site, as far as they can be judged without building it; `make docs` judges the rest."""

import ast
import re
from pathlib import Path

import pytest
from problems import ROOT

import sknatgrad

PACKAGE = Path(sknatgrad.__file__).parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("examples/*.md")]
)
FENCED = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")


def public_names():
    """Return each public module with its `__all__`, without importing what it needs."""
    modules = [PACKAGE / "__init__.py", *PACKAGE.glob("[!_]*.py"), *PACKAGE.glob("[!_]*/__init__.py")]
    names = {}
    for path in modules:
        dotted = ".".join(["sknatgrad", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        body = ast.parse(path.read_text(encoding="utf-8")).body
        listed = [node.value for node in body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
        assert len(listed) == 1, f"{dotted} has no __all__"
        names[dotted] = ast.literal_eval(listed[0])
    return names


def names_on_the_page():
    """Return the names in the lists of docs/api.rst, by the module that was current."""
    names, module, inside = {}, None, False
    for line in (ROOT / "docs" / "api.rst").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\.\. currentmodule:: ([\w.]+)", line):
            module = found[1]
        elif line == ".. autosummary::":
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside and (found := re.fullmatch(r" +([\w.]+)", line)):
            names.setdefault(module, []).append(found[1])
    return names


def test_every_public_name_is_on_the_page_and_nothing_else():
    public, listed = public_names(), names_on_the_page()
    assert {module: sorted(names) for module, names in listed.items()} == {
        module: sorted(names) for module, names in public.items()
    }


def slugs(path):
    """Return the anchors of a page's headings."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    broken = []
    for address in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", address):
            continue
        path, _, anchor = address.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in slugs(target)):
            broken.append(address)
    assert not broken
