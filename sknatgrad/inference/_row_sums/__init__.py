"""Sums over the rows of a fit, at its coefficients, in memory or out of core."""
