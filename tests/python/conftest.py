"""What the parity tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def ostinato():
    """The command under test: OSTINATO_BINARY, or the release build's."""
    return Path(os.environ.get("OSTINATO_BINARY", ROOT / "build/release/src/ostinato/ostinato"))
