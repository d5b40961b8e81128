"""The offset of a stream, stored with the rows that it has written: both become visible atomically."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = "_stream.json"  # Spark and PyArrow do not read it as data


@dataclass(frozen=True)
class StreamOffset:
    """The last batch whose rows are in a result.

    Attributes:
        query: The stream's id, from its checkpoint.
        batch: The batch's number. Batches follow one another, and after a kill the last one is repeated identically.
    """

    query: str
    batch: int

    def write(self, folder: Path) -> None:
        """Write the offset into a result that is being written."""
        (folder / _NAME).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "StreamOffset | None":
        """Return the offset of a result, or None if no stream has written it."""
        try:
            return cls(**json.loads((folder / _NAME).read_text()))
        except FileNotFoundError:
            return None
