"""The network of a training: its construction, initial weights and frozen layers, and the model that is saved."""

from collections.abc import Callable
from dataclasses import replace

import keras

from convoy.config import ModelConfig
from convoy.config.training import Precision
from convoy.dataset.storage.manifest import Manifest
from convoy.errors import ModelError
from convoy.models.pretrained.transfer import InitialWeights, Transferred, copy_by_name, freeze, start_from
from convoy.models.rewiring import fresh_names
from convoy.models.summary.graph import without_weights
from convoy.training.auxiliary import TrainedWithHeads, has_auxiliary_heads
from convoy.training.optim.precision import in_precision
from convoy.training.shared_weights import on_this_machine

Build = Callable[..., keras.Model]
"""Builds a network from (section ``model``, shape, classes, pixel mean, pixel std, dtype)."""


def untrained(build: Build, config: ModelConfig, manifest: Manifest) -> keras.Model:
    """Build a network for a dataset.

    Layers without an explicit name get the same name each time, in every process: they are counted from the beginning,
    regardless of networks built before.
    """
    statistics = manifest.pixel_mean, manifest.pixel_std
    with fresh_names():
        return build(config, manifest.shape, len(manifest.classes), *statistics, manifest.dtype)


def build_inference_model(build: Build, config: ModelConfig, manifest: Manifest) -> keras.Model:
    """Build the network as it is saved: without auxiliary heads."""
    return untrained(build, replace(config, auxiliary_heads=False), manifest)


def check_network(build: Build, config: ModelConfig, manifest: Manifest) -> keras.Model:
    """Build on the driver what ranks will build, so that errors are found before they start.

    Returns:
        The network, for inspection: its weights have no values.

    Raises:
        ModelError: The network does not fit the samples, or has no layer ``freeze_to``.
    """
    model = without_weights(lambda: untrained(build, config, manifest))
    if config.freeze_to is not None:
        freeze(model, config.freeze_to)
    return model


def check_weights(build: Build, config: ModelConfig, manifest: Manifest, weights: InitialWeights) -> Transferred:
    """Load the initial weights on the driver and return which layers got them.

    Raises:
        ModelError: The weights do not fit the network.
    """
    return start_from(build_inference_model(build, config, manifest), weights, manifest.classes)


def network(
    build: Build, config: ModelConfig, manifest: Manifest, precision: Precision, weights: InitialWeights | None
) -> keras.Model:
    """Build the network that is trained.

    Args:
        build: Builds networks.
        config: Section ``model``.
        manifest: Manifest of the dataset.
        precision: Precision of the computation.
        weights: Initial weights; needed on rank 0 only, which broadcasts its weights.

    Raises:
        ModelError: See ``check_network`` and ``check_weights``.
    """
    model = untrained(build, config, manifest)
    if weights is not None:
        with on_this_machine(weights) as local:
            if has_auxiliary_heads(model):
                plain = build_inference_model(build, config, manifest)
                start_from(plain, local, manifest.classes)
                copy_by_name(plain, model)
            else:
                start_from(model, local, manifest.classes)
    model = in_precision(model, precision)
    if config.freeze_to is not None:
        freeze(model, config.freeze_to)
    return TrainedWithHeads(model.input, model.output, name=model.name) if has_auxiliary_heads(model) else model


def export_model(build: Build, config: ModelConfig, manifest: Manifest, model: keras.Model) -> keras.Model:
    """Return a new network with the trained weights, without the optimizer, Horovod and auxiliary heads.

    All of its layers are trainable again.

    Raises:
        ModelError: The network without auxiliary heads has a layer that the one with them lacks.
    """
    trained = build_inference_model(build, config, manifest)
    if not has_auxiliary_heads(model):
        trained.set_weights(model.get_weights())
        return trained
    missing = {layer.name for layer in trained.layers if layer.weights} - {layer.name for layer in model.layers}
    if missing:
        raise ModelError(
            f"model.auxiliary_heads: layer {min(missing)!r} of the network without them is not in the one with them;"
            " give layers the same names in both"
        )
    copy_by_name(model, trained)
    return trained
