"""Datasets that several test modules read."""

import pytest

from tests.dataset.epochs import IMAGES, LABELS, WEIGHTS
from tests.dataset.versions import write_arrays


@pytest.fixture(scope="session")
def versions(tmp_path_factory):
    """Codec -> folder and manifest of the same pixels."""
    folder = tmp_path_factory.mktemp("versions")
    return {
        codec: (folder / codec, write_arrays(folder / codec, "train", IMAGES, LABELS, WEIGHTS, codec))
        for codec in ("raw", "png")
    }
