"""The result of an inference: the class, and the tables and effects that it computes on request."""
