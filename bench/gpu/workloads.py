"""Parity with the CPU, ceilings of the GPU, and workloads on `cuda` beside PyTorch's modes.

python bench/gpu/workloads.py OSTINATO RESULT.json

Weights are random (config-init) and the same in both: right for time, of no use for what they say.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from through_torch import growing, module_at, replayed
from timeline import draw
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

MODES = {
    "eager": None,
    "default": {},
    "reduce-overhead": {"mode": "reduce-overhead"},
    "max-autotune": {"mode": "max-autotune"},
}
DEADLINE = 150  # seconds for all of it: what comes later is left out and named
FAMILIES = ("vit-base-patch16-224", "all-minilm-l6-v2", "qwen3-0.6b")
PROMPT = 128  # tokens
GROWN = 64  # tokens


def median_ms(run, calls: int = 50, warmup: int = 5) -> dict:
    """Median and 95th percentile of calls between events."""
    for _ in range(warmup):
        run()
    samples = []
    for _ in range(calls):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        samples.append(begin.elapsed_time(end))
    samples.sort()
    return {"p50_ms": statistics.median(samples), "p95_ms": samples[int(0.95 * len(samples))]}


def ceilings() -> dict:
    """What a large copy and a large product reach, on random data."""
    source = torch.randn(1 << 30, device="cuda")
    target = torch.empty_like(source)
    copy = median_ms(lambda: target.copy_(source), 10)["p50_ms"]
    bytes_moved = 2 * source.numel() * source.element_size()
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = median_ms(lambda: a @ b, 10)["p50_ms"]
    return {
        "copy_bytes_per_s": bytes_moved / copy * 1e3,
        "bf16_flop_per_s": 2 * 8192**3 / product * 1e3,
    }


def ostinato(binary: str, *arguments: str, **environment: str) -> dict:
    """The JSON that a verb prints."""
    command = [binary, *arguments, "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
        )
    except subprocess.TimeoutExpired:
        return {"error": "left out: it took more than a minute"}
    if done.returncode not in (0, 1):
        return {"error": done.stderr.strip() or done.stdout.strip()}
    return json.loads(done.stdout)


def parity(binary: str, folder: Path) -> list[dict]:
    """Small models of every family on the GPU, held to the CPU's plain loops in float32."""
    rows = []
    for family in FAMILIES:
        path = folder / f"tiny-{family}"
        subprocess.run([binary, "new-model", family, str(path), "--tiny"], check=True)
        for dtype in ("float32", "bfloat16", "float16"):
            report = ostinato(
                binary, "bench", str(path), "--device", "cuda", "--dtype", dtype,
                "--weights", "random", "--lanes", "golden,graph", "--iterations", "5",
            )  # fmt: skip
            row = {"model": family, "dtype": dtype}
            if "error" in report:
                row["error"] = report["error"]
            else:
                accuracy = report["batches"][0]["accuracy"]
                row |= {name: held["verdict"] for name, held in accuracy.items()}
            rows.append(row)
    return rows


def measured(measure, deadline: float) -> dict:
    """What `measure` gives, with nothing compiled before, or why it gives nothing."""
    if time.monotonic() > deadline:
        return {"error": "left out: no time left"}
    torch._dynamo.reset()
    try:
        return measure()
    except (RuntimeError, ImportError) as error:
        return {"error": (str(error).splitlines() or [repr(error)])[0]}


def in_each_mode(measure, deadline: float) -> dict:
    """What `measure` gives of each of PyTorch's modes, from its options; None is eager."""
    results = {}
    for name, options in MODES.items():
        results[name] = measured(lambda given=options: measure(given), deadline)
    return results


def torch_modes(model, inputs: dict, deadline: float) -> dict:
    """Latency of a forward pass in each of PyTorch's modes."""

    def measure(options):
        call = model if options is None else torch.compile(model, **options)
        with torch.inference_mode():
            return median_ms(lambda: call(**inputs))

    return in_each_mode(measure, deadline)


def vit(binary: str, folder: Path, deadline: float) -> list[dict]:
    """ViT-B/16 in float16 at several batches."""
    rows = []
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float16)
    model = model.cuda().eval()
    for batch in (1, 4, 8, 64):
        pixels = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.float16)
        own = ostinato(
            binary, "bench", str(folder), "--device", "cuda", "--dtype", "float16",
            "--weights", "random", "--batch-size", str(batch), "--lanes", "eager,graph",
        )  # fmt: skip
        inputs = {"pixel_values": pixels}
        modes = torch_modes(model, inputs, deadline)
        row = {"workload": f"ViT-B/16 float16 batch {batch}", "ostinato": own, "torch": modes}
        through = measured(lambda run=inputs: replayed(model, run, median_ms), deadline)
        rows.append(row | {"variants": {"through torch.compile": through}})
    return rows


