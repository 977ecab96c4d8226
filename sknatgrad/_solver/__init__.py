"""Natural gradient descent: how a step is computed, accepted and ended. Sees callables, never data."""
