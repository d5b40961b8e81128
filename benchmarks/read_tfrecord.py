"""TFRecord files of ``tf.train.Example`` by ``tf.data``, as its performance guide advises: ARRAYS BATCH."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from epochs import serve

FILES = 4


def write(arrays: Path, folder: Path) -> None:
    images, labels = np.load(arrays / "images.npy"), np.load(arrays / "labels.npy")
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for i in range(FILES):
        with tf.io.TFRecordWriter(str(draft / f"{i}.tfrecord")) as writer:
            for image, label in zip(images[i::FILES], labels[i::FILES], strict=True):
                feature = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    draft.rename(folder)


def prepare(arrays: str, batch: str) -> Callable[[], int]:
    folder = Path(arrays) / "tfrecord"
    if not folder.exists():
        write(Path(arrays), folder)
    shape = np.load(Path(arrays) / "images.npy", mmap_mode="r").shape[1:]
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    files = [str(folder / f"{i}.tfrecord") for i in range(FILES)]

    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(serialized, features)
        return tf.reshape(tf.io.decode_raw(parsed["image"], tf.uint8), (-1, *shape)), parsed["label"]

    dataset = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE).batch(int(batch))
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def epoch() -> int:
        rows = 0
        for _, labels in dataset:
            rows += len(labels)
        return rows

    return epoch


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]), ["tensorflow-cpu"])
