"""Architectures: name -> Keras network that takes raw samples."""
