"""The likelihood, its Fisher information, and the prior: everything that is a sum over rows, or a function of one."""
