"""Links of Markdown pages to files of the repository, made to lead somewhere on the site.

Pages are read in the repository too, where `../examples/quickstart.py` is the right address. On the site

- a script in `examples/` becomes its page in the gallery, and the folder the gallery,
- `docs/` before a page's name, in files that are included from the top level, is left out,
- of any other file outside this folder, which the site does not have, the words stay, and its path follows as code.
"""

import posixpath
import re

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def rewritten(text, folder):
    """Return Markdown whose relative links hold on the site; `folder` is where the text lies, in the repository."""

    def on_site(match):
        words, address, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(folder, address))
        if path.startswith("docs/"):
            return f"[{words}]({path.removeprefix('docs/')}{anchor})"
        if path.startswith("examples/") and path.endswith(".py"):
            return f"[{words}](auto_examples/{path[len('examples/') : -len('.py')]}.rst)"
        if path == "examples":
            return f"[{words}](auto_examples/index.rst)"
        return words if path.strip("`") == words.strip("`") else f"{words} (`{path}`)"

    return LINK.sub(on_site, text)


def rewrite_page(app, name, source):
    if app.env.doc2path(name, base=False).suffix == ".md":
        source[0] = rewritten(source[0], "docs")


def rewrite_included(_app, path, _parent, source):
    if path.suffix == ".md":
        source[0] = rewritten(source[0], posixpath.normpath(posixpath.join("docs", path.parent.as_posix())))


def setup(app):
    app.connect("source-read", rewrite_page)
    app.connect("include-read", rewrite_included)
    return {"parallel_read_safe": True}
