"""Keras callbacks of training."""
