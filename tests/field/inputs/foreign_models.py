"""Models that other programs wrote.

``keras2.zip`` holds files of tf_keras 2.21.0 (Keras 2), which is not installed with Convoy; ``write_with_keras_2``
wrote them. ``saved_model.pb``, which is never read, is left empty there.
"""

import importlib
import io
import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

from convoy.models.external.package import file_of

SIDE = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)


def write_with_keras_2(folder):
    """Write a network as Teachable Machine builds it, and one that returns a logit, as HDF5 and as SavedModel."""
    tf_keras = importlib.import_module("tf_keras")
    old = tf_keras.layers
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((SIDE, SIDE, 3), name="input_1")
    x = old.Conv2D(4, 3, strides=2, use_bias=False, name="Conv1")(image)
    x = old.ReLU(6.0, name="Conv1_relu")(old.BatchNormalization(name="bn_Conv1")(x))
    y = old.DepthwiseConv2D(3, padding="same", use_bias=False, name="expanded_conv_depthwise")(x)
    base = tf_keras.Model(image, old.Add(name="add")([x, y]), name="model1")
    features = tf_keras.Sequential([base, old.GlobalAveragePooling2D(name="pool")], name="sequential_1")
    first = old.Dense(5, activation="relu", input_shape=(4,), name="dense_Dense1")
    last = old.Dense(2, use_bias=False, activation="softmax", name="dense_Dense2")
    network = tf_keras.Sequential([features, tf_keras.Sequential([first, last], name="sequential_3")], name="seq_4")
    random = np.random.default_rng(0)
    values = [
        random.uniform(0.1, 1, weight.shape) if "variance" in weight.name else random.normal(0, 0.7, weight.shape)
        for weight in network.weights
    ]
    network.set_weights(values)
    network.compile("adam", "categorical_crossentropy")
    logit = tf_keras.Model(image, old.Dense(1, name="logit")(old.GlobalAveragePooling2D()(base.output)))
    logit.compile("adam", tf_keras.losses.BinaryCrossentropy(from_logits=True))
    scaled = PIXELS / np.float32(127.5) - 1
    with zipfile.ZipFile(folder / "keras2.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, model in (("softmax", network), ("logit", logit)):
            model.save(folder / f"{name}.h5")
            archive.write(folder / f"{name}.h5", f"{name}.h5")
            model.save(folder / name, save_format="tf")
            for part in ("keras_metadata.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
                archive.write(folder / name / part, f"{name}/{part}")
            archive.writestr(f"{name}/saved_model.pb", b"")
        archive.writestr("truth.json", json.dumps([network.predict(scaled).tolist(), logit.predict(scaled).tolist()]))


def keras_2_files(folder):
    """Unpack the files; returns the outputs that Keras 2 computed for ``PIXELS`` on a scale of -1 to 1."""
    with zipfile.ZipFile(Path(__file__).with_name("keras2.zip")) as archive:
        archive.extractall(folder)
    softmax, logit = json.loads((folder / "truth.json").read_text())
    return {"softmax": np.array(softmax), "logit": np.array(logit)}


def classifier(last, count=3, shape=(SIDE, SIDE, 3), first=None):
    """A small network of Keras 3 whose first and last layers are as given."""
    keras.utils.set_random_seed(2)
    x = image = keras.Input(shape)
    x = first(x) if first else x
    x = layers.Conv2D(3, 3, activation="tanh", kernel_initializer="he_normal")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(count, activation=last, name="last")(x))


def with_lambda(folder):
    """An HDF5 file with a layer of Python code, which Keras would run when it loads the file."""
    network = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    network.save(folder / "bad.h5")
    with h5py.File(folder / "bad.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        function = {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}}
        bad = {"class_name": "Lambda", "config": {"name": "evil", "function": function}}
        config["config"]["layers"].insert(1, bad)
        file.attrs["model_config"] = json.dumps(config).encode()
    return folder / "bad.h5"


def with_module(folder):
    """An HDF5 file with an object of another package, which Keras before 3.9 would import and call."""
    network = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    network.save(folder / "module.h5")
    with h5py.File(folder / "module.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1] = {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}}
        file.attrs["model_config"] = json.dumps(config).encode()
    return folder / "module.h5"


def with_module_in_keras():
    """A ``.keras`` file with an object of another package."""
    network = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    written, changed = io.BytesIO(file_of(network)), io.BytesIO()
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= {"module": "subprocess", "class_name": "Popen"}
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return changed.getvalue()
