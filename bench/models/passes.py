"""What each pass is worth on real models: one is switched off in turn.

    PYTHONPATH=build/release/python python bench/models/passes.py OSTINATO \\
        [--vit FOLDER] [--minilm FOLDER] [--qwen3 FOLDER] [--qwen-block]

Prints the Markdown tables of docs/passes.md: calls a layer that compute something, bytes that all
calls read and write (as `ostinato inspect --layers --passes` counts both), and latency. A pass's
latency is that of `ostinato bench` without it, beside one with all passes in alternating processes;
passes that find nothing are named below. FOLDERs are as `ostinato new-model` or HuggingFace makes
them; OSTINATO is the command. The block of Qwen's first generation at the width of its 7B is
captured by the torch.compile backend from qwen_block.py.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import qwen_block
import torch
from safetensors.torch import save_file

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "bool": torch.bool}
LENGTH = 128


@dataclass
class Workload:
    """Something to run: how `inspect` shows it, and where the bench's report has its latency."""

    title: str
    inspect: list[str]
    latency: list[str | int]


@dataclass
class Subject:
    """A model, and what to run of it."""

    path: Path
    bench: list[str]
    workloads: list[Workload]
    weights: list[str] = field(default_factory=list)  # for `inspect`


class Engine:
    """The command."""

    def __init__(self, program: str):
        self.program = program

    def json(self, *arguments):
        """What a verb prints, as data."""
        command = [self.program, *map(str, arguments), "--json"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def passes(self, path, flags) -> list[str]:
        """In their order, once each."""
        runs = self.json("inspect", path, "--passes", *flags)["passes"]
        return list(dict.fromkeys(run["name"] for run in runs))


def latencies(engine: Engine, subject: Subject, off) -> list[float]:
    """Of each workload, in ms, by a process of their own."""
    report = engine.json("bench", subject.path, "--lanes", "graph", *subject.bench, *off)
    found = []
    for workload in subject.workloads:
        value = report
        for key in workload.latency:
            value = value[key]
        found.append(value)
    return found


@dataclass
class Row:
    """A workload with some passes."""

    kernels: int  # a layer
    bytes: float
    milliseconds: float | None = None  # None where nothing was measured
    ratio: float = 1.0

    def same_work(self, other) -> bool:
        """Whether nothing changed but time."""
        return (self.kernels, self.bytes) == (other.kernels, other.bytes)


def work(engine: Engine, subject: Subject, workload: Workload, off) -> Row:
    """Counted, not measured."""
    flags = [*workload.inspect, *subject.weights, *off]
    report = engine.json("inspect", subject.path, "--layers", "--passes", *flags)
    (layers,) = report["layers"]
    return Row(layers["kernels"], report["passes"][-1]["bytes_after"])


def tables(engine: Engine, subject: Subject, rounds: int):
    """Prints a table for each workload."""
    base = [work(engine, subject, workload, []) for workload in subject.workloads]
    found = [{} for _ in base]
    nothing = [[] for _ in base]
    times = [[] for _ in base]
    for name in engine.passes(subject.path, subject.weights):
        off = ["--set", f"pass.{name}=off"]
        rows = [work(engine, subject, workload, off) for workload in subject.workloads]
        changed = [not row.same_work(all_on) for row, all_on in zip(rows, base, strict=True)]
        pairs = []
        for _ in range(rounds if any(changed) else 0):
            pairs.append((latencies(engine, subject, off), latencies(engine, subject, [])))
        for i, row in enumerate(rows):
            if not changed[i]:
                nothing[i].append(name)
                continue
            found[i][name] = row
            if pairs:
                row.milliseconds = statistics.median(without[i] for without, _ in pairs)
                row.ratio = statistics.median(without[i] / with_[i] for without, with_ in pairs)
                times[i] += [with_[i] for _, with_ in pairs]
    for i, workload in enumerate(subject.workloads):
        base[i].milliseconds = statistics.median(times[i]) if times[i] else None
        print(f"### {workload.title}\n")
        print("| without | kernels a layer | MB moved | ms | against all passes |")
        print("|---|---:|---:|---:|---:|")
        for name, row in [("all passes on", base[i]), *found[i].items()]:
            measured = row.milliseconds is not None
            latency = f"{row.milliseconds:.4g} | {row.ratio:.2f}" if measured else "– | –"
            print(f"| {name} | {row.kernels} | {row.bytes / 1e6:.1f} | {latency} |")
        print(f"\nNothing to do for: {', '.join(nothing[i])}.\n", flush=True)


def folder_subject(folder, bench, workloads) -> Subject:
    """A model in a folder."""
    return Subject(Path(folder), bench, workloads, ["--weights", "random"])


def captured(folder: Path) -> Path:
    """The graph of four layers of the first generation, and random weights beside it."""
    code = (
        "import torch, qwen_block\n"
        "from ostinato.backend import ostinato\n"
        f"ids = torch.zeros(1, {LENGTH}, dtype=torch.int64)\n"
        "model = qwen_block.empty(4)\n"
        "run = torch.compile(model, backend=ostinato, fullgraph=True)\n"
        "with torch.inference_mode():\n    run(ids)\n"
    )
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    environment = os.environ | {"TORCH_COMPILE_DEBUG": "1", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, env=environment)
    (text,) = folder.rglob("engine_graph_0.txt")
    tensors = {}
    for name, dtype, sizes in re.findall(
        r'^constant %\d+ "([^"]+)" : (\w+)\(([\d, ]*)\)$', text.read_text(), re.MULTILINE
    ):
        shape = [int(size) for size in sizes.split(",") if size.strip()]
        noise = torch.empty(shape, dtype=DTYPES[dtype])
        tensors[name] = noise.normal_(0.0, 0.02) if len(shape) > 1 else noise.fill_(1)
    save_file(tensors, text.with_suffix(".safetensors"))
    ids = re.findall(r'^input %\d+ "([^"]+)" : int64', text.read_text(), re.MULTILINE)
    shape = (1, LENGTH)
    save_file({name: torch.randint(1000, shape) for name in ids}, text.with_name("ids.safetensors"))
    return text


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="the ostinato command")
    parser.add_argument("--vit", help="a folder of ViT-B/16")
    parser.add_argument("--minilm", help="a folder of all-MiniLM-L6-v2")
    parser.add_argument("--qwen3", help="a folder of Qwen3-0.6B")
    parser.add_argument("--qwen-block", action="store_true", help="four layers as of Qwen-7B")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of each pass, in turns; 0 only counts"
    )
    arguments = parser.parse_args()
    engine = Engine(arguments.program)
    forward = ["batches", 0, "lanes", "graph", "latency_ms", "p50"]
    text = qwen_block.TEXT
    if arguments.vit:
        workloads = [Workload("ViT-B/16, float32, one picture", [], forward)]
        subject = folder_subject(arguments.vit, ["--iterations", 20], workloads)
        tables(engine, subject, arguments.rounds)
    if arguments.minilm:
        workloads = [Workload("all-MiniLM-L6-v2, float32, a text", [], forward)]
        flags = ["--prompt", text, "--iterations", 50]
        tables(engine, folder_subject(arguments.minilm, flags, workloads), arguments.rounds)
    if arguments.qwen3:
        prompt = ["generation", "prompts", 0, "lanes", "graph"]
        cache = ["--kv-cache", 256]
        workloads = [
            Workload("Qwen3-0.6B, bfloat16, a prompt", [*cache, "--sequence", LENGTH],
                     [*prompt, "first_token_ms"]),
            Workload("Qwen3-0.6B, bfloat16, a step of decoding", [*cache, "--sequence", 1],
                     [*prompt, "ms_per_token"]),
            Workload("Qwen3-0.6B, bfloat16, the whole sequence without a cache",
                     ["--sequence", LENGTH], forward),
        ]  # fmt: skip
        flags = ["--prompt", text, "--iterations", 5, "--warmup", 1, "--max-new-tokens", 32]
        tables(engine, folder_subject(arguments.qwen3, flags, workloads), arguments.rounds)
    if arguments.qwen_block:
        title = f"Qwen, first generation, four layers of 7B, bfloat16, {LENGTH} tokens"
        with tempfile.TemporaryDirectory() as folder:
            path = captured(Path(folder))
            ids = path.with_name("ids.safetensors")
            flags = ["--inputs", ids, "--iterations", 5, "--warmup", 1]
            tables(engine, Subject(path, flags, [Workload(title, [], forward)]), arguments.rounds)


if __name__ == "__main__":
    main()
