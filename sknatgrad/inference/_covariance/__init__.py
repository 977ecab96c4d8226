"""The covariance of the coefficients: which one, as a matrix, or of selected columns by conjugate gradients."""
