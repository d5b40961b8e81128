"""Experiments with several trainings that differ in a few fields: their configurations and their comparison."""
