"""Ablations: a grid of runs, executed side by side, their statistics, and the report over what they gave."""
