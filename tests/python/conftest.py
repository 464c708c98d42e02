"""What the parity tests share."""

import importlib.util
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizer_models

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = re.compile(r"ostinato: \[[a-zA-Z0-9_/.,-]+\] .+\. .+[.:]?\n")


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


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory):
    """Names for caches, each another; the first is that of fixtures which several tests share."""
    folder = tmp_path_factory.mktemp("caches")
    names = (str(folder / str(number)) for number in itertools.count())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE_DIR", next(names))
        yield names


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, caches):
    """No test finds what another one has compiled, nor keeps its gigabytes."""
    folder = next(caches)
    monkeypatch.setenv("OSTINATO_CACHE_DIR", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)


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


@pytest.fixture
def inference(recorded):
    """The same, without gradients."""
    import torch

    with torch.no_grad():
        yield recorded


@pytest.fixture(scope="session")
def refused(ostinato):
    """Runs the command with arguments that it must refuse, in seconds and in bounded memory.

    The refusal is one line `ostinato: [stage] what. Remedy.` with all of `texts` in it, exit code
    2, and nothing on stdout.
    """

    def limit():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))

    def call(*arguments, texts=(), **options):
        options = {"capture_output": True, "timeout": 30, "preexec_fn": limit} | options
        result = subprocess.run([ostinato, *arguments], check=False, **options)
        error = result.stderr.decode()
        print(error, end="")  # pytest shows it where a test fails
        assert result.returncode == 2, (result.returncode, error)
        assert REFUSAL.fullmatch(error), error
        for text in texts:
            assert str(text) in error, (str(text), error)
        assert not result.stdout
        return error

    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, run):
    """Small models with tokenizers, by name: `vit`, `bert`, `qwen`. Not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    words = {"vocab_size": 700, "max_position_embeddings": 256}
    classes = {
        "vit": ("ViTForImageClassification", {"image_size": 32, "patch_size": 8}),
        "bert": ("BertModel", words),
        "qwen": ("Qwen3ForCausalLM", {**words, "num_key_value_heads": 2, "head_dim": 8}),
    }
    for name, (architecture, more) in classes.items():
        model_type = "qwen3" if name == "qwen" else name
        config = {"model_type": model_type, "architectures": [architecture], **sizes, **more}
        source = folder / f"{name}.json"
        source.write_text(json.dumps(config))
        run("new-model", source, folder / name)
    tokenizer_models.bert().save(str(folder / "bert/tokenizer.json"))
    tokenizer_models.gpt2().save(str(folder / "qwen/tokenizer.json"))
    return folder


@pytest.fixture()
def copy_of(tiny, tmp_path):
    """A copy of a tiny model, to be damaged."""

    def call(name):
        return shutil.copytree(tiny / name, tmp_path / name)

    return call
