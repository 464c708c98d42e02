"""`ostinato.bench` and `python -m ostinato.bench`: the command's report, gates and honesty."""

import json
import runpy
from pathlib import Path

import jsonschema
import pytest
import torch

import ostinato

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/report.schema.json").read_text())


@pytest.fixture(scope="module")
def command():
    """The command's main function; the module is run, so that `ostinato.bench` stays a function."""
    return runpy.run_module("ostinato.bench", run_name="command")["main"]


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory, command):
    """A report on a folder in bfloat16: its exit code, JSON and Markdown."""
    folder = tmp_path_factory.mktemp("report")
    arguments = ["--model", tiny / "qwen", "--lanes", "golden,torch,graph", "--threads", 1]
    arguments += ["--dtype", "bfloat16", "--iterations", 12, "--tokens", 5, "--seed", 3]
    code = command([*map(str, arguments), "--output-dir", str(folder)])
    report = json.loads((folder / "report.json").read_text())
    return code, report, (folder / "report.md").read_text()


def test_keeps_to_the_schema(found):
    """The schema of the command's reports, and what the exit code says."""
    code, report, markdown = found
    jsonschema.validate(report, SCHEMA)
    assert code == 0 and report["verdict"] in ("PASS", "PASS_COSINE")
    assert markdown.splitlines()[0].endswith(report["verdict"])
    assert report["machine"]["versions"]["torch"] == torch.__version__
    (inputs,) = report["batches"][0]["inputs"]
    assert inputs == {
        "name": "input_ids",
        "shape": [1, 5],
        "dtype": "int64",
        "origin": "random, seed 3",
    }


def test_says_what_ran(found):
    """Asked and done agree; golden is PyTorch in float32, whatever was asked for."""
    report = found[1]
    assert report["actual"] == report["requested"]
    assert report["actual"]["weights"] == "random"
    assert any("outputs mean nothing" in note for note in report["notes"])
    lanes = report["batches"][0]["lanes"]
    modes = {name: (lane["mode"], lane["dtype"]) for name, lane in lanes.items()}
    assert modes == {
        "golden": ("torch", "float32"),
        "torch": ("torch", "bfloat16"),
        "graph": ("graph", "bfloat16"),
    }
    speedup = report["batches"][0]["speedup"]
    assert speedup["graph_vs_golden"] == "none: golden ran in float32, graph in bfloat16"
    p50 = {name: lane["latency_ms"]["p50"] for name, lane in lanes.items()}
    assert speedup["graph_vs_torch"] == pytest.approx(p50["torch"] / p50["graph"])


def test_measures_each_lane(found):
    """Samples, phases and memory: of a first call nothing is missing, nothing counted twice."""
    for name, lane in found[1]["batches"][0]["lanes"].items():
        assert lane["latency_ms"]["n"] == len(lane["samples_ms"]) == 12
        assert "p90" not in lane["latency_ms"]
        phases = lane["phases_ms"]
        assert sum(phases.values()) == pytest.approx(lane["first_call_ms"])
        assert (phases["trace"] > 0) == (name == "graph")
        assert lane["peak_rss_bytes"] > lane["peak_anonymous_bytes"] > 50e6
        assert ("packed_weight_bytes" in lane) == (name == "graph")
        assert ("planned_arena_bytes" in lane) == (name == "graph")
        assert lane["fallbacks"] == []


def test_golden_is_the_oracle(found, tiny):
    """The engine's figures are of the model's own logits, computed here once more."""
    import transformers

    accuracy = found[1]["batches"][0]["accuracy"]
    assert {leaf["name"] for leaf in accuracy["graph_vs_golden"]["leaves"]} == {"logits"}
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(700, (1, 5), generator=generator)
    logits = []
    for dtype in (torch.float32, torch.bfloat16):
        model = transformers.AutoModelForCausalLM.from_pretrained(tiny / "qwen", dtype=dtype)
        with torch.no_grad():
            logits.append(model.eval()(ids, use_cache=False).logits.double().flatten())
    difference = (logits[0] - logits[1]).abs()
    assert accuracy["torch_vs_golden"]["max_abs_diff"] == pytest.approx(difference.max().item())
    assert accuracy["torch_vs_golden"]["mean_abs_diff"] == pytest.approx(difference.mean().item())


