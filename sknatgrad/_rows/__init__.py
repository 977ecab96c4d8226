"""Matrices of rows, where they come from, and how a pass over them is shared by threads. Knows no likelihood."""
