"""The default learning rate of each optimizer. Pure: the run pages show it too."""

from convoy.config import OptimizerConfig

USUAL_RATES: dict[str, float] = {
    "sgd": 0.01,  # Keras' default, for the three of its family
    "momentum": 0.01,
    "nesterov": 0.01,
    "adam": 0.001,  # Kingma & Ba 2015, algorithm 1
    "adamw": 0.001,  # Loshchilov & Hutter 2019, algorithm 2
    "rmsprop": 0.001,  # Tieleman & Hinton 2012, lecture 6e
    "adagrad": 0.01,  # PyTorch's default; Keras' 0.001 hardly moves, and Duchi et al. 2011 name none
    "adadelta": 1.0,  # Zeiler 2012: the update has no rate
    "lion": 0.0001,  # Chen et al. 2023: 3 to 10 times smaller than AdamW's
}


def configured_rate(config: OptimizerConfig) -> float:
    """Return the configured learning rate, or the optimizer's default, before any scaling."""
    return USUAL_RATES[config.name] if config.learning_rate is None else config.learning_rate
