"""Sphinx extension that keeps numbers and their units on one line in the tables of Markdown pages."""

import re

ROW = re.compile(r"^\|.*$", re.MULTILINE)
SPACE_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|kB|MB|GB|KiB|MiB|GiB)\b|%)")
NO_BREAK_SPACE = "\u00a0"


def keep_together(_app, _name, source):
    source[0] = ROW.sub(lambda row: SPACE_BEFORE_UNIT.sub(NO_BREAK_SPACE, row[0]), source[0])


def setup(app):
    app.connect("source-read", keep_together)
    return {"parallel_read_safe": True}
