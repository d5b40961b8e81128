"""What section ``scoring`` states about a model that Convoy did not train."""

import re
from pathlib import Path

from convoy.config import ScoringConfig
from convoy.errors import ConfigError
from convoy.models.external.facts import ModelFacts

_NUMBERED = re.compile(r"(\d+)\s+(.*\S)")  # a line of Teachable Machine's labels.txt


def facts_of(section: ScoringConfig) -> ModelFacts:
    """Return the facts that the fields state.

    Raises:
        ConfigError: ``scoring.classes`` names a file that cannot be read or has no names.
    """
    classes = class_names(section.classes) if isinstance(section.classes, str) else section.classes
    return ModelFacts(classes, section.image_size, section.resize, section.preprocessing, section.head)


def class_names(path: str) -> list[str]:
    """Return the class names in a text file: one in each line, by index.

    Numbers from 0 before all names are their indices, in any order, and are removed.

    Raises:
        ConfigError: The file cannot be read, or has no names.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"scoring.classes {path!r} cannot be read: {reason}; expected names, or a text file"
        ) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"scoring.classes {path!r} has no names; expected one in each line")
    numbered = {int(match[1]): match[2] for line in lines if (match := _NUMBERED.fullmatch(line))}
    if sorted(numbered) == list(range(len(lines))):
        return [numbered[i] for i in range(len(lines))]
    return lines
