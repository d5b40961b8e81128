"""convoy.dataset.sources: each kind of source that the configuration accepts has a class of its own."""

from typing import get_args

import pytest

from convoy.config import SourceConfig
from convoy.config.source import SourceKind
from convoy.dataset import sources
from convoy.errors import ConfigError

KINDS = get_args(SourceKind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_describes_itself_by_its_name(kind):
    source = sources._source_of(SourceConfig(kind=kind, path="/nowhere"))
    assert type(source).__name__ == f"{kind.capitalize()}Source"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "digits"])
def test_a_path_that_is_missing_is_asked_for_with_an_example(kind):
    with pytest.raises(ConfigError, match=r"source\.path.*--source\.path"):
        sources.source_of(SourceConfig(kind=kind))
