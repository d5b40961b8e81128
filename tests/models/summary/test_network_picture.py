"""The picture of a network: every layer once, nothing on top of another."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from convoy.models.architectures.layered import layout
from convoy.models.summary.boxes import boxes_of, is_chain
from convoy.models.summary.describe import describe
from convoy.models.summary.picture import network_picture
from convoy.models.summary.text import WIDTH, full_text
from tests.models.networks import ONE, chain


def png(network):
    buffer = io.BytesIO()
    figure = network_picture(network)
    figure.savefig(buffer, format="png")
    return figure, buffer.getvalue()


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_picture_of_a_chain_shows_its_volumes(lenet5):
    figure, content = png(lenet5)
    shown = texts(figure)
    assert content.startswith(b"\x89PNG")
    for volume in ("32x32x1", "28x28x6", "14x14x6", "10x10x16", "5x5x16", "1x1x120", "84", "10"):
        assert volume in shown
    assert "conv 5x5\ntanh\n156 weights" in shown
    assert "avg pool 2x2\nstride 2" in shown


@pytest.mark.parametrize("name", ["resnet50", "inception_v3"])
def test_picture_of_branches_shows_each_convolution_once_and_overlaps_nothing(name, request):
    from matplotlib.patches import FancyBboxPatch

    network = request.getfixturevalue(name)
    figure, content = png(network)
    shown = texts(figure)
    convolutions = [layer for layer in network.layers if layer.kind == "Conv2D"]
    filters = [text for text in shown if text[0].isdigit() and "\n" in text]
    pools = [layer for layer in network.layers if layer.kind in ("MaxPooling2D", "AveragePooling2D")]
    assert len(filters) == len(convolutions) + len(pools)
    corners = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    boxes = np.array([(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in corners])
    first, second = boxes[:, None], boxes[None]
    meet = (first[..., :2] < second[..., 2:]).all(-1) & (second[..., :2] < first[..., 2:]).all(-1)
    assert not np.triu(meet, 1).any()
    width, height = figure.get_size_inches()
    assert boxes.min() >= 0
    assert (boxes.max(0)[2:] <= (width, height)).all()
    assert len(content) < 500_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: chain(
            (500, 2), layers.Conv1D(4, 7), layers.MaxPooling1D(2), layers.GlobalAveragePooling1D(), name="signal"
        ),
        lambda: chain((9, 9, 9, 1), layers.Conv3D(4, 3), layers.Flatten(), layers.Dense(2), name="volume"),
        lambda: chain((7,), layers.Dense(4), layers.Dense(2), name="vector"),
        lambda: chain((16, 16, 1), *(layers.Conv2D(2, 3, padding="same") for _ in range(60)), name="long"),
    ],
    ids=["signal", "volume", "vector", "long"],
)
def test_networks_of_every_rank_are_told_and_drawn(make):
    network = make()
    described = describe(network, ONE)
    assert max(map(len, full_text(described).splitlines())) <= WIDTH
    figure, content = png(described)
    assert content.startswith(b"\x89PNG")
    assert any(text.startswith(network.name) for text in texts(figure))


def test_layers_that_only_touch_up_are_part_of_a_box():
    network = describe(
        chain(
            (28, 28, 1),
            layers.ZeroPadding2D(2),
            layers.Conv2D(8, 5, use_bias=False, name="conv"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="dense"),
        ),
        ONE,
    )
    boxes = boxes_of(network)
    assert [box.name for box in boxes] == ["image", "conv", "dense"]
    assert is_chain(boxes)
    assert (boxes[1].output, boxes[1].activation, boxes[1].weights) == ((28, 28, 8), "relu", 5 * 5 * 8 + 4 * 8)
    assert boxes[0].output == (28, 28, 1)


GRAPHS = (
    st.integers(1, 40)
    .flatmap(
        lambda count: st.tuples(*(st.sets(st.integers(0, max(0, i - 1)), max_size=3).map(sorted) for i in range(count)))
    )
    .map(lambda graph: [[], *([source for source in sources] or [index] for index, sources in enumerate(graph))])
)


@given(GRAPHS, st.integers(2, 9))
def test_layout_keeps_columns_apart_and_edges_forward(sources, longest):
    found = layout(sources, longest)
    for node, depends in enumerate(sources):
        for source in depends:
            columns = [column for column, _ in found.lanes[source, node]]
            assert columns == list(range(found.column[source], found.column[node] + 1))
    places = list(zip(found.column, found.height, strict=True))
    for i, (column, height) in enumerate(places):
        assert all(at != column or abs(height - other) >= 0.99 for at, other in places[i + 1 :])
    assert [column for first, last in found.bands for column in range(first, last + 1)] == list(
        range(max(found.column) + 1)
    )
    assert all(last - first < longest for first, last in found.bands)