def chain(deadline: float) -> list[dict]:
    """Replay of many tiny operators in float32, through torch.compile."""
    peers = module_at("peers/workloads.py")
    model = peers.Chain(torch.randn(peers.OPERATORS // 4, 32, 32) / 8).cuda().eval()
    inputs = {"x": torch.randn(4, 32, device="cuda")}
    own = measured(lambda: replayed(model, inputs, median_ms), deadline)
    row = {"workload": f"{peers.OPERATORS} tiny operators, float32", "operators": peers.OPERATORS}
    return [row | {"ostinato": own, "torch": torch_modes(model, inputs, deadline)}]


def decode(binary: str, folder: Path, tokens: int, **environment: str) -> dict:
    """Greedy decode of so many tokens on the engine."""
    return ostinato(
        binary, "generate", str(folder), "--device", "cuda", "--dtype", "bfloat16",
        "--weights", "random", "--prompt-ids", ",".join(map(str, range(PROMPT))),
        "--ignore-eos", "--max-new-tokens", str(tokens), **environment,
    )  # fmt: skip


def persistent(binary: str, folder: Path) -> dict:
    """Decode as one persistent launch a step, and as a graph of kernels; draws one step's tasks."""
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        times = Path(scratch) / "times.tsv"
        decode(binary, folder, 128, OSTINATO_PERSISTENT="on", OSTINATO_TIMELINE=str(times))
        if times.exists():
            picture = Path(sys.argv[2]).parent / "persistent.svg"
            picture.write_text(draw(times.read_text().splitlines()))
    for tokens in (128, 512):
        for name, value in (("persistent", "on"), ("graph of kernels", "off")):
            result = decode(binary, folder, tokens, OSTINATO_PERSISTENT=value)
            results[f"{name}, {tokens} tokens"] = result
    return results


def qwen(binary: str, folder: Path, deadline: float) -> list[dict]:
    """Qwen3-0.6B in bfloat16: greedy decode of 128 tokens, batch 1, with a static cache."""
    own = decode(binary, folder, 128)
    variants = persistent(binary, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).cuda().eval()
    ids = torch.arange(PROMPT, device="cuda")[None]
    forward = model.forward

    def measure(options):
        arguments = {"max_new_tokens": 128, "min_new_tokens": 128, "do_sample": False}
        model.forward = forward
        if options is not None:
            model.forward = torch.compile(forward, **options)
            arguments["cache_implementation"] = "static"
        model.generate(ids, **arguments)
        begin = time.monotonic()
        model.generate(ids, **arguments)
        torch.cuda.synchronize()
        return {"tokens_per_s": 128 / (time.monotonic() - begin)}

    modes = in_each_mode(measure, deadline)
    weights = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    row = {"workload": "Qwen3-0.6B bfloat16 decode", "ostinato": own, "torch": modes}
    row["variants"] = variants
    return [row | {"bytes_a_token": sum(weights.values())}]


def qwen_growing(_binary: str, folder: Path, deadline: float) -> list[dict]:
    """Qwen3-0.6B in float16 without a cache, through torch.compile: a new length every token."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).cuda().eval()
    ids = torch.arange(PROMPT, device="cuda")[None]
    rates = measured(lambda: growing(model, ids, GROWN), deadline)
    if "error" in rates:
        rates = {"ostinato": rates, "eager": {"error": "not measured"}}
    return [
        {
            "workload": f"Qwen3-0.6B float16, growing by {GROWN} tokens without a cache",
            "ostinato": rates["ostinato"],
            "torch": {"eager": rates["eager"]},
        }
    ]


def main() -> None:
    """Runs everything that there is time for."""
    binary, target = sys.argv[1], Path(sys.argv[2])
    deadline = time.monotonic() + DEADLINE
    result = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "ceilings": ceilings(),
        "parity": [],
        "workloads": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        result["parity"] = parity(binary, Path(folder))
        for config, dtype, run in (
            ("qwen3-0.6b", "bfloat16", qwen),
            ("qwen3-0.6b", "float16", qwen_growing),
            ("vit-base-patch16-224", "float16", vit),
        ):
            path = Path(folder) / f"{config}-{dtype}"
            made = subprocess.run([binary, "new-model", config, str(path), "--dtype", dtype])
            if made.returncode == 0:
                result["workloads"] += run(binary, path, deadline)
            target.write_text(json.dumps(result, indent=1))
    result["workloads"] += chain(deadline)
    target.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
