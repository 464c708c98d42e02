"""The bench's report on small models: its schema, its gates, and what it refuses to say."""

import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/report.schema.json").read_text())


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory, run):
    """A small ViT classifier with random weights."""
    folder = tmp_path_factory.mktemp("models") / "vit"
    run("new-model", "vit-base-patch16-224", folder, "--tiny")
    return folder


@pytest.fixture(scope="module")
def report(tiny_vit, tmp_path_factory, run):
    """A report of two batch sizes in float32."""
    folder = tmp_path_factory.mktemp("report")
    run("bench", tiny_vit, "--batch-size", "1,3", "--iterations", "70", "--output-dir", folder)
    return json.loads((folder / "report.json").read_text()), (folder / "report.md").read_text()


def test_keeps_to_its_schema(report):
    """Every key is documented, and every documented key is there."""
    jsonschema.validate(report[0], SCHEMA)


def test_schema_can_fail(report):
    """A report with an invented key, verdict or percentile is no report."""
    for damage in (
        lambda r: r.update(extra=1),
        lambda r: r.update(verdict="OK"),
        lambda r: r["batches"][0]["lanes"]["graph"]["latency_ms"].update(p999=1.0),
        lambda r: r.pop("machine"),
    ):
        broken = json.loads(json.dumps(report[0]))
        damage(broken)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_passes_in_float32(report):
    """All three comparisons of both batches pass."""
    assert report[0]["verdict"] == "PASS"
    for batch in report[0]["batches"]:
        assert {a["verdict"] for a in batch["accuracy"].values()} == {"PASS"}


def test_counts_what_it_timed(report):
    """n is the number of samples, and percentiles need theirs."""
    for batch in report[0]["batches"]:
        for lane in batch["lanes"].values():
            latency = lane["latency_ms"]
            assert latency["n"] == len(lane["samples_ms"])
            assert ("p90" in latency) == (latency["n"] >= 64)
            assert "p95" not in latency
            assert latency["min"] <= latency["p50"] <= latency["max"]
    assert report[0]["batches"][0]["lanes"]["graph"]["latency_ms"]["n"] == 70
    assert "n < 130" in report[1]


def test_bfloat16_has_no_speedup_over_golden(tiny_vit, run):
    """Golden runs in float32: a ratio would compare two dtypes."""
    out = json.loads(
        run("bench", tiny_vit, "--dtype", "bfloat16", "--iterations", "2", "--json").stdout
    )
    jsonschema.validate(out, SCHEMA)
    assert out["verdict"] in ("PASS", "PASS_COSINE")
    assert isinstance(out["batches"][0]["speedup"]["graph_vs_golden"], str)
    assert out["batches"][0]["lanes"]["golden"]["dtype"] == "float32"
    assert out["batches"][0]["lanes"]["graph"]["dtype"] == "bfloat16"


def test_names_random_weights(tiny_vit, run):
    """Outputs of random weights mean nothing, and the report says so."""
    out = json.loads(
        run("bench", tiny_vit, "--weights", "random", "--iterations", "1", "--json").stdout
    )
    assert any("random" in note for note in out["notes"])
    assert out["actual"]["weights"] == "random"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--lanes", "golden,fast"], "there is no lane 'fast'"),
        (["--lanes", "graph,graph"], "Name each lane once"),
        (["--batch-size", "0"], "--batch-size"),
        (["--iterations", "0"], "at least one timed call"),
        (["--device", "cuda"], "there is no device 'cuda'"),
        (["--dtype", "float64"], "expected a dtype, got 'float64'"),
        (["--prompt", "hello"], "takes no text"),
        (["--image", "/nonexistent.jpg"], "/nonexistent.jpg"),
        (["--output-dir", "/proc/none"], "/proc/none"),
        (["--itertions", "3"], "Did you mean '--iterations'?"),
        (["--set", "capture_limit=0"], "capture_limit"),
        (["--set", "nonsense=1"], "there is no engine option"),
    ],
)
def test_refuses_bad_arguments(tiny_vit, run, arguments, text):
    """Each with exit code 2 and a message that names it."""
    result = run("bench", tiny_vit, *arguments, check=False)
    assert result.returncode == 2
    assert text in result.stderr
