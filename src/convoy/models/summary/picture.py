"""Picture of a network: a row of volumes if it is a chain, otherwise its graph. Drawn without a display."""

from matplotlib.figure import Figure

from convoy.errors import ConfigError
from convoy.models.summary.boxes import boxes_of, is_chain
from convoy.models.summary.describe import NetworkDescription
from convoy.models.summary.picture_graph import graph_picture
from convoy.models.summary.picture_volumes import volumes_picture

_MANY = 33  # boxes; volumes of more would be too small to read


def network_picture(network: NetworkDescription) -> Figure:
    """Return the picture of a network."""
    boxes = boxes_of(network)
    draw = volumes_picture if is_chain(boxes) and len(boxes) <= _MANY else graph_picture
    return draw(network, boxes)


def write_picture(network: NetworkDescription, path: str) -> None:
    """Write the picture of a network to a file.

    Args:
        network: The network.
        path: Path of the file; its extension determines the format: ``.png``, ``.svg``, ``.pdf``.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        network_picture(network).savefig(path)
    except OSError as error:
        raise ConfigError(f"picture {path!r} cannot be written: {error.strerror}") from None
