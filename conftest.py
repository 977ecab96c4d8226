"""Loads the members that packages load when they are first used: doctest finds the examples of loaded members only."""

import sknatgrad
import sknatgrad.inference

for package in (sknatgrad, sknatgrad.inference):
    for name in package.__all__:
        getattr(package, name)
