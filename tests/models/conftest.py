"""Published networks, described once for all tests; without weights."""

import pytest

from convoy.config import ModelConfig, TrainingConfig
from convoy.models.builder import build
from convoy.models.summary.describe import describe
from convoy.models.summary.graph import without_weights
from tests.models.networks import published, weights_without_values


@pytest.fixture(scope="session")
def vgg16():
    return published("VGG16")


@pytest.fixture(scope="session")
def resnet50():
    return published("ResNet50")


@pytest.fixture(scope="session")
def inception_v3():
    return published("InceptionV3")


@pytest.fixture(scope="session")
def lenet5():
    return describe(
        without_weights(lambda: build(ModelConfig("lenet5"), (32, 32, 1), 10, [0.0], [1.0])), TrainingConfig()
    )


@pytest.fixture
def unset():
    """Networks that the test builds have weights without values."""
    with weights_without_values():
        yield
