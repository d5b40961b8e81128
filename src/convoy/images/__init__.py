"""Decoding and resizing of images to uint8. Pure: shared by ingest and scoring, so that their pixels are identical."""

from convoy.images.array_spec import check_array, read_array, transposition
from convoy.images.bad_image import OBSERVATIONS, REASONS, REPAIRS, BadImage
from convoy.images.decode import decode
from convoy.images.deep import extremes
from convoy.images.encode import encode_jpeg, encode_png, fits
from convoy.images.geometry import ArraySpec, Geometry, channels_last
from convoy.images.header import ImageInfo, identify
from convoy.images.prepare import prepare, prepare_measured
from convoy.images.profile import Bins, ImageProfile, brightness, quantile_bins
from convoy.images.propose import propose
from convoy.images.stored import decode_stored
from convoy.images.text import decode_text, is_base64, is_image_text
from convoy.images.value_range import ValueRange, range_of_dataset

__all__ = [
    "OBSERVATIONS",
    "REASONS",
    "REPAIRS",
    "ArraySpec",
    "BadImage",
    "Bins",
    "Geometry",
    "ImageInfo",
    "ImageProfile",
    "ValueRange",
    "brightness",
    "channels_last",
    "check_array",
    "decode",
    "decode_stored",
    "decode_text",
    "encode_jpeg",
    "encode_png",
    "extremes",
    "fits",
    "identify",
    "is_base64",
    "is_image_text",
    "prepare",
    "prepare_measured",
    "propose",
    "quantile_bins",
    "range_of_dataset",
    "read_array",
    "transposition",
]
