"""Folders of images as people have them: other names of splits, further levels, files that do not belong there."""

import os

import numpy as np
from PIL import Image


def write(root, *folders, n=2, suffix="png"):
    """Write ``n`` different small images in each of the folders; '' is the root itself."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = np.random.default_rng([i, *folder.encode()]).integers(0, 256, (6, 5, 3), np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{i}.{suffix}")
    return root


def splits(root, names, classes=("cat", "dog"), below=""):
    """Write ``<split>/<below>/<class>/<image>``."""
    return write(root, *(os.path.join(name, below, label) for name in names for label in classes))


def kaggle_doubled(root):
    """``training_set/training_set/<class>`` and ``test_set/test_set/<class>``."""
    for name in ("training_set", "test_set"):
        splits(root / name, [name])
    return root


def intel_scenes(root):
    """``seg_train/seg_train/<class>``, and ``seg_pred/seg_pred`` without classes."""
    for name in ("seg_train", "seg_test"):
        splits(root / name, [name], ("forest", "sea"))
    return write(root, "seg_pred/seg_pred", n=3)


def tiny_imagenet(root):
    """``train/<class>/images``, ``val/images`` and ``test/images`` without classes."""
    write(root, "train/n01/images", "train/n02/images")
    write(root, "val/images", "test/images", n=3)
    (root / "val" / "val_annotations.txt").write_text("0.png\tn01\n")
    return root


def splits_below_classes(root):
    """``<class>/<split>/<image>``."""
    return write(root, *(f"{label}/{split}" for label in ("cat", "dog") for split in ("train", "val")))


def thumbnails(root):
    """A NAS's ``@eaDir``, and what macOS, Windows, Jupyter, browsers and disks leave."""
    write(root, "a", "b", n=3)
    for name in "ab":
        write(root, f"{name}/@eaDir/0.png", f"{name}/.ipynb_checkpoints", n=1)
        (root / name / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(500))
        (root / name / "desktop.ini").write_text("[.ShellClassInfo]\n")
        (root / name / ".DS_Store").write_bytes(bytes(100))
        (root / name / "._0.png").write_bytes(b"\0\5\x16\7" + bytes(100))
        (root / name / "9.png.part").write_bytes(b"\x89PNG")
    write(root, "__MACOSX/a", "lost+found", "#recycle", "$RECYCLE.BIN/S-1", ".Trash-1000/files", n=1)
    return root


def beside_their_masks(root):
    """``<class>/images`` and ``<class>/masks``, as of chest radiographs; one class has no masks."""
    return write(root, "covid/images", "covid/masks", "normal/images", "normal/masks", "pneumonia/images")


def masks_by_name(root, n=4):
    """``benign (0).png`` beside ``benign (0)_mask.png``, as of ultrasound images."""
    for label in ("benign", "malignant"):
        for i in range(n):
            write(root / label, "", n=1)
            (root / label / "0.png").rename(root / label / f"{label} ({i}).png")
            (root / label / f"{label} ({i})_mask.png").write_bytes(b"x")
    return root


def parts(root, names=("HAM10000_images_part_1", "HAM10000_images_part_2"), below=""):
    """One collection in numbered folders, with a list of the labels and one of something else."""
    write(root, *(os.path.join(name, below) for name in names))
    for name in ("a_submission.csv", "metadata.csv", "test.csv"):
        (root / name).write_text("image_id,dx\n0,mel\n")
    return root


def with_documents(root, folder, *documents):
    """Write a folder without images, as for annotations."""
    for document in documents:
        (root / folder / document).parent.mkdir(parents=True, exist_ok=True)
        (root / folder / document).write_text("x")
    return root


def birds(root):
    """``CUB_200_2011/images/<class>``, with folders of texts beside it."""
    write(root, "CUB_200_2011/images/001.Albatross", "CUB_200_2011/images/002.Auklet")
    with_documents(root, "CUB_200_2011/attributes", "attributes.txt")
    return with_documents(root, "CUB_200_2011/parts", "parts.txt")


def ilsvrc(root):
    """``ILSVRC/Data/CLS-LOC/train/<class>``, annotations in XML, and lists in text files."""
    write(root, *(f"ILSVRC/Data/CLS-LOC/train/{name}" for name in ("n01", "n02")), "ILSVRC/Data/CLS-LOC/val")
    with_documents(root, "ILSVRC/Annotations/CLS-LOC/train/n01", "n01_1.xml")
    return with_documents(root, "ILSVRC/ImageSets", "CLS-LOC/train_cls.txt")


def traffic_signs(root):
    """``Train/<class>``, a flat ``Test``, and a picture of each sign in ``Meta``."""
    write(root, "Train/0", "Train/1", "Train/42")
    return write(root, "Test", "Meta", n=5)
