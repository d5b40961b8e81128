"""Import this to load networks whose layers Keras does not know; they are registered by it."""

from convoy.models.layers.lrn import LocalResponseNormalization
from convoy.models.layers.maxout import Maxout

__all__ = ["LocalResponseNormalization", "Maxout"]