class WithPyTorchBetween(torch.nn.Module):
    """An operator that the engine lacks, between two that it has; nested results."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x):
        """(4, 8) to a dictionary of tensors."""
        y = self.linear(x)
        return {"eigen": [torch.linalg.eigvalsh(y.T @ y) * 2, None], "y": (y, 3)}


class Hidden(torch.nn.Module):
    """Dynamo leaves it alone."""

    @torch.compiler.disable
    def forward(self, x):
        """(4, 8) to (4, 8)."""
        return x + 1


def test_strict_fails_what_runs_in_pytorch(tmp_path):
    """An operator that the engine lacks is a fallback with reason and remedy."""
    torch.manual_seed(0)
    report = ostinato.bench(
        WithPyTorchBetween().eval(),
        torch.randn(4, 8),
        lanes=["golden", "eager"],
        threads=1,
        iterations=2,
        strict=True,
        output_dir=tmp_path / "made",
    )
    jsonschema.validate(report, SCHEMA)
    lanes = report["batches"][0]["lanes"]
    (fallback, *_) = lanes["eager"]["fallbacks"]
    assert "eigh" in fallback["node"] and "OPERATOR_MISSING" in fallback["reason"]
    assert lanes["eager"]["mode"] == "eager" and lanes["golden"]["fallbacks"] == []
    accuracy = report["batches"][0]["accuracy"]["eager_vs_golden"]
    assert {leaf["name"] for leaf in accuracy["leaves"]} == {"eigen.0", "y.0", "y.1"}
    assert accuracy["verdict"] == "PASS"
    assert report["verdict"] == "FAIL" and not report.passed
    assert any("--strict" in note for note in report["notes"])
    assert report["actual"]["weights"] == "given"
    assert str(report) == (tmp_path / "made/report.md").read_text()


def test_refuses_to_measure_something_else():
    """A graph lane of which nothing ran in the engine is no graph lane."""
    with pytest.raises(ostinato.Error, match="nothing of the model ran in the engine"):
        ostinato.bench(Hidden().eval(), torch.ones(4, 8), lanes=["graph"], iterations=1)


def test_refuses_bad_arguments():
    """Before a process is started, each with a remedy."""
    model, x = torch.nn.Linear(8, 8).eval(), torch.ones(4, 8)

    class Local(torch.nn.Linear):
        pass

    for match, arguments, keywords in (
        ("training mode.*eval", (torch.nn.Linear(8, 8), x), {}),
        ("cannot be pickled", (Local(8, 8).eval(), x), {}),
        ("torch.nn.Module", (torch.relu, x), {}),
        ("expected inputs", (model, []), {}),
        ("different lanes of golden", (model, x), {"lanes": ["fast"]}),
        ("different lanes", (model, x), {"lanes": ["graph", "graph"]}),
        ("expected a dtype", (model, x), {"dtype": "int8"}),
        ("golden runs in float32", (model, x), {"lanes": ["golden"], "dtype": "float16"}),
        ("from 1 to", (model, x), {"threads": 0}),
        ("leave open, got force_eager", (model, x), {"options": {"force_eager": True}}),
    ):
        with pytest.raises(ostinato.Error, match=match) as caught:
            ostinato.bench(*arguments, **keywords)
        assert caught.value.hint
    with pytest.raises(ValueError, match="there is no option 'fast'"):
        ostinato.bench(model, x, options={"fast": True})


def test_a_lane_that_fails_says_why():
    """What the model raises is the error, with the lane's name."""
    with pytest.raises(ostinato.Error, match="lane golden failed: RuntimeError: mat1 and mat2"):
        ostinato.bench(torch.nn.Linear(8, 8).eval(), torch.ones(4, 7), lanes=["golden"])


def test_command_refuses_bad_input(tiny, tmp_path, command, capsys):
    """One line with a remedy, and exit code 2."""
    model = str(tiny / "qwen")
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["Fast"]}')
    for text, arguments in (
        ("arguments are required: --model", []),
        ("invalid _sizes value: '0'", ["--model", model, "--batch-size", "0"]),
        ("expected a folder with config.json", ["--model", str(tmp_path / "none")]),
        ("got Fast", ["--model", str(tmp_path)]),
        ("exclude each other", ["--model", model, "--prompt", "a", "--tokens", "3"]),
        ("expected pretrained weights", ["--model", model, "--weights", "pretrained"]),
        ("expected a dtype", ["--model", model, "--dtype", "int4"]),
        ("iterations ≥ 1", ["--model", model, "--lanes", "golden", "--iterations", "0"]),
    ):
        assert command(arguments) == 2, text
        printed = capsys.readouterr()
        last = printed.err.splitlines()[-1]
        assert last.startswith("ostinato: [") and text in last and last.endswith(".")
        assert not printed.out
