"""Predictions for images, computed on Spark's workers."""
