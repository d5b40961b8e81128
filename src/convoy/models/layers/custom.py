"""Custom layers. Importing this module registers them with Keras, so that networks with them can be loaded."""

from convoy.models.layers.lrn import LocalResponseNormalization
from convoy.models.layers.maxout import Maxout

__all__ = ["LocalResponseNormalization", "Maxout"]
