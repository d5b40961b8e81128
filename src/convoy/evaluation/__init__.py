"""Exact evaluation of a model on a split."""
