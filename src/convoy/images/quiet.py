"""Suppression of the warnings that parsers emit about damaged metadata: workers would print one for each file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Python's warnings, as a context or as a decorator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
