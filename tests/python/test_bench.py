"""The bench's report on small models: its schema, its gates, and what it refuses to say."""

import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/report.schema.json").read_text())
ALL_LANES = "golden,eager,graph,eager-optimised,graph-unfused"


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory, run):
    """A small ViT classifier with random weights."""
    folder = tmp_path_factory.mktemp("models") / "vit"
    run("new-model", "vit-base-patch16-224", folder, "--tiny")
    return folder


@pytest.fixture(scope="module")
def tiny_qwen(tmp_path_factory, run):
    """A small Qwen3 with random weights and the real tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run(
        [sys.executable, ROOT / "tools/make_qwen_tokenizer.py", folder / "tokenizer"], check=True
    )
    run("new-model", "qwen3-0.6b", folder / "qwen", "--tiny", "--tokenizer", folder / "tokenizer")
    return folder / "qwen"


@pytest.fixture(scope="module")
def measure(run):
    """Runs the bench and returns its report, which must keep to the schema."""

    def call(model, *arguments, code=0):
        result = run("bench", model, *arguments, "--json", check=False)
        assert result.returncode == code, result.stderr
        report = json.loads(result.stdout)
        jsonschema.validate(report, SCHEMA)
        return report

    return call


@pytest.fixture(scope="module")
def report(tiny_vit, tmp_path_factory, run):
    """A report of two batch sizes in float32, as JSON and Markdown."""
    folder = tmp_path_factory.mktemp("report")
    run("bench", tiny_vit, "--batch-size", "1,3", "--iterations", "70", "--output-dir", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]
    return json.loads((folder / "report.json").read_text()), (folder / "report.md").read_text()


@pytest.fixture(scope="module")
def generation(tiny_qwen, run):
    """A report on two prompts of different lengths, as JSON and Markdown."""
    arguments = ["bench", tiny_qwen, "--dtype", "float32", "--iterations", "2"]
    prompts = ["What is the capital of France?", "a | b\nc " * 20]
    for prompt in prompts:
        arguments += ["--prompt", prompt]
    arguments += ["--max-new-tokens", "8"]
    found = json.loads(run(*arguments, "--json").stdout)
    jsonschema.validate(found, SCHEMA)
    return found, run(*arguments).stdout


def without_marker(folder, copy):
    """The same model as if its weights were trained: their metadata say nothing of them."""
    copy.mkdir()
    for file in folder.iterdir():
        if file.suffix == ".json":
            (copy / file.name).write_bytes(file.read_bytes())
    save_file(load_file(folder / "model.safetensors"), copy / "model.safetensors")
    return copy


def lanes_of(report):
    """All lanes of all batches, with their names."""
    return [item for batch in report["batches"] for item in batch["lanes"].items()]


def test_keeps_to_its_schema(report):
    """Every key is documented, and every documented key is there."""
    jsonschema.validate(report[0], SCHEMA)


def test_schema_can_fail(report):
    """A report with an invented key, verdict or percentile is no report."""
    for damage in (
        lambda r: r.update(extra=1),
        lambda r: r.update(verdict="OK"),
        lambda r: r["batches"][0]["lanes"]["graph"]["latency_ms"].update(p999=1.0),
        lambda r: r["batches"][0]["lanes"].update(fast={}),
        lambda r: r["batches"][0]["speedup"].pop("graph_vs_eager"),
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
        assert set(batch["accuracy"]) == {"eager_vs_golden", "graph_vs_golden", "graph_vs_eager"}
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
            assert lane["per_sample_ms"] == pytest.approx(latency["p50"] / batch["batch_size"])
            assert lane["throughput_per_s"] == pytest.approx(1e3 / lane["per_sample_ms"])
    latency = report[0]["batches"][0]["lanes"]["graph"]["latency_ms"]
    assert latency["n"] == 70
    digits = 4 if latency["max"] < 1 else 2
    assert f"max {latency['max']:.{digits}f}, n < 130" in report[1]


def test_times_a_hundred_calls_unless_told_otherwise(tiny_vit, measure):
    """The default is what the statistics need at least."""
    graph = measure(tiny_vit, "--lanes", "graph")["batches"][0]["lanes"]["graph"]
    assert len(graph["samples_ms"]) == 100


def test_describes_the_model_inputs(report):
    """The model's with symbolic sizes, a batch's with its own, from the same origin."""
    found = report[0]
    (symbolic,) = found["model"]["inputs"]
    assert symbolic == {
        "name": "pixel_values",
        "shape": ["b", 3, 64, 64],
        "dtype": "float32",
        "origin": "random, seed 0",
    }
    for batch in found["batches"]:
        assert batch["inputs"] == [symbolic | {"shape": [batch["batch_size"], 3, 64, 64]}]


def test_actual_comes_from_the_lanes(tiny_vit, measure):
    """Every lane says what it ran as; golden is float32 on the reference kernels always."""
    found = measure(tiny_vit, "--dtype", "bfloat16", "--threads", "1", "--iterations", "2")
    assert found["actual"] == found["requested"]
    assert found["actual"]["dtype"] == "bfloat16"
    expected = {
        "golden": ("float32", "reference"),
        "eager": ("bfloat16", "eager"),
        "graph": ("bfloat16", "graph"),
    }
    for name, lane in lanes_of(found):
        assert (lane["dtype"], lane["mode"]) == expected[name]
        assert (lane["device"], lane["threads"], lane["weights"]) == ("cpu", 1, "random")
    assert found["verdict"] in ("PASS", "PASS_COSINE")
    speedup = found["batches"][0]["speedup"]["graph_vs_golden"]
    assert speedup == "none: golden ran in float32, graph in bfloat16"


def test_weights_of_new_model_are_random(tiny_vit, tmp_path, run, measure):
    """Their metadata say so, whoever asks; trained ones are called pretrained."""
    quick = ("--lanes", "graph", "--iterations", "1")
    found = measure(tiny_vit, *quick)
    assert found["requested"]["weights"] == found["actual"]["weights"] == "random"
    assert any("outputs mean nothing" in note for note in found["notes"])

    result = run("bench", tiny_vit, *quick, "--weights", "pretrained", check=False)
    assert result.returncode == 2
    assert "expected pretrained weights" in result.stderr
    assert "leave --weights out" in result.stderr

    trained = without_marker(tiny_vit, tmp_path / "trained")
    for flags in ((), ("--weights", "pretrained")):
        found = measure(trained, *quick, *flags)
        assert found["requested"]["weights"] == found["actual"]["weights"] == "pretrained"
        assert not any("random" in note for note in found["notes"])

    found = measure(trained, *quick, "--weights", "random")
    assert found["actual"]["weights"] == "random"
    assert any("outputs mean nothing" in note for note in found["notes"])


def test_vit_without_a_head(tmp_path, run, measure):
    """As ViT in21k: the base model has features only; a head that is not there is not made up."""
    folder = tmp_path / "in21k"
    run("new-model", "vit-base-patch16-224-in21k", folder, "--tiny")
    quick = ("--lanes", "graph", "--iterations", "1")
    notes = measure(folder, *quick)["notes"]
    assert any("ViTModel has no classifier head" in note for note in notes)

    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["ViTForImageClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    result = run("bench", folder, *quick, check=False)
    assert result.returncode == 2
    assert "classifier" in result.stderr


def test_counts_no_phase_twice(report):
    """Model and passes belong to the first batch; what is in a first call adds up."""
    first, second = report[0]["batches"]
    for batch in (first, second):
        for name, lane in batch["lanes"].items():
            phases = lane["phases_ms"]
            total = sum(phases.values())
            assert 0.5 * lane["first_call_ms"] <= total <= lane["first_call_ms"], name
    for lane in first["lanes"].values():
        assert lane["phases_ms"]["import"] > 0
    assert first["lanes"]["graph"]["phases_ms"]["passes"] > 0
    for lane in second["lanes"].values():
        assert lane["phases_ms"]["import"] == lane["phases_ms"]["passes"] == 0
        assert lane["phases_ms"]["plan"] > 0


def test_two_by_two(tiny_vit, run, measure):
    """Which part of the gain is the passes' and which the replay's."""
    found = measure(tiny_vit, "--lanes", ALL_LANES, "--iterations", "10")
    assert found["requested"]["mode"] == found["actual"]["mode"] == ALL_LANES.split(",")
    (batch,) = found["batches"]
    p50 = {name: lane["latency_ms"]["p50"] for name, lane in batch["lanes"].items()}
    gain = batch["gain"]
    assert gain["passes"] * gain["replay"] == pytest.approx(batch["speedup"]["graph_vs_eager"])
    assert gain["passes_op_by_op"] == pytest.approx(p50["eager"] / p50["eager-optimised"])
    assert gain["replay_unfused"] == pytest.approx(p50["eager"] / p50["graph-unfused"])
    assert {a["verdict"] for a in batch["accuracy"].values()} == {"PASS"}
    assert set(batch["accuracy"]) >= {"eager-optimised_vs_golden", "graph-unfused_vs_golden"}
    assert batch["lanes"]["graph-unfused"]["mode"] == "graph"
    assert batch["lanes"]["eager-optimised"]["mode"] == "eager"

    text = run("bench", tiny_vit, "--lanes", ALL_LANES, "--iterations", "2").stdout
    assert "the passes are" in text and "and the replay" in text
    assert "gain" not in measure(tiny_vit, "--iterations", "2")["batches"][0]


def test_says_why_a_cell_is_empty(tiny_vit, run, measure):
    """Without a lane to compare with there is no speed-up, no accuracy and no verdict."""
    found = measure(tiny_vit, "--lanes", "graph", "--iterations", "2")
    assert found["verdict"] is None
    assert any("No verdict" in note for note in found["notes"])
    (batch,) = found["batches"]
    assert batch["speedup"]["graph_vs_eager"] == "none: the lane eager did not run"
    assert "accuracy" not in batch
    assert "no verdict" in run("bench", tiny_vit, "--lanes", "graph", "--iterations", "2").stdout

    found = measure(tiny_vit, "--lanes", "eager,graph", "--iterations", "2")
    assert found["verdict"] == "PASS"
    assert list(found["batches"][0]["accuracy"]) == ["graph_vs_eager"]


def test_rounding_is_told_from_a_defect(tiny_vit, tmp_path, measure):
    """Logits beyond float16 fail against golden, in graph as in eager."""
    folder = without_marker(tiny_vit, tmp_path / "large")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"].fill_(3e4)
    weights["vit.layernorm.bias"].fill_(1.0)
    save_file(weights, folder / "model.safetensors")
    found = measure(folder, "--dtype", "float16", "--iterations", "2", code=1)
    assert found["verdict"] == "FAIL"
    assert any("agrees with eager" in note for note in found["notes"])


TRIL = """ostinato.graph 1 "triangle"
input %0 "x" : float32(64, 64)
%1 : float32(64, 64) = aten.tril(%0)
output "y" %1
"""


def test_lists_fallbacks(tmp_path, run, measure):
    """A node without a fast kernel is named with reason and remedy, and fails a strict run."""
    path = tmp_path / "triangle.graph"
    path.write_text(TRIL)
    found = measure(path, "--iterations", "2")
    assert found["verdict"] == "PASS"
    for name, lane in lanes_of(found):
        nodes = [fallback["node"] for fallback in lane["fallbacks"]]
        assert nodes == ([] if name == "golden" else ["%1 = aten.tril"])
    assert "Fallback in graph, `%1 = aten.tril`" in run("bench", path, "--iterations", "2").stdout

    found = measure(path, "--iterations", "2", "--strict", code=1)
    assert found["verdict"] == "FAIL"
    assert any("--strict: graph ran 1 of its nodes by a fallback" in n for n in found["notes"])


def test_strict_passes_without_fallbacks(tiny_vit, measure):
    """--strict is no gate of its own."""
    found = measure(tiny_vit, "--lanes", "eager,graph", "--iterations", "2", "--strict")
    assert found["verdict"] == "PASS"


# Needs 64 MiB for an intermediate result that is gone when the call is over.
WIDE = """ostinato.graph 1 "wide"
input %0 "x" : float32(4096)
%1 : float32(4096, 1) = aten.view(%0) {size=[4096, 1]}
%2 : float32(4096, 4096) = aten.mul.Tensor(%0, %1)
%3 : float32() = aten.sum(%2)
output "y" %3
"""


def test_peak_memory_is_a_peak(tmp_path, measure):
    """Memory that eager allocates on the way counts, though it gives it back."""
    path = tmp_path / "wide.graph"
    path.write_text(WIDE)
    lanes = measure(path, "--iterations", "2", "--warmup", "20")["batches"][0]["lanes"]
    needed = 4 * 4096 * 4096
    assert lanes["graph"]["planned_arena_bytes"] >= needed
    for name in ("eager", "graph"):
        assert lanes[name]["peak_anonymous_bytes"] >= needed
        assert lanes[name]["peak_rss_bytes"] >= needed
        assert lanes[name]["peak_anonymous_bytes"] <= 1.5 * needed


def test_names_the_machine(report):
    """What a figure depends on is in the report and in its first lines."""
    machine = report[0]["machine"]
    assert 1 <= len(machine["affinity"]) <= machine["cores"]
    assert len(machine["affinity"]) == min(machine["threads"], machine["cores"])
    assert {"ostinato", "highway", "compiler", "linux"} <= set(machine["versions"])
    head = "\n".join(report[1].splitlines()[:8])
    for part in (machine["cpu"], machine["isa"], "governor", "highway"):
        assert part in head
    assert any("synchronous" in note for note in report[0]["notes"])


def test_lanes_keep_to_their_processors(tiny_vit, measure):
    """One thread, one processor; more threads than processors are told."""
    quick = ("--lanes", "graph", "--iterations", "1")
    assert len(measure(tiny_vit, *quick, "--threads", "1")["machine"]["affinity"]) == 1
    found = measure(tiny_vit, *quick, "--threads", "64")
    if found["machine"]["cores"] < 64:
        assert any("64 threads share" in note for note in found["notes"])


def test_generates_what_golden_would(generation):
    """In float32 no token leaves golden, and both lanes agree."""
    found = generation[0]
    assert found["verdict"] == "PASS"
    for prompt in found["generation"]["prompts"]:
        assert set(prompt["lanes"]) == {"eager", "graph"}
        for lane in prompt["lanes"].values():
            assert lane["first_flip"] is None and lane["flips"] == 0
            assert lane["tokens"] == prompt["tokens"]
            assert lane["peak_rss_bytes"] > lane["peak_anonymous_bytes"] > 0
            assert len(lane["token_ms"]) == len(lane["tokens"]) - 1


def test_generation_compiles_apart(generation):
    """A first token is timed on captures that are there: the first call is a figure of its own."""
    first, second = generation[0]["generation"]["prompts"]
    for name in ("eager", "graph"):
        phases = first["lanes"][name]["phases_ms"]
        assert phases["plan"] > 0 and phases["run"] > 0
        assert sum(phases.values()) <= first["lanes"][name]["first_call_ms"]
        # The second prompt is longer: another prefill is planned, on the same program.
        phases = second["lanes"][name]["phases_ms"]
        assert phases["import"] == phases["passes"] == 0 < phases["plan"]


def test_perplexity_is_that_of_transformers(generation, tiny_qwen):
    """Of the text in the report; each lane's distance from golden is stated."""
    perplexity = generation[0]["generation"]["perplexity"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_qwen)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_qwen, dtype=torch.float32)
    ids = tokenizer(perplexity["text"], return_tensors="pt", add_special_tokens=False).input_ids
    assert ids.shape[1] == perplexity["tokens"]
    with torch.no_grad():
        expected = math.exp(model(ids, labels=ids).loss.item())
    lanes = perplexity["lanes"]
    for lane in lanes.values():
        assert lane["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert "ppl_rel_diff" not in lanes["golden"]
    for name in ("eager", "graph"):
        distance = abs(lanes[name]["perplexity"] / lanes["golden"]["perplexity"] - 1)
        assert lanes[name]["ppl_rel_diff"] == pytest.approx(distance, abs=1e-12)
    assert f"perplexity of a fixed text of {perplexity['tokens']} tokens" in generation[1]


def test_markdown_stays_a_table(generation):
    """A prompt with bars and line breaks does not break it."""
    rows = [line for line in generation[1].splitlines() if line.startswith("| a \\| b")]
    assert len(rows) == 2
    assert generation[1].splitlines()[0].endswith("PASS")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--lanes", "golden,fast"], "there is no lane 'fast'"),
        (["--lanes", "graph,graph"], "Name each lane once"),
        (["--batch-size", "0"], "--batch-size"),
        (["--batch-size", "-1"], "--batch-size"),
        (["--batch-size", "2,2"], "each size once"),
        (["--iterations", "0"], "at least one timed call"),
        (["--warmup", "-1"], "warmup ≥ 0"),
        (["--device", "tpu"], "there is no device 'tpu'"),
        (["--device", "null"], "expected a device that computes"),
        (["--dtype", "float64"], "expected a dtype, got 'float64'"),
        (["--dtype", "bfloat16", "--lanes", "golden"], "golden runs in float32"),
        (["--prompt", "hello"], "takes no text"),
        (["--image", "/nonexistent.jpg"], "/nonexistent.jpg"),
        (["--output-dir", "/proc/none"], "/proc/none"),
        (["--output-dir", "/dev/null"], "/dev/null"),
        (["--itertions", "3"], "Did you mean '--iterations'?"),
        (["--set", "capture_limit=0"], "capture_limit"),
        (["--set", "nonsense=1"], "there is no engine option"),
    ],
)
def test_refuses_bad_arguments(tiny_vit, run, arguments, text):
    """Each with exit code 2 and a message that names it, before anything is measured."""
    long = () if "--iterations" in arguments else ("--iterations", "1000000000")
    result = run("bench", tiny_vit, *arguments, *long, check=False)
    assert result.returncode == 2
    assert text in result.stderr


