"""Bytes -> uint8 images. Pure: shared by ingest and scoring, so that they cannot disagree."""

from convoy.images.decode import BadImage, decode
from convoy.images.prepare import Geometry, prepare

__all__ = ["BadImage", "Geometry", "decode", "prepare"]
