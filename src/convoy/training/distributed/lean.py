"""Imported before anything else that imports Keras, in a rank above all: see ``engine.import_tensorflow``."""

from convoy.models.lazy_import import import_tensorflow

import_tensorflow()
