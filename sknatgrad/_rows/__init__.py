"""Matrices and sources of rows, and passes over them that threads share. Independent of the likelihood."""
