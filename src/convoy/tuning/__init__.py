"""Hyperparameter search: trials of a training in a space of its fields, and their results. Wraps Optuna."""
