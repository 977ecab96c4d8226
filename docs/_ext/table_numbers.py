"""Sphinx extension that keeps each number, with its exponent and unit, on one line in the tables of Markdown pages."""

import re

ROW = re.compile(r"^\|.*$", re.MULTILINE)
# code is matched first, and stays as it is
BREAKS = re.compile(r"`[^`]*`|(?<=\de)-(?=\d)|(?<=\d) (?=(?:ms|s|kB|MB|GB|KiB|MiB|GiB)\b|%)")
UNBROKEN = {"-": "\u2011", " ": "\u00a0"}


def keep_on_one_line(_app, _name, source):
    source[0] = ROW.sub(lambda row: BREAKS.sub(lambda part: UNBROKEN.get(part[0], part[0]), row[0]), source[0])


def setup(app):
    app.connect("source-read", keep_on_one_line)
    return {"parallel_read_safe": True}
