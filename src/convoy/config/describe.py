"""Arguments of `jobs/describe.py` alone."""

from dataclasses import dataclass

from convoy.config.locations import local_field
from convoy.config.validation import require, settle

PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class DescribeArguments:
    """Input of `jobs/describe.py`, and the form of its output."""

    num_classes: int | None = None
    """Number of classes; null takes it, and the shape of the samples, from the dataset."""
    shape: tuple[int, ...] | None = None
    """Shape of a sample, channels last, instead of dataset.image, e.g. [500,2] for signals."""
    json: bool = False
    """Print all layers in the JSON line on stdout, instead of a table on stderr."""
    picture: str | None = None
    """File for a picture of the network: .png, .svg or .pdf. It needs Graphviz and pydot."""

    def __post_init__(self) -> None:
        require(self.num_classes is None or self.num_classes >= 1, "num_classes", self.num_classes, "at least 1")
        sides = self.shape is None or (len(self.shape) > 0 and min(self.shape) >= 1)
        require(sides, "shape", self.shape, "sides of at least 1, e.g. [500,2]")
        given = self.shape is None or self.num_classes is not None
        require(given, "num_classes", self.num_classes, "a number if shape is given")
        if self.picture is not None:
            settle(self, "picture", local_field("picture", self.picture))
        known = self.picture is None or self.picture.lower().endswith(PICTURES)
        require(known, "picture", self.picture, f"a file that ends in {', '.join(PICTURES)}")
