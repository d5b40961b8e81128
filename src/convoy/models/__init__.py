"""Architectures: name -> Keras network that takes raw uint8 images."""