def test_says_which_pictures_a_batch_takes(tiny_vit, tmp_path, measure):
    """Two pictures fill a batch of two; a batch of one has no place for the second."""
    flags = ["--lanes", "graph", "--iterations", "1", "--batch-size", "1,2,3"]
    for name in ("red.png", "blue.png"):
        Image.new("RGB", (80, 70), name.removesuffix(".png")).save(tmp_path / name)
        flags += ["--image", tmp_path / name]
    found = measure(tiny_vit, *flags)
    origins = [batch["inputs"][0]["origin"] for batch in found["batches"]]
    assert origins == ["red.png", "red.png, blue.png", "red.png, blue.png"]
    assert "Batch 1 takes the first 1 of the 2 pictures." in found["notes"]


def test_refuses_inputs_of_another_batch(tiny_vit, tmp_path, run, measure):
    """A figure must not be called one of batch 1 when the inputs are of batch 3."""
    save_file({"pixel_values": torch.zeros(3, 3, 64, 64)}, tmp_path / "inputs.safetensors")
    flags = ("--inputs", tmp_path / "inputs.safetensors", "--iterations", "1", "--lanes", "graph")
    result = run("bench", tiny_vit, *flags, check=False)
    assert result.returncode == 2
    assert "Give --batch-size 3." in result.stderr
    (batch,) = measure(tiny_vit, *flags, "--batch-size", "3")["batches"]
    assert batch["inputs"][0]["shape"][0] == 3


def test_refuses_what_graph_text_cannot_be_asked(tmp_path, run):
    """It says its dtypes and has its constants."""
    path = tmp_path / "triangle.graph"
    path.write_text(TRIL)
    for flags in (["--dtype", "bfloat16"], ["--weights", "random"]):
        result = run("bench", path, *flags, check=False)
        assert result.returncode == 2
        assert "is graph text" in result.stderr


def test_refuses_a_prompt_too_long_before_it_measures(tiny_qwen, run):
    """The context is 40960 tokens."""
    result = run("bench", tiny_qwen, "--prompt", "hello", "--max-new-tokens", "40960",
                 "--iterations", "1000000000", check=False)  # fmt: skip
    assert result.returncode == 2
    assert "lower --max-new-tokens" in result.stderr
