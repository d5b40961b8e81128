"""What is saved by this version and by others."""

import json

import pytest

from convoy import __version__
from convoy.errors import ConfigError, ModelError
from convoy.ml import ImageClassifier, ImageClassifierModel, ImageFeaturizer

pytestmark = pytest.mark.spark


@pytest.fixture
def saved(spark, tmp_path):
    """A saved estimator; returns its path, and a function that changes its metadata."""
    path = tmp_path / "classifier"
    ImageClassifier(epochs=3, config={"model.dropout": 0.5}, weightCol="w").save(str(path))

    def change(edit):
        [file] = (path / "metadata").glob("part-*")
        for checksum in (path / "metadata").glob(".*.crc"):
            checksum.unlink()
        metadata = json.loads(file.read_text())
        edit(metadata)
        file.write_text(json.dumps(metadata))

    return str(path), change


def refuse(path, said, kind=ImageClassifier):
    with pytest.raises(ConfigError, match=said) as raised:
        kind.load(path)
    assert "\n" not in str(raised.value)


def test_it_comes_back_as_it_was(saved):
    path, _ = saved
    loaded = ImageClassifier.load(path)
    assert (loaded.getEpochs(), loaded.getWeightCol(), loaded.getConfig()) == (3, "w", {"model.dropout": 0.5})
    assert not loaded.isSet("batchSize")
    assert loaded.getBatchSize() == 128
    loaded.setEpochs(4).write().overwrite().save(path)
    assert ImageClassifier.load(path).getEpochs() == 4


def test_saved_by_a_version_with_another_format(saved):
    path, change = saved
    change(lambda metadata: metadata["convoy"].update(version="9.1.0", format=2))
    refuse(path, rf"saved by Convoy 9.1.0 in format 2; this is Convoy {__version__}, which reads format 1: install")


def test_saved_by_a_version_with_other_params(saved):
    path, change = saved
    change(lambda metadata: metadata["convoy"].update(version="1.9.0"))
    assert ImageClassifier.load(path).getEpochs() == 3
    change(lambda metadata: metadata["paramMap"].update(warmupEpochs=2))
    refuse(path, rf"saved by Convoy 1.9.0 with the param 'warmupEpochs', which Convoy {__version__} does not have")


def test_saved_by_an_older_version_without_a_param(saved):
    path, change = saved
    change(lambda metadata: metadata["defaultParamMap"].pop("optimizer"))
    assert ImageClassifier.load(path).getOptimizer() == "adam"


def test_not_saved_by_convoy_or_not_at_all(saved, tmp_path):
    path, change = saved
    refuse(path, "holds an instance of convoy.ml.ImageClassifier; load it with ImageClassifier.load", ImageFeaturizer)
    refuse(path, "load it with ImageClassifier.load", ImageClassifierModel)
    change(lambda metadata: metadata.pop("convoy"))
    refuse(path, "saved by Convoy of an unknown version in format None")
    change(lambda metadata: metadata.clear())
    refuse(path, "has no metadata of pyspark.ml")
    refuse(
        str(tmp_path / "nothing"),
        "cannot be loaded: .*does not exist.*; expected a folder that ImageClassifier.save wrote",
    )


def test_what_is_there_is_not_replaced_unasked(saved):
    path, _ = saved
    with pytest.raises(ConfigError, match=r"exists already; to replace it, use write\(\).overwrite\(\)"):
        ImageClassifier().save(path)


def test_values_that_are_no_json(tmp_path, spark):
    with pytest.raises(ConfigError, match="config cannot be saved"):
        ImageClassifier(config={"model.layers": {1, 2}}).save(str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_a_model_without_a_network_is_refused(tmp_path, spark):
    with pytest.raises(ModelError, match="has no network; expected one of"):
        ImageClassifierModel().save(str(tmp_path / "x"))
