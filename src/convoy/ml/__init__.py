"""Estimator and transformers for ``pyspark.ml``: train, predict and embed images as stages of a ``Pipeline``.

Importing this package loads neither TensorFlow nor MLflow.
"""

from convoy.ml.classifier import ImageClassifier
from convoy.ml.featurizer import ImageFeaturizer
from convoy.ml.model import ImageClassifierModel

__all__ = ["ImageClassifier", "ImageClassifierModel", "ImageFeaturizer"]
