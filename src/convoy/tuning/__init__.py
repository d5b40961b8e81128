"""Trials of a training in a space of its fields: what to try next, and what came of it. The door to Optuna."""
