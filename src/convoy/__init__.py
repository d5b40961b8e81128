"""Convoy: a collection of images becomes a trained, tracked, deployed CNN, on Spark."""

__version__ = "0.1.0"
