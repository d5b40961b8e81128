"""A picture of a network: volumes in a row where it is a chain, else its graph. Drawn without a display."""

from matplotlib.figure import Figure

from convoy.errors import ConfigError
from convoy.models.summary.boxes import boxes_of, is_chain
from convoy.models.summary.describe import NetworkDescription
from convoy.models.summary.picture_graph import graph_picture
from convoy.models.summary.picture_volumes import volumes_picture

_MANY = 33  # boxes; volumes of more would be too small to read


def network_picture(network: NetworkDescription) -> Figure:
    """Draw a network."""
    boxes = boxes_of(network)
    draw = volumes_picture if is_chain(boxes) and len(boxes) <= _MANY else graph_picture
    return draw(network, boxes)


def write_picture(network: NetworkDescription, path: str) -> None:
    """Draw a network into a file.

    Args:
        network: What to draw.
        path: Its end says in what format: ``.png``, ``.svg``, ``.pdf``.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        network_picture(network).savefig(path)
    except OSError as error:
        raise ConfigError(f"picture {path!r} cannot be written: {error.strerror}") from None
