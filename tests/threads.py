"""Import this before TensorFlow computes anything, in each folder whose tests may be collected first."""

import tensorflow as tf

tf.config.threading.set_inter_op_parallelism_threads(8)  # each rank of tests/training waits in one for the others
