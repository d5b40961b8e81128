"""``convoy.describe``: a network of a configuration, or any Keras network, as a table."""

import keras
import pytest

import convoy
from convoy.errors import ModelError


def test_a_keras_network_is_described_as_a_table():
    network = keras.Sequential([keras.Input((5, 5, 1)), keras.layers.Conv2D(2, 3, name="filters")])
    found = convoy.describe(network)
    assert found.layers[-1].output == (3, 3, 2)
    assert "(5-3+0)/1+1 = 3" in str(found)
    page = found._repr_html_()
    assert "<td style='text-align:left'>filters</td>" in page
    assert page.count("<table") == 1


def test_a_configuration_is_described_and_what_does_not_fit_is_refused():
    config = convoy.load(overrides={"model.name": "lenet5"})
    assert convoy.describe(config, num_classes=10, shape=(32, 32, 1)).parameters == 61_706
    with pytest.raises(ModelError, match="lenet5 does not fit images of 4x4x1"):
        convoy.describe(config, num_classes=10, shape=(4, 4, 1))


def test_long_networks_are_cut_in_a_notebook():
    layers = [keras.layers.Dense(1, name=f"dense{number}") for number in range(200)]
    page = convoy.describe(keras.Sequential([keras.Input((1,)), *layers]))._repr_html_()
    assert "dense10<" in page
    assert "dense199<" not in page
    assert "and 151 more" in page
