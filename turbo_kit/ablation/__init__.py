"""Ablations: a grid of runs, executed one after another, and the report over what they gave."""
