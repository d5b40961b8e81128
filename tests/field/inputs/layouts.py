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
