"""Where rows come from. A source maps a kernel over its blocks and merges in block order."""

from sknatgrad._sources.batches import Batch, BatchSource
from sknatgrad._sources.memory import MemorySource, cut
from sknatgrad._sources.reserve import Reserve
from sknatgrad._sources.sampling import class_totals

__all__ = ["Batch", "BatchSource", "MemorySource", "Reserve", "class_totals", "cut"]
