"""The estimator, one module for each public method or function."""
