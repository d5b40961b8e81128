"""Deprecated name of ``convoy.models.layers.custom``."""

import warnings

from convoy.models.layers.custom import LocalResponseNormalization, Maxout

__all__ = ["LocalResponseNormalization", "Maxout"]

warnings.warn("convoy.models.custom_layers is now convoy.models.layers.custom", DeprecationWarning, stacklevel=2)
