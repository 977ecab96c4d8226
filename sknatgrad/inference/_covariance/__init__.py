"""The covariance of the coefficients: its options, the whole matrix, or selected columns by conjugate gradients."""
