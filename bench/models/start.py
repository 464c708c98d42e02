"""How long the command takes from its start to its first output, as Markdown.

    python bench/models/start.py [--vit FOLDER] [--qwen FOLDER] [--rounds 7]

- no cache: `--no-cache`, as where nothing is ever kept.
- cold: the cache is on, and empty.
- warm: packed weights are found on disk.

The weights' files are in the page cache throughout. Lanes and models take turns, so that a machine
that drifts hits all alike. Output is what a pipe gets first: the values of ViT's logits, the first
token of Qwen3 for a prompt of --tokens ids, or for a text if the folder has a tokenizer. End is
that of the process: what a cold one has packed is on disk then. Of each: the median, and the
fastest and slowest.

Without a folder, the model is made in full size with random weights. A file younger than a minute
is read whole by every start (docs/cache.md), so fresh models are waited for.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

LANES = ("no cache", "cold", "warm")
SETTLED = 61.0
TEXT = "The quick brown fox jumps over the lazy dog, and then it runs all the way back home again."


def command_of(name: str, folder: Path, tokens: int) -> list[str]:
    """What is timed."""
    binary = os.environ.get("OSTINATO_BINARY", "ostinato")
    if name == "ViT-B/16 float32":
        return [binary, "run", str(folder)]
    if (folder / "tokenizer.json").exists():
        prompt = ["--prompt", TEXT]
    else:
        prompt = ["--prompt-ids", ",".join(str(1000 + i) for i in range(tokens))]
    return [binary, "generate", str(folder), *prompt, "--max-new-tokens", "1", "--ignore-eos"]


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds to the first byte on stdout, and to the end."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        first = process.stdout.read(1)
        answered = time.perf_counter() - begun
        _, errors = process.communicate()
        ended = time.perf_counter() - begun
    if process.returncode != 0 or not first:
        raise SystemExit(f"{' '.join(command)}:\n{errors.decode()}")
    return answered, ended


def start(lane: str, command: list[str], cache: Path) -> tuple[float, float]:
    """One process of a lane."""
    if lane == "no cache":
        return timed([*command, "--no-cache"])
    if lane == "cold":
        shutil.rmtree(cache, ignore_errors=True)
    return timed([*command, "--cache-dir", str(cache)])


def read_whole(folder: Path):
    """Brings a model's files into the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def row(name: str, lane: str, times: list[tuple[float, float]]) -> str:
    """A line of the table."""
    cells = []
    for values in zip(*times, strict=True):
        middle = statistics.median(values)
        cells.append(f"{middle:.2f} ({min(values):.2f}–{max(values):.2f})")
    return f"| {name}, {lane} | {' | '.join(cells)} |"


def folder_of(given: str | None, preset: str, dtype: str, scratch: Path) -> Path:
    """The folder given, or a new model."""
    if given:
        return Path(given)
    target = scratch / preset
    binary = os.environ.get("OSTINATO_BINARY", "ostinato")
    command = [binary, "new-model", preset, str(target), "--dtype", dtype]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return target


def wait_until_settled(folders: list[Path]):
    """So that later starts believe what is known of the files."""
    latest = max(path.stat().st_ctime for folder in folders for path in folder.iterdir())
    time.sleep(max(0.0, latest + SETTLED - time.time()))


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vit", help="a folder with ViT-B/16 in float32")
    parser.add_argument("--qwen", help="a folder with Qwen3-0.6B in bfloat16")
    parser.add_argument("--rounds", type=int, default=7, help="processes a lane")
    parser.add_argument("--tokens", type=int, default=24, help="of a prompt without a tokenizer")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="ostinato-start-", dir=os.environ.get("TMPDIR"))
        scratch = Path(stack.enter_context(made))
        models = {
            "ViT-B/16 float32": folder_of(given.vit, "vit-base-patch16-224", "float32", scratch),
            "Qwen3-0.6B bfloat16": folder_of(given.qwen, "qwen3-0.6b", "bfloat16", scratch),
        }
        wait_until_settled(list(models.values()))
        times = {(name, lane): [] for name in models for lane in LANES}
        for round_ in range(given.rounds + 1):  # the first finds nothing in the page cache
            for name, lane in times:
                read_whole(models[name])
                command = command_of(name, models[name], given.tokens)
                found = start(lane, command, scratch / name[:3])
                if round_ > 0:
                    times[name, lane].append(found)
    print("| process start to | first output, s | end, s |\n|---|---:|---:|")
    for (name, lane), values in times.items():
        print(row(name, lane, values))


if __name__ == "__main__":
    main()
