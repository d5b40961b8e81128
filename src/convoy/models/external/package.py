"""Packages of networks that Convoy did not train: what they do not say about themselves becomes part of them."""

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from convoy.console import say
from convoy.errors import ModelError
from convoy.images import ArraySpec, Geometry
from convoy.models.external.facts import Head, ModelFacts, Preprocessing
from convoy.models.external.head import class_count, known_head, last_layer, probabilities
from convoy.models.input_scale import input_scale, listed
from convoy.models.keras_file import LossActivation, configuration, load, loss_activation
from convoy.models.layers.blocks import KerasTensor, imagenet_preprocessing, normalise
from convoy.models.package import ModelPackage
from convoy.models.rewiring import replay

_ROUNDING = 1e-3  # of a sum of probabilities, in 16 bits too
_SCALES: dict[str, tuple[float, float]] = {"0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
# Of keras.applications' mode "torch", and of torchvision, whose units are 0 to 1.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def foreign_package(
    uri: str,
    keras_file: bytes,
    classes: Sequence[str] | None,
    geometry: Geometry | None,
    run_id: str | None,
    facts: ModelFacts | None = None,
    applied: LossActivation | None = None,
) -> ModelPackage:
    """Return a package for a network from its inputs and outputs, and from what is stated about it.

    The network gets images as networks trained by Convoy do: pixels from 0 to 255, uint8. Preprocessing and the
    conversion of its output to probabilities become layers of it.

    Args:
        uri: URI of the model.
        keras_file: Bytes of its ``.keras`` file.
        classes: Class names by index; None takes those of ``facts``, or names them "0", "1", ...
        geometry: Geometry of images; None takes that of ``facts``, or stretches them to the network's height, width
            and channels.
        run_id: The run that created it, if known.
        facts: What is stated about it; None is nothing.
        applied: The activation that the loss it was compiled with applies to its output; None reads that from its file.

    Returns:
        The package. A network whose samples do not have the shape of images (H, W, 1 | 3) takes arrays.

    Raises:
        ModelError: The network is not a classifier with one input, or the given values do not fit it.
    """
    facts = facts or ModelFacts()
    network = load(keras_file, uri)
    shape, count = _of_one(uri, "input", network.inputs), _of_one(uri, "output", network.outputs)
    if len(count) != 1 or count[0] is None or count[0] < 1:
        raise ModelError(
            f"{uri} returns {network.output_shape}, expected (None, K): probabilities of two or more classes"
        )
    geometry = geometry or _geometry(uri, shape, facts)
    fixed = tuple(n for n in shape if n is not None)
    if geometry is None and len(fixed) < len(shape):
        raise ModelError(
            f"{uri} takes samples of shape {shape}, of any size; specify the size that images are resized to:"
            " scoring.image_size, e.g. [224, 224]"
        )
    spec = geometry.spec if geometry else ArraySpec(fixed, str(network.inputs[0].dtype))
    if len(spec.shape) != len(shape) or any(own not in (None, n) for own, n in zip(shape, spec.shape, strict=True)):
        raise ModelError(f"{uri} takes samples of shape {shape}, which images of {spec.shape} do not fit")
    applied = applied or loss_activation(configuration(keras_file).get("compile_config"))
    head = known_head(uri, network, facts.head, applied)
    if head is None:
        _check_probabilities(uri, network, spec, "unknown")
        head = "softmax"
    classes = facts.classes if classes is None else classes
    names = [str(i) for i in range(class_count(network))] if classes is None else [str(name) for name in classes]
    if len(names) != class_count(network):
        raise ModelError(f"{uri} has {class_count(network)} classes, but {len(names)} names were given")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ModelError(f"{uri}: the class name {twice[0]!r} is given twice; expected a different one for each output")
    if geometry is not None:
        _warn_of_scale(uri, network, facts.preprocessing)
    whole = adapted(uri, network, spec, facts.preprocessing or "none", head)
    _check_probabilities(uri, whole, spec, head)
    content = keras_file if whole is network else file_of(whole)
    return ModelPackage(uri, content, geometry, spec, names, run_id)


def _of_one(uri: str, what: str, tensors: Any) -> tuple[int | None, ...]:
    """Return a sample's shape at the only input or output."""
    if not tensors or len(tensors) != 1:
        raise ModelError(f"{uri} has {len(tensors or [])} {what}s; expected a network with one {what}")
    return tuple(tensors[0].shape[1:])


def _geometry(uri: str, shape: tuple[int | None, ...], facts: ModelFacts) -> Geometry | None:
    if len(shape) != 3 or shape[2] not in (1, 3, None):
        if facts.size is not None:
            raise ModelError(f"{uri} takes samples of shape {shape}, which are not images; remove scoring.image_size")
        return None
    size = tuple(facts.size) if facts.size is not None else shape
    size = (*size, *(shape[2:] if len(size) == 2 else ()))
    if None in size:
        return None
    height, width, channels = size
    return Geometry(height, width, channels, facts.resize or "stretch")


