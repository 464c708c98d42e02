"""Models of real widths at every level of instruction sets, against transformers."""

import json
import os
import re
import subprocess

import pytest
import torch
import transformers
from test_models import MINILM, assert_close, make, pixels, run, token_ids

LEVELS = ["sse2", "sse4", "avx2", "avx512", "avx512_bf16", "amx"]


@pytest.fixture(scope="module")
def levels(ostinato):
    """Those that this machine offers, as the error for another one lists them."""
    result = subprocess.run(
        [ostinato, "devices"],
        env=os.environ | {"OSTINATO_ISA": "none"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    return re.search(r"expected one of (.*) in OSTINATO_ISA", result.stderr)[1].split(", ")


def vit(tmp_path):
    """ViT-B/16's sizes, two layers, one picture."""
    config = transformers.ViTConfig(num_hidden_layers=2)
    model = make(tmp_path, transformers.ViTModel, config)
    return model, tmp_path / "model", {"pixel_values": pixels(config, 1)}


def minilm(_):
    """The whole of it, with its real weights."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
    inputs = tokenizer(["An ostinato is a phrase that repeats."], return_tensors="pt")
    return transformers.BertModel.from_pretrained(MINILM).eval(), MINILM, dict(inputs)


def qwen3(tmp_path):
    """Qwen3-0.6B's sizes but for its vocabulary, two layers, a prompt."""
    config = transformers.Qwen3Config(
        vocab_size=500,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=2,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        use_cache=False,
    )
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config)
    return model, tmp_path / "model", {"input_ids": token_ids(config, 1, 37)}


@pytest.fixture(scope="module", params=[vit, minilm, qwen3], ids=lambda maker: maker.__name__)
def subject(request, tmp_path_factory):
    """A folder, inputs, and what transformers makes of them in float32."""
    with torch.no_grad():
        model, folder, inputs = request.param(tmp_path_factory.mktemp(request.param.__name__))
        outputs = model(**inputs)
    return folder, inputs, {name: value for name, value in outputs.items() if value is not None}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("level", LEVELS)
def test_level(ostinato, subject, levels, level, dtype, tmp_path, monkeypatch):
    """Float32 by the gate, bfloat16 by its cosine, and the level is the one that was asked for."""
    if level not in levels:
        pytest.skip(f"this machine has no {level}")
    monkeypatch.setenv("OSTINATO_ISA", level)
    devices = subprocess.run([ostinato, "devices", "--json"], capture_output=True, check=True)
    assert json.loads(devices.stdout)[0]["isa"] == level
    folder, inputs, expected = subject
    got = run(ostinato, folder, inputs, tmp_path, "graph", "--dtype", dtype)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        if dtype == "float32":
            assert_close(name, got[name], value)
        else:
            pair = got[name].double().flatten(), value.double().flatten()
            cosine = torch.nn.functional.cosine_similarity(*pair, dim=0)
            assert cosine >= 0.999, f"{name}: cosine {cosine:.6f}"
