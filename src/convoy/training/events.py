"""Events that ranks send to the driver while they train: JSON objects with a ``type``.

| type | fields | sent by |
| --- | --- | --- |
| ``started`` | rank, world_size, host, pid | each rank, when it begins |
| ``step`` | epoch, epochs, step, steps, loss, images_per_second | rank 0, a few times per second |
| ``alive`` | | rank 0, while it validates |
| ``epoch`` | epoch, epochs, seconds, metrics | rank 0, after each epoch |
| ``rank`` | epoch, rank, ranks, metrics | each rank, after each epoch: times and memory |
| ``system`` | rank, metrics | each rank, every few seconds: CPU and memory of its machine |
| ``health`` | epoch, metrics | rank 0: dead units and gradient norms of the layers |
| ``checkpoint`` | epoch | rank 0, after a checkpoint between two epochs |
| ``resumed`` | epoch, step, done | rank 0, when it continues from a checkpoint; ``done`` has earlier ``epoch`` events |
| ``early_stopping`` | epoch, stopped, monitor | rank 0, at the end: the best epoch, and the one it stopped after |
| ``warning`` | text | any rank |
| ``failure`` | kind, text | a rank that fails; ``kind`` names the class of an error that the user can fix |

The driver itself adds ``ranks`` (ranks, of) and ``restart`` (attempt, reason). Epochs are counted from 0.
"""

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Emit = Callable[[Event], None]
"""Sends an event."""
