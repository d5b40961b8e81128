"""Section ``model``."""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from convoy.config.locations import local_or_model
from convoy.config.validation import require, settle

Activation = Literal["relu", "leaky_relu", "maxout", "elu", "gelu", "tanh", "sigmoid"]

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_DEFAULT_NAME = "lenet5"


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    name: str = _DEFAULT_NAME
    """Architecture (`lenet5`, `alexnet`, `vgg11`, `vgg16`, `vgg19`, `googlenet`, `inception_v3`, `resnet18`,
    `resnet34`, `resnet50`, `resnet20`, `resnet56`, `mnist_cnn`, `mlp`, `cnn1d` of signals, `cnn3d` of volumes), or
    `package.module:function`: a function of the input shape and the number of classes that returns a Keras model."""
    layers: list[dict[str, Any] | str] | None = None
    """A custom network: its layers, first to last, each `{<Keras layer>: {<argument>: value}}`, or only the layer if
    it needs no arguments; `name` is then just a label, `own` by default. The last layer is a softmax over the
    classes, `{dense: {activation: softmax}}`; its units can be omitted."""
    variant: Literal["auto", "paper", "small"] = "auto"
    """`paper` is the published network, `small` its variant for images of about 32x32, without early pooling; `auto`
    uses `small`, if there is such a variant, for sides of up to 64 pixels, and for sides too short for `paper`."""
    activation: Activation | None = None
    """Activation of the hidden layers, instead of the network's own."""
    dropout: float | None = None
    """Dropout rate, instead of the network's own; in a network without dropout it is added before the last layer."""
    batch_norm: bool | None = None
    """true adds batch normalisation between each hidden layer and its activation if there is none, false removes it;
    null does not change the network."""
    initialiser: str | None = None
    """Keras initialiser of the hidden layers' weights, e.g. `he_normal`, instead of the network's own."""
    l2: float = 0.0
    """L2 penalty on the weights of convolutions and dense layers: this times the sum of their squares is added to the
    loss."""
    head: Literal["paper", "softmax"] = "paper"
    """`softmax` replaces the network's own classifier by global average pooling and one softmax layer."""
    grouped: bool = False
    """`alexnet`: use two groups, as in its paper, which used two GPUs."""
    auxiliary_heads: bool = False
    """`googlenet`: train with the paper's two auxiliary classifiers; the saved network does not have them."""
    strict_geometry: bool = True
    """Custom networks: raise an error if a filter and stride do not tile the input exactly (Keras silently drops the
    remainder)."""
    preprocessing: Literal["auto", "dataset", "imagenet", "none"] = "auto"
    """Preprocessing of samples in the network: `dataset` normalises each channel with the dataset's mean and standard
    deviation, `imagenet` does what `keras.applications` does for this architecture, as its published weights expect,
    `none` does nothing; `auto` is `none` for a custom network whose first layers normalise, e.g. with Rescaling, else
    `dataset`, and for a resumed run what that run did."""
    initial_weights: str | None = None
    """Weights to start from: a model URI (`runs:/<id>/model`, `models:/name/3`, `models:/name@champion`), or a `.keras`
    or `.weights.h5` file, including those of `keras.applications`. Layers with other shapes are an error, except for
    the last one if the classes differ: it is initialised randomly."""
    freeze_to: str | None = None
    """Name of the last frozen layer: it and all layers before it keep their initial weights."""

    def __post_init__(self) -> None:
        name, layers, dropout = self.name, self.layers, self.dropout
        require(bool(name.strip()), "model.name", name, "an architecture, or package.module:function")
        is_function = _FUNCTION.fullmatch(name) is not None
        require(is_function or ":" not in name, "model.name", name, "package.module:function, e.g. mynets.small:build")
        if layers is not None:
            require(not is_function, "model.layers", layers, f"null where model.name is a function, {name}")
            if name == _DEFAULT_NAME:
                object.__setattr__(self, "name", "own")
            expected = "a list of layers, first to last, e.g. [{conv2d: {filters: 8, kernel_size: 5}}, flatten, ...]"
            require(bool(layers), "model.layers", layers, expected)
            for number, layer in enumerate(layers, 1):
                expected = "{<Keras layer>: {<argument>: value}}, e.g. {conv2d: {filters: 8, kernel_size: 5}}"
                require(_is_layer(layer), f"layer {number} of model.layers", layer, expected)
        require(dropout is None or 0 <= dropout < 1, "model.dropout", dropout, "a share from 0 to less than 1, or null")
        require(0 <= self.l2 < math.inf, "model.l2", self.l2, "0 or more")
        for field in ("initialiser", "initial_weights", "freeze_to"):
            require(getattr(self, field) != "", f"model.{field}", "", "a name, or null")
        if self.initial_weights is not None:
            settle(self, "initial_weights", local_or_model("model.initial_weights", self.initial_weights))
        for field, architecture in (("grouped", "alexnet"), ("auxiliary_heads", "googlenet")):
            fits = name == architecture and layers is None
            require(
                fits or not getattr(self, field),
                f"model.{field}",
                True,
                f"false with {name}, or model.name {architecture}",
            )
        require(
            self.head == "paper" or not self.auxiliary_heads,
            "model.auxiliary_heads",
            True,
            "false with model.head softmax, which replaces one classifier",
        )


def _is_layer(layer: Any) -> bool:
    """Return whether it is a layer's name, or a mapping of one name to arguments or null."""
    if isinstance(layer, str):
        return bool(layer)
    ((kind, arguments),) = layer.items() if len(layer) == 1 else [(None, None)]
    if isinstance(arguments, dict) and not all(isinstance(name, str) for name in arguments):
        return False
    return isinstance(kind, str) and (arguments is None or isinstance(arguments, dict))
