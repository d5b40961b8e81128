"""Times the epochs of Keras' ``fit`` (Keras 3, or Keras 2 as ``tf_keras``)."""

import time


def fit_clock(keras, rows: int):
    """Return a callback whose ``rates`` are the images per second of each epoch so far, ``rows`` images an epoch."""

    class Clock(keras.callbacks.Callback):
        rates: list[float]

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.rates.append(rows / (time.perf_counter() - self.started))

    clock = Clock()
    clock.rates = []
    return clock
