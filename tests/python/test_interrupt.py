"""Ctrl-C in the middle of each verb: soon, with exit code 130, and nothing half-written."""

import contextlib
import json
import select
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Configurations of models that take seconds to make."""
    folder = tmp_path_factory.mktemp("large")
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "intermediate_size": 1024,
        "vocab_size": 150000,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def talker(tmp_path_factory, run):
    """A small language model with a context that no test comes to the end of."""
    folder = tmp_path_factory.mktemp("talker")
    config = {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 48,
        "vocab_size": 700,
        "max_position_embeddings": 1 << 20,
    }
    (folder / "talker.json").write_text(json.dumps(config))
    run("new-model", folder / "talker.json", folder / "model")
    return folder / "model"


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def interrupt(request, ostinato):
    """Starts a command, and sends it the signal when `ready(process, seconds)` says so."""

    def defaults():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def call(*arguments, ready):
        process = subprocess.Popen(
            [ostinato, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=defaults,
        )
        start = time.monotonic()
        while not ready(process, time.monotonic() - start):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() - start < 30
            time.sleep(0.005)
        process.send_signal(request.param)
        sent = time.monotonic()
        out, error = process.communicate(timeout=10)
        assert process.returncode == 130, (process.returncode, error)
        assert time.monotonic() - sent < 3  # within one on a machine that does nothing else
        assert b"[" not in error
        return out.decode(errors="replace")

    return call


def after(seconds):
    """Ready when that time has passed."""
    return lambda process, elapsed: elapsed >= seconds


@pytest.mark.parametrize("seconds", [0.05, 0.5])
def test_run(interrupt, tiny, tmp_path, seconds):
    """While it computes."""
    flags = ["--mode", "reference", "--batch-size", 20000, "--output", tmp_path / "o.safetensors"]
    assert interrupt("run", tiny / "vit", *flags, ready=after(seconds)) == ""
    assert not any(tmp_path.iterdir())


def test_run_writing(interrupt, tiny, tmp_path):
    """While it writes a large file."""
    ids = tmp_path.parent / "ids.safetensors"
    save_file({"input_ids": np.ones((4000, 30), np.int64)}, ids)
    flags = ["--inputs", ids, "--output", tmp_path / "o.safetensors"]
    (tmp_path / "o.safetensors").write_text("old")

    def writes(process, elapsed):
        return any(p.name.startswith(".ostinato") and p.stat().st_size for p in tmp_path.iterdir())

    interrupt("run", tiny / "qwen", *flags, ready=writes)
    assert [p.name for p in tmp_path.iterdir()] == ["o.safetensors"]
    assert (tmp_path / "o.safetensors").read_text() == "old"


def test_picture(interrupt, tiny, tmp_path):
    """While it decodes a picture of many pixels."""
    Image.new("RGB", (13000, 13000)).save(tmp_path / "large.png", compress_level=1)
    out = interrupt("run", tiny / "vit", "--image", tmp_path / "large.png", ready=after(0.2))
    assert out == ""


@pytest.mark.parametrize("flags", [["--no-kv-cache"], ["--json"], []])
def test_generate(interrupt, talker, flags):
    """While it streams; with --json nothing is printed, since nothing is done."""

    def streams(process, elapsed):
        if "--json" in flags:
            return elapsed > 0.5
        return select.select([process.stdout], [], [], 0)[0]

    base = ["--prompt-ids", "1,2,3", "--max-new-tokens", 400000, "--ignore-eos"]
    out = interrupt("generate", talker, *base, *flags, ready=streams)
    assert (out == "") == ("--json" in flags)
    assert "\n" not in out


@pytest.mark.parametrize("moment", ["making", "writing"])
def test_new_model(interrupt, large, tmp_path, moment):
    """While it makes weights, and while it writes them: no folder is left."""
    folder = tmp_path / "made"

    def size(path):
        with contextlib.suppress(FileNotFoundError):  # the small ones get their names meanwhile
            return path.stat().st_size
        return 0

    def is_it(process, elapsed):
        if moment == "making":
            return elapsed > 0.2
        return folder.exists() and any(size(path) > 1 << 20 for path in folder.glob("*.tmp"))

    assert interrupt("new-model", large / "config.json", folder, ready=is_it) == ""
    assert not any(tmp_path.iterdir())


def test_inspect(interrupt, large):
    """While it makes a model ready."""
    flags = ["--weights", "random", "--memory"]
    assert interrupt("inspect", large, *flags, ready=after(0.3)) == ""


def test_tokenize(interrupt, tiny, tmp_path):
    """In the midst of a large file."""
    path = tmp_path / "large.txt"
    path.write_text("A cat sleeps. Ein Kätzchen schläft. 猫が眠る。\n" * 1_000_000)
    out = interrupt("tokenize", tiny / "bert", "--file", path, "--whole", ready=after(0.5))
    assert out == ""
    interrupt("tokenize", tiny / "bert", "--file", path, ready=after(0.5))
