"""How far a stream has come, kept with the rows that it has written: both become visible in one step."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = "_stream.json"  # Spark and PyArrow do not take it for data


@dataclass(frozen=True)
class StreamOffset:
    """The last batch whose rows a result has.

    Attributes:
        query: The stream's id, which its checkpoint gives it.
        batch: The batch's number. They come one after the other, and after a kill the last one comes again, the same.
    """

    query: str
    batch: int

    def write(self, folder: Path) -> None:
        """Put it into a result that is being written."""
        (folder / _NAME).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "StreamOffset | None":
        """That of a result; None where no stream has written."""
        try:
            return cls(**json.loads((folder / _NAME).read_text()))
        except FileNotFoundError:
            return None
