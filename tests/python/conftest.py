"""What the parity tests share."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


# The package under test: the one installed, or the release build's.
sys.path.append(str(ROOT / "build/release/python"))


def package_folder(package):
    """Where an installed package's files lie, found without running the package."""
    return Path(importlib.util.find_spec(package).origin).parent


@pytest.fixture(scope="session")
def ostinato():
    """The command under test: OSTINATO_BINARY, or the release build's."""
    return Path(os.environ.get("OSTINATO_BINARY", ROOT / "build/release/src/ostinato/ostinato"))


@pytest.fixture(scope="session")
def run(ostinato):
    """Runs the command with arguments; fails on a wrong exit code unless `check` is false."""

    def call(*arguments, check=True):
        result = subprocess.run(
            [ostinato, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0 or not check, result.stderr
        return result

    return call


@pytest.fixture(scope="session")
def tools():
    """The programs that only tests need: in OSTINATO_TEST_TOOLS, or the release build's."""
    return Path(os.environ.get("OSTINATO_TEST_TOOLS", ROOT / "build/release/tests"))


@pytest.fixture
def recorded():
    """The backend's records since the test began, as a function; forgets what was compiled."""
    import torch
    from torch._dynamo.backends.registry import list_backends, register_backend

    from ostinato.backend import ostinato as backend
    from ostinato.diagnostics import records

    if "ostinato" not in list_backends():  # not installed: there is no entry point
        register_backend(backend, name="ostinato")
    torch._dynamo.reset()
    before = len(records())
    return lambda: records()[before:]
