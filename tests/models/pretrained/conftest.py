"""Networks are built while these tests are collected."""

import tests.threads  # noqa: F401
