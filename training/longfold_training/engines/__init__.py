"""Engines that run the recipe: each samples rollouts and takes updates over the same core. Knows no recipe value."""
