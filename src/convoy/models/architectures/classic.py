"""Small classic networks, as in their sources."""

import keras

from convoy.config import ModelConfig
from convoy.models.layers.blocks import KerasTensor, conv2d, pad_to, pool2d, softmax


def lenet5(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply LeNet-5: 61,706 parameters at 32x32x1 and ten classes.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
    Proc. IEEE 86(11), 1998, section II.B. Layer names are the paper's; as usual today, C3 is fully connected to S2,
    pooling has no weights and the output is a softmax. Sides of 28 to 31 pixels are padded with zeros to 32, as the
    paper does with its 28x28 characters.
    """
    height, width = (32 if 28 <= side < 32 else side for side in x.shape[1:3])
    x = pad_to(x, height, width, name="pad")
    x = conv2d(x, 6, 5, activation="tanh", name="c1")
    x = pool2d(x, 2, kind="average", name="s2")
    x = conv2d(x, 16, 5, activation="tanh", name="c3")
    x = pool2d(x, 2, kind="average", name="s4")
    x = conv2d(x, 120, 5, activation="tanh", name="c5")
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(84, activation="tanh", name="f6")(x)
    return softmax(x, num_classes)


def mnist_cnn(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply the CNN of Keras' classic MNIST example: 1,199,882 parameters at 28x28x1 and ten classes.

    https://github.com/keras-team/keras/blob/2.3.0/examples/mnist_cnn.py (99.25 % after 12 epochs, according to it).
    """
    x = conv2d(x, 32, 3, activation="relu", name="conv1")
    x = conv2d(x, 64, 3, activation="relu", name="conv2")
    x = pool2d(x, 2, kind="max", name="pool")
    x = keras.layers.Dropout(0.25, name="dropout1")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(128, activation="relu", name="dense")(x)
    x = keras.layers.Dropout(0.5, name="dropout2")(x)
    return softmax(x, num_classes)


def mlp(x: KerasTensor, num_classes: int, config: ModelConfig) -> KerasTensor:
    """Apply the perceptron of Keras' classic MNIST example: 669,706 parameters at 28x28x1 and ten classes.

    https://github.com/keras-team/keras/blob/2.3.0/examples/mnist_mlp.py (98.40 % after 20 epochs, according to it). It
    takes samples of any shape.
    """
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(512, activation="relu", name="dense1")(x)
    x = keras.layers.Dropout(0.2, name="dropout1")(x)
    x = keras.layers.Dense(512, activation="relu", name="dense2")(x)
    x = keras.layers.Dropout(0.2, name="dropout2")(x)
    return softmax(x, num_classes)
