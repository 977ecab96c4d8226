"""How long each solver takes to the same objective, to the same gap: ``python -m benchmarks``.

Needs the extra ``bench``. README.md beside this file says what is measured and how the numbers are defined.
"""
