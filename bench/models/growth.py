"""How cost grows with batch, length, layers, operators and threads, as Markdown.

    python bench/models/growth.py --vit FOLDER --qwen3 FOLDER

FOLDERs as `ostinato new-model` makes them, of Qwen3-0.6B with a tokenizer. Every line is a process
of its own of the command (OSTINATO_BINARY, else `ostinato`): the graph lane of `ostinato bench`.
"Compile" is passes, plan and capture; packing weights, which is done once for all shapes, and
reading them are not in it. The arena is what lives between the calls of a replay.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

BATCHES = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (16, 64, 256, 1024, 4096)
LAYERS = (1, 7, 14, 28)
OPERATORS = (100, 1000, 10_000)
SENTENCE = "A lighthouse is a tower that carries a light over the sea."
COLUMNS = "| a call, ms | compile, ms | arena, MB |"


def bench(model: Path, *flags) -> dict:
    """The report of the graph lane."""
    command = [os.environ.get("OSTINATO_BINARY", "ostinato"), "bench", str(model), "--json"]
    command += ["--lanes", "graph", "--warmup", "1", *map(str, flags)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def forward(model: Path, *flags) -> tuple[float, float, float]:
    """Of the first batch: milliseconds of a call and of compiling, and the arena in MB."""
    lane = bench(model, "--iterations", 5, *flags)["batches"][0]["lanes"]["graph"]
    arena = lane["planned_arena_bytes"] / 1e6
    return lane["latency_ms"]["p50"], compiling(lane["phases_ms"]), arena


def compiling(phases: dict) -> float:
    """What is paid again for a new shape."""
    return sum(phases[name] for name in ("passes", "plan", "capture"))


def row(size, milliseconds, compile_ms, arena, *more) -> None:
    """Prints a line of a table."""
    cells = [size, f"{milliseconds:.4g}", f"{compile_ms:.3g}", f"{arena:.3g}", *more]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(title: str, size: str, *more) -> None:
    """Prints a table's head."""
    names = f"| {size} {COLUMNS}" + "".join(f" {name} |" for name in more)
    rule = "|---:" * (names.count("|") - 1) + "|"
    print(f"\n### {title}\n\n{names}\n{rule}", flush=True)


def with_layers(folder: Path, layers: int, made: Path) -> Path:
    """A new folder with the tokenizer, and the configuration for the first so many layers."""
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = layers
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][:layers]
    made.mkdir()
    (made / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (made / name).symlink_to((folder / name).resolve())
    return made


def chain(operators: int, scratch: Path) -> Path:
    """Blocks of layer_norm(silu(x · w) + x) as graph text."""
    lines = ['ostinato.graph 1 "chain"', 'input %0 "x" : float32(4, 32)']
    lines.append('input %1 "w" : float32(32, 32)')
    x, new = 0, 2
    for _ in range(operators // 4):
        lines += [
            f"%{new} : float32(4, 32) = aten.mm(%{x}, %1)",
            f"%{new + 1} : float32(4, 32) = aten.silu(%{new})",
            f"%{new + 2} : float32(4, 32) = aten.add.Tensor(%{new + 1}, %{x})",
            f"%{new + 3} : float32(4, 32) = layer_norm(%{new + 2}, None, None) {{eps=1e-05}}",
        ]
        x, new = new + 3, new + 4
    text = scratch / f"chain-{operators}.txt"
    text.write_text("\n".join([*lines, f'output "y" %{x}', ""]))
    return text


def generated(model: Path, prompt: str, *flags) -> tuple[int, dict]:
    """How many tokens the prompt is, and what its graph lane measured."""
    report = bench(model, "--iterations", 1, "--prompt", prompt, "--max-new-tokens", 16, *flags)
    found = report["generation"]["prompts"][0]
    return found["prompt_tokens"], found["lanes"]["graph"] | {
        "arena": report["batches"][0]["lanes"]["graph"]["planned_arena_bytes"] / 1e6
    }


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vit", type=Path, required=True, help="a folder of ViT-B/16")
    parser.add_argument("--qwen3", type=Path, required=True, help="a folder of Qwen3-0.6B")
    arguments = parser.parse_args()

    head("Batch: ViT-B/16, float32", "pictures", "a picture, ms")
    for batch in BATCHES:
        milliseconds, *rest = forward(arguments.vit, "--batch-size", batch)
        row(batch, milliseconds, *rest, f"{milliseconds / batch:.3g}")

    head("Threads: ViT-B/16, float32, one picture", "threads")
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        row(threads, *forward(arguments.vit, "--threads", threads))

    head("Length: Qwen3-0.6B, bfloat16, a prompt", "tokens", "a token, ms", "a step after it, ms")
    for length in LENGTHS:
        count, lane = generated(arguments.qwen3, " ".join([SENTENCE] * (length // 13 + 1)))
        first = lane["first_token_ms"]
        step = f"{lane['ms_per_token']:.3g}" if lane["ms_per_token"] else ""
        row(count, first, compiling(lane["phases_ms"]), lane["arena"], f"{first / count:.3g}", step)

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        head("Layers: Qwen3-0.6B's, bfloat16, the whole of 14 tokens", "layers")
        for layers in LAYERS:
            model = with_layers(arguments.qwen3, layers, scratch / f"layers-{layers}")
            flags = ["--weights", "random", "--max-new-tokens", 1, "--prompt", SENTENCE]
            row(layers, *forward(model, "--dtype", "bfloat16", *flags))

        head("Operators: blocks of mm, silu, add, layer_norm, one thread", "operators", "each, ns")
        for operators in OPERATORS:
            text = chain(operators, scratch)
            milliseconds, *rest = forward(text, "--threads", 1)
            row(operators, milliseconds, *rest, f"{1e6 * milliseconds / operators:.3g}")


if __name__ == "__main__":
    main()
