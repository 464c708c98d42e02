"""`ostinato inspect`: what passes save, where calls come from, memory, and the picture."""

import json
import os
import pty
import re
import subprocess

import pytest


@pytest.fixture(scope="module")
def report(run, tiny):
    """The report as data, for a tiny model."""

    def call(model, *flags):
        return json.loads(run("inspect", tiny / model, *flags, "--json").stdout)

    return call


@pytest.mark.parametrize("model", ["vit", "bert", "qwen"])
def test_memory(report, model):
    """The arena, without scratch, is near what no plan can beat, and no more than eager needs."""
    memory = report(model, "--memory", "--sequence", "64", "--device", "null")["memory"]
    least = memory["arena_lower_bound_bytes"]
    assert least <= memory["arena_bytes"] <= 1.05 * least
    assert memory["arena_over_lower_bound"] == pytest.approx(memory["arena_bytes"] / least)
    assert memory["arena_bytes"] <= memory["eager_peak_bytes"]


def test_memory_of_a_step(report, refused, tiny):
    """`--kv-cache` plans what `generate` replays: the states are its cache."""
    memory = report("qwen", "--memory", "--kv-cache", "100", "--sequence", "1")["memory"]
    assert memory["states_bytes"] == 2 * 2 * 2 * 100 * 8 * 4
    refused("inspect", tiny / "bert", "--memory", "--kv-cache", "9", texts=["causal"])


def test_layers(report, run, tiny):
    """Every layer of a model is found in each mode, and fewer calls in the graph's."""
    config = json.loads((tiny / "qwen" / "config.json").read_text())
    found = {}
    for mode in ("graph", "eager", "reference"):
        (found[mode],) = report("qwen", "--layers", "--mode", mode)["layers"]
        assert found[mode]["count"] == config["num_hidden_layers"]
        assert len(found[mode]["calls"]) == found[mode]["nodes"] >= found[mode]["kernels"]
        assert found[mode]["calls"][0].endswith('@ "model.layers.0.input_layernorm"')
    assert found["graph"]["kernels"] == 8 < found["eager"]["kernels"]
    assert found["graph"]["bytes"] < found["eager"]["bytes"]
    assert "2 layers, each of 16 calls" in run("inspect", tiny / "qwen", "--layers").stdout


def test_passes(report):
    """Costs follow one another, and fusing saves calls and bytes but no FLOPs of products."""
    rows = report("bert", "--passes")["passes"]
    for before, after in zip(rows, rows[1:], strict=False):
        for column in ("nodes", "kernels", "flops", "bytes", "predicted_ms"):
            assert before[f"{column}_after"] == after[f"{column}_before"]
    fused = next(row for row in rows if row["name"] == "fuse_linear" and row["changed"])
    assert fused["kernels_after"] < fused["kernels_before"]
    assert fused["bytes_after"] < fused["bytes_before"]
    assert fused["predicted_ms_after"] < fused["predicted_ms_before"]


def test_ceilings(report):
    """A machine that is twice as fast in both takes half the time."""
    slow, fast = (
        report("vit", "--passes", "--peak-gflops", str(n), "--bandwidth", str(n))["passes"][-1]
        for n in (10, 20)
    )
    assert slow["predicted_ms_after"] == pytest.approx(2 * fast["predicted_ms_after"])


def on_terminal(command, **environment):
    """What the command prints to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, env={**os.environ, **environment})
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # how a terminal ends
        pass
    os.close(ours)
    assert process.wait() == 0
    return text.decode()


def test_colour(ostinato, run, tiny):
    """Green for less on a terminal, and nothing of the kind elsewhere or with NO_COLOR."""
    command = [ostinato, "inspect", tiny / "bert", "--passes"]
    assert "\033[32m-" in on_terminal(command, NO_COLOR="").replace("\033[32m ", "\033[32m")
    assert "\033" not in on_terminal(command, NO_COLOR="1")
    assert "\033" not in run(*command[1:]).stdout


def test_explain(report, run, refused, tiny):
    """A fused call names what it was made of; ids, operators, weights and sources find it."""
    calls = report("bert", "--explain", "linear")["explain"]
    call = next(call for call in calls if "gelu" in call["call"])
    assert call["made_by"] == "fuse_linear"
    parts = " ".join(part["call"] for part in call["made_of"])
    assert "aten.linear" in parts and "aten.gelu" in parts
    assert any("intermediate" in source for source in call["sources"])
    identity = re.match(r"%\d+", call["call"])[0]
    assert [call] == report("bert", "--explain", identity)["explain"]
    weight = "encoder.layer.1.intermediate.dense.weight"
    (reader,) = report("bert", "--explain", weight)["explain"]
    assert any(weight in operand for operand in reader["operands"])
    assert report("bert", "--explain", reader["sources"][0])["explain"]
    assert "made by fuse_linear" in run("inspect", tiny / "bert", "--explain", identity).stdout
    refused("inspect", tiny / "bert", "--explain", "lienar", texts=["--explain", "lienar"])


def test_page(run, refused, tiny, tmp_path):
    """One file with every call, that fetches nothing and that no name can break out of."""
    page = tmp_path / "bert.html"
    run("inspect", tiny / "bert", "--html", page)
    text = page.read_text()
    (data,) = re.findall(r'<script type="application/json" id="boxes">(.*?)</script>', text, re.S)
    boxes = json.loads(data)
    graph = run("inspect", tiny / "bert").stdout
    calls = sum(line.startswith("%") for line in graph.splitlines())
    leaves = [box for box in boxes if box["kind"] in ("input", "state", "output")]
    assert len(boxes) - len(leaves) == calls
    assert all(read < at for at, box in enumerate(boxes) for read in box["reads"])
    assert not re.search(r"(src|href|@import|url\()", text.replace(data, ""))
    assert "<" not in data
    for bad in (tmp_path / "none/page.html", tmp_path):
        refused("inspect", tiny / "bert", "--html", bad, texts=[bad])
    assert [path.name for path in tmp_path.iterdir()] == ["bert.html"]
