"""The address of the documentation, for the link in the HTML representation of estimators."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

# of the site that `make docs` builds beside the package
SITE = Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"
PAGE = "generated/{estimator_module}.{estimator_name}.html"


def link_template() -> str:
    """Return the address of the page of a class, as a template for scikit-learn; empty if there is no documentation."""
    base = documentation()
    return f"{base.rstrip('/')}/{PAGE}" if base else ""


def documentation(site: Path = SITE) -> str:
    """Return the address that the package names, or that of the site built beside it; empty if there is neither."""
    try:
        urls = metadata("sknatgrad").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    named: dict[str, str] = dict(url.split(", ", 1) for url in urls)
    if "Documentation" in named:
        return named["Documentation"]
    return site.as_uri() if (site / "index.html").is_file() else ""
