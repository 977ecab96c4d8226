"""Benchmark suite, which measures the time of each solver to the same gap: ``python -m benchmarks``.

It needs the extra ``bench``. README.md in this folder defines the numbers.
"""
