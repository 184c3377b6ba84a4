"""Ablations: a grid of runs, planned and executed in parallel."""
