"""A version -> batches: the order of samples, reading, decoding, TensorFlow datasets."""
