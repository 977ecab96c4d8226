"""Where rows come from. A source maps a kernel over its blocks and merges in block order."""

from sknatgrad._sources.memory import MemorySource, cut

__all__ = ["MemorySource", "cut"]
