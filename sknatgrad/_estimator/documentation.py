"""Where an estimator's documentation is, for the link in its HTML representation."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import ClassVar

SITE = Path(__file__).resolve().parents[1] / "docs" / "_build" / "html"
PAGE = "generated/{estimator_module}.{estimator_name}.html"


class DocumentedMixin:
    """Answers what scikit-learn asks for the link: before its base class in the order of bases."""

    _doc_link_module: ClassVar[str] = "sknatgrad"

    @property
    def _doc_link_template(self) -> str:
        """The address of a class's page, or of none: that which the package names, or of the site built beside it."""
        base = documentation()
        return f"{base.rstrip('/')}/{PAGE}" if base else ""


def documentation() -> str:
    """Return the address of the documentation, or nothing if there is none to be had."""
    try:
        urls = metadata("sknatgrad").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    named: dict[str, str] = dict(url.split(", ", 1) for url in urls)
    if "Documentation" in named:
        return named["Documentation"]
    return SITE.as_uri() if (SITE / "index.html").is_file() else ""
