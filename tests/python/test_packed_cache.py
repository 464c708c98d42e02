"""Packed weights on disk: the command's flags, damage, and the PyTorch backend's part."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ostinato import _engine

SIZE = 1024
GRAPH = f"""ostinato.graph 1 "product"
input %0 "x" : float32(2, {SIZE})
constant %1 "w" : float32({SIZE}, {SIZE})
%2 : float32(2, {SIZE}) = linear(%0, %1, None, None)
output "y" %2
"""


@pytest.fixture
def product(tmp_path, run):
    """Runs one product by the command: its output in bytes, and the warnings on stderr."""
    path = tmp_path / "product.graph"
    path.write_text(GRAPH)
    weight = np.random.default_rng(0).standard_normal((SIZE, SIZE), np.float32)
    save_file({"w": weight}, tmp_path / "product.safetensors")

    def call(*flags):
        result = run("run", path, "--output", tmp_path / "y.safetensors", *flags)
        warnings = [line for line in result.stderr.splitlines() if " % " not in line]
        return load_file(tmp_path / "y.safetensors")["y"].tobytes(), warnings

    return call


def kept(root=None):
    """The files of the cache."""
    return sorted(Path(root or os.environ["OSTINATO_CACHE_DIR"]).glob("packed/*"))


def test_later_start_is_equal_bit_for_bit(product, tmp_path):
    """One file, found by its contents in any folder; none where there is to be none."""
    cold, _ = product("--no-cache")
    assert not kept()
    assert product() == (cold, [])
    (file,) = kept()
    assert product() == (cold, [])
    assert product("--cache-dir", tmp_path / "there") == (cold, [])
    assert [path.name for path in kept(tmp_path / "there")] == [file.name]


def test_damaged_file_is_packed_anew(product):
    """Never other numbers: a warning that names the file, and a good file again."""
    cold, _ = product()
    (file,) = kept()
    good = file.read_bytes()
    for bad in (good[:-1], good[:999] + b"x" + good[1000:], bytes(len(good))):
        file.write_bytes(bad)
        result, (warning,) = product()
        assert result == cold
        assert str(file) in warning and "packed anew" in warning
        assert file.read_bytes() == good


def test_folder_that_cannot_be_used_costs_a_warning(product, tmp_path):
    """One line with the remedy; the run goes on."""
    cold, _ = product("--no-cache")
    (tmp_path / "file").write_text("")
    result, (warning,) = product("--cache-dir", tmp_path / "file")
    assert result == cold
    assert "OSTINATO_CACHE_DIR" in warning


def test_size_of_the_environment(product, run, monkeypatch, tmp_path):
    """Zero switches the cache off; what is no number is refused."""
    monkeypatch.setenv("OSTINATO_CACHE_SIZE", "0")
    product()
    assert not kept()
    monkeypatch.setenv("OSTINATO_CACHE_SIZE", "much")
    result = run("run", tmp_path / "product.graph", check=False)
    assert result.returncode == 2
    assert "OSTINATO_CACHE_SIZE" in result.stderr


def test_parameters_of_pytorch(inference):
    """Kept once they are packed; those that change afterwards are not."""
    model = torch.nn.Linear(SIZE, SIZE)
    x = torch.randn(2, SIZE)
    compiled = torch.compile(model, backend="ostinato")
    torch.testing.assert_close(compiled(x), model(x))
    _engine.finish_packed()
    (file,) = kept()
    model.weight.mul_(2)
    torch.testing.assert_close(compiled(x), model(x))
    _engine.finish_packed()
    assert kept() == [file]
    assert not inference()


def test_pytorchs_switch(inference):
    """The one that switches its own caches off."""
    model = torch.nn.Linear(SIZE, SIZE)
    with torch.compiler.config.patch(force_disable_caches=True):
        torch.compile(model, backend="ostinato")(torch.randn(2, SIZE))
    _engine.finish_packed()
    assert not kept()
