"""Networks that normalise by themselves are normalised once."""

import sys
import types
from dataclasses import replace

import keras
import numpy as np
import pytest

from convoy.config import CheckpointConfig, Config, ModelConfig, TrainingConfig
from convoy.errors import ModelError, TrainingError
from convoy.models.builder import build
from convoy.models.input_scale import input_scale
from convoy.training.checkpoint.resume import check_resumable
from convoy.training.checkpoint.signature import resume_signature
from convoy.training.checkpoint.store import Checkpoint, CheckpointStore
from convoy.training.optim.precision import in_precision
from convoy.workflows.train import with_preprocessing
from tests.conftest import noise
from tests.field.inputs.networks import MIXED, NORMALISING, RAW
from tests.logged import manifest

SHAPE, CLASSES = (32, 32, 3), 5
FUNCTIONS = NORMALISING | RAW | MIXED
QUICK = [name for name in FUNCTIONS if "Net" not in name] + ["MobileNetV3Small"]


@pytest.fixture
def name(monkeypatch):
    """Make a function of the user importable; returns its ``model.name``."""

    def make(function):
        monkeypatch.setitem(sys.modules, "fieldnets", types.ModuleType("fieldnets"))
        sys.modules["fieldnets"].build = function
        return "fieldnets:build"

    return make


def of_dataset(shape=SHAPE):
    small = manifest()
    return replace(small, image=replace(small.image, height=shape[0], width=shape[1]), shape=shape)


def built(config, shape=SHAPE):
    return build(config, shape, CLASSES, [100.0] * shape[-1], [50.0] * shape[-1])


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_first_layers_show_whether_samples_are_normalised(kind):
    scale = input_scale(FUNCTIONS[kind](SHAPE, CLASSES))
    assert scale.is_normalised == (kind in NORMALISING)
    assert scale.is_mixed == (kind in MIXED)


@pytest.mark.parametrize("kind", QUICK)
def test_samples_are_normalised_once(kind, name):
    """The network that is built gives what the user's own gives for pixels, or for normalised ones."""
    keras.utils.set_random_seed(1)
    own = FUNCTIONS[kind](SHAPE, CLASSES)
    network = built(ModelConfig(name(lambda *_: own)))
    images = noise(3, *SHAPE)
    given = images.astype(np.float32)
    if kind not in NORMALISING:
        given = (given - 100) / 50
    np.testing.assert_allclose(network(images, training=False).numpy(), own(given, training=False).numpy(), atol=1e-5)
    assert sum(layer.name in ("normalise", "rescale") for layer in network.layers) == 1


@pytest.mark.parametrize(
    ("layers", "once"),
    [
        ([{"rescaling": {"scale": 1 / 255}}], True),
        (["identity", {"Rescaling": {"scale": 0.01, "offset": -1}}], True),
        ([{"rescaling": {"scale": 1}}], False),
        (["batch_normalization", {"rescaling": {"scale": 1 / 255}}], False),
        ([{"activation": {"activation": "tanh"}}, {"rescaling": {"scale": 1 / 255}}], False),
    ],
)
def test_layers_of_the_configuration_too(layers, once):
    config = ModelConfig(layers=[*layers, "flatten", {"dense": {"activation": "softmax"}}])
    names = [layer.name for layer in built(config).layers]
    assert ("normalise" in names) != once
    resolved = with_preprocessing(Config(model=config), of_dataset()).model
    assert resolved.preprocessing == ("none" if once else "dataset")
    assert [layer.name for layer in built(resolved).layers] == names


@pytest.mark.parametrize("kind", QUICK)
def test_the_decision_is_recorded_and_told_in_one_line(kind, name, capsys):
    config = Config(model=ModelConfig(name(FUNCTIONS[kind])))
    resolved = with_preprocessing(config, of_dataset())
    assert resolved.model.preprocessing == ("none" if kind in NORMALISING else "dataset")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (kind not in RAW)
    assert all("model.preprocessing" in line for line in lines)
    assert with_preprocessing(resolved, of_dataset()) == resolved


def test_what_the_user_says_counts_and_is_warned_about(name, capsys):
    given = ModelConfig(name(NORMALISING["rescaling"]), preprocessing="dataset")
    assert with_preprocessing(Config(model=given), of_dataset()).model == given
    assert "normalise" in [layer.name for layer in built(given).layers]
    assert "warning" in capsys.readouterr().err
    assert "normalise" not in [layer.name for layer in built(ModelConfig("lenet5", preprocessing="none")).layers]
    with pytest.raises(ModelError, match=r"model\.preprocessing is 'imagenet'.*fieldnets"):
        built(replace(given, preprocessing="imagenet"))


def test_published_architectures_are_as_before():
    auto, explicit = built(ModelConfig("lenet5")), built(ModelConfig("lenet5", preprocessing="dataset"))
    assert [layer.name for layer in auto.layers] == [layer.name for layer in explicit.layers]
    assert with_preprocessing(Config(), of_dataset()).model == ModelConfig(preprocessing="dataset")


def test_an_adapted_normalisation_is_copied_with_options_and_in_16_bits(name):
    keras.utils.set_random_seed(1)
    own = NORMALISING["adapted normalisation"](SHAPE, CLASSES)
    images = noise(3, *SHAPE)
    expected = own(images.astype(np.float32), training=False).numpy()
    rewritten = built(ModelConfig(name(lambda *_: own), dropout=0.5))
    np.testing.assert_allclose(rewritten(images, training=False).numpy(), expected, atol=1e-5)
    half = in_precision(rewritten, "mixed_bfloat16")
    np.testing.assert_allclose(half(images, training=False).numpy(), expected, atol=0.05)


def test_in_16_bits_samples_are_still_rescaled_in_32(name):
    network = in_precision(built(ModelConfig(name(NORMALISING["rescaling"]))), "mixed_bfloat16")
    policies = {layer.name: layer.dtype_policy.name for layer in network.layers}
    assert policies["rescaling"] == policies["rescale"] == "float32"
    assert policies["conv2d"] == "mixed_bfloat16"


@pytest.mark.parametrize("before", ["dataset", "none"])
def test_a_resumed_run_does_what_its_checkpoint_did(before, name, tmp_path):
    """Checkpoints of earlier versions say ``dataset``, whatever their network does."""
    model = ModelConfig(name(NORMALISING["rescaling"]))
    state = {"epoch": 1, "identity": resume_signature(TrainingConfig(), replace(model, preprocessing=before), "f" * 64)}
    CheckpointStore(tmp_path / "abc", 2, pytest.fail).save(Checkpoint(3, {"weights/0000": np.zeros(3)}, state))
    config = Config(model=model, training=TrainingConfig(resume="abc", checkpoint=CheckpointConfig(str(tmp_path))))
    check_resumable(config, "f" * 64)
    assert with_preprocessing(config, of_dataset()).model.preprocessing == before
    other = replace(config, model=replace(model, preprocessing="none" if before == "dataset" else "dataset"))
    with pytest.raises(TrainingError, match=r"model\.preprocessing"):
        check_resumable(other, "f" * 64)
