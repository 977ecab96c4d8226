"""Arguments as users give them, checked and turned into values that the solver takes."""