def _warn_of_scale(uri: str, network: keras.Model, given: Preprocessing | None) -> None:
    """Print a warning if pixels are probably not scaled, or scaled twice."""
    scale = input_scale(network)
    if scale.is_normalised and given not in (None, "none"):
        say(
            f"warning: {uri} scales its samples itself (layer {listed(scale.normalising)}), and scoring.preprocessing"
            f" {given} scales them before; remove it if that is not intended"
        )
    if scale.is_normalised or given is not None:
        return
    first = f" (layer {listed(scale.unchanged)} takes them as they are)" if scale.unchanged else ""
    say(
        f"warning: {uri} gets pixels from 0 to 255, since its first layers do not scale them{first}; if it was trained"
        " on others, set scoring.preprocessing to 0..1, -1..1, imagenet, caffe or {mean: [..], std: [..]}, else to none"
    )


def adapted(uri: str, network: keras.Model, spec: ArraySpec, preprocessing: Preprocessing, head: Head) -> keras.Model:
    """Return a network from raw samples to class probabilities; the same one if nothing has to be added.

    Args:
        uri: URI of the model, for messages.
        network: The network, from preprocessed samples to its head.
        spec: Shape and type of a raw sample.
        preprocessing: See ``ModelFacts``.
        head: What the network returns.

    Raises:
        ModelError: The preprocessing does not fit the samples.
    """
    if preprocessing == "none" and head == "softmax" and tuple(network.inputs[0].shape[1:]) == spec.shape:
        return network
    image = keras.Input(spec.shape, dtype=spec.dtype, name="convoy_image")
    x = preprocess(uri, image, preprocessing)
    if preprocessing == "none" and spec.dtype == network.inputs[0].dtype:
        x = image  # integers may be indices
    if isinstance(network, keras.Sequential):
        network = keras.Model(network.inputs, network.outputs, name=network.name)
    (x,) = keras.tree.flatten(replay(network, x, lambda operation: operation))
    return keras.Model(image, probabilities(x, head), name=network.name)


def preprocess(uri: str, x: KerasTensor, preprocessing: Preprocessing) -> KerasTensor:
    """Apply the preprocessing of a network to raw samples, with layers that load in safe mode.

    Raises:
        ModelError: It does not fit the samples.
    """
    channels = x.shape[-1]
    if isinstance(preprocessing, Mapping):
        mean, std = _checked(uri, preprocessing, channels, is_image=str(x.dtype) == "uint8")
        return normalise(x, mean, std)
    if preprocessing == "none":
        return keras.layers.Rescaling(1.0, name="convoy_float")(x)
    if preprocessing in _SCALES:
        scale, offset = _SCALES[preprocessing]
        return keras.layers.Rescaling(scale, offset, name="convoy_scale")(x)
    if channels != 3:
        raise ModelError(
            f"{uri} takes {channels} channels, but scoring.preprocessing {preprocessing} is for RGB images"
        )
    if preprocessing == "caffe":
        return imagenet_preprocessing(x, "caffe")
    return normalise(x, [255 * m for m in _IMAGENET_MEAN], [255 * s for s in _IMAGENET_STD])


def _checked(
    uri: str, given: Mapping[str, Sequence[float]], channels: int, is_image: bool
) -> tuple[list[float], list[float]]:
    values = []
    for name in ("mean", "std"):
        numbers = list(given.get(name, ()))
        numbers = numbers * channels if len(numbers) == 1 else numbers
        if len(numbers) != channels:
            raise ModelError(f"{uri} takes {channels} channels, but scoring.preprocessing has {len(numbers)} of {name}")
        values.append([float(number) for number in numbers])
    mean, std = values
    if min(std) <= 0:
        raise ModelError(f"{uri}: scoring.preprocessing has a std of {min(std):g}; expected values above 0")
    if is_image and max(std) <= 1 and max(map(abs, mean)) <= 1:
        raise ModelError(
            f"{uri}: mean {mean} and std {std} of scoring.preprocessing are of pixels from 0 to 1; expected those of"
            " pixels from 0 to 255: multiply all by 255"
        )
    return mean, std


def file_of(network: keras.Model) -> bytes:
    """Return a network as the bytes of a ``.keras`` file."""
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        path = os.path.join(folder, "model.keras")
        network.save(path)
        with open(path, "rb") as file:
            return file.read()


def _check_probabilities(uri: str, network: keras.Model, spec: ArraySpec, head: Head | Literal["unknown"]) -> None:
    """Raise ``ModelError`` if a few samples have outputs that are not class probabilities."""
    noise = np.random.default_rng(0).uniform(0, 255, (1, *spec.shape)).astype(spec.dtype)
    for sample in (np.zeros_like(noise), noise):
        given = np.asarray(network(sample, training=False), np.float64)
        if not (given.min() >= 0 and abs(given.sum() - 1) < _ROUNDING):
            raise ModelError(
                f"{uri} returns {given.min():.3g} to {given.max():.3g} from {last_layer(network)}, which are not class"
                f" probabilities; expected a network that ends with a softmax, or scoring.head: logits or sigmoid, for"
                f" what it returns (head: {head})"
            )
