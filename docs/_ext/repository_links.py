"""Sphinx extension that turns links of Markdown pages to files of the repository into links that work on the site.

The pages are also read in the repository, where a link such as `../examples/quickstart.py` is correct. On the site

- a link to a script in `examples/` leads to its page in the gallery, and a link to the folder to the gallery,
- the prefix `docs/`, in files that are included from the top level, is removed,
- a link to any other file outside `docs/`, which the site does not contain, becomes its text, followed by the path.
"""

import posixpath
import re

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def rewrite_links(text, folder):
    """Return Markdown with relative links for the site; `folder` is the folder of the text in the repository."""

    def link_on_site(match):
        label, address, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(folder, address))
        if path.startswith("docs/"):
            return f"[{label}]({path.removeprefix('docs/')}{anchor})"
        if path.startswith("examples/") and path.endswith(".py"):
            return f"[{label}](auto_examples/{path[len('examples/') : -len('.py')]}.rst)"
        if path == "examples":
            return f"[{label}](auto_examples/index.rst)"
        return label if path.strip("`") == label.strip("`") else f"{label} (`{path}`)"

    return LINK.sub(link_on_site, text)


def rewrite_page(app, name, source):
    if app.env.doc2path(name, base=False).suffix == ".md":
        source[0] = rewrite_links(source[0], "docs")


def rewrite_included(_app, path, _parent, source):
    if path.suffix == ".md":
        source[0] = rewrite_links(source[0], posixpath.normpath(posixpath.join("docs", path.parent.as_posix())))


def setup(app):
    app.connect("source-read", rewrite_page)
    app.connect("include-read", rewrite_included)
    return {"parallel_read_safe": True}
