"""Fast import of TensorFlow, to be done before any import of Keras; see ``lazy_import.import_tensorflow``."""

from convoy.models.lazy_import import import_tensorflow

import_tensorflow()
