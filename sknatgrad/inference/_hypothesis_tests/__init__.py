"""Tests of hypotheses on the coefficients and on the model."""
