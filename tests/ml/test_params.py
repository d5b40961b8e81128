"""Params, and the configuration that they describe; no Spark is started."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.ml.param import Param

from convoy.config import Config
from convoy.errors import ConfigError, SourceError
from convoy.ml import ImageClassifier, ImageClassifierModel, ImageFeaturizer
from convoy.ml.params import ClassifierParams
from convoy.ml.rows import indexed_labels
from convoy.ml.settings import config_of, in_params

CLASSES = [ImageClassifier, ImageClassifierModel, ImageFeaturizer]


@pytest.mark.parametrize("kind", CLASSES)
def test_each_param_has_a_description_a_getter_and_a_setter(kind):
    one = kind()
    explained = one.explainParams()
    for param in one.params:
        assert isinstance(param, Param)
        assert param.name in explained
        assert len(param.doc) > 10
        suffix = param.name[0].upper() + param.name[1:]
        value = {"config": {}, "handleInvalid": "skip", "outputType": "array"}.get(param.name)
        if value is None:
            value = param.typeConverter("3" if "String" in param.typeConverter.__name__ else 3)
        assert getattr(one, f"set{suffix}")(value) is one
        assert getattr(one, f"get{suffix}")() == value


def test_params_are_those_of_the_fields():
    classifier = ImageClassifier(
        model="resnet20", imageHeight=28, imageWidth=30, imageChannels=1, epochs=7, batchSize=64, learningRate=0.5,
        optimizer="sgd", numWorkers=3, seed=9, storeRoot="/data", trackingUri="sqlite:///a.db", experiment="mine",
        config={"training.label_smoothing": 0.1, "model.dropout": 0.2},
    )  # fmt: skip
    config = config_of(classifier)
    assert config.dataset.image.shape == (28, 30, 1)
    assert (config.dataset.root, config.dataset.test_fraction) == ("/data", 0.0)
    assert (config.model.name, config.model.dropout) == ("resnet20", 0.2)
    training = config.training
    assert (training.epochs, training.global_batch_size, training.num_workers, training.seed) == (7, 64, 3, 9)
    assert (training.optimizer.name, training.optimizer.learning_rate, training.label_smoothing) == ("sgd", 0.5, 0.1)
    assert (config.tracking.uri, config.tracking.experiment) == ("sqlite:///a.db", "mine")


def test_defaults_are_those_of_the_configuration():
    config = config_of(ImageClassifier())
    assert config.training == Config().training
    assert config.model == Config().model
    assert config.tracking == Config().tracking
    assert config.dataset.image == Config().dataset.image


def test_none_is_the_fields_default():
    assert config_of(ImageClassifier(learningRate=None, trackingUri=None)).training == Config().training


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"config": {"training.epoch": 3}}, r"training.epoch.*did you mean"),
        ({"config": {"nothing": 3}}, "nothing"),
        ({"config": {"training.epochs": 3}, "epochs": 4}, "config has 'training.epochs', which epochs sets too"),
        ({"config": {"source.path": "x"}}, "'source.path', which has no effect.*dataset, model, training, tracking"),
        ({"config": {"dataset.version": "abc"}}, "dataset.version.*remove it"),
        ({"config": {"training.find_learning_rate": True}}, "use convoy.train"),
        ({"config": {"training.max_restarts": "many"}}, "training.max_restarts"),
        ({"imageChannels": 2}, "imageChannels is 2; expected 1"),
        ({"learningRate": -1.0}, "^learningRate is -1.0; expected a number greater than 0"),
        ({"optimizer": "adan"}, "optimizer"),
        ({"storeRoot": "s4://bucket"}, "^storeRoot is 's4://bucket'"),
        ({"numWorkers": 8, "batchSize": 4}, "^batchSize is 4; expected at least one sample for each"),
    ],
)
def test_what_does_not_fit_is_one_line_in_terms_of_params(params, said):
    with pytest.raises(ConfigError, match=said) as raised:
        config_of(ImageClassifier(**params))
    assert "\n" not in str(raised.value)


def test_a_field_of_a_param_may_be_in_config_instead():
    assert config_of(ImageClassifier(config={"training.epochs": 3})).training.epochs == 3


def test_wrong_types_and_unknown_params_are_refused_when_they_are_set():
    with pytest.raises(TypeError, match="epochs"):
        ImageClassifier(epochs="many")
    with pytest.raises(TypeError, match="config"):
        ImageClassifier(config=["training.epochs"])
    with pytest.raises(TypeError, match="skip"):
        ImageClassifier(handleInvalid="drop")
    with pytest.raises(TypeError, match="outputType"):
        ImageFeaturizer(outputType="list")
    with pytest.raises(TypeError, match="unexpected keyword"):
        ImageClassifier(epoch=3)
    with pytest.raises(ConfigError, match="has no param 'epoch'; did you mean 'epochs'"):
        ImageClassifier().setParams(epoch=3)


def test_copies_have_params_of_their_own():
    one = ImageClassifier(epochs=3, config={"model.dropout": 0.1})
    other = one.copy({one.epochs: 4})
    assert (one.getEpochs(), other.getEpochs(), other.uid) == (3, 4, one.uid)
    assert other.setSeed(5).getSeed() == 5
    assert one.getSeed() == 0


def test_messages_name_params_only_where_they_are_the_field():
    with pytest.raises(SourceError, match=r"is labelCol right\? raise dataset.max_bad_fraction"), in_params():
        raise SourceError("is source.columns.label right? raise dataset.max_bad_fraction")
    with pytest.raises(SourceError, match=r"^training.epochs_per_day$"), in_params():
        raise SourceError("training.epochs_per_day")


def test_each_field_of_a_param_exists():
    for field in ClassifierParams.FIELDS.values():
        value = Config()
        for part in field.split("."):
            value = getattr(value, part)


@pytest.mark.parametrize(
    ("names", "numeric", "classes", "labels"),
    [
        (["b", "a", "c"], True, ["a", "b"], ["b", "a", "c"]),
        (None, True, ["0", "1", "3"], ["0", "1", "2", "3"]),
        (None, True, ["1", "2"], ["0", "1", "2"]),
        (None, True, ["7", "1001"], None),
        (None, True, ["0", "1.5"], None),
        (None, True, ["-1", "1"], None),
        (None, False, ["0", "1"], None),
        (None, False, ["a", "b"], None),
    ],
)
def test_labels_are_indices_as_spark_takes_them(names, numeric, classes, labels):
    assert indexed_labels(names, numeric, classes) == labels


def test_importing_it_loads_neither_tensorflow_nor_mlflow_and_needs_no_session():
    code = (
        "import sys, convoy.ml as ml; from pyspark import SparkContext;"
        "ml.ImageClassifier(epochs=3).copy(); ml.ImageFeaturizer();"
        "assert SparkContext._active_spark_context is None;"
        "print(sorted({'mlflow', 'tensorflow', 'keras', 'horovod', 'petastorm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1200, check=True)
    assert done.stdout.strip() == "[]"


def test_the_table_has_each_param_with_its_default():
    page = (Path(__file__).resolve().parents[2] / "docs" / "spark-ml.md").read_text()
    table = page[page.index("### Params") : page.index("### Rows that cannot be used")]
    rows = {names: default for names, default in re.findall(r"^\| (`.*?) \|(.*?)\|", table, re.MULTILINE)}
    named = {name: default for names, default in rows.items() for name in re.findall(r"`(\w+)`", names)}
    one = ImageClassifier()
    assert named.keys() == {param.name for param in one.params}
    for param in one.params:
        if one.hasDefault(param) and not param.name.startswith("image"):
            default = one.getOrDefault(param)
            assert named[param.name].strip(" `") == ("" if default == "" else str(default))
