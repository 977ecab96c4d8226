"""Sums over the rows of a fit, at its coefficients, in memory or where the rows live."""
