"""Optimizer, learning rate, loss and precision."""
