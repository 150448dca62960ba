"""Only `make test-brokers` collects what is here: it takes minutes, and brokers from elsewhere."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Unless they are asked for, no file here is a test's."""
    del collection_path
    return None if config.getoption("--other-brokers") else True
