"""Import this to load networks whose layers Keras does not know; they are registered by it."""

from convoy.models.maxout import Maxout
from convoy.models.response import LocalResponseNormalization

__all__ = ["LocalResponseNormalization", "Maxout"]
