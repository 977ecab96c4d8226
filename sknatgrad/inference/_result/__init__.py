"""The result of an inference, and what it computes on request."""
