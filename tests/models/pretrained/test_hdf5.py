"""What is refused of HDF5 files, and of archives with them."""

import zipfile

import h5py
import numpy as np
import pytest

from convoy.models.pretrained import hdf5


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "own.h5", "w") as own:
        own["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
        own["layers/empty"] = h5py.Empty("f")
        yield own


def test_groups_of_their_own_are_taken_even_in_circles(file):
    file["layers/dense/round"] = file["layers"]
    hdf5.check_links(file)


@pytest.mark.parametrize("link", [h5py.SoftLink("/layers"), h5py.ExternalLink("other.h5", "/")])
@pytest.mark.parametrize("where", ["evil", "layers/dense/vars/1"])
def test_a_link_is_refused_wherever_it_is(file, link, where):
    file[where] = link
    with pytest.raises(ValueError, match=type(link).__name__):
        hdf5.check_links(file)


def test_values_in_another_file_are_refused(file, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(12))
    file.create_dataset("layers/external", (3,), np.float32, external=[(str(tmp_path / "secret"), 0, 12)])
    with pytest.raises(ValueError, match="'external' has its values in another file"):
        hdf5.check_links(file)


def test_a_virtual_dataset_is_refused(file):
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("virtual", layout)
    with pytest.raises(ValueError, match="'virtual' has its values in another file"):
        hdf5.check_links(file)


def test_a_dataset_that_says_it_is_huge_and_holds_nothing_is_refused(file):
    file.create_dataset("bomb", (1 << 31,), np.float32, chunks=(1 << 20,))
    with pytest.raises(ValueError, match="'bomb' says it has 8,589,934,592 bytes, of which 0 are there"):
        hdf5.check_links(file)


def test_a_member_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "w.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("small", bytes(100_000))
        archive.writestr("bomb", bytes(10_000_000))
    with zipfile.ZipFile(tmp_path / "w.keras") as archive:
        hdf5.check_member(archive, "bomb")  # not large enough to harm
        monkeypatch.setattr(hdf5, "_ANY_SIZE", 1 << 20)
        hdf5.check_member(archive, "small")
        with pytest.raises(ValueError, match="'bomb' says it has 10,000,000 bytes"):
            hdf5.check_member(archive, "bomb")
