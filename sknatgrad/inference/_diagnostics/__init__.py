"""Reasons for which standard errors are unreliable, each with its theory."""
