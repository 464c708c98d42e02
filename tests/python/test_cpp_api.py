"""Programs outside the tree build against an installed Ostinato, and compute what they say."""

import re
import struct
import subprocess

import pytest
import torch
import transformers
from conftest import ROOT
from test_models import QWEN3, VIT, make, pixels, token_ids


def sh(*command):
    """Runs a command that must succeed, and returns what it prints."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source, folder, prefix):
    """The folder of the programs that a CMake project makes with the installed package alone."""
    sh("cmake", "-G", "Ninja", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
       "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror")  # fmt: skip
    sh("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def prefix(ostinato, tmp_path_factory):
    """Where the build under test is installed."""
    folder = tmp_path_factory.mktemp("prefix")
    sh("cmake", "--install", ostinato.parents[2], "--prefix", folder)
    return folder


@pytest.fixture(scope="module")
def examples(prefix, tmp_path_factory):
    """The programs of examples/."""
    return build(ROOT / "examples", tmp_path_factory.mktemp("examples"), prefix)


def test_install_has_the_headers_and_the_command(prefix):
    """What is public, and nothing else."""
    headers = {path.name for path in (prefix / "include/ostinato").iterdir()}
    expected = {"cache.h", "error.h", "graph.h", "model.h", "rule.h", "session.h", "tensor.h"}
    assert headers == expected
    assert sh(prefix / "bin/ostinato", "--version").startswith("ostinato ")


def test_library_shows_public_classes_only(prefix):
    """The rooms and the dependencies behind the API are not to be seen from outside."""
    symbols = sh("nm", "-DC", "--defined-only", next(prefix.glob("lib*/**/libostinato.so")))
    names = {line.split(" ", 2)[2].replace("[abi:cxx11]", "") for line in symbols.splitlines()}
    shown = {name for name in names if re.match(r"(non-virtual thunk to )?ostinato::", name)}
    assert "ostinato::Graph::text() const" in shown
    rooms = r"ostinato::(ir|ops|importer|passes|device|cpu|plan|runtime|text|image)::"
    assert not [name for name in shown if re.match(rooms, name)]
    assert not [name for name in names if re.match(r"(fmt|spdlog|nlohmann|dnnl|hwy)::", name)]


def test_classify(examples, tmp_path):
    """The example's five classes are those of transformers, with their probabilities."""
    config = transformers.ViTConfig(**VIT, num_labels=7)
    model = make(tmp_path, transformers.ViTForImageClassification, config)
    picture = pixels(config, 1)
    file = tmp_path / "pixels.f32"
    file.write_bytes(struct.pack(f"<{picture.numel()}f", *picture.flatten().tolist()))
    with torch.no_grad():
        expected = model(pixel_values=picture).logits[0].softmax(0).topk(5)
    lines = sh(examples / "classify", tmp_path / "model", file).splitlines()
    got = [line.split("  ") for line in lines]
    labels = [config.id2label[index] for index in expected.indices.tolist()]
    assert [label for _, label in got] == labels
    probabilities = torch.tensor([float(probability) for probability, _ in got])
    torch.testing.assert_close(probabilities, expected.values, atol=1e-5, rtol=1e-4)

    file.write_bytes(b"short")
    done = subprocess.run(
        [examples / "classify", tmp_path / "model", file], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "expected 12288 bytes" in done.stderr


def test_generate(examples, tmp_path):
    """The example's tokens are those of transformers' greedy generation."""
    config = transformers.Qwen3Config(**QWEN3, eos_token_id=None, bos_token_id=None)
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config)
    prompt = token_ids(config, 1, 5)
    with torch.no_grad():
        expected = model.generate(prompt, max_new_tokens=8, do_sample=False)[0, 5:]
    out = sh(examples / "generate", tmp_path / "model", 8, *prompt[0].tolist())
    assert [int(token) for token in out.split()] == expected.tolist()


def test_replay(examples):
    """Graph mode agrees with reference mode, and one capture serves all replays."""
    out = sh(examples / "replay", 3)
    assert "= swiglu(" in out
    assert "1 capture" in out


def test_page_is_a_program(prefix, tmp_path, run):
    """The code blocks of docs/cpp-api.md, one after the other, compile and do what they say."""
    page = (ROOT / "docs/cpp-api.md").read_text()
    blocks = {
        language: "\n".join(re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S))
        for language in ("cmake", "cpp")
    }
    source = tmp_path / "tour"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(blocks["cmake"])
    (source / "tour.cpp").write_text(blocks["cpp"])
    folder = build(source, tmp_path / "build", prefix)
    for name in ("vit-base-patch16-224", "qwen3-0.6b"):
        run("new-model", name, tmp_path / name, "--tiny")
    models = [tmp_path / name for name in ("vit-base-patch16-224", "qwen3-0.6b")]
    out = sh(folder / "tour", *models, tmp_path / "cache")
    lines = out.splitlines()
    assert lines[:7] == [
        "0 13 in all 13",
        "31, 2 captures",
        "reference: 14",
        "eager: 14",
        "graph: 14",
        "2 and 8",
        "2 calls",
    ]
    assert lines[7] in page
    assert re.fullmatch(r"vit, \d+ parameters", lines[8])
    assert re.fullmatch(r"takes pixel_values: float32\(b, 3, \d+, \d+\)", lines[9])
    assert lines[10].startswith("gives logits: float32(b, ")
    assert re.fullmatch(r"\d+ logits", lines[11])
    assert lines[-2:] == ["4 new tokens", "1 inputs"]
