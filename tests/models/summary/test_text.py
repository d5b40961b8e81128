"""A description of a network as text and as JSON."""

import dataclasses
import json

import pytest
from keras import layers

from convoy.models.summary.describe import describe
from convoy.models.summary.text import amount, full_text, memory, totals_line
from tests.models.networks import ONE, chain


@pytest.mark.parametrize("name", ["lenet5", "vgg16", "resnet50", "inception_v3"])
def test_text_has_a_row_for_each_layer_with_its_whole_name(name, request):
    network = request.getfixturevalue(name)
    rows = {line.split()[0]: line for line in full_text(network).splitlines() if line[:1].strip()}
    for layer in network.layers:
        assert f"{layer.parameters:,}" in rows[layer.name] or layer.parameters == 0


def test_totals_are_one_line(resnet50, lenet5):
    line = totals_line(resnet50)
    for text in ("resnet50", "input 224x224x3", f"{len(resnet50.layers)} layers", "25,636,712 parameters"):
        assert text in line
    assert "7.72G FLOPs" in line  # two for each of 3,857,973,248 multiply-adds
    assert "\n" not in line
    assert "without" not in line
    assert "without mine" in totals_line(dataclasses.replace(lenet5, uncounted=("mine",)))


@pytest.mark.parametrize(
    ("shape", "network"),
    [
        ((500, 2), [layers.Conv1D(4, 7), layers.MaxPooling1D(2), layers.GlobalAveragePooling1D()]),
        ((9, 9, 9, 1), [layers.Conv3D(4, 3), layers.Flatten(), layers.Dense(2)]),
        ((7,), [layers.Dense(4), layers.Dense(2)]),
    ],
    ids=["signal", "volume", "vector"],
)
def test_text_of_networks_of_every_rank_names_its_layers(shape, network):
    text = full_text(describe(chain(shape, *network), ONE))
    assert all(layer.name in text for layer in network)


def test_line_of_a_layer(lenet5, resnet50):
    lines = full_text(lenet5).splitlines()
    assert "c3 Conv2D 10x10x16 (14-5+0)/1+1 = 10 2,416 240k 14 2 6400" in [" ".join(line.split()) for line in lines]
    text = full_text(resnet50)
    assert "(230-7+0)/2+1 = 112.5*" in text
    assert "conv1_conv 1, pool1_pool 1" in " ".join(text.split())


def test_stages_add_up(resnet50):
    lines = [line.split() for line in full_text(resnet50).splitlines()]
    stages = lines[next(i for i, line in enumerate(lines) if line[:1] == ["sides"]) + 2 :]
    stages = stages[: stages.index([])]
    assert sum(int(line[1]) for line in stages) == len(resnet50.layers)
    assert sum(int(line[-4].replace(",", "")) for line in stages) == resnet50.parameters


def test_json_has_the_same_numbers(resnet50):
    values = json.loads(json.dumps(resnet50.as_dict()))
    assert sum(layer["multiply_adds"] for layer in values["layers"]) == values["multiply_adds"] == 3_857_973_248
    assert values["layers"][-1]["sees"] == "all"
    assert "layers" not in resnet50.totals()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9999"), (10_000, "10.0k"), (999_999, "1.00M"), (15_470_264_320, "15.5G"), (2.5e12, "2.50T")],
)
def test_amounts_have_three_digits(value, text):
    assert amount(value) == text


def test_memory_has_its_unit():
    assert [memory(value) for value in (180, 246_824, 3_900_827_648)] == ["180 B", "247 kB", "3.90 GB"]
